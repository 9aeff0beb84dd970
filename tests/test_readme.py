"""What README says is true of the program, as are the commands and files of docs/."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from neoctl import client, wire
from neoctl.cli import VERBS
from neod import config
from neod.account.policy import Rules
from tests.fakes.bots import Bot, bot
from tests.fakes.process import Home, Process

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_says_of_commands_and_files_is_there(path: Path) -> None:
    text = path.read_text()

    assert set(re.findall(r"\bneoctl ([a-z]+)", text)) <= VERBS.keys()
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / link).is_file(), link
    for module in re.findall(r"python -m (tests[.\w]*)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_socket_is_told_to_be_where_it_is() -> None:
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    told = re.findall(r"`([^`]*/neod\.sock)`", protocol)

    assert "$NEOD_SOCKET" in protocol
    assert [path.replace("UID", "1000") for path in told] == [
        wire.socket_path({"XDG_RUNTIME_DIR": "/x"}, 1000).replace("/x", "$XDG_RUNTIME_DIR"),
        "/run/user/1000/neod/neod.sock",
        wire.socket_path({}, 2**31).replace(str(2**31), "1000"),
    ]


# The bots. Those that need more than Python are run in tests/outer/test_bots.py.


@pytest.mark.parametrize("language", ["python", "js", "go"])
def test_a_bot_has_fewer_than_25_lines_beside_its_imports(language: str) -> None:
    code = re.sub(r"^import \(\n.*?^\)$", "", bot(language), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in code.splitlines() if line and not re.match("import|package", line)]

    assert 10 < len(lines) < 25


def test_the_bot_in_python_says_each_generation_as_it_comes(home: Home, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(bot("python"))
    with Process("demo", environ=home.environ) as demo:
        assert demo.popen.stdout
        assert any("logged in" in line for line in demo.popen.stdout)
        with Bot(sys.executable, tmp_path / "bot.py", environ=home.environ) as running:
            assert running.generation() == 1
            client.post("/v1/renew", b"{}", environ=home.environ)
            assert running.generation() == 2


def test_every_claim_about_security_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        claims = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert claims, row
        for file, name in claims:
            found = re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())
            assert found, f"{file}::{name}"
