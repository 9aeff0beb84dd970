"""Which secrets make a login, and what tells that they are others."""

import os

import msgspec
import pytest

from neod.account.credentials import read_all, to_fingerprint
from neod.secrets import Secret
from tests.fakes.world import TOTP, account

FOUND = {"password": Secret("a"), "mpin": Secret("b")}


@pytest.mark.parametrize(
    "changes",
    [
        {**TOTP},
        {"mobile": "+919000000001"},
        {"mobile": None, "pan": "ABCDE1234F"},
        {"mobile": None, "user_id": "ABCDE1234F"},
    ],
    ids=["flow", "mobile", "pan", "user id"],
)
def test_who_logs_in_and_how_is_in_the_fingerprint(changes: dict[str, object]) -> None:
    before = to_fingerprint(account(), FOUND)

    assert to_fingerprint(account(), dict(FOUND)) == before
    assert to_fingerprint(account(**changes), FOUND) != before


def test_the_ucc_is_in_the_fingerprint() -> None:
    ours, other = account(**TOTP), account(**{**TOTP, "ucc": "ZZ999"})

    assert to_fingerprint(ours, FOUND) != to_fingerprint(other, FOUND)


@pytest.mark.parametrize("key", list(FOUND))
def test_each_secret_is_in_the_fingerprint(key: str) -> None:
    others = {**FOUND, key: Secret("another")}

    assert to_fingerprint(account(), others) != to_fingerprint(account(), FOUND)


def test_the_same_secrets_of_another_flow_are_others() -> None:
    plain = account()

    other = msgspec.structs.replace(plain, flow="totp")

    assert to_fingerprint(other, FOUND) != to_fingerprint(plain, FOUND)


async def test_a_program_that_is_asked_for_a_secret_does_not_see_what_is_hidden() -> None:
    asks = account(password={"command": ["sh", "-c", "echo ${HIDDEN:-none} ${SHOWN:-none}"]})
    environ = {**os.environ, "HIDDEN": "a", "SHOWN": "b"}

    found = await read_all(asks, environ, ["HIDDEN"])
    assert asks.password

    assert found[asks.password.key].reveal() == "none b"
