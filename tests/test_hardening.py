"""What neod's process lets others see."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, os, resource
from neod.process import harden
harden(dict(os.environ))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(
    ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),  # PR_GET_DUMPABLE
    resource.getrlimit(resource.RLIMIT_CORE)[0],
    oct(os.umask(0)),
    soft == hard,
)
"""


@pytest.mark.parametrize(
    ("debug", "dumpable", "core"), [("", "0", "0"), ("0", "0", "0"), ("1", "1", "7")]
)
def test_no_core_and_no_look_into_the_memory_unless_debugging(
    debug: str, dumpable: str, core: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", 'ulimit -Sc 7; exec "$@"', "-", sys.executable, "-c", SCRIPT],
        env={**os.environ, "NEOD_DEBUG": debug},
        capture_output=True,
        text=True,
        check=True,
    )

    told = done.stdout.split()
    assert told[0] == dumpable
    assert told[1] == (core if core == "0" else str(7 * 1024))
    assert told[2:] == ["0o77", "True"]
