"""A person's pause of an account: no login by itself until it is lifted, over restarts too.

It holds from the instant at which somebody says so, though the ledger may be busy by then with what
a login writes. What a pause forbids, policy decides; nothing here logs in.
"""

import trio

from neod.account.dialogue import stamp
from neod.account.history import Paused, Resumed, Word
from neod.account.ledger import Ledger
from neod.account.session import Board
from neod.account.wishes import Wishes
from neod.clock import Clock


class Pause:
    """Of one account."""

    def __init__(self, board: Board, ledger: Ledger, wishes: Wishes, clock: Clock) -> None:
        self._board = board
        self._ledger = ledger
        self._wishes = wishes
        self._clock = clock
        self._saying = trio.Lock()  # held while somebody's word is being written down

    async def begin(self, word: Word) -> str:
        """Pause; returns what that means, for a person."""
        name = self._board.account
        if self._ledger.history.paused:
            return f"{name} is paused already"
        lost = await self._write(Paused(word=word, **stamp(self._clock)))
        valid = self._board.valid()
        served = "the session is served to its end" if valid else "no session is there"
        if self._wishes.asked:
            served += "; the login that a person asked for goes on"
        elif self._ledger.history.pending:
            served += "; what the broker is being asked just now is waited for, and no more is sent"
        return f"{name} is paused: no login by itself; {served}{lost}"

    async def end(self, word: Word) -> str:
        """Lift it; returns what follows, for a person."""
        name = self._board.account
        if not self._ledger.history.paused:
            return f"{name} is not paused"
        lost = await self._write(Resumed(word=word, **stamp(self._clock)))
        return f"{name} is resumed{lost}"

    async def holds(self) -> bool:
        """Whether it is paused, once the word of whoever is saying so by now is taken."""
        async with self._saying:
            return self._ledger.history.paused

    async def _write(self, line: Paused | Resumed) -> str:
        """Returns what is to be said of a disk that did not take it."""
        lost = ""
        try:
            async with self._saying:
                await self._ledger.append(line)
        except OSError as error:
            lost = f"; it is not on the disk yet ({error.strerror}): until then a restart undoes it"
        self._wishes.wake()
        return lost
