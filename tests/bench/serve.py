"""neod's speed beside Go's net/http and uvicorn, over Unix sockets. python -m tests.bench.serve

All three answer GET /v1/session with the same body: neod, which is started as users start it and
has every check and limit in force, with a session of the sandbox; the others with a file of the
same bytes. A client in C drives them in turns, over connections that are kept and over one
for each request. Go is left out if it is not there; `--rounds` and `--seconds` make it shorter.

To reach: at least 0.9 of Go's requests a second kept alive and 1.0 with a connection each, and
a p99 of at most twice Go's.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bench.place import (
    ROOT,
    cpu,
    machine,
    make_venv,
    median,
    parsed,
    resident,
    running,
    sandboxed,
    wait_for,
)
from tests.fakes.process import Home

HERE = Path(__file__).parent
CONNECTIONS = (1, 8, 32, 128)
JUDGED = 32  # connections, of which the targets speak
WAYS = ("kept", "each")
LEAST = {"kept": 0.9, "each": 1.0}  # of Go's requests a second
MOST_P99 = 2.0  # of Go's

Figure = Callable[[dict[str, float]], float]
Figures = dict[tuple[str, int, str], list[dict[str, float]]]


class Served:
    """A server that runs: its name, pid and socket."""

    def __init__(self, name: str, pid: int, path: Path) -> None:
        self.name = name
        self.pid = pid
        self.path = path


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="neod-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        client = folder / "client"
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", client, HERE / "client.c"], check=True)
        servers = _start(folder, stack)
        figures: Figures = {}
        for _ in range(options.rounds):
            for way in WAYS:
                for connections in CONNECTIONS:
                    for server in servers:
                        spent = cpu(server.pid)
                        told = _drive(client, server, way, connections, options.seconds)
                        told["server_cpu"] = cpu(server.pid) - spent
                        told["memory"] = resident(server.pid)
                        figures.setdefault((way, connections, server.name), []).append(told)
    print(f"{machine()}, {options.rounds} rounds of {options.seconds:g} s, medians")
    return _report(figures, [server.name for server in servers])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(".")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    return parser.parse_args()


def _start(folder: Path, stack: ExitStack) -> list[Served]:
    """All servers, the first of them neod, whose session is the others' body."""
    home = Home(folder / "home")
    stack.enter_context(sandboxed(home))
    python = make_venv(folder / "neod", f"{ROOT}")
    run = (python, "-m", "neod", "run", "--config", home.config)
    pid = stack.enter_context(running(*run, environ=home.environ))
    wait_for(home.socket, "/livez")
    body = folder / "body"
    body.write_bytes(wait_for(home.socket, "/v1/session?wait=10"))
    print(f"a body of {body.stat().st_size} bytes")
    servers = [Served("neod", pid, home.socket)]

    go = shutil.which("go")
    if go is None:
        print("no Go here: apt install golang-go")
    else:
        environ = {**os.environ, "GOCACHE": f"{folder / 'cache'}", "GO111MODULE": "off"}
        program = folder / "server"
        subprocess.run([go, "build", "-o", program, HERE / "server.go"], check=True, env=environ)
        print(subprocess.check_output([go, "version"], text=True).strip())
        path = folder / "go.sock"
        servers.append(Served("go", stack.enter_context(running(program, path, body)), path))

    python = make_venv(folder / "uvicorn", "uvicorn", "uvloop", "httptools")
    path = folder / "uvicorn.sock"
    options = ("--uds", path, "--loop", "uvloop", "--http", "httptools", "--no-access-log")
    command = (python, "-m", "uvicorn", *options, "--app-dir", HERE, "uvicorn_app:app")
    environ = {**os.environ, "BODY": f"{body}"}
    servers.append(Served("uvicorn", stack.enter_context(running(*command, environ=environ)), path))
    for server in servers:
        assert wait_for(server.path, "/v1/session") == body.read_bytes()
    return servers


def _drive(
    client: Path, server: Served, way: str, connections: int, seconds: float
) -> dict[str, float]:
    words: list[str | Path] = [
        client,
        server.path,
        "/v1/session",
        way,
        f"{connections}",
        f"{seconds}",
    ]
    return parsed(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _report(figures: Figures, names: list[str]) -> int:
    missed = 0
    print(
        f"{'':18}{'requests/s':>11}{'of Go':>7}{'p50 us':>8}{'p99 us':>8}{'of Go':>7}"
        f"{'CPU s/10k':>11}{'RSS MB':>8}{'client CPU':>12}"
    )
    for way in WAYS:
        for connections in CONNECTIONS:
            rounds = {name: figures[way, connections, name] for name in names}
            for name in names:
                print(f"{way} {connections:4} {name:8} {_line(rounds, name)}")
            if connections == JUDGED and "go" in names:
                rate, p99 = _ratio(rounds, "neod", _rate), _ratio(rounds, "neod", _p99)
                good = rate >= LEAST[way] and p99 <= MOST_P99
                missed += not good
                print(
                    f"     {'reached' if good else 'MISSED'}: {rate:.2f} of Go "
                    f"(at least {LEAST[way]}), p99 {p99:.2f} of Go's (at most {MOST_P99:g})"
                )
    return missed


def _line(rounds: dict[str, list[dict[str, float]]], name: str) -> str:
    told = rounds[name]
    rate, p99 = _ratio(rounds, name, _rate), _ratio(rounds, name, _p99)
    return (
        f"{median(map(_rate, told)):10.0f}{rate:7.2f}"
        f"{median(one['p50'] for one in told):8.0f}{median(map(_p99, told)):8.0f}{p99:7.2f}"
        f"{median(one['server_cpu'] / one['requests'] * 1e4 for one in told):11.3f}"
        f"{told[-1]['memory']:8.1f}"
        f"{median(one['cpu'] / one['seconds'] for one in told):12.2f}"
    )


def _rate(one: dict[str, float]) -> float:
    return one["requests"] / one["seconds"]


def _p99(one: dict[str, float]) -> float:
    return one["p99"]


def _ratio(rounds: dict[str, list[dict[str, float]]], name: str, figure: Figure) -> float:
    """The median of the rounds' ratios to Go; not a number without Go."""
    if "go" not in rounds:
        return float("nan")
    pairs = zip(rounds[name], rounds["go"], strict=True)
    return median(figure(one) / figure(go) for one, go in pairs)


if __name__ == "__main__":
    sys.exit(main())
