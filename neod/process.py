"""What this process lets others see and use. To be called before the first secret is read."""

import ctypes
import os
import resource
from collections.abc import Mapping

from neod import log

PR_SET_DUMPABLE = 4  # linux/prctl.h


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
