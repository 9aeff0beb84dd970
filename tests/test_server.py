"""Connections in virtual time: each bounded, and none a danger to the others or to the daemon."""

import errno
import logging
import os
import re
import resource
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import h11
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import (
    MockClock,
    lockstep_stream_pair,
    wait_all_tasks_blocked,
)

from neod import config, log
from neod.ipc import clients
from neod.ipc.conversation import Conversation, Respond
from neod.ipc.descriptors import Spare, affordable
from neod.ipc.http1 import Problem, Request, Response, Stream
from neod.ipc.peers import Peer, peer_of
from neod.ipc.server import Admit, Server, only
from tests.fakes.streams import Door

GET = b"GET /hello HTTP/1.1\r\nHost: neod\r\n\r\n"
SOMEBODY_ELSE = 65534


async def echo(request: Request, body: bytes, _client: clients.Client | None = None) -> Response:
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

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    def send_at_once(self, data: bytes) -> None:
        """Send without giving the server time to look at it."""
        os.write(self.stream.socket.fileno(), data)

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


class Files:
    """Takes away this process's file descriptors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    @contextmanager
    def used_up(self) -> Iterator[None]:
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, usual[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)

    @contextmanager
    def none_given_back(self) -> Iterator[None]:
        """What is given free is taken by somebody else at once."""
        with self._monkeypatch.context() as patch:
            patch.setattr(Spare, "take_back", lambda _: False)
            yield


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(monkeypatch)


class Site:
    """A server, and a way to connect to it."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door
        self._accepting = trio.CancelScope()

    async def run(self, connections: trio.Nursery) -> None:
        with self._accepting:
            await self._server.serve(handler_nursery=connections)

    def connect(self) -> Client:
        return Client(self._door.connect())

    async def stop(self) -> None:
        self._accepting.cancel()
        await wait_all_tasks_blocked()


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    """The fields of each line of this event."""
    lines = [record for record in caplog.records if record.getMessage() == event]
    return [record.__dict__[log.FIELDS] for record in lines]


async def serve(
    nursery: trio.Nursery,
    respond: Respond = echo,
    *,
    admit: Admit = lambda _: None,
    limits: config.Server | None = None,
) -> Site:
    door = Door()
    site = Site(Server(door.socket, respond, admit=admit, limits=limits), door)
    nursery.start_soon(site.run, nursery)
    await wait_all_tasks_blocked()
    return site


# Requests and answers


async def test_a_connection_is_kept_for_the_next_request(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

    for number in range(3):
        answer = await client.ask(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        assert (answer.status, answer.body) == (200, b"GET /%d 0" % number)
        assert "connection" not in answer.headers
    assert trio.current_time() == 0


async def test_requests_that_arrive_at_once_are_answered_in_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

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
    client = (await serve(nursery)).connect()

    for byte in b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc":
        await client.send(bytes([byte]))
        await wait_all_tasks_blocked()

    assert (await client.answer()).body == b"POST /a 3"


@pytest.mark.parametrize("more", [b"\n", b"\r\n", b"\r\n\r\n"])
async def test_empty_lines_between_requests_are_no_request(
    autojump_clock: MockClock, nursery: trio.Nursery, more: bytes
) -> None:
    client = (await serve(nursery)).connect()

    for _ in range(2):
        assert (await client.ask(GET + more)).status == 200
        await client.send(more)
        await trio.sleep(60)
    await client.send(GET + more)
    await client.stream.send_eof()

    assert (await client.answer()).status == 200
    assert await client.closed()


async def test_who_waits_for_a_word_before_it_sends_a_body_is_given_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
    await client.send(b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")

    assert await client.stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.ask(b"abc")).body == b"POST / 3"


@pytest.mark.parametrize(
    ("version", "head_first"), [(b"1.1", False), (b"1.0", True)], ids=["sent already", "HTTP/1.0"]
)
async def test_who_waits_for_no_word_is_given_none(
    autojump_clock: MockClock, nursery: trio.Nursery, version: bytes, *, head_first: bool
) -> None:
    client = (await serve(nursery)).connect()
    head = b"POST / HTTP/%b\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n" % version
    if head_first:
        await client.send(head)
        await wait_all_tasks_blocked()
        answer = await client.ask(b"abc")
    else:
        answer = await client.ask(head + b"abc")

    assert (answer.status, answer.body) == (200, b"POST / 3")


async def test_head_gets_the_length_of_a_body_and_no_body(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
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
    client = (await serve(nursery)).connect()

    answer = await client.ask(request_)

    assert (answer.status, answer.body) == (200, b"GET /hello 0")
    assert answer.headers["connection"] == "close"
    assert await client.closed()
    assert trio.current_time() == 0


async def test_lines_may_end_in_lf_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    client = (await serve(nursery)).connect()

    assert (await client.ask(b"GET /hello HTTP/1.1\nHost: neod\n\n")).body == b"GET /hello 0"


async def test_a_peer_that_has_said_all_it_will_say_gets_its_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
    await client.send(b"GET /a?for=3 HTTP/1.1\r\n\r\n")
    await client.stream.send_eof()

    assert (await client.answer()).body == b"GET /a 0"
    assert await client.closed()


# Peers that are slow or silent


async def test_a_connection_that_says_nothing_is_closed_without_a_word(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

    assert await client.closed()
    assert trio.current_time() == 5


async def test_a_kept_connection_may_be_silent_for_longer_and_not_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
    await client.ask(GET)
    await trio.sleep(60)
    await client.ask(GET)

    assert await client.closed()
    assert trio.current_time() == 60 + 75


@pytest.mark.parametrize("between", [10.0, 1.0, 0.3])
async def test_a_slow_head_is_cut_off_after_5_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery, between: float
) -> None:
    client = (await serve(nursery)).connect()

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
    client = (await serve(nursery)).connect()
    await client.ask(GET)

    answer = await client.ask(GET + b"GET")
    assert answer.status == 200
    assert (await client.answer()).code == "bad_request"
    assert trio.current_time() == 5


async def test_a_slow_body_is_cut_off_after_5_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

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
    client = (await serve(nursery)).connect()
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
        leaver = site.connect()
        await leaver.send(said)
        await leaver.stream.aclose()
    await trio.sleep(100)

    assert (await site.connect().ask(GET)).status == 200


async def test_a_peer_that_reads_nothing_is_cut_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def much(
        _request: Request, _body: bytes, _client: clients.Client | None = None
    ) -> Response:
        return Response(200, b"a" * 1_000_000)

    client = (await serve(nursery, much)).connect()
    await client.send(GET)
    await trio.sleep(11)

    with pytest.raises(AssertionError, match="closed within an answer"):
        await client.answer()
    assert trio.current_time() == 11


async def test_a_peer_that_reads_nothing_of_a_small_answer_is_cut_off(
    autojump_clock: MockClock,
) -> None:
    for said in (GET, b"garbage\r\n\r\n"):
        began = trio.current_time()
        client, theirs = lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Conversation(theirs, echo, config.Server()).run)
            await client.send_all(said)
        assert trio.current_time() - began == 10


# Peers that talk nonsense


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
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
    client = site.connect()

    answer = await client.ask(said + GET)

    assert (answer.status, answer.code) == (400, "bad_request")
    assert answer.headers["connection"] == "close"
    assert await client.closed()
    assert trio.current_time() == 0
    assert (await site.connect().ask(GET)).status == 200


async def test_a_head_of_8_kib_and_a_body_of_64_kib_are_taken(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
    line, end = b"POST / HTTP/1.1\r\nContent-Length: 65536\r\nX: ", b"\r\n\r\n"
    head = line + b"a" * (8192 - len(line) - len(end)) + end

    assert (await client.ask(head + b"b" * 65536)).body == b"POST / 65536"
    assert (await client.ask(GET)).status == 200


async def test_a_refused_peer_that_goes_on_sending_is_listened_to_for_a_second_only(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

    async def flood() -> None:
        while True:
            await client.send(b"garbage\r\n\r\n")
            await trio.sleep(0.3)

    with pytest.raises(trio.BrokenResourceError):
        await flood()

    assert 1 <= trio.current_time() <= 1.5
    assert (await client.answer()).code == "bad_request"


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
    async def talk() -> bytes:
        received = b""
        async with trio.open_nursery() as nursery:
            stream = (await serve(nursery)).connect().stream
            for piece in said:
                try:
                    await stream.send_all(piece)
                except trio.BrokenResourceError:
                    break
                await trio.sleep(1)
            await stream.send_eof()
            # What was sent after the last request is not read; Unix says so after the answers.
            with suppress(trio.BrokenResourceError):
                async for some in stream:
                    received += some
            nursery.cancel_scope.cancel()
        return received

    received = trio.run(talk, clock=MockClock(autojump_threshold=0))
    if received:
        assert re.match(rb"HTTP/1\.1 (200|400) ", received)
    assert received.count(b"HTTP/1.1 400") <= 1


# Many


async def test_one_connection_too_many_is_told_so_and_the_next_is_served(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery, limits=config.Server(max_connections=2))
    first, second = site.connect(), site.connect()
    await first.ask(GET)
    await second.ask(GET)

    third = site.connect()
    answer = await third.answer()
    assert (answer.status, answer.code) == (503, "too_many_connections")
    assert answer.headers["connection"] == "close"
    assert await third.closed()
    await third.stream.aclose()

    assert (await first.ask(GET)).status == 200
    await first.stream.aclose()
    await wait_all_tasks_blocked()
    assert (await site.connect().ask(GET)).status == 200


async def test_a_slow_request_delays_nobody_elses(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    slow = site.connect()
    await slow.send(b"GET /slow?for=300 HTTP/1.1\r\n\r\n")

    for _ in range(100):
        assert (await site.connect().ask(GET)).status == 200
    assert trio.current_time() == 0
    assert (await slow.answer()).body == b"GET /slow 0"


async def test_floods_past_the_limit_are_told_so_even_if_there_are_more_than_are_listened_to(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery, limits=config.Server(max_connections=1))
    first = site.connect()
    await first.ask(GET)

    for client in [site.connect() for _ in range(300)]:
        assert (await client.answer()).code == "too_many_connections"
    assert (await first.ask(GET)).status == 200
    assert trio.current_time() < 5


async def test_without_descriptors_peers_are_told_so_and_later_ones_are_served(
    autojump_clock: MockClock, nursery: trio.Nursery, files: Files
) -> None:
    site = await serve(nursery)
    first = site.connect()
    await first.ask(GET)
    others = [site.connect() for _ in range(5)]

    with files.used_up():
        for client in others:
            assert (await client.answer()).code == "too_many_connections"
        assert (await first.ask(GET)).status == 200

    assert (await site.connect().ask(GET)).status == 200


async def test_without_even_a_spare_descriptor_peers_wait_at_the_door(
    autojump_clock: MockClock, nursery: trio.Nursery, files: Files
) -> None:
    site = await serve(nursery)
    first = site.connect()
    await first.ask(GET)
    one, other = site.connect(), site.connect()

    with files.used_up(), files.none_given_back():
        assert (await one.answer()).code == "too_many_connections"
        await other.send(GET)
        await trio.sleep(60)
        assert (await first.ask(GET)).status == 200

    assert (await other.answer()).status == 200
    assert trio.current_time() < 61


class Faulty(socket.socket):
    """A listening socket that cannot accept for a while."""

    calls = 0
    well = False

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.well:
            return super().accept()
        raise OSError(errno.ENOBUFS, "No buffer space available")


async def test_other_trouble_at_the_door_is_waited_out_without_haste(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    door = Door()
    faulty = Faulty(fileno=os.dup(door.socket.fileno()))
    server = Server(faulty, echo)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    client = Client(door.connect())
    await client.send(GET)
    await trio.sleep(10)
    assert 50 < faulty.calls < 150

    faulty.well = True
    assert (await client.answer()).status == 200


async def test_trouble_at_the_door_that_comes_and_goes_is_a_line_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door()
    faulty = Faulty(fileno=os.dup(door.socket.fileno()))
    server = Server(faulty, echo)
    await nursery.start(partial(server.serve, handler_nursery=nursery))

    with caplog.at_level(logging.WARNING, "neod"):
        while trio.current_time() < 100:
            faulty.well = False
            client = Client(door.connect())
            await trio.sleep(1)
            faulty.well = True
            assert (await client.ask(GET)).status == 200

    first, second = logged(caplog, "accept")
    assert first == {"error": "No buffer space available", "left_out": 0}
    assert isinstance(second["left_out"], int)
    assert second["left_out"] > 500


@pytest.mark.parametrize(
    ("limits", "said", "ends"),
    [
        (config.Server(head_timeout=0.5), b"", 0.5),
        (config.Server(head_timeout=0.5), b"GET", 0.5),
        (config.Server(idle_timeout=0.5), GET, 0.5),
        (config.Server(max_head=1024), b"a" * 1024, 0),
        (config.Server(max_body=10), b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 0),
    ],
)
async def test_each_limit_is_as_it_is_set(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    limits: config.Server,
    said: bytes,
    ends: float,
) -> None:
    client = (await serve(nursery, limits=limits)).connect()
    if said:
        await client.ask(said)

    assert await client.closed()
    assert trio.current_time() == ends


# Answers bit by bit


async def counting(
    _request: Request, _body: bytes, _client: clients.Client | None = None
) -> Stream:
    """One line a second, three of them."""

    async def write(send: Callable[[bytes], Awaitable[None]]) -> None:
        for number in range(3):
            await send(b"" if number == 1 else b"%d\n" % number)
            await trio.sleep(1)

    return Stream(write)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_may_come_bit_by_bit(
    autojump_clock: MockClock, nursery: trio.Nursery, version: str, method: str
) -> None:
    client = (await serve(nursery, counting)).connect()
    await client.send(f"{method} / HTTP/{version}\r\n\r\n".encode())
    machine = h11.Connection(h11.CLIENT)
    machine.send(h11.Request(method=method, target="/", headers=[("Host", "neod")]))
    machine.send(h11.EndOfMessage())
    told = []
    while not isinstance(event := machine.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            machine.receive_data(await client.stream.receive_some())
        elif isinstance(event, h11.Data):
            told.append((trio.current_time(), bytes(event.data)))
        elif isinstance(event, h11.Response):
            assert (b"content-type", b"application/x-ndjson") in event.headers
            assert (b"connection", b"close") in event.headers

    assert told == ([] if method == "HEAD" else [(0, b"0\n"), (2, b"2\n")])
    assert await client.closed()


async def test_a_stream_ends_at_once_when_its_peer_goes_or_takes_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    ended: list[float] = []

    async def endless(
        _request: Request, _body: bytes, _client: clients.Client | None = None
    ) -> Stream:
        async def write(send: Callable[[bytes], Awaitable[None]]) -> None:
            try:
                while True:
                    await send(b"a" * 100_000)
                    await trio.sleep(0.01 if len(ended) == 1 else 100)
            finally:
                ended.append(trio.current_time())

        return Stream(write)

    site = await serve(nursery, endless)
    goes = site.connect()
    await goes.send(GET)
    await goes.stream.send_eof()
    await trio.sleep(50)
    await goes.stream.aclose()
    await wait_all_tasks_blocked()
    assert ended == [50]

    takes_nothing = site.connect()
    await takes_nothing.send(GET)
    await trio.sleep(15)
    assert ended[1:] == [pytest.approx(60, abs=1)]


# Bugs


async def fails(request: Request, body: bytes, _client: clients.Client | None = None) -> Response:
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
    client = site.connect()

    answer = await client.ask(f"GET /{path} HTTP/1.1\r\n\r\n".encode())

    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert (await client.ask(GET)).status == 200
    assert (await site.connect().ask(GET)).status == 200


async def test_a_bug_while_being_cancelled_does_not_hide_the_cancelling(
    autojump_clock: MockClock,
) -> None:
    with trio.move_on_after(3) as scope:
        async with trio.open_nursery() as nursery:
            client = (await serve(nursery, fails)).connect()
            await client.send(b"GET /stuck HTTP/1.1\r\n\r\n")

    assert scope.cancelled_caught
    assert trio.current_time() == 3
    assert await client.closed()


async def test_a_bug_in_admitting_ends_that_connection_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    faulty = iter([True, False])

    def admit(_peer: Peer) -> Problem | None:
        if next(faulty):
            raise OSError("no such socket")
        return None

    site = await serve(nursery, admit=admit)

    assert await site.connect().closed()
    assert (await site.connect().ask(GET)).status == 200


# Stopping


async def test_stopping_ends_what_is_idle_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    kept, silent = site.connect(), site.connect()
    await kept.ask(GET)

    await site.stop()

    assert await kept.closed()
    assert await silent.closed()
    assert trio.current_time() == 0


async def test_stopping_lets_what_is_in_flight_have_its_answer_and_no_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    busy, sending = site.connect(), site.connect()
    await busy.send(b"GET /busy?for=2 HTTP/1.1\r\n\r\n" + GET)
    await sending.send(GET[:10])
    await trio.sleep(1)

    await site.stop()
    await sending.send(GET[10:])

    for client, body in ((sending, b"GET /hello 0"), (busy, b"GET /busy 0")):
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["connection"] == "close"
        assert await client.closed()
    assert trio.current_time() == 2


async def test_what_is_asked_at_the_moment_of_the_stop_is_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    client = site.connect()
    await client.ask(GET)

    client.send_at_once(GET)
    await site.stop()

    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()


async def test_who_stands_at_the_door_at_the_moment_of_the_stop_is_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    client, silent = site.connect(), site.connect()

    client.send_at_once(GET)
    await site.stop()

    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()
    assert await silent.closed()
    assert trio.current_time() == 0


async def test_who_comes_after_the_stop_finds_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    site = await serve(nursery)
    await site.stop()

    with pytest.raises(ConnectionRefusedError):
        site.connect()


async def test_what_outlives_the_grace_is_cut_off(autojump_clock: MockClock) -> None:
    clients: list[Client] = []
    async with trio.open_nursery() as connections:
        site = await serve(connections, fails)
        for path in ("stuck", "stuck", "a?for=1"):
            clients.append(site.connect())
            await clients[-1].send(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
        await wait_all_tasks_blocked()
        await site.stop()
        connections.cancel_scope.relative_deadline = 3

    assert trio.current_time() == 3
    assert (await clients[2].answer()).status == 200
    assert [await client.closed() for client in clients] == [True, True, True]


# Who is at the other end


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
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            server = Server(bind(path), echo, admit=admit)
            await nursery.start(partial(server.serve, handler_nursery=nursery))
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


async def test_another_user_who_does_not_give_up_is_a_line_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    admit = only(1000)

    with caplog.at_level(logging.WARNING, "neod"):
        for pid in range(100):
            assert admit(Peer(pid=pid, uid=1001, gid=1001)) is not None
            await trio.sleep(1)

    assert logged(caplog, "foreign_peer") == [
        {"uid": 1001, "pid": 0, "left_out": 0},
        {"uid": 1001, "pid": 60, "left_out": 59},
    ]


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


def test_a_peer_is_who_the_kernel_says() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)

    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())


async def test_a_refusal_arrives_although_the_peer_is_sending_yet(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()

    await client.send(b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000)

    assert (await client.answer()).code == "bad_request"
    assert await client.closed()


async def test_the_place_of_a_peer_that_hung_up_is_free_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    gone = trio.Event()

    async def never(
        _request: Request, _body: bytes, _client: clients.Client | None = None
    ) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            gone.set()
        raise AssertionError

    site = await serve(nursery, never, limits=config.Server(max_connections=1))
    for eof in (False, True):
        client = site.connect()
        await client.send(GET)
        if eof:
            await client.stream.send_eof()
        await trio.sleep(10)
        began = trio.current_time()
        await client.stream.aclose()
        await gone.wait()
        gone = trio.Event()
        assert trio.current_time() == began


async def test_a_peer_that_closed_only_its_own_direction_gets_its_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client = (await serve(nursery)).connect()
    await client.send(b"GET /a?for=100 HTTP/1.0\r\n\r\n")
    await client.stream.send_eof()

    assert (await client.answer()).body == b"GET /a 0"
    assert await client.closed()


def test_no_more_connections_are_taken_than_there_can_be_files() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert affordable(config.Server(max_connections=10)).max_connections == 10
    taken = affordable(config.Server(max_connections=soft, idle_timeout=3.0))
    assert 0 < taken.max_connections < soft
    assert taken.idle_timeout == 3
