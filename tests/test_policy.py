"""When to log in and when not to, as a table of situations."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.account.edge import DAY, Edge
from neod.account.history import History, Suspect
from neod.account.policy import (
    FLOOR,
    RATE_LIMIT,
    SECOND_CHANCE,
    Decision,
    Life,
    Rules,
    Trouble,
    decide,
    fail,
)

NOW = 1_700_000_000.0
HOUR = 3600.0
SECRETS = "fingerprint"
LIFE = Life(begin=NOW - HOUR, end=NOW + 7 * HOUR, alive=True, bearer_begin=NOW - HOUR)


def at(
    now: float = NOW,
    life: Life | None = LIFE,
    history: History = History(proven=SECRETS),  # noqa: B008 - it is frozen
    secrets: str = SECRETS,
    trouble: Trouble | None = None,
    rules: Rules = Rules(),  # noqa: B008
    draw: float = 0.0,
) -> Decision:
    return decide(now, life, history, secrets, trouble, rules, draw)


def lapsed(life: Life = LIFE) -> Life:
    return msgspec.structs.replace(life, end=NOW - 1, alive=False)


# Rule 1


def test_without_a_session_it_logs_in_now() -> None:
    assert at(life=None).do == "login"
    assert at(life=None).state == "starting"


def test_a_lapsed_session_is_renewed_now() -> None:
    assert at(life=lapsed()).do == "login"


def test_a_session_that_was_seen_dead_is_renewed_though_the_wall_clock_grants_it_time() -> None:
    assert at(life=msgspec.structs.replace(LIFE, alive=False)).do == "login"


# Rule 2


def test_a_long_session_is_due_fifteen_minutes_ahead_of_its_end() -> None:
    assert at().at == LIFE.end - 900
    assert at(now=LIFE.end - 901).do == "wait"
    assert at(now=LIFE.end - 900).do == "login"


def test_a_short_session_is_due_when_a_quarter_of_its_life_is_left() -> None:
    life = Life(begin=NOW, end=NOW + 8, alive=True, bearer_begin=NOW)

    assert at(life=life).at == NOW + 6


def test_the_margin_can_be_configured() -> None:
    assert at(rules=Rules(margin=60)).at == LIFE.end - 60


@given(st.floats(0, 1, exclude_max=True), st.floats(1, 10 * DAY))
def test_jitter_moves_a_renewal_earlier_only_and_never_before_the_session(
    draw: float, lives: float
) -> None:
    life = Life(begin=NOW, end=NOW + lives, alive=True, bearer_begin=NOW)
    due, exact = at(life=life, draw=draw).at, at(life=life, draw=0).at

    assert due is not None
    assert exact is not None
    assert NOW <= due <= exact < life.end


# Rule 3


def test_a_session_that_the_edge_ends_is_renewed_just_after_it() -> None:
    history = History(proven=SECRETS, edge=Edge(at=LIFE.end, every=DAY))
    decision = at(history=history)

    assert decision.at is not None
    assert LIFE.end < decision.at <= LIFE.end + 3
    assert "edge" in decision.why
    assert at(history=history, now=LIFE.end + 0.1, life=LIFE).do == "wait"
    assert at(history=history, now=LIFE.end + 3, life=LIFE).do == "login"


def test_no_edge_is_minded_where_the_configuration_says_none() -> None:
    history = History(proven=SECRETS, edge=Edge(at=LIFE.end, every=DAY))

    assert at(history=history, rules=Rules(edge="none")).at == LIFE.end - 900


def test_an_edge_in_the_configuration_needs_no_learning() -> None:
    decision = at(rules=Rules(edge=Edge(at=LIFE.end, every=DAY)))

    assert decision.at is not None
    assert decision.at > LIFE.end


def test_a_session_whose_renewal_gained_nothing_is_not_renewed_again_before_its_end() -> None:
    life = msgspec.structs.replace(LIFE, stuck=True)
    decision = at(life=life, rules=Rules(edge="none"))

    assert decision.at is not None
    assert LIFE.end < decision.at <= LIFE.end + 3


def test_after_the_edge_it_waits_for_a_broker_whose_clock_is_behind() -> None:
    history = History(proven=SECRETS, edge=Edge(at=LIFE.end, every=DAY))
    decision = decide(NOW, LIFE, history, SECRETS, None, Rules(), 0.0, ahead=31)

    assert decision.at is not None
    assert decision.at > LIFE.end + 30


# Rule 4


def test_after_a_failure_it_waits() -> None:
    trouble = Trouble(failures=2, since=NOW - 5, at=NOW, retry_at=NOW + 7)

    assert at(life=None, trouble=trouble).state == "backing_off"
    assert at(life=None, trouble=trouble).at == NOW + 7
    assert at(life=None, trouble=trouble, now=NOW + 7).do == "login"


def test_a_failure_never_makes_a_renewal_due_earlier() -> None:
    trouble = Trouble(failures=2, since=NOW - 5, at=NOW, retry_at=NOW + 7)

    assert at(trouble=trouble) == at()


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 2 * DAY))
def test_backoff_has_a_floor_and_a_cap(failures: int, draw: float, long: float) -> None:
    trouble = fail(NOW, Trouble(failures, NOW - long, NOW - 2, NOW - 1), None, draw)
    cap = 60 if long < 1800 else 600

    assert NOW + FLOOR <= trouble.retry_at <= NOW + cap
    assert trouble.failures == failures + 1


def test_a_clock_that_was_set_back_ends_a_wait_that_would_last_as_long() -> None:
    trouble = fail(NOW, None, None, 0.5)

    assert at(life=None, trouble=trouble, now=NOW - DAY).do == "login"


def test_a_gateway_that_is_down_cannot_put_off_a_renewal_for_a_day() -> None:
    assert fail(NOW, None, None, 0, retry_after=86_400).retry_at <= NOW + 600


def test_too_many_requests_are_answered_with_a_minute_at_least_and_as_long_as_told() -> None:
    assert fail(NOW, None, None, 0, rate_limited=True).retry_at == NOW + RATE_LIMIT
    told = fail(NOW, None, None, 0, rate_limited=True, retry_after=3600)
    assert told.retry_at == NOW + 3600


def test_a_local_cause_is_looked_at_every_five_minutes_at_least() -> None:
    trouble = fail(NOW, Trouble(99, NOW - DAY, NOW - 1, NOW), None, 0.999, local=True)

    assert trouble.retry_at <= NOW + 300
    assert at(life=None, trouble=trouble).state == "blocked"


def test_failures_are_forgotten_when_a_session_has_lived_not_when_a_login_succeeded() -> None:
    before = Trouble(failures=5, since=NOW - 300, at=NOW - 100, retry_at=NOW - 50)
    young = Life(begin=NOW - 10, end=NOW + HOUR, alive=True, bearer_begin=NOW)
    grown = Life(begin=NOW - 90, end=NOW + HOUR, alive=True, bearer_begin=NOW - 90)

    assert fail(NOW, before, young, 0).failures == 6
    assert fail(NOW, before, grown, 0).failures == 1


# Rule 5


def refused(times: int, ago: float, *, proven: bool) -> History:
    suspect = Suspect(SECRETS, refusals=times, refused_at=NOW - ago)
    return History(suspects=(suspect,), proven=SECRETS if proven else "")


@pytest.mark.parametrize("ago", [0, 1, HOUR, 400 * DAY])
def test_one_refusal_of_unproven_secrets_ends_it(ago: float) -> None:
    decision = at(life=None, history=refused(1, ago, proven=False))

    assert (decision.do, decision.state, decision.at) == ("wait", "credentials_rejected", None)


def test_proven_secrets_get_one_more_attempt_half_an_hour_later() -> None:
    early = at(life=None, history=refused(1, SECOND_CHANCE - 1, proven=True))
    later = at(life=None, history=refused(1, SECOND_CHANCE, proven=True))

    assert (early.do, early.state, early.at) == ("wait", "credentials_rejected", NOW + 1)
    assert later.do == "login"


@pytest.mark.parametrize("ago", [0, HOUR, 400 * DAY])
def test_two_refusals_of_proven_secrets_end_it(ago: float) -> None:
    decision = at(life=None, history=refused(2, ago, proven=True))

    assert (decision.state, decision.at) == ("credentials_rejected", None)


def test_other_secrets_are_free() -> None:
    assert at(life=None, history=refused(2, 0, proven=False), secrets="other").do == "login"


def test_secrets_that_were_refused_stay_so_when_they_come_back() -> None:
    both = History(suspects=(Suspect(SECRETS, refusals=1), Suspect("other", refusals=1)))

    assert at(life=None, history=both).state == "credentials_rejected"
    assert at(life=None, history=both, secrets="other").state == "credentials_rejected"


@pytest.mark.parametrize("doubts", [2, 3, 50])
def test_two_logins_without_a_clear_answer_block_unproven_secrets_only(doubts: int) -> None:
    doubtful = History(suspects=(Suspect(SECRETS, doubts=doubts),))
    proven = msgspec.structs.replace(doubtful, proven=SECRETS)

    assert at(life=None, history=doubtful).state == "blocked"
    assert at(life=None, history=proven).do == "login"
    assert at(life=None, history=doubtful, secrets="other").do == "login"


def test_a_persons_word_allows_one_attempt() -> None:
    history = msgspec.structs.replace(refused(2, 0, proven=False), pardoned=True)

    assert at(life=None, history=history).do == "login"


def test_what_bars_a_login_leaves_a_valid_session_alone() -> None:
    assert at(history=refused(2, 0, proven=False)).state == "ok"


def test_refused_secrets_do_not_get_a_bearer_either() -> None:
    life = msgspec.structs.replace(LIFE, bearer_end=NOW - 1, bearer_renewable=True)

    assert at(life=life).do == "bearer"
    assert at(life=life, history=refused(2, 0, proven=True)).state == "credentials_rejected"


# Rule 6


def test_the_budget_of_ten_minutes_is_minded_and_ends() -> None:
    history = History(proven=SECRETS, logins=tuple(NOW - ago for ago in (500, 400, 300, 200)))
    decision = at(life=None, history=history)

    assert (decision.state, decision.at) == ("login_budget", NOW + 100)
    assert at(life=None, history=history, now=NOW + 100).do == "login"


def test_the_budget_of_a_day_is_minded() -> None:
    history = History(proven=SECRETS, logins=tuple(NOW - 1000 - n * 600 for n in range(24)[::-1]))

    assert at(life=None, history=history).state == "login_budget"
    assert at(life=None, history=history, rules=Rules(logins_per_day=None)).do == "login"


def test_a_bearer_is_no_login_and_needs_no_budget() -> None:
    history = History(proven=SECRETS, logins=(NOW - 4, NOW - 3, NOW - 2, NOW - 1))
    life = msgspec.structs.replace(LIFE, bearer_end=NOW - 1, bearer_renewable=True)

    assert at(life=life, history=history).do == "bearer"


# The bearer


def test_a_bearer_is_renewed_alone_ahead_of_its_end() -> None:
    life = msgspec.structs.replace(LIFE, bearer_end=NOW + HOUR, bearer_renewable=True)

    assert at(life=life).at == NOW + HOUR - 900
    assert at(life=life, now=NOW + HOUR - 900).do == "bearer"


def test_a_bearer_whose_renewal_gained_nothing_is_not_renewed_again_before_its_end() -> None:
    life = msgspec.structs.replace(
        LIFE, bearer_end=NOW + 60, bearer_renewable=True, bearer_stuck=True
    )

    assert at(life=life).at == NOW + 60
    assert at(life=life, now=NOW + 60).do == "bearer"


def test_a_session_that_lapsed_by_its_bearer_gets_a_bearer_not_a_login() -> None:
    life = msgspec.structs.replace(LIFE, bearer_end=NOW - 1, bearer_renewable=True)

    assert at(life=life).do == "bearer"


def test_a_ready_access_token_that_ended_cannot_be_renewed() -> None:
    life = msgspec.structs.replace(LIFE, bearer_end=NOW - 1, bearer_renewable=False)

    assert at(life=life).do == "login"  # which says that the access token has ended


# All of them

lives = st.builds(
    Life,
    begin=st.floats(NOW - 2 * DAY, NOW),
    end=st.floats(NOW - DAY, NOW + 2 * DAY),
    alive=st.booleans(),
    bearer_begin=st.floats(NOW - 2 * DAY, NOW),
    bearer_end=st.none() | st.floats(NOW - DAY, NOW + DAY),
    bearer_renewable=st.booleans(),
)
histories = st.builds(
    History,
    proven=st.sampled_from(["", SECRETS, "other"]),
    suspects=st.lists(
        st.builds(
            Suspect,
            secrets=st.sampled_from([SECRETS, "other"]),
            refusals=st.integers(0, 3),
            doubts=st.integers(0, 4),
            refused_at=st.floats(NOW - DAY, NOW),
        ),
        max_size=2,
        unique_by=lambda suspect: suspect.secrets,
    ).map(tuple),
    pardoned=st.booleans(),
    logins=st.lists(st.floats(NOW - DAY, NOW), max_size=30).map(lambda ats: tuple(sorted(ats))),
    edge=st.none() | st.builds(Edge, st.floats(NOW - DAY, NOW + DAY), st.none() | st.just(DAY)),
)
troubles = st.none() | st.builds(
    Trouble,
    failures=st.integers(1, 50),
    since=st.floats(NOW - DAY, NOW),
    at=st.floats(NOW - DAY, NOW + DAY),
    retry_at=st.floats(NOW - HOUR, NOW + HOUR),
    local=st.booleans(),
)


@given(st.none() | lives, histories, troubles, st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_for_a_time_that_has_passed(
    life: Life | None, history: History, trouble: Trouble | None, draw: float
) -> None:
    decision = at(life=life, history=history, trouble=trouble, draw=draw)

    assert decision.why
    assert decision.do != "wait" or decision.at is None or decision.at > NOW


@given(st.none() | lives, histories, troubles, st.floats(0, 1, exclude_max=True))
def test_p3_refused_secrets_are_never_sent_again_without_a_persons_word(
    life: Life | None, history: History, trouble: Trouble | None, draw: float
) -> None:
    decision = at(life=life, history=history, trouble=trouble, draw=draw)
    suspect = history.suspect(SECRETS)

    if history.pardoned:
        return
    if suspect.refusals > 1 or (suspect.refusals and history.proven != SECRETS):
        assert decision.do not in ("login", "bearer")
    if suspect.doubts > 1 and history.proven != SECRETS:
        assert decision.do not in ("login", "bearer")


def test_failures_of_the_day_before_do_not_slow_down_those_of_this_midnight() -> None:
    before = Trouble(failures=9, since=NOW - 2 * DAY, at=NOW - DAY, retry_at=NOW - DAY + 60)
    lived = Life(begin=NOW - DAY + 60, end=NOW - 1, alive=False, bearer_begin=NOW - DAY + 60)
    assert fail(NOW, before, lived, 0.99).failures == 1

    at_once = msgspec.structs.replace(lived, begin=NOW - 30, end=NOW + DAY, bearer_begin=NOW - 30)
    assert fail(NOW, before, at_once, 0.99).failures == 10


def suspects(*known: Suspect, proven: str = "") -> History:
    return History(proven=proven, suspects=known)


@pytest.mark.parametrize(
    "other", [Suspect("typed before", refusals=1), Suspect("typed before", doubts=1)]
)
def test_p3_what_the_broker_refused_before_the_secrets_changed_counts_with_it_too(
    other: Suspect,
) -> None:
    code = Suspect(SECRETS, refusals=1, refused_at=NOW - 10, totp=True)
    assert at(life=None, history=suspects(code)).do == "login"
    assert at(life=None, history=suspects(other, code)).state == "credentials_rejected"


def test_p3_the_second_chance_of_proven_secrets_is_not_a_third_refusal_in_a_row() -> None:
    refused = Suspect(SECRETS, refusals=1, refused_at=NOW - SECOND_CHANCE)
    other = Suspect("typed in between", refusals=1)
    assert at(life=None, history=suspects(refused, proven=SECRETS)).do == "login"
    barred = at(life=None, history=suspects(other, refused, proven=SECRETS))
    assert (barred.state, barred.at) == ("credentials_rejected", None)
