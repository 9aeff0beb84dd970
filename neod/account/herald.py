"""Tells where an account stands: its board, those who watch, and the log; each thing once.

Learns it from the keeper. Nothing that neod does depends on what is told here.
"""

from neod import log
from neod.account import policy
from neod.account.edge import DAY
from neod.account.history import TEN_MINUTES
from neod.account.hours import ready_by_next
from neod.account.ledger import Ledger
from neod.account.policy import Decision, Rules
from neod.account.session import Board, Failure, Session, Standing
from neod.clock import Clock

READY_BY_LATE = 300.0  # seconds after it that it is still told that there was no session


class Herald:
    """Of one account. `ready_by` is epoch seconds, when it is next told that none is ready."""

    def __init__(self, board: Board, ledger: Ledger, clock: Clock, rules: Rules) -> None:
        self.ready_by: float | None
        self._board = board
        self._ledger = ledger
        self._clock = clock
        self._failing = False
        self._last_failure: Failure | None = None
        self._stood = board.standing.state  # by the last decision
        self._was_paused = ledger.history.paused
        self._contended_told = 0.0  # until when a contention was told of
        self._blocked_told = False  # though it is tried again and again, as a secret is
        self._lapse_told = 0  # the generation whose lapse was logged
        self.go_by(rules)

    def go_by(self, rules: Rules) -> None:
        """Have these rules from now on."""
        self._rules = rules
        self._board.margin = rules.margin
        self.ready_by = ready_by_next(rules.hours, self._clock.wall())

    def stand(self, decision: Decision, skew: float | None) -> None:
        """Tell of a decision; `skew` is how many seconds this clock is ahead of the broker's."""
        self._say_whether_ready(decision)
        before, self._stood = self._stood, decision.state
        if before != decision.state:
            log.debug("state", account=self._board.account, state=decision.state, why=decision.why)
        self.post(decision, skew)
        history = self._ledger.history
        if history.paused != self._was_paused:
            self._was_paused = history.paused
            self._board.tell("paused" if history.paused else "resumed", decision.why)
        state = decision.state
        if state != before and state in ("otp_needed", "credentials_rejected", "blocked"):
            if not (state == "blocked" and self._blocked_told):
                self._board.tell(state, decision.why)
            self._blocked_told |= state == "blocked"
        until = policy.contended_until(self._clock.wall(), history)
        if until and decision.why == policy.contended(until):
            self.contended(until)

    def post(self, decision: Decision, skew: float | None) -> None:
        """Put it on the board, and tell nobody else: more is to come."""
        now, before, history = self._clock.wall(), self._board.standing, self._ledger.history
        self._board.stand(
            Standing(
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
                clock_skew=skew,
            )
        )

    def _say_whether_ready(self, decision: Decision) -> None:
        now = self._clock.wall()
        ready_by, self.ready_by = self.ready_by, ready_by_next(self._rules.hours, now)
        # A machine that slept through it wakes to a day that may be over.
        missed = ready_by is not None and 0 <= now - ready_by < READY_BY_LATE
        if missed and self._board.valid() is None:
            log.warning("not_ready_by", account=self._board.account, why=decision.why)
            self._board.tell("not_ready_by", decision.why)

    def contended(self, until: float) -> None:
        """Another program seems to log in, so rejects lead to nothing until then."""
        if until > self._contended_told:
            self._contended_told = until
            self._board.tell("contended", policy.contended(until))

    def unblocked(self) -> None:
        """A person has seen to it: the next time it is blocked is news."""
        self._blocked_told = False

    def failed(self, failure: Failure) -> None:
        """An attempt did."""
        self._failing = True
        self._last_failure = failure
        log.warning(
            "login_failed",
            account=self._board.account,
            kind=failure.kind,
            detail=failure.detail,
            action=failure.action,
        )
        said = "; ".join(filter(None, (failure.detail, failure.action)))
        self._board.tell("login_failed", said)

    def succeeded(self) -> None:
        """An attempt did, and what it brought is about to be put up."""
        self._failing = self._blocked_told = False

    def session(self, session: Session, why: str, *, bearer: bool) -> None:
        """Log the session that was put up; where `bearer`, that alone is new."""
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

    def lapsed(self, generation: int, *, planned: bool) -> bool:
        """The session has; returns whether that is news. At the day's edge it was to be so."""
        if generation == self._lapse_told:
            return False
        self._lapse_told = generation
        if planned:  # the next login is due right after it
            log.event("expired", account=self._board.account, generation=generation)
        else:
            log.warning("expired", account=self._board.account, generation=generation)
        return True
