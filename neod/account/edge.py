"""The day's edge: the instant at which the broker ends all sessions, whenever they began. Pure.

Kotak's sessions end at midnight in India, so a login at 23:50 may give a token that dies at
00:00 too, and renewing ahead of the end is useless there. Nobody documents the edge; it is
learnt from a renewal that gained nothing, and forgotten when a session outlives it.
"""

import msgspec

from neod.clock import INDIA, clock_time

DAY = 86_400.0  # seconds
LONG = 3600.0  # seconds: an edge between sessions of more is a time of day
SLACK = 60.0  # seconds that an end may be off the edge and still be the edge's
INDIA_OFFSET = INDIA.utcoffset(None).total_seconds()


class Edge(msgspec.Struct, frozen=True):
    """An instant at which sessions end, and how far apart such instants are.

    `every` is None until the first session from after the edge has shown its own end: a day
    for Kotak, seconds for a sandbox.
    """

    at: float  # epoch seconds
    every: float | None = None

    def __str__(self) -> str:
        return clock_time(self.at)


def daily(time_of_day: float) -> Edge:
    """The edge at so many seconds after midnight in India."""
    return Edge(at=time_of_day - INDIA_OFFSET, every=DAY)


def slack(life: float) -> float:
    """How exact an end has to be, for a session of so many seconds."""
    return max(0.0, min(SLACK, life / 10))


def ends_there(edge: Edge | None, begin: float, end: float) -> bool:
    """True if a session of this begin and end is ended by the edge, so renewing it is useless."""
    if edge is None:
        return False
    if edge.every is None:
        # Not seen twice yet. A session from after the edge is taken to end at the next one.
        return end >= edge.at - slack(end - begin)
    return abs(_off(edge, end)) <= min(slack(end - begin), edge.every / 10)


def gained_nothing(old: tuple[float, float] | None, new: tuple[float, float]) -> bool:
    """True if the session `new`, (begin, end), ends where `old` did that it was to renew.

    A renewal right after the login, on a person's word, gains as little where there is no edge.
    """
    if old is None:
        return False
    enough = slack(old[1] - old[0])
    return new[1] <= old[1] + enough and new[0] - old[0] > enough


def learn(
    edge: Edge | None, old: tuple[float, float] | None, new: tuple[float, float]
) -> Edge | None:
    """What is known of the edge once a login has turned the session `old` into `new`.

    Both are (begin, end); `old` is None unless it was still valid, since only a renewal ahead
    of the end can gain nothing.
    """
    begin, end = new
    if gained_nothing(old, new):
        known = edge is not None and edge.every is not None and ends_there(edge, begin, end)
        return edge if known else Edge(at=end)
    if edge is None:
        return None
    if edge.every is None:
        return _second_sight(edge, begin, end)
    nearest = end - _off(edge, end)
    margin = min(slack(end - begin), edge.every / 10)
    outlived = any(
        begin + margin < instant < end - margin for instant in (nearest, nearest - edge.every)
    )
    return None if outlived else edge


def _second_sight(edge: Edge, begin: float, end: float) -> Edge | None:
    """The first end that is seen after the edge tells how far apart the edges are."""
    margin = slack(end - begin)
    if end <= edge.at + margin:
        return edge
    if begin < edge.at - margin:
        return None  # it began before the edge and ends after it: there is no edge
    # Sessions of hours have an edge that is a time of day, whatever their own life is.
    return Edge(at=edge.at, every=DAY if end - begin > LONG else end - edge.at)


def _off(edge: Edge, moment: float) -> float:
    """How far a moment is from the nearest edge; below 0 if it is before."""
    assert edge.every is not None  # noqa: S101 - callers have looked
    return (moment - edge.at + edge.every / 2) % edge.every - edge.every / 2
