"""A file that one process at a time may hold, and that says which one does.

Knows nothing of what is done under it: the state, and the socket's path.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import trio

from neod.errors import AlreadyRunning
from neod.paths import which_file

T = TypeVar("T")
AGAIN = 0.05  # seconds between two attempts to take it


class Lock:
    """An exclusive lock on a file that holds its owner's pid. It goes with the process."""

    def __init__(self, path: Path, instead: str = "") -> None:
        """Take the lock. Raises AlreadyRunning, which says what to do `instead`, and OSError."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 20, 0).strip()
            os.close(self._fd)
            raise AlreadyRunning(int(pid) if pid.isdigit() else None, path, instead) from None
        with suppress(OSError):  # a disk that is full: who holds it is then not told
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def stands(self) -> bool:
        """True if whoever wants the lock next meets this one: its file is still there."""
        return which_file(self._path) == which_file(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        # The file stays: a lock that is unlinked can be held twice.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


async def patiently(take: Callable[[], T], patience: float) -> T:
    """What `take` gives; for so many seconds it is tried again while another neod is there.

    Raises AlreadyRunning, and what else `take` raises.
    """
    end = trio.current_time() + patience
    while True:
        await trio.lowlevel.checkpoint()
        try:
            return take()
        except AlreadyRunning:
            if trio.current_time() >= end:
                raise
        await trio.sleep(AGAIN)
