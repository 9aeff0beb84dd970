"""Completion as a person has it: in real shells, with a neod that answers and without one."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neoctl.cli import VERBS
from neoctl.options import CHOICES
from tests import manual
from tests.completion import FIELDS, commands
from tests.fakes.canned import CannedNeod, json_of
from tests.test_glance import standing

pytestmark = pytest.mark.outer

COMPLETION = manual.DOCS / "completion"
SHELLS = ("bash", "zsh", "fish")
WAIT = 20.0  # seconds

# Where what is offered goes: a TAB inserts all of it, and the line is then printed in place of run.
BASH = f"""
PS1='ready> '; bind 'set enable-bracketed-paste off'; bind '"\\t": insert-completions'
source {COMPLETION}/neoctl.bash; source {COMPLETION}/neod.bash
"""
# Whatever is added to the matches is written down too.
ZSH = f"""
PS1='ready> '; unsetopt prompt_cr prompt_sp; zle_highlight=(); unset zle_bracketed_paste
fpath=({COMPLETION} $fpath); autoload -Uz compinit; compinit -u -D
_written_down() {{
    compadd() {{
        if [[ ${{@[1,(i)(-|--)]}} != *-(O|A|D)\\ * ]]; then
            local -a offered
            builtin compadd -O offered "$@"
            (( $#offered )) && print -rl -- $offered >>$HOME/offered
        fi
        builtin compadd "$@"
    }}
    _main_complete
}}
zle -C written-down complete-word _written_down; bindkey '\\t' written-down
"""


def need(program: str, package: str) -> None:
    """None of these is skipped: who runs the outer ring has what it needs."""
    assert shutil.which(program), f"{program} is missing: apt-get install {package}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user with neoctl and neod on PATH, and a file in the current folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a-file.toml").touch()
    for name in ("neoctl", "neod"):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        program.chmod(0o700)
    return tmp_path


@pytest.fixture
def neod(home: Path) -> Iterator[CannedNeod]:
    with CannedNeod(home / "neod.sock") as server:
        # What looks like an account, in a text, is none.
        accounts = {"main": standing(why='"no":{"state"'), "uat-2": standing()}
        server.reply = json_of({"version": "1", "since": 1.0, "accounts": accounts})
        yield server


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": os.fspath(home),
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": os.fspath(manual.DOCS.parent),
        "NEOD_SOCKET": os.fspath(home / "neod.sock"),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def offered(shell: str, line: str, home: Path) -> set[str]:
    """What a TAB at the end of this line offers."""
    need(shell, shell)
    if shell == "fish":
        return _of_fish(line, home)
    if shell == "zsh":
        return set(_typed("zsh", ZSH, f"{line}\t\x15", home))
    printed = f"{line}\t\x01printf '%s\\n' \x05 >$HOME/offered\r"
    words = _typed("bash", BASH, printed, home)
    before, _, partial = line.rpartition(" ")
    found = words[len(before.split()) :]
    return {word.removeprefix(partial.partition("=")[0] + "=") for word in found}


def _of_fish(line: str, home: Path) -> set[str]:
    script = f"source {COMPLETION}/neoctl.fish; source {COMPLETION}/neod.fish; complete -C $argv[1]"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        env=environment(home),
        cwd=home / "work",
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT,
    )
    assert done.stderr == ""
    words = {one.split("\t")[0] for one in done.stdout.splitlines()}
    return {word.removeprefix(line.rpartition(" ")[2].partition("=")[0] + "=") for word in words}


def _typed(shell: str, start: str, keys: str, home: Path) -> list[str]:
    """Type keys into an interactive shell; returns the lines of the file in which it puts them."""
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    (home / "start").write_text(start)
    (home / "offered").write_text("")
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.chdir(home / "work")
            os.execvpe(shell, [shell, *options], environment(home))
        finally:
            os._exit(127)
    try:
        os.write(master, f"source {home}/start\r".encode())
        _read(master, "ready> ")  # by then the terminal is the shell's, key by key
        os.write(master, f"{keys}echo do''ne\r".encode())
        _read(master, "done")
    finally:
        os.close(master)
        os.waitpid(pid, 0)
    return (home / "offered").read_text().splitlines()


def _read(master: int, until: str) -> None:
    raw, end = b"", time.monotonic() + WAIT
    while until.encode() not in raw:
        ready, _, _ = select.select([master], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"waited for {until!r} in vain after:\n{raw.decode(errors='replace')}"
        raw += os.read(master, 4096)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("neoctl ", {*VERBS, "help"}),
        ("neoctl tok", {"token"}),
        ("neoctl re", {verb for verb in VERBS if verb.startswith("re")}),
        ("neoctl -a main tok", {"token"}),
        ("neoctl token --w", {"--wait"}),
        ("neoctl token --min", {"--min-valid"}),
        ("neoctl status --li", {"--line"}),
        ("neoctl status --wa", set()),
        ("neoctl env --shell ", set(CHOICES["--shell"])),
        ("neoctl env --shell f", {"fish"}),
        ("neoctl env --shell=f", {"fish"}),
        ("neoctl exec --on-rotate ", set(CHOICES["--on-rotate"])),
        ("neoctl exec --on-rotate r", {"restart"}),
        ("neoctl token --wait ", set()),
        ("neoctl get ", set(FIELDS)),
        ("neoctl get expires_at_", {"expires_at_rfc3339"}),
        ("neoctl get --account=main kin", {"kind"}),
        ("neoctl token ", set()),
        ("neod ", {command.name for command in commands()}),
        ("neod che", {"check"}),
        ("neod sandbox --po", {"--port"}),
        ("neod run --config ", {"a-file.toml"}),
    ],
)
def test_a_tab_offers_what_can_stand_there(
    shell: str, line: str, words: set[str], home: Path
) -> None:
    found = {word.rstrip("=") for word in offered(shell, line, home)}
    partial = line.rpartition(" ")[2]
    if not words:
        # What was typed stays as it is; zsh offers options where nothing else can stand.
        assert {word for word in found if not word.startswith("-")} <= {partial} - {""}
    elif line == "neoctl ":
        assert found >= VERBS.keys()
    else:
        assert found - {"--help", "--version"} == words


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line", ["neoctl token -a ", "neoctl --account ", "neoctl status --account="]
)
def test_a_tab_offers_the_accounts_that_there_are(
    shell: str, line: str, home: Path, neod: CannedNeod
) -> None:
    assert offered(shell, line, home) == {"main", "uat-2"}


@pytest.mark.parametrize("shell", SHELLS)
def test_without_neod_no_account_is_offered_and_nothing_is_said(shell: str, home: Path) -> None:
    assert offered(shell, "neoctl token -a ", home) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_after_two_dashes_it_is_a_command_with_its_arguments(shell: str, home: Path) -> None:
    assert "neoctl" in offered(shell, "neoctl exec --env -- neoc", home)
    assert offered(shell, "neoctl exec -- cat a-fi", home) == {"a-file.toml"}


# The pages


@pytest.mark.parametrize(
    "path", sorted((manual.DOCS / "man").iterdir()), ids=lambda path: path.name
)
def test_a_page_is_set_without_a_warning(path: Path) -> None:
    need("man", "man-db")
    need("groff", "groff-base")
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "MANWIDTH": "80"}
    shown = subprocess.run(
        ["man", "--warnings", "-l", path], env=environ, capture_output=True, text=True, check=True
    )
    strict = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-z", path], capture_output=True, text=True, check=True
    )
    assert (shown.stderr, strict.stderr) == ("", "")
    assert "SEE ALSO" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
