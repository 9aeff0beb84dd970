"""The daemon and the sandbox of the storm, as processes, with the folders that they live in."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import trio

from tests.bench.storm.broker import WHO
from tests.bench.storm.judge import Judge, now
from tests.fakes.process import Home

ROOT = Path(__file__).parent.parent.parent.parent
BUDGET = 40  # logins in 10 minutes
POOR = 3
STOP_TIME = 10.0  # seconds in which neod has to be gone after a SIGTERM
START_TIME = 20.0

ENDS = """
[account.NAME.endpoints]
session = "URL"
api = "URL"
login = "URL"

[account.NAME.renewal]
margin = "MARGIN"
logins_per_10min = BUDGET
logins_per_day = 10000

[account.NAME.hooks]
on_rotate = ["/bin/sh", "HOME/hook"]
on_event = ["/bin/sh", "HOME/hook"]
"""
PASSWORD = """
[account.NAME]
WHO
password = { file = "secrets/password" }
consumer_key = { file = "secrets/consumer_key" }
consumer_secret = { env = "STORM_CONSUMER_SECRET" }
mpin = { command = ["/bin/sh", "HOME/mpin"] }
"""
CODES = """
[account.codes]
flow = "totp"
mobile = "9999996708"
ucc = "D2014"
access_token = { file = "secrets/access_token" }
totp_secret = { file = "secrets/totp_secret" }
mpin = { file = "secrets/mpin" }
"""
SERVER = """
[server]
max_connections = 300
head_timeout = "2s"
grace = "1s"
"""
HOOK = 'cat >/dev/null; { env; tr "\\0" " " </proc/$PPID/cmdline; } >"HOME/seen/$$"\n'
MPIN = '{ env; tr "\\0" " " </proc/$PPID/cmdline; } >"HOME/seen/mpin"; cat "HOME/secrets/mpin"\n'


def _spawn(
    words: list[str],
    *,
    stdout: int | IO[bytes],
    stderr: IO[bytes] | None = None,
    env: dict[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, cwd=ROOT, stdout=stdout, stderr=stderr, env=env)


class House:
    """The folders, and the configuration as it is wanted by now."""

    def __init__(self, folder: Path, port: int, judge: Judge) -> None:
        self.home = Home(folder / "home")
        self.logs = folder / "logs"
        self.url = f"http://127.0.0.1:{port}/"
        self.margin = "15min"
        self.budget = BUDGET
        self.family = False
        self._judge = judge
        for path in (self.home.folder, self.logs):
            path.mkdir()
        for name in ("secrets", "seen"):
            (self.home.folder / name).mkdir(mode=0o700)
        for name in ("password", "consumer_key", "access_token", "totp_secret", "mpin"):
            self.write(f"secrets/{name}", str(getattr(WHO, name)))
        for name, text in (("hook", HOOK), ("mpin", MPIN)):
            self.write(name, text.replace("HOME", os.fspath(self.home.folder)))
        self.state = self.home.folder / "state" / "neod"
        self.state.mkdir(parents=True, mode=0o700)
        self.home.environ |= {"STORM_CONSUMER_SECRET": WHO.consumer_secret}

    def write(self, name: str, text: str) -> None:
        """As an editor does it, in one go."""
        path = self.home.folder / name
        new = path.with_name(f"{path.name}.edited")
        new.write_text(text)
        new.chmod(0o600)
        new.replace(path)

    def configure(self, more: str = "") -> None:
        """Write the configuration; the daemon is to be told of it."""
        accounts = PASSWORD.replace("WHO", 'mobile = "9999996708"').replace("NAME", "main")
        accounts += ENDS.replace("NAME", "main") + CODES + ENDS.replace("NAME", "codes")
        if self.family:
            family = PASSWORD.replace("WHO", f'pan = "{WHO.pan}"') + ENDS
            accounts += family.replace("NAME", "family")
        for name, text in (
            *(("URL", self.url), ("MARGIN", self.margin), ("BUDGET", str(self.budget))),
            ("HOME", os.fspath(self.home.folder)),
        ):
            accounts = accounts.replace(name, text)
        self.write("config.toml", accounts + SERVER + more)
        self._judge.configured(self.budget)


class Sandbox:
    """The broker's process, which may go and come back at the same port."""

    def __init__(self, port: int, journal: Path, life: float) -> None:
        self._words = ("--port", str(port), "--journal", os.fspath(journal), "--life", str(life))
        self._popen: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        words = [sys.executable, "-m", "tests.bench.storm.broker", *self._words]
        self._popen = _spawn(words, stdout=subprocess.PIPE)
        assert self._popen.stdout
        await trio.to_thread.run_sync(self._popen.stdout.readline)

    def signal(self, number: int) -> None:
        assert self._popen
        self._popen.send_signal(number)

    def kill(self) -> None:
        if self._popen:
            self._popen.kill()
            self._popen.wait()
            assert self._popen.stdout
            self._popen.stdout.close()


class Daemon:
    """neod's process, life after life."""

    def __init__(self, house: House, judge: Judge) -> None:
        self.lives = 0
        self.held = trio.Lock()  # by whoever does something to the process
        self._house = house
        self._judge = judge
        self._popen: subprocess.Popen[bytes] | None = None
        self._down = judge.during("pause", "down")
        self._down.__enter__()

    @property
    def pid(self) -> int:
        assert self._popen
        return self._popen.pid

    async def start(self) -> None:
        """Start it, and wait for its READY."""
        self.lives += 1
        home = self._house.home
        address = home.folder.parent / "notify"
        address.unlink(missing_ok=True)
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            await notify.bind(os.fspath(address))
            with (self._house.logs / f"{self.lives}.log").open("wb") as log:
                self._popen = _spawn(
                    [sys.executable, "-m", "neod", "run", "--config", os.fspath(home.config)],
                    stdout=log,
                    stderr=log,
                    env={**home.environ, "NOTIFY_SOCKET": os.fspath(address)},
                )
            ready = False
            with trio.move_on_after(START_TIME):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ended, nursery.cancel_scope)
                    while await notify.recv(4096) != b"READY=1":
                        pass
                    ready = True
                    nursery.cancel_scope.cancel()
        if ready:
            self._down.__exit__(None, None, None)
            self._judge.up()
        elif self.ended is None:
            self._judge.broke("start", f"not ready within {START_TIME:.0f} s: {self.last_words}")
            self.signal(signal.SIGKILL)
            await self._gone(5)

    async def _ended(self, scope: trio.CancelScope) -> None:
        assert self._popen
        while self._popen.poll() is None:  # noqa: ASYNC110 - a process is asked
            await trio.sleep(0.05)
        scope.cancel()

    @property
    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll() if self._popen else None

    @property
    def last_words(self) -> str:
        text = (self._house.logs / f"{self.lives}.log").read_text(errors="replace")
        return text[-1500:]

    def signal(self, number: int) -> None:
        assert self._popen
        self._popen.send_signal(number)

    async def _gone(self, patience: float) -> int | None:
        assert self._popen
        with trio.move_on_after(patience):
            while self._popen.poll() is None:  # noqa: ASYNC110 - as above
                await trio.sleep(0.02)
        return self._popen.poll()

    def _is_down(self) -> None:
        self._down = self._judge.during("pause", "down")
        self._down.__enter__()
        self._judge.deaths.append(now())

    async def kill(self) -> None:
        self._is_down()
        self.signal(signal.SIGKILL)
        await self._gone(5)

    async def stop(self) -> None:
        """SIGTERM, and a clean exit, which is a promise."""
        self._is_down()
        self.signal(signal.SIGTERM)
        status = await self._gone(STOP_TIME)
        if status is None:
            self._judge.broke("exit", f"neod was there {STOP_TIME:.0f} s after a SIGTERM")
            self.signal(signal.SIGKILL)
            await self._gone(5)
        elif status != 0:
            self._judge.broke("exit", f"status {status} after a SIGTERM: {self.last_words}")

    def discard(self) -> None:
        if self._popen and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()

    # Its limits

    def limit_files(self, limit: int | None) -> None:
        """Leave it no more descriptors than it has, or as many as before."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit or hard, hard))

    def highest_descriptor(self) -> int:
        return max(int(path.name) for path in Path(f"/proc/{self.pid}/fd").iterdir())


class Disk:
    """A small disk of its own for neod's state, which can be filled; only root can mount one."""

    SIZE = "4m"

    def __init__(self, state: Path) -> None:
        self._state = state
        self._filler = state / "somebody-elses"
        words = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={self.SIZE},mode=0700",
            "neod-storm",
            os.fspath(state),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.mounted = done.returncode == 0
        self.why = done.stderr.strip()

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def clear(self) -> None:
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.mounted:
            with suppress(OSError):
                subprocess.run(["umount", "-l", self._state], check=False)
