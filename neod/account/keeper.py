"""The one writer of an account: asks policy what to do, does it, and puts up what came of it.

Decides nothing itself, and leaves the talk with the broker to a Dialogue. Whatever goes wrong
here stays here: it ends in the account's standing, never in another account's and never in the
daemon.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress

import msgspec
import trio

from neod import log
from neod.account import policy, rejection
from neod.account.credentials import Credentials, credentials, read_all, to_fingerprint
from neod.account.dialogue import Dialogue, LedgerFull, record, stamp
from neod.account.edge import DAY, learn
from neod.account.history import (
    COOL,
    TEN_MINUTES,
    EdgeKnown,
    Outcome,
    Paused,
    Published,
    Rejected,
    Resumed,
    Unblocked,
    Verdict,
    Word,
)
from neod.account.hours import ready_by_next
from neod.account.ledger import Ledger
from neod.account.login import log_in, renew_bearer, span
from neod.account.rejection import Answer
from neod.account.session import Board, Failure, Held, Standing
from neod.account.store import Kept, Store, login_of, unusable
from neod.account.wishes import Adopting, Asked, NotUnblocked, OtpWanted, Rejecting
from neod.clock import Clock, clock_time, wait_until
from neod.config import Account
from neod.kotak.client import Send
from neod.kotak.flows import Totp, proof_of_life
from neod.kotak.replies import Evidence, LoginFailed, says_alive
from neod.secrets import Secret, SecretUnavailable

LOGIN_TIME = 60.0  # seconds for a login, whatever the number of its requests
OTP_TIME = 300.0  # seconds that a person has to type an OTP
ADOPTED_SOON = 3.0  # seconds in which a change of the configuration should be taken up
SECRETS_SOON = 2.0  # seconds in which secrets have to be had where no login is waiting for them
READY_BY_LATE = 300.0  # seconds after it that it is still told that there was no session
ALIVE_FOR = 10.0  # seconds that the broker's word on whether a session is alive is good for
STUCK = 600.0  # seconds that no turn takes, be there an OTP to wait for in it
BUG_PAUSE = 5.0  # seconds after a bug, so that it does not spin
SAID_AGAIN = 300.0  # seconds after which one more reject that leads to nothing is written down
Connect = Callable[[Account], AbstractAsyncContextManager[Send]]


class Keeper:
    """Keeps one account's session on its board."""

    def __init__(
        self,
        account: Account,
        board: Board,
        ledger: Ledger,
        store: Store,
        *,
        clock: Clock,
        connect: Connect,
        environ: Mapping[str, str],
        draw: Callable[[], float],
        hide: Collection[str] = (),
        kept: Kept | None = None,
    ) -> None:
        """Programs of the account do not see the variables to `hide`; there may be more later."""
        self.account = account
        self.board = board
        self.ledger = ledger
        self.store = store
        self._clock = clock
        self._connect = connect
        self._environ = environ
        self._hide = hide
        self._draw = draw
        self._drawn = draw()  # holds still while a session lives, else it would creep
        self._secrets = ""  # their fingerprint
        self._changes = 0  # how often in a row they were others than the last time
        self._trouble: policy.Trouble | None = None
        self._failing = False
        self._last_failure: Failure | None = None
        self._skew: float | None = None
        self._news = trio.Event()
        self._asked: Asked | None = None
        self._otp: OtpWanted | None = None
        self._rejecting: Rejecting | None = None
        self._asked_at = -ALIVE_FOR  # CLOCK_BOOTTIME, when the broker was asked of the session …
        self._said_alive: bool | None = None  # … and what it said
        self._bearer_rejected = 0  # the generation whose bearer was
        self._bearer_from_reject = False  # the bearer that is there came from one
        self._deadline = trio.CancelScope()  # of the login that is under way
        self._got_with = ""  # the fingerprint of the secrets that the token was got with …
        self._got_by = ""  # … and login_of() the account by then
        self._lapse_told = 0  # the generation whose lapse was logged
        self._dropped = 0  # the generation that was dead, and is no longer kept
        self._ready_by = ready_by_next(account.rules.hours, clock.wall())
        self._turned_at = math.inf  # trio's time; it has not begun yet
        # What came of logins, and of bearers alone, since the start.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.lateness: float | None = None  # seconds that the last renewal was late
        self._due: float | None = None  # epoch seconds, when the next one is
        self._doing = "login"
        self._stood = board.standing.state  # of the last decision
        self._was_paused = ledger.history.paused
        self._contended_told = 0.0  # until when a contention was told of
        self._adopting: Adopting | None = None
        self._outdated = False  # the session was got with credentials that are others by now
        self._blocked_told = False  # though it is tried again and again, as a secret is
        self._unknown: Held | None = None  # what was kept, where the ledger knows nothing of it
        self._not_resumed = self._take_up(kept) if kept else ""

    async def run(self) -> None:
        """Keep the session, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.board.watch_the_end)
            await self._guarded(self._begin)
            while True:
                await self._guarded(self._turn)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; a bug in it must not end other accounts."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - as above
            self._bug(error)
            await trio.sleep(BUG_PAUSE)

    def _bug(self, error: Exception) -> None:
        log.error("bug", account=self.account.name, exc_info=error)
        self._failed("internal_error", f"a bug in neod: {type(error).__name__}", "report it")

    async def _begin(self) -> None:
        """Take up what was there before a restart."""
        await self._give_up_pending()
        await self._settle_kept()

    async def _turn(self) -> None:
        """See what is to be done, and do it, or wait until that may have changed."""
        self._turned_at = trio.current_time()
        if self._adopting:
            await self._adopt(self._adopting)
        if self._rejecting:
            await self._look_into(self._rejecting)
        if self._asked and policy.barred(self._clock.wall(), self.ledger.history, self._secrets):
            await self._see_secrets()  # they may be others by now
        decision = self._decide(asked=self._asked is not None)
        await self._stand(decision)
        if decision.do != "wait":
            await self._attempt(decision)
            await self._give_up_pending()
            return
        self._tell(decision.why, failed=True)  # who asked for a login does not get one
        self._defer(decision.why)
        if self._rejecting is None and self._adopting is None:  # else it came just now
            await wait_until(self._next_look(decision), self._clock, self._news)
            self._news = trio.Event()

    @property
    def overdue(self) -> float:
        """Seconds for which the next renewal has been due."""
        return 0.0 if self._due is None else max(0.0, self._clock.wall() - self._due)

    @property
    def stuck(self) -> bool:
        """True if it has been at one thing for longer than anything that it does can take."""
        return trio.current_time() - self._turned_at > STUCK

    def look(self) -> None:
        """Judge everything afresh: the clocks may have jumped."""
        self.board.look()
        self._news.set()

    # What people and bots may wish

    async def adopt(self, account: Account) -> str:
        """Go on with this configuration and with the secrets as they are now; returns what follows.

        The session is served all the while; if the credentials are others, a login follows.
        """
        wanted = self._adopting = Adopting(trio.Event(), account)
        self._news.set()
        with trio.move_on_after(ADOPTED_SOON):
            await wanted.taken_up.wait()
            return wanted.detail
        return "taken up when the login that is under way has ended"

    async def forget(self) -> None:
        """Leave nothing of the session on the disk, and nobody who waits for a login.

        Not to be called while this runs, nor to be run again.
        """
        self._tell(f"{self.account.name}: {self.board.closed}", failed=True)
        if self._rejecting:
            self._answer(Answer("deferred", self.board.closed))
        await self._drop()

    async def renew(self, word: Word) -> Asked:
        """Log in on a person's word; returns when that has ended, or waits for an OTP.

        A login that is under way serves as well as another one would.
        """
        if self._otp is not None:
            why = f"{self.account.name}: {self.board.standing.why}"
            return Asked(trio.Event(), word, why)
        asked = self._asked or Asked(trio.Event(), word)
        self._asked = asked
        self._news.set()
        await asked.ended.wait()
        return asked

    async def give_otp(self, code: Secret, word: Word) -> Asked | None:
        """Hand the login its OTP, and wait for what comes of it; None if none waits for one."""
        wanted = self._otp
        if wanted is None:
            return None
        wanted.code = code
        wanted.given.set()
        self._otp = None
        return await self.renew(word)

    @property
    def waits_for_otp(self) -> bool:
        return self._otp is not None

    async def reject(self, generation: int, evidence: Evidence, word: Word) -> Answer | None:
        """What comes of a bot's word that a session was refused; None if there never was one."""
        answer = self._weigh(generation, evidence)
        if answer or self.board.held is None:
            return answer
        rejecting = self._rejecting
        if rejecting is None or rejecting.generation != generation:
            if rejecting is not None:  # of a session that was replaced since
                self._answer(Answer("newer", "it has been replaced"))
            rejecting = self._rejecting = Rejecting(trio.Event(), generation, evidence, word)
            self._news.set()
        await rejecting.ended.wait()
        return rejecting.answer

    async def unblock(self, word: Word, *, force: bool = False) -> str:
        """Allow one more attempt, on a person's word; returns what follows.

        Raises NotUnblocked, and OSError where the ledger cannot be written. Any number of calls
        at once allow one attempt: the ledger takes them in turn, ahead of the attempt that the
        first of them leads to.
        """
        now, history = self._clock.wall(), self.ledger.history
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
        await self.ledger.append(Unblocked(word=word, **stamp(self._clock)))
        self._trouble = None
        self._blocked_told = False
        self._news.set()
        when = "once neoctl resume is said" if history.paused else "and tried as soon as it may be"
        return f"{self.account.name}: one more login is allowed, {when}"

    async def pause(self, word: Word) -> str:
        """No login by itself from now on, over restarts too; returns what that means."""
        return await self._hold(Paused(word=word, **stamp(self._clock)))

    async def resume(self, word: Word) -> str:
        """Logins by itself again; returns what follows."""
        return await self._hold(Resumed(word=word, **stamp(self._clock)))

    async def _hold(self, line: Paused | Resumed) -> str:
        name, pauses = self.account.name, isinstance(line, Paused)
        if self.ledger.history.paused == pauses:
            return f"{name} is paused already" if pauses else f"{name} is not paused"
        lost = ""
        try:
            await self.ledger.append(line)
        except OSError as error:
            lost = f"; it is not on the disk ({error.strerror}), so a restart undoes it"
        self._news.set()
        if not pauses:
            return f"{name} is resumed{lost}"
        served = "the session is served to its end" if self.board.valid() else "no session is there"
        return f"{name} is paused: no login by itself; {served}{lost}"

    def _tell(self, detail: str, *, failed: bool) -> None:
        """Answer who asked for a login."""
        if self._asked:
            self._asked.detail, self._asked.failed = detail, failed
            self._asked.ended.set()
            self._asked = None

    def _answer(self, answer: Answer) -> None:
        """Answer who rejected a session."""
        if self._rejecting:
            self._rejecting.answer = answer
            self._rejecting.ended.set()
            self._rejecting = None

    def _defer(self, why: str) -> None:
        """Put off a reject that was looked into; another will be, at the next turn."""
        if self._rejecting and self._rejecting.looked_into:
            self._answer(Answer("deferred", why))

    async def _ask_for_otp(self) -> Secret:
        """Wait for a person's code. Raises LoginFailed."""
        wanted = self._otp = OtpWanted(trio.Event())
        why = "an OTP was sent; type it within 5 minutes: neoctl otp"
        await self._stand(policy.Decision("wait", "otp_needed", why, self._clock.wall() + OTP_TIME))
        self._tell(f"{self.account.name}: {why}", failed=False)
        self._defer(why)
        log.event("otp_needed", account=self.account.name)
        self._deadline.relative_deadline = OTP_TIME + LOGIN_TIME
        with trio.move_on_after(OTP_TIME):
            await wanted.given.wait()
        self._otp = None
        if wanted.code is None:
            raise LoginFailed("otp_needed", "no OTP was given within 5 minutes", "neoctl renew")
        self._deadline.relative_deadline = LOGIN_TIME
        await self._stand(policy.Decision("login", "renewing", "an OTP was given"))
        return wanted.code

    # A reject

    def _weigh(self, generation: int, evidence: Evidence) -> Answer | None:
        """The answer to a reject that leads to nothing."""
        life, held = self._life(), self.board.held
        if life is None or held is None:
            return None
        answer = rejection.weigh(
            self._clock.wall(), life, generation, held.session.generation, evidence
        )
        if answer is None and self._was_asked and self._said_alive:
            return Answer("alive", "the broker was asked just now, and called the session alive")
        return answer

    @property
    def _was_asked(self) -> bool:
        """True if the broker was asked just now whether the session is alive."""
        return 0 <= self._clock.boot() - self._asked_at < ALIVE_FOR

    async def _look_into(self, rejecting: Rejecting) -> None:
        """See whether the session is dead. What is then to be done, policy decides."""
        rejecting.looked_into = True
        if answer := self._weigh(rejecting.generation, rejecting.evidence):
            self._answer(answer)  # which has changed while the reject waited
            return
        held, life = self.board.valid(), self._life()
        if held is None or life is None:
            return  # it has lapsed anyway
        if rejecting.evidence.about == "bearer" and held.bearer_renewable:
            await self._doubt_bearer(rejecting, held)
            return
        alive = await self._is_alive(held)
        history = self.ledger.history
        stands = history.rejected and history.rejected.generation == rejecting.generation
        if alive:
            if stands:
                await self._note(rejecting, "alive")
            self._answer(Answer("alive", "the broker was asked, and called the session alive"))
        elif alive is None:
            until = policy.contended_until(self._clock.wall(), history)
            if until and not stands:
                if self._clock.wall() - history.rejected_at >= SAID_AGAIN:
                    await self._note(rejecting, "put_off")
                self._tell_contended(until)
                self._answer(Answer("deferred", policy.contended(until)))
            elif not stands:
                await self._note(rejecting, "unclear")
        else:
            await self._note(rejecting, "dead")
            self.board.lapse()

    async def _doubt_bearer(self, rejecting: Rejecting, held: Held) -> None:
        again = held.bearer_received_at + COOL[0]
        if self._bearer_from_reject and 0 < again - self._clock.wall() <= COOL[0]:
            why = f"this bearer came from a reject too; none does again before {clock_time(again)}"
            self._answer(Answer("deferred", why))
            return
        self._bearer_rejected = rejecting.generation
        await self._note(rejecting, "put_off")  # it says nothing of the token

    async def _note(self, rejecting: Rejecting, verdict: Verdict) -> None:
        line = Rejected(
            generation=rejecting.generation,
            verdict=verdict,
            detail=rejecting.evidence.says,
            word=rejecting.word,
            **stamp(self._clock),
        )
        await record(self.ledger, line, self.account.name)
        log.warning(
            "rejected",
            account=self.account.name,
            generation=rejecting.generation,
            verdict=verdict,
            evidence=rejecting.evidence.says,
            pid=rejecting.word.pid,
            executable=rejecting.word.executable,
        )

    async def _is_alive(self, held: Held) -> bool | None:
        """Ask the broker by another way than the bot's; None if that says nothing clear."""
        session = held.session
        request = proof_of_life(session.kind, session.base_url, session.headers)
        if request is None or self._was_asked:
            return self._said_alive if request else None
        self._asked_at, self._said_alive = self._clock.boot(), None
        with suppress(LoginFailed, OSError):
            async with self._connect(self.account) as send:
                self._said_alive = says_alive(await send(request))
        return self._said_alive

    # What to do now

    def _life(self) -> policy.Life | None:
        life, held = self.board.life(), self.board.held
        if life is None or held is None:
            return None
        rejected, generation = self.ledger.history.rejected, held.session.generation
        return msgspec.structs.replace(
            life,
            rejected=rejected is not None and rejected.generation == generation,
            bearer_rejected=self._bearer_rejected == generation,
            outdated=self._outdated,
        )

    def _decide(self, *, asked: bool = False) -> policy.Decision:
        """What is to be done; `asked` is that a person wants a login that is yet to be made."""
        life = self._life()  # before the time is read: what has ended by then has ended
        return policy.decide(
            self._clock.wall(),
            life,
            self.ledger.history,
            self._secrets,
            self._trouble,
            self.account.rules,
            self._drawn,
            self._skew or 0.0,
            otp=self.account.second_factor == "otp",
            asked=asked,
        )

    def _next_look(self, decision: policy.Decision) -> float | None:
        """When to look again: when something is due, or when the session lapses."""
        held = self.board.valid()
        lapse = None if held is None else self._clock.wall() + held.left(self._clock)
        return min(
            (at for at in (decision.at, lapse, self._ready_by) if at is not None), default=None
        )

    async def _stand(self, decision: policy.Decision) -> None:
        now, before = self._clock.wall(), self._stood
        await self._see_lapse()
        ready_by, self._ready_by = self._ready_by, ready_by_next(self.account.rules.hours, now)
        # A machine that slept through it wakes to a day that may be over.
        missed = ready_by is not None and 0 <= now - ready_by < READY_BY_LATE
        if missed and self.board.valid() is None:
            log.warning("not_ready_by", account=self.account.name, why=decision.why)
            self.board.tell("not_ready_by", decision.why)
        self._stood = decision.state
        if before != decision.state:
            log.debug("state", account=self.account.name, state=decision.state, why=decision.why)
        if decision.do == "wait" and decision.state == "ok":
            self._due = decision.at
        self.board.stand(self._standing(decision))
        self._tell_watchers(before, decision)

    def _standing(self, decision: policy.Decision) -> Standing:
        """Where the account stands by this decision."""
        now, before, history = self._clock.wall(), self.board.standing, self.ledger.history
        return Standing(
            state=decision.state,
            since=before.since if before.state == decision.state else now,
            why=decision.why,
            next=decision.at,
            failing=self._failing,
            last_failure=self._last_failure,
            logins=(
                len(policy.counted(now, history, TEN_MINUTES)),
                len(policy.counted(now, history, DAY)),
            ),
            clock_skew=self._skew,
        )

    def _tell_watchers(self, before: policy.State, decision: policy.Decision) -> None:
        """Tell of what the account's standing means for those who watch."""
        history = self.ledger.history
        if history.paused != self._was_paused:
            self._was_paused = history.paused
            self.board.tell("paused" if history.paused else "resumed", decision.why)
        state = decision.state
        if state != before and state in ("otp_needed", "credentials_rejected", "blocked"):
            if not (state == "blocked" and self._blocked_told):
                self.board.tell(state, decision.why)
            self._blocked_told |= state == "blocked"
        until = policy.contended_until(self._clock.wall(), history)
        if until and decision.why == policy.contended(until):
            self._tell_contended(until)

    def _tell_contended(self, until: float) -> None:
        if until > self._contended_told:
            self._contended_told = until
            self.board.tell("contended", policy.contended(until))

    async def _see_lapse(self) -> None:
        """Once a session has lapsed, nothing may bring it back: not a restart either."""
        if self.board.held is None or self.board.valid() is not None:
            return
        held = self.board.held
        generation, dead = held.session.generation, self.board.token_is_dead
        if generation != self._lapse_told:
            self._lapse_told = generation
            # At the day's edge it was to be so, and the next login is due right after it.
            if self._due is not None and self._due >= held.session.expires_at:
                log.event("expired", account=self.account.name, generation=generation)
            else:
                log.warning("expired", account=self.account.name, generation=generation)
            if not dead:  # a bearer is all that it needs; but this one is over
                await self._keep(msgspec.structs.replace(held, bearer_boot=self._clock.boot()))
        if dead and generation != self._dropped:
            self._dropped = generation
            await self._drop()

    # Doing it

    async def _attempt(self, decision: policy.Decision) -> None:
        self._doing = decision.do
        with log.login(f"{self.ledger.history.last_id + 1}"):
            await self._try(decision)

    async def _try(self, decision: policy.Decision) -> None:
        try:
            with trio.fail_after(LOGIN_TIME) as self._deadline:
                usable, secrets = await self._read_secrets()
                if secrets != self._secrets:
                    self._secrets = secrets  # changed since: judge again
                    self._changes += 1
                    if self._changes > 2:
                        why = "the secrets are others each time that they are read"
                        self._failed(
                            "secret_unavailable", why, "have a command print the same each time"
                        )
                    return
                self._changes = 0
                async with self._connect(self.account) as send:
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
        except Exception as error:  # noqa: BLE001 - a bug in a login is one more that failed
            self._bug(error)

    def _dialogue(self, usable: Credentials, send: Send, why: str) -> Dialogue:
        rejected = self.ledger.history.rejected
        return Dialogue(
            account=self.account.name,
            ledger=self.ledger,
            clock=self._clock,
            send=send,
            secrets=self._secrets,
            why=why,
            word=self._asked.word if self._asked else rejected.word if rejected else None,
            endpoints=self.account.endpoints,
            totp_secret=usable.totp_secret if isinstance(usable, Totp) else None,
            ask_for_otp=self._ask_for_otp,
            skew=self._skew,
        )

    async def _log_in(self, usable: Credentials, talk: Dialogue) -> None:
        old = self.board.life() if self.board.valid() else None
        held = await log_in(
            self.account, usable, talk, old, self.ledger.history.generation + 1, self._clock
        )
        before = self.board.held
        if before and self.board.token_is_dead and before.session.token == held.session.token:
            raise LoginFailed(
                "unintelligible", "the login was accepted, and brought the token that is dead"
            )
        await self._learn_edge(old, held)
        await self._publish(held, talk.why)
        self._tell(
            f"{self.account.name}: logged in, a {held.session.kind} session "
            f"until {held.session.expires_at_rfc3339}",
            failed=False,
        )

    async def _learn_edge(self, old: policy.Life | None, held: Held) -> None:
        """Note what the login says of the day's edge."""
        edge = self.ledger.history.edge
        known = learn(edge, None if old is None else (old.begin, old.end), span(held))
        if known != edge and self.account.rules.edge == "auto":
            line = EdgeKnown(edge=known, **stamp(self._clock))
            await record(self.ledger, line, self.account.name)
            log.event(
                "edge", account=self.account.name, ends="forgotten" if known is None else known
            )

    async def _renew_bearer(self, usable: Credentials, talk: Dialogue) -> None:
        old = self.board.held
        if old is None or isinstance(usable, Totp):
            return
        held = await renew_bearer(
            self.account, usable, talk, old, self.ledger.history.generation + 1, self._clock
        )
        await self._publish(held, talk.why, bearer=True)

    async def _publish(self, held: Held, why: str, *, bearer: bool = False) -> None:
        session = held.session
        line = Published(
            generation=session.generation,
            expires_at=session.expires_at,
            bearer=bearer,
            **stamp(self._clock),
        )
        # In this order: what a bot has seen is not lost to a kill, no generation is seen twice, and
        # what is kept is never older than the ledger.
        if not bearer:
            self._got_with, self._got_by = self._secrets, login_of(self.account)
        await self._keep(held)
        await record(self.ledger, line, self.account.name)
        self._bearer_from_reject = bearer and self._bearer_rejected > 0
        self._bearer_rejected = 0
        self._failing = self._blocked_told = False
        self._outdated = self._outdated and bearer
        self.outcomes[self._doing, "accepted"] += 1
        self.lateness = None if self._due is None else self.overdue
        self._due = None
        self._drawn = self._draw()
        self._asked_at = -ALIVE_FOR
        self.board.publish(held)
        # At once, so that who is told of the session is not told that it is being renewed.
        self.board.stand(self._standing(self._decide()))
        self._answer(Answer("renewed", f"generation {session.generation}: {why}"))
        fields = {
            "account": session.account,
            "generation": session.generation,
            "kind": session.kind,
            "expires": session.expires_at_rfc3339,
            "why": why,
        }
        if bearer:  # which may be renewed every hour: no news
            log.debug("session", **fields)
        else:
            log.event("session", **fields)
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
        self.outcomes[self._doing, kind] += 1
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
        self.board.tell("login_failed", "; ".join(filter(None, (detail, action))))
        self._tell(f"{self.account.name}: {detail}", failed=True)
        self._defer(f"the renewal failed: {detail}")

    async def _adopt(self, wanted: Adopting) -> None:
        self._adopting = None
        before, self.account = self.account, wanted.account
        known, self._secrets = self._secrets, ""
        await self._see_secrets()
        same = before == self.account
        if not self._secrets:
            wanted.detail = "unchanged" if same else "changed"
            wanted.detail += "; its secrets cannot be had now"
            # Where they stand in the way, the next attempt waits longer for them, and judges again.
            stuck = policy.barred(self._clock.wall(), self.ledger.history, known)
            self._secrets = known if same and not stuck else ""
        elif same and self._secrets == known:
            wanted.detail = "unchanged"
        else:
            got = self._got_with, self._got_by
            others = got != (self._secrets, login_of(self.account))
            self._outdated = others and self.board.valid() is not None
            wanted.detail = "changed" + ("; logs in with what is new" if self._outdated else "")
            if self._secrets != known or _asks(before) != _asks(self.account):
                self._trouble = None  # it may have been of what is no more
        self.board.margin = self.account.rules.margin
        self._ready_by = ready_by_next(self.account.rules.hours, self._clock.wall())
        wanted.taken_up.set()

    async def _give_up_pending(self) -> None:
        """Write of an attempt that nothing will be heard of any more that it was unanswered."""
        if lost := self.ledger.history.pending:
            await record(
                self.ledger,
                Outcome(
                    id=lost.id,
                    result="unanswered",
                    detail="neod stopped waiting for the answer",
                    **stamp(self._clock),
                ),
                self.account.name,
            )

    # Secrets, and the session on disk

    async def _read_secrets(self) -> tuple[Credentials, str]:
        """The credentials, and their fingerprint. Raises SecretUnavailable."""
        found = await read_all(self.account, self._environ, self._hide)
        usable = credentials(self.account, found, self._clock.wall())
        return usable, await self.ledger.fingerprint(to_fingerprint(self.account, found))

    async def _see_secrets(self) -> None:
        """Learn which secrets there are now, if they can be had soon."""
        # The attempt that follows meets what is wrong with them again, and says so.
        with suppress(SecretUnavailable), trio.move_on_after(SECRETS_SOON):
            _, self._secrets = await self._read_secrets()

    def _take_up(self, kept: Kept) -> str:
        """Go on with the session of before a restart, if it may be; else returns why not.

        This is done ahead of all that takes time, so that nobody who comes meanwhile goes without.
        """
        history, generation = self.ledger.history, kept.held.session.generation
        rejected = history.rejected
        self._unknown = kept.held if generation > history.generation else None
        if why := unusable(kept, self.account, self._clock):
            return why
        if rejected and (rejected.generation, rejected.verdict) == (generation, "dead"):
            return "the broker has called it dead"
        if generation < history.generation:
            return f"generation {history.generation} was there after it"
        self._got_with, self._got_by = kept.secrets, kept.login
        self.board.publish(kept.held)
        log.event("resumed", account=self.account.name, generation=generation)
        return ""

    async def _settle_kept(self) -> None:
        """See to what follows from what was kept."""
        if self._unknown:  # the ledger was lost
            session = self._unknown.session
            line = Published(
                generation=session.generation,
                expires_at=session.expires_at,
                **stamp(self._clock),
            )
            await record(self.ledger, line, self.account.name)
        if self._not_resumed:
            log.event("not_resumed", account=self.account.name, why=self._not_resumed)
            await self._drop()
        await self._see_secrets()
        # Secrets that cannot be had now are no reason for a login, nor others to withhold what
        # the ones of before have brought.
        known = self._secrets and self._got_with
        self._outdated = bool(known) and self._secrets != self._got_with

    async def _keep(self, held: Held) -> None:
        kept = Kept(held=held, secrets=self._got_with, login=self._got_by)
        try:
            await self.store.save(kept)
        except OSError as error:
            why = f"the session will not outlive a restart: {error.strerror}"
            log.warning("store", account=self.account.name, why=why)
            await self._drop()  # an older one must not come back in its place

    async def _drop(self) -> None:
        try:
            await self.store.drop()
        except OSError as error:
            log.warning("store", account=self.account.name, why=error.strerror)


def _asks(account: Account) -> tuple[str, Secret | None]:
    """How the broker is asked for a login, but for the secrets."""
    return login_of(account), account.proxy
