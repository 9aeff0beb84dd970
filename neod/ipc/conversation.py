"""One peer's requests, answered in turn: bytes in, bytes out, each bounded in time and size.

Knows no route, no listener and no other connection. This is the whole of what neod does on a
connection; what the server does faster for some has to say the same.
"""

import select
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from neod import config, log
from neod.ipc.clients import Client
from neod.ipc.http1 import (
    CONTINUE,
    LAST_CHUNK,
    BadRequest,
    Problem,
    Request,
    Response,
    Stream,
    encode,
    encode_chunk,
    encode_start,
    parse,
    split_head,
)

BODY_TIME = 5.0  # seconds in which a body has to arrive
SEND_TIME = 10.0  # seconds in which a peer has to take an answer
LINGER_TIME = 1.0  # seconds to let a peer finish sending, so that it reads its answer
CHUNK = 65536  # bytes

# The client is None where nobody asks who it is.
Respond = Callable[[Request, bytes, Client | None], Awaitable[Response | Stream]]


class Conversation:
    """HTTP with one peer. `received` is what it has said before this began."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        respond: Respond,
        limits: config.Server,
        *,
        client: Client | None = None,
        received: bytes = b"",
    ) -> None:
        self._stream = stream
        self._respond = respond
        self._limits = limits
        self._client = client
        self._received = bytearray(received)
        self._draining = False
        self._gone = False
        self._silence = trio.CancelScope()  # while nothing is asked …
        self._answering = trio.CancelScope()  # … and while an answer is made

    def drain(self) -> None:
        """End it now if nothing is asked; else after the answer that is in the making."""
        self._draining = True
        self._silence.cancel()

    def hang_up(self) -> None:
        """The peer has gone: nobody waits for the answer, and others may need the place."""
        self._gone = True
        self._answering.cancel(reason="gone")

    async def run(self) -> None:
        """From the first byte to the last. Raises trio.BrokenResourceError where the peer goes."""
        patience = self._limits.head_timeout  # who is new has to say something soon
        while await self._more(patience) and await self.answer():
            patience = self._limits.idle_timeout

    async def answer(self) -> bool:
        """Answer all that was asked. True if the connection is kept, and the peer silent now."""
        while self._received:
            try:
                request = await self._request()
                body = await self._body(request)
            except BadRequest as error:
                await self.refuse(Problem("bad_request", str(error)))
                return False
            if not await self._answer_to(request, body):
                return False
        return not self._draining

    async def refuse(self, problem: Problem) -> None:
        """Say the last word, and see to it that it arrives although the peer may be sending yet."""
        if not await self.send(encode(problem.response(), keep_alive=False)):
            return
        await self._stream.send_eof()
        with trio.move_on_after(LINGER_TIME):
            while await self._stream.receive_some(CHUNK):
                pass

    async def send(self, answer: bytes) -> bool:
        """Send; False where the peer did not take it in time."""
        with trio.move_on_after(SEND_TIME):
            await self._stream.send_all(answer)
            return True
        return False

    async def _more(self, patience: float) -> bool:
        """Wait for the peer to say something. False where either side is done."""
        if not self._draining:
            with trio.move_on_after(patience) as self._silence:
                self._received += await self._stream.receive_some(CHUNK)
        return bool(self._received)

    async def _request(self) -> Request:
        with trio.move_on_after(self._limits.head_timeout):
            while not (end := split_head(self._received, self._limits.max_head)):
                some = await self._stream.receive_some(CHUNK)
                if not some:
                    raise BadRequest("the head was cut off")
                self._received += some
            head = bytes(self._received[:end])
            del self._received[:end]
            return parse(head, max_body=self._limits.max_body)
        raise BadRequest(f"the head took longer than {self._limits.head_timeout:g} s")

    async def _body(self, request: Request) -> bytes:
        length = request.length
        if request.asks_to_go_on and len(self._received) < length:
            await self.send(CONTINUE)
        with trio.move_on_after(BODY_TIME):
            while len(self._received) < length:
                some = await self._stream.receive_some(CHUNK)
                if not some:
                    raise BadRequest("the body was cut off")
                self._received += some
            body = bytes(self._received[:length])
            del self._received[:length]
            return body
        raise BadRequest(f"the body took longer than {BODY_TIME:.0f} s")

    async def _answer_to(self, request: Request, body: bytes) -> bool:
        """Answer one request, unless the peer goes. True if the connection is kept after it."""
        if self._client is not None:
            self._client.requests += 1
        response: Response | None = None
        with trio.CancelScope() as self._answering:
            if self._gone:
                self._answering.cancel(reason="gone")
            found = await self._response_to(request, body)
            if isinstance(found, Stream):
                await self._stream_to(request, found)
                return False
            response = found
        if response is None:
            raise trio.BrokenResourceError("the peer has gone")
        keep_alive = request.keep_alive and not self._draining
        answer = encode(response, keep_alive=keep_alive, body=request.method != "HEAD")
        return await self.send(answer) and keep_alive

    async def _response_to(self, request: Request, body: bytes) -> Response | Stream:
        try:
            return await self._respond(request, body, self._client)
        except Exception as error:  # noqa: BLE001 - the client is owed an answer
            log.error("bug", route=request.path, exc_info=error)
            return Problem("internal_error", "a bug in neod; its log says more").response()

    async def _stream_to(self, request: Request, stream: Stream) -> None:
        """Give an answer bit by bit. The connection ends with it."""
        start = encode_start(stream, chunked=not request.old)

        async def send(some: bytes) -> None:
            nonlocal start
            begun, start = start, b""
            if not await self.send(begun + (some if request.old else encode_chunk(some))):
                raise trio.BrokenResourceError("the peer takes nothing")

        if request.method != "HEAD":
            await stream.write(send)
            start += b"" if request.old else LAST_CHUNK
        if start:
            await self.send(start)


@contextmanager
def isolated() -> Iterator[None]:
    """What befalls one connection ends here: nothing but cancellation is let through."""
    try:
        yield
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("peer_gone")
    except* Exception as errors:  # noqa: BLE001 - one connection's bug must not end the daemon
        log.error("bug", exc_info=errors)


async def converse(stream: trio.SocketStream, respond: Respond, limits: config.Server) -> None:
    """One connection from accept to close, on its own. Raises nothing but cancellation."""
    conversation = Conversation(stream, respond, limits)
    with isolated():
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(_watch, stream.socket, conversation)
            await conversation.run()
            nursery.cancel_scope.cancel(reason="done")


async def _watch(peer: trio.socket.SocketType, conversation: Conversation) -> None:
    """Tell of a hang-up. A peer that only closed its own direction is still there."""
    with select.epoll() as poller:
        poller.register(peer.fileno(), 0)  # hang-ups are always told
        await trio.lowlevel.wait_readable(poller)
    conversation.hang_up()
