"""The sandbox's broker in memory, behind httpx's transport, doing what a test asks of it."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import formatdate

import httpx
import trio

from neod.account.keeper import Connect
from neod.clock import Clock
from neod.kotak.client import connected
from neod.sandbox.broker import Broker


@dataclass
class Canned:
    """A reply that does not come from the broker."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Body(httpx.AsyncByteStream):
    """A body that has not been read yet, as one off a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield self._content


class Refuse:
    """Nobody listens."""


class Hang:
    """The request is taken, and no answer ever comes."""


class Cut:
    """The reply breaks off; the broker has done what was asked of it."""


@dataclass
class Slow:
    """The reply takes so many seconds; the broker has done what was asked of it before."""

    seconds: float


class WrongType:
    """The reply's Content-Type says that it is a page."""


Fault = Canned | Refuse | Hang | Cut | Slow | WrongType


@dataclass
class Seen:
    """A request that reached the broker, or would have."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes


class Witness:
    """Is told of each request, in this order; of a reply only if it comes back whole."""

    def sent(self, seen: Seen) -> None: ...

    def judged(self, seen: Seen) -> None: ...

    def answered(self, seen: Seen, status: int, body: bytes) -> None: ...


class KotakInMemory(httpx.AsyncBaseTransport):
    """Faults are taken from `faults`, one a request; or from `always`, for as long as it is set."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.broker = broker
        self.clock = clock
        self.faults: deque[Fault | None] = deque()
        self.always: Callable[[Seen], Fault | None] | None = None
        self.seen: list[Seen] = []
        self.witness = Witness()
        self.latency = 0.1  # seconds until the broker has a request
        self.way_back = 0.0  # seconds that its reply then takes
        self.slow = 0.0  # seconds that the broker's clock is behind

    @property
    def connect(self) -> Connect:
        return lambda _account: connected(transport=self)

    @property
    def logins(self) -> list[Seen]:
        """The requests that carried a password."""
        return [seen for seen in self.seen if "validate" in seen.path]

    async def aclose(self) -> None:
        for _ in range(5):  # others have their turn, as while connections are closed
            await trio.lowlevel.checkpoint()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(self.clock.wall(), request.url.path, headers, body)
        self.seen.append(seen)
        self.witness.sent(seen)
        fault = self.faults.popleft() if self.faults else None
        if fault is None and self.always is not None:
            fault = self.always(seen)
        if isinstance(fault, Refuse):
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError("connection refused", request=request)
        if isinstance(fault, Hang):
            await trio.sleep_forever()
        await trio.sleep(self.latency)
        if isinstance(fault, Canned):
            self.witness.answered(seen, fault.status, fault.body)
            return httpx.Response(fault.status, headers=fault.headers, stream=Body(fault.body))
        now = self.clock.wall() - self.slow
        reply = self.broker.handle(request.method, seen.path, headers, body, now)
        self.witness.judged(seen)
        if isinstance(fault, Cut):
            raise httpx.RemoteProtocolError("peer closed connection", request=request)
        way_back = fault.seconds if isinstance(fault, Slow) else self.way_back
        if way_back:
            await trio.sleep(way_back)
        kind = "text/html" if isinstance(fault, WrongType) else reply.content_type
        date = formatdate(self.clock.wall() - self.slow, usegmt=True)
        self.witness.answered(seen, reply.status, reply.body)
        return httpx.Response(
            reply.status,
            headers={"Content-Type": kind, "Date": date},
            stream=Body(reply.body),
        )
