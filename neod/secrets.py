"""Where a secret comes from, and a type that does not let it slip.

A secret is read when it is needed and kept no longer than the login that needs it. This module
knows nothing of what a secret is for.
"""

import os
import shlex
import stat
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import msgspec
import trio

from neod import child, keyring_child

SIZE_MAX = 64 * 1024  # bytes; nothing that is called a secret is longer
LIMIT = 30.0  # seconds in which a program, or the keyring, has to answer
TOO_LONG = f"longer than {SIZE_MAX} bytes"


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be copied out of the process")


class Source(msgspec.Struct, frozen=True):
    """Where to get a secret: the text itself, or the name of a place that has it."""

    key: str  # the configuration's key, so that a failure can name it
    place: Literal["inline", "file", "env", "credential", "keyring", "command"]
    name: str  # a path, a variable, a credential, service/user, a program; empty for an inline one
    text: Secret | None = None  # of an inline one
    arguments: tuple[str, ...] = ()  # of a program; never shown, since a secret may stand there

    def __str__(self) -> str:
        return f"{self.key} ({self.place} {self.name})" if self.name else self.key

    def __repr__(self) -> str:
        return f"Source({self})"


class SecretUnavailable(Exception):  # noqa: N818 - the kind's name in design and status
    """A secret could not be read. Nothing was sent to anybody."""

    def __init__(self, source: Source, why: str, action: str) -> None:
        super().__init__(f"{source}: {why}")
        self.detail = str(self)
        self.action = action


async def read(source: Source, environ: Mapping[str, str], *, hide: Collection[str] = ()) -> Secret:
    """The secret, now. Raises SecretUnavailable.

    A program that is asked gets the environment given, without neod's own variables and without
    those to hide: the ones in which other secrets are.
    """
    await trio.lowlevel.checkpoint()
    if source.text is not None:
        return source.text
    match source.place:
        case "command":
            return await _from_command(source, child.environment(environ, hide))
        case "keyring":
            return await _from_keyring(source, child.environment(environ, hide))
        case "env":
            return _from_variable(source, environ)
        case "credential":
            return _from_credential(source, environ)
    path = Path(source.name)
    if found := exposed(path):
        raise SecretUnavailable(source, found.why, found.action)
    return _from_file(source, path)


def _usable(raw: bytes | bytearray) -> Secret | str:
    """The secret in what was read, or why it is none: what follows "it is".

    What cannot be right is better found here than by the broker, who counts the attempts.
    """
    if len(raw) > SIZE_MAX:
        return TOO_LONG
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return "not text in UTF-8"
    if not text:
        return "empty"
    if "\n" in text:
        return "more than one line"
    return Secret(text) if text.isprintable() else "not printable throughout"


def _from_variable(source: Source, environ: Mapping[str, str]) -> Secret:
    action = f"set {source.name} for neod, and restart it"
    if not environ.get(source.name):
        raise SecretUnavailable(source, "the variable is not set", action)
    found = _usable(environ[source.name].encode(errors="surrogatepass"))
    if isinstance(found, str):
        raise SecretUnavailable(source, f"it is {found}", action)
    return found


def _from_credential(source: Source, environ: Mapping[str, str]) -> Secret:
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        why = "neod was not started by systemd with credentials"
        raise SecretUnavailable(source, why, f"add LoadCredential={source.name}:PATH to the unit")
    return _from_file(source, Path(folder) / source.name)


def _from_file(source: Source, path: Path) -> Secret:
    try:
        # Not blocking, so that a pipe at this place does not hold up everything else.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SecretUnavailable(source, "it is no regular file", f"look at: ls -l {path}")
            with open(fd, "rb", closefd=False) as file:
                found = _usable(file.read(SIZE_MAX + 1))
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        action = f"put the secret into {path}, mode 0600"
        raise SecretUnavailable(source, why, action) from None
    if isinstance(found, str):
        action = f"put the secret, and nothing else, into {path}"
        raise SecretUnavailable(source, f"it is {found}", action)
    return found


async def _from_command(source: Source, environ: Mapping[str, str]) -> Secret:
    ended = await _run(source, [source.name, *source.arguments], environ)
    action = f"run what stands at {source.key} by hand, with </dev/null, and see"
    if ended.found == TOO_LONG:  # before its status, since it was made to end
        why = f"what it printed is {TOO_LONG}"
    elif ended.status is None:
        why = f"it did not end within {LIMIT:g} s"
        action = "see whether it waits for a person; here it has no terminal"
    elif ended.status < 0:
        why = f"it was ended by signal {-ended.status}"
    elif ended.status > 0:
        why = f"it ended with status {ended.status}"
    elif isinstance(ended.found, str):
        why = f"what it printed is {ended.found}"
    else:
        return ended.found
    raise SecretUnavailable(source, f"{why}: {ended.said}" if ended.said else why, action)


async def _from_keyring(source: Source, environ: Mapping[str, str]) -> Secret:
    service, _, user = source.name.rpartition("/")
    # -P: or else the modules beside this one would hide those of the standard library.
    child = [sys.executable, "-P", keyring_child.__file__, service, user]
    ended = await _run(source, child, environ)
    said = f": {ended.said}" if ended.said else ""
    keyring = f"{shlex.quote(sys.executable)} -m keyring"
    action = f"{keyring} set {shlex.quote(service)} {shlex.quote(user)}"
    match ended.status:
        case 0 if isinstance(ended.found, Secret):
            return ended.found
        case 0:
            why = f"it is {ended.found}"
        case keyring_child.NO_ENTRY:
            why = "the keyring has no such entry"
        case keyring_child.LOCKED:
            why, action = "the keyring is locked", "unlock it; neod asks again by itself"
        case None:
            why = f"the keyring did not answer within {LIMIT:g} s{said}"
            action = "unlock it if it is locked; neod asks again by itself"
        case keyring_child.NO_KEYRING:
            why = "there is no keyring here"
            action = "start one (GNOME Keyring, KWallet), or keep the secret elsewhere"
        case keyring_child.NOT_INSTALLED:
            why = f"Python's keyring is not installed{said}"
            action = f"{shlex.quote(sys.executable)} -m pip install keyring"
        case _:
            why = f"the keyring cannot be asked{said}"
            action = f"see what is wrong: {keyring} diagnose"
    raise SecretUnavailable(source, why, action)


class _Ended(msgspec.Struct, frozen=True):
    """What became of a program that was asked for a secret."""

    status: int | None  # as of child.Ended
    found: Secret | str  # on its stdout, as _usable says
    said: str


async def _run(source: Source, argv: Sequence[str], environ: Mapping[str, str]) -> _Ended:
    """Run a program that prints the secret. Raises SecretUnavailable."""
    try:
        ended = await child.run(argv, environ, limit=LIMIT, size=SIZE_MAX)
    except OSError as error:
        why = f"it cannot be started: {error.strerror}"
        action = f"give the path of a program; neod's PATH is {environ.get('PATH', os.defpath)}"
        raise SecretUnavailable(source, why, action) from None
    return _Ended(ended.status, _usable(ended.out), ended.said)


class Exposed(msgspec.Struct, frozen=True):
    """Why a file that holds a secret may be read by others, and the command that mends it."""

    why: str
    action: str


def exposed(path: Path) -> Exposed | None:
    """How others may read the file; None if they may not, or if there is no such file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    mode, me = stat.S_IMODE(found.st_mode), os.getuid()
    if found.st_uid not in (me, 0):
        why = f"{path} belongs to uid {found.st_uid}, not to you (uid {me})"
        return Exposed(why, f"chown {me} {path}")
    if mode & 0o077:
        return Exposed(f"{path} may be read by others (mode {mode:04o})", f"chmod 600 {path}")
    return None
