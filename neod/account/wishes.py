"""What people and bots wish of a keeper, and how they are told what came of it.

A wish has any number of callers and one answer, and wakes the keeper, which takes it up at its
next turn. Knows neither session nor broker, and decides nothing.
"""

import msgspec
import trio

from neod.account.history import Word
from neod.account.rejection import Answer
from neod.account.session import Failure
from neod.config import Account
from neod.kotak.evidence import Evidence
from neod.secrets import Secret

ADOPTED_SOON = 3.0  # seconds in which a change of the configuration should be taken up


class NotUnblocked(Exception):  # noqa: N818
    """`unblock` was refused; str() says why."""


class Asked(msgspec.Struct):
    """A person's wish for a login: `ended` is set when there is something to tell.

    `failure` is that of the attempt, where one was made and `failed`.
    """

    ended: trio.Event
    word: Word
    detail: str = ""
    failed: bool = False
    failure: Failure | None = None


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


class Wishes:
    """Those of one account that have no answer yet; one of a kind at a time."""

    def __init__(self) -> None:
        self.asked: Asked | None = None
        self.otp: OtpWanted | None = None
        self.rejecting: Rejecting | None = None
        self.adopting: Adopting | None = None
        self.news = trio.Event()

    def wake(self) -> None:
        """Have the keeper look again."""
        self.news.set()

    # For those who wish

    async def login(self, word: Word) -> Asked:
        """Wish for a login; returns when that has ended, or waits for an OTP."""
        asked = self.asked = self.asked or Asked(trio.Event(), word)
        self.wake()
        await asked.ended.wait()
        return asked

    def give_otp(self, code: Secret) -> bool:
        """Hand the login its OTP; False if none waits for one."""
        if self.otp is None:
            return False
        self.otp.code = code
        self.otp.given.set()
        self.otp = None
        return True

    async def reject(self, generation: int, evidence: Evidence, word: Word) -> Answer | None:
        """Have it looked into whether a session is dead; returns what came of it."""
        rejecting = self.rejecting
        if rejecting is None or rejecting.generation != generation:
            self.answer(Answer("newer", "it has been replaced"))  # to who rejected the one before
            rejecting = self.rejecting = Rejecting(trio.Event(), generation, evidence, word)
            self.wake()
        await rejecting.ended.wait()
        return rejecting.answer

    async def adopt(self, account: Account) -> str:
        """Have another configuration taken up; returns what follows from it."""
        wanted = self.adopting = Adopting(trio.Event(), account)
        self.wake()
        with trio.move_on_after(ADOPTED_SOON):
            await wanted.taken_up.wait()
            return wanted.detail
        return "taken up when the login that is under way has ended"

    # For the keeper

    def tell(self, detail: str, *, failed: bool, failure: Failure | None = None) -> None:
        """Answer who asked for a login."""
        if self.asked:
            self.asked.detail, self.asked.failed, self.asked.failure = detail, failed, failure
            self.asked.ended.set()
            self.asked = None

    def answer(self, answer: Answer) -> None:
        """Answer who rejected a session."""
        if self.rejecting:
            self.rejecting.answer = answer
            self.rejecting.ended.set()
            self.rejecting = None

    def defer(self, why: str) -> None:
        """Put off a reject that was looked into; another will be, at the next turn."""
        if self.rejecting and self.rejecting.looked_into:
            self.answer(Answer("deferred", why))

    def want_otp(self) -> OtpWanted:
        """Have the next OTP that is given."""
        self.otp = OtpWanted(trio.Event())
        return self.otp
