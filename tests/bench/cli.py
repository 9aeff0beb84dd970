"""What `neoctl token` costs a script, beside a bare interpreter. python -m tests.bench.cli

neod runs as users run it, on a session of the sandbox. The commands are run in turns, each right
after a bare `python -c pass` of the same interpreter, so that what else the machine does falls on
both; a ratio is of such a pair, and the median of all pairs is shown.

To reach: `neoctl token` at most 1.3 of the bare interpreter.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.place import ROOT, machine, make_venv, median, running, sandboxed, wait_for
from tests.fakes.process import Home

MOST = 1.3  # of a bare interpreter
JUDGED = "neoctl token"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(".")[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="neod-bench-") as name:
        folder = Path(name)
        home = Home(folder / "home")
        with sandboxed(home):
            python = make_venv(folder / "neod", f"{ROOT}")
            run = (python, "-m", "neod", "run", "--config", home.config)
            with running(*run, environ=home.environ):
                wait_for(home.socket, "/v1/token?wait=10")
                return _bench(folder, python, home, rounds)


def _bench(folder: Path, python: Path, home: Home, rounds: int) -> int:
    file = folder / "neoctl.pyz"
    subprocess.run([python, "-m", "neoctl.pack", file], check=True, stdout=subprocess.DEVNULL)
    request = "GET /v1/token HTTP/1.0\\r\\n\\r\\n"
    socket = os.fspath(home.socket)
    neoctl = os.fspath(python.with_name("neoctl"))
    bare = [os.fspath(python), "-c", "pass"]
    commands = {
        JUDGED: [neoctl, "token"],
        "python -m neoctl token": [os.fspath(python), "-m", "neoctl", "token"],
        "neoctl.pyz token": [os.fspath(python), os.fspath(file), "token"],
        "neoctl session": [neoctl, "session"],
        "neoctl headers": [neoctl, "headers"],
        "curl --unix-socket": ["curl", "-s", "--unix-socket", socket, "http://neod/v1/token"],
        "nc -U": ["sh", "-c", f"printf '{request}' | nc -NU '{socket}'"],
        "ssh-add -l (no agent)": ["ssh-add", "-l"],
    }
    there = {name: words for name, words in commands.items() if shutil.which(words[0])}
    missing = commands.keys() - there.keys()
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, words in there.items():
            pairs[name].append((_time(bare, home.environ), _time(words, home.environ)))
    print(f"{machine()}, {rounds} rounds, medians")
    print(f"{'':26}{'ms':>8}{'of python -c pass':>20}")
    for name, took in pairs.items():
        ratio = median(mine / bare_ for bare_, mine in took)
        print(f"{name:26}{median(mine for _, mine in took) * 1000:8.1f}{ratio:20.2f}")
    if missing:
        print(f"not here: {', '.join(sorted(missing))}")
    print(f"neoctl token imports, beyond a bare interpreter: {' '.join(_imports(python, home))}")
    ratio = median(mine / bare_ for bare_, mine in pairs[JUDGED])
    good = ratio <= MOST
    print(f"{'reached' if good else 'MISSED'}: {ratio:.2f} of a bare interpreter (at most {MOST})")
    return 0 if good else 1


def _time(words: list[str], environ: dict[str, str]) -> float:
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    subprocess.run(words, env=environ, stdout=quiet, stderr=quiet, check=False)
    return time.perf_counter() - began


def _imports(python: Path, home: Home) -> list[str]:
    """The modules that it has by the end and `python -c pass` has not."""
    show = "import sys; print(*sys.modules)"
    code = f"import sys; from neoctl.cli import main; main(['token']); {show}"
    found = []
    for text in (show, code):
        done = subprocess.run(
            [python, "-c", text], env=home.environ, check=True, capture_output=True, text=True
        )
        found.append(done.stdout.splitlines()[-1].split())
    return sorted(set(found[1]) - set(found[0]))


if __name__ == "__main__":
    sys.exit(main())
