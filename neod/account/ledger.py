"""Attempts, outcomes, generations and the edge of one account, on disk.

One JSON object a line, so that a person can read it. A line is on the disk, synced, before
`append` returns; an attempt is appended before its request goes out, so no crash and no restart
can make neod forget that it tried. Knows nothing of what the lines are good for: policy does.

A file that cannot be read is set aside, and its account starts with what is safe to believe:
that its secrets had just been refused.
"""

import errno
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, get_args

import msgspec
import trio

from neod.account.history import (
    ANY_SECRETS,
    Attempt,
    Carried,
    History,
    Line,
    Suspect,
    Unblocked,
    advance,
)
from neod.clock import Clock, rfc3339
from neod.paths import make_private

VERSION = 1
LINES_MAX = 2000  # then the oldest go, and a `carried` line stands for them
LINES_KEPT = 1000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_GENERATION = re.compile(rb'"generation":([0-9]{1,15})\b')
EVENTS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Line))


class Ledger(Protocol):
    """What a keeper needs of a ledger."""

    @property
    def history(self) -> History:
        """What the lines amount to."""

    @property
    def lines(self) -> Sequence[Line]:
        """The lines that are kept, oldest first."""

    async def append(self, line: Line) -> None:
        """Add a line; it is on the disk when this returns.

        Raises OSError where it cannot be written. An attempt, or an unblock, is then not added,
        for nothing must follow from it; anything else counts all the same, and is written later.
        """

    async def catch_up(self) -> None:
        """Write what could not be written by now. Raises OSError where it still cannot."""

    async def fingerprint(self, texts: list[str]) -> str:
        """A value that tells whether secrets changed, and that is of no use to guess them by."""


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    ledger: int  # VERSION
    account: str
    salt: str


class FileLedger:
    """A ledger in a file. The folder's lock is the caller's business.

    One that is not `begun` gets its file with its first line.
    """

    def __init__(
        self, path: Path, header: Header, lines: list[Line], clock: Clock, *, begun: bool = True
    ) -> None:
        self._path = path
        self._header = header
        self._lines = lines
        self._clock = clock
        self._begun = begun
        self._written = len(lines)  # how many of the lines are on the disk
        self._writing = trio.Lock()
        self._history = _fold(lines)

    @property
    def history(self) -> History:
        return self._history

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    async def append(self, line: Line) -> None:
        _encode(line)  # what cannot be written must not be owed for ever
        async with self._writing:
            # Whoever asked for it may go, and must not leave behind what counts and is not written.
            with trio.CancelScope(shield=True):
                await self._write(line)

    async def catch_up(self) -> None:
        async with self._writing:
            if owed := self._lines[self._written :]:
                with trio.CancelScope(shield=True):
                    await self._put(owed)
                    self._written = len(self._lines)

    async def _write(self, line: Line) -> None:
        ahead = isinstance(line, Attempt | Unblocked)  # it allows what must not be done without
        if not ahead:
            self._add(line)
        await self._put([*self._lines[self._written :], *([line] if ahead else [])])
        if ahead:
            self._add(line)
        self._written = len(self._lines)
        if len(self._lines) > LINES_MAX:
            # The line is safe whatever comes of this; the next one tries again.
            with suppress(OSError):
                await self._shorten()

    async def _put(self, owed: list[Line]) -> None:
        # Never abandoned, though a disk that stands still then holds up the stop, which
        # systemd cuts short: a write that ends after the next one would undo it.
        if self._begun:
            await trio.to_thread.run_sync(_add, self._path, b"".join(map(_encode, owed)))
        else:
            await trio.to_thread.run_sync(_replace, self._path, self._header, owed)
            self._begun = True

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        self._history = advance(self._history, line)

    async def fingerprint(self, texts: list[str]) -> str:
        # All secrets together: a MPIN alone has a million values, and no salt hides those.
        together = msgspec.json.encode(texts)
        return await trio.to_thread.run_sync(_scrypt, together, bytes.fromhex(self._header.salt))

    async def _shorten(self) -> None:
        gone, kept = self._lines[:-LINES_KEPT], self._lines[-LINES_KEPT:]
        now = self._clock.wall()
        lines = [Carried(at=now, time=rfc3339(now), history=_fold(gone)), *kept]
        await trio.to_thread.run_sync(_replace, self._path, self._header, lines)
        self._lines, self._written = lines, len(lines)


def _scrypt(text: bytes, salt: bytes) -> str:
    return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1, dklen=16).hex()


def open_ledger(path: Path, account: str, clock: Clock) -> tuple[FileLedger, str]:
    """Open an account's ledger, or begin one. Blocks for the disk.

    The second value says what was wrong with the file, empty if nothing was. Raises OSError.
    """
    make_private(path.parent)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return _begin_if_there_is_room(path, _new_header(account), clock)
    whole, _, torn = raw.rpartition(b"\n")
    try:
        header, lines = _decode(whole, account)
    except ValueError as error:
        generation = max(map(int, _GENERATION.findall(raw)), default=0)
        aside = _keep_aside(path)
        # With the salt kept, a session in the store is still seen to be of the same secrets.
        header = _header(whole, account) or _new_header(account)
        return _begin(path, header, [_as_if_refused(clock, generation)], clock), (
            f"{path} is damaged ({error}); it is kept as {aside.name}, "
            "and counts as if the credentials had just been refused"
        )
    if torn:
        # Power went while a line was written. It was not synced, so nothing was sent for it.
        os.truncate(path, len(raw) - len(torn))
    return FileLedger(path, header, lines, clock), ""


def _keep_aside(path: Path) -> Path:
    """Give the file a second name that is free.

    Linked, not renamed: there must be no instant without a ledger, which a start that follows
    would take for a clean slate.
    """
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        try:
            os.link(path, aside)
        except FileExistsError:
            if not aside.samefile(path):  # else an earlier start came no further
                continue
        return aside
    raise AssertionError  # there is always a number more


def _new_header(account: str) -> Header:
    return Header(ledger=VERSION, account=account, salt=secrets.token_hex(16))


def _header(raw: bytes, account: str) -> Header | None:
    """The header in a file whose lines may be damaged; None if it is damaged itself."""
    try:
        header, _ = _decode(raw.partition(b"\n")[0], account)
    except ValueError:
        return None
    return header


def _begin(path: Path, header: Header, lines: list[Line], clock: Clock) -> FileLedger:
    _replace(path, header, lines)
    return FileLedger(path, header, lines, clock)


def _begin_if_there_is_room(path: Path, header: Header, clock: Clock) -> tuple[FileLedger, str]:
    """A new ledger. On a disk that is full it begins later: other accounts have theirs."""
    try:
        return _begin(path, header, [], clock), ""
    except OSError as error:
        if error.errno not in _FULL:
            raise
        ledger = FileLedger(path, header, [], clock, begun=False)
        return ledger, f"{path} cannot be begun yet: {error.strerror}"


def _as_if_refused(clock: Clock, generation: int) -> Line:
    now = clock.wall()
    detail = "the ledger was damaged, so neod does not know what it has tried"
    suspects = (Suspect(ANY_SECRETS, refusals=1, refused_at=now, detail=detail),)
    return Carried(
        at=now, time=rfc3339(now), history=History(suspects=suspects, generation=generation)
    )


def _decode(raw: bytes, account: str) -> tuple[Header, list[Line]]:
    """Raises ValueError; its message holds nothing of the file.

    Lines of a kind that only a later version writes are passed over, so that going back to this
    one costs nothing.
    """
    first, _, rest = raw.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=Header)
        bytes.fromhex(header.salt)
    except (ValueError, RecursionError):
        raise ValueError("its first line is not a ledger's") from None
    if header.account != account:
        raise ValueError(f"it is of the account {header.account!r}")
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    for number, text in enumerate(rest.splitlines(), 2):
        try:
            lines.append(decoder.decode(text))
        except (ValueError, RecursionError):
            if _is_later(text):
                continue
            raise ValueError(f"line {number} cannot be read") from None
    return header, lines


def _is_later(text: bytes) -> bool:
    try:
        event = msgspec.json.decode(text, type=dict[str, object]).get("event")
    except (ValueError, RecursionError):
        return False
    return isinstance(event, str) and event not in EVENTS


def _encode(line: Line | Header) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _add(path: Path, line: bytes) -> None:
    """Append durably; a line that could not be written whole is taken back."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        try:
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def _replace(path: Path, header: Header, lines: list[Line]) -> None:
    """Write the whole file anew, atomically."""
    new = path.with_name(f"{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(_encode(header))
        file.writelines(_encode(line) for line in lines)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fold(lines: list[Line]) -> History:
    history = History()
    for line in lines:
        history = advance(history, line)
    return history
