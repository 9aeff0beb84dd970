"""The fast way says what the slow one says, to the byte, or nothing."""

import itertools
import os
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from neod import config
from neod.ipc import reads
from neod.ipc.clients import Client
from neod.ipc.conversation import Conversation
from neod.ipc.reads import HEAD_SHORT, Reads, Ready
from neod.ipc.server import Server
from tests.fakes.clock import FrozenClock
from tests.fakes.desk import HOUR, Desk, hold
from tests.fakes.streams import Door

READ = b"GET /v1/session HTTP/1.1\r\nHost: neod\r\n\r\n"

METHODS = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"])
PATHS = st.sampled_from(["/v1/token", "/v1/session", "/v1/%74oken", "/v1/status", "/livez", "/"])
# Few accounts and few numbers, so that they meet those of the sessions.
NUMBERS = st.sampled_from(["0", "1", "2", "3", "59.5", "60", "61", "301", "", "x", "-1", "1e3"])
QUERIES = st.lists(
    st.sampled_from(["account=main", "account=second", "account=none", "odd=1", "", "account="])
    | st.tuples(st.sampled_from(["min_valid", "after"]), NUMBERS).map("=".join)
    | st.sampled_from(["wait=0", "wait=1", "wait=301"]),
    max_size=3,
).map("&".join)
HEADERS = st.lists(
    st.sampled_from(
        [
            *("Host: neod", "Host: evil.example", "Host:", "Origin: null", "Connection: close"),
            *("Connection: keep-alive", "Content-Length: 0", "Content-Length: 3", "no colon"),
            *("Accept: */*", "Transfer-Encoding: chunked", f"X: {'a' * HEAD_SHORT}"),
        ]
    ),
    max_size=3,
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Requests as clients send them, and as they should not."""
    query = draw(QUERIES)
    target = f"{draw(PATHS)}?{query}" if query else draw(PATHS)
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    lines = [f"{draw(METHODS)} {target} HTTP/{version}", *draw(HEADERS)]
    end = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    return (end.join(lines) + end * 2).encode()


RECEIVED = (
    heads()
    | heads().map(lambda head: head[:-1])
    | heads().map(lambda head: b"\r\n" + head)
    | st.tuples(heads(), heads()).map(b"".join)
    | st.binary(max_size=30)
    | st.just(READ)
)
# What a daemon lives through: generations that come, clocks that go on or are set, a stop.
LIVES = st.lists(
    st.tuples(st.just("publish"), st.sampled_from(["main", "second"]))
    | st.tuples(st.just("advance"), st.sampled_from([1.0, 30.0, HOUR]))
    | st.tuples(st.just("step"), st.sampled_from([-HOUR, -1.0, 1.0, HOUR]))
    | st.tuples(st.just("close"), st.just(0.0))
    | st.tuples(st.just("ask"), RECEIVED),
    max_size=12,
)


async def by_conversation(desk: Desk, received: bytes) -> tuple[bytes, bool]:
    """What the slow way answers to one request, and whether it would take another."""
    ours, theirs = memory_stream_pair()
    talk = Conversation(theirs, desk.api.respond, config.Server(), received=received)
    kept = await talk.answer()
    await theirs.aclose()
    return b"".join([some async for some in ours]), kept


def in_virtual_time(desk: Desk, received: bytes) -> tuple[bytes, bool]:
    return trio.run(by_conversation, desk, received, clock=MockClock(autojump_threshold=0))


@given(st.sampled_from([("main",), ("second",), ("main", "second"), ()]), LIVES, RECEIVED)
def test_what_is_said_at_a_glance_is_what_the_routes_say(
    names: tuple[str, ...], life: list[tuple[str, object]], last: bytes
) -> None:
    time = FrozenClock()
    desk = Desk(*names, clock=time.clock)
    glance = Reads(desk.api).glance
    generations = itertools.count(1)
    for what, how in [*life, ("ask", last), ("ask", READ)]:
        match what, how:
            case "publish", str(name) if name in names:
                desk.publish(next(generations), lives=60, name=name)
            case "advance", float(seconds):
                time.advance(seconds)
            case "step", float(seconds):
                time.now += seconds
            case "close", _:
                for board in desk.boards.values():
                    board.close()
            case "ask", bytes(received):
                ready = glance(received)
                if ready is not None:
                    assert (ready.answer, ready.keep_alive) == in_virtual_time(desk, received)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["token", "session?account=main&min_valid=9&wait=9", "token?"])
@pytest.mark.parametrize("end", [" HTTP/1.1\r\nHost: unix\r\nAccept: */*\r\n\r\n", " HTTP/1.0\n\n"])
def test_what_bots_ask_again_and_again_is_said_at_a_glance(
    method: str, target: str, end: str
) -> None:
    desk = Desk("main")
    desk.publish()
    glance = Reads(desk.api).glance
    received = f"{method} /v1/{target}{end}".encode()

    for _ in range(2):
        ready = glance(received)
        assert ready is not None
        assert (ready.answer, ready.keep_alive) == in_virtual_time(desk, received)
        assert repr(ready) == f"Ready({len(ready.answer)} bytes)"
        desk.publish(2)


@pytest.mark.parametrize(("wall", "boot"), [(HOUR, 0), (0, HOUR), (HOUR, HOUR)])
def test_p2_a_session_that_lapsed_by_either_clock_is_not_said_at_a_glance(
    wall: float, boot: float
) -> None:
    time = FrozenClock()
    desk = Desk("main", clock=time.clock)
    desk.publish()
    glance = Reads(desk.api).glance
    assert glance(READ) is not None

    time.now += wall
    time.since_boot += boot
    assert glance(READ) is None

    time.now -= wall
    time.since_boot -= boot
    assert glance(READ) is None


def test_what_is_remembered_is_little_however_many_ask() -> None:
    desk = Desk("main")
    desk.publish()
    glance = Reads(desk.api).glance
    for number in range(2000):
        assert glance(READ[:-2] + b"X: %d\r\n\r\n" % number) is not None

    assert reads.understand.cache_info().currsize <= reads.HEADS
    assert glance(READ[:-2] + b"X: " + b"a" * HEAD_SHORT + b"\r\n\r\n") is None


# The same, with the server around it


async def over_a_socket(desk: Desk, said: list[bytes], *, fast: bool) -> bytes:
    """All that is answered to what is said, piece by piece."""
    glance = Reads(desk.api).take if fast else lambda _received, _client: None
    door = Door()
    heard = b""
    async with trio.open_nursery() as nursery:
        server = Server(door.socket, desk.api.respond, glance=glance)
        await nursery.start(partial(server.serve, handler_nursery=nursery))
        stream = door.connect()
        try:
            for piece in said:
                await stream.send_all(piece)
                await trio.sleep(1)
            await stream.send_eof()
            async for some in stream:
                heard += some
        except trio.BrokenResourceError:  # the server had enough
            heard += await rest(stream)
        nursery.cancel_scope.cancel()
    return heard


async def rest(stream: trio.SocketStream) -> bytes:
    heard = b""
    try:
        async for some in stream:
            heard += some
    except trio.BrokenResourceError:
        pass
    return heard


@given(st.lists(RECEIVED, max_size=5))
def test_a_connection_carries_the_same_bytes_with_glances_and_without(said: list[bytes]) -> None:
    heard = []
    for fast in (True, False):
        desk = Desk("main")
        desk.publish()
        talk = partial(over_a_socket, desk, said, fast=fast)
        heard.append(trio.run(talk, clock=MockClock(autojump_threshold=0)))

    assert heard[0] == heard[1]


async def test_an_answer_that_the_peer_takes_late_arrives_whole(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")
    desk.publish()
    ready = Reads(desk.api).glance(READ)
    assert ready is not None
    door = Door()
    server = Server(door.socket, desk.api.respond, glance=Reads(desk.api).take)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    stream = door.connect()
    count = 0
    with trio.move_on_after(5):
        while True:  # until all buffers are full
            await stream.send_all(READ)
            count += 1
            await trio.sleep(0.001)

    heard = b""
    with trio.move_on_after(1):
        async for some in stream:
            heard += some
    assert count > 100
    assert heard == ready.answer * (len(heard) // len(ready.answer))
    assert len(heard) // len(ready.answer) in (count, count + 1)


async def test_a_peer_that_asks_and_goes_harms_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")
    desk.publish()
    door = Door()
    server = Server(door.socket, desk.api.respond, glance=Reads(desk.api).take)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    kept = door.connect()
    await kept.send_all(READ)
    await kept.receive_some()
    for stream in (kept, door.connect()):
        os.write(stream.socket.fileno(), READ)
        await stream.aclose()

    stream = door.connect()
    await stream.send_all(READ)
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")


async def test_a_bug_in_a_glance_ends_that_connection_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")

    def glance(received: bytes, _client: Client) -> None:
        if received != READ:
            raise ZeroDivisionError

    door = Door()
    server = Server(door.socket, desk.api.respond, glance=glance)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    faulty, well = door.connect(), door.connect()
    await faulty.send_all(b"GET / HTTP/1.1\r\n\r\n")
    assert await faulty.receive_some() == b""
    await well.send_all(READ)
    assert b"not_ready" in await well.receive_some()


async def test_others_have_their_turn_while_many_ask_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answered, held = 0, hold(FrozenClock().clock)

    def glance(_received: bytes, _client: Client) -> Ready:
        nonlocal answered
        answered += 1
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        return Ready(answer, keep_alive=True, route="/v1/token", held=held)

    door = Door()
    server = Server(door.socket, Desk("main").api.respond, glance=glance)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    streams = [door.connect() for _ in range(400)]
    for number in (1, 2):  # new ones, and then known ones
        for stream in streams:
            os.write(stream.socket.fileno(), READ)
        while answered < number * len(streams):
            before = answered
            await trio.lowlevel.checkpoint()
            assert answered - before < 200
