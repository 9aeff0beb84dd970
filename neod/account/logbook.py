"""The ledger's lines as a person reads them: one entry for what was done and what came of it. Pure.

Knows nothing of what the lines are good for; `neoctl logins` shows them.
"""

from collections.abc import Sequence
from typing import TypedDict

import msgspec

from neod.account.history import (
    Attempt,
    EdgeKnown,
    Line,
    Outcome,
    Paused,
    Published,
    Rejected,
    Resumed,
    Unblocked,
    Word,
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was done when, why, on whose word, and what came of it.

    `event` is login, first_factor or bearer for what was sent to the broker; else reject, unblock,
    pause, resume or edge.
    """

    at: float  # epoch seconds
    at_rfc3339: str
    event: str
    why: str = ""
    word: Word | None = None  # None: neod's own
    outcome: str | None = None  # None: nothing came of it yet
    detail: str = ""
    generation: int | None = None  # what it brought; of a reject: what was rejected


def entries(lines: Sequence[Line], *, since: float, limit: int) -> list[Entry]:
    """The newest `limit` entries that are not older than `since`, newest first."""
    found: list[Entry] = []
    open_at: dict[int, int] = {}  # an attempt's id -> where its entry is
    last = -1  # where the last attempt's is
    for line in lines:
        if isinstance(line, Attempt):
            open_at[line.id] = last = len(found)
            found.append(Entry(**_when(line), event=line.step, why=line.why, word=line.word))
        elif isinstance(line, Outcome):
            where = open_at.get(line.id)
            if where is not None:  # else its attempt is among the lines that were dropped
                found[where] = msgspec.structs.replace(
                    found[where], outcome=line.result, detail=line.detail
                )
        elif isinstance(line, Published):
            if last >= 0 and found[last].outcome == "accepted":
                found[last] = msgspec.structs.replace(found[last], generation=line.generation)
        elif entry := _at_once(line):
            found.append(entry)
    recent = [entry for entry in found if entry.at >= since]
    return recent[: -limit - 1 : -1]


def _at_once(line: Line) -> Entry | None:
    """The entry of a line that nothing comes after; None if it is not shown."""
    match line:
        case Rejected():
            return Entry(
                **_when(line),
                event="reject",
                word=line.word,
                outcome=line.verdict,
                detail=line.detail,
                generation=line.generation,
            )
        case Unblocked() | Paused() | Resumed():
            return Entry(**_when(line), event=_VERBS[type(line)], word=line.word)
        case EdgeKnown():
            ends = "forgotten" if line.edge is None else f"sessions end at {line.edge}"
            return Entry(**_when(line), event="edge", detail=ends)
    return None


_VERBS: dict[type[Line], str] = {Unblocked: "unblock", Paused: "pause", Resumed: "resume"}


class _When(TypedDict):
    at: float
    at_rfc3339: str


def _when(line: Line) -> _When:
    return {"at": line.at, "at_rfc3339": line.time}
