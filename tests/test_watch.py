"""Who watches is told what happens: all of it if quick, how it stands if slow, and nothing dead."""

import json
from contextlib import suppress
from typing import get_args

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod.account.events import Event, Events, News
from neod.account.history import Word
from neod.ipc.api import Api
from neod.ipc.http1 import Stream, parse
from neod.kotak.evidence import read_evidence
from neod.sandbox.broker import Settings
from tests.fakes.clock import START, VirtualClock
from tests.fakes.desk import Desk, code, told
from tests.fakes.kotak import Canned, Hang
from tests.fakes.streams import Door
from tests.fakes.world import SOMEBODY, World, world_of_totp
from tests.test_daemon import running

HOUR = 3600.0
EVENTS: tuple[Event, ...] = get_args(Event)


class Watcher:
    """Reads the lines of one watch; `slow` has it take nothing until it is quick again."""

    def __init__(self, api: Api, query: str = "") -> None:
        self.lines: list[dict[str, object]] = []
        self.ended = False
        self.quick = trio.Event()
        self.quick.set()
        self._api = api
        self._query = query

    def slow(self) -> None:
        self.quick = trio.Event()

    @property
    def events(self) -> list[object]:
        return [line["event"] for line in self.lines]

    def last(self, event: str) -> dict[str, object]:
        return next(line for line in reversed(self.lines) if line["event"] == event)

    async def run(  # noqa: ASYNC114 - started in one place
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        request = parse(f"GET /v1/watch{self._query} HTTP/1.1\r\n\r\n".encode())
        stream = await self._api.respond(request, b"")
        assert isinstance(stream, Stream)
        started = False

        async def send(some: bytes) -> None:
            nonlocal started
            await trio.lowlevel.checkpoint()
            await self.quick.wait()
            self.lines += map(json.loads, some.splitlines())
            if not started:
                started = True
                task_status.started()

        await stream.write(send)
        self.ended = True


async def watching(nursery: trio.Nursery, api: Api, query: str = "") -> Watcher:
    watcher = Watcher(api, query)
    await nursery.start(watcher.run)
    return watcher


async def living(nursery: trio.Nursery, world: World) -> Watcher:
    """Who watches a world, from before its keeper begins."""
    watcher = await watching(nursery, Api({"main": world.keeper}, START, news=world.board.news))
    nursery.start_soon(world.run)
    return watcher


# The first line


async def test_the_first_line_is_the_session_as_the_session_route_gives_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")
    desk.publish(7)

    [line] = (await watching(nursery, desk.api)).lines

    assert set(line) == {"event", "account", "at", "state", "generation", "detail", "session"}
    assert (line["event"], line["account"], line["generation"]) == ("session", "main", 7)
    assert line["session"] == told(await desk.ask("/v1/session"))


async def test_without_a_valid_session_the_first_line_is_the_state(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.publish(7, lives=100)
    await trio.sleep(101)
    desk.stand("backing_off")

    [line] = (await watching(nursery, desk.api)).lines

    assert (line["event"], line["state"], line["generation"]) == ("state", "backing_off", 7)
    assert line["detail"] == "because of backing_off"
    assert "session" not in line


@pytest.mark.parametrize(
    ("after", "first"), [("6", "session"), ("7", "state"), ("8", "session"), ("", "session")]
)
async def test_who_comes_back_is_given_a_session_that_is_not_its_own(
    autojump_clock: MockClock, nursery: trio.Nursery, after: str, first: str
) -> None:
    desk = Desk("main")
    desk.publish(7)

    watcher = await watching(nursery, desk.api, f"?after={after}" if after else "")

    assert watcher.events == [first]


async def test_all_accounts_are_watched_or_the_one_that_is_named(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("first", "second")
    both = await watching(nursery, desk.api)
    one = await watching(nursery, desk.api, "?account=second")

    desk.publish(1, name="first")
    desk.publish(1, name="second")
    await wait_all_tasks_blocked()

    assert [(line["account"], line["event"]) for line in both.lines] == [
        ("first", "state"),
        ("second", "state"),
        ("first", "session"),
        ("second", "session"),
    ]
    assert [line["account"] for line in one.lines] == ["second", "second"]


@pytest.mark.parametrize(
    ("names", "query", "problem"),
    [
        (["main"], "?account=other", "unknown_account"),
        ([], "", "unknown_account"),
        (["main"], "?after=x", "bad_request"),
    ],
)
async def test_what_cannot_be_watched_is_a_problem(
    autojump_clock: MockClock, names: list[str], query: str, problem: str
) -> None:
    assert code(await Desk(*names).ask(f"/v1/watch{query}")) == problem


async def test_one_watcher_too_many_is_turned_away_and_has_its_place_when_another_goes(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(Watcher(desk.api).run)
        await wait_all_tasks_blocked()
        assert code(await desk.ask("/v1/watch")) == "too_many_connections"
        assert watchers_of(told(await desk.ask("/v1/status"))) == 3
        nursery.cancel_scope.cancel()

    assert watchers_of(told(await desk.ask("/v1/status"))) == 0
    async with trio.open_nursery() as nursery:
        await watching(nursery, desk.api)
        nursery.cancel_scope.cancel()


def watchers_of(status: dict[str, object]) -> object:
    accounts = status["accounts"]
    assert isinstance(accounts, dict)
    return accounts["main"]["watchers"]


# Quick and slow


async def test_a_slow_watcher_gets_the_newest_and_delays_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")
    desk.publish(1)
    slow, quick = await watching(nursery, desk.api), await watching(nursery, desk.api)

    slow.slow()
    for generation in range(2, 50):
        desk.publish(generation)
        await wait_all_tasks_blocked()
    slow.quick.set()
    await wait_all_tasks_blocked()

    assert [line["generation"] for line in quick.lines] == list(range(1, 50))
    # The second was on its way when it became slow.
    assert [line["generation"] for line in slow.lines] == [1, 2, 49]


async def test_p2_who_was_slow_is_given_no_session_that_has_lapsed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=100))
    api = Api({"main": world.keeper}, START, news=world.board.news)
    watcher = await watching(nursery, api)
    watcher.slow()
    world.board.tell("paused", "what it is being told of while it is slow")
    await wait_all_tasks_blocked()
    await world.run_for(5)
    await trio.sleep(200)
    world.board.look()
    watcher.quick.set()
    await wait_all_tasks_blocked()

    assert watcher.events == ["state", "paused", "expired"]


@given(st.lists(st.sampled_from(EVENTS), max_size=40), st.lists(st.integers(0, 40), max_size=10))
def test_whoever_reads_when_they_like_learns_the_newest_of_each_kind(
    happened: list[Event], reads: list[int]
) -> None:
    events, seen = Events(News()), 0
    told_last: dict[str, float] = {}
    for number, event in enumerate([*happened, None]):
        if number in reads or event is None:
            some = events.since(seen)
            assert [each.number for each in some] == sorted(each.number for each in some)
            assert len({each.event for each in some}) == len(some) <= len(EVENTS)
            told_last |= {each.event: each.at for each in some}
            seen = events.count
        if event is not None:
            events.add(event, float(number), "")

    newest = {each.event: each.at for each in events.since(0)}
    assert told_last == newest
    assert newest.keys() >= set(happened)


# What happens


async def test_an_accounts_day_as_it_is_watched(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Each login is a session; an outage over the end is told of, and that it is over."""
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    watcher = await living(nursery, world)
    await trio.sleep(10)
    assert watcher.events == ["state", "session"]
    assert watcher.last("session")["state"] == "ok"

    world.kotak.always = lambda _: Canned(503)
    await trio.sleep(HOUR)
    failed = watcher.events.count("login_failed")
    assert failed > 5
    assert [event for event in watcher.events if event != "login_failed"] == [
        "state",
        "session",
        "expiring",
        "expired",
    ]
    assert watcher.last("login_failed")["state"] == "backing_off"
    assert watcher.last("expired")["detail"] == "generation 1 has lapsed"

    world.kotak.always = None
    await trio.sleep(HOUR / 4)
    assert watcher.events[-2:] == ["session", "recovered"]
    assert watcher.lines[-1]["state"] == "ok"
    assert watcher.lines[-1]["generation"] == 2


async def test_who_is_told_of_a_session_sees_what_comes_next_and_not_a_renewal(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    seen: list[tuple[str, str, float | None]] = []

    async def look() -> None:
        while world.board.held is None:
            await world.board.changed.wait()
        standing = world.board.standing
        seen.append((standing.state, standing.why, standing.next))

    nursery.start_soon(look)
    await wait_all_tasks_blocked()
    nursery.start_soon(world.run)
    await trio.sleep(10)

    now = world.board.standing
    assert seen == [(now.state, now.why, now.next)]
    assert now.why.startswith("renews at ")


async def test_the_end_is_told_in_time_though_a_login_hangs(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    watcher = await living(nursery, world)
    await trio.sleep(1)
    assert world.board.held
    world.kotak.always = lambda _: Hang()

    await trio.sleep(HOUR + 10)

    for event, ahead in ("expiring", 900.0), ("expired", 0.0):
        at = watcher.last(event)["at"]
        assert at == pytest.approx(world.board.held.session.expires_at - ahead, abs=1.1)


async def test_a_suspend_over_the_end_is_told_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    watcher = await living(nursery, world)
    await trio.sleep(1)
    world.kotak.always = lambda _: Hang()

    world.time.suspend(3 * HOUR)
    await wait_all_tasks_blocked()

    assert watcher.events == ["state", "session", "expired"]


async def test_a_suspend_over_the_end_is_told_at_once_though_a_login_hangs(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    watcher = await living(nursery, world)
    await trio.sleep(1)
    world.kotak.always = lambda _: Hang()
    nursery.start_soon(world.keeper.renew, SOMEBODY)
    await trio.sleep(1)

    world.time.suspend(3 * HOUR)
    await wait_all_tasks_blocked()

    assert watcher.events == ["state", "session", "expired"]


async def test_a_dead_session_is_expired_and_its_successor_follows(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = world_of_totp()
    watcher = await living(nursery, world)
    await trio.sleep(HOUR / 2)
    world.kotak.broker.sessions.clear()

    await world.keeper.reject(1, read_evidence("100022"), SOMEBODY)
    await trio.sleep(60)

    assert watcher.events == ["state", "session", "expired", "session"]


@pytest.mark.parametrize(
    ("changes", "event", "state"),
    [
        ({"password": "wrong"}, "credentials_rejected", "credentials_rejected"),
        ({"password": {"env": "NOT_THERE"}}, "blocked", "blocked"),
        ({"second_factor": "otp"}, "otp_needed", "otp_needed"),
    ],
    ids=["refused", "no secret", "otp"],
)
async def test_what_a_person_has_to_mend_is_told_once(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    changes: dict[str, object],
    event: str,
    state: str,
) -> None:
    world = World()
    world.boot(**changes)
    watcher = await living(nursery, world)

    await trio.sleep(2)

    assert watcher.events.count(event) == 1
    assert watcher.last(event)["state"] == state
    assert watcher.last(event)["detail"]


async def test_pause_and_resume_are_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = World()
    watcher = await living(nursery, world)
    await trio.sleep(1)

    await world.keeper.pause(Word("pause"))
    await trio.sleep(1)
    assert (watcher.lines[-1]["event"], watcher.lines[-1]["state"]) == ("paused", "paused")
    await world.keeper.resume(Word("resume"))
    await trio.sleep(1)
    assert (watcher.lines[-1]["event"], watcher.lines[-1]["state"]) == ("resumed", "ok")


async def test_a_day_that_begins_without_a_session_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    # START is 03:43 in India, on a Wednesday.
    hours = {"hours": ["Mon-Fri 08:30-15:45"], "ready_by": "08:45"}
    world = World(renewal=hours)
    world.kotak.always = lambda _: Canned(503)
    watcher = await living(nursery, world)

    await trio.sleep(6 * HOUR)

    assert watcher.events.count("not_ready_by") == 1


async def test_a_contention_is_told_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = World(Settings(life=10 * HOUR, bearer_life=10 * HOUR))
    watcher = await living(nursery, world)
    await trio.sleep(HOUR / 2)

    async def reject() -> None:
        with suppress(AssertionError):
            await world.keeper.reject(world.generation, read_evidence("100022"), SOMEBODY)

    await reject()
    await trio.sleep(90)
    await reject()
    await trio.sleep(90)
    await reject()
    await trio.sleep(10)

    assert watcher.events.count("contended") == 1
    assert "another program" in str(watcher.last("contended")["detail"])


async def test_the_last_line_is_a_bye(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = Desk("first", "second")
    watcher = await watching(nursery, desk.api)

    for board in desk.boards.values():
        board.close()
    await wait_all_tasks_blocked()

    assert watcher.ended
    assert watcher.events == ["state", "state", "bye", "bye"]


# Over a socket


async def heard_from(door: Door, head: bytes, *, half_closed: bool = False) -> trio.SocketStream:
    stream = door.connect()
    await stream.send_all(head)
    if half_closed:
        await stream.send_eof()
    return stream


async def test_over_http_1_0_it_is_plain_lines_after_the_empty_line(
    autojump_clock: MockClock,
) -> None:
    world = World()
    async with running(world) as daemon:
        stream = await heard_from(daemon.door, b"GET /v1/watch HTTP/1.0\r\n\r\n")
        await trio.sleep(31)
        daemon.stop.set()
        raw = b""
        async for some in stream:
            raw += some

    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/x-ndjson\r\n" in head
    assert b"chunked" not in head.lower()
    events = [json.loads(line)["event"] for line in body.splitlines()]
    assert events == ["state", "session", "heartbeat", "heartbeat", "bye"]


async def test_over_http_1_1_it_comes_in_chunks_that_are_whole_lines(
    autojump_clock: MockClock,
) -> None:
    async with running(World()) as daemon:
        stream = await heard_from(daemon.door, b"GET /v1/watch HTTP/1.1\r\n\r\n")
        await trio.sleep(20)
        daemon.stop.set()
        raw = b""
        async for some in stream:
            raw += some

    head, _, rest = raw.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    events = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunk, rest = rest[: int(size, 16)], rest[int(size, 16) :]
        assert rest[:2] == b"\r\n"
        rest = rest[2:]
        assert chunk.endswith(b"\n") or not chunk
        events += [json.loads(line)["event"] for line in chunk.splitlines()]
    assert events == ["state", "session", "heartbeat", "bye"]
    assert size == b"0"


async def test_a_watcher_that_closed_its_own_direction_is_still_there(
    autojump_clock: MockClock,
) -> None:
    async with running(World()) as daemon:
        head = b"GET /v1/watch HTTP/1.0\r\n\r\n"
        stream = await heard_from(daemon.door, head, half_closed=True)
        await trio.sleep(100)

        assert daemon.api.watchers.of["main"] == 1
        assert (await stream.receive_some(100_000)).count(b'"heartbeat"') == 6


async def test_a_watcher_that_has_gone_is_noticed_at_once(autojump_clock: MockClock) -> None:
    async with running(World()) as daemon:
        stream = await heard_from(daemon.door, b"GET /v1/watch HTTP/1.1\r\n\r\n")
        await stream.receive_some()
        assert daemon.api.watchers.of["main"] == 1

        await stream.aclose()
        await wait_all_tasks_blocked()

        assert daemon.api.watchers.of["main"] == 0


async def test_a_watcher_that_takes_nothing_is_cut_off_and_delays_nobody(
    autojump_clock: MockClock,
) -> None:
    async with running(World()) as daemon:
        deaf = await heard_from(daemon.door, b"GET /v1/watch HTTP/1.1\r\n\r\n")
        board = daemon.worlds["main"].board
        await trio.sleep(1)
        held = board.held
        assert held
        for _ in range(2000):  # more than a socket holds
            board.publish(held)
            await trio.lowlevel.checkpoint()
            if daemon.api.watchers.of["main"] == 0:
                break
        well = await heard_from(daemon.door, b"GET /v1/watch HTTP/1.1\r\n\r\n")
        assert b'"session"' in await well.receive_some()
        assert daemon.api.watchers.of["main"] == 2

        await trio.sleep(11)

        assert daemon.api.watchers.of["main"] == 1
        await deaf.aclose()
