"""neod as a service on a machine: its units, its configuration, its log."""

import json
import os
import sys
import urllib.request

import msgspec

from neod.install import UNITS, programs, render
from tests.fakes.process import CONFIG, Sandbox
from tests.systemd.machine import HOME, RUNTIME, Machine

UNIT_FOLDER = HOME / ".config" / "systemd" / "user"
CONFIG_FILE = HOME / ".config" / "neod" / "config.toml"
SOCKET = RUNTIME / "neod" / "neod.sock"
PROGRAMS = programs(sys.executable, "")
# A test waits for no restart longer than it must.
QUICK = "[Service]\nRestartSec=100ms\nEnvironment=NEOD_LOG=debug\n"


class Entry(msgspec.Struct, rename={"text": "MESSAGE", "priority": "PRIORITY"}):
    """A line of the journal."""

    text: str
    priority: str


class Service:
    """neod on a machine."""

    def __init__(self, on: Machine) -> None:
        self.machine = on
        shown = on.do("journalctl", "--user", "--lines=0", "--show-cursor")
        self._begin = shown.partition("cursor: ")[2].strip()

    def put_units(self, drop_in: str = QUICK) -> None:
        """As `neod install` writes them, which a test of its own shows; with a drop-in."""
        for unit in UNITS:
            self.machine.write(UNIT_FOLDER / unit, render(unit, PROGRAMS))
        self.drop_in("quick", drop_in)

    def drop_in(self, name: str, text: str) -> None:
        self.machine.write(UNIT_FOLDER / "neod.service.d" / f"{name}.conf", text)
        self.machine.systemctl("daemon-reload")

    def configure(self, url: str, password: str = "sandbox-password", text: str = CONFIG) -> None:
        self.machine.write(CONFIG_FILE.with_name("password"), f"{password}\n")
        self.machine.write(CONFIG_FILE, text.replace("URL", url))

    def clear(self) -> None:
        """Away with all of it."""
        self.machine.run("systemctl", "--user", "disable", "--now", *UNITS)
        self.machine.run("systemctl", "--user", "reset-failed")
        folders = (HOME / ".config", HOME / ".local", RUNTIME / "neod")
        self.machine.do("rm", "-rf", *map(os.fspath, folders))
        self.machine.systemctl("daemon-reload")

    def start(self) -> None:
        self.machine.systemctl("start", "neod.service")

    def neoctl(self, *words: str) -> tuple[int, str, str]:
        done = self.machine.run(*PROGRAMS.neoctl, *words)
        return done.returncode, done.stdout, done.stderr

    def token(self) -> str:
        status, out, err = self.neoctl("token", "--wait", "20")
        assert status == 0, err
        return out

    def stands(self) -> tuple[str, str, int]:
        """The unit's states, and how often it was started again."""
        names = ("ActiveState", "SubState", "NRestarts")
        shown = self.machine.show("neod.service", *names)
        active, sub, restarts = (shown[name] for name in names)
        return active, sub, int(restarts)

    def says(self) -> str:
        return self.machine.show("neod.service", "StatusText")["StatusText"]

    def log(self, until: str) -> list[Entry]:
        """What the journal has of the unit since this began, as its user reads it.

        Up to the first line with these words, for which it waits.
        """
        found: list[Entry] = []
        words = ("journalctl", "--user", "-u", "neod", "--follow", "--output=json")
        with self.machine.lines(*words, f"--after-cursor={self._begin}", "--lines=all") as lines:
            for line in lines:
                found.append(msgspec.json.decode(line, type=Entry))
                if until in found[-1].text:
                    return found
        raise AssertionError(f"no {until!r} in {[entry.text for entry in found]}")


def asked(sandbox: Sandbox) -> dict[str, object]:
    """What the sandbox counts."""
    with urllib.request.urlopen(f"{sandbox.url}sandbox", timeout=10) as answer:
        found: dict[str, object] = json.load(answer)
    return found
