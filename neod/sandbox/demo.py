"""`neod demo`: the real daemon against a broker on loopback, told on one screen."""

import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import trio

from neoctl.wire import socket_path
from neod import config, daemon
from neod.account.keeper import Keeper
from neod.account.session import Board
from neod.clock import SYSTEM, clock_time
from neod.errors import AlreadyRunning, Unusable
from neod.ipc.listener import Claim
from neod.paths import config_file
from neod.sandbox.broker import Broker, Settings
from neod.sandbox.serve import listen, serve, settings_to_paste, url_of

LIFE = 6.0  # seconds: a session is renewed about every four


def run(environ: Mapping[str, str], seconds: float) -> None:
    """Run sandbox and daemon until stopped, or for some seconds. Touches no file of the user's."""
    with tempfile.TemporaryDirectory(prefix="neod-demo-") as folder:
        trio.run(_main, environ, Path(folder), _usual_socket(environ), seconds)


def _usual_socket(environ: Mapping[str, str]) -> Path | None:
    """The socket that neoctl asks by itself, if nobody wants it."""
    if config_file(environ).exists():
        return None
    path = Path(socket_path(environ, os.getuid()))
    try:
        with Claim(path):
            return path
    except (AlreadyRunning, Unusable, OSError):
        return None


async def _main(
    environ: Mapping[str, str], folder: Path, usual: Path | None, seconds: float
) -> None:
    socket = usual or folder / "neod.sock"
    broker = Broker(Settings(life=LIFE))
    listener = await listen(0)
    url = url_of(listener)
    mistakes: list[str] = []
    settings = config.read(tomllib.loads(settings_to_paste(url, broker)), folder, mistakes)
    assert not mistakes  # noqa: S101 - it is our own text

    async def beside(keepers: Mapping[str, Keeper]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, broker, listener, SYSTEM)
            print(_what_to_type(url, socket, "" if usual else f"NEOD_SOCKET={socket} "), flush=True)
            for keeper in keepers.values():
                nursery.start_soon(_tell, keeper.board)

    await daemon.main(
        lambda: settings,
        environ,
        socket,
        folder / "state",
        store=folder,
        beside=beside,
        shutdown=lambda: daemon.wait_for_stop(seconds, hup_stops=True),
    )


def _what_to_type(url: str, socket: Path, prefix: str) -> str:
    neoctl = _neoctl()
    return (
        f"neod demo: the sandbox at {url} plays Kotak; its sessions live {LIFE:.0f} seconds.\n"
        "Nothing leaves this machine. In another terminal, type:\n\n"
        f"    {prefix}{neoctl} token\n"
        f"    {prefix}{neoctl} status\n"
        f"    curl --unix-socket {socket} http://neod/v1/session\n\n"
        "Ctrl-C ends it. All times are India's.\n"
    )


async def _tell(board: Board) -> None:
    """Say what happens, a line each; for ever."""
    generation, said = 0, ""
    while True:
        changed = board.changed
        standing, held = board.standing, board.held
        if standing.state == "ok" and held and held.session.generation > generation:
            what = "renewed" if generation else "logged in"
            generation = held.session.generation
            said = (
                f"{what}, generation {generation}: a {held.session.kind} session "
                f"until {clock_time(held.session.expires_at)}; {standing.why}"
            )
            _say(said)
        elif standing.failing and standing.last_failure and standing.why != said:
            said = standing.why
            _say(f"{standing.last_failure.detail}; {standing.why}")
        await changed.wait()


def _say(text: str) -> None:
    print(f"{clock_time(SYSTEM.wall())}  {text}", flush=True)


def _neoctl() -> str:
    """How to call neoctl from anywhere."""
    beside = Path(sys.argv[0]).absolute().with_name("neoctl")
    found = os.fspath(beside) if beside.exists() else shutil.which("neoctl")
    return found or f"{sys.executable} -m neoctl"
