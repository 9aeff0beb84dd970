"""neod as a process, and a sandbox beside it: for the tests that need the real thing."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

CONFIG = """
[account.main]
mobile = "9999996708"
password = { file = "password" }
consumer_key = "sandbox-consumer-key"
consumer_secret = "sandbox-consumer-secret"

[account.main.endpoints]
session = "URL"
api = "URL"
login = "URL"
"""


class Home:
    """A user's folders, all of them below one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.password = folder / "password"
        self.socket = folder / "neod.sock"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.fspath(folder),
            "XDG_STATE_HOME": os.fspath(folder / "state"),
            "XDG_CONFIG_HOME": os.fspath(folder / "config"),
            "NEOD_SOCKET": os.fspath(self.socket),
            "NEOD_LOG": "debug",
        }

    def configure(self, url: str, password: str = "sandbox-password", text: str = CONFIG) -> None:
        self.config.write_text(text.replace("URL", url))
        self.config.chmod(0o600)
        self.password.write_text(f"{password}\n")
        self.password.chmod(0o600)

    def neoctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "neoctl", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


class Process:
    """A command that is killed at the end, whatever happens."""

    def __init__(
        self,
        *words: str,
        environ: dict[str, str],
        through: tuple[str, ...] = (),
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """`through` is what starts it, by an exec."""
        self.popen = subprocess.Popen(
            [*through, sys.executable, "-m", "neod", *words],
            env=environ,
            pass_fds=pass_fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=1 << 20,  # nobody reads the log meanwhile, and a full one stops neod
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; returns the exit status, stdout and stderr."""
        self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=30)
        return self.popen.returncode, out, err


class Neod(Process):
    """`neod run`, which has said READY when this is made."""

    def __init__(self, home: Home, listening: socket.socket | None = None) -> None:
        """`listening` is passed as systemd passes the socket of a unit."""
        address = home.folder / "notify"
        address.unlink(missing_ok=True)
        through: tuple[str, ...] = ()
        if listening:
            start = f'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&{listening.fileno()}'
            through = ("bash", "-c", start, "-")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(os.fspath(address))
            notify.settimeout(20)
            super().__init__(
                "run",
                "--config",
                os.fspath(home.config),
                environ={**home.environ, "NOTIFY_SOCKET": os.fspath(address)},
                through=through,
                pass_fds=(listening.fileno(),) if listening else (),
            )
            while (said := notify.recv(4096)) != b"READY=1":
                assert said.startswith(b"STATUS=")


class Sandbox(Process):
    """`neod sandbox` on a port of its own."""

    def __init__(self, *options: str) -> None:
        super().__init__("sandbox", "--port", "0", *options, environ=dict(os.environ))
        assert self.popen.stdout
        first = self.popen.stdout.readline()
        self.url = next(word.rstrip(";") for word in first.split() if word.startswith("http://"))
