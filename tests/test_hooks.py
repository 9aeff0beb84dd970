"""The user's own programs: what they are given, one at a time, and never in neod's way."""

import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import hooks
from neod.account.events import Event
from neod.config import Hooks
from tests.fakes.desk import Desk, told

ENVIRON = {"PATH": os.environ["PATH"], "NEOD_CONFIG": "x", "PASSWORD": "canary"}


class Fifo:
    """What hooks write into a pipe that has a name: a line each.

    A hook waits for the first read, and for none after that. The pipe stays open, for at its end
    two that write soon after one another cannot be told apart.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fifo"
        os.mkfifo(self.path)
        self._lines: IO[str] | None = None

    async def read(self) -> str:
        """The next line."""
        line = await trio.to_thread.run_sync(self._opened().readline, abandon_on_cancel=True)
        return line.rstrip("\n")

    def _opened(self) -> IO[str]:
        if self._lines is None:
            self._lines = os.fdopen(os.open(self.path, os.O_RDWR), "r")
        return self._lines

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    fifo = Fifo(tmp_path)
    yield fifo
    fifo.close()


@asynccontextmanager
async def hooked(desk: Desk, **programs: str) -> AsyncIterator[None]:
    """Run the hooks of the desk's account: shell scripts by name."""
    keeper = desk.keepers["main"]
    scripts = Hooks(**{name: ("/bin/sh", "-c", text) for name, text in programs.items()})
    keeper.account = msgspec.structs.replace(keeper.account, hooks=scripts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooks.run, keeper, ENVIRON, "/run/neod.sock", {"PASSWORD"})
        yield
        nursery.cancel_scope.cancel()


async def test_each_new_session_goes_to_on_rotate_as_the_route_gives_it(
    mock_clock: MockClock, fifo: Fifo
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_rotate=f"cat >{fifo.path}"):
        for generation in (1, 2):
            desk.publish(generation)
            given = await fifo.read()

            assert json.loads(given) == told(await desk.ask("/v1/session"))


async def test_an_event_goes_to_on_event_without_a_secret(
    mock_clock: MockClock, fifo: Fifo
) -> None:
    desk = Desk("main")
    desk.publish(7)
    async with hooked(desk, on_event=f"cat >{fifo.path}"):
        desk.boards["main"].tell("login_failed", "it is down")
        given = await fifo.read()

    assert json.loads(given) == {
        "event": "login_failed",
        "account": "main",
        "at": desk.clock.wall(),
        "state": "starting",
        "generation": 7,
        "detail": "it is down",
    }
    assert "token-7" not in given


async def test_a_hook_sees_where_neod_is_and_no_secret_of_the_environment(
    mock_clock: MockClock, fifo: Fifo
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_event=f"(env -0; echo) >{fifo.path}"):
        desk.boards["main"].tell("blocked", "")
        seen = dict(text.split("=", 1) for text in (await fifo.read()).split("\0") if text)

    assert seen["NEOD_SOCKET"] == "/run/neod.sock"
    assert seen["NEOD_ACCOUNT"] == "main"
    assert not {"PASSWORD", "NEOD_CONFIG"} & seen.keys()


async def test_an_outage_is_one_alert_until_it_is_over(mock_clock: MockClock, fifo: Fifo) -> None:
    desk = Desk("main")
    board = desk.boards["main"]
    events: list[Event] = []
    async with hooked(desk, on_event=f"cat >{fifo.path}"):
        for event in ("login_failed", "login_failed", "expired", "login_failed"):
            board.tell(event, "")
            await wait_all_tasks_blocked()
            if event not in events:
                events.append(json.loads(await fifo.read())["event"])
        desk.publish(1)
        events.append(json.loads(await fifo.read())["event"])
        board.tell("login_failed", "")
        events.append(json.loads(await fifo.read())["event"])

    assert events == ["login_failed", "expired", "recovered", "login_failed"]


async def test_one_runs_at_a_time_and_what_happened_meanwhile_is_told_as_it_is_by_then(
    mock_clock: MockClock, fifo: Fifo
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_rotate=f"cat >{fifo.path}"):
        desk.publish(1)
        await wait_all_tasks_blocked()  # the first waits for its reader
        for generation in range(2, 20):
            desk.publish(generation)
        given = [json.loads(await fifo.read())["generation"] for _ in range(2)]

    assert given == [1, 19]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no >&2; exit 3", "it ended with status 3"),
        ("kill -9 $$", "it was ended by signal 9"),
    ],
)
async def test_a_hook_that_fails_is_logged_and_the_next_one_runs(
    mock_clock: MockClock,
    fifo: Fifo,
    caplog: pytest.LogCaptureFixture,
    script: str,
    why: str,
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_event=f"grep -q blocked && {{ {script}; }}; echo >{fifo.path}"):
        desk.boards["main"].tell("blocked", "")
        desk.boards["main"].tell("expired", "")
        await fifo.read()

    [record] = [record for record in caplog.records if record.getMessage() == "hook_failed"]
    fields = record.__dict__["neod_fields"]
    assert record.levelno == logging.WARNING
    assert fields["why"] == why
    assert fields["action"] == "run what stands at account.main.hooks.on_event by hand"


async def test_a_hook_that_cannot_be_started_is_logged(
    mock_clock: MockClock, fifo: Fifo, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_rotate=f"echo >{fifo.path}"):
        keeper = desk.keepers["main"]
        scripts = msgspec.structs.replace(keeper.account.hooks, on_event=("/not/there",))
        keeper.account = msgspec.structs.replace(keeper.account, hooks=scripts)
        desk.boards["main"].tell("blocked", "")
        desk.publish(1)
        await fifo.read()

    assert "hook_failed" in caplog.messages


async def test_a_hook_that_hangs_is_killed_at_its_limit_and_delays_no_session(
    mock_clock: MockClock, fifo: Fifo, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk("main")
    # It is up once it was given all, which is after its limit has begun to count.
    hangs = f"cat >/dev/null; echo up >{fifo.path}; exec sleep 1000"
    async with hooked(desk, on_event=hangs):
        desk.boards["main"].tell("blocked", "")
        assert await fifo.read() == "up"
        desk.publish(1)
        assert (await desk.ask("/v1/token")).status == 200
        await wait_all_tasks_blocked()

        mock_clock.jump(hooks.LIMIT)
        assert await fifo.read() == "up"  # the next: `recovered`

    assert "hook_failed" in caplog.messages


async def test_a_hook_that_does_not_read_is_none_that_failed(
    mock_clock: MockClock, fifo: Fifo, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk("main")
    async with hooked(desk, on_event=f"exec <&-; echo done >{fifo.path}"):
        for event in ("blocked", "expired"):
            desk.boards["main"].tell(event, "x" * 1_000_000)
            assert await fifo.read() == "done"

    assert "hook_failed" not in caplog.messages
