"""A month of the year that tests/bench/year.py plays whole, so that neither gets lost."""

import logging
from typing import get_args

import pytest

from neod.account.edge import DAY
from neod.config import Flow
from tests.bench.year import LOGINS_ALLOWED, Year, losses, neod, oracle

pytestmark = pytest.mark.outer

DAYS = 30
GENEROUS = 1.3  # times the oracle's: a month is a small sample of what the bench allows 1.15 for


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "neod")


@pytest.mark.parametrize("flow", get_args(Flow))
def test_a_month_of_outages_costs_little_more_than_they_take(flow: Flow) -> None:
    year = Year(seed=1, days=DAYS)

    ours, measure = neod(year, flow), oracle(year, flow)

    assert year.outages
    assert year.deaths
    assert measure.without <= ours.without <= GENEROUS * measure.without
    assert sum(losses(year, ours.gaps).values()) == pytest.approx(ours.without)
    assert len(ours.logins) <= LOGINS_ALLOWED * year.seconds / DAY
    assert ours.refused == 0
    assert not ours.locked


def test_the_same_seed_plays_the_same_year() -> None:
    first, second = (neod(Year(seed=2, days=DAYS), "totp") for _ in range(2))

    assert first == second
    assert first != neod(Year(seed=3, days=DAYS), "totp")
