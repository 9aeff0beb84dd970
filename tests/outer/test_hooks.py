"""The recipes of docs/hooks.md, run as they stand there: one with a real Redis, all with stand-ins.

The stand-ins for programs that talk to the world note what they were called with and given.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.process import CONFIG, Home, Neod, Sandbox

pytestmark = pytest.mark.outer

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "hooks.md"
RECIPES: list[str] = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
EVENT = json.dumps(
    {"event": "blocked", "account": "main", "at": 1.0, "state": "blocked", "detail": "it's $(x) \""}
)
STAND_IN = """#!/bin/sh
name=$(basename "$0")
printf '%s\\n' "$name" "$@" >>"$NOTES/argv"
case $name in notify-send) ;; *) cat >>"$NOTES/stdin" ;; esac
"""


def recipe(word: str) -> str:
    [found] = [text for text in RECIPES if word in text]
    return found


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    ("name", "stands_in", "in_argv", "on_stdin"),
    [
        ("ntfy", "curl", "Title: neod", "main: blocked\nit's $(x) \"\n"),
        ("telegram", "curl", "text=main: blocked\nit's $(x) \"", "/bota:token/sendMessage"),
        ("notify-send", "notify-send", "main: blocked\nit's $(x) \"", ""),
        ("vault", "vault", "secret/neod/main", '"event": "blocked"'),
        ("kubectl", "kubectl", "--from-file=session.json=", ""),
    ],
)
def test_a_recipe_calls_its_program_with_what_happened(
    tmp_path: Path, name: str, stands_in: str, in_argv: str, on_stdin: str
) -> None:
    program(tmp_path / "bin" / stands_in, STAND_IN)
    secret = tmp_path / ".config" / "neod" / "telegram"
    secret.parent.mkdir(parents=True)
    secret.write_text("a:token\n")
    environ = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "NOTES": f"{tmp_path}",
        "HOME": f"{tmp_path}",
        "NEOD_ACCOUNT": "main",
    }
    script = program(tmp_path / "hook", recipe(name))

    subprocess.run([script], env=environ, input=EVENT.encode(), check=True, timeout=20)

    argv = (tmp_path / "argv").read_text()
    assert in_argv in argv
    assert "a:token" not in argv
    if on_stdin:
        assert on_stdin in (tmp_path / "stdin").read_text()


def test_a_real_redis_has_each_session_until_it_ends(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    server = ["redis-server", "--port", "0", "--unixsocket", f"{path}", "--dir", f"{tmp_path}"]
    cli = ["redis-cli", "-s", f"{path}"]

    def ask(*words: str) -> str:
        return subprocess.run([*cli, *words], capture_output=True, text=True, check=False).stdout

    with subprocess.Popen([*server, "--save", ""], stdout=subprocess.DEVNULL) as redis:
        try:
            found = subprocess.run(
                ["which", "redis-cli"], capture_output=True, text=True, check=True
            )
            only_here = f'#!/bin/sh\nexec {found.stdout.strip()} -s {path} "$@"\n'
            program(tmp_path / "bin" / "redis-cli", only_here)
            hook = program(tmp_path / "to-redis", recipe("redis-cli"))
            home.environ["PATH"] = f"{tmp_path / 'bin'}:{home.environ['PATH']}"
            with Sandbox() as sandbox:
                home.configure(
                    sandbox.url, text=f'{CONFIG}\n[account.main.hooks]\non_rotate = ["{hook}"]\n'
                )
                with Neod(home):
                    assert home.neoctl("token", "--wait", "10").returncode == 0
                    _until(lambda: ask("EXISTS", "neod:main") == "1\n")
                    first = json.loads(ask("GET", "neod:main"))
                    assert first == json.loads(home.neoctl("session").stdout)
                    assert ask("EXPIRETIME", "neod:main") == f"{first['expires_at']}\n"

                    assert home.neoctl("renew").returncode == 0
                    _until(lambda: '"generation":2' in ask("GET", "neod:main"))
        finally:
            redis.terminate()


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)  # another program's doing, which nothing tells of
