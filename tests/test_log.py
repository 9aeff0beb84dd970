"""The log: what a quiet day leaves in it, what ties its lines together, and how loud it is."""

import logging
from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from neod import log
from neod.sandbox.broker import Settings
from tests.fakes.kotak import Canned
from tests.fakes.world import World, world_of_totp

DAY = 86_400.0


@pytest.fixture
def _level(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log._logger, "handlers", log._logger.handlers)
    monkeypatch.setattr(log._logger, "propagate", log._logger.propagate)
    before, usual = log._logger.level, dict(log._usual)
    yield
    log._logger.setLevel(before)
    log._usual.update(usual)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(record.getMessage(), record.__dict__[log.FIELDS]) for record in caplog.records]


@pytest.mark.parametrize("flow", ["password", "totp"])
async def test_a_quiet_day_is_about_ten_lines(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, flow: str
) -> None:
    # As with Kotak: sessions end at midnight in India, and a bearer of the password flow hourly.
    settings = Settings(life=None, bearer_life=3600)
    world = World(settings) if flow == "password" else world_of_totp(settings)
    await world.run_for(2 * DAY)
    caplog.clear()
    with caplog.at_level(logging.INFO, "neod"):
        await world.run_for(DAY)

    assert 1 <= len(caplog.records) <= 10, caplog.messages
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_the_lines_of_one_login_say_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = world_of_totp(Settings(life=3600))
    with caplog.at_level(logging.DEBUG, "neod"):
        world.kotak.always = lambda _: Canned(503)
        await world.run_for(0.9)
        world.kotak.always = None
        await world.run_for(60)

    tied = [(event, fields.get("login")) for event, fields in lines(caplog)]
    failed = [number for event, number in tied if event == "login_failed"]
    [session] = [number for event, number in tied if event == "session"]
    assert session not in failed
    assert [event for event, number in tied if number == session].count("request") >= 2
    assert all(number is None for event, number in tied if event == "state")


@pytest.mark.parametrize(
    ("environ", "level", "expected"),
    [
        ({}, "debug", logging.DEBUG),
        ({}, "info", logging.INFO),
        ({}, None, logging.WARNING),
        ({"NEOD_LOG": "info"}, "debug", logging.INFO),
        ({"NEOD_LOG": ",json"}, "debug", logging.DEBUG),
    ],
)
@pytest.mark.usefixtures("_level")
def test_the_configuration_says_how_loud_it_is_unless_the_environment_does(
    environ: dict[str, str], level: log.Level | None, expected: int
) -> None:
    log.set_up(environ, logging.WARNING)
    log.at_level("debug", environ)  # what a reload finds no more
    log.at_level(level, environ)

    assert log._logger.level == expected
