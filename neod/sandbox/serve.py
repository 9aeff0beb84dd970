"""The sandbox's broker on a loopback port, with its faults, and requests that steer it.

It knows the network's part of a fault, which is to be late, to be silent or to break off, and
nothing of what Kotak answers.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import partial

import msgspec
import trio

from neod import config, log
from neod.clock import Clock
from neod.ipc.clients import Client
from neod.ipc.conversation import converse
from neod.ipc.http1 import Request, Response, encode
from neod.sandbox.broker import Broker
from neod.sandbox.faults import Faults, UnknownFault, parse

Told = Callable[[str, int], None]
CONTROLS = """\
While it runs, these steer it, and answer with its state as JSON:
  GET  /sandbox
  POST /sandbox/faults              {"fault": FAULT}
  POST /sandbox/kill                {"sid": SID}, or {} for all sessions
  POST /sandbox/unlock              {}
  POST /sandbox/reset-access-token  {"access_token": TOKEN}, or {} for one that is made up"""


async def listen(port: int) -> trio.SocketListener:
    """A listener on 127.0.0.1; port 0 is any that is free. Raises OSError."""
    [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    return listener


def url_of(listener: trio.SocketListener) -> str:
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"


async def serve(
    broker: Broker,
    listener: trio.SocketListener,
    clock: Clock,
    *,
    faults: Faults | None = None,
    told: Told = lambda path, status: None,  # noqa: ARG005
) -> None:
    """Serve the broker, until cancelled.

    `told` hears of each request and its status, which is 0 where no answer comes.

    Requests below /sandbox are not Kotak's: they steer the sandbox, and meet no fault.
    """
    broker.url = url_of(listener)
    sandbox = Sandbox(broker, faults or Faults(), clock, told)

    async def handle(stream: trio.SocketStream) -> None:
        # It is given the stream, since to cut off an answer takes that.
        await converse(stream, partial(sandbox.respond, stream), config.Server())

    await trio.serve_listeners(handle, [listener])


class Sandbox:
    """The broker as a server has it: with a clock, and with faults."""

    def __init__(self, broker: Broker, faults: Faults, clock: Clock, told: Told) -> None:
        self._broker = broker
        self._faults = faults
        self._clock = clock
        self._told = told

    async def respond(
        self, stream: trio.SocketStream, request: Request, body: bytes, _client: Client | None
    ) -> Response:
        """The answer to one request, unless a fault is that there is none."""
        await trio.lowlevel.checkpoint()
        if request.path == "/sandbox" or request.path.startswith("/sandbox/"):
            return control(self._broker, self._faults, request, body, self._now())
        fault = self._faults.next(request.path, request.headers)
        if fault is None:
            answer = self._ask(request, body)
        else:
            log.event("fault", name=fault.name)
            if fault.name == "hang":
                self._told(request.path, 0)
                await _hang(stream)
                return Response(504, b"")  # which has nowhere to go
            answer = fault.reply or fault.spoil(self._ask(request, body))
            await trio.sleep(fault.delay)
        self._told(request.path, answer.status)
        date = ("Date", formatdate(self._now(), usegmt=True))
        answer = msgspec.structs.replace(answer, headers=(*answer.headers, date))
        if fault is not None and fault.name == "cut":
            await _cut(stream, answer)
        return answer

    def _ask(self, request: Request, body: bytes) -> Response:
        broker, sent = self._broker, self._broker.otps_sent
        answer = broker.handle(request.method, request.path, request.headers, body, self._now())
        if broker.otps_sent > sent:
            print(f"# the OTP is {broker.otp}", flush=True)  # there is no phone to send it to
        return answer

    def _now(self) -> float:
        return self._clock.wall() + self._faults.skew


async def _hang(stream: trio.SocketStream) -> None:
    """Say nothing until the peer has had enough, and close."""
    with suppress(trio.BrokenResourceError):
        async for _ in stream:
            pass
    await stream.aclose()


async def _cut(stream: trio.SocketStream, answer: Response) -> None:
    """Send the head and half of the body, and close, so that the rest has nowhere to go."""
    whole = encode(answer, keep_alive=True)
    with suppress(trio.BrokenResourceError):
        await stream.send_all(whole[: len(whole) - (len(answer.body) + 1) // 2])
    await stream.aclose()


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that steers the sandbox."""

    fault: str = ""
    sid: str | None = None
    access_token: str = ""


def control(broker: Broker, faults: Faults, request: Request, body: bytes, now: float) -> Response:
    """The answer to a request that steers the sandbox: its state, after it was done."""
    try:
        order = msgspec.json.decode(body or b"{}", type=Order)
        match (request.method, request.path):
            case ("GET", "/sandbox"):
                pass
            case ("POST", "/sandbox/faults"):
                faults.add(parse(order.fault))
            case ("POST", "/sandbox/kill"):
                if not broker.kill(order.sid) and order.sid is not None:
                    return _answer(404, {"error": "no session has this sid"})
            case ("POST", "/sandbox/unlock"):
                broker.unlock()
            case ("POST", "/sandbox/reset-access-token"):
                broker.reset_access_token(order.access_token)
            case _:
                return _answer(404, {"error": CONTROLS})
    except (UnknownFault, msgspec.DecodeError) as error:
        return _answer(400, {"error": str(error)})
    return _answer(200, _state(broker, faults, now))


def _state(broker: Broker, faults: Faults, now: float) -> dict[str, object]:
    """What can be told of the sandbox. No token of a session is."""
    return {
        "logins": broker.logins,
        "trades": broker.trades,
        "bearers": broker.bearers_given,
        "refusals": broker.refusals,
        "refused": broker.refused,
        "locked": broker.locked,
        "otps_sent": broker.otps_sent,
        "otp": broker.otp,
        "access_token": broker.settings.credentials.access_token,
        "sessions": [
            {"sid": live.sid, "kind": live.kind, "flow": live.flow, "until": live.until}
            for live in broker.live(now)
        ],
        "faults": [str(fault) for fault in faults.waiting],
        "skew": faults.skew,
    }


def _answer(status: int, said: Mapping[str, object]) -> Response:
    return Response(status, msgspec.json.encode(said) + b"\n")


def settings_to_paste(url: str, broker: Broker) -> str:
    """A configuration that logs in at the sandbox: to a view token, by the password."""
    who = broker.settings.credentials
    return f"""\
[account.main]
mobile = "{who.mobile}"
password = "{who.password}"
consumer_key = "{who.consumer_key}"
consumer_secret = "{who.consumer_secret}"
{_endpoints("main", url)}"""


def totp_settings_to_paste(url: str, broker: Broker) -> str:
    """A configuration that logs in at the sandbox: to a trade token, by TOTP and MPIN."""
    who = broker.settings.credentials
    return f"""\
[account.totp]
flow = "totp"
mobile = "{who.mobile}"
ucc = "{who.ucc}"
access_token = "{who.access_token}"
totp_secret = "{who.totp_secret}"
mpin = "{who.mpin}"
{_endpoints("totp", url)}"""


def _endpoints(account: str, url: str) -> str:
    return f"""
[account.{account}.endpoints]
session = "{url}"
api = "{url}"
login = "{url}"
"""
