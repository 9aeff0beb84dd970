"""The lines of the ledger, and what they amount to. Pure.

An attempt is written before its request goes out and its outcome after the reply, so an attempt
without an outcome is one whose reply nobody saw: for an account that may be locked, that is a
possible refusal.
"""

from typing import Literal, TypedDict

import msgspec

from neod.account.edge import DAY, Edge

Step = Literal["bearer", "first_factor", "login"]
Result = Literal[
    "accepted", "rejected", "rate_limited", "unavailable", "unanswered", "unintelligible"
]
# What the broker said of a session that a bot rejected, when it was asked by another way: dead,
# alive, or nothing clear. A reject that came too soon after another is put off, and says only that
# there was one.
Verdict = Literal["dead", "unclear", "alive", "put_off"]
KEPT = 8  # sets of secrets whose refusals and doubts are remembered
COOL = (300.0, 900.0, 3600.0)  # seconds that a session from a reject stands against the next one
PEACE = 3600.0  # seconds without a reject after which those before it count no more
TEN_MINUTES = 600.0  # seconds
ANY_SECRETS = "*"  # stands for all secrets, where it is not known which were refused


class Stamp(TypedDict):
    """When a line was written."""

    at: float
    time: str


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """On whose word something is done: what was asked for, and by which process."""

    verb: str  # renew, otp, reject, unblock, pause, resume; login is `neod login`
    pid: int | None = None  # None: not told
    executable: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    """One line. `at` is in epoch seconds, `time` says the same to a person."""

    at: float
    time: str


class Attempt(Entry, frozen=True, kw_only=True, tag="attempt"):
    """A request with credentials is about to go out."""

    id: int
    step: str  # a Step; whatever a later version sends is a login to this one
    secrets: str  # the fingerprint of the secrets that are tried
    why: str
    totp_step: int = 0  # which code is sent: the number of its 30 seconds since the epoch
    word: Word | None = None  # None: neod's own


class Outcome(Entry, frozen=True, kw_only=True, tag="outcome"):
    """What came of an attempt."""

    id: int
    result: str  # a Result; one that only a later version knows changes nothing here
    detail: str = ""
    totp: bool = False  # it was the code that was refused
    cut: bool = False  # neod ended while it waited for the answer; an older version passes it over


class Published(Entry, frozen=True, kw_only=True, tag="published"):
    """A snapshot got this generation."""

    generation: int
    expires_at: int
    bearer: bool = False  # only its bearer is new


class EdgeKnown(Entry, frozen=True, kw_only=True, tag="edge"):
    """The day's edge was learnt, or forgotten."""

    edge: Edge | None


class Unblocked(Entry, frozen=True, kw_only=True, tag="unblocked"):
    """A person allowed one more attempt."""

    word: Word | None = None


class Paused(Entry, frozen=True, kw_only=True, tag="paused"):
    """A person wants no login by itself."""

    word: Word | None = None


class Resumed(Entry, frozen=True, kw_only=True, tag="resumed"):
    """A person wants logins again."""

    word: Word | None = None


class Rejected(Entry, frozen=True, kw_only=True, tag="rejected"):
    """A bot said that the broker refused this generation."""

    generation: int
    verdict: str  # a Verdict; one that only a later version knows is unclear to this one
    detail: str = ""  # what the evidence means
    word: Word | None = None


class Suspect(msgspec.Struct, frozen=True):
    """What befell one set of secrets since it was last accepted, if it ever was."""

    secrets: str
    refusals: int = 0
    doubts: int = 0  # logins in a row that got no understandable answer
    refused_at: float = 0.0  # the last time
    detail: str = ""  # what was refused, and where to look
    totp: bool = False  # the last refusal was of the code, and the next code may do


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that an account's lines amount to: what policy judges by."""

    generation: int = 0
    last_id: int = 0
    pending: Attempt | None = None
    proven: str = ""  # the secrets that were accepted last
    suspects: tuple[Suspect, ...] = ()
    pardoned: bool = False  # a person allowed one more attempt
    # When logins were accepted or refused, within a day, and first factors accepted that led to
    # nothing yet. One that was cut off counts as accepted, or a neod that dies in each login, and
    # is started again, would log in for ever.
    logins: tuple[float, ...] = ()
    halves: tuple[float, ...] = ()
    edge: Edge | None = None
    totp_step: int = 0  # the last code that was sent
    paused: bool = False
    rejected: Rejected | None = None  # speaks of the session that is there
    rejected_at: float = 0.0  # the last reject
    expires_at: float = 0.0  # the end that the last snapshot has
    # Another program may be logging in: how many sessions came from rejects, with less than an
    # hour of peace between these, and until when the last of them is not renewed for another.
    contests: int = 0
    contended_until: float = 0.0

    def suspect(self, secrets: str) -> Suspect:
        """What befell these secrets: nothing, if they are not remembered."""
        named = {known.secrets: known for known in self.suspects}
        return named.get(secrets) or named.get(ANY_SECRETS) or Suspect(secrets)


class Carried(Entry, frozen=True, kw_only=True, tag="carried"):
    """Stands for all earlier lines, which were dropped to keep the file short."""

    history: History


Line = Attempt | Outcome | Published | EdgeKnown | Unblocked | Paused | Resumed | Rejected | Carried


def advance(history: History, line: Line) -> History:
    """The history once this line is added to it."""
    match line:
        case Carried():
            return line.history
        case Published():
            return _publish(history, line)
        case EdgeKnown():
            return msgspec.structs.replace(history, edge=line.edge)
        case Unblocked():
            return msgspec.structs.replace(history, pardoned=True)
        case Paused() | Resumed():
            return msgspec.structs.replace(history, paused=isinstance(line, Paused))
        case Rejected():
            return _reject(history, line)
        case Attempt():
            settled = settle(history)
            return msgspec.structs.replace(
                settled,
                pending=line,
                last_id=line.id,
                totp_step=max(settled.totp_step, line.totp_step),
                pardoned=settled.pardoned and line.step == "bearer",
            )
        case Outcome():
            attempt = history.pending
            ends = attempt is not None and attempt.id == line.id
            return _end(history, attempt, line) if attempt and ends else history


def settle(history: History) -> History:
    """The history with an attempt that never got its outcome counted as unanswered."""
    lost = history.pending
    if lost is None:
        return history
    return _end(history, lost, Outcome(at=lost.at, time=lost.time, id=lost.id, result="unanswered"))


def _publish(history: History, line: Published) -> History:
    before = history.rejected
    history = msgspec.structs.replace(
        history, generation=line.generation, expires_at=float(line.expires_at)
    )
    if line.bearer:  # the token is the one that was rejected, if one was
        after = before and msgspec.structs.replace(before, generation=line.generation)
        return msgspec.structs.replace(history, rejected=after)
    contests = history.contests + (before is not None)
    cool = COOL[min(contests, len(COOL)) - 1] if before else 0.0
    return msgspec.structs.replace(
        history, rejected=None, contests=contests, contended_until=line.at + cool if cool else 0.0
    )


def _reject(history: History, line: Rejected) -> History:
    # That nobody rejects what has lapsed, while a contention holds up its renewal, is no peace.
    calm = line.at - history.contended_until >= COOL[1]
    if calm and line.at - history.rejected_at >= PEACE:
        history = msgspec.structs.replace(history, contests=0, contended_until=0.0)
    stands: dict[str, Rejected | None] = {"put_off": history.rejected, "alive": None}
    return msgspec.structs.replace(
        history, rejected_at=line.at, rejected=stands.get(line.verdict, line)
    )


def _end(history: History, attempt: Attempt, outcome: Outcome) -> History:
    is_login = attempt.step != "bearer"
    # A first factor that was accepted proves nothing of the second.
    is_last = is_login and attempt.step != "first_factor"
    result = outcome.result
    history = msgspec.structs.replace(history, pending=None)
    perhaps_accepted = result == "accepted" or outcome.cut
    when = attempt.at if outcome.cut else outcome.at  # the next start may be a day later
    if (is_last and perhaps_accepted) or (is_login and result == "rejected"):
        recent = tuple(at for at in history.logins if when - DAY < at)
        # With its second factor known, what was half a login is a whole one.
        halves = history.halves[:-1] if is_last else history.halves
        history = msgspec.structs.replace(history, logins=(*recent, when), halves=halves)
    if attempt.step == "first_factor" and perhaps_accepted:
        recent = tuple(at for at in history.halves if when - TEN_MINUTES < at)
        history = msgspec.structs.replace(history, halves=(*recent, when))
    if result == "accepted" and is_last:
        return msgspec.structs.replace(history, proven=attempt.secrets, suspects=())
    before = history.suspect(attempt.secrets)
    if result in ("unanswered", "unintelligible"):
        # Once refused, they have used up their benefit of the doubt: a second chance whose
        # reply is lost was the second refusal, for all that anybody knows.
        result = "rejected" if before.refusals else "doubtful"
    if result == "rejected":
        after = Suspect(
            attempt.secrets,
            before.refusals + 1,
            before.doubts,
            outcome.at,
            outcome.detail or before.detail,
            outcome.totp,
        )
        history = msgspec.structs.replace(history, pardoned=False)
    elif result == "doubtful":
        after = msgspec.structs.replace(before, secrets=attempt.secrets, doubts=before.doubts + 1)
    else:
        return history
    others = tuple(known for known in history.suspects if known.secrets != attempt.secrets)
    return msgspec.structs.replace(history, suspects=(*others[-KEPT + 1 :], after))
