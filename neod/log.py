"""Log lines: one event a line, as key=value or as JSON, on stderr, with priorities for journald.

Whoever logs passes an event and fields, never a secret: secrets have a type that shows as ***.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from neod.clock import rfc3339

FIELDS = "neod_fields"
MINUTE = 60.0  # seconds
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}
_logger = logging.getLogger("neod")
# Of the login that the task is at, for all lines that come of it.
_login: ContextVar[str | None] = ContextVar("neod_login", default=None)

_usual = {"level": logging.INFO}  # where nobody says another one

Level = Literal["info", "debug"]


class _Lines(logging.Formatter):
    def __init__(self, *, as_json: bool, journal: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = self._text(record)
        if not self._journal:
            return text
        # Each line is an entry of its own there, those of a traceback too.
        return "\n".join(with_priority(line, record.levelno) for line in text.splitlines())

    def _text(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname.lower(), "event": record.getMessage()}
        if self._as_json or not self._journal:  # which stamps each line itself
            fields = {"at": rfc3339(record.created), **fields}
        fields |= {k: str(v) for k, v in getattr(record, FIELDS, {}).items() if v is not None}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(fields, ensure_ascii=False)
        at = f"{fields.pop('at')} " if "at" in fields else ""
        head = f"{at}{fields.pop('level')} {fields.pop('event')}"
        traceback = fields.pop("traceback", "")
        line = " ".join([head, *(f"{k}={_quoted(v)}" for k, v in fields.items())])
        return f"{line}\n{traceback}" if traceback else line


def _quoted(text: str) -> str:
    plain = text and all(c.isprintable() and c not in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def set_up(environ: Mapping[str, str], usual: int = logging.INFO) -> str:
    """Log as $NEOD_LOG says: `info` or `debug`, `,json` after it. Returns what is wrong with it."""
    level, _, form = environ.get("NEOD_LOG", "").partition(",")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=form == "json", journal=to_journal(environ)))
    _logger.handlers = [handler]
    _logger.propagate = False
    _usual["level"] = usual
    _logger.setLevel(_LEVELS.get(level, usual))
    if level not in ("", "info", "debug") or form not in ("", "json"):
        return 'NEOD_LOG takes "info" or "debug", with ",json" after it or without'
    return ""


def at_level(level: Level | None, environ: Mapping[str, str]) -> None:
    """Log at this level from now on, at the usual one if it is None, unless $NEOD_LOG names one."""
    if not environ.get("NEOD_LOG", "").partition(",")[0]:
        _logger.setLevel(_LEVELS[level] if level else _usual["level"])


@contextmanager
def login(number: str) -> Iterator[None]:
    """Have all that is logged in here say of which login it is."""
    before = _login.set(number)
    try:
        yield
    finally:
        _login.reset(before)


def to_journal(environ: Mapping[str, str]) -> bool:
    """True if stderr goes to journald. A terminal that a service started has the variable too."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def with_priority(line: str, level: int) -> str:
    """A line as journald takes it: sd-daemon(3)."""
    return f"<{_PRIORITY.get(level, 6)}>{line}"


class Seldom:
    """For a line that others can cause as often as they like: it is logged once a minute."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._left_out = 0

    def left_out(self, now: float) -> int | None:
        """How many there were since the last line; None where this one is to be left out too.

        `now` is in seconds, by any clock that is not set.
        """
        if now - self._last < MINUTE:
            self._left_out += 1
            return None
        left_out, self._left_out, self._last = self._left_out, 0, now
        return left_out


def event(name: str, /, **fields: object) -> None:
    """One line."""
    _logger.info(name, extra={FIELDS: _tied(fields)})


def debug(name: str, /, **fields: object) -> None:
    _logger.debug(name, extra={FIELDS: _tied(fields)})


def warning(name: str, /, **fields: object) -> None:
    _logger.warning(name, extra={FIELDS: _tied(fields)})


def error(name: str, /, *, exc_info: BaseException | None = None, **fields: object) -> None:
    _logger.error(name, exc_info=exc_info, extra={FIELDS: _tied(fields)})


def _tied(fields: dict[str, object]) -> dict[str, object]:
    number = _login.get()
    return fields if number is None else {**fields, "login": number}
