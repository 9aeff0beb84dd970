"""A store in memory: what a file would keep, without the disk or a thread."""

import trio

from neod.account.store import Kept


class MemoryStore:
    """Give what it kept to another one to restart the daemon."""

    def __init__(self, kept: Kept | None = None) -> None:
        self.kept = kept
        self.oddity = ""
        self.full = False  # the disk is
        self.read_only = False  # the disk is, as after an error of its own
        self.slow = 0.0  # seconds that the disk takes

    def load(self) -> Kept | None:
        return self.kept

    async def save(self, kept: Kept) -> None:
        await self._reach_the_disk()
        if self.full:
            raise OSError(28, "No space left on device")
        self.kept = kept

    async def drop(self) -> None:
        await self._reach_the_disk()
        self.kept = None

    async def _reach_the_disk(self) -> None:
        with trio.CancelScope(shield=True):  # once called it is done, as on a disk
            await trio.sleep(self.slow)
        if self.read_only:
            raise OSError(30, "Read-only file system")

    def reboot(self) -> None:
        """The machine did: nothing is kept beyond that."""
        self.kept = None
