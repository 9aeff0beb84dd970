"""The promises, as properties: whatever is drawn, what was seen from outside keeps them.

Each run plays a drawn script (tests/fakes/script.py) over the real keeper, in virtual time. What
ought to have been is worked out here from the broker's replies and the clocks alone, and by
other means than neod's: this is the second opinion.
"""

import base64
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import ParamSpec, TypeVar

import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from neod.account.keeper import LOGIN_TIME
from neod.ipc.api import Api
from neod.ipc.http1 import Request
from neod.sandbox.faults import REPLIES
from tests.fakes.asking import answer_of
from tests.fakes.clock import VirtualClock
from tests.fakes.script import (
    LOGINS,
    MIDNIGHT,
    TAIL,
    Answered,
    Booted,
    BrokersClock,
    Changes,
    Configures,
    DiskFull,
    Entry,
    Event,
    Fails,
    Forgets,
    Happens,
    Moment,
    Otp,
    Pause,
    Player,
    Put,
    Read,
    Reads,
    Refused,
    Reject,
    Renew,
    Restart,
    Resume,
    Script,
    SecretName,
    Sent,
    SetClock,
    Setup,
    Stopped,
    Suspend,
    Told,
    Trace,
    Unblock,
    play,
)

HOUR, DAY = 3600.0, 86_400.0
EXACT = 0.01  # seconds: what floats make of instants
ASKED_WITHIN = 30.0  # seconds after a lapse, where nothing forbids it
FAULTS = [*REPLIES, "refused", "hang", "cut", "wrong-type", "slow=4", "slow=9", "slow=20"]
STEPS = ["", "@login", "@validate", "@bearer", "@api"]


P = ParamSpec("P")
T = TypeVar("T")


def in_virtual_time(do: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run it to its end, which takes no longer than there is to do."""
    return trio.run(partial(do, *args, **kwargs), clock=MockClock(autojump_threshold=0))


# What is drawn


@dataclass(frozen=True)
class Story:
    """One run: with this setup, that happens."""

    setup: Setup
    script: Script

    def play(self) -> Trace:
        return in_virtual_time(play, self.setup, self.script)


OFTEN = [HOUR, 600.0, 45.0, DAY, None]  # seconds that sessions live
SOON = [45.0, 600.0]  # the same, where much is to be seen of the logins


@st.composite
def setups(
    draw: st.DrawFn, *, wrong: bool = False, lives: list[float | None] | list[float] = OFTEN
) -> Setup:
    """An account; with `wrong`, its configuration may hold a wrong secret from the start."""
    login = draw(st.sampled_from(LOGINS))
    setup = Setup(
        login=login,
        life=draw(st.sampled_from(lives)),
        bearer_life=draw(st.sampled_from([DAY, HOUR, 300.0, 40.0])),
        starts=draw(st.sampled_from([-2 * HOUR, -20 * HOUR, -1000.0, -20.0, 5.0])),
        notices_jumps=draw(st.booleans()),
        lavish=draw(st.booleans()),
        edge=draw(st.sampled_from(["auto", "none"])),
        latency=draw(st.sampled_from([0.137, 1.137])),
        poll=draw(st.sampled_from([3.1, 0.7, 13.3])),
        seed=draw(st.integers(1, 9)),
    )
    if wrong and draw(st.booleans()):
        setup = replace(setup, wrong=draw(st.sampled_from(setup.secrets)))
    return setup


@st.composite
def fault_names(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(FAULTS))
    return name if name == "refused" else name + draw(st.sampled_from(STEPS))


lasting = st.sampled_from([5.0, 1.0, 60.0, 400.0, 2 * HOUR])
troubles = st.one_of(
    st.builds(Fails, fault_names(), lasting),
    st.builds(Forgets),
    st.builds(DiskFull, st.sampled_from(["ledger", "store"]), lasting),
)
lost = st.builds(Fails, st.sampled_from([f"cut{step}" for step in STEPS[:4]]), lasting)
leaps = st.one_of(
    st.builds(Suspend, st.sampled_from([20.0, 500.0, 2 * HOUR, 8 * HOUR, DAY])),
    st.builds(
        SetClock,
        st.sampled_from([5.0, -5.0, 100.0, -100.0, HOUR, -HOUR, 3 * HOUR, -3 * HOUR, DAY, -DAY]),
    ),
    st.builds(BrokersClock, st.sampled_from([0.0, 20.0, -20.0, 600.0, -600.0])),
)
restarts = st.builds(
    Restart,
    kill=st.booleans(),
    down=st.sampled_from([0.0, 0.5, 20.0, 700.0]),
    reboot=st.sampled_from([False, False, False, True]),
)
EVIDENCE = ["100022", "401", "900901", "100008", "1037", "503", "nothing that is known"]
rejects = st.builds(
    Reject,
    offset=st.sampled_from([0, 0, -1, 5]),
    evidence=st.sampled_from(EVIDENCE),
    bots=st.integers(1, 3),
)
persons = st.one_of(
    st.builds(Renew, st.integers(1, 2)),
    st.builds(Otp, st.booleans()),
    st.builds(Unblock, st.booleans()),
    st.builds(Pause),
    st.builds(Resume),
)
readers = st.builds(
    Reads,
    wait=st.sampled_from([0.0, 1.0, 10.0, 60.0]),
    min_valid=st.sampled_from([0.0, 0.0, 30.0, HOUR]),
    newer=st.booleans(),
    bots=st.integers(1, 3),
)


@cache
def changes(names: tuple[SecretName, ...]) -> st.SearchStrategy[Event]:
    """Of an account's secrets."""
    named = st.sampled_from(names)
    return st.one_of(
        st.builds(Changes, named),
        st.builds(Configures, named, right=st.sampled_from([True, True, False])),
    )


# Some things matter only together.


@st.composite
def feints(draw: st.DrawFn) -> Script:
    """The clock is wrong for a while, in which no login can be had."""
    by = draw(st.sampled_from([3 * HOUR, HOUR, DAY, -HOUR, -DAY]))
    fault = draw(st.sampled_from(["refused", "503@login", "503@bearer"]))
    script: Script = [(0.0, Fails(fault, 2 * HOUR)), (1.3, SetClock(by))]
    if draw(st.booleans()):
        script.append((draw(st.sampled_from([31.0, 0.2])), draw(restarts)))
    return [*script, (draw(st.sampled_from([5.0, 0.2, 17.0])), SetClock(-by))]


@st.composite
def deaths(draw: st.DrawFn) -> Script:
    """The broker ends a session, bots say so, and no login can be had."""
    script: Script = [(0.0, Fails("503@login", 400.0)), (61.0, Forgets()), (0.2, Reject())]
    return [*script, (5.0, draw(restarts))] if draw(st.booleans()) else script


def stops_in_flight(steps: int) -> st.SearchStrategy[Script]:
    """A login is asked for, and the process ends before its reply is there: again and again."""
    stop = st.builds(Restart, kill=st.booleans())
    tries = st.lists(stop, min_size=1, max_size=4)
    return tries.map(
        lambda stops: [pair for stop in stops for pair in ((0.0, Renew()), (steps * 0.15, stop))]
    )


restless = st.sampled_from([3, 1, 5]).flatmap(stops_in_flight)


@cache
def bygones(names: tuple[SecretName, ...]) -> st.SearchStrategy[Script]:
    """A secret is no longer the broker's, and time goes by."""
    named = st.sampled_from(names)
    hours = st.lists(st.sampled_from([1807.0, 3607.0, 75.0]), min_size=1, max_size=4)
    return st.tuples(named, hours, st.booleans()).map(
        lambda drawn: [
            (31.0, Changes(drawn[0])),
            *([(0.0, Fails("cut", 5.0))] if drawn[2] else []),
            *[(delay, Renew()) for delay in drawn[1]],
        ]
    )


@cache
def blunders(names: tuple[SecretName, ...]) -> st.SearchStrategy[Script]:
    """A person writes one wrong secret after the other, and asks for a login each time."""
    typed = st.builds(Configures, st.sampled_from(names), right=st.booleans())
    pairs = st.lists(typed, min_size=1, max_size=3)
    return pairs.map(
        lambda events: [pair for event in events for pair in ((1.3, event), (0.2, Renew()))]
    )


Scene = Event | Script


@st.composite
def stories(
    draw: st.DrawFn,
    setups: st.SearchStrategy[Setup],
    *scenes: st.SearchStrategy[Scene],
    changing: int = 1,
    longest: float = 2 * DAY,
) -> Story:
    """A script for one account: of these scenes, and `changing` parts of changed secrets."""
    setup = draw(setups)
    delays = [1.3, 0.2, 0.0, 17.0, 31.0, 75.0, 301.0, 611.0]
    shortest = min(setup.life or DAY, setup.bearer_life)
    if shortest >= 45:
        delays += [1807.0, 3607.0]
    if shortest >= HOUR:
        delays += [5 * HOUR, 13 * HOUR]
    instants = st.sampled_from(delays) | st.integers(0, 100).map(lambda cents: cents / 100)
    of_secrets: list[st.SearchStrategy[Scene]] = [changes(setup.secrets)]
    if changing > 1:
        of_secrets = [*of_secrets, bygones(setup.secrets), blunders(setup.secrets)]
    happening = st.one_of(*scenes, *of_secrets[: changing or 0])
    drawn: list[tuple[float, Scene]] = draw(st.lists(st.tuples(instants, happening), max_size=12))
    script: Script = [(5.0, Renew()), (5.0, Otp())] if setup.login == "password, otp" else []
    for delay, scene in drawn:
        (wait, event), *rest = scene if isinstance(scene, list) else [(0.0, scene)]
        script += [(delay + wait, event), *rest]
        if sum(delay for delay, _ in script) > longest:
            break
    return Story(setup, script)


# What ought to be


@dataclass(frozen=True)
class Life:
    """How long a session that was put up may be served, by the broker's replies alone."""

    put: Put
    token_end: float  # wall clock: the token's own word
    token_boot: float  # boot clock: what was left of it on arrival
    brokers_boot: float  # the same, had the broker's clock been asked
    bearer_end: float = math.inf
    bearer_boot: float = math.inf

    def has_lapsed(self, when: Moment) -> bool:
        """True if it is over for certain."""
        return (
            when.machine != self.put.when.machine
            or when.wall >= min(self.token_end, self.bearer_end) + EXACT
            or when.boot >= min(self.token_boot, self.bearer_boot) + EXACT
        )

    def is_alive(self, when: Moment) -> bool:
        """True if it is valid for certain: neod takes whole seconds, and the least of them."""
        return (
            when.machine == self.put.when.machine
            and when.wall < min(self.token_end, self.bearer_end - 1) - EXACT
            and when.boot < min(self.token_boot, self.bearer_boot - 1) - EXACT
            and when.boot < self.brokers_boot - EXACT
        )


class Oracle:
    """Follows a trace, entry by entry, and knows what of the sessions in it is true."""

    def __init__(self) -> None:
        self.lives: dict[int, Life] = {}
        self.newest: Life | None = None
        self.dead: dict[str, Moment] = {}  # tokens that the broker called dead, and since when
        self._tokens: dict[str, Answered] = {}
        self._bearers: dict[str, tuple[Moment, float]] = {}  # when asked for, and its seconds
        self._asked: list[Sent] = []

    def follow(self, entry: Entry) -> None:
        match entry:
            case Sent():
                self._asked.append(entry)
            case Answered():
                self._hear(entry)
            case Put():
                self._put(entry)

    def _hear(self, reply: Answered) -> None:
        if reply.step == "api":
            if b"100022" in reply.body:
                self.dead[reply.seen.headers["auth"]] = reply.when
        elif token := token_in(reply):
            self._tokens[token] = reply
        elif reply.step == "bearer" and reply.status == 200 and b"access_token" in reply.body:
            fields = json.loads(reply.body)
            asked = next(sent.when for sent in self._asked if sent.seen is reply.seen)
            self._bearers[fields["access_token"]] = (asked, fields["expires_in"])

    def _put(self, put: Put) -> None:
        reply = self._tokens[put.token]  # or it is none of the broker's
        end, came = end_of(put.token), reply.when
        life = Life(
            put=put,
            token_end=end,
            token_boot=came.boot + end - came.wall,
            brokers_boot=came.boot + end - (came.wall - came.ahead),
        )
        if put.bearer in self._bearers:
            asked, seconds = self._bearers[put.bearer]
            life = replace(life, bearer_end=asked.wall + seconds, bearer_boot=asked.boot + seconds)
        if put.generation in self.lives:  # after a restart
            life = replace(life, put=self.lives[put.generation].put)
        self.lives[put.generation] = self.newest = life


def token_in(reply: Answered) -> str:
    """The session token in a reply; empty if it has none."""
    if reply.status != 200 or b'"token"' not in reply.body:
        return ""
    return str(json.loads(reply.body)["data"]["token"])


def end_of(token: str) -> int:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return int(claims["exp"])


def tell(trace: Trace, entry: Entry, why: str) -> str:
    """The trace up to an entry, for a person: less the readers who all say the same."""
    lines: list[str] = []
    before: Entry | None = None
    for one in trace:
        routine = isinstance(one, Read) and isinstance(before, Read) and one.plain
        routine = (
            routine
            and isinstance(before, Read)
            and isinstance(one, Read)
            and ((one.generation, one.problem) == (before.generation, before.problem))
        )
        if not routine or one is entry:
            lines.append(_line(one))
        before = one
        if one is entry:
            break
    return "\n".join([why, *lines[-40:]])


def _line(entry: Entry) -> str:
    when = entry.when
    said = {
        name: value
        for name, value in vars(entry).items()
        if name not in ("when", "token", "bearer", "seen", "body", "secrets")
    }
    told = " ".join(f"{name}={value}" for name, value in said.items())
    where = f"{when.at:11.2f} wall {when.wall - MIDNIGHT:11.2f} boot {when.boot:11.2f}"
    return f"{where} {type(entry).__name__} {told}"


# P1


def p1_no_valid_session_is_withheld(story: Story, trace: Trace) -> None:
    """Whoever reads gets the newest session that was put up, or a newer one, until it ends."""
    oracle = Oracle()
    owed: Life | None = None
    booted = -math.inf
    for entry in trace:
        oracle.follow(entry)
        match entry:
            case Put():
                owed = oracle.newest
            case Booted():
                booted = entry.when.at
                if owed and not (owed.put.kept and _same(owed.put, entry)):
                    owed = None
            case Read(plain=True) if owed and entry.when.at - entry.took > booted + EXACT:
                if entry.problem == "cut off":
                    continue
                ok = entry.generation >= owed.put.generation
                assert ok or not owed.is_alive(entry.when), tell(trace, entry, "withheld")
        if owed and (not owed.is_alive(entry.when) or owed.put.token in oracle.dead):
            owed = None  # once over, it need not be there again, whatever the clocks say


def _same(put: Put, booted: Booted) -> bool:
    return dict(put.secrets) == dict(booted.secrets)


# P2


def p2_no_lapsed_session_is_served(story: Story, trace: Trace) -> None:
    """Not past its end by either clock, not once seen lapsed, not once called dead."""
    oracle = Oracle()
    over: set[int] = set()  # generations that were seen lapsed
    for entry in trace:
        oracle.follow(entry)
        if not isinstance(entry, Read):
            continue
        if entry.generation:
            life = oracle.lives[entry.generation]
            assert (entry.token, entry.bearer) == (life.put.token, life.put.bearer)
            assert not life.has_lapsed(entry.when), tell(trace, entry, "served past its end")
            assert entry.generation not in over, tell(trace, entry, "revived")
            called = oracle.dead.get(entry.token)
            alive = called is None or entry.when.at <= called.at + EXACT
            assert alive, tell(trace, entry, "served, and the broker had called it dead")
        elif oracle.newest and oracle.newest.has_lapsed(entry.when) and entry.problem != "cut off":
            over.add(oracle.newest.put.generation)


def p2_a_new_login_is_asked_for_soon(story: Story, trace: Trace) -> None:
    """Within half a minute of a lapse, unless there is a reason why not."""
    for place, lapse in _lapses(trace):
        past, now = trace[:place], lapse.when
        window = [one for one in trace[place:] if one.when.at <= now.at + ASKED_WITHIN + EXACT]
        quiet = trace[-1].when.at > now.at + ASKED_WITHIN and not any(
            isinstance(one, Happens | Booted | Stopped) for one in window
        )
        asked = _is_asking(past, now) or any(
            isinstance(one, Sent) or (isinstance(one, Read) and one.generation) for one in window
        )
        if quiet and not asked and not _why_not(story.setup, past, now):
            raise AssertionError(tell(trace, window[-1], "no login was asked for"))


def _lapses(trace: Trace) -> Iterator[tuple[int, Read]]:
    """The reads that were the first to find no session, each after one that found one."""
    before: Read | None = None
    for place, entry in enumerate(trace):
        if not isinstance(entry, Read) or not entry.plain:
            continue
        if before and before.generation and entry.problem:  # noqa: SIM102 - two questions
            if before.when.process == entry.when.process:
                yield place, entry
        before = entry


def _is_asking(past: Trace, now: Moment) -> bool:
    """True if a login is under way: it may wait for a code, or for the broker."""
    for one in reversed(past):
        if isinstance(one, Put) or one.when.process != now.process:
            return False
        if isinstance(one, Sent):
            return now.at < one.when.at + LOGIN_TIME
    return False


def _why_not(setup: Setup, past: Trace, now: Moment) -> str:
    """What may have kept neod from logging in; empty if nothing did."""
    if setup.login == "password, otp":
        return "only a person can log in"
    happened = [entry for entry in past if isinstance(entry, Happens)]
    held = [one.event for one in happened if isinstance(one.event, Pause | Resume)]
    if held and isinstance(held[-1], Pause):
        return "paused"
    for one in happened:
        if isinstance(one.event, DiskFull) and now.at < one.when.at + one.event.lasts + 700:
            return "the ledger is full"
    tokens = {one.token for one in past if isinstance(one, Put)}
    ends = sorted(map(end_of, tokens))
    if now.ahead > 1 and any(after - before <= 60 for before, after in pairwise(ends)):
        return "the day's edge is later at the broker's"
    if sum(isinstance(one.event, Reject) for one in happened) > 1:
        return "contended"
    return _failing(setup, past, now) or _spent(setup, past, now)


def _failing(setup: Setup, past: Trace, now: Moment) -> str:
    """The backoff after a failure, the half hour after a refusal, or more than that."""
    put = {entry.token for entry in past if isinstance(entry, Put)}
    good: dict[int, Moment] = {}
    for reply in past:
        if isinstance(reply, Answered) and reply.status == 200 and b"token" in reply.body:  # noqa: SIM102
            if not _is_last(setup, reply) or token_in(reply) in put:
                good[id(reply.seen)] = reply.when
    accepted = max((when.at for when in good.values()), default=-math.inf)
    for sent in past:
        if not isinstance(sent, Sent) or sent.step in (None, "api") or id(sent.seen) in good:
            continue
        recent = abs(now.at - sent.when.at) < 2200 or abs(now.wall - sent.when.wall) < 2200
        if recent or sent.when.at >= accepted:
            return "a login failed"
    return ""


def _spent(setup: Setup, past: Trace, now: Moment) -> str:
    """The budget."""
    logins = [one.when.wall for one in past if isinstance(one, Sent) and one.step == "login"]
    recently = sum(abs(now.wall - at) < 600 for at in logins)
    today = sum(abs(now.wall - at) < DAY for at in logins)
    return "" if setup.lavish or (recently < 4 and today < 16) else "the budget is spent"


# P3


def p3_the_account_is_never_locked(story: Story, trace: Trace) -> None:
    """After two refusals in a row that neod heard of, whatever the secrets, a person has to speak.

    So one has to after one of them, if others before it were lost.
    """
    row: list[Refused] = []
    spoken = 0  # how many of the row came before a person's last word
    for entry, heard, proven in _with_what_is_known(story, trace):
        if isinstance(entry, Refused):
            row = [*row, entry][-entry.in_a_row :]
            spoken = min(spoken, len(row) - 1) if len(row) > 1 else 0
            fresh = not any(_set_of(entry.secrets) == _set_of(one.secrets) for one in row[:-1])
            if len(row) < 3 or spoken == len(row) - 1 or fresh:
                continue
            known = sum(id(refusal.seen) in heard for refusal in row)
            if known >= 2 or not _excused(row[spoken:], heard, proven):
                raise AssertionError(tell(trace, entry, "refused a third time, and no word"))
        elif _is_a_word(entry):
            spoken = len(row)


def p3_the_same_secrets_are_refused_twice_at_most(story: Story, trace: Trace) -> None:
    """Since they were accepted last; once, if that was never. Each unblock allows one more."""
    rows: dict[str, list[Refused]] = {}
    allowed: dict[str, int] = {}
    spoken: dict[str, int] = {}  # how many of the row came before the last unblock
    for entry, heard, proven in _with_what_is_known(story, trace):
        if isinstance(entry, Answered) and token_in(entry) and _is_last(story.setup, entry):
            rows, allowed, spoken = {}, {}, {}
        if _is_unblock(entry):
            spoken = {name: len(row) for name, row in rows.items()}
            allowed = {name: max(allowed[name], len(row) + 1) for name, row in rows.items()}
        if not isinstance(entry, Refused):
            continue
        name = _set_of(entry.secrets)
        row = rows.setdefault(name, [])
        row.append(entry)
        said = f"the same secrets, and no word: {len(row)} times"
        if len(row) > allowed.setdefault(name, 2):
            assert _excused(row, heard, proven), tell(trace, entry, said)
            allowed[name] = len(row)  # what was excused once is not held against it later
        if name != proven:
            before = [heard.get(id(one.seen), b"") for one in row[spoken.get(name, 0) : -1]]
            ended = any(body and b"10506" not in body for body in before)  # it was not the code
            assert not ended, tell(trace, entry, f"{said}, and they were never accepted")


def p3_a_third_refusal_takes_force(story: Story, trace: Trace) -> None:
    """A plain unblock is not enough after two refusals in a row within a day."""
    row: list[Refused] = []
    for entry, heard, _ in _with_what_is_known(story, trace):
        if isinstance(entry, Answered) and token_in(entry) and _is_last(story.setup, entry):
            row = []
        if isinstance(entry, Refused):
            row.append(entry)
        if _is_unblock(entry) and isinstance(entry, Told) and not entry.forced:
            known = [
                one
                for one in row
                if id(one.seen) in heard and 0 <= entry.when.wall - one.when.wall < DAY - LOGIN_TIME
            ]
            assert len(known) < 2, tell(trace, entry, "unblocked without force")


def p3_each_attempt_is_written_down_before_it_is_made(story: Story, trace: Trace) -> None:
    """No request with credentials goes out that is not in the ledger."""
    for entry in trace:
        if isinstance(entry, Sent):
            assert entry.written, tell(trace, entry, "not written down")


Heard = dict[int, bytes]  # id of a request -> the reply's body


def _with_what_is_known(story: Story, trace: Trace) -> Iterator[tuple[Entry, Heard, str]]:
    """Each entry, with the replies that had arrived, and the secrets that were accepted last."""
    heard: Heard = {}
    proven = ""
    used: dict[int, str] = {}
    for entry in trace:
        yield entry, heard, proven
        if isinstance(entry, Sent):
            used[id(entry.seen)] = _set_of(entry.secrets)
        if isinstance(entry, Answered):
            heard[id(entry.seen)] = entry.body
            if token_in(entry) and _is_last(story.setup, entry):
                proven = used[id(entry.seen)]


def _set_of(secrets: Mapping[str, str]) -> str:
    return str(sorted(secrets.items()))


def _excused(row: list[Refused], heard: Heard, proven: str) -> bool:
    """True if neod could not know: all that was refused before the last was lost on its way back.

    Of secrets that were good that may be any number, for there is no telling it from an outage:
    it is the exception. Of others two at most, for they may never have been right.
    """
    known = any(id(refusal.seen) in heard for refusal in row[:-1])
    return not known and (_set_of(row[-1].secrets) == proven or len(row) <= 2)


def _is_a_word(entry: Entry) -> bool:
    """True if a person said, by this, that one more login may be tried."""
    if isinstance(entry, Happens) and isinstance(entry.event, Configures):
        return entry.changed
    return _is_unblock(entry)


def _is_unblock(entry: Entry) -> bool:
    return (
        isinstance(entry, Told)
        and (entry.verb, entry.status) == ("unblock", 200)
        and b"one more login is allowed" in entry.body
    )


def _is_last(setup: Setup, reply: Answered) -> bool:
    return reply.step == ("login" if "," not in setup.login else "validate")


# P4


@dataclass(frozen=True)
class Burst:
    """Many ask at once."""

    setup: Setup
    after: float  # seconds after the start; at 0 the first login is under way
    dead: bool  # the broker has ended the session before
    events: list[Event]
    spread: float  # seconds between two of the events, all within one login

    def play(self) -> Trace:
        delays = [self.after, *[self.spread] * (len(self.events) - 1)]
        script: Script = list(zip(delays, self.events, strict=True))
        if self.dead:
            script.insert(0, (self.after - 1, Forgets()))
            script[1] = (1.0, self.events[0])
        return in_virtual_time(play, self.setup, script)


@st.composite
def bursts(draw: st.DrawFn) -> Burst:
    setup = Setup(
        login=draw(st.sampled_from([login for login in LOGINS if "otp" not in login[4:]])),
        latency=draw(st.sampled_from([0.137, 1.137, 4.137])),
        seed=draw(st.integers(1, 9)),
    )
    after = draw(st.sampled_from([605.0, 0.0, 61.0]))
    events: list[Event] = draw(
        st.lists(
            st.one_of(
                st.builds(Reject, bots=st.integers(1, 60)),
                st.builds(Renew, st.integers(1, 10)),
                st.builds(Reads, st.just(60.0), newer=st.booleans(), bots=st.integers(1, 10)),
            ),
            min_size=1,
            max_size=5,
        )
    )
    # The quickest login is one request and its reply, or the proof of life before it.
    spread = draw(st.sampled_from([0.0, setup.latency / 4]))
    return Burst(setup, after, draw(st.booleans()) and after > 1, events, spread)


def p4_one_login_for_any_number_of_callers(burst: Burst, trace: Trace) -> None:
    """However many ask, the broker is asked once."""
    steps = [
        entry.step
        for entry in trace
        if isinstance(entry, Sent) and (burst.after == 0 or entry.when.at >= burst.after)
    ]
    assert steps.count("login") <= 1, steps
    assert steps.count("api") <= 1, steps


# P5


def p5_every_wait_ends(story: Story, trace: Trace) -> None:
    """Reads within their wait, wishes within a login's time, status and a stop at once."""
    wishes = dict.fromkeys(("reject", "renew", "otp"), LOGIN_TIME + 3)
    for entry in trace:
        match entry:
            case Read():
                assert entry.took <= entry.wait + 1, tell(trace, entry, "a read took too long")
            case Told(verb="status"):
                assert entry.took == 0, tell(trace, entry, "status kept somebody waiting")
            case Told():
                longest = wishes.get(entry.verb, 1.0)
                assert entry.took <= longest, tell(trace, entry, "a wish took too long")
            case Stopped():
                assert entry.took == 0, tell(trace, entry, "the keeper did not stop at once")


# P8


@dataclass(frozen=True)
class Glance:
    """What a machine that checks is told, and at the same instant a bot of each account."""

    at: float
    ready: bool
    served: dict[str, bool]


async def play_two(stories: tuple[Story, Story]) -> list[Glance]:
    """Two accounts of one daemon, and who looks at its health."""
    time = VirtualClock(MIDNIGHT + stories[0].setup.starts)
    players = [
        Player(replace(story.setup, poll=math.inf), name=name, time=time)
        for name, story in zip(("first", "second"), stories, strict=True)
    ]
    glances: list[Glance] = []

    async def get(api: Api, path: str, **query: str) -> int:
        request = Request("GET", path, query, {}, 0, keep_alive=True)
        return (await answer_of(api, request)).status

    async def watch() -> None:
        while True:
            if all(player.up for player in players):
                api = Api({p.world.name: p.world.keeper for p in players}, 0.0)
                served = {
                    player.world.name: await get(api, "/v1/token", account=player.world.name) == 200
                    for player in players
                }
                ready = await get(api, "/readyz") == 200
                glances.append(Glance(trio.current_time(), ready, served))
            await trio.sleep(5.3)

    async with trio.open_nursery() as watching:
        watching.start_soon(watch)
        async with trio.open_nursery() as playing:
            for player, story in zip(players, stories, strict=True):
                playing.start_soon(player.play, story.script)
        watching.cancel_scope.cancel()
    return glances


def p8_health_is_true(glances: list[Glance]) -> None:
    """Ready exactly if a bot of each account would get a session now."""
    for glance in glances:
        assert glance.ready == all(glance.served.values()), glance


# The properties themselves: the same in the outer ring, with many more examples

Check = Callable[[Story, Trace], None]
P2 = (p2_no_lapsed_session_is_served, p2_a_new_login_is_asked_for_soon)
P3 = (
    p3_the_account_is_never_locked,
    p3_the_same_secrets_are_refused_twice_at_most,
    p3_a_third_refusal_takes_force,
    p3_each_attempt_is_written_down_before_it_is_made,
)
calm = stories(setups(), troubles, restarts, restarts, leaps, rejects, persons)
leaping = stories(setups(), leaps, feints(), deaths(), restarts, troubles, rejects, changing=0)
refusing = stories(
    setups(wrong=True, lives=SOON), troubles, lost, persons, restarts, restless, changing=3
)
waiting = stories(setups(), readers, readers, persons, rejects, troubles, restless, changing=0)
anything = stories(setups(wrong=True), troubles, restarts, leaps, rejects, persons, longest=HOUR)
pairs = st.tuples(anything, anything)
# The same examples each time: what is drawn anew is in tests/outer.
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # to explain takes longer than all these
few = settings(max_examples=15, derandomize=True, database=None, deadline=None, phases=PHASES)


@few
@given(calm)
def test_p1_a_valid_session_is_never_withheld(story: Story) -> None:
    p1_no_valid_session_is_withheld(story, story.play())


@few
@given(leaping)
def test_p2_a_lapsed_session_is_never_served(story: Story) -> None:
    trace = story.play()
    for check in P2:
        check(story, trace)


@few
@given(refusing)
def test_p3_the_account_is_never_locked_by_neod_itself(story: Story) -> None:
    trace = story.play()
    for check in P3:
        check(story, trace)


@few
@given(bursts())
def test_p4_one_login_for_any_number_of_callers(burst: Burst) -> None:
    p4_one_login_for_any_number_of_callers(burst, burst.play())


@few
@given(waiting)
def test_p5_every_wait_ends(story: Story) -> None:
    p5_every_wait_ends(story, story.play())


@few
@given(pairs)
def test_p8_health_is_true(pair: tuple[Story, Story]) -> None:
    glances = in_virtual_time(play_two, pair)
    p8_health_is_true(glances)


assert TAIL > LOGIN_TIME + 3
