"""How a neod ends, and what it makes of what it finds at its start: as a process, in each state."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from neod.clock import INDIA
from tests.fakes.process import CONFIG, Home, Neod, Process, Sandbox
from tests.outer.test_security import as_user, give, theirs

pytestmark = pytest.mark.outer
__all__ = ["theirs"]  # a fixture

HASTE = 3.0  # seconds that a stop may take
FACTOR = '[account.main]\nsecond_factor = "otp"'


class Place(NamedTuple):
    """How an account comes into a state."""

    faults: tuple[str, ...] = ()  # and other options of the sandbox
    password: str = "sandbox-password"
    text: str = CONFIG
    words: tuple[str, ...] = ()  # of neoctl, once it runs


def closed_now() -> str:
    """Hours that are over, or yet to come."""
    begin = datetime.now(INDIA) + timedelta(hours=6)  # noqa: TID251 - neod's clock is the real one
    end = begin + timedelta(hours=1)
    if end.date() != begin.date():
        begin, end = begin - timedelta(hours=12), end - timedelta(hours=12)
    return f'[account.main.renewal]\nhours = ["Mon-Sun {begin:%H:%M}-{end:%H:%M}"]\n'


STATES: dict[str, Callable[[], Place]] = {
    "starting": lambda: Place(("--fault", "hang@login:99")),
    "ok": Place,
    "backing_off": lambda: Place(("--fault", "503@login:99")),
    "otp_needed": lambda: Place(text=CONFIG.replace("[account.main]", FACTOR)),
    "credentials_rejected": lambda: Place(password="wrong"),
    "blocked": lambda: Place(text=CONFIG.replace('file = "password"', 'command = ["false"]')),
    "paused": lambda: Place(words=("pause",)),
    "login_budget": lambda: Place(
        ("--life", "2"), text=f"{CONFIG}\n[account.main.renewal]\nlogins_per_10min = 1\n"
    ),
    "outside_hours": lambda: Place(text=f"{CONFIG}\n{closed_now()}"),
}


@contextmanager
def standing(home: Home, state: str) -> Iterator[Neod]:
    """A neod whose account is in that state."""
    place = STATES[state]()
    with Sandbox(*place.faults) as sandbox:
        home.configure(sandbox.url, place.password, place.text)
        with Neod(home) as neod:
            if place.words:
                assert home.neoctl("token", "--wait", "10").returncode == 0
                assert home.neoctl(*place.words).returncode == 0
            until = time.monotonic() + 15
            while (stands := state_of(home)) != state:
                assert time.monotonic() < until, f"{stands}, and not {state}"
                time.sleep(0.05)  # until it is so, as nothing tells of each state
            yield neod


def state_of(home: Home) -> str:
    told = json.loads(home.neoctl("status", "--json").stdout)
    state: str = told["accounts"]["main"]["state"]
    return state


def lines_of_the_ledger(home: Home) -> list[dict[str, object]]:
    text = (home.folder / "state" / "neod" / "main.ledger").read_text()
    return [json.loads(line) for line in text.splitlines()]


def attempts(home: Home) -> list[object]:
    """The numbers of the logins that were begun."""
    return [line["id"] for line in lines_of_the_ledger(home) if line.get("step") == "login"]


def wait_for_attempts(home: Home, count: int) -> None:
    while len(attempts(home)) < count:
        time.sleep(0.05)  # until it is so, as above


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", STATES)
def test_in_each_state_either_signal_ends_it_cleanly_and_soon(
    home: Home, state: str, number: signal.Signals
) -> None:
    with standing(home, state) as neod:
        began = time.monotonic()
        status, _, log = neod.stop(number)

    assert time.monotonic() - began < HASTE
    assert status == 0
    assert not home.socket.exists()
    assert [line.split()[2] for line in log.splitlines()][-1] == "stopped"
    assert "Traceback" not in log
    assert lines_of_the_ledger(home)


def test_a_login_that_a_stop_cut_off_is_given_up_by_the_next_start_and_counted(home: Home) -> None:
    with standing(home, "starting") as neod:
        wait_for_attempts(home, 1)
        neod.stop()
    with standing(home, "starting") as neod:
        wait_for_attempts(home, 2)
        neod.stop(signal.SIGKILL)

    cut = [line["id"] for line in lines_of_the_ledger(home) if line.get("cut")]
    assert cut == [attempts(home)[0]]


def test_a_second_signal_does_not_wait_for_who_still_reads(home: Home) -> None:
    with standing(home, "ok") as neod, socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(home.socket))
        slow.sendall(b"GET /v1/token HTTP/1.1\r\nHost: neod\r\n")  # and half a head is left open
        time.sleep(0.2)  # it is with neod by then
        neod.popen.send_signal(signal.SIGTERM)
        assert neod.popen.stderr
        for line in neod.popen.stderr:
            if " stopping" in line:
                break

        began = time.monotonic()
        neod.popen.send_signal(signal.SIGTERM)
        neod.popen.wait(timeout=10)

    assert time.monotonic() - began < 1
    assert neod.popen.returncode == -signal.SIGTERM
    with standing(home, "ok") as neod:  # what it left behind is in nobody's way
        assert neod.stop()[0] == 0


def test_a_stop_while_a_reload_waits_for_a_login_ends_both(home: Home) -> None:
    with standing(home, "starting") as neod:
        text = home.config.read_text()
        home.config.write_text(text.replace("9999996708", "9999996709"))
        words = ["-m", "neoctl", "reload"]
        with subprocess.Popen(
            [sys.executable, *words],
            env=home.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as reload:
            time.sleep(0.5)  # it asks by then
            began = time.monotonic()
            status, _, log = neod.stop()
            reload.communicate(timeout=10)

    assert status == 0
    assert time.monotonic() - began < 2 * HASTE
    assert "Traceback" not in log


# At the start


def test_a_state_that_may_not_be_written_is_said_with_what_mends_it(theirs: Home) -> None:
    theirs.configure("http://127.0.0.1:1/")
    state = theirs.folder / "state" / "neod"
    state.mkdir(parents=True)
    give(theirs)
    state.chmod(0o500)

    words = ("run", "--config", str(theirs.config))
    with Process(*words, environ=theirs.environ, through=tuple(as_user())) as neod:
        _, said = neod.popen.communicate(timeout=20)

    assert neod.popen.returncode == 2
    assert f"{state / 'lock'}: Permission denied" in said
    assert "XDG_STATE_HOME" in said
    assert "Traceback" not in said
    assert not theirs.socket.exists()


def test_a_file_in_the_sockets_place_is_left_and_said(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    home.socket.write_text("somebody's")

    with Process("run", "--config", str(home.config), environ=home.environ) as neod:
        _, said = neod.popen.communicate(timeout=20)

    assert neod.popen.returncode == 2
    assert "is no socket" in said
    assert home.socket.read_text() == "somebody's"


def test_without_a_runtime_folder_it_makes_one_of_its_own_that_neoctl_finds(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url)
    del home.environ["NEOD_SOCKET"]
    home.environ["TMPDIR"] = str(home.folder)

    with Neod(home) as neod:
        token = home.neoctl("token", "--wait", "10")
        path = home.neoctl("socket").stdout.strip()
        status, _, _ = neod.stop()

    assert token.returncode == 0
    assert status == 0
    assert path
    assert not os.path.lexists(path)
