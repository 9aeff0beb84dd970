"""What time it is, and waiting for a time. The one module that reads the machine's clocks.

Two clocks are read, since each is wrong in its own way. The wall clock can be stepped by a
person or by NTP. CLOCK_BOOTTIME cannot, and it goes on counting while the machine sleeps, but
it says nothing about dates. Trio's own clock stands still in suspend, so no deadline of a
session is ever measured with it.
"""

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta, timezone
from typing import Never

import msgspec
import trio

from neod import timerfd

TICK = 15.0  # seconds: the longest that neod goes without looking at the wall clock
GRAIN = 0.001  # seconds: the least that is waited, so that no rounding makes a loop spin
INDIA = timezone(timedelta(hours=5, minutes=30), "IST")

Jumped = Callable[[], Awaitable[None]]


class Clock(msgspec.Struct, frozen=True):
    """The clocks, so that tests can have others.

    Entered, `jumps` gives a function that returns once the wall clock was set, or the machine
    woke from suspend, since it last returned: no jump is lost between two calls. It need not
    notice anything, and by default it does not.
    """

    wall: Callable[[], float]  # seconds since the epoch
    boot: Callable[[], float]  # seconds since the machine booted, suspend included
    jumps: Callable[[], AbstractContextManager[Jumped]] = lambda: nullcontext(trio.sleep_forever)


SYSTEM = Clock(
    wall=time.time,  # noqa: TID251 - here it is made into a Clock
    boot=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    jumps=timerfd.jumps,
)


async def tick(clock: Clock, each: Callable[[], None], every: float = TICK) -> Never:
    """Call `each` after every jump at once, and `every` seconds after its last call, for ever.

    The one tick of a process: whatever hangs on the wall clock is judged afresh by it.
    """
    with clock.jumps() as jumped:
        while True:
            with trio.move_on_after(every):
                await jumped()
            each()


async def wait_until(when: float | None, clock: Clock, interrupt: trio.Event) -> None:
    """Return at `interrupt`, or after the time that is left until `when`; None is never.

    What is left is known at the start, and counted by trio's clock: whoever has to learn of a
    suspend or of a step is interrupted by the tick. The caller looks at the time again.
    """
    left = math.inf if when is None else max(GRAIN, when - clock.wall())
    with trio.move_on_after(left):
        await interrupt.wait()


def rfc3339(moment: float) -> str:
    """A moment as India writes it: 2023-06-29T00:00:00+05:30."""
    return datetime.fromtimestamp(moment, INDIA).isoformat(timespec="seconds")


def clock_time(moment: float) -> str:
    """The time of day in India, for a person: 00:00:03 IST."""
    return datetime.fromtimestamp(moment, INDIA).strftime("%H:%M:%S IST")
