"""neod killed, and started again, for real: what it costs the broker, and what bots see of it."""

import os
import random
import signal
import socket
import time
from contextlib import suppress

import pytest

from neoctl import client
from tests.fakes.process import CONFIG, Home, Neod, Process, Sandbox

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


def test_an_account_that_comes_back_by_a_reload_brings_its_session_and_disturbs_nobody(
    home: Home,
) -> None:
    hook = f'[account.main.hooks]\non_rotate = ["sh", "-c", "cat >>{home.folder}/rotated"]\n'
    main = CONFIG + hook
    both = main + CONFIG.replace("account.main", "account.family")
    with Sandbox() as sandbox:
        home.configure(sandbox.url, text=both)
        with Neod(home) as neod:
            for name in ("main", "family"):
                assert home.neoctl("token", "-a", name, "--wait", "10").returncode == 0
            neod.stop()
        home.configure(sandbox.url, text=main)
        with Neod(home) as neod:  # so that a session is kept of an account that it does not know
            watch = socket.socket(socket.AF_UNIX)
            watch.connect(os.fspath(home.socket))
            watch.sendall(b"GET /v1/watch?account=main HTTP/1.0\r\n\r\n")
            lines = watch.makefile()

            home.configure(sandbox.url, text=both)
            told = home.neoctl("reload")
            assert (told.returncode, "family: new" in told.stderr) == (0, True), told.stderr
            assert home.neoctl("get", "generation", "-a", "family").stdout == "1\n"

            assert home.neoctl("renew", "-a", "main").returncode == 0
            watch.settimeout(10)
            assert any('"generation":2' in line for line in lines)
            watch.close()
            _, _, log = neod.stop()
            assert " error bug" not in log
        assert logins(sandbox) == 3
        assert (home.folder / "rotated").read_text().count('"generation":2') == 1
