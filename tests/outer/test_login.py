"""`neod login` as a process: one login, shown without its secrets."""

import os
import subprocess
import sys

import pytest

from tests.fakes.process import CONFIG, Home, Neod, Sandbox

pytestmark = pytest.mark.outer

TOTP = """
[account.trade]
flow = "totp"
mobile = "9999996708"
ucc = "D2014"
access_token = "sandbox-access-token"
totp_secret = "NEODSANDBOXNEODSANDBOXNEODSANDBO"
mpin = "246810"

[account.trade.endpoints]
session = "URL"
api = "URL"
login = "URL"
"""


def login(home: Home, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "neod", "login", *words, "--config", os.fspath(home.config)],
        env={**home.environ, "NEOD_LOG": ""},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_one_login_is_made_and_shown_without_what_opens_the_account(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url)

    done = login(home)

    assert done.returncode == 0, done.stderr
    assert "main, generation 1" in done.stdout
    assert "view" in done.stdout
    assert "Authorization, Auth, Sid, neo-fin-key" in done.stdout
    assert "eyJ" not in done.stdout + done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_it_is_in_the_ledger_of_the_daemon(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url, password="wrong")
    refused = login(home)
    assert refused.returncode == 5
    assert "check the password" in refused.stderr

    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 5
        neod.stop()
    again = login(home)
    assert again.returncode == 5
    _, _, log = sandbox.stop()
    assert log.count("validate") == 1


def test_beside_a_daemon_it_names_what_to_type_instead(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    with Neod(home) as neod:
        done = login(home)
        neod.stop()

    assert done.returncode == 23
    assert "neoctl renew" in done.stderr


@pytest.mark.parametrize("words", [["nobody"], []])
def test_an_account_that_is_not_there_or_not_named_is_a_usage_error(
    home: Home, words: list[str]
) -> None:
    text = CONFIG.replace("account.main", "account.a") + CONFIG.replace("account.main", "account.b")
    home.configure("http://127.0.0.1:1/", text=text)

    done = login(home, *words)

    assert done.returncode == 2
    assert "a, b" in done.stderr


def test_an_otp_is_asked_for_and_a_wrong_one_is_told(home: Home, sandbox: Sandbox) -> None:
    text = CONFIG.replace("[account.main]", '[account.main]\nsecond_factor = "otp"')
    home.configure(sandbox.url, text=text)

    done = login(home, typed="99999999\n")

    assert done.returncode == 5
    assert "an OTP was sent" in done.stderr
    assert "refused the one-time password" in done.stderr
    assert "99999999" not in done.stdout + done.stderr


def test_the_totp_flow_brings_a_trade_session(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url, text=TOTP)

    done = login(home)

    assert done.returncode == 0, done.stderr
    assert "trade" in done.stdout
    assert "/base" in done.stdout
