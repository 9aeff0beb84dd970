"""`neod setup`: asks, and writes the configuration. Sends nothing and runs no command it is told.

All answers are there before the first file is written, and a failure puts everything back. What is
asked is in interview.py.
"""

import getpass
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import trio

from neod import config, secrets
from neod.errors import Unusable
from neod.interview import NAME, Ask, Dialogue, interview, replace_it
from neod.paths import make_private, tilde
from neod.process import harden
from neod.secrets import Secret, SecretUnavailable, Source

T = TypeVar("T")
HEAD = "# Written by `neod setup`; README tells what else can stand here."
COMMENTS = {
    "flow": '"totp", or "password"',
    "environment": '"prod", or "uat"',
    "mobile": "who logs in",
    "pan": "who logs in; or mobile, or user_id",
    "user_id": "who logs in; or mobile, or pan",
    "ucc": "the client code",
    "password": "a secret: { file | keyring | env | credential = … } or { command = […] }",
    "consumer_key": "from Kotak's developer portal",
    "access_token": "a secret, as Kotak shows it",
    "totp_secret": "a secret: what the codes are made of",
    "second_factor": '"mpin" for a trade session, "none" for a view one',
}


def run(path: Path, environ: Mapping[str, str], option: str = "") -> None:
    """Ask, write, and say what to type next. Raises Unusable, with everything as it was.

    `option` is what the commands to type next need to find the file.
    """
    harden(environ)
    _writable(path)
    home = environ.get("HOME", "")
    shown = tilde(os.fspath(path.absolute()), home)
    if os.path.lexists(path) and not _play(replace_it(shown)):
        raise Unusable(f"{path} is as it was")
    keyring = importlib.util.find_spec("keyring") is not None
    plan = _play(interview(path.absolute().parent, home, keyring=keyring))
    for name, secret in plan.entries.items():
        _store(name, secret, environ)
    try:
        kept = put_in_place(path, render(plan.table), plan.files)
    except OSError as error:
        why = error.strerror or str(error)
        raise Unusable(f"{error.filename or path}: {why}; nothing was changed") from None
    written = [tilde(os.fspath(file), home) for file in plan.files]
    sys.stdout.write(
        farewell(
            [*written, shown],
            [tilde(os.fspath(file), home) for file in kept],
            option,
        )
    )


def _writable(path: Path) -> None:
    """Better before the questions than after them. Raises Unusable."""
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise Unusable(f"{folder}: it is no folder that can be written to")
    if path.is_dir():
        raise Unusable(f"{path}: it is a folder")
    if not os.fspath(path.absolute()).isprintable():
        raise Unusable("the configuration's path has characters that cannot be printed")
    if path.name.replace("-", "_") in config.SECRETS:
        raise Unusable(f"{path}: this is where a secret goes; choose another name")


# What is written.


def render(table: Mapping[str, object]) -> str:
    """The file."""
    lines = [HEAD, "", f"[account.{NAME}]"]
    for key, value in table.items():
        if key in COMMENTS:
            lines.append(f"# {COMMENTS[key]}")
        lines.append(f"{key} = {_toml(value)}")
    lines += ["", f"# [account.{NAME}.renewal]", '# margin = "15min"', '# edge = "auto"']
    return "".join(f"{line}\n" for line in lines)


def _toml(value: object) -> str:
    """Printable strings, and tables and arrays of them."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)


def farewell(written: Iterable[str], kept: Iterable[str], option: str = "") -> str:
    """What was done, and what to type next."""
    rest = f" {option}" if option else ""
    lines = [
        "",
        *(f"kept     {name}" for name in kept),
        *(f"wrote    {name}" for name in written),
        "",
        "Next:",
        f"  neod check{rest}",
        f"  neod login{rest}",
        f"  neod install{rest}",
        "",
        "Without systemd, or to see how it does, in place of the last one:",
        f"  neod run{rest}",
    ]
    return "".join(f"{line}\n" for line in lines)


def put_in_place(path: Path, text: str, files: Mapping[Path, Secret]) -> list[Path]:
    """Write the secrets, then the configuration if it loads; returns what was kept of old files.

    Raises OSError and ConfigError. All is as it was unless this returns.
    """
    kept: list[Path] = []
    with ExitStack() as undo:
        make_private(path.absolute().parent)
        for file, secret in files.items():
            kept += _replace(undo, file, f"{secret.reveal()}\n")
        kept += _replace(undo, path, text, config.load, keep_twin=True)
        undo.pop_all()
    return kept


def _replace(
    undo: ExitStack,
    path: Path,
    text: str,
    test: Callable[[Path], object] = bool,
    *,
    keep_twin: bool = False,
) -> list[Path]:
    """Put a file in its place, if it passes; returns the name under which another was kept.

    One that says the same is kept only with `keep_twin`: a secret needs no second copy.
    """
    path = Path(os.path.realpath(path))  # so that a link stays one
    new = _beside(undo, path, text.encode())
    test(new)
    kept: list[Path] = []
    if not path.exists():
        undo.callback(path.unlink, missing_ok=True)
    elif (raw := path.read_bytes()) != text.encode() or keep_twin:
        old = path.with_name(f"{path.name}.bak")
        _beside(undo, old, raw).replace(old)
        undo.callback(old.replace, path)
        kept.append(old)
    new.replace(path)
    return kept


def _beside(undo: ExitStack, path: Path, raw: bytes) -> Path:
    """A file beside the one to be replaced, for its owner only from the first instant."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    undo.callback(new.unlink, missing_ok=True)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(raw)
        file.flush()
        os.fsync(descriptor)
    return new


def _store(name: str, secret: Secret, environ: Mapping[str, str]) -> None:
    """Put a secret into the keyring, in a process of its own, and see it there.

    Raises Unusable.
    """
    service, _, user = name.rpartition("/")
    # -P: what lies in the folder where this is run is no part of Python.
    child = [sys.executable, "-P", "-X", "utf8", "-m", "keyring", "set", service, user]
    try:
        ended = subprocess.run(  # noqa: S603 - words of our own
            child,
            input=secret.reveal().encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,
            timeout=secrets.LIMIT,
            check=False,
        )
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        why = said.replace(secret.reveal(), "***") or "it failed" if ended.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"it did not answer within {secrets.LIMIT:g} s; unlock it if it is locked"
    if not why:
        source = Source(key=f"account.{NAME}.{user}", place="keyring", name=name)
        try:
            if trio.run(secrets.read, source, environ) != secret:
                why = "it holds something else than what was put there"
        except SecretUnavailable as error:
            why = f"{error.detail}; {error.action}"
    if why:
        raise Unusable(f"the keyring does not take {name}: {why}; no file was changed")


# The terminal, or the pipe.


def _play(dialogue: Dialogue[T]) -> T:
    """Put the questions to whoever is at stdin. Raises Unusable where the answers end."""
    try:
        ask = next(dialogue)
        while True:
            ask = dialogue.send(_answer(ask))
    except StopIteration as end:
        answers: T = end.value
        return answers
    except EOFError:
        why = "the answers end before the questions do; nothing was changed"
        raise Unusable(why) from None
    except UnicodeDecodeError:
        raise Unusable("an answer is not text in UTF-8; nothing was changed") from None


def _answer(ask: Ask) -> str:
    if ask.before:
        sys.stderr.write(f"{ask.before}\n")
    if ask.hidden and sys.stdin.isatty():
        return getpass.getpass(ask.prompt, sys.stderr)
    sys.stderr.write(ask.prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        raise EOFError
    if not sys.stdin.isatty():
        sys.stderr.write("\n")  # which no terminal has echoed
    return line.rstrip("\r\n")
