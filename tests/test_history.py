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
    Rejected,
    Result,
    Stamp,
    Step,
    Suspect,
    Unblocked,
    advance,
    settle,
)
from neod.clock import rfc3339
from tests.fakes.clock import START

FEW = settings(max_examples=50)
UNCLEAR: list[Result] = ["unanswered", "unintelligible"]
RESULTS = [
    *("accepted", "rejected", "rate_limited", "unavailable", "unanswered", "unintelligible"),
    "of-a-later-version",
]
SECRETS = st.sampled_from("abc")
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
REFUSED = {
    "refusals": st.integers(1, 3),
    "refused_at": TIMES,
    "detail": st.sampled_from(["", "earlier"]),
}
SUSPECTS = st.lists(
    st.builds(Suspect, secrets=SECRETS, doubts=st.integers(0, 3), **REFUSED)
    | st.builds(Suspect, secrets=SECRETS, doubts=st.integers(1, 3)),
    max_size=KEPT,
    unique_by=lambda suspect: suspect.secrets,
).map(tuple)
# Stands alone: it is known only of a ledger of which nothing else is.
SUSPECT_ALL = st.tuples(st.builds(Suspect, secrets=st.just(ANY_SECRETS), **REFUSED))
HISTORIES = st.builds(
    History,
    generation=st.integers(0, 99),
    last_id=IDS,
    pending=st.none() | ATTEMPTS,
    proven=SECRETS | st.just(""),
    suspects=SUSPECTS | SUSPECT_ALL,
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

    def end(self, result: Result | str, detail: str = "") -> None:
        number = self.history.last_id
        self.write(Outcome(id=number, result=result, detail=detail, **stamp(self.now)))

    def login(
        self, result: Result | str, secrets: str = "a", *, step: Step = "login", detail: str = ""
    ) -> None:
        self.attempt(secrets, step=step)
        self.end(result, detail)

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
    assert len(history.suspects) <= KEPT
    for suspect in history.suspects:
        assert min(suspect.refusals, suspect.doubts) >= 0
        assert suspect.refusals or suspect.doubts
    secrets = [suspect.secrets for suspect in history.suspects]
    assert len(set(secrets)) == len(secrets)


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
    if isinstance(line, Attempt):
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
def test_only_an_accepted_login_makes_refusals_or_doubts_fewer(
    history: History, lines: list[Line]
) -> None:
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
            was, now = before.suspect(secrets), after.suspect(secrets)
            if was.secrets == secrets and not accepted:
                assert now.secrets == secrets
                assert now.refusals >= was.refusals
                assert now.doubts >= was.doubts
        before = after


@given(HISTORIES, ATTEMPTS, st.sampled_from(RESULTS), TIMES)
def test_an_attempt_counts_once_and_for_its_own_secrets_alone(
    history: History, attempt: Attempt, result: str, at: float
) -> None:
    before = settle(history)
    outcome = Outcome(id=attempt.id, result=result, detail="now", **stamp(at))
    after = fold([attempt, outcome], before)
    if result == "accepted" and attempt.step == "login":
        assert after.suspects == ()
        return
    was = before.suspect(attempt.secrets)
    unclear = result in UNCLEAR
    if result == "rejected" or (unclear and was.refusals):
        now = Suspect(attempt.secrets, was.refusals + 1, was.doubts, at, "now")
    elif unclear:
        now = Suspect(attempt.secrets, 0, was.doubts + 1)
    else:
        assert after.suspects == before.suspects
        return
    assert after.suspect(attempt.secrets) == now
    others = [known for known in before.suspects if known.secrets != attempt.secrets]
    assert after.suspects == (*others, now)


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
    assert writer.history.suspect("a") == Suspect("a", refusals=1, refused_at=START + 60)
    assert writer.history.suspect("b") == Suspect("b", refusals=0, doubts=0)
    writer.login("rejected", "a")
    assert writer.history.suspect("a") == Suspect("a", refusals=2, refused_at=START + 180)


def test_a_refusal_keeps_the_last_that_was_said_of_one(writer: Writer) -> None:
    writer.login("rejected", detail="wrong MPIN")
    assert writer.history.suspect("a").detail == "wrong MPIN"
    writer.login("rejected")
    assert writer.history.suspect("a").detail == "wrong MPIN"
    writer.login("rejected", detail="wrong TOTP")
    assert writer.history.suspect("a").detail == "wrong TOTP"
    writer.login("rejected", "b")
    assert writer.history.suspect("b").detail == ""


def test_the_refusals_of_other_secrets_are_remembered(writer: Writer) -> None:
    for secrets in "aba":
        writer.login("rejected", secrets)
    assert [(s.secrets, s.refusals) for s in writer.history.suspects] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("result", ["rejected", *UNCLEAR])
def test_only_the_last_secrets_that_were_refused_or_doubted_are_remembered(
    writer: Writer, result: Result
) -> None:
    for secrets in "abcdefghij":
        writer.login(result, secrets)
    assert "".join(suspect.secrets for suspect in writer.history.suspects) == "cdefghij"
    assert len(writer.history.suspects) == KEPT
    writer.login(result, "d")
    assert "".join(suspect.secrets for suspect in writer.history.suspects) == "cefghijd"


def test_an_accepted_login_proves_its_secrets_and_forgets_refusals_and_doubts(
    writer: Writer,
) -> None:
    writer.login("rejected", "a")
    writer.login("unanswered", "b")
    writer.login("unanswered", "c")
    writer.login("accepted", "b")
    history = writer.history
    assert history.proven == "b"
    assert history.suspects == ()


def test_an_accepted_bearer_proves_nothing_and_forgets_nothing(writer: Writer) -> None:
    writer.login("unanswered", "a")
    writer.login("rejected", "a")
    before = writer.history
    writer.login("accepted", "a", step="bearer")
    assert writer.history == msgspec.structs.replace(before, last_id=3)


def test_a_refused_bearer_is_a_refusal_and_no_login(writer: Writer) -> None:
    writer.login("rejected", "a", step="bearer")
    assert writer.history.suspect("a") == Suspect("a", refusals=1, refused_at=START + 60)
    assert writer.history.logins == ()


@pytest.mark.parametrize("result", ["rejected", *UNCLEAR])
def test_where_it_is_not_known_which_secrets_were_refused_it_is_all_of_them(
    result: Result,
) -> None:
    refused = Suspect(ANY_SECRETS, refusals=1, refused_at=START, detail="who knows")
    writer = Writer(History(suspects=(refused,)))
    assert writer.history.suspect("a") == writer.history.suspect("b") == refused
    writer.login(result, "a")
    assert writer.history.suspect("a") == Suspect(
        "a", refusals=2, refused_at=START + 60, detail="who knows"
    )
    assert writer.history.suspect("b") == refused


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
    assert writer.history.suspect("a") == Suspect("a", doubts=doubts)
    assert len(writer.history.suspects) == min(doubts, 1)


@pytest.mark.parametrize("result", UNCLEAR)
def test_the_doubts_of_one_set_of_secrets_survive_attempts_with_another(
    writer: Writer, result: Result
) -> None:
    for secrets in "aab":
        writer.login(result, secrets)
    assert writer.history.suspects == (Suspect("a", doubts=2), Suspect("b", doubts=1))
    writer.login("rejected", "b")
    writer.login("unavailable", "b")
    writer.attempt("b")
    writer.attempt("a")
    assert writer.history.suspect("a") == Suspect("a", doubts=2)
    writer.end(result)
    assert writer.history.suspect("a") == Suspect("a", doubts=3)
    b = writer.history.suspect("b")
    assert (b.refusals, b.doubts) == (2, 1)


def test_attempts_that_a_crash_cut_short_are_doubts(writer: Writer) -> None:
    writer.attempt()
    writer.attempt()
    writer.attempt()
    assert writer.history.suspect("a") == Suspect("a", doubts=2)
    assert settle(writer.history).suspect("a") == Suspect("a", doubts=3)


@pytest.mark.parametrize("result", UNCLEAR)
def test_a_bearer_without_a_clear_answer_is_a_doubt_as_a_login_is(
    writer: Writer, result: Result
) -> None:
    writer.login(result, "a", step="bearer")
    writer.attempt("a", step="bearer")
    assert settle(writer.history).suspect("a").doubts == 2
    writer.login("rejected", "a", step="bearer")
    # The second chance, half an hour later, whose reply is lost.
    writer.login(result, "a", step="bearer")
    assert writer.history.suspect("a").refusals == 2


@pytest.mark.parametrize("result", ["unavailable", "rate_limited", "of-a-later-version"])
@pytest.mark.parametrize("step", ["login", "bearer"])
@pytest.mark.parametrize("earlier", ["rejected", "unanswered"])
def test_a_result_that_tells_nothing_of_the_secrets_only_ends_the_attempt(
    writer: Writer, result: str, step: Step, earlier: Result
) -> None:
    writer.login(earlier)
    before = writer.history
    writer.login(result, step=step)
    assert writer.history == msgspec.structs.replace(before, last_id=2)


# Refused, and then not clearly answered

UNSEEN = pytest.mark.parametrize("result", [*UNCLEAR, None])  # None: a crash, or a stop


def unseen(writer: Writer, result: Result | None, secrets: str = "a") -> None:
    """A login whose reply nobody saw, or understood."""
    if result is None:
        writer.attempt(secrets)
        writer.history = settle(writer.history)
    else:
        writer.login(result, secrets)


@UNSEEN
def test_refused_secrets_get_no_benefit_of_the_doubt(writer: Writer, result: Result | None) -> None:
    writer.login("rejected", detail="wrong MPIN")
    unseen(writer, result)
    ended = START + (120 if result is None else 180)
    assert writer.history.suspects == (Suspect("a", 2, 0, ended, "wrong MPIN"),)
    unseen(writer, result)
    assert (writer.history.suspect("a").refusals, writer.history.suspect("a").doubts) == (3, 0)


@pytest.mark.parametrize("secrets", ["a", "b"])
def test_a_login_of_refused_secrets_that_the_next_one_finds_without_an_end_was_refused(
    writer: Writer, secrets: str
) -> None:
    writer.login("rejected")
    writer.attempt()
    assert writer.history.suspect("a").refusals == 1
    writer.attempt(secrets)
    assert writer.history.suspects == (Suspect("a", refusals=2, refused_at=START + 120),)


@UNSEEN
def test_doubts_from_before_a_refusal_stay_and_do_not_become_refusals(
    writer: Writer, result: Result | None
) -> None:
    unseen(writer, result)
    unseen(writer, result)
    assert writer.history.suspects == (Suspect("a", doubts=2),)
    writer.login("rejected")
    assert (writer.history.suspect("a").refusals, writer.history.suspect("a").doubts) == (1, 2)
    unseen(writer, result)
    assert (writer.history.suspect("a").refusals, writer.history.suspect("a").doubts) == (2, 2)


@UNSEEN
def test_the_refusal_of_one_set_of_secrets_leaves_another_its_benefit_of_the_doubt(
    writer: Writer, result: Result | None
) -> None:
    writer.login("rejected", "a")
    unseen(writer, result, "b")
    assert writer.history.suspects == (
        Suspect("a", refusals=1, refused_at=START + 60),
        Suspect("b", doubts=1),
    )
    unseen(writer, result, "a")
    assert writer.history.suspect("a").refusals == 2
    assert writer.history.suspect("b") == Suspect("b", doubts=1)


@UNSEEN
def test_secrets_that_were_accepted_since_their_refusal_get_the_benefit_again(
    writer: Writer, result: Result | None
) -> None:
    writer.login("rejected")
    writer.login("accepted")
    unseen(writer, result)
    assert writer.history.suspects == (Suspect("a", doubts=1),)


@UNSEEN
def test_a_reply_that_nobody_saw_is_no_login_for_the_budget(
    writer: Writer, result: Result | None
) -> None:
    writer.login("rejected")
    unseen(writer, result)
    assert writer.history.logins == (START + 60,)


@UNSEEN
def test_a_pardon_is_no_benefit_of_the_doubt(writer: Writer, result: Result | None) -> None:
    writer.login("rejected")
    writer.unblock()
    unseen(writer, result)
    assert writer.history.suspect("a").refusals == 2
    assert not writer.history.pardoned


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


@pytest.mark.parametrize(
    ("step", "logins", "halves"), [("login", 1, 0), ("first_factor", 0, 1), ("bearer", 0, 0)]
)
def test_the_budget_counts_what_the_end_of_neod_cut_off_since_it_may_have_been_accepted(
    writer: Writer, step: Step, logins: int, halves: int
) -> None:
    sent = writer.now
    writer.attempt(step=step)
    number = writer.history.last_id

    writer.write(Outcome(id=number, result="unanswered", cut=True, **stamp(sent + 5000)))

    assert writer.history.logins == (sent,) * logins
    assert writer.history.halves == (sent,) * halves


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
    assert writer.history.suspect("a") == Suspect("a", refusals=1, refused_at=START + 60)
    writer.login("accepted", step="bearer")
    assert writer.history.pardoned
    writer.attempt()
    assert not writer.history.pardoned


def test_a_refused_bearer_spends_a_pardon(writer: Writer) -> None:
    writer.unblock()
    writer.login("rejected", step="bearer")
    assert not writer.history.pardoned


def test_unblocking_leaves_an_attempt_that_is_under_way_alone(writer: Writer) -> None:
    writer.attempt()
    pending = writer.history.pending
    writer.unblock()
    assert pending
    assert writer.history.pending == pending
    assert writer.history.pardoned


def test_the_generation_and_the_edge_are_the_last_that_were_written(writer: Writer) -> None:
    edge = Edge(at=START, every=DAY)
    writer.write(Published(generation=1, expires_at=0, **stamp(START)))
    writer.write(EdgeKnown(edge=edge, **stamp(START)))
    writer.write(Published(generation=2, expires_at=0, **stamp(START)))
    assert (writer.history.generation, writer.history.edge) == (2, edge)
    writer.write(EdgeKnown(edge=None, **stamp(START)))
    assert writer.history.edge is None


# Rejects and contentions

A_REJECT = Rejected(at=START - 100, time="", generation=7, verdict="dead")


@pytest.mark.parametrize(
    ("since_contention", "since_reject", "over"),
    [
        (900, 3600, True),
        (899, 3600, False),
        (900, 3599, False),
        (-100, 3600, False),
        (5000, 60, False),
    ],
)
def test_an_hour_without_rejects_and_a_quarter_without_contention_are_peace(
    since_contention: float, since_reject: float, *, over: bool
) -> None:
    until = START - since_contention
    before = History(contests=2, contended_until=until, rejected_at=START - since_reject)

    after = advance(before, msgspec.structs.replace(A_REJECT, at=START))

    assert (after.contests, after.contended_until) == ((0, 0.0) if over else (2, until))
    assert after.rejected_at == START


@pytest.mark.parametrize(
    ("verdict", "stands"),
    [
        ("dead", "new"),
        ("unclear", "new"),
        ("of-a-later-version", "new"),
        ("put_off", "old"),
        ("alive", "none"),
    ],
)
def test_a_reject_stands_unless_the_session_is_alive_or_it_was_put_off(
    verdict: str, stands: str
) -> None:
    line = msgspec.structs.replace(A_REJECT, at=START, verdict=verdict)

    after = advance(History(rejected=A_REJECT), line)

    assert after.rejected == {"new": line, "old": A_REJECT, "none": None}[stands]
    assert after.rejected_at == START


@pytest.mark.parametrize(("contests", "cool"), [(0, 300), (1, 900), (2, 3600), (3, 3600)])
def test_each_session_that_a_reject_brought_stands_longer_against_the_next_one(
    contests: int, cool: float
) -> None:
    line = Published(at=START, time="", generation=8, expires_at=int(START) + 60)
    rejected = advance(History(rejected=A_REJECT, contests=contests), line)
    quiet = advance(History(contests=contests, contended_until=START + 60), line)

    assert (rejected.contests, rejected.contended_until) == (contests + 1, START + cool)
    assert rejected.rejected is None
    assert (quiet.contests, quiet.contended_until) == (contests, 0.0)


def test_a_reject_goes_over_to_the_generation_that_has_another_bearer_and_the_same_token() -> None:
    line = Published(at=START, time="", generation=8, expires_at=0, bearer=True)
    rejected = advance(History(rejected=A_REJECT, contests=1, contended_until=5.0), line)

    assert rejected.rejected == msgspec.structs.replace(A_REJECT, generation=8)
    assert (rejected.generation, rejected.contests, rejected.contended_until) == (8, 1, 5.0)
    assert advance(History(), line).rejected is None


# What counts against the budget


def after_attempt(before: History, step: str, result: str, at: float = START) -> History:
    line = Attempt(id=1, step=step, secrets="a", why="", at=at - 1, time="")
    ended = Outcome(id=1, result=result, at=at, time="")
    return advance(advance(before, line), ended)


@pytest.mark.parametrize(
    ("step", "result", "logins", "halves"),
    [
        ("login", "accepted", (5.0, START), (6.0, 7.0)),
        ("login", "rejected", (5.0, START), (6.0, 7.0)),
        ("login", "unavailable", (5.0,), (6.0, 7.0, 8.0)),
        ("first_factor", "accepted", (5.0,), (6.0, 7.0, 8.0, START)),
        ("first_factor", "rejected", (5.0, START), (6.0, 7.0, 8.0)),
        ("first_factor", "unavailable", (5.0,), (6.0, 7.0, 8.0)),
        ("bearer", "accepted", (5.0,), (6.0, 7.0, 8.0)),
        ("bearer", "rejected", (5.0,), (6.0, 7.0, 8.0)),
    ],
)
def test_a_login_counts_once_and_takes_the_half_with_it_that_led_to_it(
    step: str, result: str, logins: tuple[float, ...], halves: tuple[float, ...]
) -> None:
    def ago(*times: float) -> tuple[float, ...]:  # small figures are seconds before the start
        return tuple(START - at if at < 100 else at for at in times)

    before = History(logins=ago(5.0), halves=ago(6.0, 7.0, 8.0))

    after = after_attempt(before, step, result)

    assert (after.logins, after.halves) == (ago(*logins), ago(*halves))


def test_logins_are_remembered_for_a_day_and_first_factors_for_ten_minutes() -> None:
    before = History(logins=(START - DAY, START - DAY + 1), halves=(START - 600, START - 599))

    assert after_attempt(before, "login", "accepted").logins == (START - DAY + 1, START)
    assert after_attempt(before, "first_factor", "accepted").halves == (START - 599, START)
