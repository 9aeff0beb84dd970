"""Reads of a session that are answered in a moment: the fast way to what the routes say.

Bots repeat themselves byte for byte, and a session stays what it is for hours. So what a head
asks for is remembered by its bytes, and an answer's bytes by the session they were made of.
Whether that session may be handed out is never remembered: it is looked at for each answer.
"""

from functools import lru_cache

import msgspec

from neod.account.session import Held
from neod.ipc.api import ANSWERS, Api, refuse_browsers, wanted_of
from neod.ipc.clients import Client
from neod.ipc.http1 import BadRequest, Problem, encode, parse, split_head
from neod.ipc.readiness import Wanted, check

HEAD_SHORT = 1024  # bytes: a longer head is not worth remembering
HEADS = 256  # that are remembered


class Ready(msgspec.Struct, frozen=True):
    """An answer as it goes onto the wire, and whether the connection is kept after it."""

    answer: bytes
    keep_alive: bool
    route: str
    held: Held  # what it hands over

    def __repr__(self) -> str:
        return f"Ready({len(self.answer)} bytes)"


class Read(msgspec.Struct, frozen=True):
    """A request for a session, as its head puts it."""

    path: str
    account: str | None
    wanted: Wanted
    body: bool  # False for HEAD
    keep_alive: bool


class Reads:
    """The reads of an Api."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._ready: dict[tuple[str, str, bool, bool], Ready] = {}

    def take(self, received: bytes, client: Client) -> Ready | None:
        """What glance() says; if it says something, that goes to this client."""
        ready = self.glance(received)
        if ready is not None:
            client.requests += 1
            client.handed(ready.held)
            self._api.answered[ready.route, 200] += 1
        return ready

    def glance(self, received: bytes) -> Ready | None:
        """What the routes would answer to what was received, or None: then they have to be asked.

        They have to be for all but the whole head of one read whose session is valid now and as
        wanted.
        """
        read = understand(received)
        if read is None:
            return None
        try:
            board = self._api.board(read.account)
            held = check(board, read.wanted)
        except Problem:
            return None
        key = (board.account, read.path, read.body, read.keep_alive)
        ready = self._ready.get(key)
        if ready is None or ready.held is not held:
            response = ANSWERS[read.path](held.session)
            answer = encode(response, keep_alive=read.keep_alive, body=read.body)
            ready = self._ready[key] = Ready(answer, read.keep_alive, read.path, held)
        return ready


@lru_cache(HEADS)
def understand(received: bytes) -> Read | None:
    """The read that these bytes are; None if they are anything else, or more than its head."""
    try:
        if len(received) >= HEAD_SHORT or split_head(received) != len(received):
            return None
        request = parse(received)
        refuse_browsers(request)
        wanted, _wait = wanted_of(request)
    except (BadRequest, Problem):
        return None
    if request.path not in ANSWERS or request.method not in ("GET", "HEAD") or request.length:
        return None
    return Read(
        path=request.path,
        account=request.query.get("account"),
        wanted=wanted,
        body=request.method == "GET",
        keep_alive=request.keep_alive,
    )
