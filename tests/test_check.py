"""`neod check`: what it says, what it does not, and its exit status."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jwt
import msgspec
import pytest

from neod import config
from neod.account.policy import Rules
from neod.check import Finding, describe, judge, line, masked, secret_lines, twins
from neod.config import Account, Config
from neod.secrets import Secret, Source
from tests.fakes.process import Home
from tests.screens import CONFIG, TOTP_SECRET, configured, environment, on_a_terminal

NOW = 1_700_000_000.0
CANARY = "c4nary-s3cret"
PASSWORD = """
[account.main]
mobile = "9999996708"
password = "x"
access_token = "y"
"""


def read(text: str) -> Config:
    mistakes: list[str] = []
    settings = config.read(tomllib.loads(text), Path("/nowhere"), mistakes)
    assert mistakes == []
    return settings


def account(more: str = "", text: str = PASSWORD) -> Account:
    return read(text + more).accounts["main"]


def token(end: float) -> Secret:
    return Secret(jwt.encode({"exp": int(end)}, "k" * 32))


def judged(key: str, secret: Secret) -> Finding:
    return judge(Source(f"account.main.{key}", "inline", "", secret), secret, NOW)


# Pure.


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "view: it cannot trade, since there is no second factor"),
        ('mpin = "1"', "trade, by the MPIN"),
        ('second_factor = "otp"', "trade, by an OTP: neoctl renew, then neoctl otp"),
    ],
)
def test_the_session_that_an_account_brings_is_told(more: str, said: str) -> None:
    assert dict(describe(account(more)))["session"] == said


def test_a_sandbox_is_told_from_kotak() -> None:
    url = "http://127.0.0.1:1/"
    at = f'[account.main.endpoints]\nsession = "{url}"\napi = "{url}"\nlogin = "{url}"\n'
    told = dict(describe(account(at)))
    assert told["environment"] == "sandbox, on loopback"
    assert told["logins"] == "without a limit"
    assert dict(describe(account()))["environment"] == "prod"


def test_a_mobile_number_is_masked_to_its_last_four_digits() -> None:
    assert dict(describe(account()))["logs in"] == "mobile ending in 6708"
    assert "AB12" not in masked("AB12")


def test_a_proxy_is_told_without_its_password() -> None:
    told = dict(describe(account(f'proxy = "http://me:{CANARY}@proxy:3128"\n')))
    assert told["through"] == "a proxy"
    assert CANARY not in str(told)


@pytest.mark.parametrize(
    ("more", "label", "said"),
    [
        ("", "renewal", "15 min before the end, or a quarter of its life if less"),
        ('margin = "90s"', "renewal", "90 s before the end, or a quarter of its life if less"),
        ("", "edge", "learnt: when the broker ends all sessions"),
        ('edge = "00:00"', "edge", "all sessions end at 00:00:00 IST"),
        ('edge = "none"', "edge", "none: no time of day ends all sessions"),
        ("", "logins", "at most 4 in 10 minutes and 24 in a day"),
    ],
)
def test_the_rules_of_renewal_are_told_in_words(more: str, label: str, said: str) -> None:
    assert dict(describe(account(f"[account.main.renewal]\n{more}\n")))[label] == said


def test_one_limit_of_logins_alone_is_told_alone() -> None:
    rules = Rules(logins_per_10min=None, logins_per_day=9)
    told = dict(describe(msgspec.structs.replace(account(), rules=rules)))
    assert told["logins"] == "at most 9 in a day"


def test_an_account_that_keeps_to_hours_says_which() -> None:
    told = list(
        describe(
            account(
                """
                [account.main.renewal]
                hours = ["Mon-Fri 08:30-15:45", "sat 09:15-12:30"]
                holidays = ["2026-12-25", 2026-01-26, "2026-01-26"]
                lead = 600
                ready_by = "08:45"
                """
            )
        )
    )

    assert told[-3:] == [
        ("hours", "Mon-Fri 08:30-15:45, Sat 09:15-12:30, opens 10 min before"),
        ("holidays", "2, from 2026-01-26 to 2026-12-25"),
        ("ready by", "08:45 IST"),
    ]


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ("", set()),
        ('ready_by = "08:45"', {"ready by"}),
        ('hours = ["Mon 08:30-15:45"]', {"hours"}),
        ('hours = ["Mon 08:30-15:45"]\nholidays = []', {"hours"}),
        ('hours = ["Mon 08:30-15:45"]\nholidays = [2026-01-26]', {"hours", "holidays"}),
    ],
)
def test_of_hours_only_what_there_is_is_told(more: str, labels: set[str]) -> None:
    told = dict(describe(account(f"[account.main.renewal]\n{more}\n")))
    assert told.keys() & {"hours", "holidays", "ready by"} == labels
    assert told.get("holidays", "2026-01-26") == "2026-01-26"


def test_a_totp_secret_has_to_make_codes() -> None:
    assert judged("totp_secret", Secret(TOTP_SECRET)) == Finding(note="makes codes")
    bad = judged("totp_secret", Secret(CANARY))
    assert bad.why
    assert bad.action
    assert CANARY not in str(bad)


def test_an_access_token_that_is_a_jwt_tells_its_end() -> None:
    assert judged("access_token", token(NOW + 60)).note == "ends at 2023-11-15T03:44:20+05:30"


def test_an_access_token_that_has_ended_is_not_ok() -> None:
    assert judged("access_token", token(NOW)).why == "it ended at 2023-11-15T03:43:20+05:30"


def test_an_access_token_need_not_be_a_jwt_but_has_to_fit_a_header() -> None:
    assert judged("access_token", Secret("opaque")) == Finding()
    assert judged("access_token", Secret("two words")).why


def test_no_other_secret_is_judged_by_its_looks() -> None:
    assert judged("password", Secret("two words")) == Finding()


def test_a_secret_that_is_well_takes_one_line_and_one_that_is_not_says_what_mends_it() -> None:
    source = Source("account.main.mpin", "file", "/h/.config/neod/mpin")
    assert secret_lines(source, Finding(), "/h") == [
        "  mpin           file ~/.config/neod/mpin: ok"
    ]
    bad = secret_lines(source, Finding(why="gone", action="look at /h/x"), "/h")
    assert [each.split()[-1] for each in bad] == ["ok", "gone", "~/x"]
    assert "not ok" in bad[0]


def test_the_arguments_of_a_command_are_not_shown() -> None:
    source = Source("account.main.mpin", "command", "/bin/echo", arguments=(CANARY,))
    assert CANARY not in "".join(secret_lines(source, Finding(), ""))


def test_accounts_that_are_the_same_login_are_named() -> None:
    other = PASSWORD.replace("main", "other")
    assert list(twins(read(PASSWORD + other))) == [
        "main and other are the same login at the broker"
    ]
    assert list(twins(read(PASSWORD + other.replace("6708", "6709")))) == []


def test_what_could_move_the_cursor_is_not_printed() -> None:
    assert line("account", "a\x1b[2Jb", indent="") == "account          a?[2Jb"


# As a process.


def check(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "neod", "check", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        start_new_session=True,  # without a terminal
    )


def test_all_is_well_is_0_on_stdout_alone_and_shows_no_secret(tmp_path: Path) -> None:
    configured(tmp_path)
    done = check(environment(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("all is well\n")
    assert max(len(each) for each in done.stdout.splitlines()) <= 80
    for secret in ("an-access-token", TOTP_SECRET, "123456", "99999967"):
        assert secret not in done.stdout


def test_a_secret_that_cannot_be_had_is_1_and_the_others_are_told_nevertheless(
    tmp_path: Path,
) -> None:
    (configured(tmp_path) / "access-token").unlink()
    done = check(environment(tmp_path))
    assert done.returncode == 1
    assert "No such file" in done.stdout
    assert "makes codes" in done.stdout
    assert "not well: 1 of the secrets" in done.stdout


def test_a_command_that_wants_a_terminal_has_none(tmp_path: Path) -> None:
    configured(tmp_path)
    (tmp_path / "bin" / "pass").write_text("#!/bin/sh\nexec cat /dev/tty\n")
    seen = on_a_terminal(("-m", "neod", "check"), (), environment(tmp_path))
    assert seen.status == 1
    assert "/dev/tty" in seen.text


def test_a_variable_with_a_secret_is_kept_from_commands(home: Home) -> None:
    home.config.write_text(
        PASSWORD.replace('"x"', '{ env = "PW" }')
        + 'mpin = { command = ["sh", "-c", "test -z \\"$PW\\" && echo 1"] }\n'
    )
    home.config.chmod(0o600)
    done = check({**home.environ, "PW": CANARY}, "--config", os.fspath(home.config))
    assert done.returncode == 0
    assert CANARY not in done.stdout


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CONFIG.replace("ucc", "uc"), ["account.main.ucc: missing", "did you mean ucc?"]),
        (f'{CONFIG}second_factor = "otp"\n', ["account.main.second_factor"]),
        ("", ["there is no account"]),
    ],
)
def test_a_wrong_configuration_is_2_and_its_mistakes_are_on_stderr(
    tmp_path: Path, text: str, named: list[str]
) -> None:
    configured(tmp_path, text)
    done = check(environment(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    for name in named:
        assert name in done.stderr


def test_no_configuration_at_all_is_2(home: Home) -> None:
    done = check(home.environ)
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
