"""How soon neod answers after exec, and how large it is at rest. python -m tests.bench.start

The measure for the start is the import of what neod is made of, in turns with it. Both run in a
venv with a plain install, as users have it. To reach: at most 1.4 of the imports' time, and at
most 40 MB with one account that is logged in.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.place import (
    ROOT,
    machine,
    make_venv,
    median,
    resident,
    running,
    sandboxed,
    wait_for,
)
from tests.fakes.process import Home

ROUNDS = 15
IMPORTS = "import trio, httpx, msgspec, jwt"
MOST_TIME, MOST_MEMORY = 1.4, 40.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="neod-bench-") as folder:
        python = make_venv(Path(folder, "venv"), f"{ROOT}")
        home = Home(Path(folder, "home"))
        neod = [python, "-m", "neod", "run", "--config", home.config]
        imports, starts = [], []
        with sandboxed(home):
            for _ in range(ROUNDS + 1):
                imports.append(time_of_imports(python, folder))
                began = time.perf_counter()
                with running(*neod, environ=home.environ) as pid:
                    wait_for(home.socket, "/livez")
                    starts.append(time.perf_counter() - began)
                    wait_for(home.socket, "/v1/token?wait=10")
                    time.sleep(0.5)
                    memory = resident(pid)
    # The first round reads the files from the disk.
    spent = median(
        start / imported for start, imported in zip(starts[1:], imports[1:], strict=True)
    )
    print(machine())
    print(f"imports   {median(imports[1:]) * 1000:6.0f} ms")
    print(f"answering {median(starts[1:]) * 1000:6.0f} ms, {spent:.2f} of it (at most {MOST_TIME})")
    print(f"at rest   {memory:6.1f} MB (at most {MOST_MEMORY:.0f})")
    return int(spent > MOST_TIME or memory > MOST_MEMORY)


def time_of_imports(python: Path, folder: str) -> float:
    began = time.perf_counter()
    subprocess.run([python, "-c", IMPORTS], cwd=folder, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
