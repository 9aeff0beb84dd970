"""Throws what the plan says at the daemon, the broker, the disk and the configuration."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from urllib.parse import urlsplit

import trio

from tests.bench.storm.bots import GONE
from tests.bench.storm.broker import WHO
from tests.bench.storm.house import BUDGET, POOR, ROOT, Daemon, Disk, House, Sandbox
from tests.bench.storm.judge import Judge, now
from tests.bench.storm.plan import KINDS, Throw
from tests.bench.storm.wire import Reply, Wire
from tests.fakes.hostile import GET, HOSTILE, attack

# Root's files, but not its name: so the socket can be opened, and neod sees who has come.
FOREIGNER = """
import ctypes, os, socket, sys
os.setresuid(-1, 65534, -1)
ctypes.CDLL(None).setfsuid(0)
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
try:
    peer.connect(sys.argv[1])
    peer.sendall(b"GET /v1/session HTTP/1.0\\r\\n\\r\\n")
    sys.stdout.buffer.write(peer.recv(65536))
except OSError:
    pass
"""
HEEDED = 1.0  # seconds until a USR1 has been heeded
TAKEN_UP = 3.5  # seconds until a HUP has been taken up


class Thrower:
    def __init__(
        self, house: House, daemon: Daemon, sandbox: Sandbox, disk: Disk, judge: Judge, seed: int
    ) -> None:
        self.thrown: Counter[str] = Counter()
        self._house = house
        self._daemon = daemon
        self._sandbox = sandbox
        self._disk = disk
        self._judge = judge
        self._draw = Random(seed)
        self._editing = trio.Lock()  # the configuration
        self._broker = trio.Lock()  # its process
        self._person = trio.Lock()
        self._wrong = False  # the password
        self._poor = 0  # how many want a small budget
        self._ways: dict[str, Callable[[Throw], Awaitable[bool]]] = {
            **dict.fromkeys(KINDS, self._fault),
            **dict.fromkeys(("SIGKILL", "restart"), self._end_and_start),
            **dict.fromkeys(("broker stopped", "broker killed"), self._leave),
            **dict.fromkeys(("margin", "account", "faulty file"), self._edit),
            "small budget": self._allow_few,
            "wrong password": self._mistype,
            "SIGSTOP": self._freeze,
            "no files": self._starve,
            "person": self._wish,
            "full disk": self._fill,
            "sessions ended": self._end_sessions,
            "hostile": self._attack,
        }

    async def throw(self, throws: list[Throw], begin: float) -> None:
        """All of them, each at its moment; returns when the last has ended."""
        async with trio.open_nursery() as nursery:
            for each in throws:
                await trio.sleep_until(begin + each.at)
                nursery.start_soon(self._one, each)

    async def _one(self, each: Throw) -> None:
        if await self._ways[each.kind](each):
            self.thrown[each.kind] += 1

    # The daemon

    async def _end_and_start(self, each: Throw) -> bool:
        async with self._editing, self._daemon.held:
            if each.kind == "restart":
                await self._daemon.stop()
            else:
                await self._daemon.kill()
            if each.how == "later":
                await trio.sleep(min(each.lasts, 2.0))
            await self.start()
        return True

    async def start(self) -> None:
        """Start neod, which has to come up."""
        for _ in range(20):
            await self._daemon.start()
            if self._daemon.ended is None:
                return
            self._judge.broke(
                "start", f"status {self._daemon.ended} at a start: {self._daemon.last_words}"
            )
            await trio.sleep(0.5)

    async def mind(self) -> None:
        """Start neod again where it ended by itself, which it must not."""
        while True:
            async with self._daemon.held:
                if (status := self._daemon.ended) is not None:
                    why = f"neod ended by itself, status {status}: {self._daemon.last_words}"
                    self._judge.broke("exit", why)
                    await self.start()
            await trio.sleep(0.1)

    async def _freeze(self, each: Throw) -> bool:
        async with self._daemon.held:
            with self._judge.during("pause"):
                self._daemon.signal(signal.SIGSTOP)
                await trio.sleep(each.lasts)
                self._daemon.signal(signal.SIGCONT)
                await trio.sleep(0.2)  # what has piled up meanwhile is worked off
        return True

    async def _starve(self, each: Throw) -> bool:
        # What a reload can afford would stay.
        with self._judge.during("crowd", "no room", "unwritten", "unkept"):
            async with self._editing, self._daemon.held:
                await self._leave_no_files(each.lasts)
        return True

    async def _leave_no_files(self, seconds: float) -> None:
        self._daemon.limit_files(self._daemon.highest_descriptor() + 1)
        try:
            await trio.sleep(seconds)
        finally:
            self._daemon.limit_files(None)

    # The configuration

    async def _edit(self, each: Throw) -> bool:
        async with self._editing:
            word = each.how.partition(" ")[2] if each.kind == "margin" else each.how
            house = self._house
            match each.kind:
                case "margin":
                    house.margin = each.how.split()[0]
                    return await self._reload(word)
                case "account":
                    house.family = not house.family
                    self._judge.loose.add("family")
                    self._judge.drop("family")
                    done = await self._reload(word)
                    self._judge.drop("family")  # what was served until now
                    if house.family and done:
                        self._judge.loose.discard("family")
                    return done
                case "faulty file":
                    house.configure('\n[account.main]\nmobile = "0"\n')
                    done = await self._reload(word, faulty=True)
                    house.configure()
                    return done
        return False

    async def _allow_few(self, each: Throw) -> bool:
        """A small budget for a while, in which all else goes on."""
        self._poor += 1
        try:
            async with self._editing:
                self._house.budget = POOR
                await self._reload(each.how)
            await trio.sleep(each.lasts)
        finally:
            self._poor -= 1
        async with self._editing:
            self._house.budget = POOR if self._poor else BUDGET
            return await self._reload(each.how)

    async def _mistype(self, each: Throw) -> bool:
        async with self._editing:
            state = await self._steer("", None)
            # One more could be the third, and then it is the person who locks the account.
            if state is None or json.loads(state.body)["refusals"]:
                return False
            self._wrong = True
            with self._judge.wished("secrets", "main", "family"):
                self._house.write("secrets/password", "Word-that-is-wrong\n")
                await self._reload(each.how)
            await trio.sleep(each.lasts)
            with self._judge.wished("secrets", "main", "family"):
                self._house.write("secrets/password", WHO.password)
                await self._reload(each.how)
            self._wrong = False
        return True

    async def _reload(self, word: str, *, faulty: bool = False) -> bool:
        if not faulty:
            self._house.configure()
        if word == "HUP":
            async with self._daemon.held:
                self._daemon.signal(signal.SIGHUP)
            await self._has_run(TAKEN_UP)
            if not faulty:
                self._judge.taken_up()
            return True
        words = [sys.executable, "-m", "neoctl", "reload"]
        environ = self._house.home.environ
        done = await trio.run_process(
            words, env=environ, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False
        )
        self._judge.said("neoctl reload", done.stdout + done.stderr)
        self._judge.asked["neoctl reload", f"exit {done.returncode}"] += 1
        if done.returncode == 0:
            self._judge.taken_up()
        if done.returncode == 1:
            self._judge.broke("bugs", f"neoctl reload: {(done.stdout + done.stderr).decode()}")
        return True

    async def _has_run(self, seconds: float) -> None:
        """Wait until neod has run for so long."""
        begin, left = now(), seconds
        while left > 0:
            await trio.sleep(left)
            left = seconds - (now() - begin - self._judge.paused(begin, now()))

    # A person

    async def _ask(self, target: str, **fields: object) -> Reply | None:
        asked = now()
        with trio.move_on_after(70), suppress(*GONE):
            wire = Wire(await trio.open_unix_socket(self._house.home.socket))
            try:
                reply = await wire.ask("POST", target, json.dumps(fields).encode())
            finally:
                await trio.aclose_forcefully(wire.stream)
            self._judge.said(target, reply.body)
            self._judge.turned(target, reply.status, reply.code, asked)
            self._judge.asked[target, reply.code or str(reply.status)] += 1
            return reply
        return None

    async def _wish(self, each: Throw) -> bool:
        if each.how == "USR1":
            with self._judge.wished("renew", "main", "family", "codes"):
                async with self._daemon.held:
                    self._daemon.signal(signal.SIGUSR1)
                await trio.sleep(HEEDED)
            return True
        if each.how == "renew":
            with self._judge.wished("renew", "main"):
                return await self._ask("/v1/renew", account="main") is not None
        async with self._person:
            paused = await self._ask("/v1/pause", account="main")
            held = paused is not None and paused.status == 200
            with self._judge.wished("pause", *(["main"] if held else [])):
                await trio.sleep(each.lasts)
            for _ in range(20):  # or it would stay so
                reply = await self._ask("/v1/resume", account="main")
                if reply is not None and reply.status == 200:
                    return True
                await trio.sleep(0.5)
        return False

    async def look_after(self) -> None:
        """A person who unblocks what the broker refused though it was right."""
        while True:
            await trio.sleep(1.5)
            if self._wrong:
                continue
            for account in ("main", "codes", *(["family"] if self._house.family else [])):
                asked = now()
                with trio.move_on_after(10), suppress(*GONE):
                    wire = Wire(await trio.open_unix_socket(self._house.home.socket))
                    try:
                        reply = await wire.ask("GET", "/v1/status")
                    finally:
                        await trio.aclose_forcefully(wire.stream)
                    states = reply.fields.get("accounts")
                    state = states.get(account, {}) if isinstance(states, dict) else {}
                    if not state:
                        continue
                    stands = state["state"], state["since"], state["next"]
                    self._judge.stands(account, *stands, asked)
                    if state["state"] in ("credentials_rejected", "blocked"):
                        with self._judge.wished("unblock", account):
                            await self._ask("/v1/unblock", account=account, force=True)

    # The disk

    async def _fill(self, each: Throw) -> bool:
        with self._judge.during("unwritten"):
            self._disk.fill()
            try:
                for _ in range(10):  # what others give back is taken, too
                    await trio.sleep(each.lasts / 6)
                    self._disk.fill()
            finally:
                self._disk.clear()
        return True

    # The broker

    async def _leave(self, each: Throw) -> bool:
        async with self._broker:
            if each.kind == "broker stopped":
                with self._judge.during("broker stopped"):
                    self._sandbox.signal(signal.SIGSTOP)
                    try:
                        await trio.sleep(each.lasts)
                    finally:
                        self._sandbox.signal(signal.SIGCONT)
                    await trio.sleep(0.2)  # what has piled up meanwhile is worked off
            else:
                self._sandbox.kill()
                await trio.sleep(each.lasts)
                await self._sandbox.start()
        return True

    async def _end_sessions(self, _each: Throw) -> bool:
        return await self._steer("kill", {}) is not None

    async def _steer(self, what: str, order: dict[str, object] | None) -> Reply | None:
        url = urlsplit(self._house.url)
        assert url.port
        with trio.move_on_after(2), suppress(*GONE):
            wire = Wire(await trio.open_tcp_stream("127.0.0.1", url.port))
            try:
                method = "GET" if order is None else "POST"
                target = f"/sandbox/{what}".rstrip("/")
                return await wire.ask(method, target, json.dumps(order or {}).encode())
            finally:
                await trio.aclose_forcefully(wire.stream)
        return None

    async def _fault(self, each: Throw) -> bool:
        reply = await self._steer("faults", {"fault": each.how})
        assert reply is None or reply.status == 200, reply
        return reply is not None

    # Hostile peers

    async def _attack(self, each: Throw) -> bool:
        count = int(each.how)
        peers = [self._draw.choice(HOSTILE) for _ in range(count)]

        async def connect() -> trio.SocketStream:
            return await trio.open_unix_socket(os.fspath(self._house.home.socket))

        with self._judge.during("crowd"), trio.move_on_after(each.lasts):
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(attack, connect, peer)
                nursery.start_soon(self._come_as_another)
                nursery.start_soon(self._flood, count * 5)
        return True

    async def _come_as_another(self) -> None:
        """As nobody, whom the socket's mode lets in."""
        if os.getuid() != 0:
            return
        words = [sys.executable, "-c", FOREIGNER, os.fspath(self._house.home.socket)]
        done = await trio.run_process(words, capture_stdout=True, check=False)
        self._judge.met(done.stdout)

    async def _flood(self, count: int) -> None:
        for _ in range(count):
            with suppress(*GONE):
                stream = await trio.open_unix_socket(os.fspath(self._house.home.socket))
                await stream.send_all(GET)
                await trio.aclose_forcefully(stream)


@asynccontextmanager
async def cancelled_at_the_end() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()
