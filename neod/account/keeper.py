"""The one writer of an account: asks policy what to do, does it, and puts up what came of it.

Decides nothing itself. Whatever goes wrong here stays here: it ends in the account's standing,
never in another account's and never in the daemon.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

import msgspec
import trio

from neod import log
from neod.account import policy
from neod.account.edge import DAY, gained_nothing, learn
from neod.account.history import (
    Attempt,
    EdgeKnown,
    Line,
    Outcome,
    Published,
    Stamp,
    Unblocked,
)
from neod.account.ledger import Ledger
from neod.account.session import Board, Failure, Held, Standing
from neod.account.snapshot import from_login, ready_until, with_bearer
from neod.clock import Clock, rfc3339, wait_until
from neod.config import Account
from neod.kotak.client import Send
from neod.kotak.flows import Consumer, Password, Request, bearer_flow, password_flow
from neod.kotak.replies import LoginFailed, Reply, clock_skew
from neod.secrets import SecretUnavailable, read

T = TypeVar("T")
LOGIN_TIME = 60.0  # seconds for a login, whatever the number of its requests
Connect = Callable[[], AbstractAsyncContextManager[Send]]


class LedgerFull(Exception):  # noqa: N818
    """An attempt could not be written, so it must not be made."""


class NotUnblocked(Exception):  # noqa: N818
    """`unblock` was refused; str() says why."""


class Keeper:
    """Keeps one account's session on its board."""

    def __init__(
        self,
        account: Account,
        board: Board,
        ledger: Ledger,
        *,
        clock: Clock,
        connect: Connect,
        environ: Mapping[str, str],
        draw: Callable[[], float],
    ) -> None:
        self.account = account
        self.board = board
        self._ledger = ledger
        self._clock = clock
        self._connect = connect
        self._environ = environ
        self._draw = draw
        self._drawn = draw()  # holds still while a session lives, else it would creep
        self._secrets = ""  # their fingerprint
        self._trouble: policy.Trouble | None = None
        self._failing = False
        self._last_failure: Failure | None = None
        self._skew: float | None = None
        self._news = trio.Event()
        self._lapse_told = 0  # the generation whose lapse was logged

    async def run(self) -> None:
        """Keep the session, for ever."""
        with suppress(Exception):  # the attempt that follows meets it again, and says so
            _, self._secrets = await self._read_secrets()
        await self._give_up_pending()
        while True:
            decision = self._decide()
            self._stand(decision)
            if decision.do == "wait":
                await wait_until(self._next_look(decision), self._clock, self._news)
                self._news = trio.Event()
            else:
                await self._attempt(decision)
                await self._give_up_pending()

    async def unblock(self, *, force: bool = False) -> str:
        """Allow one more attempt, on a person's word; returns what follows.

        Raises NotUnblocked, and OSError where the ledger cannot be written. Any number of calls
        at once allow one attempt: the ledger takes them in turn, ahead of the attempt that the
        first of them leads to.
        """
        now, history = self._clock.wall(), self._ledger.history
        if history.pending:
            return f"{self.account.name}: a login is under way; see what comes of it"
        if policy.barred(now, history, self._secrets) is None:
            return f"{self.account.name} is not blocked: {self.board.standing.why}"
        suspect = history.suspect(self._secrets)
        if suspect.refusals >= 2 and now - suspect.refused_at < DAY and not force:
            raise NotUnblocked(
                f"the broker refused these credentials {suspect.refusals} times within 24 hours; "
                "a third refusal may lock the account for a day. "
                "Correct them first, or say --force"
            )
        await self._ledger.append(Unblocked(**self._stamp()))
        self._trouble = None
        self._news.set()
        return f"{self.account.name}: one more login is allowed, and is tried now"

    def _decide(self) -> policy.Decision:
        life = self.board.life()  # before the time is read: what has ended by then has ended
        return policy.decide(
            self._clock.wall(),
            life,
            self._ledger.history,
            self._secrets,
            self._trouble,
            self.account.rules,
            self._drawn,
            self._skew or 0.0,
        )

    def _next_look(self, decision: policy.Decision) -> float | None:
        """When to look again: when something is due, or when the session lapses."""
        held = self.board.valid()
        if held is None:
            return decision.at
        lapse = self._clock.wall() + held.left(self._clock)
        return lapse if decision.at is None else min(lapse, decision.at)

    def _stand(self, decision: policy.Decision) -> None:
        now = self._clock.wall()
        before = self.board.standing
        if self.board.held and self.board.valid() is None:
            generation = self.board.held.session.generation
            if generation != self._lapse_told:
                self._lapse_told = generation
                log.warning("expired", account=self.account.name, generation=generation)
        logins = self._ledger.history.logins
        standing = Standing(
            state=decision.state,
            since=before.since if before.state == decision.state else now,
            why=decision.why,
            next=decision.at,
            failing=self._failing,
            last_failure=self._last_failure,
            logins=(
                sum(now - policy.TEN_MINUTES < at for at in logins),
                sum(now - DAY < at for at in logins),
            ),
            clock_skew=self._skew,
        )
        if before.state != standing.state:
            log.debug("state", account=self.account.name, state=standing.state, why=standing.why)
        self.board.stand(standing)

    async def _attempt(self, decision: policy.Decision) -> None:
        try:
            with trio.fail_after(LOGIN_TIME):
                credentials, secrets = await self._read_secrets()
                if secrets != self._secrets:
                    self._secrets = secrets  # changed since: judge again
                    return
                async with self._connect() as send:
                    if decision.do == "bearer":
                        await self._renew_bearer(credentials, send, decision.why)
                    else:
                        await self._log_in(credentials, send, decision.why)
        except LoginFailed as failure:
            self._failed(failure.kind, failure.detail, failure.action, failure.retry_after)
        except SecretUnavailable as failure:
            self._failed("secret_unavailable", failure.detail, failure.action)
        except trio.TooSlowError:
            self._failed("unanswered", f"the login took longer than {LOGIN_TIME:.0f} s")
        except LedgerFull as error:
            self._failed(
                "ledger",
                f"the ledger cannot be written, so nothing was sent: {error}",
                "make room on the disk that holds neod's state",
            )
        except OSError as error:
            self._failed("unavailable", f"cannot make ready to connect: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a bug here must not end other accounts
            log.error("bug", account=self.account.name, exc_info=error)
            self._failed("internal_error", f"a bug in neod: {type(error).__name__}", "report it")

    async def _log_in(self, credentials: Password, send: Send, why: str) -> None:
        sent = self._clock.wall(), self._clock.boot()
        flow = password_flow(credentials, self.account.endpoints)
        login = await self._drive(flow, send, why)
        held = from_login(
            self.account,
            login,
            self._ledger.history.generation + 1,
            sent=sent,
            clock=self._clock,
            ahead=self._skew,
        )
        self._refuse_lapsed(held)
        old = self.board.life() if self.board.valid() else None
        held = await self._learn_edge(old, held)
        self._drawn = self._draw()
        await self._publish(held, why)

    async def _learn_edge(self, old: policy.Life | None, held: Held) -> Held:
        """Note what the login says of the day's edge, and whether it gained anything."""
        before = None if old is None else (old.begin, old.end)
        now = held.received_at, float(held.session.token_expires_at)
        edge = self._ledger.history.edge
        known = learn(edge, before, now)
        if known != edge and self.account.rules.edge == "auto":
            await self._record(EdgeKnown(edge=known, **self._stamp()))
            log.event("edge", account=self.account.name, at="forgotten" if known is None else known)
        return msgspec.structs.replace(held, stuck=gained_nothing(before, now))

    async def _renew_bearer(self, credentials: Password, send: Send, why: str) -> None:
        old = self.board.held
        if old is None or not isinstance(credentials.access, Consumer):
            return
        sent = self._clock.wall(), self._clock.boot()
        flow = bearer_flow(credentials.access, self.account.endpoints)
        bearer = await self._drive(flow, send, why)
        held = with_bearer(old, bearer, self._ledger.history.generation + 1, sent)
        if held.bearer_left(self._clock) <= 0:
            self._refuse_lapsed(held)
        self._drawn = self._draw()
        await self._publish(held, why)

    def _refuse_lapsed(self, held: Held) -> None:
        if held.left(self._clock) <= 0:
            raise LoginFailed(
                "unintelligible",
                "the login was accepted, and what it brought had ended already, at "
                f"{held.session.expires_at_rfc3339} by the broker's clock",
                "check this machine's clock: timedatectl",
            )

    async def _drive(self, flow: Generator[Request, Reply, T], send: Send, why: str) -> T:
        """Play a flow against the broker, each of its requests in the ledger before it is sent."""
        request: Request | None = next(flow)
        while request is not None:
            attempt = await self._begin(request, why)
            failure = None
            try:
                reply = await send(request)
                self._skew = clock_skew(reply, self._clock.wall())
                request = flow.send(reply)
            except StopIteration as stop:
                request, result = None, stop.value
            except LoginFailed as error:
                failure = error
            if failure is not None:
                await self._end(attempt, failure.kind, f"{failure.detail}; {failure.action}")
                raise failure
            await self._end(attempt, "accepted")
        brought: T = result
        return brought

    async def _begin(self, request: Request, why: str) -> Attempt:
        """Write that a request is about to go out. Raises LedgerFull, and then it must not."""
        attempt = Attempt(
            id=self._ledger.history.last_id + 1,
            step=request.step,
            secrets=self._secrets,
            why=why,
            **self._stamp(),
        )
        try:
            await self._ledger.append(attempt)
        except OSError as error:
            raise LedgerFull(error.strerror or str(error)) from None
        log.debug("request", account=self.account.name, step=request.step, url=request.url)
        return attempt

    async def _give_up_pending(self) -> None:
        """Write of an attempt that nothing will be heard of any more that it was unanswered."""
        if lost := self._ledger.history.pending:
            await self._end(lost, "unanswered", "neod stopped waiting for the answer")

    async def _end(self, attempt: Attempt, result: str, detail: str = "") -> None:
        await self._record(Outcome(id=attempt.id, result=result, detail=detail, **self._stamp()))

    async def _record(self, line: Line) -> None:
        """Write what has happened already: a disk that is full must not undo it, nor a stop."""
        with trio.CancelScope(shield=True):
            try:
                await self._ledger.append(line)
            except OSError as error:
                log.error("ledger", account=self.account.name, error=error.strerror)

    async def _publish(self, held: Held, why: str) -> None:
        session = held.session
        line = Published(
            generation=session.generation, expires_at=session.expires_at, **self._stamp()
        )
        await self._record(line)
        self._failing = False
        self.board.publish(held)
        log.event(
            "session",
            account=session.account,
            generation=session.generation,
            kind=session.kind,
            expires=session.expires_at_rfc3339,
            why=why,
        )

    def _failed(
        self, kind: str, detail: str, action: str = "", retry_after: float | None = None
    ) -> None:
        now = self._clock.wall()
        self._failing = True
        self._last_failure = Failure(at=now, kind=kind, detail=detail, action=action)
        if kind != "rejected":  # which is the ledger's to judge
            self._trouble = policy.fail(
                now,
                self._trouble,
                self.board.life(),
                self._draw(),
                retry_after=retry_after,
                rate_limited=kind == "rate_limited",
                local=kind in ("secret_unavailable", "ledger"),
            )
        log.warning(
            "login_failed", account=self.account.name, kind=kind, detail=detail, action=action
        )

    async def _read_secrets(self) -> tuple[Password, str]:
        """The credentials, and their fingerprint. Raises SecretUnavailable."""
        account = self.account
        texts = [read(source, self._environ) for source in account.secrets]
        password, *access = texts
        credentials = Password(
            identity=account.identity,
            password=password,
            access=Consumer(*access) if account.consumer else access[0],
        )
        end = ready_until(access[0].reveal()) if account.access_token else None
        if account.access_token and end is not None and end <= self._clock.wall():
            raise SecretUnavailable(
                account.access_token,
                f"this access token ended at {rfc3339(end)}",
                "make a new one in the developer portal",
            )
        parts = [*account.identity, *(secret.reveal() for secret in texts)]
        return credentials, await self._ledger.fingerprint(parts)

    def _stamp(self) -> Stamp:
        now = self._clock.wall()
        return {"at": now, "time": rfc3339(now)}
