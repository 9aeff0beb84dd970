"""The sandbox's broker on a loopback port."""

from collections.abc import Callable
from email.utils import formatdate

import msgspec
import trio

from neod.clock import Clock
from neod.ipc.http1 import Request, Response
from neod.ipc.server import Server
from neod.sandbox.broker import Broker


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
    told: Callable[[str, int], None] = lambda path, status: None,  # noqa: ARG005
) -> None:
    """Serve the broker, until cancelled; `told` hears of each request and its status."""

    async def respond(request: Request, body: bytes) -> Response:
        await trio.lowlevel.checkpoint()
        now = clock.wall()
        reply = broker.handle(request.method, request.path, request.headers, body, now)
        told(request.path, reply.status)
        date = ("Date", formatdate(now, usegmt=True))
        return msgspec.structs.replace(reply, headers=(*reply.headers, date))

    await trio.serve_listeners(Server(respond).handle, [listener])


def settings_to_paste(url: str, broker: Broker) -> str:
    """A configuration that logs in at the sandbox."""
    who = broker.settings.credentials
    return f"""\
[account.main]
mobile = "{who.mobile}"
password = "{who.password}"
consumer_key = "{who.consumer_key}"
consumer_secret = "{who.consumer_secret}"

[account.main.endpoints]
session = "{url}"
api = "{url}"
login = "{url}"
"""
