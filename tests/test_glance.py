"""`neoctl status` for a person."""

import time

import pytest

from neoctl import glance

NOW = 1_700_000_000.0  # 03:43:20 in India


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def standing(**changes: object) -> dict[str, object]:
    """An account as /v1/status tells of it."""
    told: dict[str, object] = {
        "state": "ok",
        "valid": True,
        "since": NOW - 90,
        "why": "renews before the session ends",
        "next": NOW + 3600,
        "kind": "trade",
        "generation": 7,
        "expires_at": NOW + 7200,
        "last_failure": None,
        "budget": {
            "per_10min": {"used": 1, "allowed": 4},
            "per_day": {"used": 3, "allowed": None},
        },
        "watchers": 2,
        "clock_skew": None,
        "environment": "prod",
    }
    return told | changes


NONE = {"valid": False, "kind": None, "generation": None, "expires_at": None}


def shown(**changes: object) -> str:
    return glance.at({"version": "1.2", "accounts": {"main": standing(**changes)}})


def test_an_account_that_is_well_takes_seven_lines() -> None:
    assert shown() == (
        "main (prod): ok, for 1 min\n"
        "  session   trade, generation 7\n"
        "  expires   05:43:20 IST (in 2 h 00 min), here 00:13:20 UTC\n"
        "  why       renews before the session ends\n"
        "  next      04:43:20 IST (in 1 h 00 min)\n"
        "  logins    1 of 4 within 10 minutes, 3 within 24 hours\n"
        "  watchers  2\n"
    )


def test_a_failure_is_told_with_what_helps() -> None:
    failure = {"at": NOW - 5, "kind": "rejected", "detail": "wrong password", "action": "edit it"}
    text = shown(state="blocked", next=None, last_failure=failure, **NONE)
    assert text == (
        "main (prod): blocked, for 1 min\n"
        "  session   none that is valid\n"
        "  why       renews before the session ends\n"
        "  failure   rejected, 03:43:15 IST (5 s ago)\n"
        "            wrong password\n"
        "            mend it: edit it\n"
        "  logins    1 of 4 within 10 minutes, 3 within 24 hours\n"
        "  watchers  2\n"
    )


def test_a_failure_that_nothing_helps_ends_with_its_detail() -> None:
    failure = {"at": NOW, "kind": "unavailable", "detail": "refused", "action": ""}
    assert "\n            refused\n  logins " in shown(last_failure=failure)


def test_a_session_that_lapsed_is_not_shown_as_one() -> None:
    assert "  session   none that is valid\n" in shown(valid=False, expires_at=NOW - 1)


def test_each_account_has_a_paragraph_of_its_own() -> None:
    accounts = {"main": standing(), "uat": standing(environment="sandbox")}
    first, second = glance.at({"version": "1.2", "accounts": accounts}).split("\n\n")
    assert first.startswith("main (prod): ")
    assert second.startswith("uat (sandbox): ")


def test_no_account_at_all_is_said() -> None:
    text = glance.at({"version": "1.2", "accounts": {}})
    assert text == "neod 1.2 runs, and no account is configured\n"


def test_what_an_older_daemon_does_not_say_is_left_out() -> None:
    told = {"state": "starting", "valid": False, "why": "the first login runs"}
    assert glance.at({"version": "0", "accounts": {"main": told}}) == (
        "main: starting\n  session   none that is valid\n  why       the first login runs\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 00 min"),
        (3600 + 5 * 60, "1 h 05 min"),
        (2 * 86400 - 1, "47 h 59 min"),
        (2 * 86400, "2 d"),
        (9.5 * 86400, "9 d"),
    ],
)
def test_a_span_is_as_long_as_a_person_would_say(seconds: float, text: str) -> None:
    assert shown(since=NOW - seconds).startswith(f"main (prod): ok, for {text}\n")
    assert f" IST (in {text})\n" in shown(next=NOW + seconds)


def test_midnight_in_india_is_00_00_00() -> None:
    midnight = 1_699_986_600 + 86_400
    assert "expires   00:00:00 IST (in 20 h 16 min)" in shown(expires_at=midnight)


def test_a_clock_that_was_set_back_shows_no_negative_span() -> None:
    first, _, _ = shown(since=NOW + 3600).partition("\n")
    assert "-" not in first


def test_an_end_that_is_not_known_is_said() -> None:
    assert "expires   at an unknown time" in shown(expires_at=None)


def test_in_india_the_time_here_is_not_said_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    assert "here" not in shown()


@pytest.mark.parametrize(
    ("state", "colour"), [("ok", "32"), ("backing_off", "33"), ("blocked", "31"), ("new", "0")]
)
def test_a_terminal_shows_a_state_in_its_colour(state: str, colour: str) -> None:
    told = {"version": "1.2", "accounts": {"main": standing(state=state)}}
    assert f"\x1b[1;{colour}m{state}\x1b[0m" in glance.at(told, colours=True)
    assert "\x1b" not in glance.at(told)


def test_what_a_broker_said_does_nothing_to_a_terminal() -> None:
    failure = {"at": NOW, "kind": "unavailable", "detail": "a\x1b[2Jb", "action": ""}
    told = {"version": "1.2", "accounts": {"main": standing(last_failure=failure)}}
    assert "a\\x1b[2Jb" in glance.at(told, colours=True)


@pytest.mark.parametrize(
    ("accounts", "text"),
    [
        ({"main": standing(expires_at=NOW + 6 * 3600 + 12 * 60 + 59)}, "main trade 6h12m"),
        ({"main": standing(state="backing_off")}, "main trade 2h00m backing_off"),
        ({"main": standing(state="blocked", **NONE)}, "main blocked"),
        (
            {"main": standing(), "uat": standing(state="paused", **NONE)},
            "main trade 2h00m | uat paused",
        ),
        ({}, "no account"),
    ],
    ids=["well", "failing", "none", "two", "no account"],
)
def test_a_line_is_short_enough_for_a_status_bar(accounts: dict[str, object], text: str) -> None:
    assert glance.line({"version": "1.2", "accounts": accounts}) == f"{text}\n"


def test_a_faulty_configuration_is_said_first() -> None:
    told = {"version": "1.2", "configuration": "account.main.moble", "accounts": {}}
    assert glance.at(told) == "neod 1.2: account.main.moble\n"
    assert glance.line(told) == "faulty configuration\n"
