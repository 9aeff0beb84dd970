"""The table of the configuration's keys and the reader say the same."""

import re
import tomllib
from pathlib import Path

import pytest

from neod import config
from neod.keys import KEYS, Key
from tests.fakes.world import account

DEFAULTS = [
    pytest.param(table, key, id=f"{table}.{key.name}")
    for table, found in KEYS.items()
    for key in found
    if key.default
]
SUBTABLES = {name.rpartition(".")[2] for name in KEYS if name.count(".") == 2}
BASE = """
[account.main]
mobile = "9999996708"
password = "x"
access_token = "y"
"""


def read(text: str) -> tuple[config.Config, list[str]]:
    mistakes: list[str] = []
    return config.read(tomllib.loads(text), Path("/nowhere"), mistakes), mistakes


@pytest.mark.parametrize("table", KEYS)
def test_the_table_has_the_keys_that_the_reader_takes(table: str) -> None:
    header = table.replace("NAME", "main")
    _, mistakes = read(f"[{header}]\nqqqqqqqqqqqq = 1\n")
    [known] = [
        found[1] for one in mistakes if (found := re.search("unknown key; known are (.*)", one))
    ]
    of_tables = SUBTABLES if table == "account.NAME" else set()
    assert set(known.split(", ")) - of_tables == {key.name for key in KEYS[table]}


@pytest.mark.parametrize(("table", "key"), DEFAULTS)
def test_a_default_that_is_written_down_changes_nothing(table: str, key: Key) -> None:
    if table == "account.NAME":
        text = BASE + f"{key.name} = {key.default}\n"
    else:
        text = f"{BASE}[{table.replace('NAME', 'main')}]\n{key.name} = {key.default}\n"
    (usual, none), (same, mistakes) = read(BASE), read(text)
    assert (none, mistakes) == ([], [])
    assert same.server == usual.server
    for field in ("flow", "environment", "rules"):
        assert getattr(same.accounts["main"], field) == getattr(usual.accounts["main"], field)


@pytest.mark.parametrize(("table", "key"), DEFAULTS)
def test_another_value_than_the_default_is_another(table: str, key: Key) -> None:
    """So that the test before this one shows something."""
    if key.name in ("flow", "environment"):
        assert (account().flow, account().environment) == ("password", "prod")
        return
    other = {'"auto"': '"none"', "4": "3", "24": "23"}.get(key.default, "7777")
    text = f"{BASE}[{table.replace('NAME', 'main')}]\n{key.name} = {other}\n"
    changed, mistakes = read(text)
    usual, _ = read(BASE)
    assert mistakes == []
    assert (changed.server, changed.accounts["main"].rules) != (
        usual.server,
        usual.accounts["main"].rules,
    )


def test_a_mistake_in_a_key_says_what_the_table_says_it_takes() -> None:
    """A table where a secret belongs, and a number where a duration does."""
    for table, found in KEYS.items():
        for key in found:
            wrong = {"secret": "1", "duration": '"x"', "number": '"x"'}.get(key.takes)
            if wrong is None:
                continue
            _, mistakes = read(f"[{table.replace('NAME', 'main')}]\n{key.name} = {wrong}\n")
            expected = {"secret": "a string, or a table", "duration": "a duration such as"}
            wanted = expected.get(key.takes, "a whole number")
            assert any(f".{key.name}: " in one and wanted in one for one in mistakes), key.name
