"""What README says is true of the program."""

import re
import tomllib
from pathlib import Path

import pytest

from neoctl import wire
from neod import config
from neod.account.policy import Rules

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


TOTP, PASSWORD, FURTHER = blocks("toml")


def read(text: str) -> config.Config:
    mistakes: list[str] = []
    found = config.read(tomllib.loads(text), Path("/nowhere"), mistakes)
    assert mistakes == []
    return found


def test_the_two_commands_are_single_lines_that_need_nothing_else() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv")]

    assert len(commands) == 2
    assert commands[0].endswith("neod demo")
    assert commands[1].endswith("pytest")


def test_the_configurations_are_accepted() -> None:
    assert read(TOTP).accounts["main"].flow == "totp"
    assert read(PASSWORD).accounts["main"].flow == "password"


def test_the_defaults_are_those_that_are_told() -> None:
    told = read(PASSWORD + FURTHER)

    assert told.accounts["main"].rules == Rules()
    assert told.accounts["main"].endpoints == read(PASSWORD).accounts["main"].endpoints
    assert told.server == config.Server()


@pytest.mark.parametrize("key", re.findall(r"^# (\w+) = ", PASSWORD, re.MULTILINE))
def test_a_key_that_is_commented_out_is_a_key(key: str) -> None:
    uncommented = re.sub(rf"^# ({key} = )", r"\1", PASSWORD, flags=re.MULTILINE)
    mistakes: list[str] = []

    config.read(tomllib.loads(uncommented), Path("/nowhere"), mistakes)

    assert not [mistake for mistake in mistakes if "unknown key" in mistake]


def test_every_exit_status_is_in_the_table() -> None:
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}

    assert told == {status for _, status, _ in wire.PROBLEMS.values()} | {0}


def test_every_promise_is_tested_by_its_name() -> None:
    promised = set(re.findall(r"\*\*(P\d)\*\*", README))
    sources = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    tested = set(re.findall(r"def test_(?:p\d_)*(p\d)_", sources))
    tested |= set(re.findall(r"def test_(p\d)_p\d_", sources))

    assert {promise.lower() for promise in promised} <= tested
