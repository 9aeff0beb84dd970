"""Waiting for a time, the tick, and the kernel's timer that tells of jumps.

What needs the system's clock to be set is in tests/outer/test_real_clock.py.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import timerfd
from neod.clock import GRAIN, SYSTEM, TICK, Clock, Jumped, clock_time, rfc3339, tick, wait_until
from tests.fakes.clock import FrozenClock, VirtualClock

HOUR = 3600.0
YEAR = 366 * 24 * HOUR


class Bug(Exception):  # noqa: N818
    pass


async def ticks(
    machine: VirtualClock, seconds: float, at: dict[float, Callable[[], None]] | None = None
) -> list[float]:
    """When the tick called, within some seconds; `at` has what happens at which second."""
    called: list[float] = []

    async def happen(second: float, what: Callable[[], None]) -> None:
        await trio.sleep(second)
        what()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, machine.clock, lambda: called.append(trio.current_time()))
            for second, what in (at or {}).items():
                nursery.start_soon(happen, second, what)
    return called


# Waiting


async def test_it_waits_until_the_time_however_far(autojump_clock: MockClock) -> None:
    machine = VirtualClock()
    await wait_until(machine.wall() + YEAR, machine.clock, trio.Event())
    assert trio.current_time() == YEAR


async def test_it_waits_for_nothing_but_the_interrupt_without_a_time(
    autojump_clock: MockClock,
) -> None:
    with trio.move_on_after(YEAR) as patience:
        await wait_until(None, VirtualClock().clock, trio.Event())
    assert patience.cancelled_caught


@pytest.mark.parametrize("left", [None, YEAR])
async def test_the_interrupt_ends_it_at_once(left: float | None, autojump_clock: MockClock) -> None:
    machine, interrupt = VirtualClock(), trio.Event()
    async with trio.open_nursery() as nursery:
        when = None if left is None else machine.wall() + left
        nursery.start_soon(wait_until, when, machine.clock, interrupt)
        await trio.sleep(7)
        interrupt.set()
    assert trio.current_time() == 7


@pytest.mark.parametrize("left", [0.0, -1.0, -YEAR])
async def test_a_time_that_is_past_still_takes_a_grain(
    left: float, autojump_clock: MockClock
) -> None:
    machine = VirtualClock()
    await wait_until(machine.wall() + left, machine.clock, trio.Event())
    assert trio.current_time() == GRAIN


async def test_a_jump_alone_does_not_end_it(autojump_clock: MockClock) -> None:
    machine = VirtualClock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_until, machine.wall() + 100, machine.clock, trio.Event())
        await trio.sleep(10)
        machine.suspend(HOUR)
    assert trio.current_time() == 100


async def test_the_real_loop_sleeps_with_a_year_as_its_only_deadline() -> None:
    interrupt, token = trio.Event(), trio.lowlevel.current_trio_token()
    waker = threading.Timer(0.01, token.run_sync_soon, [interrupt.set])
    waker.start()
    await wait_until(SYSTEM.wall() + YEAR, SYSTEM, interrupt)
    waker.join()


# The tick


async def test_it_ticks_every_15_seconds(autojump_clock: MockClock) -> None:
    assert await ticks(VirtualClock(), 50) == [15, 30, 45]


async def test_it_ticks_as_often_as_it_is_told(autojump_clock: MockClock) -> None:
    called: list[float] = []
    with trio.move_on_after(5):
        await tick(VirtualClock().clock, lambda: called.append(trio.current_time()), 2)
    assert called == [2, 4]


async def test_it_leaves_an_idle_daemon_a_third_of_its_six_wakings_a_minute(
    autojump_clock: MockClock,
) -> None:
    assert len(await ticks(VirtualClock(), HOUR)) <= 60 * 4


@pytest.mark.parametrize(
    ("jump", "seconds"), [("step", HOUR), ("step", -HOUR), ("step", 0.001), ("suspend", HOUR)]
)
async def test_it_ticks_at_once_after_a_jump(
    jump: str, seconds: float, autojump_clock: MockClock
) -> None:
    machine = VirtualClock()
    assert await ticks(machine, 50, {4: lambda: getattr(machine, jump)(seconds)}) == [4, 19, 34, 49]


async def test_each_jump_has_its_tick(autojump_clock: MockClock) -> None:
    machine = VirtualClock()

    def jump() -> None:
        machine.step(1)

    assert await ticks(machine, 20, {4: jump, 5: jump, 15: jump}) == [4, 5, 15]


@pytest.mark.parametrize("jump", ["step", "suspend"])
async def test_without_notice_a_jump_is_seen_at_the_next_tick(
    jump: str, autojump_clock: MockClock
) -> None:
    machine = VirtualClock()
    machine.notices_jumps = False
    assert await ticks(machine, 20, {4: lambda: getattr(machine, jump)(HOUR)}) == [TICK]


async def test_clocks_that_never_jump_are_ticked_all_the_same(autojump_clock: MockClock) -> None:
    called: list[float] = []
    with trio.move_on_after(20):
        await tick(FrozenClock().clock, lambda: called.append(trio.current_time()))
    assert called == [TICK]


async def test_a_jump_that_comes_of_the_call_itself_is_not_lost(autojump_clock: MockClock) -> None:
    machine, called = VirtualClock(), list[float]()

    def each() -> None:
        called.append(trio.current_time())
        if len(called) == 1:
            machine.step(1)

    with trio.move_on_after(20):
        await tick(machine.clock, each)
    assert called == [TICK, TICK]


async def test_what_the_call_raises_ends_it_and_leaves_the_jumps(
    autojump_clock: MockClock,
) -> None:
    left = False

    @contextmanager
    def jumps() -> Iterator[Jumped]:
        nonlocal left
        try:
            yield trio.sleep_forever
        finally:
            left = True

    def each() -> None:
        raise Bug

    with pytest.raises(Bug):
        await tick(Clock(wall=float, boot=float, jumps=jumps), each)
    assert left


# The clocks of tests


async def test_a_virtual_jump_between_two_calls_is_told_once(autojump_clock: MockClock) -> None:
    machine = VirtualClock()
    machine.step(1)
    with machine.clock.jumps() as jumped:
        with trio.move_on_after(1) as before:
            await jumped()
        machine.step(1)
        machine.suspend(1)
        await jumped()
        with trio.move_on_after(1) as after:
            await jumped()
    assert before.cancelled_caught
    assert after.cancelled_caught


# The kernel's timer


@pytest.fixture
def timer() -> Callable[[], list[int]]:
    """Gives the timers that this process has open beside those that it had."""
    had = set(timers())
    return lambda: [fd for fd in timers() if fd not in had]


def timers() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = entry.readlink()
        except FileNotFoundError:  # the folder's own
            continue
        if target.name == "anon_inode:[timerfd]":
            yield int(entry.name)


def state_of(fd: int) -> dict[str, str]:
    info = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    return dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)


def test_the_systems_clock_has_it() -> None:
    assert SYSTEM.jumps is timerfd.jumps
    assert SYSTEM.boot() >= time.monotonic() - 1


async def test_a_clock_that_is_set_cancels_it(timer: Callable[[], list[int]]) -> None:
    with timerfd.jumps():
        [fd] = timer()
        said = state_of(fd)
    assert int(said["clockid"]) == time.CLOCK_REALTIME
    assert int(said["settime flags"], 8) == 3  # absolute, and cancelled when the clock is set
    assert int(said["it_value"].strip("()").split(",")[0]) > 5e9  # seconds from now


async def test_it_is_kept_from_children_and_never_blocks(timer: Callable[[], list[int]]) -> None:
    with timerfd.jumps():
        [fd] = timer()
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


async def test_a_wait_can_be_cancelled_and_begun_again(timer: Callable[[], list[int]]) -> None:
    with timerfd.jumps() as jumped:
        for _ in range(3):
            with trio.move_on_after(0.001) as patience:
                await jumped()
            assert patience.cancelled_caught
    assert timer() == []


async def test_no_timer_is_left_after_a_hundred(timer: Callable[[], list[int]]) -> None:
    with timerfd.jumps():
        for _ in range(100):
            with timerfd.jumps() as jumped, trio.CancelScope() as scope:
                scope.cancel()
                await jumped()
            with pytest.raises(Bug), timerfd.jumps():
                raise Bug
        assert len(timer()) == 1
    assert timer() == []


async def test_who_still_waits_when_it_is_closed_is_told() -> None:
    async def wait(jumped: Jumped) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await jumped()

    async with trio.open_nursery() as nursery:
        with timerfd.jumps() as jumped:
            nursery.start_soon(wait, jumped)  # noqa: ASYNC111 - that is the case here
            await wait_all_tasks_blocked()


async def test_the_distant_date_itself_is_no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timerfd, "FAR", 1)  # 1970
    reads = 0
    read = os.read

    def counted(fd: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(fd, length)

    monkeypatch.setattr(os, "read", counted)
    with timerfd.jumps() as jumped, trio.move_on_after(0.01) as patience:
        await jumped()
    assert patience.cancelled_caught
    assert reads == 1


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("_create", OSError(errno.EPERM, "a sandbox forbids it")),
        ("_create", OSError(errno.ENOSYS, "an old kernel")),
        ("_create", AttributeError("another libc")),
        ("_set", OSError(errno.EINVAL, "a kernel that cannot cancel it")),
    ],
)
async def test_a_machine_without_it_never_tells_of_a_jump(
    step: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    timer: Callable[[], list[int]],
    autojump_clock: MockClock,
) -> None:
    def fail(*arguments: object) -> int:
        raise error

    monkeypatch.setattr(timerfd, step, fail)
    with timerfd.jumps() as jumped:
        assert timer() == []
        with trio.move_on_after(YEAR) as patience:
            await jumped()
    assert patience.cancelled_caught


async def test_a_timer_that_was_cancelled_is_armed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[int] = []

    def cancelled(fd: int, length: int) -> bytes:
        raise OSError(errno.ECANCELED, "the clock was set")

    monkeypatch.setattr(timerfd, "FAR", 1)  # 1970: there is something to read
    with timerfd.jumps() as jumped:
        monkeypatch.setattr(os, "read", cancelled)
        monkeypatch.setattr(timerfd, "_set", armed.append)
        await jumped()
        await jumped()
    assert len(armed) == 2


async def test_a_timer_that_breaks_is_no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int, length: int) -> bytes:
        raise OSError(errno.EIO, "that cannot be")

    monkeypatch.setattr(timerfd, "FAR", 1)
    with timerfd.jumps() as jumped:
        monkeypatch.setattr(os, "read", broken)
        with pytest.raises(OSError, match="that cannot be"):
            await jumped()


def test_what_the_kernel_refuses_is_told_by_its_number() -> None:
    with Path(os.devnull).open() as no_timer, pytest.raises(OSError, match="Invalid") as refused:
        timerfd._set(no_timer.fileno())
    assert refused.value.errno == errno.EINVAL


async def test_a_jump_while_it_is_armed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, timer: Callable[[], list[int]]
) -> None:
    def jump(fd: int) -> None:
        raise OSError(errno.ECANCELED, "the clock was set")

    monkeypatch.setattr(timerfd, "_set", jump)
    with timerfd.jumps():
        assert len(timer()) == 1


# For people


@pytest.mark.parametrize(
    ("moment", "written", "read"),
    [
        (1_687_977_000.0, "2023-06-29T00:00:00+05:30", "00:00:00 IST"),
        (1_687_977_003.999, "2023-06-29T00:00:03+05:30", "00:00:03 IST"),
        (0.0, "1970-01-01T05:30:00+05:30", "05:30:00 IST"),
    ],
)
def test_a_moment_is_written_as_in_india(moment: float, written: str, read: str) -> None:
    assert rfc3339(moment) == written
    assert clock_time(moment) == read


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_where_the_machine_is_does_not_matter(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert rfc3339(1_687_977_000.0) == "2023-06-29T00:00:00+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()
