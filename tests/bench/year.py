"""A year of outages and early deaths, in a minute. A bench: python -m tests.bench.year

The real keeper and policy log in at the sandbox's broker, in virtual time, whose login service
is down at times. An oracle and Vault's rule meet the same year. Exits with 1 if neod is without
a session for more than 1.15 times as long as the oracle, logs in too often, or is locked out.

The year, which the seed draws: sessions end at midnight in India. Outages begin 3 days apart on
average, with exponential gaps, and take log-normal times; besides, one night in three has one
from midnight on. They take down whatever a login asks (bearer, both factors, the question for
the time), and leave the API up; with --spare-bearers, also what gives out bearers, which has a
host of its own at Kotak. An early death, at an instant that is anybody's guess, ends all
sessions; a bot that is refused says so, and goes on saying so while it is served the dead one.
"""

import argparse
import logging
import math
import random
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Literal, Never, get_args

import httpx
import msgspec
import trio
from trio.testing import MockClock

from neod.account.edge import DAY, INDIA_OFFSET
from neod.account.history import TEN_MINUTES
from neod.account.keeper import Connect
from neod.account.policy import State
from neod.clock import INDIA, Clock
from neod.config import Account, Flow
from neod.kotak.client import EXCHANGE_TIME, Send, connected
from neod.kotak.evidence import read_evidence
from neod.sandbox.broker import ORDERS, Broker, Credentials, Settings
from tests.fakes.kotak import Canned, Fault, Hang, KotakInMemory, Refuse, Seen
from tests.fakes.world import SOMEBODY, TOTP, World

Kind = Literal["503", "refuses", "hangs"]

BEGIN = datetime(2024, 1, 1, 12, tzinfo=INDIA).timestamp()
QUIET = 3600.0  # seconds at first: credentials that were never accepted are another story
OUTAGE_EVERY = 3 * DAY
OUTAGE_MEDIAN, OUTAGE_SIGMA = 300.0, 1.0  # seconds; of its logarithm
OUTAGE_AT_MIDNIGHT = 1 / 3  # of the nights
AT_MIDNIGHT_TAKES = (30.0, 600.0)  # seconds
KINDS: tuple[Kind, ...] = ("503", "503", "refuses", "hangs")  # drawn from
DEATHS_A_YEAR = 24
MARKET = (9 * 3600.0, 15.5 * 3600.0)  # seconds after midnight, on weekdays
REPORTED_AFTER, REPORTED_AFTER_ELSE = 5.0, 60.0  # seconds; in market hours, else
DEAD = read_evidence("100022")

RATIO_ALLOWED = 1.15  # of the oracle's time without a session
LOGINS_ALLOWED = 1.3  # accepted, a day

WHO = Credentials()
BUDGET = {"logins_per_10min": 4, "logins_per_day": 24}  # as at Kotak; loopback has none by default
TABLES: dict[Flow, dict[str, object]] = {
    "password": {"mpin": WHO.mpin, "renewal": BUDGET},
    "totp": {**TOTP, "renewal": BUDGET},
}
REQUESTS: dict[Flow, int] = {"password": 3, "totp": 2}  # of a login, at the least


class Outage(msgspec.Struct, frozen=True):
    """The login service is down."""

    begin: float
    end: float
    kind: Kind


class Death(msgspec.Struct, frozen=True):
    """All sessions end early, and a while later the first bot has told of it."""

    at: float
    reported: float


class Gap(msgspec.Struct, frozen=True):
    """A time without a valid session, and what was being done about it."""

    begin: float
    end: float
    doing: str = "waits"


class Year:
    """What happens, whoever plays it."""

    def __init__(self, seed: int, days: float, *, spares_bearers: bool = False) -> None:
        self.spares_bearers = spares_bearers  # its outages leave up what gives out bearers
        drawn = random.Random(seed)
        self.seed, self.begin, self.end = seed, BEGIN, BEGIN + days * DAY
        self.midnights = list(_midnights(self.begin, self.end))
        self.outages = list(_apart(sorted(self._draw_outages(drawn), key=lambda one: one.begin)))
        self.deaths = sorted(self._draw_deaths(drawn, days), key=lambda one: one.at)
        self._outages_begin = [one.begin for one in self.outages]

    def _draw_outages(self, drawn: random.Random) -> Iterator[Outage]:
        begin = self.begin + QUIET
        while (begin := begin + drawn.expovariate(1 / OUTAGE_EVERY)) < self.end:
            takes = OUTAGE_MEDIAN * drawn.lognormvariate(0, OUTAGE_SIGMA)
            yield Outage(begin, begin + takes, drawn.choice(KINDS))
        for midnight in self.midnights:
            if drawn.random() < OUTAGE_AT_MIDNIGHT:
                takes = drawn.uniform(*AT_MIDNIGHT_TAKES)
                yield Outage(midnight, midnight + takes, drawn.choice(KINDS))

    def _draw_deaths(self, drawn: random.Random, days: float) -> Iterator[Death]:
        for _ in range(round(DEATHS_A_YEAR * days / 365)):
            at = drawn.uniform(self.begin + QUIET, self.end)
            soon = REPORTED_AFTER if in_market(at, at + 1) else REPORTED_AFTER_ELSE
            yield Death(at, at + soon)

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    @property
    def down(self) -> float:
        return sum(one.end - one.begin for one in self.outages)

    def outage_at(self, moment: float) -> Outage | None:
        before = bisect_right(self._outages_begin, moment) - 1
        if before >= 0 and moment < self.outages[before].end:
            return self.outages[before]
        return None

    def up_from(self, moment: float) -> float:
        """The first instant from this one on at which one can log in."""
        while outage := self.outage_at(moment):
            moment = outage.end
        return moment

    def unreported_at(self, moment: float) -> bool:
        return any(one.at <= moment < one.reported for one in self.deaths)


def _midnights(begin: float, end: float) -> Iterator[float]:
    midnight = begin
    while (midnight := next_midnight(midnight)) < end:
        yield midnight


def next_midnight(moment: float) -> float:
    return ((moment + INDIA_OFFSET) // DAY + 1) * DAY - INDIA_OFFSET


def _apart(outages: Iterable[Outage]) -> Iterator[Outage]:
    """The same without overlaps: one that begins in another goes on after it."""
    end = 0.0
    for one in outages:
        if one.end > end:
            yield Outage(max(one.begin, end), one.end, one.kind)
            end = one.end


def in_market(begin: float, end: float) -> float:
    """How many seconds of this time are in market hours."""
    first, last = (datetime.fromtimestamp(at, INDIA).date() for at in (begin, end))
    total = 0.0
    for ahead in range((last - first).days + 1):
        day = first + timedelta(days=ahead)
        midnight = datetime(day.year, day.month, day.day, tzinfo=INDIA).timestamp()
        if day.weekday() < 5:
            opens, closes = (midnight + of_day for of_day in MARKET)
            total += max(0.0, min(end, closes) - max(begin, opens))
    return total


class Played(msgspec.Struct):
    """What came of a year for one player."""

    name: str
    gaps: list[Gap]
    logins: list[float]  # when one was accepted
    requests: list[float] | None = None  # when one was sent; None: nobody counted
    refused: int = 0
    locked: bool = False

    @property
    def without(self) -> float:
        return sum(gap.end - gap.begin for gap in self.gaps)

    @property
    def without_in_market(self) -> float:
        return sum(in_market(gap.begin, gap.end) for gap in self.gaps)


# neod


class Kotak(KotakInMemory):
    """The broker as the year has it. Tells `look` whenever somebody begins or ends to ask it."""

    def __init__(self, broker: Broker, clock: Clock, year: Year) -> None:
        super().__init__(broker, clock)
        self.always = self._fault
        self.look: Callable[[], None] = lambda: None
        self.doing = ""  # what whoever logs in waits for; empty if nobody does
        self.accepted: list[float] = []
        self._year = year

    def _fault(self, seen: Seen) -> Fault | None:
        outage = self._year.outage_at(seen.at)
        if outage is None or seen.path.startswith("/base"):  # the API is up
            return None
        if self._year.spares_bearers and seen.path == "/oauth2/token":
            return None
        faults: dict[Kind, Fault] = {"503": Canned(503), "refuses": Refuse(), "hangs": Hang()}
        return faults[outage.kind]

    @property
    def connect(self) -> Connect:
        return self._talk

    def _talk(self, _account: Account) -> AbstractAsyncContextManager[Send]:
        return self._talking()

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[Send]:
        with self._while_doing("waits for the next code"):
            async with connected(transport=self) as send:
                yield send

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        hangs = self._fault(Seen(self.clock.wall(), request.url.path, {}, b""))
        before = self.broker.logins
        with self._while_doing("a request hangs" if isinstance(hangs, Hang) else "logs in"):
            response = await super().handle_async_request(request)
        if self.broker.logins > before:
            self.accepted.append(self.clock.wall())
        return response

    @contextmanager
    def _while_doing(self, what: str) -> Iterator[None]:
        before = self.doing
        self.doing = what
        self.look()
        try:
            yield
        finally:
            self.doing = before
            self.look()


NO_BEARER = "the bearer alone has ended"
# What neod waits for, by its state, while nobody has a session and nothing is asked.
WAITS: dict[State, str] = {
    "starting": "starts",
    "ok": "serves a dead session",
    "renewing": "waits just after midnight",
    "backing_off": "backs off",
    "credentials_rejected": "waits for a second chance",
    "login_budget": "has spent its budget",
}


class Watch:
    """Adds up the time in which a bot has no session, or one that the broker does not accept."""

    def __init__(self, world: World, kotak: Kotak) -> None:
        self.gaps: list[Gap] = []
        self._world = world
        self._kotak = kotak
        self._since = world.clock.wall()
        self._doing = self._lacking()

    def look(self) -> None:
        """Nothing has changed since the last look, but may have just now."""
        now = self._world.clock.wall()
        if self._doing and now > self._since:
            self.gaps.append(Gap(self._since, now, self._doing))
        self._since, self._doing = now, self._lacking()

    def accepted(self) -> bool:
        """Whether a session is served, and the broker takes an order with it."""
        held, now = self._world.board.valid(), self._world.clock.wall()
        if held is None:
            return False
        headers = {name.lower(): text for name, text in held.session.headers.items()}
        orders = f"{ORDERS[0]}/quick/user/orders"
        return self._kotak.broker.handle("GET", orders, headers, b"", now).status == 200

    def _lacking(self) -> str:
        """What neod does while it serves no valid session; empty if it serves one."""
        board = self._world.board
        if self.accepted():
            return ""
        if board.held and board.valid() is None and not board.token_is_dead:
            return NO_BEARER
        return self._kotak.doing or WAITS[board.standing.state]

    async def run(self) -> Never:
        while True:
            self.look()
            with trio.move_on_after(self._next_end()):
                await self._world.board.changed.wait()

    def _next_end(self) -> float:
        """Seconds until what is served ends, for neod or for the broker."""
        held = self._world.board.valid()
        if held is None:
            return math.inf
        now, broker = self._world.clock.wall(), self._kotak.broker
        bearer = held.session.headers["Authorization"].removeprefix("Bearer ")
        ends = [one.until - now for one in broker.live(now) if one.sid == held.session.sid]
        ends += [held.left(self._world.clock), broker.bearers[bearer] - now]
        return max(0.001, min(end for end in ends if end > 0))


async def _play(year: Year, flow: Flow) -> Played:
    world = World(Settings(), start=year.begin)
    world.random = random.Random(year.seed)
    world.kotak = kotak = Kotak(world.kotak.broker, world.clock, year)
    world.boot(**TABLES[flow])
    watch = Watch(world, kotak)
    kotak.look = watch.look
    with trio.move_on_after(year.seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            nursery.start_soon(world.keeper.run)  # without a tick: no clock jumps here
            for death in year.deaths:
                await trio.sleep(death.at - world.clock.wall())
                kotak.broker.kill()
                watch.look()
                nursery.start_soon(_report, world, watch, death.reported - death.at)
            await trio.sleep_forever()
    watch.look()
    return Played(
        name="neod",
        gaps=watch.gaps,
        logins=kotak.accepted,
        requests=[seen.at for seen in kotak.seen],
        refused=kotak.broker.refused,
        locked=kotak.broker.locked,
    )


async def _report(world: World, watch: Watch, delay: float) -> None:
    """Bots that ask for the session so often, and say so if the broker refuses it.

    A new generation need not be a new token: it may be the dead one, with another bearer.
    """
    while True:
        await trio.sleep(delay)
        if watch.accepted():
            return
        if held := world.board.valid():
            await world.keeper.reject(held.session.generation, DEAD, SOMEBODY)


def neod(year: Year, flow: Flow) -> Played:
    return trio.run(partial(_play, year, flow), clock=MockClock(autojump_threshold=0))


# Whom it is measured by

Span = tuple[float, float]


def _gaps(year: Year, logins: list[float], no_bearer: list[Span]) -> list[Gap]:
    """When no session lives that these logins bring, and when one does and has no bearer."""
    ends = sorted([*year.midnights, year.end, *(death.at for death in year.deaths)])
    lives = [(at, ends[bisect_right(ends, at)]) for at in logins if at < year.end]
    gaps = [Gap(*span) for span in _outside(year, lives)]
    both = (
        (max(life[0], span[0]), min(life[1], span[1]))
        for life in _united(lives)
        for span in no_bearer
    )
    return gaps + [Gap(begin, end, NO_BEARER) for begin, end in both if begin < end]


def _outside(year: Year, spans: Iterable[Span]) -> list[Span]:
    ends = [year.begin, *(at for span in _united(spans) for at in span), year.end]
    return [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]


def _united(spans: Iterable[Span]) -> list[Span]:
    united: list[Span] = []
    for begin, end in sorted(spans):
        if united and begin <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((begin, end))
    return united


def oracle(year: Year, flow: Flow, *, knows_of_deaths: bool = False) -> Played:
    """Logs in at the first instant that it can, which takes it no time.

    It has a fresh bearer whenever an outage begins. Of deaths it hears when neod does, or at once.
    """
    deaths = [death.at if knows_of_deaths else death.reported for death in year.deaths]
    wanted = (year.begin, *year.midnights, *deaths)
    logins = sorted({year.up_from(at) for at in wanted if at < year.end})
    needs_bearers = flow == "password" and not year.spares_bearers
    late = Settings().bearer_life if needs_bearers else math.inf
    no_bearer = [(one.begin + late, one.end) for one in year.outages if one.begin + late < one.end]
    name = "oracle told at once" if knows_of_deaths else "oracle"
    return Played(name, _gaps(year, logins, no_bearer), logins)


def vault(year: Year, flow: Flow) -> Played:
    """Renews at 2/3 of the life; backs off from 1 s, doubling to 5 min, less up to a quarter.

    A renewal is a login, which takes it no time; the bearer is a lease of its own.
    """
    drawn = random.Random(year.seed)
    reports = [death.reported for death in year.deaths]
    logins, requests = _renewals(year, year.outage_at, next_midnight, drawn, reports)
    requests = [at for at in requests for _ in range(REQUESTS[flow])]
    no_bearer: list[Span] = []
    if flow == "password":
        lives = Settings().bearer_life
        down = (lambda _: None) if year.spares_bearers else year.outage_at
        bearers, more = _renewals(year, down, lambda at: at + lives, drawn)
        requests = sorted(requests + more)
        no_bearer = _outside(year, [(at, at + lives) for at in bearers])
    return Played("Vault's rule", _gaps(year, logins, no_bearer), logins, requests)


def _renewals(
    year: Year,
    down: Callable[[float], Outage | None],
    ends_at: Callable[[float], float],
    drawn: random.Random,
    reports: Iterable[float] = (),
) -> tuple[list[float], list[float]]:
    """When Vault's rule gets something that ends then, and when it asks for it."""
    had, asked = [], []
    first, most, jitter = 1.0, 300.0, 0.25
    now, delay = year.begin, 0.0
    while now < year.end:
        asked.append(now)
        if outage := down(now):
            delay = min(2 * delay, most) if delay else first
            delay *= 1 - jitter * drawn.random()
            now += delay + (EXCHANGE_TIME if outage.kind == "hangs" else 0.0)
        else:
            had.append(now)
            delay = 0.0
            due = now + max(first, (ends_at(now) - now) * 2 / 3)
            now = min((at for at in reports if now < at < due), default=due)
    return had, asked


# What came of it


def losses(year: Year, gaps: list[Gap]) -> dict[str, float]:
    """Seconds without a session, by what they were lost to."""
    cuts = {at for one in year.outages for at in (one.begin, one.end)}
    cuts |= {at for one in year.deaths for at in (one.at, one.reported)}
    found: dict[str, float] = {}
    for gap in gaps:
        inside = sorted(at for at in cuts if gap.begin < at < gap.end)
        for begin, end in pairwise([gap.begin, *inside, gap.end]):
            cause = gap.doing
            if cause != NO_BEARER and year.outage_at(begin):
                cause = "the broker is down"
            elif cause != NO_BEARER and year.unreported_at(begin):
                cause = "nobody has told of a death"
            found[cause] = found.get(cause, 0.0) + end - begin
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def most(moments: list[float], window: float) -> int:
    """The most of these moments, in their order, that are within any time of that length."""
    return max(
        (count - bisect_right(moments, at - window) for count, at in enumerate(moments, 1)),
        default=0,
    )


def report(year: Year, flow: Flow, players: list[Played]) -> None:
    by = next(one for one in players if one.name == "oracle")
    days = year.seconds / DAY
    market = in_market(year.begin, year.end)
    print(
        f"seed {year.seed}, {days:.0f} days, flow {flow}: the login service is down "
        f"{len(year.outages)} times, {year.down / year.seconds:.2%} of the time; "
        f"{len(year.deaths)} early deaths"
    )

    def row(name: str, cell: Callable[[Played], str]) -> None:
        print(f"{name:32}" + "".join(f"{cell(one):>21}" for one in players))

    row("", lambda one: one.name)
    row("without a session", lambda one: f"{one.without / year.seconds:.4%}")
    row("  times the oracle's", lambda one: f"{_ratio(one.without, by.without):.3f}")
    row("  in market hours", lambda one: f"{one.without_in_market / market:.4%}")
    row("  seconds of them", lambda one: f"{one.without_in_market:.0f}")
    row(
        "  times the oracle's",
        lambda one: f"{_ratio(one.without_in_market, by.without_in_market):.3f}",
    )
    row("accepted logins a day", lambda one: f"{len(one.logins) / days:.2f}")
    row("refused logins a day", lambda one: f"{one.refused / days:.2f}")
    row("most logins in 10 minutes", lambda one: f"{most(one.logins, TEN_MINUTES)}")
    row(
        "most requests in 24 hours",
        lambda one: "-" if one.requests is None else f"{most(one.requests, DAY)}",
    )
    row("locked", lambda one: "yes" if one.locked else "no")
    print("\nwhat the time without a session is lost to, in seconds")
    found = {one.name: losses(year, one.gaps) for one in players}
    for cause in dict.fromkeys(cause for one in players for cause in found[one.name]):
        row(f"  {cause}", lambda one, cause=cause: f"{found[one.name].get(cause, 0.0):.0f}")  # type: ignore[misc]


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.inf


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.year")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--flow", choices=get_args(Flow), default="password")
    parser.add_argument(
        "--spare-bearers", action="store_true", help="outages leave up what gives out bearers"
    )
    asked = parser.parse_args()
    flow: Flow = asked.flow
    logging.getLogger("neod").setLevel(logging.ERROR)  # of outages there is a year; bugs are shown

    year = Year(asked.seed, asked.days, spares_bearers=asked.spare_bearers)
    began = time.monotonic()
    ours = neod(year, flow)
    took = time.monotonic() - began
    measure = oracle(year, flow)
    others = [oracle(year, flow, knows_of_deaths=True), vault(year, flow)]
    report(year, flow, [ours, measure, *others])
    print(f"\nneod's year took {took:.0f} s")
    logins = len(ours.logins) / (year.seconds / DAY)
    kept = (
        _ratio(ours.without, measure.without) <= RATIO_ALLOWED
        and logins <= LOGINS_ALLOWED
        and not ours.locked
    )
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
