"""Everything goes wrong at once, and the promises hold. A bench: python -m tests.bench.chaos

The real daemon as a process, a sandbox beside it as another, ten honest bots, hostile peers, and
a plan of what is thrown, drawn from the seed. Exits with 1 if a promise was broken; it says which,
when, by what evidence and with which seed. With --plan the plan is printed, too.

In the last third of the time neod is neither killed nor restarted, so that it can be told whether
it grows: it is measured at a quiet moment at the begin, in the middle and at the end of that. By
the middle it has warmed up, so what it has in memory is compared from there on.

To reach: no broken promise.
"""

import argparse
import random
import socket
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from random import Random

import trio

from tests.bench.place import machine
from tests.bench.storm.bots import ACCOUNTS, Bot, Gate
from tests.bench.storm.house import Daemon, Disk, House, Sandbox
from tests.bench.storm.judge import EVERY, SHOWN, Judge
from tests.bench.storm.plan import KINDS, Throw, plan
from tests.bench.storm.size import Size, grown, measure
from tests.bench.storm.thrower import Thrower, cancelled_at_the_end
from tests.bench.storm.verdict import conclude
from tests.bench.storm.wire import Wire

WARM = 2.0  # seconds without anything thrown at the begin
QUIET_TIME = 65.0  # seconds in which the last peer has to be gone: a reject may wait for a login
AGAIN = 5.0  # the same once something has grown, which is not waited out again
BUDGET_LIFE = 30.0  # seconds of a session


class Storm:
    """One run."""

    def __init__(self, folder: Path, seconds: float, seed: int, life: float) -> None:
        self.seconds = seconds
        self.seed = seed
        self.judge = Judge(folder / "journal")
        port = free_port()
        self.house = House(folder, port, self.judge)
        self.disk = Disk(self.house.state)
        self.sandbox = Sandbox(port, folder / "journal", life)
        self.daemon = Daemon(self.house, self.judge)
        self.thrower = Thrower(self.house, self.daemon, self.sandbox, self.disk, self.judge, seed)
        self.gate = Gate()
        self.sizes: list[Size] = []
        draw, disk = Random(seed), self.disk.mounted
        self.calm_from = seconds * 2 / 3
        half = (seconds - self.calm_from) / 2
        self.plans = (
            (self.calm_from, plan(draw, WARM, self.calm_from, disk=disk, deaths=True)),
            (half, plan(draw, 0, half, disk=disk, deaths=False)),
            (half, plan(draw, 0, half, disk=disk, deaths=False)),
        )

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.daemon.discard()
            self.sandbox.kill()
            self.disk.unmount()

    async def _run(self) -> None:
        home = self.house.home
        self.house.configure()
        await self.sandbox.start()
        await self.thrower.start()
        async with cancelled_at_the_end() as nursery:
            nursery.start_soon(self._feel_the_lag)
            nursery.start_soon(self._follow)
            nursery.start_soon(self.thrower.mind)
            nursery.start_soon(self.thrower.look_after)
            for number in range(len(ACCOUNTS)):
                bot = Bot(number, self.seed, home.socket, self.house.url, self.judge, self.gate)
                nursery.start_soon(bot.run)
            for lasts, throws in self.plans:
                begin = trio.current_time()
                await self.thrower.throw(throws, begin)
                await trio.sleep_until(begin + lasts)
                await self._measure()
        await self.daemon.stop()
        self.look_for_leaks()
        conclude(self.judge)

    async def _feel_the_lag(self) -> None:
        while True:
            self.judge.feel()
            await trio.sleep(EVERY)

    async def _follow(self) -> None:
        while True:
            await trio.sleep(1)
            self.judge.follow()

    async def _measure(self) -> None:
        """A quiet moment: nobody asks, and neod's size is taken when it has calmed down."""
        self.gate.close()
        before = self.sizes[-1] if self.sizes else None
        if before and len(self.sizes) == 1:
            before = before._replace(memory=inf)
        size = await self._size()
        known = any(one.promise == "growth" for one in self.judge.broken)
        with trio.move_on_after(AGAIN if known else QUIET_TIME):
            while grown(before, size):
                await trio.sleep(0.25)
                size = await self._size()
        self.sizes.append(size)
        self.gate.open()
        for what in grown(before, size):
            self.judge.broke("growth", what)

    async def _size(self) -> Size:
        async with self.daemon.held:
            with self._in_time(10):
                wire = Wire(await trio.open_unix_socket(self.house.home.socket))
                reply = await wire.ask("GET", "/v1/clients")
                clients = reply.fields["clients"]
                assert isinstance(clients, list)
                size = measure(self.daemon.pid, list(map(str, clients)))
                await wire.aclose()
        return size

    @contextmanager
    def _in_time(self, seconds: float) -> Iterator[None]:
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError:
            self.judge.broke("P5", f"nobody asks, and there is no answer within {seconds:.0f} s")
            raise

    def look_for_leaks(self) -> None:
        """P6: in the log, the ledger, and in what children were given."""
        home = self.house.home.folder
        own = {home / "config.toml", *(home / "secrets").iterdir()}
        places = [*home.rglob("*"), *self.house.logs.iterdir()]
        for path in places:
            if path in own or not path.is_file() or path.suffix == ".session":
                continue
            text = path.read_text(errors="replace")
            self.judge.wrote(path.name, text, log=path.suffix == ".log")

    # What is printed

    def report(self) -> None:
        judge = self.judge
        print(
            f"seed {self.seed}, {self.seconds:.0f} s, {machine()}; the bench lagged at most "
            f"{judge.lag:.2f} s; neod was started {self.daemon.lives} times"
        )
        if not self.disk.mounted:
            print(f"LEFT OUT: a full disk, since none could be mounted: {self.disk.why}")
        print("\nthrown")
        for kind, (_, what) in KINDS.items():
            print(f"{self.thrower.thrown[kind]:7}  {kind:16} {what}")
        print("\nasked and answered")
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        for (what, came), count in judge.asked.items():
            if count:
                answers[what][came] += count
        for what, counts in sorted(answers.items()):
            told = ", ".join(f"{came} {count}" for came, count in counts.most_common())
            slowest = f"; slowest {judge.slowest[what]:.2f} s" if what in judge.slowest else ""
            print(f"  {what:14} {told}{slowest}")
        lines = judge.journal.lines
        logins = sum(bool(line.token) for line in lines)
        refused = sum(line.refused for line in lines)
        print(
            f"  the broker accepted {logins} factors and refused {refused}; generations: "
            + ", ".join(f"{name} {known.generation}" for name, known in judge.known.items())
        )
        print("  size: " + " -> ".join(map(str, self.sizes)))
        weighed = ", ".join(f"{what} {count}" for what, count in judge.weighed.items())
        print(f"  there was to judge: {weighed}")
        self._verdict()

    def _verdict(self) -> None:
        broken = self.judge.broken
        kinds = Counter(one.promise for one in broken)
        shown: Counter[str] = Counter()
        for one in broken:
            shown[one.promise] += 1
            if shown[one.promise] <= SHOWN:
                print(
                    f"BROKEN {one.promise} at {one.at - self.judge.began:.2f} s "
                    f"(seed {self.seed}): {one.what}"
                )
        if broken:
            print("\nMISSED: " + ", ".join(f"{kind} {n} times" for kind, n in kinds.items()))
        else:
            print("\nreached: no broken promise")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def storm(seconds: float, seed: int, life: float, folder: Path, *, show: bool = False) -> Storm:
    """Run it in an empty folder, and print what came of it."""
    one = Storm(folder, seconds, seed, life)
    if show:
        begin = 0.0
        for lasts, throws in one.plans:
            print_plan(throws, begin)
            begin += lasts
    try:
        trio.run(one.run)
    finally:
        one.report()
    return one


def print_plan(throws: list[Throw], begin: float) -> None:
    for each in throws:
        print(each._replace(at=each.at + begin))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--life", type=float, default=BUDGET_LIFE, help="of a session, in seconds")
    parser.add_argument("--plan", action="store_true", help="print the plan")
    parser.add_argument("--keep", type=Path, help="a folder for logs and the broker's journal")
    options = parser.parse_args()
    seed = random.randrange(100_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="neod-storm-") as name:
        folder = options.keep or Path(name)
        if options.keep and options.keep.exists():
            parser.error(f"--keep {options.keep}: it is there already; name one that is not")
        folder.mkdir(parents=True, exist_ok=True)
        one = storm(options.minutes * 60, seed, options.life, folder, show=options.plan)
    return 1 if one.judge.broken else 0


if __name__ == "__main__":
    sys.exit(main())
