"""The clients of docs/clients.md, in nine languages, against the real daemon and the sandbox.

All of them live through one story together, as the bots of one account do: they are there before
neod is; a session comes, and is renewed; neod is killed and started again; the session dies at
the broker. Each test asks what one of them made of one part of it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from neod.clock import SYSTEM
from tests.clients.table import FOLDER, ROWS, Row
from tests.fakes.process import CONFIG, Home, Neod, Sandbox

pytestmark = pytest.mark.outer

PATIENCE = 10.0  # seconds for all of them to notice something; they look once a second
TICK = 0.5  # seconds between two calls that a bot makes to the broker
LOOKED_AT = 2.5  # seconds in which who waits is watched for haste
# A session is believed to be dead from a quarter of its life on, and renewed in the last quarter.
LIFE = 32
PACKAGES = {
    "c++": "g++",
    "cc": "gcc",
    "curl": "curl",
    "go": "golang-go",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "nc": "netcat-openbsd",
    "node": "nodejs",
    "python3": "python3",
    "rustc": "rustc",
    "sed": "sed",
    "sh": "dash",
}
CALLED = {"curl.sh": ["curl", "sed"], "nc.sh": ["nc", "sed"]}  # by the clients themselves


class Bot:
    """A client that runs, and what it has printed."""

    def __init__(self, row: Row, folder: Path, home: Home, said: threading.Condition) -> None:
        self.lines: list[str] = []
        self.marks: dict[str, int] = {}  # part of the story -> how many lines there were by then
        self.cpu: dict[str, float] = {}  # part of the story -> seconds of CPU that it took in it
        self.status: int | None = None  # that it ended with; None where it had to be killed
        self._said = said
        self._errors = folder / "stderr"
        with self._errors.open("w") as errors:
            self.popen = subprocess.Popen(
                f"exec {row.run}",
                shell=True,
                cwd=folder,
                env=home.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()

    def hear(self, answer: str) -> None:
        """The broker answers to a call of the bot's."""
        assert self.popen.stdin
        with suppress(BrokenPipeError):  # it has gone; what it said tells the rest
            self.popen.stdin.write(f"{answer}\n")
            self.popen.stdin.flush()

    def end(self) -> None:
        """The broker has gone, so it goes too."""
        assert self.popen.stdin
        with suppress(BrokenPipeError):
            self.popen.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.status = self.popen.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._reading.join()
        assert self.popen.stdout
        self.popen.stdout.close()

    def since(self, part: str) -> list[str]:
        """What it has said from this part of the story to the next."""
        ends = [*self.marks.values(), len(self.lines)]
        at = list(self.marks).index(part)
        return self.lines[ends[at] : ends[at + 1]]

    def used(self) -> float:
        """Seconds of CPU that it has had, its children included."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.popen.pid:  # its process group
                    ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def argv(self) -> str:
        """The command lines of its processes."""
        found = ""
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                stat = line.with_name("stat").read_text().rpartition(")")[2].split()
                if int(stat[2]) == self.popen.pid:
                    found += line.read_text()
        return found


class Story:
    """What is done to all of them, and who could not be built."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.troubles: dict[str, str] = {}
        self.tokens: dict[int, str] = {}
        self.argv: dict[str, str] = {}
        self._lost: set[Bot] = set()
        self._said = threading.Condition()
        self._home = home
        built = self._build(folder)
        self.bots = {row.file: Bot(row, folder / row.file, home, self._said) for row in built}

    def _build(self, folder: Path) -> list[Row]:
        """Build all at once; the rows of those who could be."""
        building = {}
        for row in ROWS:
            words = [part.split()[0] for part in (row.build, row.run) if part]
            for program in [*words, *CALLED.get(row.file, [])]:
                if not program.startswith("./") and shutil.which(program) is None:
                    need = f"{row.file} needs {program}: apt-get install {PACKAGES[program]}"
                    self.troubles[row.file] = need
            if row.file in self.troubles:
                continue
            place = folder / row.file
            place.mkdir()
            shutil.copy(FOLDER / row.file, place)
            building[row] = subprocess.Popen(
                row.build or ":",
                shell=True,
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        for row, compiler in building.items():
            told, _ = compiler.communicate(timeout=120)
            if told or compiler.returncode != 0:  # no warnings either
                self.troubles[row.file] = f"{row.build} in tests/clients says:\n{told}"
        return [row for row in building if row.file not in self.troubles]

    def begin(self, part: str) -> None:
        with self._said:
            for bot in self.bots.values():
                bot.marks[part] = len(bot.lines)

    def watch_for_haste(self, part: str) -> None:
        before = {bot: bot.used() for bot in self.bots.values()}
        time.sleep(LOOKED_AT)  # nothing is waited for: this is how long it is looked at
        for bot, used in before.items():
            bot.cpu[part] = bot.used() - used

    def hear(self, answer: str) -> None:
        """The broker answers so to all."""
        for bot in self.bots.values():
            bot.hear(answer)

    def until(self, part: str, line: str) -> None:
        """All go on with their calls, until each has said this line.

        Who does not say it in time is not waited for again, nor is who has ended: what the others
        go through is not to depend on it, and the tests will say who it was.
        """
        end = time.monotonic() + PATIENCE
        with self._said:
            while waiting := [
                bot
                for bot in self.bots.values()
                if bot not in self._lost
                and not any(re.match(line, said) for said in bot.since(part))
            ]:
                self._lost.update(bot for bot in waiting if bot.popen.poll() is not None)
                if time.monotonic() > end:
                    self._lost.update(waiting)
                for bot in waiting:
                    bot.hear("ok")
                self._said.wait_for(lambda: False, TICK)

    def session(self) -> dict[str, str]:
        asked = self._home.neoctl("session", "--wait", "10")
        assert asked.returncode == 0, asked.stderr
        return dict(json.loads(asked.stdout))

    def take_note(self) -> None:
        """Of the token that there is now, and of the command lines."""
        session = self.session()
        self.tokens[int(session["generation"])] = str(session["token"])
        for name, bot in self.bots.items():
            self.argv[name] = self.argv.get(name, "") + bot.argv()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = Home(tmp_path_factory.mktemp("home"))
    with Sandbox("--life", f"{LIFE}") as sandbox:
        home.configure(sandbox.url, text=CONFIG)
        story = Story(home, tmp_path_factory.mktemp("clients"))
        try:
            _tell(story, home, sandbox)
        finally:
            for bot in story.bots.values():
                bot.end()
        yield story


def steer(sandbox: Sandbox, what: str, **fields: object) -> None:
    httpx.post(f"{sandbox.url}sandbox/{what}", json=fields).raise_for_status()


def _tell(story: Story, home: Home, sandbox: Sandbox) -> None:
    story.begin("neod is not there")
    story.until("neod is not there", "waiting")
    story.watch_for_haste("neod is not there")

    steer(sandbox, "faults", fault="slow=5")
    with Neod(home) as neod:
        time.sleep(1)  # by then all have found it
        story.begin("it has no session yet")
        story.watch_for_haste("it has no session yet")
        story.begin("a session comes")
        story.until("a session comes", "session 1,")
        story.take_note()

        story.begin("it is renewed")
        assert home.neoctl("renew").returncode == 0
        story.until("it is renewed", "session 2,")
        story.take_note()

        story.begin("neod is killed")
        neod.stop(signal.SIGKILL)
        story.until("neod is killed", "waiting")

    with Neod(home):
        story.begin("the session dies")
        steer(sandbox, "kill")
        # Before it has lived for a while, a reject of it is not believed.
        born = float(story.session()["issued_at"])
        time.sleep(max(0.0, born + LIFE / 4 + 1 - SYSTEM.wall()))
        # So that all have said it before there is a new one.
        steer(sandbox, "faults", fault="slow=1")
        story.hear("100022")
        story.until("the session dies", "rejected 2")
        story.until("the session dies", "session 3,")
        story.take_note()


@pytest.fixture
def bot(story: Story, row: Row) -> Bot:
    if row.file in story.troubles:
        pytest.fail(story.troubles[row.file], pytrace=False)
    bot = story.bots[row.file]
    print(f"{row.file} said: {bot.lines}\nand on stderr: {bot.errors}\nby then: {bot.marks}")
    return bot


every_client = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)


def sessions(lines: list[str]) -> list[int]:
    return [int(line.split()[1].rstrip(",")) for line in lines if line.startswith("session ")]


@every_client
def test_it_waits_for_neod_and_in_no_haste(row: Row, bot: Bot) -> None:
    said = bot.since("neod is not there")

    assert set(said) == {"waiting"}
    assert len(said) <= 2 + PATIENCE + LOOKED_AT
    assert bot.cpu["neod is not there"] < LOOKED_AT / 3


@every_client
def test_it_waits_for_a_session_and_in_no_haste(row: Row, bot: Bot) -> None:
    assert bot.since("it has no session yet") == []
    assert bot.cpu["it has no session yet"] < LOOKED_AT / 3


@every_client
def test_it_takes_the_session_that_comes(row: Row, bot: Bot, story: Story) -> None:
    assert sessions(bot.since("a session comes")) == [1]


@every_client
def test_it_goes_over_to_the_next_one(row: Row, bot: Bot) -> None:
    assert sessions(bot.since("it is renewed")) == [2]


@every_client
def test_it_outlives_a_restart_of_neod_with_the_session_that_it_has(row: Row, bot: Bot) -> None:
    assert "waiting" in bot.since("neod is killed")
    assert 2 not in sessions(bot.since("the session dies"))


@every_client
def test_it_rejects_a_dead_one_and_goes_on_with_what_follows(row: Row, bot: Bot) -> None:
    said = bot.since("the session dies")

    assert "rejected 2 renewed" in said or "rejected 2 newer" in said
    assert sessions(said) == [3]


@every_client
def test_it_tells_no_token(row: Row, bot: Bot, story: Story) -> None:
    assert story.tokens.keys() == {1, 2, 3}
    for generation, token in story.tokens.items():
        assert f"session {generation}, {len(token)} bytes of token" in bot.lines
        secret = token.rpartition(".")[2]  # its signature
        assert secret not in "\n".join(bot.lines)
        assert secret not in bot.errors
        assert secret not in story.argv[row.file]


@every_client
def test_it_ends_in_peace(row: Row, bot: Bot) -> None:
    assert bot.status == 0
    assert bot.errors == ""
