"""The composition root: builds the parts, nests the nurseries, owns shutdown."""

import math
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trio

from neod import __version__, log
from neod.account.events import News
from neod.account.keeper import Keeper
from neod.account.ledger import FileLedger, open_ledger
from neod.account.session import Board
from neod.account.store import FileStore, boot_id
from neod.clock import SYSTEM, TICK, Clock, tick
from neod.config import Account, Config, ConfigError
from neod.ipc.api import Api
from neod.ipc.clients import Client
from neod.ipc.descriptors import affordable
from neod.ipc.listener import PATIENCE, Adopted, Claim, Lock, Unusable, patiently
from neod.ipc.reads import Reads
from neod.ipc.server import Server, only
from neod.kotak.client import connected
from neod.lookout import Door, Lookout
from neod.paths import make_private
from neod.process import give_large_blocks_back, harden
from neod.status import Status
from neod.systemd import notify, watchdog_time

Shutdown = Callable[[], Awaitable[None]]
Beside = Callable[[Mapping[str, Keeper]], Awaitable[None]]


def _nothing() -> None:
    pass


async def main(
    config: Config,
    environ: Mapping[str, str],
    socket_path: Path,
    state: Path,
    *,
    shutdown: Shutdown,
    adopted: socket.socket | None = None,
    faulty: ConfigError | None = None,
    store: Path | None = None,
    beside: Beside | None = None,
) -> None:
    """Run the daemon until `shutdown` returns.

    It listens at `socket_path`, unless a socket of systemd's is to be adopted, which has its own.
    If the configuration is `faulty` there is no account, and who asks is told where the mistakes
    are. Sessions are kept in the folder `store`, which is the socket's if none is given. `beside`
    runs as long as the keepers do: the demo's screen. Raises AlreadyRunning and Unusable before
    anything is started.
    """
    harden(environ)
    give_large_blocks_back()
    watched = watchdog_time(environ, os.getpid())
    news, clients = News(), set[Client]()
    with ExitStack() as stack:
        # Blocking work, all of it before there is anybody who could wait.
        try:
            make_private(state)
            # Whom systemd starts, it has started in place of another, which may be about to stop.
            patience = PATIENCE if adopted else 0.0
            stack.enter_context(await patiently(partial(Lock, state / "lock"), patience))
            claim = await patiently(partial(_claimed, adopted, socket_path), patience)
            stack.enter_context(claim)
            keepers = keepers_of(config, state, store or claim.path.parent, environ, SYSTEM, news)
        except OSError as error:
            raise Unusable(f"{error.filename or state}: {error.strerror}") from None
        log.event("start", version=__version__, pid=os.getpid(), socket=claim.path)
        status = Status(lambda line: notify(environ, STATUS=line))
        if faulty:
            for mistake in faulty.mistakes:
                log.error("configuration", path=faulty.path, mistake=mistake)
            status.put("configuration", f"cannot be used: {faulty.keys}; see: neod check")
        elif not keepers:
            log.warning("no_account", why="the configuration has no [account.NAME]")
        api = Api(
            keepers,
            SYSTEM.wall(),
            news=news,
            clients=clients,
            max_watchers=config.server.max_watchers,
            faulty=faulty,
        )
        server = Server(
            claim.socket,
            api.respond,
            glance=Reads(api).take,
            admit=only(os.getuid()),
            clients=clients,
            limits=affordable(config.server),
        )
        await serve(
            keepers,
            server,
            lookout=Lookout(
                keepers,
                news,
                partial(notify, environ, WATCHDOG=1) if watched else _nothing,
                Door(claim, server.listen_on, partial(status.put, "socket")),
            ),
            status=status,
            clock=SYSTEM,
            every=min(TICK, watched / 2) if watched else TICK,
            grace=config.server.grace,
            shutdown=shutdown,
            beside=beside,
            ready=partial(notify, environ, READY=1),
            stopping=partial(notify, environ, STOPPING=1),
        )
        log.event("stopped")


def _claimed(adopted: socket.socket | None, path: Path) -> Claim | Adopted:
    return Adopted(adopted) if adopted else Claim(path)


async def serve(
    keepers: Mapping[str, Keeper],
    server: Server,
    *,
    lookout: Lookout,
    status: Status,
    clock: Clock,
    grace: float,
    shutdown: Shutdown,
    every: float = TICK,
    beside: Beside | None = None,
    ready: Callable[[], None] = _nothing,
    stopping: Callable[[], None] = _nothing,
) -> None:
    """Keep and serve until `shutdown` returns; then what is in flight gets `grace` seconds.

    The lookout looks `every` so many seconds.

    Nurseries nest as the parts depend on each other: a connection may wait for a keeper, so
    keepers go last; nobody waits for the accepting, so it goes first.
    """
    async with trio.open_nursery() as keeping:
        for keeper in keepers.values():
            keeping.start_soon(keeper.run)
        keeping.start_soon(tick, clock, lookout.look, every)
        if beside is not None:
            keeping.start_soon(beside, keepers)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                await accepting.start(partial(server.serve, handler_nursery=connections))
                ready()
                for keeper in keepers.values():
                    keeping.start_soon(status.follow, keeper.board)
                await shutdown()
                stopping()
                accepting.cancel_scope.cancel(reason="shutdown")
            for keeper in keepers.values():
                keeper.board.close()
            connections.cancel_scope.relative_deadline = grace
        keeping.cancel_scope.cancel(reason="drained")


async def wait_for_stop(seconds: float = math.inf, *, hup_stops: bool = False) -> None:
    """Return at SIGTERM or SIGINT, or when the seconds are over. A second signal kills."""
    with (
        trio.move_on_after(seconds),
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
    ):
        async for number in signals:
            if number == signal.SIGHUP and not hup_stops:
                log.warning("hup", why="reload is not part of this version; restart neod instead")
                continue
            log.event("stopping", signal=signal.Signals(number).name)
            return


def keepers_of(
    config: Config,
    state: Path,
    folder: Path,
    environ: Mapping[str, str],
    clock: Clock,
    news: News | None = None,
) -> dict[str, Keeper]:
    """The keepers of a configuration's accounts, none of them running yet. As `keeper_of`."""
    return {
        name: keeper_of(account, state, folder, environ, clock, news)
        for name, account in config.accounts.items()
    }


def keeper_of(
    account: Account,
    state: Path,
    folder: Path,
    environ: Mapping[str, str],
    clock: Clock,
    news: News | None = None,
) -> Keeper:
    """An account's keeper, over its ledger in `state` and its kept session in `folder`.

    Both are under the caller's lock. Blocks for the disk. Raises OSError.
    """
    store = FileStore(folder / f"{account.name}.session", boot_id())
    kept = store.load()
    if store.oddity:
        log.warning("store", account=account.name, why=store.oddity)
    return Keeper(
        account,
        Board(account.name, clock, news, margin=account.rules.margin),
        _ledger(state, account.name, clock),
        store,
        kept=kept,
        clock=clock,
        connect=partial(
            connected,
            source_address=account.source_address,
            proxy=account.proxy.reveal() if account.proxy else None,
        ),
        environ=environ,
        draw=random.random,
    )


def _ledger(state: Path, name: str, clock: Clock) -> FileLedger:
    ledger, damage = open_ledger(state / f"{name}.ledger", name, clock)
    if damage:
        log.warning("ledger", account=name, why=damage)
    return ledger
