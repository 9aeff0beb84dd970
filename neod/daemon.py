"""The composition root: builds the parts, nests the nurseries, owns shutdown."""

import errno
import math
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio

from neod import __version__, hooks, log
from neod.account.events import News
from neod.account.history import Word
from neod.account.keeper import Keeper
from neod.account.ledger import Ledger, open_ledger
from neod.account.session import Board
from neod.account.store import FileStore, Kept, Store, boot_id
from neod.accounts import Accounts
from neod.clock import GRAIN, SYSTEM, TICK, Clock, tick
from neod.config import Account, Config, ConfigError
from neod.config import Server as Limits
from neod.errors import Unusable
from neod.ipc.api import Api, Files
from neod.ipc.clients import Client
from neod.ipc.descriptors import affordable
from neod.ipc.listener import Adopted, Claim
from neod.ipc.reads import Reads
from neod.ipc.server import Server, only
from neod.kotak.client import Send, connected
from neod.lock import Lock, patiently
from neod.lookout import Door, Lookout
from neod.paths import make_private, open_to_others
from neod.process import give_large_blocks_back, harden
from neod.reload import Reload
from neod.status import Status
from neod.systemd import notify, watchdog_time

PATIENCE = 5.0  # seconds that systemd's neod gives the one before it to be gone
Shutdown = Callable[[], Awaitable[None]]
Beside = Callable[[Mapping[str, Keeper]], Awaitable[None]]


def _nothing() -> None:
    pass


async def main(
    load: Callable[[], Config],
    environ: Mapping[str, str],
    socket_path: Path,
    state: Path,
    *,
    shutdown: Shutdown,
    adopted: socket.socket | None = None,
    store: Path | None = None,
    beside: Beside | None = None,
    configuration: Path | None = None,
) -> None:
    """Run the daemon until `shutdown` returns.

    `load` reads the configuration, at the start and at each reload; it raises ConfigError. neod
    listens at `socket_path`, unless a socket of systemd's is to be adopted, which has its own.
    Then a faulty configuration ends nothing: there is no account, and who asks is told where the
    mistakes are, until a reload finds none. Sessions are kept in the folder `store`, which is the
    socket's if none is given. `beside` runs as long as the keepers do: the demo's screen.
    `configuration` is what `load` reads, for who asks where it is. Raises ConfigError,
    AlreadyRunning and Unusable before anything is started.
    """
    harden(environ)  # before the first secret is read
    give_large_blocks_back()
    news, clients = News(), set[Client]()
    hidden = set[str]()  # those of accounts that were taken away stay in the environment
    load = partial(_load_and_hide, load, hidden)
    async with AsyncExitStack() as stack:
        signals = await stack.enter_async_context(_signals())
        config, faulty = _loaded(load, or_none=adopted is not None)
        # Blocking work, all of it before there is anybody who could wait.
        try:
            make_private(state)
            if why := open_to_others(state):
                raise Unusable(f"neod's state cannot be trusted there: {why}")
            # Whom systemd starts, it has started in place of another, which may be about to stop.
            patience = PATIENCE if adopted else 0.0
            stack.enter_context(await patiently(partial(Lock, state / "lock"), patience))
            claim = await patiently(partial(_claimed, adopted, socket_path), patience)
            stack.enter_context(claim)
            folder = store or claim.path.parent
            look = partial(on_disk, state, folder, clock=SYSTEM)
            make = partial(keeper_of, environ=environ, hide=hidden, clock=SYSTEM, news=news)
            keepers = {
                name: make(account, look(account)) for name, account in config.accounts.items()
            }
        except OSError as error:
            raise Unusable(_cannot(error, state)) from None
        log.event("start", version=__version__, pid=os.getpid(), socket=claim.path)
        status = Status(lambda line: notify(environ, STATUS=line))
        accounts = Accounts(
            keepers,
            make=partial(_brought_up, look, make),
            remake=lambda account, before: make(account, OnDisk(before.ledger, before.store)),
            beside=[
                status.follow,
                partial(hooks.run, environ=environ, socket=os.fspath(claim.path), hide=hidden),
            ],
        )
        files = Files(
            socket=os.fspath(claim.path),
            configuration=os.fspath(configuration) if configuration else None,
            state=os.fspath(state),
        )
        api = Api(accounts, SYSTEM.wall(), news=news, clients=clients, files=files)
        server = Server(
            claim.socket,
            api.respond,
            glance=Reads(api).take,
            admit=only(os.getuid()),
            clients=clients,
            limits=affordable(config.server),
        )

        def take_up(limits: Limits) -> None:
            """Go on with a configuration that has no mistake."""
            server.adopt(affordable(limits))
            api.watchers.most = limits.max_watchers
            log.at_level(limits.log, environ)
            api.faulty = None
            status.put("configuration", "")
            status.keep_to(accounts)
            if not accounts:
                log.warning("no_account", why="the configuration has no [account.NAME]")

        do_without = partial(_do_without, api, status)
        api.reload = reload = Reload(partial(_load_anew, load, api, do_without), accounts, take_up)
        if faulty is None:
            take_up(config.server)
        else:
            do_without(faulty)
        watched = watchdog_time(environ, os.getpid())
        await serve(
            accounts,
            server,
            lookout=Lookout(
                accounts,
                news,
                partial(notify, environ, WATCHDOG=1) if watched else _nothing,
                Door(claim, server.listen_on, partial(status.put, "socket")),
            ),
            clock=SYSTEM,
            every=min(TICK, watched / 2) if watched else TICK,
            shutdown=shutdown,
            heed=partial(_heed_signals, signals, accounts, reload, environ),
            beside=beside,
            ready=partial(notify, environ, READY=1),
            stopping=partial(notify, environ, STOPPING=1),
        )
        log.event("stopped")


@asynccontextmanager
async def _signals() -> AsyncIterator[AsyncIterator[int]]:
    """HUP and USR1, as they come. One that comes early waits to be heeded, and none kills."""
    with trio.open_signal_receiver(signal.SIGHUP, signal.SIGUSR1) as signals:
        yield signals
        with trio.move_on_after(GRAIN):  # for those that came too late
            while True:
                await anext(signals)


def _cannot(error: OSError, state: Path) -> str:
    """What stands in the way of a start, and what mends it."""
    where = Path(error.filename or state)
    told = f"{where}: {error.strerror}"
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return told
    key = "XDG_STATE_HOME" if where.is_relative_to(state) else "NEOD_SOCKET"
    return f"{told}; let the user that runs neod write there, or set {key} to where it may"


def _loaded(load: Callable[[], Config], *, or_none: bool) -> tuple[Config, ConfigError | None]:
    """The configuration, or an empty one with what is wrong with it. Raises ConfigError."""
    try:
        return load(), None
    except ConfigError as error:
        if not or_none:
            raise
        # systemd would start it again for whoever connects, at once and over and over.
        return Config(accounts={}, server=Limits()), error


def _do_without(api: Api, status: Status, faulty: ConfigError) -> None:
    """Go on without a configuration, and say why there is none."""
    api.faulty = faulty
    for mistake in faulty.mistakes:
        log.error("configuration", path=faulty.path, mistake=mistake)
    status.put("configuration", f"cannot be used: {faulty.keys}; see: neod check")


def _load_and_hide(load: Callable[[], Config], hidden: set[str]) -> Config:
    """The configuration; the variables in which it has secrets are hidden from now on."""
    config = load()
    hidden |= config.variables
    return config


def _load_anew(
    load: Callable[[], Config], api: Api, do_without: Callable[[ConfigError], None]
) -> Config:
    """The configuration of by now. As long as there is none, the newest mistakes are told."""
    try:
        return load()
    except ConfigError as error:
        if api.faulty:
            do_without(error)
        raise


def _claimed(adopted: socket.socket | None, path: Path) -> Claim | Adopted:
    return Adopted(adopted) if adopted else Claim(path)


async def serve(
    accounts: Accounts,
    server: Server,
    *,
    lookout: Lookout,
    clock: Clock,
    shutdown: Shutdown,
    every: float = TICK,
    heed: Callable[[], Awaitable[None]] | None = None,
    beside: Beside | None = None,
    ready: Callable[[], None] = _nothing,
    stopping: Callable[[], None] = _nothing,
) -> None:
    """Keep and serve until `shutdown` returns; then what is in flight gets a grace period.

    The lookout looks `every` so many seconds; `heed` is what reacts to signals meanwhile.

    Nurseries nest as the parts depend on each other: a connection may wait for a keeper, so
    keepers go last; nobody waits for the accepting, so it goes first.
    """
    async with trio.open_nursery() as keeping:
        keeping.start_soon(accounts.run)
        keeping.start_soon(tick, clock, lookout.look, every)
        if beside is not None:
            keeping.start_soon(beside, accounts)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                await accepting.start(partial(server.serve, handler_nursery=connections))
                if heed is not None:
                    accepting.start_soon(heed)
                accepting.start_soon(_soon, ready)  # when shutdown() heeds its signals
                await shutdown()
                stopping()
                accepting.cancel_scope.cancel(reason="shutdown")
            for keeper in accounts.values():
                keeper.board.close()
            connections.cancel_scope.relative_deadline = server.limits.grace
        keeping.cancel_scope.cancel(reason="drained")


async def _soon(say: Callable[[], None]) -> None:
    await trio.lowlevel.checkpoint()
    say()


async def _heed_signals(
    signals: AsyncIterator[int], accounts: Accounts, reload: Reload, environ: Mapping[str, str]
) -> None:
    """HUP reloads the configuration, USR1 renews every session."""
    async with trio.open_nursery() as nursery:
        async for number in signals:
            log.event("signal", name=signal.Signals(number).name)
            if number == signal.SIGUSR1:
                for keeper in accounts.values():
                    nursery.start_soon(keeper.renew, Word("USR1"))
                continue
            notify(environ, RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
            try:
                await reload()
            except (ConfigError, OSError):
                pass  # which the log has told of
            except Exception as error:  # noqa: BLE001 - it must not end the sessions
                log.error("bug", exc_info=error)
            notify(environ, READY=1)


async def wait_for_stop(seconds: float = math.inf, *, hup_stops: bool = False) -> None:
    """Return at SIGTERM or SIGINT, or when the seconds are over. A second signal kills."""
    stops = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hup_stops else [])]
    with trio.move_on_after(seconds), trio.open_signal_receiver(*stops) as signals:
        async for number in signals:
            log.event("stopping", signal=signal.Signals(number).name)
            return


class OnDisk(msgspec.Struct, frozen=True):
    """An account's files, and the session that was kept in them."""

    ledger: Ledger
    store: Store
    kept: Kept | None = None


def on_disk(state: Path, folder: Path, account: Account, *, clock: Clock) -> OnDisk:
    """Its ledger in `state` and its kept session in `folder`, both under the caller's lock.

    Blocks for the disk. Raises OSError.
    """
    ledger, damage = open_ledger(state / f"{account.name}.ledger", account.name, clock)
    if damage:
        log.warning("ledger", account=account.name, why=damage)
    store = FileStore(folder / f"{account.name}.session", boot_id())
    kept = store.load()
    if store.oddity:
        log.warning("store", account=account.name, why=store.oddity)
    return OnDisk(ledger, store, kept)


def keeper_of(
    account: Account,
    files: OnDisk,
    *,
    environ: Mapping[str, str],
    hide: Collection[str],
    clock: Clock,
    news: News | None = None,
) -> Keeper:
    """An account's keeper, which goes on with what is in its files."""
    return Keeper(
        account,
        Board(account.name, clock, news, margin=account.rules.margin),
        files.ledger,
        files.store,
        kept=files.kept,
        clock=clock,
        connect=_connect,
        environ=environ,
        hide=hide,
        draw=random.random,
    )


async def _brought_up(
    look: Callable[[Account], OnDisk], make: Callable[[Account, OnDisk], Keeper], account: Account
) -> Keeper:
    # The disk alone in a thread: a keeper tells whoever watches that it has a session.
    return make(account, await trio.to_thread.run_sync(look, account))


def _connect(account: Account) -> AbstractAsyncContextManager[Send]:
    return connected(
        source_address=account.source_address,
        proxy=account.proxy.reveal() if account.proxy else None,
    )
