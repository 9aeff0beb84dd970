"""`neod setup`: the questions, what is written, and that nothing is where it ends early."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod import config
from neod.config import ConfigError
from neod.interview import Ask, Dialogue, Plan, T, interview, replace_it
from neod.secrets import Secret
from neod.setup import (
    farewell,
    put_in_place,
    render,
)
from tests import screens
from tests.fakes.keyring_backend import KeyringFolder
from tests.screens import FIRST, TOTP_SECRET, environment, on_a_terminal

FOLDER = Path("/h/.config/neod")
TOKEN, MPIN, PASSWORD = "t0ken-c4nary", "m-c4nary", " p4ss c4nary "
TOTP = ["totp", "prod", "9999996708", "AB123", "file", TOKEN, "file", TOTP_SECRET]
TOTP += ["mpin", "file", MPIN]
CONSUMER = ["password", "uat", "pan", "abcde1234f", "file", PASSWORD, "consumer", "the-key"]
CONSUMER += ["file", "c0nsumer-c4nary", "otp"]


class TooFew(Exception):  # noqa: N818
    """The questions go on where the answers end."""


def talk(dialogue: Dialogue[T], answers: Sequence[str]) -> tuple[list[Ask], T]:
    """Answer the questions; returns them, and what came of it. Raises TooFew."""
    asked = [next(dialogue)]
    for answer in answers:
        try:
            asked.append(dialogue.send(answer))
        except StopIteration as end:
            assert answer is answers[-1]
            return asked, end.value
    raise TooFew(asked[-1].prompt)


def planned(answers: Sequence[str], *, keyring: bool = True) -> Plan:
    return talk(interview(FOLDER, "/h", keyring=keyring), answers)[1]


def reason(answers: Sequence[str]) -> str:
    """What is said before the question that follows the last answer."""
    dialogue = interview(FOLDER, "/h", keyring=False)
    ask = next(dialogue)
    for answer in answers:
        ask = dialogue.send(answer)
    return ask.before.strip()


# Pure: the questions.


def test_the_totp_flow_is_asked_to_its_end() -> None:
    plan = planned(TOTP)
    assert plan.table == {
        "flow": "totp",
        "environment": "prod",
        "mobile": "9999996708",
        "ucc": "AB123",
        "access_token": {"file": "~/.config/neod/access-token"},
        "totp_secret": {"file": "~/.config/neod/totp-secret"},
        "second_factor": "mpin",
        "mpin": {"file": "~/.config/neod/mpin"},
    }
    assert plan.files[FOLDER / "access-token"].reveal() == TOKEN
    assert plan.entries == {}


def test_the_password_flow_is_asked_to_its_end_and_spaces_belong_to_a_password() -> None:
    plan = planned(CONSUMER)
    assert plan.table["pan"] == "abcde1234f"
    assert plan.table["consumer_key"] == "the-key"
    assert plan.table["second_factor"] == "otp"
    assert plan.files[FOLDER / "password"].reveal() == PASSWORD


def test_a_token_takes_the_place_of_the_consumer() -> None:
    plan = planned([*CONSUMER[:6], "token", "file", TOKEN, "none"])
    assert "consumer_key" not in plan.table
    assert "mpin" not in plan.table
    assert plan.files[FOLDER / "access-token"].reveal() == TOKEN


def test_enter_takes_what_is_in_brackets() -> None:
    usual = ["", "", "9999996708", "AB123", "", TOKEN, "", TOTP_SECRET, "", "", MPIN]
    assert planned(usual) == planned(TOTP)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (["none"], 'expected "password" or "totp"'),
        (["totp", "live"], 'expected "prod" or "uat"'),
        (
            ["totp", "prod", "12345"],
            'expected a string of ten digits, or one such as "+919999996708"',
        ),
        (["totp", "prod", ""], "expected an answer"),
        (["totp", "prod", "\x1b[A"], "expected printable characters"),
        ([*TOTP[:4], "cloud"], "expected file or command"),
        ([*TOTP[:4], "keyring"], "expected file or command"),
        ([*TOTP[:5], "two words"], "it holds what cannot stand in a header"),
        ([*TOTP[:7], "not base32!"], "it is no base32, as the app shows it"),
        ([*TOTP[:8], "otp"], 'flow = "totp" takes "mpin" or "none"'),
        ([*TOTP[:4], "command", 'pass "x'], "No closing quotation"),
        ([*TOTP[:4], "command", "''"], "expected the command as an array of strings"),
        ([*CONSUMER[:3], "12345"], "expected five letters, four digits and a letter"),
    ],
)
def test_a_wrong_answer_is_asked_again_with_the_reason(answers: list[str], why: str) -> None:
    assert reason(answers).startswith(why)
    dialogue = interview(FOLDER, "/h", keyring=False)
    asked = [next(dialogue), *(dialogue.send(answer) for answer in answers)]
    assert asked[-1].prompt == asked[-2].prompt
    assert asked[-1].hidden == asked[-2].hidden


def test_a_secret_that_went_to_the_wrong_question_is_not_repeated() -> None:
    dialogue = interview(FOLDER, "/h", keyring=False)
    asked = [next(dialogue), *(dialogue.send("c4nary") for _ in range(3))]
    assert "c4nary" not in str(asked)


def test_secrets_and_nothing_else_are_read_hidden() -> None:
    asked, _ = talk(interview(FOLDER, "/h", keyring=True), TOTP)
    hidden = [answer for ask, answer in zip(asked, TOTP, strict=True) if ask.hidden]
    assert hidden == [TOKEN, TOTP_SECRET, MPIN]


def test_the_keyring_is_offered_only_where_it_is_installed() -> None:
    plan = planned([*TOTP[:-2], "keyring", MPIN])
    assert plan.entries == {"neod/main/mpin": Secret(MPIN)}
    assert plan.table["mpin"] == {"keyring": "neod/main/mpin"}
    with pytest.raises(TooFew):
        planned([*TOTP[:-2], "keyring", MPIN], keyring=False)


def test_a_command_becomes_an_array_and_asks_for_no_secret() -> None:
    plan = planned([*TOTP[:-2], "command", "pass show 'neod/my mpin'"])
    assert plan.table["mpin"] == {"command": ["pass", "show", "neod/my mpin"]}
    assert FOLDER / "mpin" not in plan.files


@pytest.mark.parametrize(
    ("answer", "may"), [("yes", True), ("y", False), ("YES", False), ("", False)]
)
def test_only_a_yes_typed_out_replaces_a_file(answer: str, may: bool) -> None:  # noqa: FBT001
    assert talk(replace_it("x"), [answer])[1] is may


def test_a_prompt_fits_a_terminal() -> None:
    for answers in (TOTP, CONSUMER):
        asked, _ = talk(interview(FOLDER, "/h", keyring=True), answers)
        for ask in asked:
            assert all(len(each) <= 80 for each in (*ask.before.splitlines(), ask.prompt))


# Pure: the text.


@pytest.mark.parametrize("answers", [TOTP, CONSUMER])
def test_what_is_rendered_is_the_table_without_the_secrets(answers: list[str]) -> None:
    plan = planned(answers)
    text = render(plan.table)
    assert tomllib.loads(text) == {"account": {"main": plan.table}}
    assert "c4nary" not in text
    assert max(len(each) for each in text.splitlines()) <= 100


@given(st.text(min_size=1).filter(str.isprintable), st.text(min_size=1).filter(str.isprintable))
def test_whatever_is_typed_is_read_back_from_the_file(ucc: str, argument: str) -> None:
    table: dict[str, object] = {"ucc": ucc, "mpin": {"command": ["pass", argument]}}
    assert tomllib.loads(render(table)) == {"account": {"main": table}}


def test_the_end_names_the_commands() -> None:
    text = farewell(["x"], [], "")
    for command in ("neod check", "neod login", "neod install", "neod run"):
        assert f"  {command}\n" in text


def test_another_configuration_is_named_in_what_to_type_next() -> None:
    text = farewell(["x"], [], "--config y")
    for command in ("neod check", "neod login", "neod install", "neod run"):
        assert f"  {command} --config y\n" in text


# Files.


def folder_of(tmp_path: Path) -> Path:
    return tmp_path / ".config" / "neod"


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


def test_a_configuration_that_does_not_load_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("old")
    (tmp_path / "mpin").write_text("old")
    before = content(tmp_path)
    files = {tmp_path / "mpin": Secret("new"), tmp_path / "password": Secret("new")}
    with pytest.raises(ConfigError):
        put_in_place(tmp_path / "config.toml", "[account.main]\n", files)
    assert content(tmp_path) == before


def test_a_file_that_cannot_be_put_in_place_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mpin").write_text("old")
    (tmp_path / "password").mkdir()
    files = {tmp_path / "mpin": Secret("new"), tmp_path / "password": Secret("new")}
    with pytest.raises(OSError, match="directory"):
        put_in_place(tmp_path / "config.toml", "", files)
    assert (tmp_path / "mpin").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mpin", "password"]


def test_a_link_stays_one_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles" / "neod.toml", tmp_path / "config.toml"
    real.write_text("old")
    link.symlink_to(real)
    assert put_in_place(link, "# new\n", {}) == [tmp_path / "dotfiles" / "neod.toml.bak"]
    assert link.is_symlink()
    assert real.read_text() == "# new\n"


# Through a pipe.


def piped(
    home: Path, answers: Sequence[str], *words: str, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "neod", "setup", *words],
        env={**environment(home), **(more or {})},
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    for secret in ("c4nary", TOTP_SECRET):
        assert secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("answers", [TOTP, CONSUMER])
def test_a_pipe_sets_up_what_loads_with_every_file_closed_to_others(
    tmp_path: Path, answers: list[str]
) -> None:
    done = piped(tmp_path, answers)
    assert done.returncode == 0
    folder = folder_of(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not [name for name in content(folder) if name.startswith(".")]
    assert config.load(folder / "config.toml").accounts["main"].flow == answers[0]
    assert "neod check" in done.stdout
    assert "Flow" not in done.stdout


@pytest.mark.parametrize("count", [0, 5, len(TOTP) - 1])
def test_answers_that_end_early_are_2_and_nothing_is_written(tmp_path: Path, count: int) -> None:
    done = piped(tmp_path, TOTP[:count])
    assert done.returncode == 2
    assert "the answers end before the questions do" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_yes_keeps_what_was_there_beside_it(tmp_path: Path) -> None:
    assert piped(tmp_path, CONSUMER).returncode == 0
    folder = folder_of(tmp_path)
    before = content(folder)
    changed = [each.replace("c4nary", "other") for each in CONSUMER]
    done = piped(tmp_path, ["yes", *changed])
    assert done.returncode == 0
    after = content(folder)
    assert after["config.toml.bak"] == before["config.toml"]
    assert after["password.bak"] == before["password"]
    assert "other" in after["password"]
    assert stat.S_IMODE((folder / "password.bak").stat().st_mode) == 0o600


@pytest.mark.parametrize("answers", [["no"], [], ["yes", *TOTP[:-1]]])
def test_a_no_or_an_early_end_changes_nothing(tmp_path: Path, answers: list[str]) -> None:
    assert piped(tmp_path, TOTP).returncode == 0
    before = content(folder_of(tmp_path))
    assert piped(tmp_path, answers).returncode == 2
    assert content(folder_of(tmp_path)) == before


def test_another_file_has_its_secrets_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "my folder" / "x.toml"
    done = piped(tmp_path, TOTP, "--config", os.fspath(path))
    assert done.returncode == 0
    assert f"neod check --config {shlex.quote(os.fspath(path))}" in done.stdout
    assert (path.parent / "mpin").read_text() == f"{MPIN}\n"
    assert not folder_of(tmp_path).exists()


@pytest.mark.parametrize("name", ["mpin", "consumer-secret"])
def test_a_configuration_cannot_lie_where_a_secret_goes(tmp_path: Path, name: str) -> None:
    assert piped(tmp_path, TOTP, "--config", os.fspath(tmp_path / name)).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_text_is_refused_without_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "neod", "setup"],
        env={**environment(tmp_path), "PYTHONIOENCODING": "utf-8:strict"},
        input=b"\xff\n",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"not text in UTF-8" in done.stderr


# The keyring, a child's.


def test_a_secret_goes_into_the_keyring_and_is_found_there_by_check(tmp_path: Path) -> None:
    keyring = KeyringFolder(tmp_path)
    done = piped(tmp_path, [*TOTP[:-2], "keyring", MPIN], more=keyring.environ)
    assert done.returncode == 0
    assert json.loads((tmp_path / "entries").read_text()) == {"neod/main/mpin": MPIN}
    assert "mpin" not in content(folder_of(tmp_path))
    checked = subprocess.run(
        [sys.executable, "-m", "neod", "check"],
        env={**environment(tmp_path), **keyring.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0
    assert "keyring neod/main/mpin: ok" in checked.stdout


@pytest.mark.parametrize("state", ["locked", "broken"])
def test_a_keyring_that_does_not_take_it_is_told_and_no_file_is_written(
    tmp_path: Path, state: str
) -> None:
    keyring = KeyringFolder(tmp_path)
    keyring.becomes(state)
    done = piped(tmp_path, [*TOTP[:-2], "keyring", MPIN], more=keyring.environ)
    assert done.returncode == 2
    assert "the keyring does not take neod/main/mpin" in done.stderr
    assert content(folder_of(tmp_path)) == {}


# On a terminal.


def test_a_terminal_shows_no_secret_and_gets_the_same_files(tmp_path: Path) -> None:
    seen = on_a_terminal(("-m", "neod", "setup"), FIRST, environment(tmp_path))
    assert seen.status == 0
    for secret in ("an-access-token", TOTP_SECRET):
        assert secret not in seen.text
    assert (folder_of(tmp_path) / "totp-secret").read_text() == f"{TOTP_SECRET}\n"


@pytest.mark.parametrize("count", [0, 6, len(FIRST) - 1])
def test_ctrl_c_at_a_prompt_writes_nothing(tmp_path: Path, count: int) -> None:
    answers = (*FIRST[:count], (FIRST[count][0], "^C"))
    seen = on_a_terminal(("-m", "neod", "setup"), answers, environment(tmp_path))
    assert seen.status == 130
    assert "Traceback" not in seen.text
    assert list(tmp_path.iterdir()) == []


# The screens of the documents.


@pytest.mark.outer  # it types at real terminals
@pytest.mark.parametrize("path", screens.DOCUMENTS, ids=lambda path: path.name)
def test_the_screens_in_a_document_are_how_it_looks(path: Path) -> None:
    document = path.read_text()
    assert screens.names(document)
    assert screens.anew(document) == document, "stale; python -m tests.screens --write"


@pytest.mark.parametrize("path", screens.DOCUMENTS, ids=lambda path: path.name)
def test_a_screen_fits_80_columns(path: Path) -> None:
    for block in re.findall(r"^```text\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        assert [each for each in block.splitlines() if len(each) > 80] == []


def test_every_screen_of_the_table_has_a_place() -> None:
    places = [name for path in screens.DOCUMENTS for name in screens.names(path.read_text())]
    assert set(screens.SCREENS) <= set(places)


def test_a_place_is_filled_and_filled_anew_and_others_are_left_alone() -> None:
    document = "a\n\n<!-- screen: x -->\n\nb\n\n<!-- screen: y -->\n\n```text\nold\n```\n"
    once = screens.filled(document, {"x": "$ x\n"})
    assert once == document.replace("x -->\n", "x -->\n\n```text\n$ x\n```\n")
    assert screens.filled(once, {"x": "$ z\n"}) == once.replace("$ x", "$ z")
