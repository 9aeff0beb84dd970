"""Two hours pass in an instant, for a real daemon. A bench: python -m tests.bench.faketime

libfaketime makes neod, and the sandbox that plays the broker, believe so, as after a suspend;
sessions live for one hour. A client asks all the time. Nothing cancels neod's timerfd here, so
the tick alone can notice the leap: the worst case.

Exits with 1 if a lapsed session was served, or a new one took longer than 30 seconds; with 2 if
there is no libfaketime.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from neoctl import client
from tests.bench.wakeups import report_wakeups
from tests.fakes.process import Home, Neod, Sandbox

FOLDERS = ["/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime"]
NAMES = ["libfaketimeMT.so.1", "libfaketime.so.1"]  # the first is for programs with threads
LIFE = 3600  # seconds that a session lives
LEAP = 7200  # seconds
WAITS = [0.0, 5.0, 10.0]  # seconds before each leap: the next tick is not always as far away
ALLOWED = 30.0  # seconds from a leap to a new session
PATIENCE = 90.0  # seconds after which a new session is not waited for any more
PACE = 0.05  # seconds between two looks


class FakeTime:
    """The wall clock of the processes that are started with its `environ`."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "faketime"
        self._ahead = 0
        self.leap(0)
        self.environ = {
            "LD_PRELOAD": os.fspath(library),
            "FAKETIME_TIMESTAMP_FILE": os.fspath(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # trio's clock; CLOCK_BOOTTIME goes with it
        }

    def now(self) -> float:
        return time.time() + self._ahead  # noqa: TID251 - a bench has no clock to take

    def leap(self, seconds: int) -> None:
        self._ahead += seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"+{self._ahead}\n", encoding="ascii")
        new.replace(self._file)  # whoever reads it finds the old time or the new one


class Session(msgspec.Struct):
    """What the client reads of a session."""

    generation: int
    expires_at: int


class Client:
    """Asks for the session again and again, and counts what it is answered."""

    def __init__(self, fake: FakeTime, home: Home) -> None:
        self._fake = fake
        self._environ = home.environ
        self.generation = 0
        self.served = 0
        self.lapsed = 0
        self.refused = 0

    def look(self) -> None:
        asked = self._fake.now()
        try:
            reply = client.get("/v1/session", environ=self._environ)
        except client.Problem as problem:
            if problem.code == "not_running":
                raise
            self.refused += 1
            return
        session = msgspec.json.decode(reply.body, type=Session)
        self.generation = session.generation
        self.served += 1
        self.lapsed += session.expires_at <= asked

    def look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(PACE)

    def look_until_newer(self, generation: int) -> float:
        """The seconds that it takes until there is a newer session; endless after PATIENCE."""
        began = time.monotonic()
        while (gone := time.monotonic() - began) < PATIENCE:
            self.look()
            if self.generation > generation:
                return gone
            time.sleep(PACE)
        return float("inf")


def find_library() -> Path | None:
    for name in NAMES:
        for folder in FOLDERS:
            for library in Path("/").glob(f"{folder[1:]}/{name}"):
                return library
    return None


def leaps(fake: FakeTime, home: Home) -> bool:
    """Leap, and print what came of it; whether all was as promised."""
    asking = Client(fake, home)
    asking.look_until_newer(0)
    slowest = 0.0
    for wait in WAITS:
        asking.look_for(wait)
        refused, generation = asking.refused, asking.generation
        fake.leap(LEAP)
        took = asking.look_until_newer(generation)
        slowest = max(slowest, took)
        print(
            f"generation {generation} lapsed in a leap of {LEAP} s: generation "
            f"{asking.generation} after {took:.1f} s, {asking.refused - refused} times refused"
        )
    print(
        f"{asking.served} sessions served, {asking.lapsed} of them lapsed (0 are allowed); "
        f"the slowest new one took {slowest:.1f} s ({ALLOWED:.0f} are allowed)"
    )
    return asking.lapsed == 0 and slowest <= ALLOWED


def main() -> int:
    library = find_library()
    if library is None:
        print("libfaketime is missing: apt-get install faketime", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        fake, home = FakeTime(library, Path(folder)), Home(Path(folder))
        home.environ |= fake.environ
        os.environ |= fake.environ  # the sandbox's: this process itself is loaded already
        with Sandbox("--life", str(LIFE)) as sandbox:
            home.configure(sandbox.url)
            with Neod(home) as neod:
                kept = leaps(fake, home)
                idle = report_wakeups(neod.popen.pid)
    return int(not (kept and idle))


if __name__ == "__main__":
    sys.exit(main())
