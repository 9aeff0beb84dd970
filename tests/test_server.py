"""Connections in virtual time: each bounded, and none a danger to the others or to the daemon."""

import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import (
    MockClock,
    lockstep_stream_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from neod.ipc.http1 import Problem, Request, Response
from neod.ipc.peers import Peer, peer_of
from neod.ipc.server import Admit, Respond, Server, only
from tests.fakes.streams import MemoryListener, MemoryStream

GET = b"GET /hello HTTP/1.1\r\nHost: neod\r\n\r\n"
SOMEBODY_ELSE = 65534


async def echo(request: Request, body: bytes, _peer: Peer | None = None) -> Response:
    """Says what was asked for; `for` is how many seconds that takes."""
    await trio.sleep(float(request.query.get("for", "0")))
    return Response(200, f"{request.method} {request.path} {len(body)}".encode(), "text/plain")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> object:
        assert self.headers["content-type"] == "application/problem+json"
        return msgspec.json.decode(self.body, type=dict[str, object])["code"]


class Client:
    """The other end of a connection."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self, *, body: bool = True) -> Answer:
        """The next answer; `body` is False for one to HEAD."""
        while b"\r\n\r\n" not in self._received:
            await self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"]) if body else 0
        while len(self._received) < length:
            await self._receive()
        content, self._received = self._received[:length], self._received[length:]
        return Answer(int(line.split(" ")[1]), headers, content)

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def closed(self) -> bool:
        """Wait for more; True if it is the end."""
        return self._received == b"" and await self.stream.receive_some() == b""

    async def _receive(self) -> None:
        received = await self.stream.receive_some()
        assert received, f"closed within an answer: {self._received!r}"
        self._received += received


class Site:
    """A server, and a way to connect to it."""

    def __init__(self, server: Server, listener: MemoryListener) -> None:
        self.server = server
        self._listener = listener

    async def connect(self) -> Client:
        return Client(await self._listener.connect())


def over_memory(server: Server) -> Callable[[MemoryStream], Awaitable[None]]:
    """The server's handler, for streams that have no socket."""
    return cast("Callable[[MemoryStream], Awaitable[None]]", server.handle)


async def serve(
    nursery: trio.Nursery, respond: Respond = echo, *, max_connections: int = 1024
) -> Site:
    server = Server(respond, max_connections=max_connections)
    listener = MemoryListener()
    await nursery.start(partial(trio.serve_listeners, over_memory(server), [listener]))
    return Site(server, listener)


# Requests and answers


async def test_a_connection_is_kept_for_the_next_request(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()

    for number in range(3):
        answer = await client.ask(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        assert (answer.status, answer.body) == (200, b"GET /%d 0" % number)
        assert "connection" not in answer.headers
    assert trio.current_time() == 0


async def test_requests_that_arrive_at_once_are_answered_in_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()

    await client.send(
        b"GET /1?for=2 HTTP/1.1\r\n\r\n"
        b"POST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n"
        b"GET /4 HTTP/1.1\r\n\r\n"
    )

    assert [(await client.answer()).body for _ in range(3)] == [
        b"GET /1 0",
        b"POST /2 3",
        b"GET /3 0",
    ]
    assert await client.closed()


async def test_a_request_may_come_byte_by_byte(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()

    for byte in b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc":
        await client.send(bytes([byte]))
        await wait_all_tasks_blocked()

    assert (await client.answer()).body == b"POST /a 3"


async def test_head_gets_the_length_of_a_body_and_no_body(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()
    await client.send(b"HEAD /a HTTP/1.1\r\n\r\n" + GET)

    answer = await client.answer(body=False)

    assert answer.headers["content-length"] == str(len("HEAD /a 0"))
    assert (await client.answer()).body == b"GET /hello 0"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /hello HTTP/1.0\r\n\r\n",
        b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: neod\r\nConnection: close\r\n\r\n",
    ],
)
async def test_after_http_1_0_or_close_the_connection_ends(
    autojump_clock: MockClock, nursery: trio.Nursery, request_: bytes
) -> None:
    client = await (await serve(nursery)).connect()

    answer = await client.ask(request_)

    assert (answer.status, answer.body) == (200, b"GET /hello 0")
    assert answer.headers["connection"] == "close"
    assert await client.closed()
    assert trio.current_time() == 0


async def test_lines_may_end_in_lf_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    client = await (await serve(nursery)).connect()

    assert (await client.ask(b"GET /hello HTTP/1.1\nHost: neod\n\n")).body == b"GET /hello 0"


async def test_a_peer_that_has_said_all_it_will_say_gets_its_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()
    await client.send(b"GET /a?for=3 HTTP/1.1\r\n\r\n")
    await client.stream.send_eof()

    assert (await client.answer()).body == b"GET /a 0"
    assert await client.closed()


# Peers that are slow or silent


async def test_a_connection_that_says_nothing_is_closed_without_a_word(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()

    assert await client.closed()
    assert trio.current_time() == 5


async def test_a_kept_connection_may_be_silent_for_longer_and_not_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()
    await client.ask(GET)
    await trio.sleep(60)
    await client.ask(GET)

    assert await client.closed()
    assert trio.current_time() == 60 + 75


@pytest.mark.parametrize("between", [10.0, 1.0, 0.3])
async def test_a_slow_head_is_cut_off_after_5_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery, between: float
) -> None:
    client = await (await serve(nursery)).connect()

    async def drip() -> None:
        for byte in GET:
            await client.send(bytes([byte]))
            await trio.sleep(between)

    nursery.start_soon(drip)
    answer = await client.answer()

    assert (answer.status, answer.code) == (400, "bad_request")
    assert answer.headers["connection"] == "close"
    assert trio.current_time() == 5


async def test_a_slow_head_after_other_requests_is_cut_off_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()
    await client.ask(GET)

    answer = await client.ask(GET + b"GET")
    assert answer.status == 200
    assert (await client.answer()).code == "bad_request"
    assert trio.current_time() == 5


async def test_a_slow_body_is_cut_off_after_5_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()

    answer = await client.ask(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")

    assert (answer.status, answer.code) == (400, "bad_request")
    assert trio.current_time() == 5
    assert await client.closed()


@pytest.mark.parametrize(
    "half", [b"G", GET[:-1], b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab"]
)
async def test_half_a_request_is_a_bad_one(
    autojump_clock: MockClock, nursery: trio.Nursery, half: bytes
) -> None:
    client = await (await serve(nursery)).connect()
    await client.send(half)
    await client.stream.send_eof()

    assert (await client.answer()).code == "bad_request"
    assert await client.closed()
    assert trio.current_time() == 0


async def test_a_peer_that_leaves_without_a_word_harms_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    for said in (b"", b"GET", GET, b"GET /a?for=3 HTTP/1.1\r\n\r\n", b"garbage\r\n\r\n", GET * 100):
        leaver = await site.connect()
        await leaver.send(said)
        await leaver.stream.aclose()
    await trio.sleep(100)

    assert (await (await site.connect()).ask(GET)).status == 200


async def test_a_peer_that_reads_nothing_is_cut_off(autojump_clock: MockClock) -> None:
    client, theirs = lockstep_stream_pair()
    server = Server(echo)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, cast("trio.SocketStream", theirs))
        await client.send_all(GET)

    assert trio.current_time() == 10


async def test_a_peer_that_reads_no_refusal_is_cut_off(autojump_clock: MockClock) -> None:
    client, theirs = lockstep_stream_pair()
    server = Server(echo)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, cast("trio.SocketStream", theirs))
        await client.send_all(b"garbage\r\n\r\n")

    assert trio.current_time() == 10


# Peers that talk nonsense


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 8 * 1024,
        b"a" * 8 * 1024,
        b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda said: repr(said[:40]),
)
async def test_nonsense_gets_a_400_and_the_end(
    autojump_clock: MockClock, nursery: trio.Nursery, said: bytes
) -> None:
    site = await serve(nursery)
    client = await site.connect()

    answer = await client.ask(said + GET)

    assert (answer.status, answer.code) == (400, "bad_request")
    assert answer.headers["connection"] == "close"
    assert await client.closed()
    assert trio.current_time() == 0
    assert (await (await site.connect()).ask(GET)).status == 200


async def test_a_head_of_8_kib_and_a_body_of_64_kib_are_taken(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = await (await serve(nursery)).connect()
    line, end = b"POST / HTTP/1.1\r\nContent-Length: 65536\r\nX: ", b"\r\n\r\n"
    head = line + b"a" * (8192 - len(line) - len(end)) + end

    assert (await client.ask(head + b"b" * 65536)).body == b"POST / 65536"
    assert (await client.ask(GET)).status == 200


async def test_a_refused_peer_that_goes_on_sending_is_listened_to_for_a_second_only(
    autojump_clock: MockClock,
) -> None:
    client, theirs = memory_stream_pair()

    async def flood() -> None:
        while True:
            await client.send_all(b"garbage\r\n\r\n")
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await over_memory(Server(echo))(theirs)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 1


ANYTHING = st.lists(
    st.binary(max_size=50)
    | st.sampled_from(
        [
            GET,
            GET[:-2],
            b"\n\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            b"HEAD / HTTP/1.1\r\n",
            b"Connection: close\r\n",
        ]
    ),
    max_size=6,
)


@given(ANYTHING)
def test_whatever_is_said_the_answers_are_http_and_the_connection_ends(said: list[bytes]) -> None:
    async def converse() -> bytes:
        client, theirs = memory_stream_pair()
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(over_memory(Server(echo)), theirs)
            for piece in said:
                try:
                    await client.send_all(piece)
                except trio.BrokenResourceError:
                    break
                await trio.sleep(1)
            await client.send_eof()
            async for some in client:
                received += some
        return received

    received = trio.run(converse, clock=MockClock(autojump_threshold=0))
    if received:
        assert re.match(rb"HTTP/1\.1 (200|400) ", received)
    assert received.count(b"HTTP/1.1 400") <= 1


# Many


async def test_one_connection_too_many_is_told_so_and_the_next_is_served(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery, max_connections=2)
    first, second = await site.connect(), await site.connect()
    await first.ask(GET)
    await second.ask(GET)

    third = await site.connect()
    answer = await third.answer()
    assert (answer.status, answer.code) == (503, "too_many_connections")
    assert answer.headers["connection"] == "close"
    assert await third.closed()
    await third.stream.aclose()

    assert (await first.ask(GET)).status == 200
    await first.stream.aclose()
    await wait_all_tasks_blocked()
    assert (await (await site.connect()).ask(GET)).status == 200


async def test_a_slow_request_delays_nobody_elses(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    slow = await site.connect()
    await slow.send(b"GET /slow?for=300 HTTP/1.1\r\n\r\n")

    for _ in range(100):
        assert (await (await site.connect()).ask(GET)).status == 200
    assert trio.current_time() == 0
    assert (await slow.answer()).body == b"GET /slow 0"


# Bugs


async def fails(request: Request, body: bytes, _peer: Peer | None = None) -> Response:
    """Fails in the way that the path says."""
    match request.path:
        case "/group":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(raise_when_cancelled)
                await trio.sleep(1)
                raise KeyError("secret")
        case "/cancelled":
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(raise_when_cancelled)
                    await trio.sleep_forever()
        case "/stuck":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(raise_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
        case "/naked":
            raise ValueError("secret")
        case "/broken":
            raise trio.BrokenResourceError
    return await echo(request, body)


async def raise_when_cancelled() -> NoReturn:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("secret")


@pytest.mark.parametrize("path", ["naked", "group", "cancelled", "broken"])
async def test_a_bug_is_answered_and_the_connection_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery, path: str
) -> None:
    site = await serve(nursery, fails)
    client = await site.connect()

    answer = await client.ask(f"GET /{path} HTTP/1.1\r\n\r\n".encode())

    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert (await client.ask(GET)).status == 200
    assert (await (await site.connect()).ask(GET)).status == 200


async def test_a_bug_while_being_cancelled_does_not_hide_the_cancelling(
    autojump_clock: MockClock,
) -> None:
    client, theirs = memory_stream_pair()
    await client.send_all(b"GET /stuck HTTP/1.1\r\n\r\n")

    with trio.move_on_after(3) as scope:
        await over_memory(Server(fails))(theirs)

    assert scope.cancelled_caught
    assert trio.current_time() == 3
    assert await client.receive_some() == b""


async def test_a_bug_in_admitting_ends_that_connection_alone(autojump_clock: MockClock) -> None:
    def admit(stream: trio.SocketStream) -> Problem | None:
        raise OSError("no such socket")

    client, theirs = memory_stream_pair()
    await over_memory(Server(echo, admit=admit))(theirs)

    assert await client.receive_some() == b""


# Stopping


async def test_draining_ends_what_is_idle_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    kept, silent = await site.connect(), await site.connect()
    await kept.ask(GET)
    await wait_all_tasks_blocked()

    site.server.drain()

    assert await kept.closed()
    assert await silent.closed()
    assert trio.current_time() == 0


async def test_draining_lets_what_is_in_flight_have_its_answer_and_no_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    busy, sending = await site.connect(), await site.connect()
    await busy.send(b"GET /busy?for=2 HTTP/1.1\r\n\r\n" + GET)
    await sending.send(GET[:10])
    await trio.sleep(1)

    site.server.drain()
    await sending.send(GET[10:])

    for client, body in ((sending, b"GET /hello 0"), (busy, b"GET /busy 0")):
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["connection"] == "close"
        assert await client.closed()
    assert trio.current_time() == 2


async def test_who_connects_while_it_drains_is_sent_away(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    site.server.drain()

    client = await site.connect()

    assert await client.closed()
    assert trio.current_time() == 0


async def test_what_outlives_the_grace_is_cut_off(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    server = Server(fails)
    clients: list[Client] = []
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            await accepting.start(
                partial(
                    trio.serve_listeners,
                    over_memory(server),
                    [listener],
                    handler_nursery=connections,
                )
            )
            for path in ("stuck", "stuck", "a?for=1"):
                clients.append(Client(await listener.connect()))
                await clients[-1].send(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
            await wait_all_tasks_blocked()
            accepting.cancel_scope.cancel()
        server.drain()
        connections.cancel_scope.relative_deadline = 3

    assert trio.current_time() == 3
    assert (await clients[2].answer()).status == 200
    assert [await client.closed() for client in clients] == [True, True, True]


# A real socket, in real time


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may stand that anybody can reach."""
    with tempfile.TemporaryDirectory(prefix="neod-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder, "sock")


def bind(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(0o777)
    bound.listen()
    return bound


@asynccontextmanager
async def listening(path: Path, admit: Admit) -> AsyncIterator[None]:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bind(path)))
    handle = Server(echo, admit=admit).handle
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, handle, [listener]))
            yield
            nursery.cancel_scope.cancel()


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Be another user. The kernel notes who it is at connect()."""
    os.seteuid(SOMEBODY_ELSE)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_the_daemons_own_user_is_served(path: Path) -> None:
    async with listening(path, only(os.getuid())), await trio.open_unix_socket(path) as stream:
        assert (await Client(stream).ask(GET)).status == 200


async def test_p7_any_other_user_is_refused_root_too(path: Path) -> None:
    uid = os.getuid() + 1
    async with listening(path, only(uid)), await trio.open_unix_socket(path) as stream:
        client = Client(stream)
        answer = await client.ask(GET)

        assert (answer.status, answer.code) == (403, "forbidden")
        assert str(uid).encode() in answer.body
        assert await client.closed()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
async def test_p7_another_user_is_refused_where_the_sockets_mode_lets_it_in(path: Path) -> None:
    async with listening(path, only(os.getuid())):
        with as_somebody_else():
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(str(path))
        async with trio.SocketStream(trio.socket.from_stdlib_socket(connected)) as stream:
            answer = await Client(stream).ask(GET)

            assert (answer.status, answer.code) == (403, "forbidden")
            assert f"you are uid {SOMEBODY_ELSE}".encode() in answer.body
        async with await trio.open_unix_socket(path) as stream:
            assert (await Client(stream).ask(GET)).status == 200


async def test_a_peer_is_who_the_kernel_says() -> None:
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as stream, trio.SocketStream(theirs):
        peer = peer_of(stream)

    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())


async def test_a_refusal_arrives_although_the_peer_is_sending_yet() -> None:
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(Server(echo).handle, trio.SocketStream(theirs))
        client = Client(stream)
        with trio.fail_after(5):
            await client.send(
                b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
            )
            assert (await client.answer()).code == "bad_request"
            assert await client.closed()
            await stream.send_eof()


async def test_the_place_of_a_peer_that_hung_up_is_free_again(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "s")
    waiting = trio.Event()
    gone = trio.Event()

    async def never(_request: Request, _body: bytes, _peer: Peer | None = None) -> Response:
        waiting.set()
        try:
            await trio.sleep_forever()
        finally:
            gone.set()
        raise AssertionError

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, Server(never).handle, [listener])
            stream = await trio.open_unix_socket(path)
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await waiting.wait()
            await stream.aclose()
            await gone.wait()
            nursery.cancel_scope.cancel()


async def test_a_peer_that_closed_only_its_own_direction_gets_its_answer(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "s")

    async def slow(_request: Request, _body: bytes, _peer: Peer | None = None) -> Response:
        await trio.testing.wait_all_tasks_blocked(0.05)
        return Response(200, b"here")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, Server(slow).handle, [listener])
            stream = await trio.open_unix_socket(path)
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            await stream.send_eof()
            raw = b""
            async with stream:
                async for some in stream:
                    raw += some
            nursery.cancel_scope.cancel()
    assert raw.endswith(b"here")
