"""Exchanges with neod as they go over the wire, for docs/protocol.md.

They are real: daemon, routes and keepers as they are, over a Unix socket, against the sandbox's
broker in memory; only the time is virtual, and begins on a morning that is always the same.

The document has `<!-- exchange: NAME -->` where the exchange of that name belongs; the fenced
block that follows is made here. A place whose name is not known is left alone.

    python -m tests.exchanges           # says whether the document is stale
    python -m tests.exchanges --write   # makes it anew
"""

import logging
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import config, daemon
from neod.clock import Clock
from neod.ipc.api import Api, Files
from neod.ipc.clients import Client
from neod.ipc.reads import Reads
from neod.ipc.server import Server
from neod.lookout import Lookout
from neod.reload import Reload
from neod.sandbox.broker import Settings
from tests import made
from tests.fakes.kotak import Refuse
from tests.fakes.streams import Door
from tests.fakes.world import TOTP, World, accounts_of

DOCUMENT = Path(__file__).parent.parent / "docs" / "protocol.md"
CONFIGURATION = Path("/home/asha/.config/neod/config.toml")
FILES = Files(
    socket="/run/user/1000/neod/neod.sock",
    configuration=str(CONFIGURATION),
    state="/home/asha/.local/state/neod",
)
MORNING = 1_767_583_800.0  # 2026-01-05T09:00:00+05:30, a Monday
WIDTH = 100  # columns, after which JSON goes on in the next line
DEAD = '{"stat":"Not_Ok","stCode":100022,"errMsg":"invalid session token"}'
MOVED = '{"stat":"Not_Ok","stCode":1037,"errMsg":"session ip doesnt match with reqest ip"}'
_PLACE = re.compile(
    r"^<!-- exchange: ([a-z0-9.-]+) -->\n(?:\n?```http\n.*?^```\n)?", re.MULTILINE | re.DOTALL
)
# What the machine chooses that this runs on, and what stands for it.
_MADE_UP = {
    r'"pid":\d+': '"pid":4711',
    r'"uid":\d+': '"uid":1000',
    r'"started":[0-9.]+': '"started":1767583792.5',
    r'"executable":"[^"]*"': '"executable":"/usr/bin/python3.11"',
    r'"unit":(?:null|"[^"]*")': '"unit":"bot.service"',
}
# What is too long to be read, or another one each time.
_LEFT_OUT = {
    r"eyJ([\w-]{9})[\w-]+\.[\w-]+\.[\w-]+": r"eyJ\1…",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "…",
    r'("session":\{"account":"[^"]*","generation":\d+),.*\}\}$': r"\1,…}}",
}
_FIELD = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^",])+,?')


class Neod:
    """A daemon over an account, and what is exchanged with it."""

    def __init__(self, world: World, limits: config.Server) -> None:
        self._world = world
        self._door = Door()
        self._limits = limits
        self._stop = trio.Event()
        self.mistakes: list[str] = []  # in the file that a reload reads

    async def run(self) -> None:
        accounts = accounts_of({self._world.name: self._world})
        news, clients = self._world.board.news, set[Client]()
        # As if the machine had run for long, so that whoever asks is younger.
        clock = Clock(wall=self._world.clock.wall, boot=lambda: 1e9 + trio.current_time())
        reload = Reload(self._load, accounts, lambda _limits: None)
        api = Api(
            accounts,
            MORNING,
            news=news,
            clients=clients,
            clock=clock,
            reload=reload,
            files=FILES,
        )
        server = Server(
            self._door.socket,
            api.respond,
            glance=Reads(api).take,
            clients=clients,
            limits=self._limits,
            clock=clock,
        )
        lookout = Lookout(accounts, news, lambda: None)
        await daemon.serve(accounts, server, lookout=lookout, clock=clock, shutdown=self._stop.wait)

    def _load(self) -> config.Config:
        if self.mistakes:
            raise config.ConfigError(CONFIGURATION, self.mistakes)
        return config.Config({self._world.name: self._world.account}, self._limits)

    def stop(self) -> None:
        self._stop.set()

    async def ask(self, line: str, *headers: str, body: str = "") -> "Exchange":
        """The exchange that begins with this line, whole."""
        begun = await self.begin(line, *headers, body=body)
        return await begun.end()

    async def post(self, target: str, body: str) -> "Exchange":
        return await self.ask(f"POST {target} HTTP/1.1", body=body)

    async def begin(self, line: str, *headers: str, body: str = "") -> "Begun":
        """The exchange that begins with this line, as far as the answer."""
        host = ("Host: neod",) if line.endswith("HTTP/1.1") else ()
        length = (f"Content-Length: {len(body)}",) if body else ()
        head = "\n".join((line, *host, *headers, *length, "", ""))
        stream = self._door.connect()
        await stream.send_all(head.replace("\n", "\r\n").encode() + body.encode())
        await wait_all_tasks_blocked()
        return Begun(head + (f"{_folded(body)}\n\n" if body else ""), stream)


class Begun:
    """An exchange whose request was sent. What neod says meanwhile waits in the socket."""

    def __init__(self, request: str, stream: trio.SocketStream) -> None:
        self._request = request
        self._stream = stream
        self._asked = trio.current_time()

    async def end(self) -> "Exchange":
        answer = await _whole(self._stream)
        await self._stream.aclose()
        return Exchange(self._request, answer, trio.current_time() - self._asked)


class Exchange(msgspec.Struct, frozen=True):
    """A request as it is shown, and the bytes of its answer, so many seconds later.

    `hidden` is what is not shown of it, beside what never is: a regular expression -> what stands
    in its place.
    """

    request: str
    answer: bytes
    took: float
    hidden: Mapping[str, str] = {}

    @property
    def shown(self) -> str:
        later = self.took >= 1 and b"ndjson" not in self.answer
        text = self.request + (f"({self.took:.0f} s later)\n\n" if later else "")
        text += _shown(self.answer)
        for found, instead in self.hidden.items():
            text = re.sub(found, instead, text, flags=re.DOTALL)
        return text

    def but(self, found: str, instead: str) -> "Exchange":
        return msgspec.structs.replace(self, hidden={**self.hidden, found: instead})


async def _whole(stream: trio.SocketStream) -> bytes:
    """One answer: to the end of its body, or of the connection."""
    received = b""
    async for some in stream:
        received += some
        head, end, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if end and length and len(body) in (0, int(length[1])):
            break
    return received


def _shown(received: bytes) -> str:
    """An answer as the document has it."""
    head, _, body = received.decode().replace("\r\n", "\n").partition("\n\n")
    for found, instead in _MADE_UP.items():
        body = re.sub(found, instead, body)
    if body:
        head = re.sub(r"(?<=Content-Length: )\d+", str(len(body.encode())), head)
    for found, instead in _LEFT_OUT.items():
        body = re.sub(found, instead, body, flags=re.MULTILINE)
    if "ndjson" not in head:  # whose lines are lines
        body = "\n".join(map(_folded, body.splitlines()))
    return f"{head}\n\n{body}"


def _folded(line: str) -> str:
    """JSON over several lines, the later ones indented."""
    lines = [""]
    for field in _FIELD.findall(line):
        if len(lines[-1]) + len(field) > WIDTH:
            lines.append(" ")
        lines[-1] += field
    return "\n".join(lines)


@asynccontextmanager
async def _running(world: World, **limits: int) -> AsyncIterator[Neod]:
    neod = Neod(world, msgspec.structs.replace(config.Server(), **limits))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(neod.run)
        await wait_all_tasks_blocked()
        yield neod
        neod.stop()


# The scenes. Each has a daemon of its own, and puts what is exchanged with it under a name.

Told = dict[str, Exchange]


async def _a_morning(told: Told) -> None:
    """The TOTP flow. The broker ends a session once, and cannot be reached in the end."""
    world = World(Settings(), start=MORNING)
    world.boot(**TOTP)
    async with _running(world) as neod:
        told["not-ready"] = await neod.ask("GET /v1/session HTTP/1.1")
        told["readyz-not"] = await neod.ask("GET /readyz HTTP/1.1")
        await neod.begin("GET /v1/watch HTTP/1.1")  # so that there is a client to be listed
        await trio.sleep(5)
        told["token"] = await neod.ask("GET /v1/token HTTP/1.1")
        told["session"] = await neod.ask("GET /v1/session?account=main&min_valid=60 HTTP/1.1")
        plain = await neod.ask("GET /v1/session HTTP/1.0")
        told["session-1.0"] = plain.but(r'("kind":"trade"),.*', r"\1,…}")
        told["min-valid"] = await neod.ask("GET /v1/token?min_valid=86400 HTTP/1.1")
        told["livez"] = await neod.ask("GET /livez HTTP/1.1")
        told["readyz"] = await neod.ask("GET /readyz HTTP/1.1")
        told["clients"] = await neod.ask("GET /v1/clients HTTP/1.1")
        told["too-young"] = await neod.post("/v1/reject", _rejected(1, DEAD))
        await trio.sleep(115)
        told["alive"] = await neod.post("/v1/reject", _rejected(1, DEAD))
        told["not-a-session-fault"] = await neod.post("/v1/reject", _rejected(1, MOVED))
        await trio.sleep(60)
        world.kotak.broker.kill(None)
        told["renewed"] = await neod.post("/v1/reject", _rejected(1, DEAD))
        told["newer"] = await neod.post("/v1/reject", _rejected(1, DEAD))
        told["status"] = await neod.ask("GET /v1/status HTTP/1.1")
        wait = await neod.begin("GET /v1/token?after=2&wait=60 HTTP/1.1")
        await trio.sleep(20)
        told["renew"] = await neod.post("/v1/renew", '{"account":"main"}')
        told["wait"] = await wait.end()
        await trio.sleep(60)
        told["pause"] = await neod.post("/v1/pause", '{"account":"main"}')
        told["resume"] = await neod.post("/v1/resume", '{"account":"main"}')
        told["reload"] = await neod.post("/v1/reload", "{}")
        neod.mistakes = ["account.main.moble: unknown; did you mean mobile?"]
        told["reload-not"] = await neod.post("/v1/reload", "{}")
        told["logins"] = await neod.ask("GET /v1/logins?limit=5 HTTP/1.1")
        world.kotak.always = lambda _: Refuse()
        told["deferred"] = await neod.post("/v1/reject", _rejected(3, DEAD))


def _rejected(generation: int, evidence: str) -> str:
    return f'{{"generation":{generation},"evidence":{evidence}}}'


async def _an_outage_is_watched(told: Told) -> None:
    """Sessions live 40 s, and the broker cannot be reached when one has to be renewed."""
    world = World(Settings(life=40), start=MORNING)
    async with _running(world) as neod:
        watch = await neod.begin("GET /v1/watch HTTP/1.0")
        await trio.sleep(20)
        world.kotak.always = lambda _: Refuse()
        await trio.sleep(25)
        world.kotak.always = None
        await trio.sleep(18)
        neod.stop()
        told["watch"] = await watch.end()


async def _a_rotation_is_watched(told: Told) -> None:
    async with _running(World(Settings(), start=MORNING)) as neod:
        await trio.sleep(5)
        watch = await neod.begin("GET /v1/watch?account=main&after=1 HTTP/1.1")
        await trio.sleep(20)
        await neod.post("/v1/renew", "{}")
        neod.stop()
        told["watch-chunked"] = await watch.end()


async def _mistakes(told: Told) -> None:
    async with _running(World(Settings(), start=MORNING)) as neod:
        told["unknown-account"] = await neod.ask("GET /v1/token?account=mian HTTP/1.1")
        told["bad-request"] = await neod.ask("GET /v1/token?wait=forever HTTP/1.1")
        told["method-not-allowed"] = await neod.ask("OPTIONS /v1/session HTTP/1.1")
        told["forbidden"] = await neod.ask("GET /v1/token HTTP/1.1", "Origin: https://example.com")


async def _refused(told: Told) -> None:
    """The password is wrong."""
    async with _running(World(Settings(), start=MORNING, password="wrong")) as neod:
        await trio.sleep(5)
        told["credentials-rejected"] = await neod.ask("GET /v1/token?wait=60 HTTP/1.1")
        told["unblock"] = await neod.post("/v1/unblock", '{"account":"main"}')
        await trio.sleep(5)
        told["unblock-blocked"] = await neod.post("/v1/unblock", '{"account":"main"}')


async def _otp(told: Told) -> None:
    world = World(Settings(), start=MORNING, second_factor="otp")
    async with _running(world) as neod:
        await trio.sleep(5)
        told["otp-needed"] = await neod.post("/v1/renew", '{"account":"main"}')
        code = world.kotak.broker.otp
        assert code
        given = await neod.post("/v1/otp", f'{{"account":"main","otp":"{code}"}}')
        told["otp"] = given.but(f'"{code}"', '"2468"')


async def _an_outage(told: Told) -> None:
    world = World(Settings(), start=MORNING)
    world.kotak.always = lambda _: Refuse()
    async with _running(world, max_connections=1) as neod:
        await trio.sleep(5)
        told["broker-unavailable"] = await neod.ask("GET /v1/token HTTP/1.1")
        waiting = await neod.begin("GET /v1/token?wait=60 HTTP/1.1")
        told["too-many"] = await neod.ask("GET /v1/token HTTP/1.1")
        await trio.sleep(3)
        neod.stop()
        told["shutting-down"] = await waiting.end()


SCENES = (
    _a_morning,
    _an_outage_is_watched,
    _a_rotation_is_watched,
    _mistakes,
    _refused,
    _otp,
    _an_outage,
)


def exchanges() -> Told:
    """All of them, by name."""
    told: Told = {}
    try:
        for scene in SCENES:
            trio.run(scene, told, clock=MockClock(autojump_threshold=0))
    finally:
        Door.close_all()
    return told


def names(document: str) -> list[str]:
    """The exchanges that a document has a place for."""
    return [found[1] for found in _PLACE.finditer(document)]


def filled(document: str, found: Mapping[str, Exchange]) -> str:
    """The document with the exchanges in their places; what is in other places stays."""

    def fill(place: re.Match[str]) -> str:
        if place[1] not in found:
            return place[0]
        shown = found[place[1]].shown.rstrip()
        return f"<!-- exchange: {place[1]} -->\n\n```http\n{shown}\n```\n"

    return _PLACE.sub(fill, document)


def main(arguments: list[str]) -> int:
    logging.disable()  # what goes wrong in the scenes is meant to
    return made.main({DOCUMENT: filled(DOCUMENT.read_text(), exchanges())}, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
