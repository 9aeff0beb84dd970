"""`neoctl doctor` beside a neod that runs, and beside things that hang."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.canned import CannedNeod
from tests.fakes.process import CONFIG, Home, Neod, Sandbox
from tests.screens import on_a_terminal

pytestmark = pytest.mark.outer

MOST = 15.0  # seconds, whatever hangs


def levels(home: Home) -> tuple[int, dict[str, str]]:
    """The exit status, and the worst level of each check."""
    done = home.neoctl("doctor", "--json")
    assert done.stderr == ""
    worst: dict[str, str] = {}
    for one in json.loads(done.stdout)["findings"]:
        if one["level"] != "ok":
            assert one["action"], one
        if worst.get(one["check"], "ok") == "ok":
            worst[one["check"]] = one["level"]
    return done.returncode, worst


def runs(cmdline: Path, home: Home) -> bool:
    try:
        return os.fsencode(home.folder) in cmdline.read_bytes()
    except OSError:  # it has ended
        return False


@pytest.fixture
def private(home: Home) -> Home:
    """Its neod is the only one on PATH, and its folder is closed to others."""
    home.folder.chmod(0o700)
    (home.folder / "bin").mkdir()
    # Nothing of this machine's systemd: it would say what is so here.
    home.environ["PATH"] = os.fspath(home.folder / "bin")
    return home


def test_a_neod_that_is_well_fails_in_nothing(private: Home, sandbox: Sandbox) -> None:
    private.configure(sandbox.url)
    with Neod(private):
        private.neoctl("wait", "--wait", "10")
        status, found = levels(private)
        trouble = {check for check, level in found.items() if level != "ok"}
        assert status == 0
        # A socket that is not where it usually is, and whatever this machine lacks.
        assert trouble <= {"runtime", "unit", "linger", "enabled", "ntp"}
        assert {"socket", "folder", "answer", "version", "config", "secrets"} <= found.keys()
        assert {"session", "failure", "budget", "clock", "address", "ledger"} <= found.keys()
        assert "disk" in found


@pytest.mark.parametrize("colour", ["", "1"])
def test_it_fits_a_terminal(private: Home, sandbox: Sandbox, colour: str) -> None:
    private.configure(sandbox.url)
    with Neod(private):
        private.neoctl("wait", "--wait", "10")
        environ = {**private.environ, "NO_COLOR": colour}
        seen = on_a_terminal(("-m", "neoctl", "doctor"), (), environ)
    assert seen.status == 0
    assert ("\x1b[32mok" in seen.text) is (not colour)
    plain = seen.text.replace("\x1b[32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "")
    # What is wider is one word, such as a path, that cannot be broken.
    wide = [line for line in plain.splitlines() if len(line) > 80]
    assert [line for line in wide if " " in line[18:].strip()] == []


def test_each_trouble_is_found(private: Home, sandbox: Sandbox) -> None:
    text = CONFIG.replace('"sandbox-consumer-secret"', '{ file = "secret" }')
    private.configure(sandbox.url, password="wrong", text=text)
    secret = private.folder / "secret"
    secret.write_text("sandbox-consumer-secret")
    secret.chmod(0o600)
    with Neod(private):
        private.neoctl("wait", "--wait", "2")
        secret.unlink()
        private.config.chmod(0o644)
        private.socket.chmod(0o666)
        private.folder.chmod(0o777)
        (private.folder / "state" / "neod").chmod(0o755)
        status, found = levels(private)
        private.folder.chmod(0o700)
    assert status == 1
    wanted = {
        "session": "failed",
        "failure": "warning",
        "secrets": "failed",
        "config": "warning",
        "socket": "warning",
        "folder": "failed",
        "ledger": "warning",
    }
    assert {check: found[check] for check in wanted} == wanted


def test_it_ends_in_time_whatever_hangs(private: Home) -> None:
    for name in ("systemctl", "timedatectl", "pass"):
        program = private.folder / "bin" / name
        program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
        program.chmod(0o700)
    text = CONFIG.replace('{ file = "password" }', '{ command = ["pass"] }')
    private.configure("http://127.0.0.1:1/", text=text)
    private.environ["NEOD_CONFIG"] = os.fspath(private.config)
    with CannedNeod(private.socket) as neod:
        neod.manner, neod.reply = "hangs", b""
        began = time.monotonic()
        status, found = levels(private)
        took = time.monotonic() - began
    assert took < MOST
    # What neod runs to get a secret ends with it.
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if runs(path, private)]
    assert left == []
    assert status == 1
    assert found["answer"] == "failed"
    assert (found["ntp"], found["secrets"]) == ("warning", "warning")
