"""Connections: bytes in, bytes out, each bounded in time and size. Knows no route.

A peer can be slow, silent, gone, garbled or many; none of that is let through to the others or
to the daemon.
"""

import select
from collections.abc import Awaitable, Callable

import trio

from neoctl.wire import HEAD_TIME
from neod import log
from neod.ipc.http1 import BadRequest, Problem, Request, Response, encode, parse, split_head
from neod.ipc.peers import Peer, peer_of

IDLE_TIME = 75.0  # seconds that a kept-alive connection may be silent
BODY_TIME = 5.0  # seconds in which a body has to arrive
SEND_TIME = 10.0  # seconds in which a peer has to take an answer
LINGER_TIME = 1.0  # seconds to let a peer finish sending, so that it reads its answer
GONE_TIME = 1.0  # seconds until it is noticed that a half-closed peer has gone
CHUNK = 65536  # bytes

# The peer is None where there is no kernel to ask: over memory streams.
Respond = Callable[[Request, bytes, Peer | None], Awaitable[Response]]
# Why a peer is not served, None if it is.
Admit = Callable[[trio.SocketStream], Problem | None]


class Server:
    """Serves HTTP to all who connect, until told to drain."""

    def __init__(
        self, respond: Respond, *, admit: Admit | None = None, max_connections: int = 1024
    ) -> None:
        self._respond = respond
        self._admit = admit
        self._max = max_connections
        self._open = 0
        self._draining = False
        self._idle: set[trio.CancelScope] = set()

    def drain(self) -> None:
        """End what is idle now, and everything else after the answer it is waiting for."""
        self._draining = True
        for scope in self._idle:
            scope.cancel()

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, from accept to close. Raises nothing but cancellation."""
        try:
            async with stream:
                if problem := self._refusal(stream):
                    await self._close_with(stream, problem)
                    return
                self._open += 1
                try:
                    await self._converse(stream)
                finally:
                    self._open -= 1
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("peer_gone")
        except* Exception as errors:  # noqa: BLE001 - one connection's bug must not end the daemon
            log.error("bug", exc_info=errors)

    async def _converse(self, stream: trio.SocketStream) -> None:
        received = bytearray()
        patience = HEAD_TIME  # a new connection has to say something soon
        while not self._draining:
            try:
                request = await self._next_request(stream, received, patience)
                if request is None:
                    return
                body = await _read_body(stream, received, request.length)
            except BadRequest as error:
                await self._close_with(stream, Problem("bad_request", str(error)))
                return
            keep_alive = request.keep_alive
            response = await self._answer_to(stream, request, body)
            keep_alive = keep_alive and not self._draining
            answer = encode(response, keep_alive=keep_alive, body=request.method != "HEAD")
            if not await _send(stream, answer) or not keep_alive:
                return
            patience = IDLE_TIME

    def _refusal(self, stream: trio.SocketStream) -> Problem | None:
        if self._open >= self._max:
            return Problem("too_many_connections", f"{self._max} are open already")
        return self._admit(stream) if self._admit else None

    async def _answer_to(
        self, stream: trio.SocketStream, request: Request, body: bytes
    ) -> Response:
        """The answer; given up when the peer has gone, whose place others may need."""
        response: Response | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
            peer = peer_of(stream) if isinstance(stream, trio.SocketStream) else None
            response = await self._answer(request, body, peer)
            nursery.cancel_scope.cancel(reason="answered")
        if response is None:
            raise trio.BrokenResourceError("the peer has gone")
        return response

    async def _answer(self, request: Request, body: bytes, peer: Peer | None) -> Response:
        try:
            return await self._respond(request, body, peer)
        except Exception as error:  # noqa: BLE001 - the client is owed an answer
            log.error("bug", route=request.path, exc_info=error)
            return Problem("internal_error", "a bug in neod; its log says more").response()

    async def _next_request(
        self, stream: trio.SocketStream, received: bytearray, patience: float
    ) -> Request | None:
        """The next request; None where the peer, or neod, is done. Raises BadRequest."""
        if not received:
            with trio.move_on_after(patience) as scope:
                self._idle.add(scope)
                try:
                    received += await stream.receive_some(CHUNK)
                finally:
                    self._idle.discard(scope)
            if not received:
                return None
        with trio.move_on_after(HEAD_TIME):
            while not (end := split_head(received)):
                some = await stream.receive_some(CHUNK)
                if not some:
                    raise BadRequest("the head was cut off")
                received += some
            head = bytes(received[:end])
            del received[:end]
            return parse(head)
        raise BadRequest(f"the head took longer than {HEAD_TIME:.0f} s")

    async def _close_with(self, stream: trio.SocketStream, problem: Problem) -> None:
        """Answer, and see to it that the answer arrives although the peer may be sending yet."""
        if not await _send(stream, encode(problem.response(), keep_alive=False)):
            return
        await stream.send_eof()
        with trio.move_on_after(LINGER_TIME):
            while await stream.receive_some(CHUNK):
                pass


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Cancel once the peer has hung up. One that only closed its own direction is still there."""
    if not isinstance(stream, trio.SocketStream):
        return  # a memory stream: a test's
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)  # hang-ups are always told
    await trio.lowlevel.wait_readable(stream.socket)
    # Where more was sent, or half was closed, readiness says nothing new: there is no event.
    while not poll.poll(0):  # noqa: ASYNC110
        await trio.sleep(GONE_TIME)
    scope.cancel(reason="gone")


async def _read_body(stream: trio.SocketStream, received: bytearray, length: int) -> bytes:
    with trio.move_on_after(BODY_TIME):
        while len(received) < length:
            some = await stream.receive_some(CHUNK)
            if not some:
                raise BadRequest("the body was cut off")
            received += some
        body = bytes(received[:length])
        del received[:length]
        return body
    raise BadRequest(f"the body took longer than {BODY_TIME:.0f} s")


async def _send(stream: trio.SocketStream, answer: bytes) -> bool:
    """Send; False where the peer did not take it in time."""
    with trio.move_on_after(SEND_TIME):
        await stream.send_all(answer)
        return True
    return False


def only(uid: int) -> Admit:
    """Admit the peers of one user: nobody else, and root is somebody else."""

    def admit(stream: trio.SocketStream) -> Problem | None:
        peer = peer_of(stream)
        if peer.uid == uid:
            return None
        log.warning("foreign_peer", uid=peer.uid, pid=peer.pid)
        return Problem(
            "forbidden",
            f"this is the neod of uid {uid}, and you are uid {peer.uid}",
            action=f"sudo -u '#{uid}' neoctl …; in a container: run it with --user {uid}",
        )

    return admit
