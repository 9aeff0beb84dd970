"""Ten honest bots, and what they ask; they tell the judge of each answer.

They ask for the token every tenth of a second, use a session about once a second, and reject it
when the broker calls it dead. Each draws what it does from a generator of its own.
"""

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import trio

from tests.bench.storm.judge import Asked, Judge, Watch, now
from tests.bench.storm.wire import Cut, Reply, Wire

EVERY = 0.1  # seconds
HARD = 40.0  # seconds after which a request is given up, whatever it waits for
DAWDLES = 2.0  # seconds at most until a bot says that a session is dead
REJECT_TIME = 62.0  # seconds that a reject may take
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError, Cut)
HOLDS = {"not_ready", "broker_unavailable"}  # for which a wait holds on to its end
ODD = {"too_many_connections", "shutting_down", "unknown_account"}
ACCOUNTS = ("main", "main", "main", "main", "main", "codes", "codes", "codes", "family", "main")


class Gate:
    """Closed, it holds all bots before their next request."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self.watching: set[trio.CancelScope] = set()

    async def passed(self) -> None:
        while self.closed:  # it may have been open for a moment only
            await self._open.wait()

    @property
    def closed(self) -> bool:
        return not self._open.is_set()

    def close(self) -> None:
        self._open = trio.Event()
        for scope in self.watching:
            scope.cancel()

    def open(self) -> None:
        self._open.set()


class Bot:
    def __init__(
        self, number: int, seed: int, socket: Path, url: str, judge: Judge, gate: Gate
    ) -> None:
        self._draw = Random(seed * 100 + number)
        self._account = ACCOUNTS[number]
        self._kept = number % 2 == 0
        self._watches = number in (0, 3, 5, 6, 9)
        self._socket = socket
        self._url = url
        self._judge = judge
        self._gate = gate
        self._wire: Wire | None = None
        self._opened = now()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            if self._watches:
                nursery.start_soon(self._watch)
            nursery.start_soon(self._live)

    async def _live(self) -> None:
        while True:
            if self._gate.closed or not self._kept:
                await self._leave()
            await self._gate.passed()
            await self._turn()
            await trio.sleep(EVERY * (0.8 + 0.4 * self._draw.random()))

    async def _turn(self) -> None:
        chance = self._draw.random()
        if chance < 0.80:
            await self._read("token")
        elif chance < 0.92:
            await self._use()
        elif chance < 0.95:
            await self._ready()
        elif chance < 0.97:
            await self._wait()
        else:
            target = self._draw.choice(["/v1/status", "/v1/clients", "/v1/logins", "/metrics"])
            if target == "/v1/logins":
                target += f"?account={self._account}"
            if reply := await self._ask("GET", target):
                self._check(target, reply)

    # One request

    async def _ask(
        self, method: str, target: str, body: bytes = b"", wait: float = 0.0
    ) -> Reply | None:
        """The answer; None where there was none, of which the judge is told if it may not be."""
        what = target.partition("?")[0]
        began = now()
        reply, why = None, "nothing came"
        with trio.move_on_after(wait + HARD):
            try:
                fresh = self._wire is None
                if self._wire is None:
                    stream = await trio.open_unix_socket(self._socket)
                    self._wire, self._opened = Wire(stream), now()
                reply = await self._wire.ask(method, target, body)
            except GONE as error:
                why = f"{type(error).__name__} {error}, on a {'fresh' if fresh else 'kept'} wire"
        if reply is None or reply.headers.get("connection") == "close":
            await self._leave()
        self._judge.asked[what, str(reply.status) if reply else "cut"] += 1
        self._judge.took(what, began, wait)
        if reply is None:
            self._judge.cut(what, began, self._opened, why)
        if reply is not None and reply.status >= 400:
            self._judge.asked[what, reply.code] += 1
            self._judge.asked[what, str(reply.status)] -= 1
            self._judge.turned(what, reply.status, reply.code, began)
        if (reply is not None and what not in ("/v1/session", "/v1/token")) or (
            reply is not None and reply.status != 200
        ):
            self._judge.said(what, reply.body)
        return reply

    async def _leave(self) -> None:
        if self._wire:
            wire, self._wire = self._wire, None
            with trio.move_on_after(1), suppress(*GONE):
                await wire.aclose()

    def _check(self, target: str, reply: Reply) -> None:
        if reply.status >= 400 and reply.code not in ODD:
            self._judge.broke("P5", f"{target}: {reply.status} {reply.body!r}")

    # What is asked

    async def _read(self, route: str, query: str = "", wait: float = 0.0) -> str:
        """A plain read; returns the status."""
        asked = self._judge.ask(self._account)
        target = f"/v1/{route}?account={self._account}{query}"
        reply = await self._ask("GET", target, wait=wait)
        if reply is None:
            return "none"
        return self._judge_read(route, reply, asked)

    def _judge_read(self, route: str, reply: Reply, asked: Asked) -> str:
        if reply.status != 200:
            detail = str(reply.fields.get("detail"))
            self._judge.withheld(self._account, reply.code, detail, asked, route)
            return reply.code
        if route == "token":
            token = reply.body.decode().strip()
            generation = int(reply.headers["neod-generation"])
            expires_at = float(reply.headers["neod-expires-at"])
        else:
            generation, token, expires_at = self._whole(reply)
        self._judge.served(self._account, generation, token, expires_at, asked, route)
        return "200"

    def _whole(self, reply: Reply) -> tuple[int, str, float]:
        session = json.loads(reply.body)
        headers = session["headers"]
        if (headers["Auth"], headers["Sid"]) != (session["token"], session["sid"]):
            self._judge.broke("generations", "a session's headers are of another one")
        return session["generation"], session["token"], session["expires_at"]

    async def _use(self) -> None:
        """Fetch the session and call the broker with it; a dead one is rejected."""
        asked = self._judge.ask(self._account)
        reply = await self._ask("GET", f"/v1/session?account={self._account}")
        if reply is None or self._judge_read("session", reply, asked) != "200":
            return
        session = json.loads(reply.body)
        said = await self._call(session["base_url"], session["headers"])
        if said is None or said.status not in (401, 403):
            return
        if self._draw.random() < 0.5:  # it has other things to do first, and others do not wait
            await trio.sleep(self._draw.uniform(0, DAWDLES))
        await self._reject(session["generation"], said)

    async def _reject(self, generation: int, said: Reply) -> None:
        asked = self._judge.rejects(self._account, generation)
        body = json.dumps(
            {
                "account": self._account,
                "generation": generation,
                "evidence": said.body.decode(errors="replace"),
            }
        ).encode()
        reply = await self._ask("POST", "/v1/reject", body, wait=REJECT_TIME)
        if reply is not None and reply.status == 200:
            outcome, there = str(reply.fields["outcome"]), int(str(reply.fields["generation"]))
            self._judge.asked["reject", outcome] += 1
            self._judge.rejected(self._account, generation, outcome, there, asked)

    async def _call(self, base: str | None, headers: dict[str, str]) -> Reply | None:
        """A call of the broker's API."""
        url = urlsplit(base or f"{self._url}Orders/2.0")
        assert url.hostname
        assert url.port
        with trio.move_on_after(2):
            with suppress(*GONE):
                wire = Wire(await trio.open_tcp_stream(url.hostname, url.port))
                try:
                    body = b"jData=%7B%7D"
                    form = {"Content-Type": "application/x-www-form-urlencoded"}
                    target = f"{url.path}/quick/user/limits"
                    return await wire.ask("POST", target, body, {**headers, **form})
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.aclose_forcefully(wire.stream)
        return None

    async def _ready(self) -> None:
        first = await self._read("token")
        ready = await self._ask("GET", f"/readyz?account={self._account}")
        last = await self._read("token")
        if ready is not None and "too_many_connections" not in (first, ready.code, last):
            self._judge.ready(self._account, first, ready.status, last)

    async def _wait(self) -> None:
        wait = round(self._draw.uniform(0.1, 3), 1)
        known = self._judge.known.get(self._account)
        after = known.generation if known and self._draw.random() < 0.7 else None
        asked = self._judge.ask(self._account, after)
        target = f"/v1/token?account={self._account}&wait={wait}"
        target += "" if after is None else f"&after={after}"
        reply = await self._ask("GET", target, wait=wait)
        if reply is not None and reply.code in HOLDS:
            self._judge.held_on(target, asked.at, wait)
        if reply is None or (after is not None and reply.status != 200):
            return
        self._judge_read("token", reply, asked)

    # The watch

    async def _watch(self) -> None:
        account = None if self._draw.random() < 0.5 else self._account
        after: int | None = None
        while True:
            await self._gate.passed()
            watch = Watch(account, after if account else None)
            with trio.CancelScope() as scope:
                self._gate.watching.add(scope)
                with suppress(*GONE):
                    await self._listen(watch)
            self._gate.watching.discard(scope)
            watch.closed = now()
            if watch.opened:
                self._judge.watches.append(watch)
            newest = self._judge.known.get(self._account)
            after = newest.generation if newest and self._draw.random() < 0.5 else None
            await trio.sleep(0.2)

    async def _listen(self, watch: Watch) -> None:
        began, stream = now(), await trio.open_unix_socket(self._socket)
        try:
            wire = Wire(stream)
            query = [f"account={watch.account}"] if watch.account else []
            query += [f"after={watch.after}"] if watch.after is not None else []
            target = "/v1/watch" + ("?" + "&".join(query) if query else "")
            await stream.send_all(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            reply = await wire.answer()
            self._judge.asked["/v1/watch", reply.code or str(reply.status)] += 1
            if reply.status != 200:
                self._judge.turned("/v1/watch", reply.status, reply.code, began)
                return
            beat = now()
            while True:
                line: dict[str, object] = {"event": ""}
                with trio.move_on_after(1):
                    line = json.loads(await wire.line())
                if self._judge.silent(beat):
                    return
                if line["event"] == "heartbeat":
                    beat = now()
                if line["event"]:
                    watch.opened = watch.opened or now()
                    self._hear(watch, line)
        finally:
            await trio.aclose_forcefully(stream)

    def _hear(self, watch: Watch, line: dict[str, object]) -> None:
        event, account = str(line["event"]), str(line["account"])
        self._judge.asked["watch", event] += 1
        if event == "expired":
            generation = int(str(line["detail"]).split()[1])
            watch.ended.setdefault((account, generation), now())
            self._judge.has_lapsed(account, generation)
        if event != "session":
            self._judge.said("watch", json.dumps(line).encode())
            return
        session = line["session"]
        assert isinstance(session, dict)
        generation, token = session["generation"], session["token"]
        watch.got.setdefault((account, generation), now())
        self._judge.told(account, generation, token, session["expires_at"])
