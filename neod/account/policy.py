"""When to log in, and when not to: pure functions of the time and of what is known.

Nothing here waits, sends or reads a clock. Each decision carries its reason in words, which
`neoctl status` shows as `why`. What is weighed, in this order: never lock the account, never
serve a dead session, never withhold a valid one.
"""

from datetime import datetime
from typing import Literal

import msgspec

from neod.account.edge import DAY, Edge, ends_there
from neod.account.history import COOL, TEN_MINUTES, History
from neod.account.hours import Hours, is_open, opens_at
from neod.clock import INDIA, clock_time

State = Literal[
    "starting",
    "ok",
    "renewing",
    "backing_off",
    "otp_needed",
    "credentials_rejected",
    "blocked",
    "login_budget",
    "paused",
    "outside_hours",
]

MARGIN = 15 * 60.0  # seconds ahead of the end that a renewal is due, at most
SECOND_CHANCE = 30 * 60.0  # seconds after a refusal of proven secrets: brokers misreport at night
PROVEN_AFTER = 60.0  # seconds that a session has to live before failures before it are forgotten
EDGE_SPREAD = 3.0  # seconds after the edge within which the login starts
FLOOR = 1.0  # seconds: the least that neod waits after any failure
CAP, LATE_CAP, LATE = 60.0, 600.0, 1800.0  # seconds: the cap of backoff, and what it rises to when
RATE_LIMIT = 60.0  # seconds: the least that neod waits after "too many requests"
LOCAL_CAP = 300.0  # seconds: the cap where a secret cannot be read, or the ledger not written
KEPT_FOR_LAPSED = 8  # logins of a day's budget that no person's word may use up


class Rules(msgspec.Struct, frozen=True):
    """[account.NAME.renewal]"""

    margin: float = MARGIN
    edge: Edge | Literal["auto", "none"] = "auto"
    logins_per_10min: int | None = 4  # None: no limit, which only a sandbox may have
    logins_per_day: int | None = 24
    hours: Hours = Hours()


class Life(msgspec.Struct, frozen=True):
    """The times of a session, and whether its token is alive, which is not theirs alone to say."""

    begin: float  # when the token was received
    end: float  # the token's own end
    alive: bool  # by both clocks, and was never seen past its end
    bearer_begin: float
    bearer_end: float | None = None  # None: no bearer that ends
    bearer_renewable: bool = False
    rejected: bool = False  # a bot's reject of it stands
    stuck: bool = False  # a renewal brought the same end
    bearer_stuck: bool = False  # the same of the bearer
    bearer_rejected: bool = False  # a bot's reject of it stands
    outdated: bool = False  # it was got with credentials that are others by now

    @property
    def token_lives(self) -> float:
        return self.end - self.begin


class Trouble(msgspec.Struct, frozen=True):
    """Attempts that failed in a row."""

    failures: int
    since: float  # when the first of them failed
    at: float  # when the last of them failed
    retry_at: float
    local: bool = False  # the cause is on this machine, and a person has to mend it


class Decision(msgspec.Struct, frozen=True):
    """What to do next, and why."""

    do: Literal["login", "bearer", "wait"]
    state: State
    why: str
    at: float | None = None  # of a wait: when something is due; None if only news can end it
    spare: bool = False  # a login that may not use up what is kept for sessions that lapse


def decide(
    now: float,
    life: Life | None,
    history: History,
    secrets: str,
    trouble: Trouble | None,
    rules: Rules,
    draw: float,
    ahead: float = 0.0,
    *,
    otp: bool = False,
    asked: bool = False,
) -> Decision:
    """What to do at `now`.

    `secrets` is the fingerprint of the secrets as they are now, empty where they can't be had.
    `draw` is in [0, 1): drawn anew for each session, so that jitter stays put while one lives.
    `ahead` is how many seconds this clock is ahead of the broker's, as far as is known.
    `otp` is an account that only a person can log in, `asked` that a person has asked for it.
    """
    wanted = _wanted(now, life, history, secrets, rules, draw, ahead)
    if asked:
        wanted = Decision("login", "renewing" if life else "starting", "a person asked for it")
    elif history.paused and wanted.do != "bearer":
        return _paused(life)
    bar = None if history.pardoned else barred(now, history, secrets)
    if wanted.do == "wait":
        # A renewal that will not be made is not promised; the session is served all the same.
        return bar if bar and bar.at is None and wanted.state == "ok" else wanted
    if bar:
        return bar
    if wanted.do == "login":
        if spent := _over_budget(now, history, rules, discretionary=asked or wanted.spare):
            return spent
        if not asked and not is_open(rules.hours, now):
            return _until_open(now, rules.hours, wanted.why)
    if wanted.do == "login" and otp and not asked:
        why = f"{wanted.why}, and only a person can log in: neoctl renew, then neoctl otp"
        return Decision("wait", "otp_needed", why)
    # A clock that was set back ends a backoff.
    if not asked and trouble and trouble.at <= now < trouble.retry_at:
        state: State = "blocked" if trouble.local else "backing_off"
        tried = "1 attempt" if trouble.failures == 1 else f"{trouble.failures} attempts in a row"
        return Decision(
            "wait",
            state,
            f"{tried} failed; tries again at {clock_time(trouble.retry_at)}",
            trouble.retry_at,
        )
    return wanted


def _wanted(
    now: float,
    life: Life | None,
    history: History,
    secrets: str,
    rules: Rules,
    draw: float,
    ahead: float,
) -> Decision:
    """What the session asks for, whatever stands in the way."""
    if life is None:
        # It was so before a restart; of other credentials' session it says nothing.
        if history.rejected and now < history.expires_at and secrets == history.proven:
            return _on_a_rejects_word(now, history, alive=False)
        return Decision("login", "starting", "there is no session yet")
    if life.end <= now or not life.alive:
        return _after_the_end(now, life, history, rules, draw, ahead)
    bearer_due = _bearer_due(life, rules, draw)
    # The bearer first: what keeps a login from being made does not keep a bearer from it.
    if bearer := _bearer(now, life, bearer_due):
        return bearer
    if life.stuck or ends_there(_edge(history, rules), life.begin, life.end):
        due, reason = _after_edge(life, draw, ahead), "just after the day's edge"
    else:
        due = life.end - _margin(life.token_lives, rules) * (1 + draw / 4)
        reason = "ahead of its end"
        if now >= due:
            return Decision("login", "renewing", f"the session ends at {clock_time(life.end)}")
    if life.rejected:
        return _on_a_rejects_word(now, history, alive=True)
    if life.outdated:
        return Decision("login", "renewing", "the credentials have changed", spare=True)
    renewal = Decision("wait", "ok", f"renews at {clock_time(due)}, {reason}", due)
    renewal = _within_hours(renewal, rules.hours)
    if bearer_due is not None and (renewal.at is None or bearer_due < renewal.at):
        why = f"renews the bearer at {clock_time(bearer_due)}, ahead of its end"
        return Decision("wait", "ok", why, bearer_due)
    return renewal


def _after_the_end(
    now: float, life: Life, history: History, rules: Rules, draw: float, ahead: float
) -> Decision:
    if life.rejected and life.end > now:
        return _on_a_rejects_word(now, history, alive=False)
    at_edge = life.stuck or ends_there(_edge(history, rules), life.begin, life.end)
    after_edge = _after_edge(life, draw, ahead)
    if at_edge and life.end <= now < after_edge:
        why = f"the day's edge: logs in at {clock_time(after_edge)}"
        return _within_hours(Decision("wait", "renewing", why, after_edge), rules.hours)
    return Decision("login", "renewing", "the session has lapsed")


def _after_edge(life: Life, draw: float, ahead: float) -> float:
    """When to log in after the end, which the broker may see later than this clock."""
    spread = min(EDGE_SPREAD, max(0.0, life.token_lives) / 20)
    return life.end + spread * (0.2 + 0.8 * draw) + max(0.0, ahead - 1)


def _bearer(now: float, life: Life, due: float | None) -> Decision | None:
    """What its bearer asks of a session whose token lives; None if nothing now."""
    if life.bearer_end is None:
        return None
    if life.bearer_end <= now:
        if life.bearer_renewable:
            return Decision("bearer", "renewing", "the bearer has lapsed")
        return Decision("login", "renewing", "the access token has lapsed")
    if life.bearer_rejected and life.bearer_renewable:
        return Decision("bearer", "renewing", "the bearer was rejected")
    if due is not None and due <= now:
        return Decision("bearer", "renewing", f"the bearer ends at {clock_time(life.bearer_end)}")
    return None


def _on_a_rejects_word(now: float, history: History, *, alive: bool) -> Decision:
    if until := contended_until(now, history):
        return Decision("wait", "ok" if alive else "backing_off", contended(until), until)
    why = "the session was rejected" if alive else "the broker called the session dead"
    return Decision("login", "renewing", why, spare=now < history.expires_at)


def contended_until(now: float, history: History) -> float:
    """Until when no session is renewed on a reject's word; 0 where one may be.

    Where each new session is soon rejected, another program seems to log in, and ends ours each
    time: two that take turns would log in for ever.
    """
    until = history.contended_until
    # Further away than any contention lasts, it was noted by a clock that was wrong.
    return until if now < until <= now + COOL[-1] else 0.0


def contended(until: float) -> str:
    """Why nothing is done until then."""
    return (
        "contended: another program seems to log in, since a session that a reject brought was "
        f"rejected too; none is renewed for that before {clock_time(until)}"
    )


def _paused(life: Life | None) -> Decision:
    served = "the session is served to its end" if life and life.alive else "there is no session"
    return Decision("wait", "paused", f"paused, so nobody logs in; {served}: neoctl resume")


def _within_hours(decision: Decision, hours: Hours) -> Decision:
    """A wait for a login that will be due when the hours are closed is one until they open."""
    if decision.at is None or is_open(hours, decision.at):
        return decision
    return _until_open(decision.at, hours, decision.why, decision.state)


def _until_open(now: float, hours: Hours, why: str, state: State = "outside_hours") -> Decision:
    opens = opens_at(hours, now)
    when = "not within a year" if opens is None else _day_and_time(opens)
    return Decision("wait", state, f"{why}; outside hours, which open: {when}", opens)


def _day_and_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, INDIA).strftime("%a %d %b, %H:%M IST")


def _bearer_due(life: Life, rules: Rules, draw: float) -> float | None:
    if life.bearer_end is None or not life.bearer_renewable:
        return None
    if life.bearer_stuck:
        return life.bearer_end
    lives = life.bearer_end - life.bearer_begin
    return life.bearer_end - _margin(lives, rules) * (1 + draw / 4)


def _margin(lives: float, rules: Rules) -> float:
    return max(0.0, min(rules.margin, lives / 4))


def _edge(history: History, rules: Rules) -> Edge | None:
    if rules.edge == "none":
        return None
    return history.edge if rules.edge == "auto" else rules.edge


def barred(now: float, history: History, secrets: str) -> Decision | None:
    """Why refusals, known or possible, forbid to send these secrets now; None if they do not."""
    if not secrets:
        return None
    proven = history.proven == secrets
    suspect = history.suspect(secrets)
    # The broker counts refusals in a row, whatever the secrets were: each change of them is good
    # for one more, and a second attempt with the same ones only where nothing went before.
    in_a_row = sum(
        known.refusals + (0 if known.secrets == history.proven else known.doubts)
        for known in history.suspects
    )
    if suspect.refusals:
        if suspect.totp and in_a_row == 1:
            return None  # the next code may do; whoever sends it sees to it that it is another
        when, said = clock_time(suspect.refused_at), f": {suspect.detail}" if suspect.detail else ""
        if not proven or in_a_row >= 2:
            times = "once" if suspect.refusals == 1 else f"{suspect.refusals} times"
            return Decision(
                "wait", "credentials_rejected", f"refused {times}, last at {when}{said}"
            )
        again = suspect.refused_at + SECOND_CHANCE
        # Much further away than that, it was noted by a clock that was wrong.
        if now < again <= now + 2 * SECOND_CHANCE:
            why = (
                f"credentials that were accepted before were refused at {when}; "
                f"tries once more at {clock_time(again)}{said}"
            )
            return Decision("wait", "credentials_rejected", why, again)
    if not proven and suspect.doubts >= 2:
        why = (
            f"{suspect.doubts} logins got no clear answer, and these credentials were never "
            "accepted: they may have been refused"
        )
        return Decision("wait", "blocked", why)
    return None


def _over_budget(
    now: float, history: History, rules: Rules, *, discretionary: bool
) -> Decision | None:
    ends = []
    per_day = rules.logins_per_day
    if discretionary and per_day is not None:  # the last are kept for sessions that lapse
        per_day = max(1, per_day - KEPT_FOR_LAPSED)
    for allowed, window in ((rules.logins_per_10min, TEN_MINUTES), (per_day, DAY)):
        recent = counted(now, history, window)
        if allowed is not None and len(recent) >= allowed:
            ends.append((recent[-allowed] + window, len(recent), window))
    if not ends:
        return None
    end, count, window = max(ends)
    span = "10 minutes" if window == TEN_MINUTES else "24 hours"
    why = f"{count} logins within {span} are the most allowed; goes on at {clock_time(end)}"
    return Decision("wait", "login_budget", why, end)


def counted(now: float, history: History, window: float) -> list[float]:
    """When the logins were that the budget counts, within so many seconds; oldest first."""
    # First factors that led to nothing are not a day's business, which an outage of the second
    # would use up; but so many in a row nobody would send by hand.
    times = history.logins if window == DAY else sorted((*history.logins, *history.halves))
    # A clock that was wrong may have left times that are yet to come.
    return [at for at in times if abs(now - at) < window]


def fail(
    now: float,
    trouble: Trouble | None,
    life: Life | None,
    draw: float,
    *,
    retry_after: float | None = None,
    rate_limited: bool = False,
    local: bool = False,
) -> Trouble:
    """The trouble after one more failure. The one place where a delay is chosen.

    Failures are forgotten only once a session has lived for a while: one that a login merely
    brought may be dead at once, and then the next login would be free again.
    """
    if trouble is None or (life is not None and _has_lived(now, life, trouble)):
        failures, since = 1, now
    else:
        failures, since = trouble.failures + 1, min(trouble.since, now)
    cap = LATE_CAP if now - since >= LATE else CAP
    if local:
        cap = min(cap, LOCAL_CAP)
    delay = max(FLOOR, draw * min(cap, 2.0 ** min(failures, 20)))
    if rate_limited:
        delay = max(delay, RATE_LIMIT, retry_after or 0.0)
    elif retry_after is not None:
        # A gateway that is down may name any time; it does not know the session's end.
        delay = max(delay, min(retry_after, LATE_CAP))
    return Trouble(failures=failures, since=since, at=now, retry_at=now + delay, local=local)


def _has_lived(now: float, life: Life, trouble: Trouble) -> bool:
    """True if something was got since the last failure, and has proven itself.

    That it has lapsed since is no matter: a failure of this midnight is none of yesterday's.
    """
    last = max(life.begin, life.bearer_begin)
    enough = min(PROVEN_AFTER, life.token_lives / 4)
    return last >= trouble.at and min(now, life.end) - last >= enough
