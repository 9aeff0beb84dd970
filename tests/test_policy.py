"""When to log in and when not to, as a table of situations."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.account.edge import DAY, Edge
from neod.account.history import COOL, History, Rejected, Suspect
from neod.account.hours import Hours, Window
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

    over = msgspec.structs.replace(LIFE, alive=False)
    waits = decide(LIFE.end + 1, over, history, SECRETS, None, Rules(), 0.0, ahead=31)

    assert (waits.do, waits.at) == ("wait", decision.at)
    assert waits.why.startswith("the day's edge: logs in at ")


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


def test_too_many_requests_shorten_no_wait_that_many_failures_have_made_long() -> None:
    many = Trouble(99, NOW - DAY, NOW - 1, NOW)

    assert fail(NOW, many, None, 0.9, rate_limited=True).retry_at == NOW + 540


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
    set_back = at(life=None, history=refused(1, -5, proven=True))
    by_a_wrong_clock = at(life=None, history=refused(1, -DAY, proven=True))

    assert (early.do, early.state, early.at) == ("wait", "credentials_rejected", NOW + 1)
    assert later.do == "login"
    assert set_back.do == "wait"
    assert by_a_wrong_clock.do == "login"


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


def test_a_renewal_that_will_not_be_made_is_not_promised() -> None:
    barred = at(history=refused(2, 0, proven=False))

    assert (barred.do, barred.state, barred.at) == ("wait", "credentials_rejected", None)
    assert at(history=refused(1, 0, proven=True)).state == "ok"  # it may be by then
    pardoned = msgspec.structs.replace(refused(2, 0, proven=False), pardoned=True)
    assert at(history=pardoned).state == "ok"


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


# What each situation leads to, to the second

REFUSED_TO_A_BOT = Rejected(at=NOW - 10, time="", generation=1, verdict="dead")
CLOSED = Hours(windows=(Window(frozenset(), 0.0, HOUR),))  # which never open


def life(**fields: object) -> Life:
    return msgspec.structs.replace(LIFE, **fields)


def contended(until: float, expires_at: float = NOW + HOUR) -> History:
    return History(
        proven=SECRETS, rejected=REFUSED_TO_A_BOT, expires_at=expires_at, contended_until=until
    )


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        (LIFE, ("wait", "ok", False)),
        (life(end=NOW + 900), ("login", "renewing", False)),
        (life(end=NOW), ("login", "renewing", False)),
        (life(outdated=True), ("login", "renewing", True)),
        (life(rejected=True), ("login", "renewing", False)),
        (life(bearer_end=NOW, bearer_renewable=True), ("bearer", "renewing", False)),
        (life(bearer_end=NOW + 1, bearer_renewable=True), ("bearer", "renewing", False)),
        (life(bearer_end=NOW), ("login", "renewing", False)),
        (life(bearer_end=NOW + 1), ("wait", "ok", False)),
        (life(bearer_rejected=True, bearer_end=NOW + HOUR), ("wait", "ok", False)),
        (
            life(bearer_rejected=True, bearer_end=NOW + HOUR, bearer_renewable=True),
            ("bearer", "renewing", False),
        ),
        (life(stuck=True, end=NOW), ("wait", "renewing", False)),
        (life(stuck=True, end=NOW - 0.6), ("login", "renewing", False)),
        (life(stuck=True, alive=False), ("login", "renewing", False)),
    ],
)
def test_a_session_asks_for_what_it_needs_and_the_state_says_so(
    has: Life, expected: tuple[str, str, bool]
) -> None:
    decision = at(life=has)

    assert (decision.do, decision.state, decision.spare) == expected


@pytest.mark.parametrize(
    ("has", "why"),
    [
        (lapsed(), "the session has lapsed"),
        (life(bearer_end=NOW, bearer_renewable=True), "the bearer has lapsed"),
        (life(bearer_end=NOW + 1, bearer_renewable=True), "the bearer ends at 03:43:21 IST"),
        (life(bearer_end=NOW), "the access token has lapsed"),
        (
            life(bearer_rejected=True, bearer_end=NOW + HOUR, bearer_renewable=True),
            "the bearer was rejected",
        ),
    ],
)
def test_what_a_session_needs_it_needs_for_a_reason_that_is_told(has: Life, why: str) -> None:
    assert at(life=has).why == why


@pytest.mark.parametrize(
    ("has", "state"),
    [
        (None, "backing_off"),
        (life(rejected=True), "ok"),
        (life(rejected=True, alive=False), "backing_off"),
    ],
)
def test_a_contention_holds_up_a_renewal_for_a_reject_and_no_longer_than_any_lasts(
    has: Life | None, state: str
) -> None:
    held_up = at(life=has, history=contended(NOW + 100))
    assert (held_up.do, held_up.state, held_up.at) == ("wait", state, NOW + 100)
    assert at(life=has, history=contended(NOW + COOL[-1])).do == "wait"

    for over in (0.0, NOW, NOW + COOL[-1] + 1):  # the last was noted by a clock that was wrong
        free = at(life=has, history=contended(over))
        assert (free.do, free.state, free.spare) == ("login", "renewing", True)
        dead = has is None or not has.alive
        assert free.why.startswith("the broker called" if dead else "the session was")


@pytest.mark.parametrize(
    "has", [None, life(end=NOW, rejected=True), life(end=NOW, alive=False, rejected=True), lapsed()]
)
def test_a_contention_does_not_hold_up_the_login_for_a_session_that_has_ended(
    has: Life | None,
) -> None:
    decision = at(life=has, history=contended(NOW + 100, expires_at=NOW))

    assert (decision.do, decision.spare) == ("login", False)


def test_a_session_from_before_a_restart_that_was_no_bots_trouble_is_no_contention() -> None:
    quiet = msgspec.structs.replace(contended(NOW + 100), rejected=None)

    assert at(life=None, history=quiet).state == "starting"
    assert at(life=life(alive=False), history=quiet).do == "login"


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.8])
def test_jitter_is_a_quarter_of_the_margin_at_most(draw: float) -> None:
    bearer = life(bearer_end=NOW + HOUR, bearer_renewable=True)

    assert at(draw=draw).at == LIFE.end - 900 * (1 + draw / 4)
    assert at(life=bearer, draw=draw).at == NOW + HOUR - 900 * (1 + draw / 4)


@pytest.mark.parametrize(
    ("lives", "ahead", "draw", "after"),
    [
        (8 * HOUR, 0, 0, 0.6),
        (8 * HOUR, 0, 0.5, 1.8),
        (40.0, 0, 0.5, 1.2),
        (8 * HOUR, 31, 0, 30.6),
        (8 * HOUR, -31, 0, 0.6),
        (-40.0, 0, 0.5, 0.0),
    ],
)
def test_the_login_after_the_edge_is_spread_over_three_seconds_and_less_for_short_lives(
    lives: float, ahead: float, draw: float, after: float
) -> None:
    stuck = life(begin=NOW + HOUR - lives, end=NOW + HOUR, stuck=True)
    decision = decide(NOW, stuck, History(), SECRETS, None, Rules(), draw, ahead)

    assert decision.at == pytest.approx(NOW + HOUR + after, abs=1e-3)


# A person's word, and hours


def test_a_person_gets_a_login_where_none_is_due_and_where_one_is_backed_off() -> None:
    trouble = Trouble(failures=2, since=NOW - 5, at=NOW, retry_at=NOW + 7)
    bearer = life(bearer_end=NOW - 1, bearer_renewable=True)
    for has, state in ((None, "starting"), (LIFE, "renewing"), (bearer, "renewing")):
        for more in (None, trouble):
            decision = decide(
                NOW, has, History(paused=True), SECRETS, more, Rules(hours=CLOSED), 0, asked=True
            )
            assert (decision.do, decision.state) == ("login", state)


def test_an_account_that_only_a_person_can_log_in_waits_for_one_but_its_bearer_does_not() -> None:
    bearer = life(bearer_end=NOW - 1, bearer_renewable=True)

    def of_a_person(has: Life | None, *, asked: bool = False) -> Decision:
        history = History(proven=SECRETS)
        return decide(NOW, has, history, SECRETS, None, Rules(), 0, otp=True, asked=asked)

    assert (of_a_person(None).do, of_a_person(None).state) == ("wait", "otp_needed")
    assert of_a_person(None, asked=True).do == "login"
    assert of_a_person(LIFE).state == "ok"
    assert of_a_person(bearer).do == "bearer"


def test_the_last_logins_of_a_day_are_kept_for_sessions_that_lapse() -> None:
    history = History(proven=SECRETS, logins=tuple(NOW - 1000 - n * 600 for n in range(16)[::-1]))
    rules = Rules()

    assert at(life=lapsed(), history=history).do == "login"
    assert at(life=life(outdated=True), history=history).state == "login_budget"
    asked = decide(NOW, lapsed(), history, SECRETS, None, rules, 0, asked=True)
    assert asked.state == "login_budget"


def test_a_budget_ends_when_both_of_its_windows_do_and_says_which_is_the_last() -> None:
    day = tuple(NOW - DAY + 5000 - n for n in range(20)[::-1])
    history = History(proven=SECRETS, logins=(*day, NOW - 40, NOW - 30, NOW - 20, NOW - 10))
    both, short = (
        at(life=None, history=history),
        at(life=None, history=History(logins=history.logins[20:])),
    )

    assert (both.at, "24 hours" in both.why) == (day[0] + DAY, True)
    assert (short.at, "10 minutes" in short.why) == (NOW - 40 + 600, True)


def test_first_factors_that_led_to_nothing_count_for_ten_minutes_and_not_for_a_day() -> None:
    four = History(proven=SECRETS, halves=(NOW - 4, NOW - 3, NOW - 2, NOW - 1))
    many = History(proven=SECRETS, halves=tuple(NOW - 601 - n for n in range(30)[::-1]))

    assert at(life=None, history=four).state == "login_budget"
    assert at(life=None, history=many).do == "login"


@pytest.mark.parametrize(
    ("window", "at_", "said"),
    [
        (Window(frozenset(range(7)), 10 * HOUR, 11 * HOUR), LIFE.end - 900, "ahead of its end"),
        (Window(frozenset({2, 3}), 9 * HOUR, 10 * HOUR), NOW + 105_400, "Thu 16 Nov, 09:00 IST"),
        (Window(frozenset(), 9 * HOUR, 10 * HOUR), None, "not within a year"),
    ],
)
def test_a_renewal_that_is_due_outside_the_hours_waits_for_them_to_open(
    window: Window, at_: float | None, said: str
) -> None:
    rules = Rules(hours=Hours(windows=(window,)))
    decision = at(rules=rules)

    assert (decision.do, decision.state, decision.at) == ("wait", "ok", at_)
    assert said in decision.why
    assert decision.why.startswith(at().why)
    assert ("outside hours" in decision.why) == (at_ != LIFE.end - 900)


def test_closed_hours_keep_a_login_from_being_made_but_no_bearer() -> None:
    rules = Rules(hours=CLOSED)
    bearer = life(bearer_end=NOW + HOUR, bearer_renewable=True)

    assert (at(life=None, rules=rules).do, at(life=None, rules=rules).state) == (
        "wait",
        "outside_hours",
    )
    assert at(life=bearer, rules=rules).at == NOW + HOUR - 900
    assert at(life=bearer, rules=rules, now=NOW + HOUR - 900).do == "bearer"


def test_a_pause_says_whether_a_session_is_served() -> None:
    paused = History(proven=SECRETS, paused=True)

    assert (at(history=paused).do, at(history=paused).state) == ("wait", "paused")
    assert "served" in at(history=paused).why
    for gone in (None, life(alive=False)):
        assert "there is no session" in at(life=gone, history=paused).why


@pytest.mark.parametrize(
    ("failures", "said"), [(1, "1 attempt failed"), (2, "2 attempts in a row")]
)
def test_a_backoff_says_how_many_attempts_failed(failures: int, said: str) -> None:
    trouble = Trouble(failures=failures, since=NOW, at=NOW, retry_at=NOW + 7)

    assert said in at(life=None, trouble=trouble).why


# Delays


@pytest.mark.parametrize(
    ("failures", "ago", "draw", "local", "delay"),
    [
        (0, 0.0, 0.0, False, 1.0),
        (0, 0.0, 0.75, False, 1.5),
        (2, 0.0, 0.5, False, 4.0),
        (50, 1799.0, 0.5, False, 30.0),
        (50, 1800.0, 0.5, False, 300.0),
        (50, 1799.0, 0.5, True, 30.0),
        (50, 1800.0, 0.5, True, 150.0),
    ],
)
def test_delays_double_up_to_a_minute_and_later_to_ten_or_five(
    failures: int, ago: float, draw: float, delay: float, *, local: bool
) -> None:
    before = Trouble(failures, NOW - ago, NOW - 1, NOW) if failures else None
    after = fail(NOW, before, None, draw, local=local) if local else fail(NOW, before, None, draw)

    assert after == Trouble(failures + 1, NOW - ago, NOW, NOW + delay, local)


@pytest.mark.parametrize(("told", "delay"), [(0.1, 1.0), (30.0, 30.0), (601.0, 600.0)])
def test_a_gateway_that_is_down_is_given_the_time_that_it_names(told: float, delay: float) -> None:
    assert fail(NOW, None, None, 0, retry_after=told).retry_at == NOW + delay


@pytest.mark.parametrize(
    ("begin", "end", "bearer_begin", "failures"),
    [
        (NOW - 60, NOW + HOUR, NOW - 60, 1),
        (NOW - 59, NOW + HOUR, NOW - 59, 6),
        (NOW - DAY, NOW + HOUR, NOW - 60, 1),
        (NOW - DAY, NOW + HOUR, NOW - 59, 6),
        (NOW - 20, NOW + 60, NOW - DAY, 1),
        (NOW - 19, NOW + 61, NOW - DAY, 6),
        (NOW - 100, NOW + HOUR, NOW - DAY, 1),
        (NOW - 101, NOW + HOUR, NOW - DAY, 6),
        (NOW - 90, NOW - 31, NOW - DAY, 1),
    ],
)
def test_what_was_got_since_the_last_failure_has_to_live_a_minute_or_a_quarter_of_its_life(
    begin: float, end: float, bearer_begin: float, failures: int
) -> None:
    before = Trouble(failures=5, since=NOW - 300, at=NOW - 100, retry_at=NOW - 50)
    has = Life(begin=begin, end=end, alive=True, bearer_begin=bearer_begin)

    assert fail(NOW, before, has, 0).failures == failures
