"""What to make of a bot that says "the broker refused this session". Pure.

It is compare-and-set: only a reject of the session that is there can lead to anything, so any
number of bots that see the same refusal lead to one renewal. Whether it leads to one is weighed
here; whether the session is dead is asked of the broker, by another way than the bot's, by whoever
can send.
"""

from typing import Literal

import msgspec

from neod.account.policy import Life
from neod.kotak.evidence import Evidence

YOUNG = 60.0  # seconds that a session has to live before a reject of it is believed, at most

Outcome = Literal["renewed", "newer", "alive", "not_a_session_fault", "too_young", "deferred"]


class Answer(msgspec.Struct, frozen=True):
    """What a reject led to, and why."""

    outcome: Outcome
    detail: str


def weigh(
    now: float, life: Life, generation: int, current: int, evidence: Evidence
) -> Answer | None:
    """The answer to a reject that leads to nothing; None if it is to be looked into."""
    if generation != current:
        # One from the future is of a daemon whose ledger was lost: what is there is another one.
        return Answer("newer", f"generation {current} is the newest")
    if evidence.about == "other":
        return Answer("not_a_session_fault", evidence.says)
    if not life.alive or life.end <= now:
        return None
    begin, lives = life.begin, life.token_lives
    if evidence.about == "bearer" and life.bearer_renewable and life.bearer_end is not None:
        begin, lives = life.bearer_begin, life.bearer_end - life.bearer_begin
    age = now - begin
    young = min(YOUNG, max(0.0, lives) / 4)
    if 0 <= age < young:
        return Answer(
            "too_young",
            f"generation {current} is {age:.0f} s old, and a new session may take a while to be "
            f"known everywhere; it is believed from {young:.0f} s on",
        )
    return None
