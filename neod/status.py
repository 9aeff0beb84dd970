"""How neod stands, in a person's words: the line that `systemctl status` shows.

Knows no socket: it is given what tells systemd.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Never

from neod.account.edge import DAY
from neod.account.keeper import Keeper
from neod.account.session import Session, Standing
from neod.clock import INDIA


class Status:
    """The line, a part for each account and for whatever else there is to say."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._parts: dict[str, str] = {}
        self._accounts: set[str] = set()
        self._told = ""

    def put(self, about: str, words: str) -> None:
        """Say this of that, and nothing if there are no words. The same line is told once."""
        if words:
            self._parts[about] = f"{about}: {words}"
        else:
            self._parts.pop(about, None)
        line = "; ".join(self._parts.values())
        if line != self._told:
            self._told = line
            self._tell(line)

    async def follow(self, keeper: Keeper) -> Never:
        """Say how a keeper's account stands, whenever that changes."""
        board = keeper.board
        self._accounts.add(board.account)
        while True:
            changed = board.changed
            held = board.valid()
            session = None if held is None else held.session
            self.put(board.account, in_words(board.standing, session, board.clock.wall()))
            await changed.wait()

    def keep_to(self, accounts: Collection[str]) -> None:
        """Say nothing more of accounts that are not among these."""
        for name in self._accounts - set(accounts):
            self._accounts.discard(name)
            self.put(name, "")


def in_words(standing: Standing, session: Session | None, now: float) -> str:
    """Where an account stands; `session` is the one that is valid."""
    if standing.state == "ok" and standing.next is not None:
        does = f"renews {_time(standing.next, now, '%H:%M:%S')}"
    elif standing.state == "starting" and session:
        does = ""  # it has come this instant
    else:
        failure = standing.last_failure
        does = standing.why
        if failure and standing.failing and failure.detail not in does:
            does = f"{does}: {failure.detail}"
    if session is None:
        return does or "no session"
    form = "%H:%M:%S IST" if session.expires_at % 60 else "%H:%M IST"
    until = f"{session.kind} session until {_time(session.expires_at, now, form)}"
    return f"{until}, {does}" if does else until


def _time(moment: float, now: float, form: str) -> str:
    """A time in India, with its day where that is not within the next 24 hours."""
    day = "%d %b " if moment - now > DAY else ""
    return datetime.fromtimestamp(moment, INDIA).strftime(f"{day}{form}")
