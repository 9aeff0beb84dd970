"""Each verb of neoctl in each state of neod: the page is as they are, and they are as promised."""

from functools import cache
from pathlib import Path

import pytest

from neoctl import cli, wire
from tests import transcript
from tests.transcript import LINES, STATES, Said

pytestmark = pytest.mark.outer

READS = ("token", "session", "get sid", "headers", "env", "exec -- true", "wait --wait 0")
GLANCES = ("status", "status --line", "logins", "clients")
WISHES = ("unblock", "pause", "resume", "reload")
# State -> the code that a read is answered with; none where there is a session.
CODES = {
    "no neod": "not_running",
    "starting": "not_ready",
    "ready": "",
    "credentials rejected": "credentials_rejected",
    "blocked": "blocked",
    "OTP needed": "otp_needed",
    "broker down": "broker_unavailable",
    "lapsed": "broker_unavailable",
    "paused": "paused",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transcript")


@cache
def said(state: str, line: str, folder: Path) -> Said:
    return transcript.say(state, line, folder)


def test_every_verb_but_doctor_and_every_state_is_played() -> None:
    assert {line.split()[0] for line in LINES} == set(cli.VERBS) - {"doctor"}
    assert CODES.keys() == STATES.keys()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("line", READS)
def test_a_read_has_its_value_on_stdout_or_the_code_on_stderr(
    state: str, line: str, folder: Path
) -> None:
    found, code = said(state, line, folder), CODES[state]
    if code:
        status = 125 if line.startswith("exec") else wire.exit_status(code)
        assert (found.status, found.out) == (status, "")
        assert found.err.startswith(f"neoctl: {code}: ")
    else:
        assert (found.status, found.err) == (0, "")
        assert bool(found.out) is (line not in ("exec -- true", "wait --wait 0"))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("line", GLANCES)
def test_who_looks_is_answered_in_every_state(state: str, line: str, folder: Path) -> None:
    found = said(state, line, folder)
    if state == "no neod":
        assert (found.status, found.out) == (3, "")
    else:
        assert (found.status, found.err) == (0, "")
        assert found.out


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("line", WISHES)
def test_a_wish_is_heard_in_every_state(state: str, line: str, folder: Path) -> None:
    found = said(state, line, folder)
    assert found.out == ""
    assert found.status == (3 if state == "no neod" else 0)
    assert found.err.startswith("neoctl: ")


@pytest.mark.parametrize("state", [state for state, code in CODES.items() if code])
@pytest.mark.parametrize("line", [line for line in LINES if line not in ("socket", "version")])
def test_what_fails_says_why_and_in_words(state: str, line: str, folder: Path) -> None:
    found = said(state, line, folder)
    assert "Traceback" not in found.err
    if found.status not in (0, 130):
        code = found.err.split(": ")[1]
        status = wire.exit_status(code)
        assert found.status == (125 if line.startswith("exec") else status)
        assert found.out == ""


def test_who_waits_for_an_otp_is_told_to_give_it(folder: Path) -> None:
    found = said("OTP needed", "token", folder)
    assert found.err.endswith("\nneoctl: neoctl otp\n")


def test_the_page_is_what_they_say_now() -> None:
    assert transcript.DOCUMENT.read_text() == transcript.document(), (
        "python -m tests.transcript --write"
    )
