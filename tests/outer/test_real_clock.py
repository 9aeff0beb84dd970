"""The kernel's timer, for once with a system clock that is really set: to its own value."""

import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from neod.clock import SYSTEM, tick

pytestmark = pytest.mark.outer

HASTE = 1.0  # seconds in which a jump has to be told


@pytest.fixture
def set_clock() -> Callable[[], None]:
    """Sets the system's clock, if this user may; it loses a microsecond or two."""

    def to_itself() -> None:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))

    try:
        to_itself()
    except PermissionError as error:
        pytest.skip(f"the system's clock cannot be set here: {error.strerror}")
    return to_itself


async def test_each_setting_of_the_clock_is_told(set_clock: Callable[[], None]) -> None:
    with SYSTEM.jumps() as jumped:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(jumped)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.relative_deadline = HASTE
                set_clock()
            assert not nursery.cancel_scope.cancelled_caught


async def test_one_that_comes_while_nobody_waits_is_told_once(
    set_clock: Callable[[], None],
) -> None:
    with SYSTEM.jumps() as jumped:
        for _ in range(2):
            set_clock()
            set_clock()
            with trio.fail_after(HASTE):
                await jumped()
            with trio.move_on_after(0.05) as again:
                await jumped()
            assert again.cancelled_caught


async def test_the_tick_comes_at_once(set_clock: Callable[[], None]) -> None:
    called = trio.Event()
    with trio.fail_after(HASTE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, SYSTEM, called.set)
            await trio.testing.wait_all_tasks_blocked()
            set_clock()
            await called.wait()
            nursery.cancel_scope.cancel()
