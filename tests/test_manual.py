"""The man pages and the completion are what the programs are, and go where they are looked for."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from neoctl import wire
from neoctl.cli import VERBS
from neoctl.options import CHOICES, OPTIONS
from neod.keys import KEYS
from tests import completion, manual

ROOT = Path(__file__).parent.parent
FILES = manual.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_what_the_programs_say_now(path: Path) -> None:
    assert path.read_text() == FILES[path], "python -m tests.manual --write"


def test_nothing_else_is_beside_them() -> None:
    folders = {path.parent for path in FILES}
    assert {path for folder in folders for path in folder.iterdir()} == FILES.keys()


def test_the_wheel_has_each_of_them_where_it_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {ROOT / path for path in shared} == FILES.keys()
    for path, place in shared.items():
        name = Path(path).name
        if name.endswith(".bash"):  # bash-completion looks for the command's name
            assert place == f"share/bash-completion/completions/{name.removesuffix('.bash')}"
        elif name.startswith("_"):
            assert place == f"share/zsh/site-functions/{name}"
        elif name.endswith(".fish"):
            assert place == f"share/fish/vendor_completions.d/{name}"
        else:
            assert place == f"share/man/man{name[-1]}/{name}"


def plain(text: str) -> str:
    """A page without its escapes."""
    return re.sub(r"\\f[BIR]|\\&", "", text).replace("\\-", "-").replace("\\(dq", '"')


def test_the_page_of_neoctl_has_every_verb_option_and_status() -> None:
    text = plain(manual.neoctl_1())
    for verb, (_, takes, _, _) in VERBS.items():
        assert re.search(rf"^\.TP\n{re.escape(f'{verb} {takes}'.strip())}$", text, re.MULTILINE)
    for name, (value, _) in OPTIONS.items():
        assert re.search(rf"{re.escape(f'{name} {value}'.strip())}$", text, re.MULTILINE)
    for status in {status for _, status, _ in wire.PROBLEMS.values()}:
        assert f"\n.TP\n{status}\n" in text


def test_the_page_of_neod_has_every_command_and_option() -> None:
    text = plain(manual.neod_8())
    assert {"run", "check", "login", "setup", "sandbox", "demo"} <= {
        command.name for command in completion.commands()
    }
    for command in completion.commands():
        assert re.search(rf"^\.TP\n{command.name}\b", text, re.MULTILINE)
        for option in command.options:
            assert option.what, f"neod {command.name} {option.value} is not explained"
            for name in option.names:
                assert f"{name} {option.value}".strip() in text


def test_the_page_of_the_file_has_every_key_with_its_default() -> None:
    text = plain(manual.neod_toml_5())
    assert re.findall(r"^\.SS \[(.*)\]$", text, re.MULTILINE) == list(KEYS)
    for found in KEYS.values():
        for key in found:
            assert f"\n.TP\n{key.name} ({key.takes})\n" in text
            assert not key.default or f"Default: {key.default}." in text


@pytest.mark.parametrize(
    "make", [completion.neoctl_bash, completion.neoctl_zsh, completion.neoctl_fish]
)
def test_each_shell_is_told_of_every_verb_option_and_value(make: Callable[[], str]) -> None:
    text = make()
    words = set(re.findall(r"[\w-]+", text))
    assert VERBS.keys() <= words
    assert {name.lstrip("-") for name in OPTIONS} <= {word.lstrip("-") for word in words}
    assert {choice for choices in CHOICES.values() for choice in choices} <= words


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a-b", "a\\-b"),
        ("'quoted'", "\\&\\(aqquoted\\(aq"),
        (".TH", "\\&.TH"),
        ("a\\b", "a\\eb"),
        ("a\n.b", "a\n\\&.b"),
    ],
)
def test_text_is_no_request_to_the_formatter(text: str, escaped: str) -> None:
    assert manual.roff(text) == escaped
