"""What docs/operations.md says of an account's troubles and of the log, against a real neod."""

import json
import re
import shutil
from pathlib import Path

import pytest

from neod.sandbox.broker import Credentials
from tests.fakes.process import CONFIG, Home, Neod, Process, Sandbox

pytestmark = pytest.mark.outer

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()
WITH_MPIN = CONFIG.replace("[account.main.end", 'mpin = { file = "mpin" }\n\n[account.main.end', 1)


def told(words: str) -> str:
    """These words, which the document has to have."""
    assert words in DOCUMENT
    return words


def test_an_mpin_that_was_changed_is_put_in_its_place(home: Home, sandbox: Sandbox) -> None:
    mpin = home.folder / "mpin"
    mpin.touch(mode=0o600)
    mpin.write_text("111111\n")
    home.configure(sandbox.url, text=WITH_MPIN)
    with Neod(home):
        refused = home.neoctl("token", "--wait", "10")
        assert refused.returncode == 5
        assert told("the MPIN is wrong") in refused.stderr
        assert home.neoctl("status", "--line").stdout == f"{told('main credentials_rejected')}\n"

        mpin.write_text(f"{Credentials().mpin}\n")
        renewed = home.neoctl(*told("neoctl renew").split()[1:])
        assert renewed.returncode == 0, renewed.stderr
        assert home.neoctl("get", "kind").stdout == "trade\n"


def test_an_mpin_that_is_mended_before_a_reload_is_taken_up(home: Home, sandbox: Sandbox) -> None:
    mpin = home.folder / "mpin"
    mpin.touch(mode=0o600)
    mpin.write_text("111111\n")
    home.configure(sandbox.url, text=WITH_MPIN)
    with Neod(home):
        assert home.neoctl("token", "--wait", "10").returncode == 5
        mpin.write_text(f"{Credentials().mpin}\n")
        assert home.neoctl("reload").returncode == 0
        assert home.neoctl("wait", "--wait", "10").returncode == 0


def test_what_is_brought_to_another_machine_is_gone_on_with(
    home: Home, sandbox: Sandbox, tmp_path: Path
) -> None:
    home.configure(sandbox.url)
    with Neod(home):
        assert home.neoctl("get", "generation", "--wait", "10").stdout == "1\n"
    (tmp_path / "new").mkdir()
    new = Home(tmp_path / "new")
    new.configure(sandbox.url)
    shutil.copytree(home.folder / "state", new.folder / "state")  # and nothing of the socket's

    with Neod(new):
        assert new.neoctl("get", "generation", "--wait", "10").stdout == "2\n"
        logins = json.loads(new.neoctl("logins", "--json").stdout)["logins"]
        assert [one["generation"] for one in logins if one["event"] == "login"] == [2, 1]


def test_the_day_in_the_log_is_how_it_looks(home: Home) -> None:
    [day] = re.findall(r"<!-- a day -->\n\n```log\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    command = re.findall(r"`NEOD_LOG=info (neod demo --for) 30`", DOCUMENT)
    assert command == ["neod demo --for"]

    with Process("demo", "--for", "6", environ={**home.environ, "NEOD_LOG": "info"}) as demo:
        _, log = demo.popen.communicate(timeout=30)

    assert {shape(line) for line in log.splitlines()} == {shape(line) for line in day.splitlines()}


def shape(line: str) -> tuple[str, ...]:
    """Level, event and the names of the fields."""
    _, level, event, fields = (*line.split(" ", 3), "")[:4]
    return (level, event, *re.findall(r"(\w+)=(?:\"[^\"]*\"|\S+)", fields))
