"""Why a command of neod's cannot do what it is for: each ends it with a message and an exit status.

Knows no command and no status; neod/cli.py has those. Imports nothing of neod.
"""

from pathlib import Path


class AlreadyRunning(Exception):  # noqa: N818 - reads as what happened
    """Another neod is there; `pid` is None where it cannot be told."""

    def __init__(self, pid: int | None, where: Path, instead: str = "") -> None:
        who = "" if pid is None else f" (pid {pid})"
        what = f"; {instead}" if instead else ""
        super().__init__(f"neod is running already{who}: it holds {where}{what}")
        self.pid = pid


class Unusable(Exception):  # noqa: N818 - as above
    """What was given, or what is there, cannot be used; str() says why, and what mends it."""
