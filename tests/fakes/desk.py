"""The routes over accounts whose boards a test writes itself, and asking them without a socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from neod.account.events import News
from neod.account.keeper import Keeper
from neod.account.policy import State
from neod.account.session import Board, Failure, Held, Standing
from neod.account.snapshot import from_login
from neod.account.token import Claims
from neod.clock import Clock
from neod.config import Account
from neod.ipc.api import Api
from neod.ipc.clients import Client
from neod.ipc.http1 import Response, parse
from neod.kotak.client import Send
from neod.kotak.flows import Bearer, Login
from neod.kotak.replies import SessionReply
from neod.secrets import Secret
from tests.fakes.asking import answer_of
from tests.fakes.clock import START, FrozenClock
from tests.fakes.ledger import MemoryLedger
from tests.fakes.store import MemoryStore
from tests.fakes.world import account

HOUR = 3600.0


def hold(clock: Clock, generation: int = 1, *, lives: float = HOUR, name: str = "main") -> Held:
    """A session as a login brings it now."""
    now = clock.wall()
    login = Login(
        kind="view",
        reply=SessionReply(token=f"token-{generation}", sid="sid", ucc="D2014"),
        claims=Claims(expires_at=int(now + lives), issued_at=int(now), subject="", scope=()),
        bearer=Bearer(token=Secret("bearer")),
        headers={"Auth": f"token-{generation}"},
    )
    owner = msgspec.structs.replace(account(), name=name)
    return from_login(owner, login, generation, sent=(now, clock.boot()), clock=clock)


@asynccontextmanager
async def no_login(_account: Account) -> AsyncIterator[Send]:
    raise AssertionError("nobody asked for a login")
    yield


class Desk:
    """The routes over accounts whose boards are written by the test, not by a keeper."""

    def __init__(self, *names: str, clock: Clock | None = None) -> None:
        self.clock = clock or FrozenClock().clock
        self.news = News()
        self.boards = {name: Board(name, self.clock, self.news) for name in names}
        self.clients: set[Client] = set()
        self.keepers = {name: self._keeper(name) for name in names}
        self.api = Api(
            self.keepers,
            START,
            news=self.news,
            clients=self.clients,
            clock=self.clock,
        )
        self.api.watchers.most = 3
        self.api.reload = self._reload

    async def _reload(self) -> str:
        await trio.lowlevel.checkpoint()
        return "; ".join(f"{name}: unchanged" for name in self.boards)

    def _keeper(self, name: str) -> Keeper:
        return Keeper(
            msgspec.structs.replace(account(), name=name),
            self.boards[name],
            MemoryLedger(),
            MemoryStore(),
            clock=self.clock,
            connect=no_login,
            environ={},
            draw=lambda: 0.5,
        )

    def publish(self, generation: int = 1, *, lives: float = HOUR, name: str = "main") -> None:
        self.boards[name].publish(hold(self.clock, generation, lives=lives, name=name))

    def stand(
        self, state: State, *, after: float | None = None, failing: bool = False, name: str = "main"
    ) -> None:
        """Put up a state; `after` is in how many seconds neod does something by itself."""
        now = self.clock.wall()
        failure = Failure(at=now, kind="unavailable", detail="it is down", action="look")
        self.boards[name].stand(
            Standing(
                state=state,
                since=now,
                why=f"because of {state}",
                next=None if after is None else now + after,
                failing=failing,
                last_failure=failure if failing else None,
            )
        )

    async def ask(self, target: str, *headers: str, method: str = "GET") -> Response:
        return await ask(self.api, target, *headers, method=method)


async def ask(api: Api, target: str, *headers: str, method: str = "GET") -> Response:
    lines = [f"{method} {target} HTTP/1.1", *headers, "", ""]
    return await answer_of(api, parse("\r\n".join(lines).encode()))


async def post(api: Api, target: str, body: bytes) -> Response:
    return await answer_of(api, parse(f"POST {target} HTTP/1.1\r\n\r\n".encode()), body)


def told(response: Response) -> dict[str, object]:
    read = json.loads(response.body)
    assert isinstance(read, dict)
    return read


def code(response: Response) -> object:
    assert response.content_type == "application/problem+json"
    return told(response)["code"]
