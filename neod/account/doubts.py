"""Whether a session that a bot rejects is dead: weighs its word, asks the broker, notes it.

What follows from a reject that stands, policy decides; nothing here logs in.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from neod import log
from neod.account import policy, rejection
from neod.account.dialogue import record, stamp
from neod.account.herald import Herald
from neod.account.history import COOL, Rejected, Verdict
from neod.account.ledger import Ledger
from neod.account.rejection import Answer
from neod.account.session import Board, Held
from neod.account.wishes import Rejecting
from neod.clock import Clock, clock_time
from neod.kotak.evidence import Evidence
from neod.kotak.flows import Request, proof_of_life
from neod.kotak.replies import LoginFailed, Reply, says_alive

ALIVE_FOR = 10.0  # seconds that the broker's word on whether a session is alive is good for
SAID_AGAIN = 300.0  # seconds after which one more reject that leads to nothing is written down
Ask = Callable[[Request], Awaitable[Reply]]


class Doubts:
    """The rejects of one account's sessions. `ask` sends one request to the broker."""

    def __init__(
        self, board: Board, ledger: Ledger, herald: Herald, *, clock: Clock, ask: Ask
    ) -> None:
        self.bearer_rejected = 0  # the generation whose bearer was
        self._board = board
        self._ledger = ledger
        self._herald = herald
        self._clock = clock
        self._ask = ask
        self._bearer_from_reject = False  # the bearer that is there came from one
        self._asked_at = -ALIVE_FOR  # CLOCK_BOOTTIME, when the broker was asked of the session …
        self._said_alive: bool | None = None  # … and what it said

    def published(self, *, bearer: bool) -> None:
        """What was said of the session before, or of its bearer, does not count for this one."""
        self._bearer_from_reject = bearer and self.bearer_rejected > 0
        self.bearer_rejected = 0
        self._asked_at = -ALIVE_FOR

    def weigh(self, generation: int, evidence: Evidence) -> Answer | None:
        """The answer to a reject that leads to nothing; None where it may lead to something."""
        life, held = self._board.life(), self._board.held
        if life is None or held is None:
            return None
        answer = rejection.weigh(
            self._clock.wall(), life, generation, held.session.generation, evidence
        )
        if answer is None and self._was_asked and self._said_alive:
            return Answer("alive", "the broker was asked just now, and called the session alive")
        return answer

    async def look_into(self, rejecting: Rejecting) -> Answer | None:
        """See whether the session is dead; None if what follows is policy's to say."""
        if answer := self.weigh(rejecting.generation, rejecting.evidence):
            return answer  # which has changed while the reject waited
        held = self._board.valid()
        if held is None:
            return None  # it has lapsed anyway
        if rejecting.evidence.about == "bearer" and held.bearer_renewable:
            return await self._doubt_bearer(rejecting, held)
        alive = await self._is_alive(held)
        history = self._ledger.history
        stands = history.rejected and history.rejected.generation == rejecting.generation
        if alive:
            if stands:
                await self._note(rejecting, "alive")
            return Answer("alive", "the broker was asked, and called the session alive")
        if alive is None:
            return None if stands else await self._unclear(rejecting)
        self._board.lapse()  # at once: a disk may take its time
        await self._note(rejecting, "dead")
        return None

    async def _unclear(self, rejecting: Rejecting) -> Answer | None:
        now, history = self._clock.wall(), self._ledger.history
        until = policy.contended_until(now, history)
        if not until:
            await self._note(rejecting, "unclear")
            return None
        if now - history.rejected_at >= SAID_AGAIN:
            await self._note(rejecting, "put_off")
        self._herald.contended(until)
        return Answer("deferred", policy.contended(until))

    async def _doubt_bearer(self, rejecting: Rejecting, held: Held) -> Answer | None:
        again = held.bearer_received_at + COOL[0]
        if self._bearer_from_reject and 0 < again - self._clock.wall() <= COOL[0]:
            why = f"this bearer came from a reject too; none does again before {clock_time(again)}"
            return Answer("deferred", why)
        self.bearer_rejected = rejecting.generation
        await self._note(rejecting, "put_off")  # it says nothing of the token
        return None

    async def _note(self, rejecting: Rejecting, verdict: Verdict) -> None:
        line = Rejected(
            generation=rejecting.generation,
            verdict=verdict,
            detail=rejecting.evidence.says,
            word=rejecting.word,
            **stamp(self._clock),
        )
        await record(self._ledger, line, self._board.account)
        log.warning(
            "rejected",
            account=self._board.account,
            generation=rejecting.generation,
            verdict=verdict,
            evidence=rejecting.evidence.says,
            pid=rejecting.word.pid,
            executable=rejecting.word.executable,
        )

    @property
    def _was_asked(self) -> bool:
        """True if the broker was asked just now whether the session is alive."""
        return 0 <= self._clock.boot() - self._asked_at < ALIVE_FOR

    async def _is_alive(self, held: Held) -> bool | None:
        """Ask the broker by another way than the bot's; None if that says nothing clear."""
        session = held.session
        request = proof_of_life(session.kind, session.base_url, session.headers)
        if request is None or self._was_asked:
            return None  # what was clear by then has been acted on: alive answers, dead has lapsed
        self._asked_at, self._said_alive = self._clock.boot(), None
        with suppress(LoginFailed, OSError):
            self._said_alive = says_alive(await self._ask(request))
        return self._said_alive
