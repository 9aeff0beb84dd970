"""Where a secret comes from, and a type that does not let it slip.

A secret is read when it is needed and kept no longer than the login that needs it. This module
knows nothing of what a secret is for.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

SIZE_MAX = 64 * 1024  # bytes; nothing that is called a secret is longer


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
    place: Literal["inline", "file", "env", "credential"]
    name: str  # a path, a variable, a credential; empty for an inline one
    text: Secret | None = None  # of an inline one

    def __str__(self) -> str:
        return f"{self.key} ({self.place} {self.name})" if self.name else self.key


class SecretUnavailable(Exception):  # noqa: N818 - the kind's name in design and status
    """A secret could not be read. Nothing was sent to anybody."""

    def __init__(self, source: Source, why: str, action: str) -> None:
        super().__init__(f"{source}: {why}")
        self.detail = str(self)
        self.action = action


def read(source: Source, environ: Mapping[str, str]) -> Secret:
    """The secret, now. Raises SecretUnavailable."""
    if source.text is not None:
        return source.text
    if source.place == "env":
        text = environ.get(source.name, "")
        if not text or not text.isprintable():  # which what is no UTF-8 is not
            why = "the variable holds no text in UTF-8" if text else "the variable is not set"
            raise SecretUnavailable(source, why, f"set {source.name} for neod, and restart it")
        return Secret(text)
    if source.place == "credential":
        folder = environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise SecretUnavailable(
                source,
                "neod was not started by systemd with credentials",
                f"add LoadCredential={source.name}:PATH to the unit",
            )
        return _read_file(source, Path(folder) / source.name)
    path = Path(source.name)
    if found := exposed(path):
        raise SecretUnavailable(source, found.why, found.action)
    return _read_file(source, path)


def _read_file(source: Source, path: Path) -> Secret:
    try:
        # Not blocking, so that a pipe at this place does not hold up everything else.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SecretUnavailable(source, "it is no regular file", f"look at: ls -l {path}")
            raw = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        action = f"put the secret into {path}, mode 0600"
        raise SecretUnavailable(source, why, action) from None
    if len(raw) > SIZE_MAX:
        raise SecretUnavailable(
            source,
            f"it is longer than {SIZE_MAX} bytes",
            f"put no more than the secret into {path}",
        )
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretUnavailable(source, "not text in UTF-8", f"look into {path}") from None
    if not text:
        raise SecretUnavailable(source, "it is empty", f"put the secret into {path}")
    return Secret(text)


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
