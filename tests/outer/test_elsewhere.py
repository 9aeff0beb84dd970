"""neod where no systemd starts it: the recipes of docs/operations.md under the real programs."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.process import CONFIG, Home, Sandbox

pytestmark = pytest.mark.outer

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
FILES: dict[str, str] = dict(
    re.findall(r"^<!-- file: (\S+) -->\n\n```\w+\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
)
CONTAINERFILE = (ROOT / "docs" / "container" / "Containerfile").read_text()
PATIENCE = 20.0  # seconds for another program to do what it has been told


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.getuid() != 0:
        pytest.skip("it takes root to become another user")


@pytest.fixture
def at_home(home: Home) -> Home:
    """As the recipes have it: the socket in a folder that is made for it."""
    home.socket = home.folder / "run" / "neod.sock"
    home.environ["NEOD_SOCKET"] = f"{home.socket}"
    script = home.folder / "neod"
    variables = [f"{name}={home.environ[name]}" for name in ("XDG_STATE_HOME", "NEOD_LOG")]
    words = shlex.join(["env", *variables, sys.executable, "-m", "neod"])
    script.write_text(f'#!/bin/sh\ncd {ROOT}\nexec {words} "$@" --config {home.config}\n')
    script.chmod(0o755)
    return home


def recipe(name: str, home: Home) -> str:
    """A file of the document, for this home and for the user who runs the test."""
    text = FILES[name]
    for told, here in {
        "/home/asha/.local/share/neod/venv/bin/neod": f"{home.folder}/neod",
        "/run/neod-asha": f"{home.socket.parent}",
        "/home/asha": f"{home.folder}",
        "/var/log": f"{home.folder}/log",
        "asha": "root",
    }.items():
        text = text.replace(told, here)
    return text


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)  # another program's doing, which nothing tells of


@contextmanager
def running(*words: str, environ: Mapping[str, str]) -> Iterator[None]:
    """A program that starts programs, and takes them along when it ends."""
    if shutil.which(words[0]) is None:
        pytest.fail(f"there is no {words[0]}: see .ci/run")
    with subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL) as popen:
        try:
            yield
        finally:
            popen.send_signal(signal.SIGHUP if words[0] == "runsvdir" else signal.SIGTERM)
            popen.wait(PATIENCE)


def lives_as_told(
    home: Home, sandbox: Sandbox, control: Callable[[str], str], up: str, left: str, log: Path
) -> None:
    """It is started again with its session, and left alone where it cannot start."""
    until(home.socket.exists)
    token = home.neoctl("token", "--wait", "10").stdout
    assert token

    control("kill")
    until(lambda: home.neoctl("token").returncode == 0)
    assert home.neoctl("token").stdout == token
    assert home.neoctl("logins").stdout.count(" login ") == 1

    home.configure(sandbox.url, text=CONFIG.replace("mobile", "moble"))
    control("hup")
    until(lambda: "account.main.moble" in log.read_text())
    assert home.neoctl("token").stdout == token
    control("kill")
    until(lambda: re.search(left, control("status")) is not None)

    home.configure(sandbox.url)
    control("up")
    until(lambda: home.neoctl("token").returncode == 0)
    assert home.neoctl("token").stdout == token
    assert up in control("status")

    control("down")
    until(lambda: "info stopped" in log.read_text())
    until(lambda: not home.socket.exists())
    assert home.neoctl("token").returncode == 3


def test_runit_keeps_it(at_home: Home, sandbox: Sandbox) -> None:
    folder = at_home.folder / "service" / "neod"
    (folder / "log").mkdir(parents=True)
    (at_home.folder / "log").mkdir()
    for name in ("run", "finish", "log/run"):
        (folder / name).write_text(recipe(name, at_home))
        (folder / name).chmod(0o755)
    at_home.configure(sandbox.url)

    def control(word: str) -> str:
        command = ["sv", word, f"{folder}"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    with running("runsvdir", f"{folder.parent}", environ=at_home.environ):
        log = at_home.folder / "log" / "neod" / "current"
        lives_as_told(at_home, sandbox, control, "run:", "^down:(?!.*want up)", log)


def test_supervisord_keeps_it(at_home: Home, sandbox: Sandbox) -> None:
    log = at_home.folder / "log" / "neod.log"
    log.parent.mkdir()
    config = at_home.folder / "supervisord.conf"
    socket = at_home.folder / "supervisor.sock"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={at_home.folder}/pid\n[unix_http_server]\nfile={socket}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{socket}\n{recipe('neod.conf', at_home)}"
    )
    at_home.configure(sandbox.url)
    words = {
        "kill": ("signal", "KILL", "neod"),
        "hup": ("signal", "HUP", "neod"),
        "up": ("start", "neod"),
        "down": ("stop", "neod"),
        "status": ("status", "neod"),
    }

    def control(word: str) -> str:
        command = ["supervisorctl", "-c", f"{config}", *words[word]]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    with running("supervisord", "-c", f"{config}", environ=at_home.environ):
        lives_as_told(at_home, sandbox, control, "RUNNING", "FATAL", log)


# A container


def lines(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.*)$", CONTAINERFILE, re.MULTILINE)


def test_what_the_containerfile_makes_serves_a_token(
    home: Home, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its steps in a scratch folder in place of a root; the image itself takes a registry."""
    made = tmp_path / "made"
    sources = [line.split() for line in lines("COPY") if not line.startswith("--from")]
    for *names, into in sources:
        target = Path(f"{made}{into}")
        if len(names) == 1 and (ROOT / names[0]).is_dir():
            shutil.copytree(ROOT / names[0], target, ignore=shutil.ignore_patterns("__pycache__"))
            continue
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(ROOT / name, target)
    [step] = lines("RUN")
    step = re.sub(r"(?<=\s)/(opt|src)\b", rf"{made}/\1", step)
    done = subprocess.run(["sh", "-c", step], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    variables = dict(word.split("=") for word in lines("ENV")[0].split())
    assert variables["PATH"].startswith("/opt/neod/bin:")

    home.configure(sandbox.url)
    command = ["neod", "run", "--config", f"{home.config}"]
    environ = {**home.environ, "PATH": f"{made}/opt/neod/bin:/usr/bin:/bin"}
    with subprocess.Popen(command, env=environ, cwd=tmp_path) as neod:
        try:
            until(home.socket.exists)
            words = ["neoctl", "token", "--wait", "10"]
            assert subprocess.check_output(words, env=environ, text=True).count(".") == 2
        finally:
            neod.terminate()
    assert neod.returncode == 0


def test_what_is_mounted_is_what_the_containerfile_speaks_of() -> None:
    variables = dict(word.split("=") for word in lines("ENV")[0].split())
    mounted = set(re.findall(r"--mount type=bind,src=\S+?,dst=([^\s,]+)", DOCUMENT))

    assert mounted == {
        f"{Path(variables['NEOD_SOCKET']).parent}",
        f"{variables['HOME']}/.config/neod",
        f"{variables['HOME']}/.local/state/neod",
    }
    assert f"NEOD_SOCKET={variables['NEOD_SOCKET']}" in DOCUMENT
    assert lines("USER") == ["1000:1000"]


class Container:
    """Processes with mounts and numbers of their own, and nothing else to show for it."""

    def __init__(self, script: str, *words: str, environ: Mapping[str, str]) -> None:
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.popen = subprocess.Popen(
            [*apart, "sh", "-c", script, "-", *words],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> str:
        assert self.popen.stdin
        assert self.popen.stdout
        print(line, file=self.popen.stdin, flush=True)
        return self.popen.stdout.readline().strip()

    def end(self) -> None:
        self.popen.kill()
        self.popen.communicate()


BOT = """
mount --bind "$1" "$2" && mount --bind "$1/neod.sock" "$3" || exit
while read -r path; do
    token=$(NEOD_SOCKET=$path "$4" -m neoctl token --wait 10 2>&1)
    echo "$? $token"
done
"""


def test_a_folder_that_is_shared_outlives_a_restart_and_a_file_does_not(
    at_home: Home, sandbox: Sandbox, tmp_path: Path
) -> None:
    at_home.configure(sandbox.url)
    shared = at_home.socket.parent
    shared.mkdir(mode=0o700)
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    start = f"exec {at_home.folder}/neod run"
    neod = Container(start, environ=at_home.environ)
    bot = None
    try:
        until(at_home.socket.exists)
        words = (f"{shared}", f"{folder}", f"{file}", sys.executable)
        bot = Container(BOT, *words, environ=at_home.environ)
        status, token = bot.ask(f"{folder}/neod.sock").split()
        assert status == "0"
        assert bot.ask(f"{file}") == f"0 {token}"

        neod.end()
        neod = Container(start, environ=at_home.environ)
        until(lambda: at_home.neoctl("token").returncode == 0)
        assert bot.ask(f"{folder}/neod.sock") == f"0 {token}"
        assert bot.ask(f"{file}").startswith("3 ")
    finally:
        neod.end()
        if bot is not None:
            bot.end()
