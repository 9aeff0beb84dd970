"""How often an idle daemon wakes. A bench: python -m tests.bench.wakeups

A machine that wants to sleep pays for each time. Exits with 1 if neod wakes more than 6 times a
minute.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.process import Home, Neod, Sandbox

ALLOWED = 6  # in a minute
SETTLED = 15.0  # seconds after which trio has let go of the threads that the login needed


def count_wakeups(pid: int, seconds: float) -> int:
    """How often the threads of a process give up the processor to wait, from now on."""
    before = _waits(pid)
    time.sleep(seconds)
    return _waits(pid) - before


def _waits(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "voluntary_ctxt_switches":
                total += int(value)
    return total


def report_wakeups(pid: int) -> bool:
    """Leave a daemon alone for a minute, and print how often it woke; whether that is allowed."""
    time.sleep(SETTLED)
    count = count_wakeups(pid, 60)
    print(f"idle, it wakes {count} times a minute ({ALLOWED} are allowed)")
    return count <= ALLOWED


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        home = Home(Path(folder))
        home.configure(sandbox.url)
        with Neod(home) as neod:
            home.neoctl("token", "--wait", "10").check_returncode()
            return int(not report_wakeups(neod.popen.pid))


if __name__ == "__main__":
    sys.exit(main())
