"""File descriptors: how many connections they are enough for, and what to do without any."""

import os
import resource
from typing import Self

import msgspec

from neod import config, log

OTHERS = 128  # that neod wants for all else: a login, a ledger, peers that are being turned away


def affordable(limits: config.Server) -> config.Server:
    """The limits with no more connections than the process may have descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, soft - OTHERS)
    if soft == resource.RLIM_INFINITY or limits.max_connections <= most:
        return limits
    why = f"{limits.max_connections} need more than the {soft} files that are allowed"
    log.warning("max_connections", taken=most, why=why)
    return msgspec.structs.replace(limits, max_connections=most)


class Spare:
    """A descriptor that is held back, to be used at the time when there are no others."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._held: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.give()

    def give(self) -> bool:
        """Free it for the next call that needs one. False if it has been given already."""
        if self._held is None:
            return False
        os.close(self._held)
        self._held = None
        return True

    def take_back(self) -> bool:
        """Hold one back again. False if there is none."""
        if self._held is None:
            try:
                self._held = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        return True
