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
from neod.account import policy
from neod.account.credentials import Credentials, credentials, read_all, to_fingerprint
from neod.account.dialogue import CalledOff, Dialogue, NotWritten, record, stamp
from neod.account.doubts import Doubts
from neod.account.edge import DAY, learn
from neod.account.herald import Herald
from neod.account.history import EdgeKnown, Outcome, Published, Unblocked, Word
from neod.account.kept import KeptSession
from neod.account.ledger import Ledger
from neod.account.login import log_in, renew_bearer, span
from neod.account.pause import Pause
from neod.account.rejection import Answer
from neod.account.session import Board, Failure, Held
from neod.account.store import Kept, Store, login_of
from neod.account.wishes import Adopting, Asked, NotUnblocked, Rejecting, Wishes
from neod.clock import Clock, wait_until
from neod.config import Account
from neod.kotak.client import Send
from neod.kotak.evidence import Evidence
from neod.kotak.flows import Request, Totp
from neod.kotak.replies import LoginFailed, Reply
from neod.secrets import Secret, SecretUnavailable

LOGIN_TIME = 60.0  # seconds for a login, whatever the number of its requests
OTP_TIME = 300.0  # seconds that a person has to type an OTP
SECRETS_SOON = 2.0  # seconds in which secrets have to be had where no login is waiting for them
STUCK = 600.0  # seconds that no turn takes, be there an OTP to wait for in it
BUG_PAUSE = 5.0  # seconds after a bug, so that it does not spin
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
        self._wishes = Wishes()
        self._herald = Herald(board, ledger, clock, account.rules)
        self._doubts = Doubts(board, ledger, self._herald, clock=clock, ask=self._ask)
        self._pause = Pause(board, ledger, self._wishes, clock)
        self._kept = KeptSession(board, ledger, store, clock)
        self._drawn = draw()  # holds still while a session lives, else it would creep
        self._secrets = ""  # their fingerprint
        self._changes = 0  # how often in a row they were others than the last time
        self._outdated = False  # the session was got with credentials that are others by now
        self._trouble: policy.Trouble | None = None
        self._skew: float | None = None
        self._deadline = trio.CancelScope()  # of the login that is under way
        self._doing = "login"
        self._due: float | None = None  # epoch seconds, when the next renewal is
        self._turned_at = math.inf  # trio's time; it has not begun yet
        # What came of logins, and of bearers alone, since the start.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.lateness: float | None = None  # seconds that the last renewal was late
        if kept:
            self._kept.resume(kept, account)

    async def run(self) -> None:
        """Keep the session, for ever."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.board.watch_the_end)
                await self._guarded(self._begin)
                while True:
                    await self._guarded(self._turn)
        finally:
            # Who keeps the account next has to know what was: a stop, and a reload, may be that.
            with trio.CancelScope(shield=True):
                await self._catch_up()

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
        await self._give_up_pending("neod ended before the answer came", cut=True)
        await self._kept.settle()
        with trio.move_on_after(SECRETS_SOON):
            await self._see_secrets()
        # Secrets that cannot be had now are no reason for a login, nor others to withhold what
        # the ones of before have brought.
        kept = self._kept
        changed = (self._secrets or kept.secrets, login_of(self.account))
        self._outdated = bool(kept.login) and changed != (kept.secrets, kept.login)

    async def _turn(self) -> None:
        """See what is to be done, and do it, or wait until that may have changed."""
        self._turned_at = trio.current_time()
        wishes = self._wishes
        if wishes.adopting:
            await self._adopt(wishes.adopting)
        if wishes.rejecting:
            await self._look_into(wishes.rejecting)
        if wishes.asked and policy.barred(self._clock.wall(), self.ledger.history, self._secrets):
            with trio.move_on_after(LOGIN_TIME):  # they may be others by now, and somebody waits
                await self._see_secrets()
        asked = wishes.asked
        decision = self._decide(asked=asked is not None)
        await self._stand(decision)
        if decision.do != "wait":
            await self._attempt(decision)
            await self._give_up_pending("neod stopped waiting for the answer")
            return
        if asked:  # who came only since is heard at the next turn
            wishes.tell(decision.why, failed=True)
        wishes.defer(decision.why)
        await self._catch_up()
        # A wish that came since has woken it already.
        await wait_until(self._next_look(decision), self._clock, wishes.news)
        wishes.news = trio.Event()

    async def _catch_up(self) -> None:
        """Have in the ledger what its disk did not take: a pause, or a generation that was seen."""
        with suppress(OSError):
            await self.ledger.catch_up()

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
        self._wishes.wake()

    # What people and bots may wish

    async def adopt(self, account: Account) -> str:
        """Go on with this configuration and with the secrets as they are now; returns what follows.

        The session is served all the while; if the credentials are others, a login follows.
        """
        return await self._wishes.adopt(account)

    async def forget(self) -> None:
        """Leave nothing of the session on the disk, and nobody who waits for a login.

        Not to be called while this runs, nor to be run again.
        """
        self._wishes.tell(f"{self.account.name}: {self.board.closed}", failed=True)
        self._wishes.answer(Answer("deferred", self.board.closed))
        await self._kept.drop()

    async def renew(self, word: Word) -> Asked:
        """Log in on a person's word; returns when that has ended, or waits for an OTP.

        A login that is under way serves as well as another one would.
        """
        if self.waits_for_otp:
            why = f"{self.account.name}: {self.board.standing.why}"
            return Asked(trio.Event(), word, why)
        return await self._wishes.login(word)

    async def give_otp(self, code: Secret, word: Word) -> Asked | None:
        """Hand the login its OTP, and wait for what comes of it; None if none waits for one."""
        return await self.renew(word) if self._wishes.give_otp(code) else None

    @property
    def waits_for_otp(self) -> bool:
        return self._wishes.otp is not None

    async def reject(self, generation: int, evidence: Evidence, word: Word) -> Answer | None:
        """What comes of a bot's word that a session was refused; None if there never was one."""
        answer = self._doubts.weigh(generation, evidence)
        if answer or self.board.held is None:
            return answer
        return await self._wishes.reject(generation, evidence, word)

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
        # Of others too, since the broker counts what it refuses in a row.
        refused = sum(known.refusals for known in history.suspects if now - known.refused_at < DAY)
        if refused >= 2 and not force:
            raise NotUnblocked(
                f"the broker refused credentials {refused} times within 24 hours; "
                "a third refusal may lock the account for a day. "
                "Correct them first, or say --force"
            )
        await self.ledger.append(Unblocked(word=word, **stamp(self._clock)))
        self._trouble = None
        self._herald.unblocked()
        self._wishes.wake()
        when = "once neoctl resume is said" if history.paused else "and tried as soon as it may be"
        return f"{self.account.name}: one more login is allowed, {when}"

    async def pause(self, word: Word) -> str:
        """No login by itself from now on, over restarts too; returns what that means."""
        return await self._pause.begin(word)

    async def resume(self, word: Word) -> str:
        """Logins by itself again; returns what follows."""
        return await self._pause.end(word)

    async def _ask_for_otp(self) -> Secret:
        """Wait for a person's code. Raises LoginFailed."""
        wanted = self._wishes.want_otp()
        why = "an OTP was sent; type it within 5 minutes: neoctl otp"
        await self._stand(policy.Decision("wait", "otp_needed", why, self._clock.wall() + OTP_TIME))
        self._wishes.tell(f"{self.account.name}: {why}", failed=False)
        self._wishes.defer(why)
        log.event("otp_needed", account=self.account.name)
        self._deadline.relative_deadline = OTP_TIME + LOGIN_TIME
        with trio.move_on_after(OTP_TIME):
            await wanted.given.wait()
        self._wishes.otp = None
        if wanted.code is None:
            raise LoginFailed("otp_needed", "no OTP was given within 5 minutes", "neoctl renew")
        self._deadline.relative_deadline = LOGIN_TIME
        await self._stand(policy.Decision("login", "renewing", "an OTP was given"))
        return wanted.code

    async def _look_into(self, rejecting: Rejecting) -> None:
        rejecting.looked_into = True
        if answer := await self._doubts.look_into(rejecting):
            self._wishes.answer(answer)

    async def _ask(self, request: Request) -> Reply:
        """Ask the broker something that is no attempt to log in."""
        async with self._connect(self.account) as send:
            return await send(request)

    # What to do now

    def _life(self) -> policy.Life | None:
        life, held = self.board.life(), self.board.held
        if life is None or held is None:
            return None
        rejected, generation = self.ledger.history.rejected, held.session.generation
        return msgspec.structs.replace(
            life,
            rejected=rejected is not None and rejected.generation == generation,
            bearer_rejected=self._doubts.bearer_rejected == generation,
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
            (at for at in (decision.at, lapse, self._herald.ready_by) if at is not None),
            default=None,
        )

    async def _stand(self, decision: policy.Decision) -> None:
        await self._see_lapse()
        if decision.state == "ok":
            self._due = decision.at
        self._herald.stand(decision, self._skew)

    async def _see_lapse(self) -> None:
        """Once a session has lapsed, nothing may bring it back: not a restart either."""
        held = self.board.held
        if held is None or self.board.valid() is not None:
            return
        generation, dead = held.session.generation, self.board.token_is_dead
        planned = self._due is not None and self._due >= held.session.expires_at
        if self._herald.lapsed(generation, planned=planned) and not dead:
            # A bearer is all that it needs; but this one is over.
            await self._kept.keep(msgspec.structs.replace(held, bearer_boot=self._clock.boot()))
        if dead:
            await self._kept.drop(generation)

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
                await self._talk(decision, usable)
        except LoginFailed as failure:
            self._failed(failure.kind, failure.detail, failure.action, failure.retry_after)
        except SecretUnavailable as failure:
            self._failed("secret_unavailable", failure.detail, failure.action)
        except trio.TooSlowError:
            self._failed("unanswered", f"the login took longer than {LOGIN_TIME:.0f} s")
        except NotWritten as error:
            self._failed(
                "ledger",
                f"the ledger cannot be written, so nothing was sent: {error}",
                error.action,
            )
        except OSError as error:
            self._failed("unavailable", f"cannot make ready to connect: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a bug in a login is one more that failed
            self._bug(error)

    async def _talk(self, decision: policy.Decision, usable: Credentials) -> None:
        async with self._connect(self.account) as send:
            talk = self._dialogue(usable, send, decision.why)
            try:
                if decision.do == "bearer":
                    await self._renew_bearer(usable, talk)
                else:
                    await self._log_in(usable, talk)
            except CalledOff:
                log.event("called_off", account=self.account.name, why="paused")
            finally:
                self._skew = talk.skew

    def _dialogue(self, usable: Credentials, send: Send, why: str) -> Dialogue:
        asked, rejected = self._wishes.asked, self.ledger.history.rejected
        return Dialogue(
            account=self.account.name,
            ledger=self.ledger,
            clock=self._clock,
            send=send,
            secrets=self._secrets,
            why=why,
            word=asked.word if asked else rejected.word if rejected else None,
            endpoints=self.account.endpoints,
            totp_secret=usable.totp_secret if isinstance(usable, Totp) else None,
            ask_for_otp=self._ask_for_otp,
            called_off=self._called_off,
            skew=self._skew,
        )

    async def _called_off(self) -> bool:
        """Whether the login that is under way is by itself, and a person has said pause since."""
        paused = await self._pause.holds()
        return paused and self._doing == "login" and self._wishes.asked is None

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
        self._wishes.tell(
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
        self._deadline.deadline = math.inf  # it has come: a disk that is slow makes it no failure
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
            self._kept.got_with(self._secrets, self.account)
        await self._kept.keep(held)
        await record(self.ledger, line, self.account.name)
        self._doubts.published(bearer=bearer)
        self._herald.succeeded()
        self._outdated = self._outdated and bearer
        self.outcomes[self._doing, "accepted"] += 1
        self.lateness = None if self._due is None else self.overdue
        self._due = None
        self._drawn = self._draw()
        self.board.publish(held)
        # At once, so that who is told of the session is not told that it is being renewed.
        self._herald.post(self._decide(), self._skew)
        self._wishes.answer(Answer("renewed", f"generation {session.generation}: {why}"))
        self._herald.session(session, why, bearer=bearer)

    def _failed(
        self, kind: str, detail: str, action: str = "", retry_after: float | None = None
    ) -> None:
        now = self._clock.wall()
        self.outcomes[self._doing, kind] += 1
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
        failure = Failure(at=now, kind=kind, detail=detail, action=action)
        self._herald.failed(failure)
        self._wishes.tell(f"{self.account.name}: {detail}", failed=True, failure=failure)
        self._wishes.defer(f"the renewal failed: {detail}")

    async def _adopt(self, wanted: Adopting) -> None:
        self._wishes.adopting = None
        before, self.account = self.account, wanted.account
        known, self._secrets = self._secrets, ""
        with trio.move_on_after(SECRETS_SOON) as soon:
            await self._see_secrets()
        same = before == self.account
        if not self._secrets:
            wanted.detail = "unchanged" if same else "changed"
            slow = soon.cancelled_caught
            wanted.detail += "; its secrets " + ("take their time" if slow else "cannot be had now")
            # Where they stand in the way, the next attempt waits longer for them, and judges again.
            stuck = policy.barred(self._clock.wall(), self.ledger.history, known)
            self._secrets = "" if stuck else known
        elif same and self._secrets == known:
            wanted.detail = "unchanged"
        else:
            got = self._kept.secrets, self._kept.login
            others = got != (self._secrets, login_of(self.account))
            self._outdated = others and self.board.valid() is not None
            wanted.detail = "changed" + ("; logs in with what is new" if self._outdated else "")
            if self._secrets != known or _asks(before) != _asks(self.account):
                self._trouble = None  # it may have been of what is no more
        self._herald.go_by(self.account.rules)
        wanted.taken_up.set()

    async def _give_up_pending(self, why: str, *, cut: bool = False) -> None:
        """Write of an attempt that nothing will be heard of any more that it was unanswered."""
        if lost := self.ledger.history.pending:
            line = Outcome(
                id=lost.id, result="unanswered", detail=why, cut=cut, **stamp(self._clock)
            )
            await record(self.ledger, line, self.account.name)

    # Secrets

    async def _read_secrets(self) -> tuple[Credentials, str]:
        """The credentials, and their fingerprint. Raises SecretUnavailable."""
        found = await read_all(self.account, self._environ, self._hide)
        usable = credentials(self.account, found, self._clock.wall())
        return usable, await self.ledger.fingerprint(to_fingerprint(self.account, found))

    async def _see_secrets(self) -> None:
        """Learn which secrets there are now, if they can be had."""
        # The attempt that follows meets what is wrong with them again, and says so.
        with suppress(SecretUnavailable):
            _, self._secrets = await self._read_secrets()


def _asks(account: Account) -> tuple[str, Secret | None]:
    """How the broker is asked for a login, but for the secrets."""
    return login_of(account), account.proxy
