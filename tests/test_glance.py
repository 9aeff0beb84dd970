"""`neoctl status` for a person."""

import pytest

from neoctl import glance

NOW = 1_700_000_000.0  # 03:43:20 in India


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)


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
        "budget": {"per_10min": {"used": 1, "allowed": 4}},
        "clock_skew": None,
        "environment": "prod",
    }
    return told | changes


NONE = {"valid": False, "kind": None, "generation": None, "expires_at": None}


def shown(**changes: object) -> str:
    return glance.at({"version": "1.2", "accounts": {"main": standing(**changes)}})


def test_an_account_that_is_well_takes_four_lines() -> None:
    assert shown() == (
        "main (prod): ok, for 1 min\n"
        "  session   trade, generation 7, expires 05:43:20 IST (in 2 h 00 min)\n"
        "  why       renews before the session ends\n"
        "  next      04:43:20 IST (in 1 h 00 min)\n"
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
        "            edit it\n"
    )


def test_a_failure_that_nothing_helps_ends_with_its_detail() -> None:
    failure = {"at": NOW, "kind": "unavailable", "detail": "refused", "action": ""}
    assert shown(last_failure=failure).endswith("\n            refused\n")


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
    assert "expires 00:00:00 IST (in 20 h 16 min)" in shown(expires_at=midnight)


def test_a_clock_that_was_set_back_shows_no_negative_span() -> None:
    first, _, _ = shown(since=NOW + 3600).partition("\n")
    assert "-" not in first


def test_an_end_that_is_not_known_is_said() -> None:
    assert "expires at an unknown time" in shown(expires_at=None)
