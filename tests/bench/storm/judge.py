"""The promises, judged from outside: by what bots were told, when, and by the broker's journal.

Nothing of neod's is asked or imported here. What is certain is called broken; what may be the
machine's doing, such as an answer that lay in a socket while somebody was stopped, is not.
"""

import base64
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tests.bench.storm.broker import WHO
from tests.bench.storm.journal import Journal

_BASIC = base64.b64encode(f"{WHO.consumer_key}:{WHO.consumer_secret}".encode()).decode()
CANARIES = {
    **{
        name: str(getattr(WHO, name))
        for name in (
            *("consumer_key", "consumer_secret", "access_token", "password", "mpin"),
            "totp_secret",
        )
    },
    "consumer_key:consumer_secret": _BASIC,
}
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")
# In a log, of a bug.
SIGNS = (" error bug", "Traceback (most recent call last)", "never awaited", "Exception ignored")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LAG = 0.5  # seconds that an answer may be under way, beside the bench's own lag
SLACK = 5.0  # seconds that a request may take over its wait …
PROMPT = 2.0  # … and one that waits for nothing
SHOWN = 12  # broken promises of a kind that are told whole
STILL = 20.0  # seconds after which an account has to have done what it said it would …
LOGIN_TIME = 75.0  # … and to have ended a login
BEAT, LATE = 15.0, 3.0  # seconds between a watch's heartbeats, and that one may be late
AWAY, AWAY_STATUS = ("too_many_connections", "shutting_down"), 503
EVERY = 0.05  # seconds: how often the bench feels how late it is

Trouble = Literal[
    "pause",  # no answer can be asked for
    "down",  # neod is not there
    "crowd",  # others are many, or take the descriptors
    "no room",  # nobody can be let in
    "broker stopped",  # it stands still, and reads later what was sent to it
    "unwritten",  # what neod writes may not reach the disk
    "unkept",  # the same of the session
]
Wish = Literal["renew", "unblock", "secrets", "pause"]


def now() -> float:
    """Epoch seconds."""
    return time.time()  # noqa: TID251 - a bench has no other clock


def claims_of(token: str) -> dict[str, float]:
    """What the token itself says."""
    claims = token.split(".")[1]
    found: dict[str, float] = json.loads(
        base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
    )
    return found


def ends_at(token: str) -> float:
    return float(claims_of(token)["exp"])


class Known(msgspec.Struct):
    """A session of an account that somebody was given."""

    account: str
    generation: int
    token: str
    expires_at: float
    first: float  # when it was first given to anybody …
    last: float  # … and last
    gone: bool = False  # the account, or whose it is, changed on a person's word

    @property
    def end(self) -> float:
        return min(self.expires_at, ends_at(self.token))


class Asked(NamedTuple):
    """What was known when a request went out; its answer is held against it."""

    at: float
    floor: int
    known: Known | None
    lapsed: int  # the newest generation that neod had said has lapsed
    after: int | None = None  # a generation that is not to be the answer


class Watch:
    """One connection of a watcher, and what it was told."""

    def __init__(self, account: str | None, after: int | None) -> None:
        self.account = account
        self.after = after
        self.opened = 0.0  # when the first line came
        self.closed = 0.0
        self.got: dict[tuple[str, int], float] = {}
        self.ended: dict[tuple[str, int], float] = {}  # which it was told have lapsed


class Span(msgspec.Struct):
    begin: float
    end: float = float("inf")

    def within(self, begin: float, end: float) -> float:
        """Seconds of it between the two moments."""
        return max(0.0, min(end, self.end) - max(begin, self.begin))

    def meets(self, begin: float, end: float) -> bool:
        return self.begin <= end and begin <= self.end


class Word(msgspec.Struct):
    """What a person wished, and while it was being done."""

    wish: Wish
    accounts: tuple[str, ...]
    span: Span


class Budget(msgspec.Struct):
    logins: int
    written: float  # into the configuration
    taken_up: float = float("inf")


class Broken(NamedTuple):
    at: float
    promise: str
    what: str


class Judge:
    def __init__(self, journal: Path, clock: Callable[[], float] = now) -> None:
        self.now = clock
        self.began = clock()
        self.broken: list[Broken] = []
        self.asked: Counter[tuple[str, str]] = Counter()  # what was asked, and what came
        self.weighed: Counter[str] = Counter()  # what there was to judge
        self.slowest: dict[str, float] = defaultdict(float)
        self.known: dict[str, Known] = {}  # the newest of an account
        self.all: dict[tuple[str, int], Known] = {}
        self.of_token: dict[str, Known] = {}
        self.lapsed: dict[str, int] = defaultdict(int)
        self.doubted: dict[str, float] = {}  # token -> when a bot first rejected it
        self.watches: list[Watch] = []
        self.troubles: dict[Trouble, list[Span]] = defaultdict(list)
        self.ups: list[float] = []  # when the daemon was started …
        self.deaths: list[float] = []  # … and when it was killed
        self.words: list[Word] = []
        self.budgets: list[Budget] = []
        self.lag = 0.0  # of the bench, at worst
        self._lags: list[tuple[float, float]] = []  # when it was late, and by how much
        self._felt: float | None = None
        self.loose = set[str]()  # accounts that are not to be judged for being withheld
        self.journal = Journal(journal)

    def broke(self, promise: str, what: str) -> None:
        self.broken.append(Broken(self.now(), promise, what))

    # When nothing can be expected of neod

    def feel(self) -> None:
        """To be called EVERY so many seconds: how late that is, is the bench's own doing."""
        at = self.now()
        late = 0.0 if self._felt is None else at - self._felt - EVERY
        self._felt = at
        self.lag = max(self.lag, late)
        if late > EVERY:
            self._lags.append((at, late))

    def lagged(self, since: float) -> float:
        """By how much the bench was late since then, at worst."""
        worst = 0.0 if self._felt is None else self.now() - self._felt - EVERY
        for at, late in reversed(self._lags):
            if at < since:
                break
            worst = max(worst, late)
        return max(0.0, worst)

    @contextmanager
    def during(self, *troubles: Trouble) -> Iterator[None]:
        span = Span(self.now())
        for trouble in troubles:
            self.troubles[trouble].append(span)
        try:
            yield
        finally:
            span.end = self.now()

    def up(self) -> None:
        self.ups.append(self.now())
        self.taken_up()

    def paused(self, begin: float, end: float) -> float:
        """Seconds of the span in which the daemon was stopped, or not there."""
        return sum(span.within(begin, end) for span in self.troubles["pause"])

    def troubled(self, trouble: Trouble, begin: float, end: float) -> bool:
        """True if it was so at any time between the two."""
        return any(span.meets(begin, end) for span in self.troubles[trouble])

    # What a person wants

    @contextmanager
    def wished(self, wish: Wish, *accounts: str) -> Iterator[None]:
        word = Word(wish, accounts, Span(self.now()))
        self.words.append(word)
        try:
            yield
        finally:
            word.span.end = self.now()

    def configured(self, budget: int) -> None:
        """The configuration was written, and has this budget."""
        if not self.budgets or self.budgets[-1].logins != budget:
            self.budgets.append(Budget(budget, self.now()))

    def taken_up(self) -> None:
        """It was read, as it stands."""
        for budget in self.budgets:
            budget.taken_up = min(budget.taken_up, self.now())

    # What bots were told

    def turned(self, what: str, status: int, code: str, asked: float) -> None:
        """Of an answer that is a problem: whether nobody had to be turned away with it."""
        if code not in AWAY:
            return
        self.weighed["turned away"] += 1
        if status != AWAY_STATUS:
            self.broke("room", f"{what}: {code} with status {status}")
        leaves = code == "shutting_down" and bool(self.loose)  # so says an account that goes
        if not leaves and not self._turned_away(code, asked, self.now()):
            self.broke("room", f"{what}: {code}, and there was no need")

    def ask(self, account: str, after: int | None = None) -> Asked:
        known = self.known.get(account)
        floor = known.generation if known else 0
        return Asked(self.now(), floor, known, self.lapsed[account], after)

    def took(self, what: str, asked: float, wait: float = 0.0) -> None:
        """P5, of a request that has ended."""
        end = self.now()
        took = end - asked - self.paused(asked, end)
        self.slowest[what] = max(self.slowest[what], took - wait)
        prompt = not wait and not self.troubled("crowd", asked - LATE, end)
        if took > wait + (PROMPT + self.lagged(asked) if prompt else SLACK):
            self.broke("P5", f"{what} took {took:.1f} s, and was to wait for {wait:.1f}")

    def held_on(self, what: str, asked: float, wait: float) -> None:
        """A request that was to wait has ended without what it waited for."""
        took = self.now() - asked
        if took < wait - 0.1:
            self.broke("P5", f"{what} ended after {took:.2f} s")

    def cut(self, what: str, began: float, opened: float, why: str) -> None:
        """P5, of a request that had no answer, on a wire that was opened then."""
        # A wire may have been cut by a death that its bot was too busy to see.
        ended = self.now()
        if not self.troubled("down", min(began - 1.0, opened), ended):
            self.broke("P5", f"{what}: no answer within {ended - began:.1f} s: {why}")

    def served(
        self, account: str, generation: int, token: str, expires_at: float, asked: Asked, how: str
    ) -> None:
        end, came = min(expires_at, ends_at(token)), self.now()
        name = f"{how}: {account}'s generation {generation}"
        late = came - end - self.paused(asked.at, came) - self.lagged(end)
        if end <= asked.at or late > LAG:
            self.broke(
                "P2",
                f"{name} ended at {end:.3f}, was asked for at {asked.at:.3f}, came at {came:.3f}",
            )
        if generation <= asked.lapsed:
            self.broke("P2", f"{name} was served, though neod had said that it has lapsed")
        if generation < asked.floor:
            self.broke("generations", f"{name} came after {asked.floor}")
        if generation == asked.after:
            self.broke("generations", f"{name} came, though one after it was asked for")
        self.see(account, generation, token, expires_at, name)
        if self._knew(token, asked.at):
            self.broke(
                "P2", f"{name} was served, though the broker had called it dead when neod asked"
            )

    def _knew(self, token: str, at: float) -> bool:
        """Whether neod had read by then that the broker calls it dead, and lived to know it."""
        dead = self.journal.dead.get(token)
        if dead is None or any(-1 < death - dead < 1 for death in self.deaths):
            return False
        return at - dead - self.paused(dead, at) > LAG + self.lagged(dead)

    def see(
        self, account: str, generation: int, token: str, expires_at: float, name: str = ""
    ) -> Known:
        """Note a session that was given to somebody."""
        at = self.now()
        known = self.all.get((account, generation))
        if known is None:
            known = Known(account, generation, token, expires_at, at, at)
            self.all[account, generation] = known
            self.of_token.setdefault(token, known)
        elif (known.token, known.expires_at) != (token, expires_at):
            self.broke("generations", f"{name} has another token or end than before")
        known.last = at
        newest = self.known.get(account)
        if newest is None or newest.generation < generation:
            self.known[account] = known
        return known

    def withheld(self, account: str, code: str, detail: str, asked: Asked, how: str) -> None:
        """A plain read was answered with a problem."""
        known, came = asked.known, self.now()
        if self._turned_away(code, asked.at, came):
            return
        if known is None or known.gone or account in self.loose or known.expires_at <= came:
            return
        self.follow()
        if known.token in self.journal.dead or self.lost(known):
            return
        self.broke(
            "P1",
            f"{how}: {account}'s generation {known.generation} was withheld "
            f"{came - asked.at:.2f} s after it was asked for, "
            f"{known.expires_at - came:.1f} s before its end, "
            f"{came - known.last:.2f} s after it was last served, "
            f"{came - max(self.ups, default=0):.2f} s after a start: {code} {detail}",
        )

    def _turned_away(self, code: str, asked: float, came: float) -> bool:
        """Whether the answer is one of the moment, and in place then."""
        if code == "shutting_down":
            return self.troubled("down", asked, came)
        return code == "too_many_connections" and self.troubled("no room", asked - LATE, came)

    def lost(self, known: Known) -> bool:
        """Whether it could not be kept for the start that came after it."""
        unkept = self.troubled("unkept", known.first - 1.0, known.first + 1.0)
        return unkept and any(known.first <= up for up in self.ups)

    def told(self, account: str, generation: int, token: str, expires_at: float) -> None:
        """A watcher was given a session."""
        end, came = min(expires_at, ends_at(token)), self.now()
        if came - end - self.paused(end - 1, came) - self.lagged(end) > LAG:
            self.broke(
                "P2", f"a watcher was given {account}'s {generation} at {came:.3f}, over at {end}"
            )
        self.see(account, generation, token, expires_at, f"watch: {account}'s {generation}")

    def has_lapsed(self, account: str, generation: int) -> None:
        """A watcher was told so: from here on it must not be served."""
        known = self.all.get((account, generation))
        self.lapsed[account] = max(self.lapsed[account], generation)
        if known is None or known.gone or account in self.loose:
            return
        self.follow()
        if known.expires_at - self.now() > LAG and known.token not in self.journal.dead:
            self.broke(
                "P1",
                f"{account}'s {generation} was called lapsed {known.expires_at - self.now():.1f} s "
                "before its end",
            )

    def said(self, where: str, body: bytes) -> None:
        """P6, of an answer that holds no session, and that it tells of no bug."""
        if b'"internal_error"' in body:
            self.broke("bugs", f"{where}: {body.decode()}")
        for name in self.leaks(body.decode(errors="replace")):
            self.broke("P6", f"{name} is in an answer of {where}")

    def wrote(self, name: str, text: str, *, log: bool) -> None:
        """P6, of a file; and a log tells of bugs."""
        for secret in self.leaks(text):
            self.broke("P6", f"{secret} is in {name}")
        for sign in SIGNS if log else ():
            if (at := text.find(sign)) >= 0:
                self.broke("bugs", f"{name}: {text[max(0, at - 30) : at + 3000]}")
                break

    def leaks(self, text: str) -> list[str]:
        """What of the secrets is in a text."""
        found = [name for name, secret in CANARIES.items() if secret in text]
        found += ["a token"] if JWT.search(text) else []
        return [*found, "a sid"] if self.journal.sids.intersection(UUID.findall(text)) else found

    def drop(self, account: str) -> None:
        """A person took the account away, or its session."""
        for (name, _), known in self.all.items():
            if name == account:
                known.gone = True

    def rejects(self, account: str, generation: int) -> Asked:
        """A bot is about to say that a session was refused."""
        asked = self.ask(account)
        known = self.all.get((account, generation))
        if known:
            self.doubted.setdefault(known.token, asked.at)
        return asked

    def rejected(
        self, account: str, generation: int, outcome: str, there: int, asked: Asked
    ) -> None:
        """What came of it, and the generation that was there then."""
        if there < asked.floor:
            self.broke("generations", f"a reject was told of {there} after {asked.floor}")
        if outcome in ("renewed", "newer") and there == generation:
            self.broke("P4", f"{outcome}, and {account}'s generation is {there} as before")

    def ready(self, account: str, first: str, ready: int, last: str) -> None:
        """P8: readyz between two reads that said the same."""
        if first != last:
            return
        self.weighed["readyz"] += 1
        if (first == "200") != (ready == 200):
            self.broke(
                "P8", f"readyz said {ready} of {account} between two reads that said {first}"
            )

    def silent(self, beat: float) -> bool:
        """Whether a watcher that had the last heartbeat then has had none for too long."""
        silence = self.now() - beat - self.paused(beat, self.now())
        if silence <= BEAT + LATE + self.lagged(beat):
            return False
        self.broke("watch", f"no heartbeat for {silence:.0f} s")
        return True

    def met(self, said: bytes) -> None:
        """P7: what another user was told who came to the socket."""
        self.weighed["other users"] += 1
        turned_away = b'"forbidden"' in said or b'"too_many_connections"' in said
        if said and not turned_away:
            self.broke("P7", f"another user was told {said[:300]!r}")

    def stands(
        self, account: str, state: str, since: float, due: float | None, asked: float
    ) -> None:
        """What status said: that something is under way, or due."""
        overdue = 0.0 if due is None else asked - due - self.paused(due, asked)
        if overdue > STILL:
            self.broke("stuck", f"{account} is {state}, and was due {overdue:.0f} s ago")
        lasts = asked - since - self.paused(since, asked)
        if due is None and state in ("starting", "renewing") and lasts > LOGIN_TIME:
            self.broke("stuck", f"{account} has been {state} for {lasts:.0f} s")

    # What the broker knows

    def follow(self) -> None:
        """Read on in the journal."""
        for line in self.journal.follow():
            if line.locked:
                self.broke("P3", "the broker has locked the account")
