"""The session across restarts of the process: one file an account, beside the socket.

It is as secret as the socket, and of no use after a reboot, since its deadlines are instants of
CLOCK_BOOTTIME. Nothing is synced: what must outlive the machine is in the ledger.

What is read is checked twice. A file that is not just as it was saved, by this user in this boot,
is no session at all; and one that is may still be unusable, for the account or the hour.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from neod.account.session import SAME, Held
from neod.account.snapshot import ready_until
from neod.account.token import FAR_FUTURE
from neod.clock import Clock, rfc3339
from neod.config import Account
from neod.kotak.replies import header_safe
from neod.paths import make_private

VERSION = 1
SIZE_MAX = 256 * 1024  # bytes; a session has a few thousand
GENERATION_MAX = 10**15  # the ledger finds no more digits in a damaged file
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A session, and what tells whose it is."""

    held: Held
    secrets: str  # the fingerprint of those it was got with
    login: str  # login_of() the account
    whose: str = ""  # whose_of() it; an older version writes none, and is then judged by login

    def __repr__(self) -> str:
        return f"Kept({self.held.session!r})"


class Store(Protocol):
    """What a keeper needs of a store."""

    @property
    def oddity(self) -> str:
        """Why `load` found nothing, if that is odd; holds nothing of what it read."""

    def load(self) -> Kept | None:
        """What was saved last; unusable() says whether it can be used. Blocks for the disk."""

    async def save(self, kept: Kept) -> None:
        """Keep this in place of what was kept. Raises OSError, and then the old is kept still.

        Once called it is done, cancelled or not, and after whatever was called before.
        """

    async def drop(self) -> None:
        """Keep nothing any more, on the same terms. Raises OSError."""


class _File(msgspec.Struct, frozen=True):
    store: int  # VERSION
    boot: str = ""
    sha256: str = ""  # against accidents: who could forge it can ask the socket
    kept: msgspec.Raw = msgspec.Raw()


class FileStore:
    """A store in a file, of the boot with this id. Its account's lock is the caller's business."""

    def __init__(self, path: Path, boot: str) -> None:
        self.oddity = ""
        self._path = path
        self._boot = boot
        self._turn = trio.Lock()

    def load(self) -> Kept | None:
        self.oddity = ""
        try:
            return _decode(_read(self._path), self._boot)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.oddity = f"{self._path} cannot be read: {error.strerror}"
        except ValueError as error:
            self.oddity = f"{self._path} is not used: {error}"
        return None

    async def save(self, kept: Kept) -> None:
        raw = _encode(kept, self._boot)
        await self._in_turn(partial(_replace, self._path, raw))

    async def drop(self) -> None:
        await self._in_turn(partial(_remove, self._path))

    async def _in_turn(self, work: Callable[[], None]) -> None:
        # Never abandoned, though a disk that stands still then holds up the stop: what would be
        # left behind is an older session, or a dead one.
        with trio.CancelScope(shield=True):
            async with self._turn:
                await trio.to_thread.run_sync(work)


def boot_id(path: Path = BOOT_ID) -> str:
    """Tells this boot from all others; empty if that cannot be told, and nothing is loaded then."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def login_of(account: Account) -> str:
    """A digest of who logs in where, and how: all but the secrets."""
    urls = account.endpoints
    texts = [
        *(account.flow, account.second_factor, *account.identity, account.ucc),
        *(account.environment, urls.session, urls.api, urls.login, account.source_address),
    ]
    return hashlib.sha256(msgspec.json.encode(texts)).hexdigest()


def whose_of(account: Account) -> str:
    """A digest of whose a session is, of which kind, and where it is good.

    With another number to log in with, it may still be the same.
    """
    urls = account.endpoints
    texts = [
        *(account.flow, account.second_factor, account.ucc),
        *(account.environment, urls.session, urls.api, urls.login),
    ]
    return hashlib.sha256(msgspec.json.encode(texts)).hexdigest()


def unusable(kept: Kept, account: Account, clock: Clock) -> str:
    """Why a kept session must not be put up; empty if it may.

    One whose bearer alone has ended may, where that can be renewed: it is not served until then,
    and costs no login. Whether who logs in, and with what, is still the same is not judged here.
    """
    held = kept.held
    if held.session.account != account.name:
        return "it is of another account"
    whose = whose_of(account) if kept.whose else login_of(account)
    if (kept.whose or kept.login) != whose:
        return "the account has changed since: whose it is, how it logs in or where"
    if (held.session.kind == "trade") != (account.second_factor != "none"):
        return "it is not of the kind that the account wants"
    if wrong := _wrong_session(held) or _wrong_times(held, clock):
        return wrong
    if held.token_left(clock) <= 0:
        return "it has lapsed"
    if held.bearer_left(clock) <= 0 and not held.bearer_renewable:
        return "it has lapsed by its access token"
    return ""


def _wrong_session(held: Held) -> str:
    """What in a session contradicts the rest of it, or is not fit to be shown."""
    session, headers = held.session, held.session.headers
    if not header_safe(session.token) or not header_safe(session.sid):
        return "its token or sid is no text for a header"
    if len({name.lower() for name in headers}) < len(headers) or not all(
        _HEADER_NAME.fullmatch(name) and text.isascii() and text.isprintable()
        for name, text in headers.items()
    ):
        return "its headers are no headers"
    access = headers.get("Authorization", "").removeprefix("Bearer ")
    if (headers.get("Auth"), headers.get("Sid")) != (session.token, session.sid) or not access:
        return "its headers are not the session's"
    if ready_until(session.token) != session.token_expires_at:
        return "its token says another end"
    if not held.bearer_renewable and ready_until(access) != session.bearer_expires_at:
        return "its access token says another end"
    return ""


def _wrong_times(held: Held, clock: Clock) -> str:
    """What in a session's times cannot be, whatever the wall clock shows."""
    session = held.session
    pairs = (
        (session.issued_at, session.issued_at_rfc3339),
        (session.expires_at, session.expires_at_rfc3339),
        (session.token_expires_at, session.token_expires_at_rfc3339),
        (session.bearer_expires_at, session.bearer_expires_at_rfc3339),
    )
    moments = [moment for moment, _ in pairs]
    instants = (held.received_at, held.token_boot, held.bearer_received_at, held.bearer_boot)
    if not all(moment is None or 0 <= moment <= FAR_FUTURE for moment in (*moments, *instants)):
        return "its times are out of range"
    if any(text != (None if moment is None else rfc3339(moment)) for moment, text in pairs):
        return "its times are not as they are written"
    if (session.bearer_expires_at is None) != (held.bearer_boot is None):
        return "its access token has half an end"
    ends = [(session.token_expires_at, held.received_at, held.token_boot)]
    if session.bearer_expires_at is not None and held.bearer_boot is not None:
        ends.append((session.bearer_expires_at, held.bearer_received_at, held.bearer_boot))
    if session.expires_at != min(end for end, _, _ in ends):
        return "its end is not the earliest"
    # The life that was left on arrival fixed the deadline, and arrival was no later than now.
    if any(boot - clock.boot() > end - received + SAME for end, received, boot in ends):
        return "its deadlines are further away than its ends were"
    return ""


def _read(path: Path) -> bytes:
    """Raises OSError, and ValueError for what is not our own private file."""
    # Not blocking, so that a pipe at this place does not hold up the start.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found, me = os.fstat(fd), os.getuid()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_uid != me:
            raise ValueError(f"it belongs to uid {found.st_uid}, not to you (uid {me})")
        if found.st_mode & 0o077:
            raise ValueError(f"others may use it (mode {stat.S_IMODE(found.st_mode):04o})")
        with os.fdopen(fd, "rb", closefd=False) as file:
            raw = file.read(SIZE_MAX + 1)
    finally:
        os.close(fd)
    if len(raw) > SIZE_MAX:
        raise ValueError(f"it is longer than {SIZE_MAX} bytes")
    return raw


def _decode(raw: bytes, boot: str) -> Kept:
    """Raises ValueError; its message holds nothing of the file."""
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (ValueError, RecursionError):
        raise ValueError("it is no session's") from None
    if file.store != VERSION:
        raise ValueError("another version of neod wrote it")
    if not boot:
        raise ValueError(f"{BOOT_ID} does not tell which boot this is")
    if file.boot != boot:
        raise ValueError("it is of another boot")
    if file.sha256 != _digest(bytes(file.kept)):
        raise ValueError("it is damaged")
    try:
        kept = msgspec.json.decode(file.kept, type=Kept)
    except (ValueError, RecursionError):
        raise ValueError("what it holds is no session") from None
    # Judged here, since the next generation is counted from it, be it usable or not.
    if not 0 < kept.held.session.generation < GENERATION_MAX:
        raise ValueError("its generation is out of range")
    return kept


def _encode(kept: Kept, boot: str) -> bytes:
    """Raises OSError for what could not be loaded again."""
    with suppress(RecursionError):
        inner = msgspec.json.encode(kept)
        file = _File(store=VERSION, boot=boot, sha256=_digest(inner), kept=msgspec.Raw(inner))
        raw = msgspec.json.encode(file) + b"\n"
        if len(raw) <= SIZE_MAX:
            return raw
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _digest(inner: bytes) -> str:
    return hashlib.sha256(inner).hexdigest()


def _new(path: Path) -> Path:
    """What a file is called while it is written."""
    return path.with_name(f"{path.name}.new")


def _replace(path: Path, raw: bytes) -> None:
    """Write the file anew, atomically."""
    make_private(path.parent)
    new = _new(path)
    new.unlink(missing_ok=True)  # it may be there, if a write was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        try:
            file.write(raw)
            file.flush()
            new.replace(path)
        except OSError:
            new.unlink()
            raise


def _remove(path: Path) -> None:
    for name in (path, _new(path)):
        name.unlink(missing_ok=True)
