"""What happens to an account, for those who watch: the newest of each kind, never a queue.

Knows no socket and no line of the wire. Who was slow learns how things stand, not all that they
went through; so nothing here grows with the number of watchers, nor with what they miss.
"""

from typing import Literal

import msgspec
import trio

Event = Literal[
    "session",
    "expiring",
    "expired",
    "login_failed",
    "otp_needed",
    "credentials_rejected",
    "blocked",
    "contended",
    "recovered",
    "paused",
    "resumed",
    "not_ready_by",
]
# What is over, and said to be, once there is a new session.
_WRONG = frozenset(
    {"login_failed", "otp_needed", "credentials_rejected", "blocked", "contended", "not_ready_by"}
)


class Happening(msgspec.Struct, frozen=True):
    """Something that happened to an account."""

    number: int  # one more than the last one's of this account
    event: Event
    at: float  # epoch seconds
    detail: str  # for a person


class News:
    """That there is something to tell of any account, or that a heartbeat is due."""

    def __init__(self) -> None:
        self.changed = trio.Event()
        self.beats = 0

    def announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def beat(self) -> None:
        """A heartbeat is due."""
        self.beats += 1
        self.announce()


class Events:
    """What has happened to one account."""

    def __init__(self, news: News) -> None:
        self.count = 0
        self._news = news
        self._newest: dict[Event, Happening] = {}  # in the order in which they happened
        self._wrong = False

    def add(self, event: Event, at: float, detail: str) -> None:
        """Tell that this has happened; after a `session` that things are well again, if so."""
        self.count += 1
        self._newest.pop(event, None)
        self._newest[event] = Happening(self.count, event, at, detail)
        if event == "session" and self._wrong:
            self._wrong = False
            self.add("recovered", at, detail)
        self._wrong = self._wrong or event in _WRONG
        self._news.announce()

    def since(self, number: int) -> list[Happening]:
        """What has happened after that number; of each kind the newest, in their order."""
        return [happening for happening in self._newest.values() if happening.number > number]
