"""An account's session on disk: what is kept of it, and what is gone on with after a restart.

What a disk does not take must not take the session from anybody: it is logged, and the session is
then of this process alone. Does not judge what has to follow from it; policy does.
"""

from neod import log
from neod.account.dialogue import record, stamp
from neod.account.history import Published
from neod.account.ledger import Ledger
from neod.account.session import Board, Held
from neod.account.store import Kept, Store, login_of, unusable, whose_of
from neod.clock import Clock
from neod.config import Account


class KeptSession:
    """What the store has of the session on the board, and with what it was got."""

    def __init__(self, board: Board, ledger: Ledger, store: Store, clock: Clock) -> None:
        self.secrets = ""  # the fingerprint of the secrets that the token was got with …
        self.login = ""  # … and login_of() and whose_of() the account by then
        self._whose = ""
        self._board = board
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._unknown: Held | None = None  # what was kept, where the ledger knows nothing of it
        self._not_resumed = ""
        self._dropped = 0  # the generation that was dead, and is no longer kept

    def resume(self, kept: Kept, account: Account) -> None:
        """Put up the session of before a restart, if it may be.

        This is done ahead of all that takes time, so that nobody who comes meanwhile goes without;
        settle() does the rest.
        """
        generation = kept.held.session.generation
        self._unknown = kept.held if generation > self._ledger.history.generation else None
        self._not_resumed = self._why_not(kept, account)
        if self._not_resumed:
            return
        self.secrets, self.login = kept.secrets, kept.login
        self._whose = kept.whose
        self._board.publish(kept.held)
        log.event("resumed", account=account.name, generation=generation)

    def _why_not(self, kept: Kept, account: Account) -> str:
        history, generation = self._ledger.history, kept.held.session.generation
        rejected = history.rejected
        if why := unusable(kept, account, self._clock):
            return why
        if rejected and (rejected.generation, rejected.verdict) == (generation, "dead"):
            return "the broker has called it dead"
        if generation < history.generation:
            return f"generation {history.generation} was there after it"
        return ""

    async def settle(self) -> None:
        """Write down what resume() found."""
        if self._unknown:  # the ledger was lost
            session = self._unknown.session
            line = Published(
                generation=session.generation,
                expires_at=session.expires_at,
                **stamp(self._clock),
            )
            await record(self._ledger, line, self._board.account)
        if self._not_resumed:
            log.event("not_resumed", account=self._board.account, why=self._not_resumed)
            await self.drop()

    def got_with(self, secrets: str, account: Account) -> None:
        """Note what the next token to be kept was got with."""
        self.secrets = secrets
        self.login, self._whose = login_of(account), whose_of(account)

    async def keep(self, held: Held) -> None:
        """Keep this in place of what was kept."""
        kept = Kept(held=held, secrets=self.secrets, login=self.login, whose=self._whose)
        try:
            await self._store.save(kept)
        except OSError as error:
            why = f"the session will not outlive a restart: {error.strerror}"
            log.warning("store", account=self._board.account, why=why)
            await self.drop()  # an older one must not come back in its place

    async def drop(self, generation: int = 0) -> None:
        """Keep nothing any more; of a `generation` that is named, once only."""
        if generation and generation == self._dropped:
            return
        self._dropped = generation
        try:
            await self._store.drop()
        except OSError as error:
            log.warning("store", account=self._board.account, why=error.strerror)
