"""The hours in which an account may be logged in: windows of weekdays, less holidays. Pure.

A window belongs to one day in India and ends on it. There is no daylight saving, so every day
has 24 hours, and a time of day is so many seconds after midnight.
"""

import math
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import msgspec

from neod.account.edge import DAY
from neod.clock import INDIA

HORIZON = 367  # days: what does not come within a year never comes
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_WINDOW = re.compile(r"([a-z, \t-]+)[ \t]([0-9:]+) *- *([0-9:]+)", re.ASCII | re.IGNORECASE)


class Window(msgspec.Struct, frozen=True):
    """A time of certain weekdays: from `start` until before `end`."""

    days: frozenset[int]  # 0 is Monday
    start: float  # seconds after midnight in India
    end: float  # the same; after the start, and DAY at most

    def __str__(self) -> str:
        """As parse_window takes it."""
        return f"{_weekdays(self.days)} {time_of_day(self.start)}-{time_of_day(self.end)}"


class Hours(msgspec.Struct, frozen=True):
    """When to log in, and by when a session is expected."""

    windows: tuple[Window, ...] = ()  # none: always open
    holidays: frozenset[date] = frozenset()  # days whose windows do not open
    lead: float = 0.0  # seconds, less than DAY, that a window opens before its start
    ready_by: float | None = None  # seconds after midnight in India

    def __str__(self) -> str:
        if not self.windows:
            return "always"
        windows = ", ".join(map(str, self.windows))
        return f"{windows}, opens {span(self.lead)} before" if self.lead else windows


def is_open(hours: Hours, now: float) -> bool:
    """True if a login may begin at `now`, in epoch seconds."""
    if not hours.windows:
        return True
    # The lead may have opened a window of tomorrow.
    return any(opens <= now < ends for opens, ends in _spans(hours, now, days=2))


def opens_at(hours: Hours, now: float) -> float | None:
    """The first instant from `now` on at which it is open; None if there is none within a year."""
    if is_open(hours, now):
        return now
    return next((opens for opens, _ in _spans(hours, now, HORIZON) if opens > now), None)


def ready_by_next(hours: Hours, now: float) -> float | None:
    """The first instant after `now` by which a session ought to be there; None if there is none.

    That is at `ready_by` of each day on which it is between the opening of a window and its end:
    at the opening itself no login can be done yet. Without windows it is each day but holidays.
    """
    if hours.ready_by is None:
        return None
    for day in _days(now, HORIZON):
        moment = _midnight(day) + hours.ready_by
        if moment <= now:
            continue
        if not hours.windows and day not in hours.holidays:
            return moment
        if any(opens < moment < ends for opens, ends in _spans(hours, moment, days=2)):
            return moment
    return None


def _spans(hours: Hours, now: float, days: int) -> Iterator[tuple[float, float]]:
    """When each window of so many days, from today on, opens and ends; the first to open first."""
    windows = sorted(hours.windows, key=lambda window: window.start)
    for day in _days(now, days):
        if day in hours.holidays:
            continue
        midnight = _midnight(day)
        for window in windows:
            if day.weekday() in window.days:
                yield midnight + window.start - hours.lead, midnight + window.end


def _days(now: float, count: int) -> Iterator[date]:
    """So many days in India, from today on."""
    # Rounded to microseconds, the last instant of a day would be in the next.
    today = datetime.fromtimestamp(math.floor(now), INDIA).date()
    return (today + timedelta(days=ahead) for ahead in range(count))


def _midnight(day: date) -> float:
    """When the day begins in India, in epoch seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=INDIA).timestamp()


def parse_window(text: str) -> Window:
    """Read "Mon-Wed,Fri 08:30-15:45". Raises ValueError, which says what was expected."""
    found = _WINDOW.fullmatch(text.strip())
    if not found:
        raise ValueError('expected days and times in India such as "Mon-Fri 08:30-15:45"')
    days = _parse_weekdays(found[1])
    start, end = parse_time(found[2]), DAY if found[3] == "24:00" else parse_time(found[3])
    if end <= start:
        raise ValueError(
            "expected an end after the start; what goes over midnight is two windows, "
            "one until 24:00 and one from 00:00"
        )
    return Window(days, start, end)


def parse_day(text: str) -> date:
    """Read "2026-01-26". Raises ValueError, which says what was expected."""
    expected = ValueError('expected a day such as "2026-01-26"')
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise expected  # date.fromisoformat would take a week for a day
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise expected from None


def parse_time(text: str) -> float:
    """Read "08:45" as seconds after midnight. Raises ValueError, which says what was expected."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError('expected a time of day in India such as "08:45"')
    return int(found[1]) * 3600.0 + int(found[2]) * 60.0


def _parse_weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        names = [name.strip().title() for name in part.split("-")]
        ends = [_NAMES.index(name) for name in names if name in _NAMES]
        # "Mon-Mon" may be meant as one day or as seven.
        if len(ends) != len(names) or len(ends) > 2 or len(set(ends)) != len(ends):
            raise ValueError('expected days such as "Mon", "Mon-Fri" or "Mon,Wed,Fri"')
        first, last = ends[0], ends[-1]
        days.update((first + more) % 7 for more in range((last - first) % 7 + 1))
    return frozenset(days)


def _weekdays(days: frozenset[int]) -> str:
    """The days as runs, of which one may go on over Sunday: "Wed,Sat-Mon"."""
    if len(days) == 7:
        return "Mon-Sun"
    runs = []
    for first in sorted(day for day in days if (day - 1) % 7 not in days):
        length = next(more for more in range(1, 7) if (first + more) % 7 not in days)
        last = (first + length - 1) % 7
        runs.append(_NAMES[first] if length == 1 else f"{_NAMES[first]}-{_NAMES[last]}")
    return ",".join(runs)


def time_of_day(seconds: float) -> str:
    """So many seconds after midnight, for a person: 08:30."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours:02}:{minutes:02}"


def span(seconds: float) -> str:
    """So many seconds, in the largest unit that needs no fraction."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
