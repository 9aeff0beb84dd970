"""What docs/security.md claims of a running neod, tried from outside by its own user.

Root passes every check of permissions, so where it runs these, neod and who looks are a user of no
privilege.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.fakes.process import Home, Sandbox

pytestmark = pytest.mark.outer

SOMEBODY = 12345
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "security.md"
PASSWORD = "sandbox-password"
ATTACH = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.ptrace(16, int(sys.argv[1]), 0, 0) == 0 else ctypes.get_errno())  # PTRACE_ATTACH
"""


def as_user(*words: object) -> list[str]:
    """A command of a user without privileges: of ours, or of somebody else's if we are root."""
    become: tuple[str, ...] = ()
    if os.getuid() == 0:
        assert shutil.which("setpriv"), "setpriv is missing: apt-get install util-linux"
        become = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups")
    return [*become, *map(str, words)]


@pytest.fixture
def theirs() -> Iterator[Home]:
    """A home that is that user's."""
    folder = Path(tempfile.mkdtemp(prefix="neod-security-"))
    yield Home(folder)
    shutil.rmtree(folder)


def give(home: Home) -> None:
    if os.getuid() == 0:
        for path in (home.folder, *home.folder.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY)


class Theirs:
    """`neod run` of that user, once it has a session."""

    def __init__(self, home: Home, *, debug: bool = False) -> None:
        give(home)
        environ = home.environ | ({"NEOD_DEBUG": "1"} if debug else {})
        self.popen = subprocess.Popen(
            as_user(sys.executable, "-m", "neod", "run", "--config", home.config),
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.popen.pid
        self.wait = subprocess.run(
            as_user(sys.executable, "-m", "neoctl", "wait", "--wait", "20"),
            env=home.environ,
            check=True,
            capture_output=True,
            timeout=30,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def may(self, *words: object) -> bool:
        """Whether its own user may do this."""
        done = subprocess.run(as_user(*words), capture_output=True, check=False, timeout=20)
        return done.returncode == 0


def test_p6_its_own_user_reads_neither_its_memory_nor_its_environment(theirs: Home) -> None:
    with Sandbox() as sandbox:
        theirs.configure(sandbox.url)
        with Theirs(theirs) as neod:
            assert neod.may("head", "-c", "1", f"/proc/{neod.pid}/cmdline")
            for name in ("environ", "maps", "mem", "auxv"):
                assert not neod.may("head", "-c", "1", f"/proc/{neod.pid}/{name}"), name
            assert not neod.may("ls", f"/proc/{neod.pid}/fd")
            assert not neod.may(sys.executable, "-c", ATTACH, neod.pid)
            assert re.search(r"Max core file size +0 ", limits(neod.pid))


def test_with_neod_debug_a_debugger_may_look_and_the_log_says_so(theirs: Home) -> None:
    with Sandbox() as sandbox:
        theirs.configure(sandbox.url)
        with Theirs(theirs, debug=True) as neod:
            assert neod.may("head", "-c", "1", f"/proc/{neod.pid}/environ")
            neod.popen.send_signal(signal.SIGTERM)
            assert "NEOD_DEBUG is set" in neod.popen.communicate(timeout=20)[1]


def limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


def test_p6_no_secret_is_in_argv_and_no_file_is_open_to_others(theirs: Home) -> None:
    with Sandbox() as sandbox:
        theirs.configure(sandbox.url)
        with Theirs(theirs) as neod:
            assert PASSWORD not in Path(f"/proc/{neod.pid}/cmdline").read_text()
            made = [
                path
                for path in theirs.folder.rglob("*")
                if path not in (theirs.config, theirs.password)
            ]
            assert theirs.socket in made
            for path in made:
                assert path.lstat().st_mode & 0o077 == 0, path
            for path in made:
                if path.is_file():
                    assert PASSWORD not in path.read_text()


def test_p7_another_user_is_refused_though_the_modes_let_it_in(theirs: Home) -> None:
    if os.getuid() != 0:
        pytest.fail("only root can be two users: run this ring as root, as .ci/run does")
    with Sandbox() as sandbox:
        theirs.configure(sandbox.url)
        with Theirs(theirs):
            theirs.folder.chmod(0o755)
            theirs.socket.chmod(0o777)
            for become in ((), ("setpriv", "--reuid=12346", "--regid=12346", "--clear-groups")):
                answer = subprocess.run(
                    [*become, sys.executable, "-m", "neoctl", "token"],
                    env=theirs.environ,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=20,
                )
                assert (answer.returncode, answer.stdout) == (8, "")
                assert "forbidden" in answer.stderr


@pytest.mark.parametrize("what", ["state", "config"])
def test_a_place_that_cannot_be_written_or_read_is_said_in_words(theirs: Home, what: str) -> None:
    theirs.configure("http://127.0.0.1:1/")
    (theirs.folder / "state").mkdir()
    give(theirs)
    closed = theirs.folder / "state" if what == "state" else theirs.config
    closed.chmod(0o500 if what == "state" else 0)
    done = subprocess.run(
        as_user(sys.executable, "-m", "neod", "run", "--config", theirs.config),
        env=theirs.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert f"{closed}" in done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
