"""The one writer of an account: asks policy what to do, does it, and puts up what came of it.

Decides nothing itself, and leaves the talk with the broker to a Dialogue. Whatever goes wrong
here stays here: it ends in the account's standing, never in another account's and never in the
daemon.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress

import msgspec
import trio

from neod import log
from neod.account import policy
from neod.account.credentials import Credentials, credentials, read_all, to_fingerprint
from neod.account.dialogue import Dialogue, LedgerFull, record, stamp
from neod.account.edge import DAY, gained_nothing, learn
from neod.account.history import EdgeKnown, Outcome, Published, Unblocked
from neod.account.ledger import Ledger
from neod.account.session import Board, Failure, Held, Standing
from neod.account.snapshot import from_login, with_bearer
from neod.clock import Clock, wait_until
from neod.config import Account
from neod.kotak.client import Send
from neod.kotak.flows import Consumer, Totp, bearer_flow, password_flow, totp_flow
from neod.kotak.replies import LoginFailed
from neod.secrets import Secret, SecretUnavailable

LOGIN_TIME = 60.0  # seconds for a login, whatever the number of its requests
OTP_TIME = 300.0  # seconds that a person has to type an OTP
Connect = Callable[[], AbstractAsyncContextManager[Send]]


class NotUnblocked(Exception):  # noqa: N818
    """`unblock` was refused; str() says why."""


class Asked(msgspec.Struct):
    """A person's wish for a login: `ended` is set when there is something to tell."""

    ended: trio.Event
    detail: str = ""
    failed: bool = False


class OtpWanted(msgspec.Struct):
    """A login that waits for an OTP, which is `given` with the code."""

    given: trio.Event
    code: Secret | None = None


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
        self._asked: Asked | None = None
        self._otp: OtpWanted | None = None
        self._deadline = trio.CancelScope()  # of the login that is under way
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
                self._tell(decision.why, failed=True)  # who asked for a login does not get one
                await wait_until(self._next_look(decision), self._clock, self._news)
                self._news = trio.Event()
            else:
                await self._attempt(decision)
                await self._give_up_pending()

    async def renew(self) -> Asked:
        """Log in on a person's word; returns when that has ended, or waits for an OTP.

        A login that is under way serves as well as another one would.
        """
        if self._otp is not None:
            return Asked(trio.Event(), f"{self.account.name}: {self.board.standing.why}")
        asked = self._asked or Asked(trio.Event())
        self._asked = asked
        self._news.set()
        await asked.ended.wait()
        return asked

    async def give_otp(self, code: Secret) -> Asked | None:
        """Hand the login its OTP, and wait for what comes of it; None if none waits for one."""
        wanted = self._otp
        if wanted is None:
            return None
        wanted.code = code
        wanted.given.set()
        self._otp = None
        return await self.renew()

    @property
    def waits_for_otp(self) -> bool:
        return self._otp is not None

    def _tell(self, detail: str, *, failed: bool) -> None:
        """Answer who asked for a login."""
        if self._asked:
            self._asked.detail, self._asked.failed = detail, failed
            self._asked.ended.set()
            self._asked = None

    async def _ask_for_otp(self) -> Secret:
        """Wait for a person's code. Raises LoginFailed."""
        wanted = self._otp = OtpWanted(trio.Event())
        why = "an OTP was sent; type it within 5 minutes: neoctl otp"
        self._stand(policy.Decision("wait", "otp_needed", why, self._clock.wall() + OTP_TIME))
        self._tell(f"{self.account.name}: {why}", failed=False)
        log.event("otp_needed", account=self.account.name)
        self._deadline.relative_deadline = OTP_TIME + LOGIN_TIME
        with trio.move_on_after(OTP_TIME):
            await wanted.given.wait()
        self._otp = None
        if wanted.code is None:
            raise LoginFailed("otp_needed", "no OTP was given within 5 minutes", "neoctl renew")
        self._deadline.relative_deadline = LOGIN_TIME
        self._stand(policy.Decision("login", "renewing", "an OTP was given"))
        return wanted.code

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
        await self._ledger.append(Unblocked(**stamp(self._clock)))
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
            otp=self.account.second_factor == "otp",
            asked=self._asked is not None,
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
            with trio.fail_after(LOGIN_TIME) as self._deadline:
                usable, secrets = await self._read_secrets()
                if secrets != self._secrets:
                    self._secrets = secrets  # changed since: judge again
                    return
                async with self._connect() as send:
                    talk = self._dialogue(usable, send, decision.why)
                    try:
                        if decision.do == "bearer":
                            await self._renew_bearer(usable, talk)
                        else:
                            await self._log_in(usable, talk)
                    finally:
                        self._skew = talk.skew
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

    def _dialogue(self, usable: Credentials, send: Send, why: str) -> Dialogue:
        return Dialogue(
            account=self.account.name,
            ledger=self._ledger,
            clock=self._clock,
            send=send,
            secrets=self._secrets,
            why=why,
            endpoints=self.account.endpoints,
            totp_secret=usable.totp_secret if isinstance(usable, Totp) else None,
            ask_for_otp=self._ask_for_otp,
            skew=self._skew,
        )

    async def _log_in(self, usable: Credentials, talk: Dialogue) -> None:
        sent = self._clock.wall(), self._clock.boot()
        endpoints = self.account.endpoints
        if isinstance(usable, Totp):
            login = await talk.play(totp_flow(usable, endpoints))
        else:
            login = await talk.play(password_flow(usable, endpoints))
        held = from_login(
            self.account,
            login,
            self._ledger.history.generation + 1,
            sent=sent,
            clock=self._clock,
            ahead=talk.skew,
        )
        self._refuse_lapsed(held)
        old = self.board.life() if self.board.valid() else None
        held = await self._learn_edge(old, held)
        self._drawn = self._draw()
        await self._publish(held, talk.why)
        self._tell(
            f"{self.account.name}: logged in, a {held.session.kind} session "
            f"until {held.session.expires_at_rfc3339}",
            failed=False,
        )

    async def _learn_edge(self, old: policy.Life | None, held: Held) -> Held:
        """Note what the login says of the day's edge, and whether it gained anything."""
        before = None if old is None else (old.begin, old.end)
        now = held.received_at, float(held.session.token_expires_at)
        edge = self._ledger.history.edge
        known = learn(edge, before, now)
        if known != edge and self.account.rules.edge == "auto":
            line = EdgeKnown(edge=known, **stamp(self._clock))
            await record(self._ledger, line, self.account.name)
            log.event(
                "edge", account=self.account.name, ends="forgotten" if known is None else known
            )
        return msgspec.structs.replace(held, stuck=gained_nothing(before, now))

    async def _renew_bearer(self, usable: Credentials, talk: Dialogue) -> None:
        old = self.board.held
        if old is None or isinstance(usable, Totp):
            return
        if not isinstance(usable.access, Consumer):
            return
        sent = self._clock.wall(), self._clock.boot()
        bearer = await talk.play(bearer_flow(usable.access, self.account.endpoints))
        held = with_bearer(old, bearer, self._ledger.history.generation + 1, sent)
        if held.bearer_left(self._clock) <= 0:
            self._refuse_lapsed(held)
        self._drawn = self._draw()
        await self._publish(held, talk.why)

    def _refuse_lapsed(self, held: Held) -> None:
        if held.left(self._clock) <= 0:
            raise LoginFailed(
                "unintelligible",
                "the login was accepted, and what it brought had ended already, at "
                f"{held.session.expires_at_rfc3339} by the broker's clock",
                "check this machine's clock: timedatectl",
            )

    async def _give_up_pending(self) -> None:
        """Write of an attempt that nothing will be heard of any more that it was unanswered."""
        if lost := self._ledger.history.pending:
            await record(
                self._ledger,
                Outcome(
                    id=lost.id,
                    result="unanswered",
                    detail="neod stopped waiting for the answer",
                    **stamp(self._clock),
                ),
                self.account.name,
            )

    async def _publish(self, held: Held, why: str) -> None:
        session = held.session
        line = Published(
            generation=session.generation, expires_at=session.expires_at, **stamp(self._clock)
        )
        await record(self._ledger, line, self.account.name)
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
        if session.password_expired:
            log.warning(
                "password_expired",
                account=session.account,
                action="change the password in the Kotak Neo app, then in the configuration",
            )

    def _failed(
        self, kind: str, detail: str, action: str = "", retry_after: float | None = None
    ) -> None:
        now = self._clock.wall()
        self._failing = True
        self._last_failure = Failure(at=now, kind=kind, detail=detail, action=action)
        if kind not in ("rejected", "otp_needed"):  # the ledger judges one, a person ends the other
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
        self._tell(f"{self.account.name}: {detail}", failed=True)

    async def _read_secrets(self) -> tuple[Credentials, str]:
        """The credentials, and their fingerprint. Raises SecretUnavailable."""
        found = await read_all(self.account, self._environ)
        usable = credentials(self.account, found, self._clock.wall())
        return usable, await self._ledger.fingerprint(to_fingerprint(self.account, found))
