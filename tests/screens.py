"""How commands look on a terminal, for the documents: runs them in a pty and shows what is there.

A document has `<!-- screen: NAME -->` where the screen of that name in SCREENS belongs; the fenced
block that follows is made here. A place whose name is not in the table is left alone.

    python -m tests.screens           # says which documents are stale
    python -m tests.screens --write   # makes them anew
"""

import errno
import os
import re
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from neod.sandbox.broker import Credentials
from tests import made
from tests.fakes.process import Process, Sandbox

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "docs" / "operations.md",)
HOME = "/home/asha"  # what the scratch folder is called in a document
WAIT = 20.0  # seconds in which a prompt, or the end, has to come
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
_PLACE = re.compile(
    r"^<!-- screen: ([a-z-]+) -->\n(?:\n?```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL
)
# stdin becomes the terminal that Ctrl-C and /dev/tty belong to, as in a shell.
_ON_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job inherits it as ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

Answers = tuple[tuple[str, str], ...]  # the end of a prompt, and what is typed at it
Scene = Callable[[Path], AbstractContextManager[Mapping[str, str]]]


@contextmanager
def nothing(_home: Path) -> Iterator[Mapping[str, str]]:
    """An empty home."""
    yield {}


class Screen(msgspec.Struct, frozen=True):
    """A command, and what is typed at it.

    `scene` makes the home what it has to be, keeps up what has to run meanwhile, and gives what
    is to be masked: text -> what a document says in its place. `patterns` is the same for what
    is never twice the same: a regular expression -> its replacement.
    """

    words: tuple[str, ...]  # after the program's name
    answers: Answers = ()
    scene: Scene = nothing
    patterns: Mapping[str, str] = {}
    program: str = "neod"  # or "neoctl"


class Seen(msgspec.Struct, frozen=True):
    """What came of a command on a terminal."""

    status: int
    text: str


def on_a_terminal(
    arguments: tuple[str, ...], answers: Answers, environ: Mapping[str, str], columns: int = 80
) -> Seen:
    """Run `python ARGUMENTS` in a pty, and type each answer once its prompt is there.

    "^C" as an answer is that key. Raises AssertionError where a prompt, or the end, does not come.
    """
    master, slave = os.openpty()
    try:
        termios.tcsetwinsize(slave, (24, columns))
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(environ),
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(slave)
        text = ""
        with process:
            try:
                for prompt, answer in answers:
                    shown = _read(master, prompt)
                    text += shown
                    assert shown.endswith(prompt), f"no {prompt!r} in:\n{text}"
                    os.write(master, b"\x03" if answer == "^C" else f"{answer}\n".encode())
                text += _read(master, None)
                status = process.wait(WAIT)
            finally:
                process.kill()
        return Seen(status, text.replace("\r\n", "\n"))
    finally:
        os.close(master)


def _read(master: int, prompt: str | None) -> str:
    """What the terminal shows up to the prompt, or to the end."""
    raw = b""
    until = time.monotonic() + WAIT
    while prompt is None or not raw.endswith(prompt.encode()):
        ready, _, _ = select.select([master], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"waited in vain after:\n{raw.decode(errors='replace')}"
        try:
            chunk = os.read(master, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that nobody has the other side
                raise
            break
        if not chunk:
            break
        raw += chunk
    return raw.decode()


def environment(home: Path) -> dict[str, str]:
    """A user with nothing but a home, whose terminal can show UTF-8."""
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return {
        "HOME": os.fspath(home),
        "XDG_RUNTIME_DIR": os.fspath(home / "run"),
        "PATH": path,
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }


def shown(screen: Screen) -> str:
    """The screen as a document has it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        with screen.scene(home) as masks:
            arguments = ("-m", screen.program, *screen.words)
            text = on_a_terminal(arguments, screen.answers, environment(home)).text
        for found, instead in {**masks, os.fspath(home): HOME}.items():
            text = text.replace(found, instead)
    for pattern, instead in screen.patterns.items():
        text = re.sub(pattern, instead, text)
    lines = [f"$ {' '.join((screen.program, *screen.words))}", *text.strip("\n").split("\n")]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def names(document: str) -> list[str]:
    """The screens that a document has a place for."""
    return [found[1] for found in _PLACE.finditer(document)]


def filled(document: str, screens: Mapping[str, str]) -> str:
    """The document with the screens in their places; what is in other places stays."""

    def fill(place: re.Match[str]) -> str:
        if place[1] not in screens:
            return place[0]
        return f"<!-- screen: {place[1]} -->\n\n```text\n{screens[place[1]]}```\n"

    return _PLACE.sub(fill, document)


def anew(document: str) -> str:
    """The document with each screen of the table as it looks now."""
    return filled(
        document, {name: shown(SCREENS[name]) for name in names(document) if name in SCREENS}
    )


# The table.

FIRST: Answers = (
    ("[totp]: ", ""),
    ("[prod]: ", ""),
    ("Mobile number, as registered: ", "99999 9670"),
    ("Mobile number, as registered: ", "99999 96708"),
    ("Client code (UCC): ", "AB123"),
    ("[file]: ", ""),
    ("Access token: ", "an-access-token"),
    ("[file]: ", ""),
    ("TOTP secret: ", TOTP_SECRET),
    ("[mpin]: ", ""),
    ("[file]: ", "command"),
    ("Command that prints the MPIN: ", "pass show neod/mpin"),
)
CONFIG = """\
[account.main]
flow = "totp"
mobile = "9999996708"
ucc = "AB123"
access_token = { file = "access-token" }
totp_secret = { file = "totp-secret" }
mpin = { command = ["pass", "show", "neod/mpin"] }
"""


def configured(home: Path, text: str = CONFIG) -> Path:
    """The configuration that FIRST makes, and what it needs; returns its folder."""
    folder = home / ".config" / "neod"
    folder.mkdir(parents=True)
    for name, content in (
        ("config.toml", text),
        ("access-token", "an-access-token\n"),
        ("totp-secret", f"{TOTP_SECRET}\n"),
    ):
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    program = home / "bin" / "pass"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 123456\n")
    program.chmod(0o700)
    return folder


@contextmanager
def well(home: Path) -> Iterator[Mapping[str, str]]:
    configured(home)
    yield {}


@contextmanager
def a_file_is_missing(home: Path) -> Iterator[Mapping[str, str]]:
    (configured(home) / "access-token").unlink()
    yield {}


@contextmanager
def a_contradiction(home: Path) -> Iterator[Mapping[str, str]]:
    configured(home, CONFIG.replace("ucc", "uc") + 'second_factor = "otp"\n')
    yield {}


@contextmanager
def beside_a_sandbox(home: Path) -> Iterator[Mapping[str, str]]:
    with Sandbox() as sandbox:
        who = Credentials()
        endpoints = "".join(f'{name} = "{sandbox.url}"\n' for name in ("session", "api", "login"))
        text = CONFIG.replace("AB123", who.ucc).replace("9999996708", who.mobile)
        folder = configured(home, f"{text}\n[account.main.endpoints]\n{endpoints}")
        (folder / "access-token").write_text(who.access_token)
        (folder / "totp-secret").write_text(who.totp_secret)
        (home / "bin" / "pass").write_text(f"#!/bin/sh\necho {who.mpin}\n")
        yield {sandbox.url: "http://127.0.0.1:8080/"}


@contextmanager
def beside_a_neod(home: Path) -> Iterator[Mapping[str, str]]:
    """One that runs, and has logged in."""
    with beside_a_sandbox(home) as masks, running(home):
        yield {**masks, " (sandbox)": ""}


@contextmanager
def refused(home: Path) -> Iterator[Mapping[str, str]]:
    """One that runs with an MPIN that was changed in the app."""
    with beside_a_sandbox(home) as masks:
        (home / "bin" / "pass").write_text("#!/bin/sh\necho 654321\n")
        with running(home):
            yield {**masks, " (sandbox)": ""}


@contextmanager
def running(home: Path) -> Iterator[None]:
    """`neod run`, whose first login has ended."""
    environ = environment(home)
    with Process("run", environ=environ) as neod:
        until = time.monotonic() + WAIT
        ask = [sys.executable, "-m", "neoctl", "token", "--wait", "10"]
        while subprocess.run(ask, env=environ, capture_output=True, check=False).returncode == 3:
            assert neod.popen.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield


MIDNIGHT = {  # as it looks at 09:15, of a session that was got just after midnight
    r"ok, for .*": "ok, for 9 h 14 min",
    r"expires   .*": "expires   00:00:00 IST (in 14 h 45 min), here 18:30:00 UTC",
    r"renews at .*": "renews at 00:00:02 IST, just after the day's edge",
    r"next      .*": "next      00:00:02 IST (in 14 h 45 min)",
    r"1 within 10 minutes": "0 within 10 minutes",
}

SCREENS: dict[str, Screen] = {
    "setup": Screen(("setup",), answers=FIRST),
    "setup-again": Screen(("setup",), answers=(("leave it: ", "no"),), scene=well),
    "check": Screen(("check",), scene=well),
    "check-missing": Screen(("check",), scene=a_file_is_missing),
    "check-wrong": Screen(("check",), scene=a_contradiction),
    "login": Screen(
        ("login",),
        scene=beside_a_sandbox,
        patterns={r"20\d\d-\d\d-\d\dT": "2026-11-25T"},  # sessions end at midnight
    ),
    "status": Screen(("status",), scene=beside_a_neod, program="neoctl", patterns=MIDNIGHT),
    "line": Screen(
        ("status", "--line"),
        scene=beside_a_neod,
        program="neoctl",
        patterns={r"\d+h\d\dm": "14h45m"},
    ),
    "line-refused": Screen(("status", "--line"), scene=refused, program="neoctl"),
}


def main(arguments: list[str]) -> int:
    return made.main({path: anew(path.read_text()) for path in DOCUMENTS}, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
