"""Each verb of neoctl in each state of neod, for docs/transcript.md: stdout, stderr, exit status.

They are real: verbs over a Unix socket, routes and keepers as they are, against the sandbox's
broker in memory; only the time is virtual. Each verb meets a neod of its own.

    python -m tests.transcript           # says whether the document is stale
    python -m tests.transcript --write   # makes it anew
"""

import io
import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neoctl import cli
from neod import config, daemon
from neod.account.history import Word
from neod.clock import Clock
from neod.ipc.api import Api
from neod.ipc.clients import Client
from neod.ipc.server import Server
from neod.lookout import Lookout
from neod.reload import Reload
from neod.sandbox.broker import Settings
from tests import made
from tests.exchanges import FILES, MORNING
from tests.fakes.kotak import Cut, Hang, Refuse
from tests.fakes.world import SOMEBODY, World, accounts_of

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "transcript.md"
WIDTH = 100  # columns, after which a line is cut
IDLE = 0.2  # seconds of nothing at all, after which time goes on for who waits for it
# What the machine chooses that this runs on, or is another one each time: what stands for it.
_MADE_UP = {
    r"eyJ[\w-]+\.[\w-]+\.[\w-]+": "eyJhbGci…",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "3f2b…",
    r"pid \d+ *\S+": "pid 4711    /usr/bin/python3.11",
    r", here \d.*": "",
}


class State(msgspec.Struct, frozen=True):
    """A state of neod: what it means, and how it comes about. None is no neod."""

    means: str
    prepare: Callable[[World], Awaitable[None]] | None
    settings: Settings = Settings()
    changes: Mapping[str, object] = {}


async def _starting(world: World) -> None:
    world.kotak.always = lambda _: Hang()
    await trio.sleep(2)


async def _ready(_world: World) -> None:
    await trio.sleep(5)


async def _blocked(world: World) -> None:
    world.kotak.always = lambda _: Cut()
    await trio.sleep(900)


async def _otp_needed(world: World) -> None:
    await trio.sleep(5)
    await world.keeper.renew(SOMEBODY)


async def _broker_down(world: World) -> None:
    world.kotak.always = lambda _: Refuse()
    await trio.sleep(5)


async def _lapsed(world: World) -> None:
    await trio.sleep(5)
    await _broker_down(world)
    await trio.sleep(120)


async def _paused(world: World) -> None:
    world.kotak.always = lambda _: Refuse()
    await trio.sleep(2)
    await world.keeper.pause(Word("pause", 4711, "/usr/bin/neoctl"))


STATES = {
    "no neod": State("nothing listens at the socket", None),
    "starting": State("the first login is under way", _starting),
    "ready": State("there is a valid session", _ready),
    "credentials rejected": State(
        "the broker refused the password", _ready, changes={"password": "wrong"}
    ),
    "blocked": State("two logins in a row had no answer: they may be refusals", _blocked),
    "OTP needed": State(
        "a person asked for a login, which waits for its OTP",
        _otp_needed,
        changes={"second_factor": "otp"},
    ),
    "broker down": State("the broker cannot be reached, and there was no session", _broker_down),
    "lapsed": State(
        "the session has lapsed, and the broker cannot be reached", _lapsed, Settings(life=60)
    ),
    "paused": State("somebody said pause before there was a session", _paused),
}
# `doctor` says what is so on this machine, and is not among them.
LINES = (
    *("token", "session", "get sid", "headers", "env", "exec -- true", "watch", "wait --wait 0"),
    *("status", "status --line", "logins", "clients", "renew", "reject 1", "otp", "unblock"),
    *("pause", "resume", "reload", "socket", "version"),
)
ASKS_FOR_A_LOGIN = ("renew", "reject 1", "otp", "reload")  # which may take its time
OWN_PROCESS = ("exec -- true", "watch")


class Said(msgspec.Struct, frozen=True):
    """What came of a verb."""

    status: int
    out: str
    err: str


def say(state: str, line: str, folder: Path) -> Said:
    """What neoctl says to this line, in this state. The socket is made in the folder."""
    path = folder / "neod.sock"
    environ = {"NEOD_SOCKET": os.fspath(path), "HOME": os.fspath(folder), "TZ": "Asia/Kolkata"}
    if STATES[state].prepare is None:
        with _environment(environ, MORNING):
            return _call(line, environ)
    clock = MockClock(autojump_threshold=0)
    try:
        return trio.run(_meet, STATES[state], line, path, environ, clock, clock=clock)
    finally:
        path.unlink(missing_ok=True)


async def _meet(
    state: State, line: str, path: Path, environ: dict[str, str], virtual: MockClock
) -> Said:
    """A neod in this state, and a verb that meets it."""
    assert state.prepare
    world = World(state.settings, start=MORNING)
    world.boot(**state.changes)
    accounts = accounts_of({"main": world})
    # As if the machine had run for long, so that whoever asks is younger.
    clock = Clock(wall=world.clock.wall, boot=lambda: 1e9 + trio.current_time())
    clients, stop = set[Client](), trio.Event()
    news = world.board.news
    reload = Reload(
        lambda: config.Config({"main": world.account}, config.Server()), accounts, lambda _: None
    )
    api = Api(
        accounts, MORNING, news=news, clients=clients, clock=clock, reload=reload, files=FILES
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        server = Server(listening, api.respond, clients=clients, clock=clock)
        lookout = Lookout(accounts, news, lambda: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(
                    daemon.serve,
                    accounts,
                    server,
                    lookout=lookout,
                    clock=clock,
                    shutdown=stop.wait,
                )
            )
            await wait_all_tasks_blocked()
            await state.prepare(world)
            # A thread is nothing that virtual time knows of, so it stands still for it.
            virtual.autojump_threshold = IDLE if line in ASKS_FOR_A_LOGIN else math.inf
            with _environment(environ, clock.wall()):
                said = await trio.to_thread.run_sync(_call, line, environ)
            nursery.cancel_scope.cancel()
    return said


@contextmanager
def _environment(environ: Mapping[str, str], now: float) -> Iterator[None]:
    """What a client has about it: variables, and the time."""
    before, clock = dict(os.environ), time.time  # noqa: TID251 - it is put back
    os.environ.update(environ)
    time.tzset()
    time.time = lambda: now  # noqa: TID251 - as above
    try:
        yield
    finally:
        time.time = clock  # noqa: TID251 - as above
        os.environ.clear()
        os.environ.update(before)
        time.tzset()


def _call(line: str, environ: Mapping[str, str]) -> Said:
    if line in OWN_PROCESS:
        return _call_process(line, environ)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    stdin = sys.stdin
    sys.stdin = io.StringIO("246810\n")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(line.split())
    finally:
        sys.stdin = stdin
    texts = []
    for stream in (out, err):
        stream.flush()
        raw = stream.buffer
        assert isinstance(raw, io.BytesIO)
        texts.append(_masked(raw.getvalue().decode(), environ))
    return Said(status, *texts)


def _call_process(line: str, environ: Mapping[str, str]) -> Said:
    """`exec` becomes the program; a watch has no end, and is interrupted after a line."""
    words = line.split()
    if words[0] == "exec":
        words[1:1] = ["--wait", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "neoctl", *words],
        cwd=ROOT,
        env={**environ, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        first = process.stdout.readline() if words[0] == "watch" else ""
        if first:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    return Said(process.returncode, _masked(first + out, environ), _masked(err, environ))


def _masked(text: str, environ: Mapping[str, str]) -> str:
    text = text.replace(environ["NEOD_SOCKET"], "/run/user/1000/neod/neod.sock")
    for found, instead in _MADE_UP.items():
        text = re.sub(found, instead, text)
    return text


def shown(same: list[str], said: Said) -> str:
    """Verbs, and what came of each of them, as the document has it."""
    lines = [f"$ neoctl {line}" for line in same]
    for mark, text in (("", said.out), ("2> ", said.err)):
        lines += [f"{mark}{one}" for one in text.splitlines()]
    lines = [one if len(one) <= WIDTH else f"{one[: WIDTH - 1]}…" for one in lines]
    if said.status:
        lines.append(f"[exit {said.status}]")
    return "".join(f"{one.rstrip()}\n" for one in lines)


INTRODUCTION = f"""\
# What each verb of `neoctl` says

Each verb in each state of neod: what goes to stdout, what to stderr (after `2>`), and the exit
status if it is not 0. It is not written by hand: `python -m tests.transcript --write` has real
verbs meet a real neod over the sandbox's broker, and a test fails when this page is stale. Verbs
that say the same are above one answer. Lines are cut after {WIDTH} columns. `otp` is given `246810`
on stdin, `exec` is told `--wait 0`, and `watch` is interrupted after its first line (130).
"""


def document() -> str:
    """The page."""
    parts = [INTRODUCTION]
    with tempfile.TemporaryDirectory() as folder:
        for name, state in STATES.items():
            told = [(line, say(name, line, Path(folder))) for line in LINES]
            verbs = [
                shown([line for line, _ in same], said)
                for said, same in groupby(told, key=itemgetter(1))
            ]
            heading, means = (f"{text[0].upper()}{text[1:]}" for text in (name, state.means))
            body = "\n".join(verbs)
            parts.append(f"## {heading}\n\n{means}.\n\n```console\n{body}```\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    logging.disable()  # what goes wrong in the scenes is meant to
    return made.main({DOCUMENT: document()}, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
