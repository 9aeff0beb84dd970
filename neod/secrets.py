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
        if not text:
            raise SecretUnavailable(
                source, "the variable is not set", f"set {source.name} for neod, and restart it"
            )
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
    if why := exposed(path):
        raise SecretUnavailable(source, why, f"chmod 600 {path}")
    return _read_file(source, path)


def _read_file(source: Source, path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
        text = raw.decode().rstrip("\r\n")
    except OSError as error:
        why, action = error.strerror or str(error), f"put the secret into {path}, mode 0600"
        raise SecretUnavailable(source, why, action) from None
    except UnicodeDecodeError:
        raise SecretUnavailable(source, "not text in UTF-8", f"look into {path}") from None
    if not text or len(raw) > SIZE_MAX:
        why = "it is empty" if not text else f"it is longer than {SIZE_MAX} bytes"
        raise SecretUnavailable(source, why, f"put the secret, and no more, into {path}")
    return Secret(text)


def exposed(path: Path) -> str:
    """Why a file that holds a secret may be read by others; empty if it may not, or is absent."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if found.st_uid not in (os.getuid(), 0):
        return f"{path} belongs to uid {found.st_uid}, not to you (uid {os.getuid()})"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"{path} may be read by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
