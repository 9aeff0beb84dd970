"""A thousand watchers and a renewal: until the last has it. python -m tests.bench.watch

neod runs as users run it, on a session of the sandbox. A tenth of the watchers belong to a process
of their own, which in every other round is stopped (SIGSTOP): the time of the others is to stay
what it is. Each round is one `POST /v1/renew`; the time counts from the moment at which neod put
the session up, which the line itself says, to the moment at which a watcher has the whole line.

To reach: at most 15 kB of neod's memory a watcher.
"""

import argparse
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.place import ROOT, machine, make_venv, median, resident, running, sandboxed
from tests.bench.place import wait_for as wait_until_answered
from tests.fakes.process import Home

MOST_MEMORY = 15.0  # kB of neod's memory a watcher
PATIENCE = 20.0  # seconds for a renewal to reach everybody


class Crowd:
    """Watchers, all of them in this process."""

    def __init__(self, path: Path, count: int) -> None:
        self._poller = select.epoll()
        self._watchers: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        for _ in range(count):
            watcher = socket.socket(socket.AF_UNIX)
            watcher.connect(os.fspath(path))
            watcher.sendall(b"GET /v1/watch HTTP/1.0\r\n\r\n")
            self._watchers[watcher.fileno()] = watcher
            self._rest[watcher.fileno()] = b""
            self._poller.register(watcher.fileno(), select.EPOLLIN)

    def wait_for(self, generation: int) -> list[float]:
        """Milliseconds from publication until each had the session of this generation."""
        wanted = b'"event":"session","account":"main","at":'
        mark = f'"generation":{generation},'.encode()
        took: list[float] = []
        missing = set(self._watchers)
        end = time.monotonic() + PATIENCE
        while missing and time.monotonic() < end:
            for number, _ in self._poller.poll(0.5):
                some = self._watchers[number].recv(65536)
                now = time.time()  # noqa: TID251 - a bench has no other clock
                assert some, "neod closed the connection"
                *lines, self._rest[number] = (self._rest[number] + some).split(b"\n")
                for line in lines:
                    if number in missing and wanted in line and mark in line:
                        took.append((now - json.loads(line)["at"]) * 1000)
                        missing.discard(number)
        assert not missing, f"{len(missing)} watchers were never told"
        return took


def main() -> int:
    options = _options()
    _raise_file_limit()
    if options.child:
        Crowd(options.child, options.watchers)
        print("watching", flush=True)
        signal.pause()
        return 0
    with tempfile.TemporaryDirectory(prefix="neod-bench-") as name:
        return _bench(Path(name), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(".")[0])
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _bench(folder: Path, options: argparse.Namespace) -> int:
    home = Home(folder / "home")
    with sandboxed(home):
        with home.config.open("a") as config:
            config.write("\n[server]\nmax_connections = 4000\nmax_watchers = 3000\n")
        python = make_venv(folder / "neod", f"{ROOT}")
        run = (python, "-m", "neod", "run", "--config", home.config)
        with running(*run, environ=home.environ) as pid:
            wait_until_answered(home.socket, "/v1/session?wait=10")
            with _renewing(home.socket):  # so that what it leaves in memory is there already
                pass
            before = resident(pid)
            stopped = options.watchers // 10
            command = [sys.executable, "-m", "tests.bench.watch"]
            command += ["--child", os.fspath(home.socket), "--watchers", f"{stopped}"]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
                try:
                    assert child.stdout
                    child.stdout.readline()
                    crowd = Crowd(home.socket, options.watchers - stopped)
                    return _rounds(home, pid, before, crowd, child, options)
                finally:
                    child.send_signal(signal.SIGCONT)
                    child.kill()


def _rounds(
    home: Home,
    pid: int,
    before: float,
    crowd: Crowd,
    child: "subprocess.Popen[bytes]",
    options: argparse.Namespace,
) -> int:
    crowd.wait_for(_generation(home.socket))
    a_watcher = (resident(pid) - before) * 1000 / options.watchers
    figures: dict[str, list[list[float]]] = {"all awake": [], "100 stopped": []}
    for number in range(2 * options.rounds):
        name = "100 stopped" if number % 2 else "all awake"
        child.send_signal(signal.SIGSTOP if number % 2 else signal.SIGCONT)
        generation = _generation(home.socket) + 1
        with _renewing(home.socket):  # whose answer is read when all have the session
            figures[name].append(sorted(crowd.wait_for(generation)))
    after = (resident(pid) - before) * 1000 / options.watchers
    print(f"{machine()}, {options.watchers} watchers, {options.rounds} rounds each, medians")
    print(f"{'':14}{'first ms':>10}{'half ms':>10}{'last ms':>10}")
    for name, rounds in figures.items():
        first, half, last = (
            median(took[place] for took in rounds) for place in (0, len(rounds[0]) // 2, -1)
        )
        print(f"{name:14}{first:10.1f}{half:10.1f}{last:10.1f}")
    awake, asleep = (median(took[-1] for took in rounds) for rounds in figures.values())
    print(
        f"with a tenth stopped, the last of the others has it in {asleep / awake:.2f} of the time"
    )
    good = a_watcher <= MOST_MEMORY
    print(
        f"{'reached' if good else 'MISSED'}: {a_watcher:.1f} kB of memory a watcher "
        f"(at most {MOST_MEMORY:g}); "
        f"{after:.1f} kB after {2 * options.rounds} renewals"
    )
    return 0 if good else 1


@contextmanager
def _renewing(path: Path) -> Iterator[None]:
    """Have neod log in meanwhile; at the end of the block, wait until it has."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(os.fspath(path))
        client.sendall(b"POST /v1/renew HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        yield
        raw = b"".join(iter(lambda: client.recv(65536), b""))
    assert b'"outcome":"renewed"' in raw, raw


def _generation(path: Path) -> int:
    return int(json.loads(wait_until_answered(path, "/v1/session"))["generation"])


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
