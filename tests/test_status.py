"""The line that `systemctl status` shows of neod."""

from datetime import datetime

import pytest
import trio
from trio.testing import MockClock

from neod.account.session import Failure, Session, Standing
from neod.clock import INDIA
from neod.status import Status, in_words
from tests.fakes.world import world_of_totp

NOON = datetime(2026, 11, 24, 12, tzinfo=INDIA).timestamp()
MIDNIGHT = NOON + 12 * 3600


def a_session(expires_at: float) -> Session:
    blank = dict.fromkeys(Session.__struct_fields__)
    return Session(**{**blank, "kind": "trade", "expires_at": expires_at})  # type: ignore[arg-type]


def standing(state: str = "ok", why: str = "why", **more: object) -> Standing:
    return Standing(state=state, since=NOON, why=why, **more)  # type: ignore[arg-type]


FAILED = Failure(at=NOON, kind="unavailable", detail="connection refused", action="")


@pytest.mark.parametrize(
    ("stands", "expires_at", "expected"),
    [
        (
            standing(next=MIDNIGHT + 3),
            MIDNIGHT,
            "trade session until 00:00 IST, renews 00:00:03",
        ),
        (
            standing(next=NOON + 90),
            NOON + 100,
            "trade session until 12:01:40 IST, renews 12:01:30",
        ),
        (
            standing(next=NOON + 3 * 86400),
            NOON + 3 * 86400 + 900,
            "trade session until 27 Nov 12:15 IST, renews 27 Nov 12:00:00",
        ),
        (
            standing("paused", "paused, so nobody logs in"),
            MIDNIGHT,
            "trade session until 00:00 IST, paused, so nobody logs in",
        ),
        (standing("starting", "there is no session yet"), None, "there is no session yet"),
        (
            standing("starting", "there is no session yet"),
            MIDNIGHT,
            "trade session until 00:00 IST",
        ),
        (
            standing("backing_off", "3 failed", failing=True, last_failure=FAILED),
            None,
            "3 failed: connection refused",
        ),
        (
            standing("ok", "renews later", last_failure=FAILED, next=MIDNIGHT),
            MIDNIGHT + 5,
            "trade session until 00:00:05 IST, renews 00:00:00",
        ),
        (standing("blocked", ""), None, "no session"),
    ],
)
def test_an_account_in_a_persons_words(
    stands: Standing, expires_at: float | None, expected: str
) -> None:
    session = None if expires_at is None else a_session(expires_at)

    assert in_words(stands, session, NOON) == expected


def test_all_that_there_is_to_say_is_one_line_which_is_told_once() -> None:
    told: list[str] = []
    status = Status(told.append)

    status.put("main", "well")
    status.put("main", "well")
    status.put("second", "ill")
    status.put("socket", "gone")
    status.put("socket", "")
    status.put("socket", "")

    assert told == [
        "main: well",
        "main: well; second: ill",
        "main: well; second: ill; socket: gone",
        "main: well; second: ill",
    ]


async def test_a_day_is_told_in_few_lines_and_names_no_secret(autojump_clock: MockClock) -> None:
    told: list[str] = []
    world = world_of_totp()

    with trio.move_on_after(86_400):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Status(told.append).follow, world.keeper)
            nursery.start_soon(world.run)

    renewals = world.generation
    assert renewals < len(told) <= 3 * renewals
    token = world.board.held.session.token if world.board.held else ""
    assert token
    assert token not in "".join(told)
