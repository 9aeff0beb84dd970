"""What people and bots may wish of a keeper, and how they are told what came of it.

A wish has any number of callers, and one answer.
"""

import msgspec
import trio

from neod.account.history import Word
from neod.account.rejection import Answer
from neod.config import Account
from neod.kotak.replies import Evidence
from neod.secrets import Secret


class NotUnblocked(Exception):  # noqa: N818
    """`unblock` was refused; str() says why."""


class Asked(msgspec.Struct):
    """A person's wish for a login: `ended` is set when there is something to tell."""

    ended: trio.Event
    word: Word
    detail: str = ""
    failed: bool = False


class OtpWanted(msgspec.Struct):
    """A login that waits for an OTP, which is `given` with the code."""

    given: trio.Event
    code: Secret | None = None


class Adopting(msgspec.Struct):
    """Another configuration of the account: `taken_up` is set when it is the one that counts."""

    taken_up: trio.Event
    account: Account
    detail: str = ""


class Rejecting(msgspec.Struct):
    """A reject that is being looked into: `ended` is set with the answer."""

    ended: trio.Event
    generation: int
    evidence: Evidence
    word: Word
    looked_into: bool = False
    answer: Answer | None = None
