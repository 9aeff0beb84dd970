"""What the benches have in common: venvs of their own, processes, and figures of them."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.process import Home, Sandbox

ROOT = Path(__file__).parent.parent.parent


def make_venv(folder: Path, *packages: str) -> Path:
    """A venv with nothing but these packages; returns its python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True, stderr=subprocess.DEVNULL)
    # So that the first to run is not the one that compiles.
    subprocess.run([python, "-m", "compileall", "-q", folder / "lib"], check=False)
    return python


@contextmanager
def running(*words: object, environ: dict[str, str] | None = None) -> Iterator[int]:
    """A process, by its pid, until the end of the block."""
    with subprocess.Popen(
        [os.fspath(word) if isinstance(word, Path) else str(word) for word in words],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


@contextmanager
def sandboxed(home: Home) -> Iterator[None]:
    """A broker on loopback, and a configuration for it."""
    home.folder.mkdir()
    home.environ["NEOD_LOG"] = "info"
    with Sandbox() as sandbox:
        home.configure(sandbox.url)
        yield


def ask(path: Path, target: str) -> bytes:
    """The body of an answer, by HTTP/1.0. Raises OSError where nobody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        raw = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = raw.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise OSError(raw.decode())
    return body


def wait_for(path: Path, target: str, *, patience: float = 20.0) -> bytes:
    """Ask until there is an answer."""
    end = time.perf_counter() + patience
    while True:
        try:
            return ask(path, target)
        except OSError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.001)


def resident(pid: int) -> float:
    """MB that a process has in memory."""
    return int(field(pid, "VmRSS").split()[0]) * 1024 / 1e6


def cpu(pid: int) -> float:
    """Seconds of the processor that a process has had."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def field(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].partition("\n")[0]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    load = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    return f"{os.cpu_count()} processors, load {load}, Python {sys.version.split()[0]}"


def parsed(line: str) -> dict[str, float]:
    found = json.loads(line)
    assert isinstance(found, dict)
    return found
