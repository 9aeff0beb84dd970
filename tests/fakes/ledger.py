"""A ledger in memory: what a file would say, without the disk or a thread."""

import errno
import hashlib
import os
from collections.abc import Iterable, Sequence

import trio

from neod.account.history import Attempt, History, Line, Unblocked, advance


class MemoryLedger:
    """Give its lines to another one to restart the daemon."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines: list[Line] = list(lines)
        self.full = False  # the disk is, or else what `errno` says
        self.errno = errno.ENOSPC
        self.slow = 0.0  # seconds that the disk takes
        self.slow_secrets = (
            0.0  # seconds until it is told of them, as by a command that asks a vault
        )
        self._turn = trio.Lock()
        self.written = len(self._lines)  # how many of the lines it has
        self._history = History()
        for line in self._lines:
            self._history = advance(self._history, line)

    @property
    def history(self) -> History:
        return self._history

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    async def append(self, line: Line) -> None:
        await trio.lowlevel.checkpoint()
        async with self._turn:
            if self.slow:
                await trio.sleep(self.slow)
            self._append(line)

    def _append(self, line: Line) -> None:
        if self.full and isinstance(line, Attempt | Unblocked):
            raise OSError(self.errno, os.strerror(self.errno))
        self._lines.append(line)
        self._history = advance(self._history, line)
        if self.full:
            raise OSError(self.errno, os.strerror(self.errno))
        self.written = len(self._lines)

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.full and self.written < len(self._lines):
            raise OSError(self.errno, os.strerror(self.errno))
        self.written = len(self._lines)

    async def fingerprint(self, texts: list[str]) -> str:
        if self.slow_secrets:
            await trio.sleep(self.slow_secrets)
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
