"""The socket that neod listens on: claimed by neod itself, or adopted from systemd.

To claim its path is to lock, probe, unlink and bind, in this order. A daemon that is there
already is never disturbed: the lock is taken before anything is touched, and a socket that
somebody answers on is left alone whoever that is. What is adopted stays systemd's, so it is
never unlinked.
"""

import os
import socket
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from neoctl.wire import distrust
from neod.errors import AlreadyRunning, Unusable
from neod.lock import Lock
from neod.paths import make_private, open_to_others, which_file

Whereabouts = Literal["ours", "gone", "another's"]
PATH_MAX = 107  # bytes of a Unix socket's path, by the kernel


class Claim:
    """A path that is ours, with a socket that listens there. Close it to take it away again."""

    def __init__(self, path: Path) -> None:
        """Claim the path. Raises AlreadyRunning, Unusable, OSError."""
        if len(os.fsencode(path)) > PATH_MAX:
            raise Unusable(
                f"{path} is longer than the {PATH_MAX} bytes that a socket's path may have; "
                "set NEOD_SOCKET to a shorter one"
            )
        self.path = path
        self._lock = _lock_beside(path)
        try:
            _clear(path)
            self.socket = _bind(path)
            self._inode = which_file(path)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        if self.whereabouts() == "ours":
            self.path.unlink(missing_ok=True)
        self._lock.close()

    def whereabouts(self) -> Whereabouts:
        """What is at the path now."""
        return _whereabouts(self.path, self._inode)

    def bind_anew(self) -> socket.socket:
        """Listen at the path again, now that its file is gone; who was connected stays so.

        The socket of before is left to whoever listens on it. Raises AlreadyRunning, Unusable,
        OSError.
        """
        if not self._lock.stands:  # the folder was cleared
            self._lock, cleared = _lock_beside(self.path), self._lock
            cleared.close()
        self.socket = _bind(self.path)
        self._inode = which_file(self.path)
        return self.socket


class Adopted:
    """A socket that systemd listens on for neod, and goes on holding when neod is gone."""

    def __init__(self, listening: socket.socket) -> None:
        """Take the lock beside it. Raises AlreadyRunning, Unusable, OSError."""
        self.socket = listening
        self.path = Path(listening.getsockname())
        self._lock = _lock_beside(self.path)
        self._inode = which_file(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        self._lock.close()

    def whereabouts(self) -> Whereabouts:
        """What is at the path now."""
        return _whereabouts(self.path, self._inode)


def adoptable(passed: Sequence[int]) -> socket.socket | None:
    """The socket among the descriptors that systemd passed; None if it passed none.

    Raises Unusable unless it is one, with a path, that is listened on.
    """
    if not passed:
        return None
    if len(passed) > 1:
        raise _not_adoptable(f"{len(passed)} descriptors, and neod has use for one")
    try:
        given = socket.socket(fileno=passed[0])
    except OSError as error:
        raise _not_adoptable(f"what is no socket ({error.strerror})") from None
    what = _why_not(given)
    if what:
        given.close()
        raise _not_adoptable(what)
    return given


def _why_not(given: socket.socket) -> str:
    """What a socket is that cannot be adopted; empty if it can."""
    if given.family != socket.AF_UNIX:
        return "a socket that others than this machine may reach"
    if given.type != socket.SOCK_STREAM:
        return "a socket without connections"
    if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a socket that is not listened on (Accept= has to be no)"
    name = given.getsockname()
    if not isinstance(name, str) or not name.startswith("/"):
        return "a socket without a path, to which everybody may connect"
    return ""


def _not_adoptable(what: str) -> Unusable:
    return Unusable(
        f"systemd passed {what}; expected is one ListenStream= with a path, as in the neod.socket "
        "that `neod install` writes; see: systemctl --user cat neod.socket"
    )


def _lock_beside(path: Path) -> Lock:
    """Lock the socket's path, in a folder that is made if need be.

    Raises AlreadyRunning, Unusable, OSError.
    """
    make_private(path.parent)
    if why := distrust(os.fspath(path), os.getuid()) or open_to_others(path.parent):
        raise Unusable(f"the socket's folder cannot be trusted: {why}")
    return Lock(path.with_name(f"{path.name}.lock"))


def _whereabouts(path: Path, inode: tuple[int, int] | None) -> Whereabouts:
    found = which_file(path)
    if found is None:
        return "gone"
    return "ours" if found == inode else "another's"


def _clear(path: Path) -> None:
    """Take away a socket that nobody listens on. Raises AlreadyRunning, Unusable."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Unusable(f"{path} is there and is no socket; move it away, or set NEOD_SOCKET")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # its queue is full, so it is alive
            raise AlreadyRunning(None, path) from None
        except OSError as error:
            raise Unusable(f"{path} is there and cannot be asked: {error.strerror}") from None
        raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, _, _ = struct.unpack("3i", raw)
        raise AlreadyRunning(pid, path)


def _bind(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # so that there is no instant at which others could connect
    try:
        listening.bind(os.fspath(path))
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise Unusable(f"{path}: {error.strerror}") from None
    finally:
        os.umask(before)
    return listening
