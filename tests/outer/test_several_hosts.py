"""neod's socket on another host, through a real sshd, by the commands of docs/operations.md."""

import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bots import Bot, bot
from tests.fakes.process import Home, Neod, Sandbox
from tests.fakes.sshd import Sshd

pytestmark = pytest.mark.outer

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "operations.md"
COMMANDS = [
    shlex.split(found.replace("\\\n", ""))
    for found in re.findall(r"^(ssh -N .*?[^\\])$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd() as running:
        yield running


def options(letter: str, ours: Path, theirs: Path) -> list[str]:
    """Those of the document's command, for these sockets: where bots ask, and neod's."""
    [found] = [words for words in COMMANDS if letter in words]
    place = found.index(letter) + 1
    assert len(found[place].split(":")) == 2
    return [*found[1:place], f"{ours}:{theirs}", *found[place + 1 : -1]]


def elsewhere(path: Path) -> dict[str, str]:
    """The environment of a bot on the other host, which has nothing but the socket there."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "NEOD_SOCKET": os.fspath(path)}


def neoctl(path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "neoctl", *words],
        env=elsewhere(path),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("letter", "asks"), [("-L", "sshd"), ("-R", "ssh")], ids=["from there", "from here"]
)
def test_a_bot_on_another_host_has_the_session(
    home: Home, sandbox: Sandbox, sshd: Sshd, tmp_path: Path, letter: str, asks: str
) -> None:
    path = tmp_path / "far.sock"
    home.configure(sandbox.url)
    with Neod(home), sshd.forwarding(options(letter, path, home.socket), path):
        token = home.neoctl("token", "--wait", "10").stdout

        assert neoctl(path, "token").stdout == token
        curl = ["curl", "-fsS", "--unix-socket", f"{path}", "http://neod/v1/token"]
        assert subprocess.check_output(curl, text=True) == token
        assert path.stat().st_mode & 0o777 == 0o600

        (tmp_path / "bot.py").write_text(bot("python"))
        with Bot(sys.executable, tmp_path / "bot.py", environ=elsewhere(path)) as running:
            assert running.generation() == 1
            assert neoctl(path, "renew").returncode == 0
            assert running.generation() == 2
            # Whoever it is over there, here it is ssh's own process that asks.
            who = json.loads(home.neoctl("clients", "--json").stdout)["clients"]
            [watching] = [one for one in who if one["generation"] == 2]
            assert Path(watching["executable"]).name == asks


@pytest.mark.parametrize("letter", ["-L", "-R"])
def test_a_restart_of_either_side_needs_nobody(
    home: Home, sandbox: Sandbox, sshd: Sshd, tmp_path: Path, letter: str
) -> None:
    path = tmp_path / "far.sock"
    words = options(letter, path, home.socket)
    home.configure(sandbox.url)
    with sshd.forwarding(words, path) as ssh:
        with Neod(home):
            token = neoctl(path, "token", "--wait", "10").stdout
        gone = neoctl(path, "token")
        assert gone.returncode == 3, gone.stderr
        with Neod(home) as neod:
            assert neoctl(path, "token", "--wait", "10").stdout == token
            ssh.send_signal(signal.SIGKILL)
            ssh.wait()
            with sshd.forwarding(words, path):  # over the file that the other one has left
                assert neoctl(path, "token").stdout == token
            assert neod.popen.poll() is None


def test_p7_who_logs_in_by_ssh_as_another_user_is_refused(
    home: Home, sandbox: Sandbox, sshd: Sshd, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("it takes root to let another user in")
    path = tmp_path / "far.sock"
    home.configure(sandbox.url)
    with Neod(home):
        assert home.neoctl("token", "--wait", "10").returncode == 0
        with tempfile.TemporaryDirectory() as folder:  # as if no mode kept anybody away
            reached = Path(folder) / "neod.sock"
            Path(folder).chmod(0o755)
            os.link(home.socket, reached)
            reached.chmod(0o666)
            with sshd.forwarding(options("-L", path, reached), path, user="nobody"):
                refused = neoctl(path, "token")
    assert refused.returncode == 8
    assert refused.stdout == ""
    assert f"you are uid {pwd.getpwnam('nobody').pw_uid}" in refused.stderr
