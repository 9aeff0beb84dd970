"""What the lines of a ledger amount to."""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neod.account.edge import DAY, Edge
from neod.account.history import (
    ANY_SECRETS,
    KEPT,
    Attempt,
    Carried,
    EdgeKnown,
    History,
    Line,
    Outcome,
    Published,
    Refused,
    Result,
    Stamp,
    Step,
    Unblocked,
    advance,
    settle,
)
from neod.clock import rfc3339
from tests.fakes.clock import START

FEW = settings(max_examples=50)
RESULTS = [
    *("accepted", "rejected", "rate_limited", "unavailable", "unanswered", "unintelligible"),
    "of-a-later-version",
]
SECRETS = st.sampled_from([*"abc", ANY_SECRETS])
IDS = st.integers(0, 3)  # few, so that outcomes meet their attempts
TIMES = st.floats(START, START + 3 * DAY).map(round).map(float)
EDGES = st.builds(Edge, at=TIMES, every=st.none() | st.just(DAY))
MORE = {"at": TIMES, "time": st.just("a time")}
ATTEMPTS = st.builds(
    Attempt,
    id=IDS,
    step=st.sampled_from(["bearer", "login"]),
    secrets=SECRETS,
    why=st.text(st.characters(codec="utf-8"), max_size=5),
    **MORE,
)
OUTCOMES = st.builds(Outcome, id=IDS, result=st.sampled_from(RESULTS), **MORE)
OTHERS = (
    st.builds(Published, generation=st.integers(1, 99), expires_at=st.integers(0, 2**40), **MORE)
    | st.builds(EdgeKnown, edge=st.none() | EDGES, **MORE)
    | st.builds(Unblocked, **MORE)
)
HISTORIES = st.builds(
    History,
    generation=st.integers(0, 99),
    last_id=IDS,
    pending=st.none() | ATTEMPTS,
    proven=SECRETS | st.just(""),
    refused=st.lists(
        st.builds(Refused, secrets=SECRETS, times=st.integers(1, 3), at=TIMES),
        max_size=KEPT,
        unique_by=lambda refused: refused.secrets,
    ).map(tuple),
    doubted=SECRETS | st.just(""),
    doubts=st.integers(0, 3),
    pardoned=st.booleans(),
    logins=st.lists(TIMES, max_size=4).map(tuple),
    edge=st.none() | EDGES,
)
NEW_LINES: st.SearchStrategy[Line] = ATTEMPTS | OUTCOMES | OTHERS
LINES: st.SearchStrategy[Line] = NEW_LINES | st.builds(Carried, history=HISTORIES, **MORE)


def fold(lines: list[Line], history: History | None = None) -> History:
    history = history or History()
    for line in lines:
        history = advance(history, line)
    return history


def stamp(at: float) -> Stamp:
    return {"at": at, "time": rfc3339(at)}


@dataclass
class Writer:
    """Writes the lines of a life, a minute apart."""

    history: History
    now: float = START

    def write(self, line: Line) -> None:
        self.history = advance(self.history, line)
        self.now += 60

    def attempt(self, secrets: str = "a", *, step: Step = "login") -> None:
        number = self.history.last_id + 1
        self.write(Attempt(id=number, step=step, secrets=secrets, why="test", **stamp(self.now)))

    def end(self, result: Result | str) -> None:
        self.write(Outcome(id=self.history.last_id, result=result, **stamp(self.now)))

    def login(self, result: Result | str, secrets: str = "a", *, step: Step = "login") -> None:
        self.attempt(secrets, step=step)
        self.end(result)

    def unblock(self) -> None:
        self.write(Unblocked(**stamp(self.now)))


@pytest.fixture
def writer() -> Writer:
    return Writer(History())


# Any lines at all


@FEW
@given(st.lists(LINES))
def test_any_lines_amount_to_something(lines: list[Line]) -> None:
    history = settle(fold(lines))
    assert history.pending is None
    assert len(history.refused) <= KEPT
    assert history.doubts >= 0


@FEW
@given(st.lists(LINES, max_size=20), st.lists(LINES, max_size=20))
def test_a_carried_line_stands_for_all_before_it(before: list[Line], after: list[Line]) -> None:
    carried = Carried(history=fold(before), **stamp(START))
    assert fold([carried, *after]) == fold([*before, *after])


@FEW
@given(LINES)
def test_a_line_survives_the_disk(line: Line) -> None:
    kinds = Attempt | Outcome | Published | EdgeKnown | Unblocked | Carried
    assert msgspec.json.decode(msgspec.json.encode(line), type=kinds) == line


@FEW
@given(HISTORIES, ATTEMPTS, NEW_LINES)
def test_an_attempt_that_nothing_is_heard_of_was_unanswered(
    history: History, attempt: Attempt, line: Line
) -> None:
    unanswered = Outcome(id=attempt.id, result="unanswered", **stamp(attempt.at))
    ended = fold([attempt, unanswered], history)
    assert settle(advance(history, attempt)) == ended
    if isinstance(line, Attempt | Unblocked):
        assert fold([attempt, line], history) == advance(ended, line)


@FEW
@given(HISTORIES)
def test_settling_twice_is_settling_once(history: History) -> None:
    assert settle(settle(history)) == settle(history)


@FEW
@given(HISTORIES, OUTCOMES)
def test_an_outcome_without_its_attempt_changes_nothing(history: History, line: Outcome) -> None:
    settled = settle(history)
    assert advance(settled, line) == settled
    pending = history.pending
    if pending and pending.id != line.id:
        assert advance(history, line) == history


@given(HISTORIES, st.lists(NEW_LINES, max_size=20))
def test_only_an_accepted_login_makes_refusals_fewer(history: History, lines: list[Line]) -> None:
    before = settle(history)
    for line in lines:
        after = advance(before, line)
        accepted = (
            isinstance(line, Outcome)
            and line.result == "accepted"
            and before.pending is not None
            and before.pending.step == "login"
        )
        for secrets in "abc":
            was, now = before.refusals(secrets), after.refusals(secrets)
            if was and was.secrets == secrets and not accepted:
                assert now
                assert now.times >= was.times
        before = after


@FEW
@given(HISTORIES, st.lists(NEW_LINES, max_size=20))
def test_a_pardon_is_good_for_one_login_at_most(history: History, lines: list[Line]) -> None:
    before = history
    for line in lines:
        after = advance(before, line)
        if isinstance(line, Attempt) and line.step == "login":
            assert not after.pardoned
        if after.pardoned and not before.pardoned:
            assert isinstance(line, Unblocked)
        before = after


# Refusals


def test_a_refusal_is_counted_for_its_secrets(writer: Writer) -> None:
    writer.login("rejected", "a")
    assert writer.history.refusals("a") == Refused(secrets="a", times=1, at=START + 60)
    assert writer.history.refusals("b") is None
    writer.login("rejected", "a")
    assert writer.history.refusals("a") == Refused(secrets="a", times=2, at=START + 180)


def test_the_refusals_of_other_secrets_are_remembered(writer: Writer) -> None:
    for secrets in "aba":
        writer.login("rejected", secrets)
    assert [(r.secrets, r.times) for r in writer.history.refused] == [("b", 1), ("a", 2)]


def test_only_the_last_secrets_that_were_refused_are_remembered(writer: Writer) -> None:
    for secrets in "abcdefghij":
        writer.login("rejected", secrets)
    assert "".join(refused.secrets for refused in writer.history.refused) == "cdefghij"
    assert len(writer.history.refused) == KEPT


def test_an_accepted_login_proves_its_secrets_and_forgets_refusals_and_doubts(
    writer: Writer,
) -> None:
    writer.login("rejected", "a")
    writer.login("unanswered", "b")
    writer.login("accepted", "b")
    history = writer.history
    assert history.proven == "b"
    assert (history.refused, history.doubted, history.doubts) == ((), "", 0)


def test_an_accepted_bearer_proves_nothing_and_forgets_nothing(writer: Writer) -> None:
    writer.login("rejected", "a")
    writer.login("unanswered", "a")
    before = writer.history
    writer.login("accepted", "a", step="bearer")
    assert writer.history == msgspec.structs.replace(before, last_id=3)


def test_a_refused_bearer_is_a_refusal_and_no_login(writer: Writer) -> None:
    writer.login("rejected", "a", step="bearer")
    assert writer.history.refusals("a")
    assert writer.history.logins == ()


def test_where_it_is_not_known_which_secrets_were_refused_it_is_all_of_them() -> None:
    refused = Refused(secrets=ANY_SECRETS, times=1, at=START)
    writer = Writer(History(refused=(refused,)))
    assert writer.history.refusals("a") == writer.history.refusals("b") == refused
    writer.login("rejected", "a")
    assert writer.history.refusals("a") == Refused(secrets="a", times=2, at=START + 60)


# Doubts


@pytest.mark.parametrize(
    ("results", "doubts"),
    [
        (["unanswered"], 1),
        (["unanswered", "unintelligible"], 2),
        (["unanswered", "accepted", "unanswered"], 1),
        (["unanswered", "unavailable", "unanswered"], 2),
        (["unavailable", "rate_limited", "of-a-later-version"], 0),
    ],
)
def test_doubts_are_logins_without_a_clear_answer(
    writer: Writer, results: list[str], doubts: int
) -> None:
    for result in results:
        writer.login(result)
    assert writer.history.doubts == doubts


def test_doubts_are_of_the_secrets_that_were_sent_last(writer: Writer) -> None:
    for secrets in "aab":
        writer.login("unanswered", secrets)
    assert (writer.history.doubted, writer.history.doubts) == ("b", 1)


def test_attempts_that_a_crash_cut_short_are_doubts(writer: Writer) -> None:
    writer.attempt()
    writer.attempt()
    writer.attempt()
    assert writer.history.doubts == 2
    assert settle(writer.history).doubts == 3


@pytest.mark.parametrize("result", ["unavailable", "rate_limited", "of-a-later-version"])
@pytest.mark.parametrize("step", ["login", "bearer"])
def test_a_result_that_tells_nothing_of_the_secrets_only_ends_the_attempt(
    writer: Writer, result: str, step: Step
) -> None:
    writer.login("rejected")
    before = writer.history
    writer.login(result, step=step)
    assert writer.history == msgspec.structs.replace(before, last_id=2)


# The rest


@pytest.mark.parametrize(
    ("step", "result", "counted"),
    [
        ("login", "accepted", 1),
        ("login", "rejected", 1),
        ("login", "unavailable", 0),
        ("login", "unanswered", 0),
        ("login", "unintelligible", 0),
        ("login", "rate_limited", 0),
        ("bearer", "accepted", 0),
        ("bearer", "rejected", 0),
    ],
)
def test_the_budget_counts_logins_that_were_accepted_or_refused(
    writer: Writer, step: Step, result: Result, counted: int
) -> None:
    writer.login(result, step=step)
    assert writer.history.logins == (START + 60,) * counted


def test_logins_are_counted_for_a_day(writer: Writer) -> None:
    for _ in range(50):
        writer.login("accepted")
        writer.now += DAY / 10
    logins = writer.history.logins
    assert len(logins) == 10
    assert logins[-1] - logins[0] < DAY
    assert all(earlier < later for earlier, later in pairwise(logins))


def test_a_pardon_lasts_through_bearers_and_is_spent_by_a_login(writer: Writer) -> None:
    writer.login("rejected")
    writer.unblock()
    assert writer.history.pardoned
    assert writer.history.refusals("a")
    writer.login("accepted", step="bearer")
    assert writer.history.pardoned
    writer.attempt()
    assert not writer.history.pardoned


def test_a_refused_bearer_spends_a_pardon(writer: Writer) -> None:
    writer.unblock()
    writer.login("rejected", step="bearer")
    assert not writer.history.pardoned


def test_unblocking_counts_the_attempt_that_was_cut_short(writer: Writer) -> None:
    writer.attempt()
    writer.unblock()
    assert (writer.history.pending, writer.history.doubts) == (None, 1)
    assert writer.history.pardoned


def test_the_generation_and_the_edge_are_the_last_that_were_written(writer: Writer) -> None:
    edge = Edge(at=START, every=DAY)
    writer.write(Published(generation=1, expires_at=0, **stamp(START)))
    writer.write(EdgeKnown(edge=edge, **stamp(START)))
    writer.write(Published(generation=2, expires_at=0, **stamp(START)))
    assert (writer.history.generation, writer.history.edge) == (2, edge)
    writer.write(EdgeKnown(edge=None, **stamp(START)))
    assert writer.history.edge is None
