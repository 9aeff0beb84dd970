"""The ledger's lines as a person reads them."""

import pytest

from neod.account.edge import Edge
from neod.account.history import (
    Attempt,
    EdgeKnown,
    Line,
    Outcome,
    Paused,
    Published,
    Rejected,
    Resumed,
    Stamp,
    Unblocked,
    Word,
)
from neod.account.logbook import Entry, entries
from neod.clock import rfc3339
from tests.fakes.clock import START

WORD = Word("renew", 7, "/bin/neoctl")


def at(second: float) -> Stamp:
    return {"at": START + second, "time": rfc3339(START + second)}


def entry(second: float, event: str, **more: object) -> Entry:
    return Entry(at=START + second, at_rfc3339=rfc3339(START + second), event=event, **more)  # type: ignore[arg-type]


def attempt(number: int, second: float, step: str = "login") -> Attempt:
    return Attempt(id=number, step=step, secrets="a", why="it lapsed", word=WORD, **at(second))


def outcome(number: int, second: float, result: str, detail: str = "") -> Outcome:
    return Outcome(id=number, result=result, detail=detail, **at(second))


def book(*lines: Line, since: float = 0.0, limit: int = 100) -> list[Entry]:
    return entries(lines, since=since, limit=limit)


def published(second: float, generation: int) -> Published:
    return Published(generation=generation, expires_at=0, **at(second))


def test_an_attempt_and_what_came_of_it_are_one_entry() -> None:
    told = {"why": "it lapsed", "word": WORD}

    assert book(attempt(1, 0), outcome(1, 1, "accepted"), published(2, 5)) == [
        entry(0, "login", **told, outcome="accepted", generation=5)
    ]
    assert book(attempt(1, 0), outcome(1, 1, "rejected", "the MPIN is wrong")) == [
        entry(0, "login", **told, outcome="rejected", detail="the MPIN is wrong")
    ]
    assert book(attempt(1, 0, "bearer")) == [entry(0, "bearer", **told)]


def test_a_generation_is_that_of_the_attempt_that_was_accepted_just_before() -> None:
    first, second = attempt(1, 0, "first_factor"), attempt(2, 2)
    lines = (first, outcome(1, 1, "accepted"), second, outcome(2, 3, "accepted"), published(4, 5))

    assert [one.generation for one in book(*lines)] == [5, None]
    assert [one.generation for one in book(attempt(1, 0), published(4, 5))] == [None]
    refused = book(attempt(1, 0), outcome(1, 1, "rejected"), published(4, 5))
    assert [one.generation for one in refused] == [None]


def test_what_has_lost_its_attempt_is_not_shown() -> None:
    assert book(outcome(1, 1, "accepted"), published(2, 5)) == []
    assert book(Unblocked(**at(0)), published(2, 5)) == [entry(0, "unblock")]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (Unblocked(word=WORD, **at(0)), entry(0, "unblock", word=WORD)),
        (Paused(word=WORD, **at(0)), entry(0, "pause", word=WORD)),
        (Resumed(word=WORD, **at(0)), entry(0, "resume", word=WORD)),
        (EdgeKnown(edge=None, **at(0)), entry(0, "edge", detail="forgotten")),
        (
            EdgeKnown(edge=Edge(at=START), **at(0)),
            entry(0, "edge", detail="sessions end at 03:43:20 IST"),
        ),
        (
            Rejected(generation=5, verdict="dead", detail="100022", word=WORD, **at(0)),
            entry(0, "reject", word=WORD, outcome="dead", detail="100022", generation=5),
        ),
    ],
)
def test_what_is_done_at_once_is_an_entry_of_its_own(line: Line, shown: Entry) -> None:
    assert book(line) == [shown]


@pytest.mark.parametrize(
    ("since", "limit", "seconds"),
    [(0.0, 9, [3, 2, 1]), (START + 2, 9, [3, 2]), (0.0, 2, [3, 2]), (START + 4, 9, []), (0, 0, [])],
)
def test_the_newest_come_first_and_no_more_than_were_asked_for(
    since: float, limit: int, seconds: list[int]
) -> None:
    lines = [Paused(**at(second)) for second in (1, 2, 3)]

    shown = book(*lines, since=since, limit=limit)

    assert [one.at - START for one in shown] == seconds
