"""The lines of the ledger, and what they amount to. Pure.

An attempt is written before its request goes out and its outcome after the reply, so an attempt
without an outcome is one whose reply nobody saw: for an account that may be locked, that is a
possible refusal.
"""

from typing import Literal, TypedDict

import msgspec

from neod.account.edge import DAY, Edge

Step = Literal["bearer", "login"]
Result = Literal[
    "accepted", "rejected", "rate_limited", "unavailable", "unanswered", "unintelligible"
]
KEPT = 8  # sets of refused secrets that are remembered
ANY_SECRETS = "*"  # stands for all secrets, where it is not known which were refused


class Stamp(TypedDict):
    """When a line was written."""

    at: float
    time: str


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


class Outcome(Entry, frozen=True, kw_only=True, tag="outcome"):
    """What came of an attempt."""

    id: int
    result: str  # a Result; one that only a later version knows changes nothing here
    detail: str = ""


class Published(Entry, frozen=True, kw_only=True, tag="published"):
    """A snapshot got this generation."""

    generation: int
    expires_at: int


class EdgeKnown(Entry, frozen=True, kw_only=True, tag="edge"):
    """The day's edge was learnt, or forgotten."""

    edge: Edge | None


class Unblocked(Entry, frozen=True, kw_only=True, tag="unblocked"):
    """A person allowed one more attempt."""


class Refused(msgspec.Struct, frozen=True):
    """How often, since the last login that was accepted, these secrets were refused."""

    secrets: str
    times: int
    at: float  # of the last refusal
    detail: str = ""  # what was refused, and where to look


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that an account's lines amount to: what policy judges by."""

    generation: int = 0
    last_id: int = 0
    pending: Attempt | None = None
    proven: str = ""  # the secrets that were accepted last
    refused: tuple[Refused, ...] = ()
    doubted: str = ""  # the secrets that were sent and not understandably answered …
    doubts: int = 0  # … so many times in a row
    pardoned: bool = False  # a person allowed one more attempt
    logins: tuple[float, ...] = ()  # when logins were accepted or refused, within a day
    edge: Edge | None = None

    def refusals(self, secrets: str) -> Refused | None:
        """The refusals of these secrets, None if there were none."""
        return next((r for r in self.refused if r.secrets in (secrets, ANY_SECRETS)), None)


class Carried(Entry, frozen=True, kw_only=True, tag="carried"):
    """Stands for all earlier lines, which were dropped to keep the file short."""

    history: History


Line = Attempt | Outcome | Published | EdgeKnown | Unblocked | Carried


def advance(history: History, line: Line) -> History:
    """The history once this line is added to it."""
    match line:
        case Carried():
            return line.history
        case Published():
            return msgspec.structs.replace(history, generation=line.generation)
        case EdgeKnown():
            return msgspec.structs.replace(history, edge=line.edge)
        case Unblocked():
            return msgspec.structs.replace(settle(history), pardoned=True)
        case Attempt():
            return msgspec.structs.replace(
                settle(history),
                pending=line,
                last_id=line.id,
                pardoned=history.pardoned and line.step == "bearer",
            )
        case Outcome():
            attempt = history.pending
            if attempt is None or attempt.id != line.id:
                return history
            return _end(history, attempt, line.result, line.at, line.detail)


def settle(history: History) -> History:
    """The history with an attempt that never got its outcome counted as unanswered."""
    if history.pending is None:
        return history
    return _end(history, history.pending, "unanswered", history.pending.at)


def _end(history: History, attempt: Attempt, result: str, at: float, detail: str = "") -> History:
    secrets = attempt.secrets
    history = msgspec.structs.replace(history, pending=None)
    is_login = attempt.step != "bearer"
    if is_login and result in ("accepted", "rejected"):
        recent = tuple(t for t in history.logins if at - DAY < t)
        history = msgspec.structs.replace(history, logins=(*recent, at))
    match result:
        case "accepted" if is_login:
            return msgspec.structs.replace(
                history, proven=secrets, refused=(), doubted="", doubts=0
            )
        case "rejected":
            before = history.refusals(secrets)
            others = tuple(r for r in history.refused if r is not before)[-KEPT + 1 :]
            times = before.times + 1 if before else 1
            return msgspec.structs.replace(
                history,
                refused=(*others, Refused(secrets, times, at, detail)),
                pardoned=False,
            )
        case "unanswered" | "unintelligible" if is_login:
            doubts = history.doubts + 1 if history.doubted == secrets else 1
            return msgspec.structs.replace(history, doubted=secrets, doubts=doubts)
        case _:
            return history
