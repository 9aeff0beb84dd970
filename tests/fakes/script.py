"""A drawn history of troubles: what may befall an account, and one that plays it in virtual time.

A script is a list of (seconds, event): so long after the one before, this happens. Playing it
leaves a trace of all that could be seen from outside: at the broker's end of the wire, at the
readers' end of the socket, and in the machine's clocks. What has to hold of a trace is not said
here, but in tests/test_promises.py.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal, get_args

import msgspec
import trio
import trio.testing

from neod.account.history import Attempt, Outcome, Published
from neod.account.keeper import Keeper
from neod.account.session import Board, Held
from neod.clock import Clock, tick
from neod.ipc.api import Api
from neod.ipc.http1 import Problem, Request, Response
from neod.ipc.readiness import Wanted, check, held
from neod.sandbox import faults
from neod.sandbox.broker import Broker, Credentials, Settings
from tests.fakes.asking import answer_of
from tests.fakes.clock import VirtualClock
from tests.fakes.kotak import Canned, Cut, Fault, Hang, Refuse, Seen, Slow, Witness, WrongType
from tests.fakes.world import World

MIDNIGHT = 1_700_073_000.0  # 2023-11-16T00:00:00+05:30
TAIL = 70.0  # seconds after the last event, in which whatever waits has to end
READS_MAX = 2000  # looks of the reader in the course of a script
WHO = Credentials()
SecretName = Literal["password", "consumer_secret", "mpin", "access_token", "totp_secret"]
Login = Literal["password", "password, mpin", "password, otp", "totp", "totp, mpin"]
LOGINS: tuple[Login, ...] = get_args(Login)


# What may happen


@dataclass(frozen=True)
class Fails:
    """For so many seconds the broker's requests meet a fault, as the sandbox spells it."""

    fault: str  # "503", "hang@login", "slow=20", …; or "refused", and nobody listens
    lasts: float


@dataclass(frozen=True)
class BrokersClock:
    """From now on the broker's clock is so many seconds ahead of this machine's."""

    ahead: float


@dataclass(frozen=True)
class Forgets:
    """The broker ends all sessions early."""


@dataclass(frozen=True)
class Changes:
    """A secret is another one at the broker from now on."""

    secret: SecretName


@dataclass(frozen=True)
class Configures:
    """A person writes a secret into the configuration: the broker's, or a wrong one."""

    secret: SecretName
    right: bool = True


@dataclass(frozen=True)
class Reject:
    """Bots say at once that the broker refused a generation: the current one, or one beside it."""

    offset: int = 0
    evidence: str = "100022"
    bots: int = 1


@dataclass(frozen=True)
class Renew:
    persons: int = 1


@dataclass(frozen=True)
class Otp:
    right: bool = True


@dataclass(frozen=True)
class Unblock:
    force: bool = False


@dataclass(frozen=True)
class Pause:
    pass


@dataclass(frozen=True)
class Resume:
    pass


@dataclass(frozen=True)
class Reads:
    """Bots ask for a session and wait for it."""

    wait: float
    min_valid: float = 0.0
    newer: bool = False  # than the one that is there
    bots: int = 1


@dataclass(frozen=True)
class Restart:
    """The process ends, and another one starts. A kill leaves no time to write anything."""

    kill: bool = True
    down: float = 0.0  # seconds in between
    reboot: bool = False  # it is the machine that starts anew


@dataclass(frozen=True)
class SetClock:
    """Of this machine alone; the broker's goes on as it was."""

    by: float  # seconds


@dataclass(frozen=True)
class Suspend:
    seconds: float


@dataclass(frozen=True)
class DiskFull:
    what: Literal["ledger", "store"]
    lasts: float


Event = (
    Fails
    | BrokersClock
    | Forgets
    | Changes
    | Configures
    | Reject
    | Renew
    | Otp
    | Unblock
    | Pause
    | Resume
    | Reads
    | Restart
    | SetClock
    | Suspend
    | DiskFull
)
Script = list[tuple[float, Event]]


@dataclass(frozen=True)
class Setup:
    """The account, its broker and its machine. The defaults are the simplest that there are."""

    login: Login = "password"  # its factors
    life: float | None = 3600.0  # seconds of a session; None: to midnight in India
    bearer_life: float = 86_400.0
    starts: float = -7200.0  # seconds after a midnight in India
    wrong: SecretName | None = None  # in the configuration, from the start
    notices_jumps: bool = True
    lavish: bool = False  # the budget of logins is larger than any that will be used
    edge: Literal["auto", "none"] = "auto"
    latency: float = 0.137  # seconds that a request takes to the broker, and its reply back
    poll: float = 3.1  # seconds between two looks of a reader
    seed: int = 1  # of neod's own dice

    @property
    def secrets(self) -> tuple[SecretName, ...]:
        """What the configuration holds."""
        second: tuple[SecretName, ...] = ("mpin",) if "mpin" in self.login else ()
        if self.login.startswith("password"):
            return ("password", "consumer_secret", *second)
        return ("access_token", "totp_secret", *second)

    def table(self) -> dict[str, object]:
        """The account's, as far as it is not the usual one."""
        table: dict[str, object] = {name: {"env": name.upper()} for name in self.secrets}
        renewal: dict[str, object] = {"edge": self.edge}
        if self.lavish:
            renewal |= {"logins_per_10min": 10_000, "logins_per_day": 100_000}
        _, _, second = self.login.partition(", ")
        table |= {"second_factor": second or "none", "renewal": renewal}
        if self.login.startswith("totp"):
            none = dict.fromkeys(("password", "consumer_key", "consumer_secret"))
            table |= {"flow": "totp", "ucc": WHO.ucc, **none}
        return table


# What could be seen


@dataclass(frozen=True)
class Moment:
    at: float  # by trio's clock: neither set nor asleep
    wall: float
    boot: float
    ahead: float  # seconds that this wall clock is ahead of the broker's
    process: int  # the first, the second, …
    machine: int  # the same, of its boots


@dataclass(frozen=True)
class Entry:
    """One line of a trace."""

    when: Moment


@dataclass(frozen=True)
class Booted(Entry):
    secrets: Mapping[str, str]  # in the configuration


@dataclass(frozen=True)
class Stopped(Entry):
    took: float


@dataclass(frozen=True)
class Sent(Entry):
    """A request goes out."""

    seen: Seen
    step: faults.Step | None
    secrets: Mapping[str, str]  # those that its login goes on with
    written: bool  # in the ledger stands an attempt without outcome, of this very step


@dataclass(frozen=True)
class Refused(Entry):
    """The broker counts a refusal, whether or not its reply arrives."""

    seen: Seen
    secrets: Mapping[str, str]
    in_a_row: int
    locked: bool


@dataclass(frozen=True)
class Answered(Entry):
    """A whole reply arrives."""

    seen: Seen
    step: faults.Step | None
    status: int
    body: bytes


@dataclass(frozen=True)
class Put(Entry):
    """A session is put up for all to see."""

    generation: int
    token: str
    bearer: str
    secrets: Mapping[str, str]  # those that it was got with
    kept: bool  # the disk had room for it


@dataclass(frozen=True)
class Read(Entry):
    """A reader is answered, at `when`."""

    wait: float
    took: float
    plain: bool  # nothing was asked beyond a valid session
    generation: int = 0  # 0: none
    token: str = ""
    bearer: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Told(Entry):
    """Who asked for something is answered, or sees neod's end."""

    verb: str
    took: float
    status: int  # 0: it was neod's end
    body: bytes = field(repr=False)
    forced: bool = False


@dataclass(frozen=True)
class Moves(Entry):
    """The clocks are about to leap."""


@dataclass(frozen=True)
class Happens(Entry):
    event: Event
    changed: bool = True  # False: it left everything as it was


Trace = list[Entry]


class Environ(dict[str, str]):
    """Remembers what was last read of it: the secrets that a login goes on with."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = super().__getitem__(name)
        self.read = {**self.read, name: value}
        return value


async def play(setup: Setup, script: Script) -> Trace:
    """What comes of a script, with one account."""
    return await Player(setup).play(script)


class Player(Witness):
    """Plays one script with one account, and keeps the trace of it."""

    def __init__(
        self, setup: Setup, *, name: str = "main", time: VirtualClock | None = None
    ) -> None:
        self.setup = setup
        self.trace: Trace = []
        self.up = False
        who = {secret.upper(): _of_the_broker(WHO, secret) for secret in setup.secrets}
        self.environ = Environ(who)
        if setup.wrong is not None and setup.wrong in setup.secrets:
            self.environ[setup.wrong.upper()] = _another(setup.wrong, 0)
        self.world = World(
            Settings(life=setup.life, bearer_life=setup.bearer_life),
            start=MIDNIGHT + setup.starts,
            name=name,
            time=time,
            environ=self.environ,
            board_of=self._board,
            **setup.table(),
        )
        self.world.random = random.Random(setup.seed)
        self.world.time.notices_jumps = setup.notices_jumps
        self.broker: Broker = self.world.kotak.broker
        self.world.kotak.witness = self
        self.world.kotak.latency = self.world.kotak.way_back = setup.latency
        self.world.kotak.always = self._fault
        self._process = self._machine = 0
        self._weather: list[tuple[float, Fails]] = []
        self._full = {"ledger": 0.0, "store": 0.0}  # until when
        self._changes = 0
        self._refused = 0  # by the broker, of those that are in the trace

    async def play(self, script: Script) -> Trace:
        """What came of it."""
        async with trio.open_nursery() as self._nursery:
            await self._start()
            # However long it all takes, the readers' part of the work is bounded.
            pace = max(self.setup.poll, sum(delay for delay, _ in script) / READS_MAX)
            self._nursery.start_soon(self._poll, pace)
            for delay, event in script:
                await trio.sleep(delay)
                await self._do(event)
                self.look()
                if self.up:
                    await self._ask("GET", "status")
            await trio.sleep(TAIL)
            await self._stop(kill=False)
            self._nursery.cancel_scope.cancel()
        return self.trace

    def look(self) -> None:
        """Read the session as the wire does, now."""
        if self.up:
            answer: Held | Problem
            try:
                answer = check(self.world.board, Wanted())
            except Problem as problem:
                answer = problem
            self._note_read(answer, wait=0.0, took=0.0, plain=True)

    @property
    def api(self) -> Api:
        """The wire, of this account alone."""
        return Api({self.world.name: self.world.keeper}, 0.0)

    @property
    def now(self) -> Moment:
        clock = self.world.clock
        at = trio.current_time()
        ahead = self.world.kotak.slow
        return Moment(at, clock.wall(), clock.boot(), ahead, self._process, self._machine)

    # The process

    async def _start(self) -> None:
        self.world.boot()
        self._apply_full()
        self._process += 1
        self.trace.append(Booted(self.now, dict(self.environ)))
        self._daemon, self._ended = trio.CancelScope(), trio.Event()
        await self._nursery.start(self._live, self.world.keeper)

    async def _live(  # noqa: ASYNC114 - started in one place
        self, keeper: Keeper, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        ended = self._ended
        with self._daemon:
            async with trio.open_nursery() as self._clients:
                self._clients.start_soon(tick, self.world.clock, keeper.look)
                self._clients.start_soon(keeper.run)
                self.up = True
                task_status.started()
        ended.set()

    async def _stop(self, *, kill: bool) -> None:
        if kill:
            self.world.boot()  # what is on the disk now is what the next one will find
        else:
            self.world.board.close()
            await trio.testing.wait_all_tasks_blocked()  # who waited for a session is answered
        self.up = False
        began = trio.current_time()
        self._daemon.cancel()
        await self._ended.wait()
        self.trace.append(Stopped(self.now, trio.current_time() - began))

    async def _poll(self, pace: float) -> None:
        while True:
            self.look()
            await trio.sleep(pace)

    # Events

    async def _do(self, event: Event) -> None:
        changed = True
        match event:
            case Fails():
                self._weather.insert(0, (trio.current_time() + event.lasts, event))
            case BrokersClock():
                self.world.kotak.slow = -event.ahead
            case Forgets():
                changed = self.broker.kill() > 0
            case Changes():
                changed = self._change(event.secret)
            case Configures():
                changed = self._configure(event)
            case Restart():
                await self._restart(event)
            case SetClock() | Suspend():
                self._leap(event)
            case DiskFull():
                self._full[event.what] = trio.current_time() + event.lasts
                self._apply_full()
                self._nursery.start_soon(self._make_room, event.lasts)
            case _ if self.up:
                self._wish(event)
        self.trace.append(Happens(self.now, event, changed))

    def _leap(self, event: SetClock | Suspend) -> None:
        self.trace.append(Moves(self.now))
        if isinstance(event, SetClock):
            self.world.time.step(event.by)
            self.world.kotak.slow += event.by  # which has its own
        else:
            self.world.time.suspend(event.seconds)

    def _change(self, secret: SecretName) -> bool:
        if secret not in self.setup.secrets:
            return False
        self._changes += 1
        value = _another(secret, self._changes)
        if secret == "access_token":
            self.broker.reset_access_token(value)
            return True
        who = msgspec.structs.replace(self.broker.settings.credentials, **{secret: value})
        self.broker.settings = msgspec.structs.replace(self.broker.settings, credentials=who)
        return True

    def _configure(self, event: Configures) -> bool:
        if event.secret not in self.setup.secrets:
            return False
        name = event.secret.upper()
        before = self.environ.get(name)
        self._changes += 1
        right = _of_the_broker(self.broker.settings.credentials, event.secret)
        after = right if event.right else _another(event.secret, self._changes)
        self.environ[name] = after
        return before != after

    async def _restart(self, event: Restart) -> None:
        await self._stop(kill=event.kill)
        await trio.sleep(event.down)
        if event.reboot:
            self.world.store.reboot()
            self._machine += 1
        await self._start()

    def _wish(self, event: Reject | Renew | Otp | Unblock | Pause | Resume | Reads) -> None:
        match event:
            case Reads():
                for _ in range(event.bots):
                    self._clients.start_soon(self._read, event)
            case Reject():
                rejected = max(0, self.world.generation + event.offset)
                body = {"generation": rejected, "evidence": event.evidence}
                for _ in range(event.bots):
                    self._clients.start_soon(self._ask, "POST", "reject", body)
            case Renew():
                for _ in range(event.persons):
                    self._clients.start_soon(self._ask, "POST", "renew", {})
            case Otp():
                code = self.broker.otp if event.right and self.broker.otp else "0000"
                self._clients.start_soon(self._ask, "POST", "otp", {"otp": code})
            case Unblock():
                self._clients.start_soon(self._ask, "POST", "unblock", {"force": event.force})
            case Pause() | Resume():
                self._clients.start_soon(self._ask, "POST", type(event).__name__.lower(), {})

    async def _ask(self, method: str, verb: str, body: Mapping[str, object] | None = None) -> None:
        """Ask as the wire does."""
        request = Request(method, f"/v1/{verb}", {}, {}, 0, keep_alive=True)
        began, response = trio.current_time(), Response(0, b"")
        try:
            raw = b"" if body is None else msgspec.json.encode(body)
            response = await answer_of(self.api, request, raw)
        finally:
            took = trio.current_time() - began
            forced = bool(body and body.get("force"))
            self.trace.append(Told(self.now, verb, took, response.status, response.body, forced))

    async def _read(self, event: Reads) -> None:
        board = self.world.board
        after = board.held.session.generation if event.newer and board.held else None
        began = trio.current_time()
        answer: Held | Problem | None = None
        try:
            answer = await held(board, Wanted(event.min_valid, after), event.wait)
        except Problem as problem:
            answer = problem
        finally:
            plain = after is None and event.min_valid == 0
            self._note_read(answer, wait=event.wait, took=trio.current_time() - began, plain=plain)

    def _note_read(
        self, answer: Held | Problem | None, *, wait: float, took: float, plain: bool
    ) -> None:
        told = Read(self.now, wait, took, plain, problem="cut off")
        if isinstance(answer, Problem):
            told = Read(self.now, wait, took, plain, problem=answer.code)
        elif answer is not None:
            session = answer.session
            told = Read(
                self.now, wait, took, plain, session.generation, session.token, _bearer(answer)
            )
        self.trace.append(told)

    # The disk

    def _apply_full(self) -> None:
        now = trio.current_time()
        self.world.ledger.full = now < self._full["ledger"]
        self.world.store.full = now < self._full["store"]

    async def _make_room(self, after: float) -> None:
        await trio.sleep(after)
        self._apply_full()

    # What the broker does, and what is seen of it

    def _fault(self, seen: Seen) -> Fault | None:
        now, step = trio.current_time(), faults.step_of(seen.path, seen.headers)
        for until, weather in self._weather:
            if now >= until:
                continue
            if weather.fault == "refused":
                return Refuse()
            fault = faults.parse(weather.fault)
            if fault.step is None or fault.step == step:
                return _done_to_it(fault, self.world.clock.wall() - self.world.kotak.slow)
        return None

    def sent(self, seen: Seen) -> None:
        step = faults.step_of(seen.path, seen.headers)
        written = _is_written(self.world, step)
        self.trace.append(Sent(self.now, seen, step, self.environ.read, written))

    def judged(self, seen: Seen) -> None:
        if self.broker.refused > self._refused:
            self._refused = self.broker.refused
            self.trace.append(
                Refused(self.now, seen, self.environ.read, self.broker.refusals, self.broker.locked)
            )

    def answered(self, seen: Seen, status: int, body: bytes) -> None:
        step = faults.step_of(seen.path, seen.headers)
        self.trace.append(Answered(self.now, seen, step, status, body))

    def _board(self, name: str, clock: Clock) -> Board:
        return _Seen(name, clock, self._put)

    def _put(self, published: Held) -> None:
        session = published.session
        kept = not self.world.store.full
        secrets: Mapping[str, str] = self.environ.read
        for entry in reversed(self.trace):
            if isinstance(entry, Put) and entry.generation == session.generation:
                kept, secrets = entry.kept, entry.secrets  # it is taken up after a restart
                break
            if isinstance(entry, Put) and entry.token == session.token:
                secrets = entry.secrets  # another bearer does not change whose token it is
                break
        self.trace.append(
            Put(self.now, session.generation, session.token, _bearer(published), secrets, kept)
        )


class _Seen(Board):
    """Tells of each session that is put up."""

    def __init__(self, account: str, clock: Clock, tell: Callable[[Held], None]) -> None:
        super().__init__(account, clock)
        self._tell = tell

    def publish(self, held: Held) -> None:
        super().publish(held)
        self._tell(held)


def _bearer(held: Held) -> str:
    return held.session.headers["Authorization"].removeprefix("Bearer ")


def _is_written(world: World, step: faults.Step | None) -> bool:
    """True if the ledger's last word on attempts is that one of this step is under way."""
    if step not in ("bearer", "login", "validate"):
        return True  # no credentials go out
    for line in reversed(world.ledger.lines):
        if isinstance(line, Outcome | Published):
            return False
        if isinstance(line, Attempt):
            second = world.account.second_factor != "none"
            first = "first_factor" if second else "login"
            return line.step == {"bearer": "bearer", "login": first, "validate": "login"}[step]
    return False


def _done_to_it(fault: faults.Fault, brokers: float) -> Fault:
    if fault.reply is not None:
        headers = {"Content-Type": fault.reply.content_type, **dict(fault.reply.headers)}
        headers["Date"] = formatdate(brokers, usegmt=True)
        return Canned(fault.reply.status, fault.reply.body, headers)
    manners: dict[str, Fault] = {
        "hang": Hang(),
        "cut": Cut(),
        "wrong-type": WrongType(),
        "slow": Slow(fault.delay),
    }
    return manners[fault.name]


def _of_the_broker(who: Credentials, secret: SecretName) -> str:
    return str(getattr(who, secret))


def _another(secret: SecretName, number: int) -> str:
    """A secret that is none of those before it."""
    if secret == "mpin":
        return f"{135_790 + number}"
    if secret == "totp_secret":
        return f"{'ANOTHERSECRET':A<30}{'ABCDEFGH'[number // 8 % 8]}{'ABCDEFGH'[number % 8]}"
    return f"another-{secret}-{number}"
