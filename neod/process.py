"""What this process lets others see and use. `harden` comes before the first secret is read."""

import ctypes
import os
import resource
from collections.abc import Mapping

from neod import log

PR_SET_DUMPABLE = 4  # linux/prctl.h
M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE = 1024 * 1024  # bytes


def harden(environ: Mapping[str, str]) -> None:
    """No core, no look into the memory by other processes of the user, no file open to others.

    $NEOD_DEBUG=1 leaves the memory open, for a debugger.
    """
    os.umask(0o077)
    _raise_file_limit()
    if environ.get("NEOD_DEBUG") == "1":
        log.warning("debug", why="NEOD_DEBUG is set: other processes can read neod's memory")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("dumpable", error=os.strerror(ctypes.get_errno()))


def _raise_file_limit() -> None:
    """Each connection is a descriptor, and the soft limit is often lower than it need be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_large_blocks_back() -> None:
    """Have what is freed in large pieces go back to the system at once.

    The scrypt over the secrets takes 16 MiB for a moment, which glibc would keep for the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every libc has it
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
