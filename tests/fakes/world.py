"""One account's whole world in virtual time: keeper, board, ledger, broker, clocks."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import trio

from neod import config
from neod.account.events import News
from neod.account.history import Word
from neod.account.keeper import Keeper
from neod.account.session import Board
from neod.account.store import Kept
from neod.accounts import Accounts
from neod.clock import TICK, Clock, tick
from neod.sandbox.broker import Broker, Credentials, Settings
from tests.fakes.clock import START, VirtualClock
from tests.fakes.kotak import KotakInMemory
from tests.fakes.ledger import MemoryLedger
from tests.fakes.store import MemoryStore

URL = "http://127.0.0.1:1/"
PASSWORD = "sandbox-password"
WHO = Credentials()
SOMEBODY = Word("test", 4711, "/usr/bin/test")


def account(name: str = "main", /, **changes: object) -> config.Account:
    """An account that the sandbox knows; `changes` are keys of its table, None takes one away."""
    table: dict[str, object] = {
        "mobile": "+919999996708",
        "password": PASSWORD,
        "consumer_key": "sandbox-consumer-key",
        "consumer_secret": "sandbox-consumer-secret",
        "endpoints": {"session": URL, "api": URL, "login": URL},
    }
    table |= changes
    mistakes: list[str] = []
    wanted = {name: {key: value for key, value in table.items() if value is not None}}
    read = config.read({"account": wanted}, Path("/nowhere"), mistakes)
    assert not mistakes, mistakes
    return read.accounts[name]


class World:
    """Start and stop the keeper as a daemon would; the ledger's lines outlive it.

    Worlds that are given the same `time` are on one machine. The keeper reads `environ` anew for
    each login; `board_of` makes the boards, of which a test may want to see more than is up.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        start: float = START,
        name: str = "main",
        time: VirtualClock | None = None,
        environ: Mapping[str, str] | None = None,
        board_of: Callable[[str, Clock], Board] = Board,
        **changes: object,
    ) -> None:
        self.name = name
        self.time = time or VirtualClock(start)
        self.clock = self.time.clock
        self.environ = {} if environ is None else environ
        self.board_of = board_of
        self.kotak = KotakInMemory(Broker(settings or Settings(life=3600)), self.clock)
        self.ledger = MemoryLedger()
        self.store = MemoryStore()
        self.random = random.Random(1)
        self.account = account(name, **changes)
        self.boot()

    def boot(self, **changes: object) -> None:
        """A new keeper, as after a restart of the process; `changes` are to the configuration."""
        if changes:
            self.account = account(self.name, **changes)
        full = self.ledger.full
        self.ledger = MemoryLedger(self.ledger.lines)
        self.ledger.full = full
        self.store = MemoryStore(self.store.kept)
        self.board = self.board_of(self.account.name, self.clock)
        self.keeper = self.keeper_of(self.account, kept=self.store.load())

    def keeper_of(self, account: config.Account, *, kept: Kept | None = None) -> Keeper:
        """A keeper over this world's ledger and store, of its board."""
        return Keeper(
            account,
            self.board,
            self.ledger,
            self.store,
            kept=kept,
            clock=self.clock,
            connect=self.kotak.connect,
            environ=self.environ,
            draw=self.random.random,
        )

    async def run_for(self, seconds: float) -> None:
        """Let the keeper run for so long, from its start to its end."""
        with trio.move_on_after(seconds):
            await self.run()

    async def run(self) -> None:
        """As the daemon does: the keeper, and the tick beside it."""
        async with trio.open_nursery() as nursery:
            # Told of each jump, the tick is not what the days of a test should go by.
            every = 40 * TICK if self.time.notices_jumps else TICK
            nursery.start_soon(tick, self.clock, self.keeper.look, every)
            nursery.start_soon(self.keeper.run)

    @property
    def generation(self) -> int:
        return self.board.held.session.generation if self.board.held else 0

    @property
    def state(self) -> str:
        return self.board.standing.state


def accounts_of(
    worlds: Mapping[str, World],
    news: News | None = None,
    *,
    beside: Sequence[Callable[[Keeper], Awaitable[None]]] = (),
) -> Accounts:
    """The accounts of a daemon, each in a world; ones that come later get worlds of the same kind.

    A world's keeper and board are those that its account has had last.
    """
    time = next((world.time for world in worlds.values()), None)
    known = dict(worlds)

    async def make(account: config.Account) -> Keeper:
        await trio.lowlevel.checkpoint()
        world = known[account.name] = World(name=account.name, time=time)
        world.board = Board(account.name, world.clock, news)
        world.keeper = world.keeper_of(account)
        return world.keeper

    def remake(account: config.Account, _instead_of: Keeper) -> Keeper:
        world = known[account.name]
        world.board = Board(account.name, world.clock, news)
        world.keeper = world.keeper_of(account)
        return world.keeper

    keepers = {name: world.keeper for name, world in worlds.items()}
    return Accounts(keepers, make, remake, beside)


class TotpTable(TypedDict, total=False):
    flow: str
    ucc: str
    access_token: str
    totp_secret: str
    mpin: str
    password: None
    consumer_key: None
    consumer_secret: None


TOTP: TotpTable = {
    "flow": "totp",
    "ucc": WHO.ucc,
    "access_token": WHO.access_token,
    "totp_secret": WHO.totp_secret,
    "mpin": WHO.mpin,
    "password": None,
    "consumer_key": None,
    "consumer_secret": None,
}


def world_of_totp(settings: Settings | None = None, **changes: object) -> World:
    world = World(settings or Settings(life=3600))
    world.boot(**{**TOTP, **changes})
    return world
