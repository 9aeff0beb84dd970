"""What time it is, and waiting for a time. The one module that reads the machine's clocks.

Two clocks are read, since each is wrong in its own way. The wall clock can be stepped by a
person or by NTP. CLOCK_BOOTTIME cannot, and it goes on counting while the machine sleeps, but
it says nothing about dates. Trio's own clock stands still in suspend, so no deadline of a
session is ever measured with it.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import msgspec
import trio

SLICE = 30.0  # seconds: the longest that neod goes without looking at the wall clock
GRAIN = 0.001  # seconds: the least that is waited, so that no rounding makes a loop spin
INDIA = timezone(timedelta(hours=5, minutes=30), "IST")


class Clock(msgspec.Struct, frozen=True):
    """The clocks, so that tests can have others."""

    wall: Callable[[], float]  # seconds since the epoch
    boot: Callable[[], float]  # seconds since the machine booted, suspend included


SYSTEM = Clock(
    wall=time.time,  # noqa: TID251 - here it is made into a Clock
    boot=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
)


async def wait_until(when: float | None, clock: Clock, interrupt: trio.Event) -> None:
    """Return once the wall clock shows `when`, or at `interrupt`, whichever is first.

    It may return early, at least every SLICE seconds: the caller looks at the time again, and
    so learns of a suspend or of a step. With `when` None only that and `interrupt` end it.
    """
    left = SLICE if when is None else min(SLICE, max(GRAIN, when - clock.wall()))
    with trio.move_on_after(left):
        await interrupt.wait()


def rfc3339(moment: float) -> str:
    """A moment as India writes it: 2023-06-29T00:00:00+05:30."""
    return datetime.fromtimestamp(moment, INDIA).isoformat(timespec="seconds")


def clock_time(moment: float) -> str:
    """The time of day in India, for a person: 00:00:03 IST."""
    return datetime.fromtimestamp(moment, INDIA).strftime("%H:%M:%S IST")
