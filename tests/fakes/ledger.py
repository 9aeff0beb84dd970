"""A ledger in memory: what a file would say, without the disk or a thread."""

import hashlib

import trio

from neod.account.history import Attempt, History, Line, Unblocked, advance


class MemoryLedger:
    """Give its lines to another one to restart the daemon."""

    def __init__(self, lines: list[Line] | None = None) -> None:
        self.lines: list[Line] = list(lines or [])
        self.full = False  # the disk is
        self._history = History()
        for line in self.lines:
            self._history = advance(self._history, line)

    @property
    def history(self) -> History:
        return self._history

    async def append(self, line: Line) -> None:
        await trio.lowlevel.checkpoint()
        if self.full and isinstance(line, Attempt | Unblocked):
            raise OSError(28, "No space left on device")
        self.lines.append(line)
        self._history = advance(self._history, line)
        if self.full:
            raise OSError(28, "No space left on device")

    async def fingerprint(self, texts: list[str]) -> str:
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
