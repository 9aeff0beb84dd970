"""A real daemon against a sandbox whose sessions all end every 15 seconds, whatever the login."""

import json
import time

import pytest

from tests.fakes.process import Home, Neod, Sandbox

pytestmark = pytest.mark.outer
EDGE = 15.0  # seconds


def test_an_edge_costs_one_useless_login_at_most_and_five_seconds_at_most(home: Home) -> None:
    gaps: list[tuple[float, float]] = []
    with Sandbox("--edge", str(EDGE)) as sandbox:
        home.configure(sandbox.url)
        with Neod(home) as neod:
            assert home.neoctl("token", "--wait", "10").returncode == 0
            end = time.monotonic() + 5 * EDGE
            gone = 0.0
            while time.monotonic() < end:
                there = home.neoctl("token").returncode == 0
                if there and gone:
                    gaps.append((gone, time.time()))  # noqa: TID251
                    gone = 0.0
                elif not there and not gone:
                    gone = time.time()  # noqa: TID251 - a bot has no clock to take
                time.sleep(0.05)  # the pace of a reader
            status = json.loads(home.neoctl("status", "--json").stdout)
            neod.stop()
        _, _, log = sandbox.stop()

    logins = log.count("validate")
    edges = len(gaps)
    assert edges >= 4
    assert logins <= 1 + edges + 1  # the first, one after each edge, one useless
    assert all(back - gone < 5 for gone, back in gaps)
    assert status["accounts"]["main"]["state"] in ("ok", "renewing")
    print(f"{edges} edges, {logins} logins, gaps {[round(b - g, 2) for g, b in gaps]}")
