"""Which session a reader gets, or why none: the order of the wire, which docs/protocol.md tells.

Knows no request and no route, and causes nothing: it reads what is up on an account's board.
"""

import math

import msgspec
import trio

from neod.account.session import Board, Held
from neod.ipc.http1 import Problem

# What is waited for, however long it takes.
_HOLDS = frozenset({"not_ready", "broker_unavailable", "otp_needed", "min_valid_unreachable"})
_CORRECT = "correct them, then: neoctl renew; or, if they are right: neoctl unblock"


class Wanted(msgspec.Struct, frozen=True):
    """What a reader asks of a session."""

    min_valid: float = 0.0  # seconds
    after: int | None = None  # a generation


async def held(board: Board, wanted: Wanted, wait: float) -> Held:
    """The session that is wanted, waiting up to `wait` seconds for it. Raises Problem."""
    end = trio.current_time() + wait
    while True:
        changed = board.changed
        try:
            return check(board, wanted)
        except Problem as problem:
            left = end - trio.current_time()
            if left <= 0 or not _worth_waiting(problem, left):
                raise
        with trio.move_on_after(left):
            await changed.wait()


def _worth_waiting(problem: Problem, left: float) -> bool:
    if problem.code in _HOLDS:
        return True
    return problem.retry_after is not None and problem.retry_after <= left


def check(board: Board, wanted: Wanted) -> Held:
    """The session if it is valid and as wanted now. Raises Problem, in the order of the wire."""
    valid = board.valid()
    standing = board.standing
    wait = None if standing.next is None else max(0.0, standing.next - board.clock.wall())
    if valid is not None:
        left = valid.left(board.clock)
        generation = valid.session.generation
        # A generation from the future is one of a daemon whose ledger was lost: no reason to wait.
        too_old = wanted.after is not None and generation == wanted.after
        if left >= wanted.min_valid and not too_old:
            return valid
        if board.closed:
            raise Problem("shutting_down", board.closed)
        if left < wanted.min_valid:
            detail = f"the session is valid for {math.floor(left)} s yet; {standing.why}"
            raise Problem("min_valid_unreachable", detail, retry_after=wait)
        detail = f"generation {generation} is the newest; {standing.why}"
        raise Problem("not_ready", detail, retry_after=wait)
    if board.closed:
        raise Problem("shutting_down", board.closed)
    raise _none_valid(board, wait)


def _none_valid(board: Board, wait: float | None) -> Problem:
    standing = board.standing
    failure = standing.last_failure
    told = failure.detail if failure and standing.failing else ""
    action = failure.action if failure and standing.failing else ""
    why = f"{standing.why}: {told}" if told else standing.why
    match standing.state:
        case "credentials_rejected":
            return Problem("credentials_rejected", standing.why, action=_CORRECT, retry_after=wait)
        case "blocked":
            # What ends by itself is a cause on this machine; the ledger's block only a person ends.
            mends = action if wait is not None and action else "neoctl unblock"
            return Problem("blocked", why, action=mends, retry_after=wait)
        case "otp_needed":
            # Only while a code is waited for does it end by itself.
            mends = action or "neoctl renew" if wait is None else "neoctl otp"
            return Problem("otp_needed", why, action=mends, retry_after=wait)
        case "paused":
            return Problem("paused", why, action="neoctl resume", retry_after=wait)
        case "login_budget":
            return Problem("login_budget", why, retry_after=wait)
    if standing.failing:
        return Problem("broker_unavailable", why, action=action, retry_after=wait)
    return Problem("not_ready", why, retry_after=1.0 if wait is None else wait)
