"""neod killed, and started again, for real: what it costs the broker, and what bots see of it."""

import random
import signal
import time
from contextlib import suppress

import pytest

from neoctl import client
from tests.fakes.process import Home, Neod, Process, Sandbox

pytestmark = pytest.mark.outer

KILLS = 50


def logins(sandbox: Sandbox) -> int:
    """How many the broker has accepted, after which it is gone."""
    _, _, log = sandbox.stop()
    return sum("validate" in line and "status=200" in line for line in log.splitlines())


def test_fifty_kills_after_the_first_session_cost_no_login(home: Home) -> None:
    with Sandbox() as sandbox:
        home.configure(sandbox.url)
        with Neod(home) as neod:
            token = home.neoctl("token", "--wait", "10").stdout
            neod.stop(signal.SIGKILL)
        for _ in range(KILLS):
            with Neod(home) as neod:
                # It says READY, and right then it has the session.
                reply = client.get("/v1/token", environ=home.environ)
                assert reply.body.decode() == token
                assert reply.headers["neod-generation"] == "1"
                neod.stop(signal.SIGKILL)
        assert logins(sandbox) == 1


def test_kills_at_any_instant_cost_at_most_the_login_that_was_under_way(home: Home) -> None:
    seed = random.randrange(1000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    seen, killed = [0], 0
    with Sandbox("--life", "4", "--fault", "slow=0.2") as sandbox:
        home.configure(sandbox.url)
        for _ in range(12):
            words = ("run", "--config", str(home.config))
            with Process(*words, environ=home.environ) as neod:
                until = time.monotonic() + 0.3 + draw.random() * 1.5
                while time.monotonic() < until:
                    with suppress(client.Problem):
                        reply = client.get("/v1/token", environ=home.environ)
                        seen.append(int(reply.headers["neod-generation"]))
                neod.popen.kill()
            killed += 1
        accepted = logins(sandbox)
    assert seen == sorted(seen), "a generation went backwards"
    # Each that was accepted was published, but for the one that a kill cut off.
    assert accepted <= seen[-1] + killed
    assert seen[-1] > 2
