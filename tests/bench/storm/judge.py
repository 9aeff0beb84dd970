"""The promises, judged from outside: by what bots were told, when, and by the broker's journal.

Nothing of neod's is asked or imported here. What is certain is called broken; what may be the
machine's doing, such as an answer that lay in a socket while somebody was stopped, is not.
"""

import base64
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.bench.storm.broker import WHO

CANARIES = {
    name: str(getattr(WHO, name))
    for name in (
        *("consumer_key", "consumer_secret", "access_token", "password", "mpin", "totp_secret"),
    )
}
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")
LAG = 0.5  # seconds that an answer may be under way, beside the bench's own lag
SLACK = 5.0  # seconds that a request may take over its wait
SHOWN = 12  # broken promises of a kind that are told whole
TEN_MINUTES = 600.0


def now() -> float:
    """Epoch seconds."""
    return time.time()  # noqa: TID251 - a bench has no other clock


def ends_at(token: str) -> float:
    """What the token itself says."""
    claims = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])


class Known(msgspec.Struct):
    """A session of an account that somebody was given."""

    account: str
    generation: int
    token: str
    expires_at: float
    first: float  # when it was first given to anybody …
    last: float  # … and last
    gone: bool = False  # the account, or whose it is, changed on a person's word


class Asked(NamedTuple):
    """What was known when a request went out; its answer is held against it."""

    at: float
    floor: int
    known: Known | None
    lapsed: int  # the newest generation that neod had said has lapsed


class Rejected(NamedTuple):
    asked: float
    received: float
    outcome: str
    generation: int  # of the session that was there then


class Watch:
    """One connection of a watcher, and what it was told."""

    def __init__(self, account: str | None, after: int | None) -> None:
        self.account = account
        self.after = after
        self.opened = 0.0  # when the first line came
        self.closed = 0.0
        self.got: dict[tuple[str, int], float] = {}


class Broken(NamedTuple):
    at: float
    promise: str
    what: str


class Judge:
    def __init__(self, journal: Path) -> None:
        self.began = now()
        self.broken: list[Broken] = []
        self.asked: Counter[tuple[str, str]] = Counter()  # what was asked, and what came
        self.slowest: dict[str, float] = defaultdict(float)
        self.known: dict[str, Known] = {}  # the newest of an account
        self.all: dict[tuple[str, int], Known] = {}
        self.lapsed: dict[str, int] = defaultdict(int)
        self.rejects: dict[tuple[str, int], list[Rejected]] = defaultdict(list)
        self.watches: list[Watch] = []
        self.pauses: list[list[float]] = []  # in which no answer can be asked for
        self.ups: list[float] = []  # when the daemon was started …
        self.deaths: list[float] = []  # … and when it was killed
        self.changes: list[float] = []  # of the configuration, and words of a person
        self.budgets: list[tuple[float, int]] = []  # since when which holds
        self.lag = 0.0  # of the bench, at worst
        self.loose = set[str]()  # accounts that are not to be judged for being withheld
        self._journal = journal
        self._read = 0
        self.lines: list[dict[str, object]] = []
        self.dead: dict[str, float] = {}  # token -> when neod was told that it is

    def broke(self, promise: str, what: str) -> None:
        self.broken.append(Broken(now(), promise, what))

    # When nothing can be expected of neod

    @contextmanager
    def pause(self) -> Iterator[None]:
        span = [now(), float("inf")]
        self.pauses.append(span)
        try:
            yield
        finally:
            span[1] = now()

    def up(self) -> None:
        self.ups.append(now())

    def changed(self, budget: int | None = None) -> None:
        """The configuration has, or a person wants something."""
        self.changes.append(now())
        if budget is not None:
            self.budgets.append((now(), budget))

    def paused(self, begin: float, end: float) -> float:
        """Seconds of the span in which the daemon was stopped, or not there."""
        spans = ((max(begin, a), min(end, b)) for a, b in self.pauses)
        return sum(max(0.0, b - a) for a, b in spans)

    # What bots were told

    def ask(self, account: str) -> Asked:
        known = self.known.get(account)
        floor = known.generation if known else 0
        return Asked(now(), floor, known, self.lapsed[account])

    def took(self, what: str, asked: float, wait: float = 0.0) -> None:
        """P5, of a request that has ended."""
        end = now()
        took = end - asked - self.paused(asked, end)
        self.slowest[what] = max(self.slowest[what], took - wait)
        if took > wait + SLACK:
            self.broke("P5", f"{what} took {took:.1f} s, and was to wait for {wait:.1f}")

    def served(
        self, account: str, generation: int, token: str, expires_at: float, asked: Asked, how: str
    ) -> None:
        end, came = min(expires_at, ends_at(token)), now()
        name = f"{how}: {account}'s generation {generation}"
        late = came - end - self.paused(asked.at, came) - self.lag
        if end <= asked.at or late > LAG:
            self.broke(
                "P2",
                f"{name} ended at {end:.3f}, was asked for at {asked.at:.3f}, came at {came:.3f}",
            )
        if generation <= asked.lapsed:
            self.broke("P2", f"{name} was served, though neod had said that it has lapsed")
        if generation < asked.floor:
            self.broke("generations", f"{name} came after {asked.floor}")
        self.see(account, generation, token, expires_at, name)
        if self._knew(token, asked.at):
            self.broke(
                "P2", f"{name} was served, though the broker had called it dead when neod asked"
            )

    def _knew(self, token: str, at: float) -> bool:
        """Whether neod had read by then that the broker calls it dead, and lived to know it."""
        dead = self.dead.get(token)
        if dead is None or any(-1 < death - dead < 1 for death in self.deaths):
            return False
        return at - dead - self.paused(dead, at) > LAG + self.lag

    def see(
        self, account: str, generation: int, token: str, expires_at: float, name: str = ""
    ) -> Known:
        """Note a session that was given to somebody."""
        at = now()
        known = self.all.get((account, generation))
        if known is None:
            known = Known(account, generation, token, expires_at, at, at)
            self.all[account, generation] = known
        elif (known.token, known.expires_at) != (token, expires_at):
            self.broke("generations", f"{name} has another token or end than before")
        known.last = at
        newest = self.known.get(account)
        if newest is None or newest.generation < generation:
            self.known[account] = known
        return known

    def withheld(self, account: str, code: str, detail: str, asked: Asked, how: str) -> None:
        """A plain read was answered with a problem."""
        known, came = asked.known, now()
        if code in ("too_many_connections", "shutting_down"):
            return
        if code == "internal_error":
            self.broke("bugs", f"{how}: {code} {detail}")
        if known is None or known.gone or account in self.loose or known.expires_at <= came:
            return
        self.follow()
        if known.token in self.dead:
            return
        self.broke(
            "P1",
            f"{how}: {account}'s generation {known.generation} was withheld "
            f"{came - asked.at:.2f} s after it was asked for, "
            f"{known.expires_at - came:.1f} s before its end, "
            f"{came - known.last:.2f} s after it was last served, "
            f"{came - max(self.ups, default=0):.2f} s after a start: {code} {detail}",
        )

    def told(self, account: str, generation: int, token: str, expires_at: float) -> None:
        """A watcher was given a session."""
        end, came = min(expires_at, ends_at(token)), now()
        if came - end - self.paused(end - 1, came) - self.lag > LAG:
            self.broke(
                "P2", f"a watcher was given {account}'s {generation} at {came:.3f}, over at {end}"
            )
        self.see(account, generation, token, expires_at, f"watch: {account}'s {generation}")

    def has_lapsed(self, account: str, generation: int) -> None:
        """A watcher was told so: from here on it must not be served."""
        known = self.all.get((account, generation))
        self.lapsed[account] = max(self.lapsed[account], generation)
        if known is None or known.gone:
            return
        self.follow()
        if known.expires_at - now() > LAG and known.token not in self.dead:
            self.broke(
                "P1",
                f"{account}'s {generation} was called lapsed {known.expires_at - now():.1f} s "
                "before its end",
            )

    def said(self, where: str, body: bytes) -> None:
        """P6, of an answer that holds no session."""
        for name in self.leaks(body.decode(errors="replace")):
            self.broke("P6", f"{name} is in an answer of {where}")

    def leaks(self, text: str) -> list[str]:
        """What of the secrets is in a text."""
        found = [name for name, secret in CANARIES.items() if secret in text]
        return [*found, "a token"] if JWT.search(text) else found

    def drop(self, account: str) -> None:
        """A person took the account away, or its session."""
        for (name, _), known in self.all.items():
            if name == account:
                known.gone = True

    def rejected(
        self, account: str, generation: int, fields: dict[str, object], asked: Asked
    ) -> None:
        outcome, there = str(fields["outcome"]), int(str(fields["generation"]))
        self.rejects[account, generation].append(Rejected(asked.at, now(), outcome, there))
        if there < asked.floor:
            self.broke("generations", f"a reject was told of {there} after {asked.floor}")
        if outcome in ("renewed", "newer") and there == generation:
            self.broke("P4", f"{outcome}, and {account}'s generation is {there} as before")

    def ready(self, account: str, first: str, ready: int, last: str) -> None:
        """P8: readyz between two reads that said the same."""
        if first == last and (first == "200") != (ready == 200):
            self.broke(
                "P8", f"readyz said {ready} of {account} between two reads that said {first}"
            )

    # What the broker knows

    def follow(self) -> None:
        """Read on in the journal."""
        if not self._journal.exists():
            return
        with self._journal.open("rb") as file:
            file.seek(self._read)
            raw = file.read()
        whole, newline, _ = raw.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for text in whole.splitlines():
            line = json.loads(text)
            self.lines.append(line)
            if line["locked"]:
                self.broke("P3", "the broker has locked the account")
            if line["dead"] and line["path"].endswith("/quick/user/orders"):
                self.dead.setdefault(line["used"], line["at"])

    # At the end

    def conclude(self) -> None:
        self.follow()
        self._budget()
        self._one_renewal()
        for watch in self.watches:
            self._missed(watch)

    def _logins(self, account: str) -> list[tuple[float, bool]]:
        """When the account's logins were accepted or refused, and whether neod can know of it."""
        published = {known.token for known in self.all.values()}
        found = []
        for line in self.lines:
            at = float(str(line["at"]))
            if line["account"] != account or line["step"] not in ("login", "validate"):
                continue
            if line["refused"]:
                found.append((at, self._heard(at)))
            elif line.get("token") and line["step"] == "validate":
                found.append((at, line["token"] in published or self._heard(at)))
        return found

    def _heard(self, at: float) -> bool:
        """Whether neod got an answer that was given then: no fault on it, no death soon after."""
        faults = [line for line in self.lines if line.get("fault") in ("cut", "wrong-type", "slow")]
        return not any(0 <= death - at < 8 for death in self.deaths) and not any(
            abs(float(str(line["at"])) - at) < 0.5 for line in faults
        )

    def _budget(self) -> None:
        """P3: within what the configuration allowed by then."""
        for account in ("main", "family", "codes"):
            heard = [at for at, known in self._logins(account) if known]
            for place, at in enumerate(heard):
                count = sum(at - TEN_MINUTES < before <= at for before in heard[: place + 1])
                allowed = self._allowed(at)
                if count > allowed:
                    self.broke(
                        "P3", f"{count} logins of {account} in 10 minutes, {allowed} allowed"
                    )

    def _allowed(self, at: float) -> int:
        """The most that was allowed at any time in the seconds before, for logins under way."""
        in_force = [budget for since, budget in self.budgets if since <= at - 15][-1:]
        return max([*in_force, *(b for since, b in self.budgets if at - 15 < since <= at)])

    def _one_renewal(self) -> None:
        """P4: many rejects of one session lead to one login."""
        for (account, generation), told in self.rejects.items():
            renewed = [one for one in told if one.outcome == "renewed"]
            if not renewed:
                continue
            begin = min(one.asked for one in told)
            end = max(one.received for one in renewed)
            disturbed = [at for at in (*self.changes, *self.deaths) if begin - 15 < at < end]
            logins = sum(
                begin <= float(str(line["at"])) <= end
                for line in self.lines
                if line["account"] == account and line["step"] == "validate" and line.get("token")
            )
            if logins > 1 and not disturbed:
                self.broke("P4", f"{logins} logins for rejects of {account}'s {generation}")

    def _missed(self, watch: Watch) -> None:
        """What a watcher should have been told of and was not, or late."""
        for (account, generation), known in self.all.items():
            if watch.account not in (None, account) or generation == watch.after:
                continue
            lived = known.last - known.first - self.paused(known.first, known.last)
            if lived <= 1.0 or not watch.opened <= known.first <= known.last <= watch.closed:
                continue
            got = watch.got.get((account, generation))
            if got is None:
                self.broke(
                    "watch",
                    f"{account}'s generation {generation} was served from {known.first:.2f} to "
                    f"{known.last:.2f}, and a watcher from {watch.opened:.2f} to "
                    f"{watch.closed:.2f} was not told",
                )
            elif got - known.first - self.paused(known.first, got) > 1.0 + LAG + self.lag:
                self.broke(
                    "watch",
                    f"{account}'s generation {generation} was told {got - known.first:.1f} s late",
                )
