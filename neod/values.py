"""The values of the configuration: each function takes what TOML gives, and raises Wrong.

What it raises says what was expected, and nothing of what was found: that may be a secret.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from neod.account.edge import DAY, Edge, daily
from neod.account.hours import parse_day, parse_time
from neod.kotak.endpoints import is_loopback
from neod.secrets import Secret, Source
from neod.table import Wrong

T = TypeVar("T")
_PAN = re.compile(r"[A-Z]{5}[0-9]{4}[A-Z]")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def text(value: object) -> str:
    """One that is not empty."""
    if not isinstance(value, str) or not value:
        raise Wrong("expected a string")
    return value


def program(value: object) -> tuple[str, ...]:
    """A program with its arguments."""
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise Wrong('expected a program as an array of strings, such as ["/usr/bin/logger", "-t"]')
    if not value[0] or any("\0" in word for word in value):
        raise Wrong("expected the program's path first, and no NUL in it")
    path: str = os.path.expanduser(value[0])  # noqa: PTH111 - it never raises
    return path, *value[1:]


def source(key: str, folder: Path, value: object) -> Source:
    """Where the secret of a key is; paths that are not absolute are taken from `folder`."""
    expected = Wrong(
        "expected a string, or a table with one of credential, keyring, command, file, env"
    )
    if isinstance(value, str):
        if not value or not value.isprintable():
            raise Wrong("expected a string that is not empty, of printable characters")
        return Source(key=key, place="inline", name="", text=Secret(value))
    if not isinstance(value, dict) or len(value) != 1:
        raise expected
    [(place, name)] = value.items()
    if place == "command":
        return _command(key, folder, name)
    if place not in ("credential", "keyring", "file", "env"):
        raise expected
    if not isinstance(name, str) or not name or "\0" in name:
        raise expected
    if place == "credential" and "/" in name:
        raise Wrong("expected the name of a credential, which has no slash")
    if place == "keyring" and not all(name.rpartition("/")):
        raise Wrong('expected an entry of the keyring as "service/username"')
    if place == "file":
        name = os.fspath(folder / os.path.expanduser(name))  # noqa: PTH111 - it never raises
    return Source(key=key, place=place, name=name)


def _command(key: str, folder: Path, value: object) -> Source:
    found = value if isinstance(value, list) else []
    words = [word for word in found if isinstance(word, str) and "\0" not in word]
    if not words or len(words) != len(found) or not words[0]:
        raise Wrong(
            'expected the command as an array of strings, such as ["pass", "neod/mpin"], '
            "since no shell reads it"
        )
    name, *arguments = words
    if "/" in name:
        name = os.fspath(folder / os.path.expanduser(name))  # noqa: PTH111 - it never raises
    return Source(key=key, place="command", name=name, arguments=tuple(arguments))


def mobile(value: object) -> str | None:
    """A number with its country code, which the SDK puts before ten digits (SDK 1.2.0)."""
    digits = re.sub(r"[ -]", "", value) if isinstance(value, str) else ""
    if re.fullmatch(r"[0-9]{10}", digits):
        return f"+91{digits}"
    if re.fullmatch(r"\+[0-9]{8,15}", digits):
        return digits
    raise Wrong('expected a string of ten digits, or one such as "+919999996708"')


def pan(value: object) -> str | None:
    if not isinstance(value, str) or not _PAN.fullmatch(value.upper()):
        raise Wrong("expected five letters, four digits and a letter")
    return value.upper()


def duration(value: object) -> float:
    """In seconds."""
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < sys.maxsize else None
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        seconds = float(found[1]) * _UNITS[found[2]]
    if seconds is None or not 0 <= seconds < float("inf"):
        raise Wrong('expected seconds, or a duration such as "90s", "15min" or "2h"')
    return seconds


def patience(value: object) -> float:
    """In seconds, some at least."""
    seconds = duration(value)
    if seconds == 0:
        raise Wrong("expected more than no time at all")
    return seconds


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Wrong("expected a whole number of at least 1")
    return value


def edge(value: object) -> Edge | Literal["auto", "none"]:
    if value == "auto":
        return "auto"
    if value == "none":
        return "none"
    try:
        return daily(of_text(parse_time)(value))
    except Wrong:
        raise Wrong('expected "auto", "none" or a time of day in India such as "00:00"') from None


def of_text(parse: Callable[[str], T]) -> Callable[[object], T]:
    """What parses a text, or raises ValueError with what was expected, as what parses a value."""

    def read(value: object) -> T:
        try:
            return parse(value if isinstance(value, str) else "")
        except ValueError as expected:
            raise Wrong(str(expected)) from None

    return read


def day(value: object) -> date:
    if type(value) is date:  # TOML has dates of its own, and datetime is one of them in Python
        return value
    return of_text(parse_day)(value)


def lead(value: object) -> float:
    """In seconds, less than a day."""
    seconds = duration(value)
    if seconds >= DAY:
        raise Wrong("expected less than 24 h")
    return seconds


def url(value: object) -> str:
    """One to send credentials to, with a slash at its end."""
    expected = Wrong("expected a URL such as https://host/, or http:// to loopback")
    parts = _split(value, expected)
    given = text(value)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise expected
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(given)):
        raise expected
    return given if given.endswith("/") else f"{given}/"


def _split(value: object, expected: Wrong) -> SplitResult:
    """The parts of a URL with a host; raises what was expected where it is none."""
    if not isinstance(value, str):
        raise expected
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise expected from None
    if not parts.hostname or not value.isascii() or not value.isprintable() or " " in value:
        raise expected
    return parts


def proxy(value: object) -> Secret | None:
    expected = Wrong("expected a URL such as http://proxy:3128")
    parts = _split(value, expected)
    if parts.scheme not in ("http", "https"):
        raise expected
    return Secret(text(value))


def address(value: object) -> str | None:
    try:
        return str(ipaddress.ip_address(text(value)))
    except (ValueError, Wrong):
        raise Wrong("expected an IP address of this machine") from None
