"""GET /v1/watch: what happens to the accounts, as JSON lines, to each who watches.

Knows no socket: it is given what sends. Each watcher has one number an account, that of the last
happening that it was told of; what a slow one missed is told in one go, as it stands by then.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from neod.account.events import News
from neod.account.session import Board, Held, Session
from neod.ipc.clients import Client
from neod.ipc.http1 import Problem

Send = Callable[[bytes], Awaitable[None]]
Boards = Callable[[], Sequence[Board]]  # those that are watched, as they are now


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line, as the wire has it. State and generation are those of the moment it is made in."""

    event: str
    account: str
    at: float  # epoch seconds
    state: str
    generation: int | None
    detail: str
    session: Session | msgspec.UnsetType = msgspec.UNSET


class Watchers:
    """All who watch."""

    def __init__(self, news: News, most: int) -> None:
        self.of: Counter[str] = Counter()  # how many watch an account
        self.news = news
        self.most = most
        self._count = 0
        self._made: dict[str, Made] = {}

    def admit(self) -> None:
        """Raises Problem if one more would be too many."""
        if self._count >= self.most:
            raise Problem("too_many_connections", f"{self.most} watch already")

    async def watch(
        self, boards: Boards, after: int | None, send: Send, client: Client | None = None
    ) -> None:
        """Tell what happens, until the daemon stops or the account has gone."""
        one = Watcher(self, boards, after, client)
        self._count += 1
        try:
            while not one.ended:
                changed = self.news.changed
                if lines := one.lines():
                    await send(lines)
                elif not one.ended:
                    await changed.wait()
        finally:
            self._count -= 1
            one.leave()

    def since(self, board: Board, number: int) -> bytes:
        """What has happened since, made once for all who wait at the same place."""
        of = board, board.events.count, board.standing.state, board.valid()
        made = self._made.get(board.account)
        if made is None or made.of != of:
            made = self._made[board.account] = Made(of, {})
        if number not in made.lines:
            made.lines[number] = _since(board, number)
        return made.lines[number]


class Watcher:
    """One who watches, and what it was told."""

    def __init__(
        self, all_of_them: Watchers, boards: Boards, after: int | None, client: Client | None
    ) -> None:
        self.told: dict[Board, int] = {}  # the number of the last happening of each
        self.ended = False
        self._all = all_of_them
        self._boards = boards
        self._after = after
        self._client = client
        self._beats = all_of_them.news.beats
        if client is not None:
            client.watches = True

    def lines(self) -> bytes:
        """What it has not been told yet; it counts as told then."""
        watched, beats = self._boards(), self._all.news.beats
        gone = [board for board in self.told if board not in watched]
        lines = [self._of(board) for board in (*gone, *watched)]
        for board in gone:
            del self.told[board]
            self._all.of[board.account] -= 1
        if beats != self._beats:
            self._beats = beats
            lines += [line(board, "heartbeat", _now(board), "") for board in watched]
        if not watched or any(board.closed for board in watched):
            self.ended = True
            lines += [line(board, "bye", _now(board), board.closed) for board in watched or gone]
        return b"".join(lines)

    def leave(self) -> None:
        """It watches nobody any more."""
        self._all.of.subtract(board.account for board in self.told)

    def _of(self, board: Board) -> bytes:
        number = self.told.get(board)
        if number == board.events.count:
            return b""
        self.told[board] = board.events.count
        if self._client is not None:
            self._client.handed(board.valid())
        if number is None:
            self._all.of[board.account] += 1
            return _first(board, self._after)
        return self._all.since(board, number)


class Made(msgspec.Struct):
    """Lines that were made already, by the number that they begin after, and of what."""

    of: tuple[Board, int, str, Held | None]
    lines: dict[int, bytes]

    def __repr__(self) -> str:
        return f"Made({len(self.lines)})"


def _first(board: Board, after: int | None) -> bytes:
    """How the account stands: its session, unless that is the one that the watcher has."""
    valid, at = board.valid(), _now(board)
    if valid is None or valid.session.generation == after:
        return line(board, "state", at, board.standing.why)
    return _session(board, valid, at)


def _since(board: Board, number: int) -> bytes:
    lines = []
    for happening in board.events.since(number):
        if happening.event != "session":
            lines.append(line(board, happening.event, happening.at, happening.detail))
        elif valid := board.valid():  # else it has lapsed since, and who was slow need not know
            lines.append(_session(board, valid, happening.at))
    return b"".join(lines)


def _now(board: Board) -> float:
    return board.clock.wall()


def _session(board: Board, held: Held, at: float) -> bytes:
    session = held.session
    detail = f"until {session.expires_at_rfc3339}"
    return _encode(
        Line(
            "session",
            board.account,
            at,
            board.standing.state,
            session.generation,
            detail,
            session,
        )
    )


def line(board: Board, event: str, at: float, detail: str) -> bytes:
    generation = board.held.session.generation if board.held else None
    return _encode(Line(event, board.account, at, board.standing.state, generation, detail))


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
