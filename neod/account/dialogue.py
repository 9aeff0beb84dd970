"""One login's talk with the broker: plays a flow, and writes each attempt down before it is made.

Knows nothing of when to log in, nor of what becomes of the session.
"""

import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import trio

from neod import log
from neod.account import totp
from neod.account.history import Attempt, Line, Outcome, Stamp, Word
from neod.account.ledger import Ledger
from neod.clock import Clock, rfc3339
from neod.kotak.client import Send
from neod.kotak.endpoints import Endpoints
from neod.kotak.flows import Flow, Request, Wanted, clock_request
from neod.kotak.replies import LoginFailed, Reply, clock_skew
from neod.secrets import Secret

T = TypeVar("T")


class NotWritten(Exception):  # noqa: N818
    """An attempt could not be written, so it must not be made; `action` is what mends that."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.action = "see what stands in the way: neoctl doctor"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.action = "make room on the disk that holds neod's state"
        elif error.errno == errno.ENOENT:
            self.action = "put its folder back, or restart neod, which then begins a new one"


class CalledOff(Exception):  # noqa: N818
    """A person does not want the login any more, and nothing of it is out."""


def stamp(clock: Clock) -> Stamp:
    """The time for a line of the ledger."""
    now = clock.wall()
    return {"at": now, "time": rfc3339(now)}


class Dialogue(msgspec.Struct, kw_only=True):
    """What a flow is played with. `skew` is learnt on the way.

    `called_off` is asked ahead of each request that carries credentials.
    """

    account: str
    ledger: Ledger
    clock: Clock
    send: Send
    secrets: str  # their fingerprint
    why: str
    word: Word | None
    endpoints: Endpoints
    totp_secret: Secret | None
    ask_for_otp: Callable[[], Awaitable[Secret]]
    called_off: Callable[[], Awaitable[bool]]
    skew: float | None = None  # seconds that this clock is ahead of the broker's
    totp_step: int = 0  # of the code that the next request carries

    async def play(self, flow: Flow[T]) -> T:
        """What the flow returns. Raises LoginFailed, NotWritten, CalledOff."""
        wanted: Request | Wanted | None = next(flow)
        while wanted is not None:
            attempt, failure = None, None
            try:
                if isinstance(wanted, Wanted):
                    sent: Reply | Secret = await self._code(wanted)
                else:
                    attempt = await self._begin(wanted)
                    sent = await self._ask(wanted)
                wanted = flow.send(sent)
            except StopIteration as stop:
                wanted, value = None, stop.value
            except LoginFailed as error:
                failure = error
            if attempt is not None:
                await self._end(attempt, failure)
            if failure is not None:
                raise failure
        brought: T = value
        return brought

    async def _ask(self, request: Request) -> Reply:
        reply = await self.send(request)
        skew = clock_skew(reply, self.clock.wall())
        self.skew = self.skew if skew is None else skew
        return reply

    async def _begin(self, request: Request) -> Attempt | None:
        """Write that credentials are about to go out.

        Raises NotWritten, CalledOff, and then they must not.
        """
        log.debug("request", account=self.account, step=request.step, url=request.url)
        if request.step is None:
            return None
        if await self.called_off():
            raise CalledOff
        attempt = Attempt(
            id=self.ledger.history.last_id + 1,
            step=request.step,
            secrets=self.secrets,
            why=self.why,
            totp_step=self.totp_step,
            word=self.word,
            **stamp(self.clock),
        )
        self.totp_step = 0
        try:
            await self.ledger.append(attempt)
        except OSError as error:
            raise NotWritten(error) from None
        return attempt

    async def _end(self, attempt: Attempt, failure: LoginFailed | None) -> None:
        line = Outcome(id=attempt.id, result="accepted", **stamp(self.clock))
        if failure is not None:
            line = Outcome(
                id=attempt.id,
                result=failure.kind,
                detail="; ".join(filter(None, (failure.detail, failure.action))),
                totp=failure.totp,
                **stamp(self.clock),
            )
        await record(self.ledger, line, self.account)

    async def _code(self, wanted: Wanted) -> Secret:
        if wanted.what == "otp":
            return await self.ask_for_otp()
        assert self.totp_secret is not None  # noqa: S101 - the flow is the TOTP flow
        # The clock is looked at anew each time: it may have been set since the last login.
        await self._ask(clock_request(self.endpoints))
        while True:
            used = self.ledger.history.totp_step
            step, wait = totp.next_step(self.clock.wall(), self.skew or 0.0, used)
            if wait <= 0:
                break
            await trio.sleep(wait)
        self.totp_step = step
        return Secret(totp.code(self.totp_secret.reveal(), step))


async def record(ledger: Ledger, line: Line, account: str) -> None:
    """Write what has happened already: a disk that is full must not undo it, nor a stop."""
    with trio.CancelScope(shield=True):
        try:
            await ledger.append(line)
        except OSError as error:
            log.error("ledger", account=account, error=error.strerror)
