"""README's bots against the real daemon: they follow its sessions over a kill and a restart."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.bots import Bot, bot
from tests.fakes.process import Home, Neod, Sandbox

pytestmark = pytest.mark.outer


def program(name: str, package: str) -> str:
    """Where a program is; without it the test fails, and does not pass unseen."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"there is no {name}: apt-get install {package}")
    return found


def in_python(folder: Path, _home: Home) -> list[str]:
    (folder / "bot.py").write_text(bot("python"))
    return [sys.executable, f"{folder}/bot.py"]


def in_node(folder: Path, _home: Home) -> list[str]:
    (folder / "bot.mjs").write_text(bot("js"))
    return [program("node", "nodejs"), f"{folder}/bot.mjs"]


def in_go(folder: Path, home: Home) -> list[str]:
    go = program("go", "golang-go")
    (folder / "bot.go").write_text(bot("go"))
    environ = {**home.environ, "CGO_ENABLED": "0"}  # so that no C compiler is needed
    for words in (["vet"], ["build", "-o", f"{folder}/bot"]):
        done = subprocess.run(
            [go, *words, "bot.go"],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    # What gofmt would change, it names.
    gofmt = [program("gofmt", "golang-go"), "-l", "bot.go"]
    assert subprocess.check_output(gofmt, cwd=folder) == b""
    return [f"{folder}/bot"]


@pytest.mark.parametrize("made", [in_python, in_node, in_go], ids=["python", "node", "go"])
def test_a_bot_follows_rotations_over_a_kill_and_a_restart(
    home: Home, tmp_path: Path, made: Callable[[Path, Home], list[str]]
) -> None:
    words = made(tmp_path, home)
    with Sandbox("--life", "3") as sandbox:
        home.configure(sandbox.url)
        with Bot(*words, environ=home.environ) as running:  # before there is a neod
            with Neod(home) as neod:
                said = [running.generation() for _ in range(3)]
                neod.stop(signal.SIGKILL)
            with Neod(home):
                said += [running.generation() for _ in range(2)]

    assert said[:3] == [said[0], said[0] + 1, said[0] + 2]
    # One may have come and gone while there was nobody to tell of it; none is told twice.
    assert said == sorted(set(said))
