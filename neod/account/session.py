"""A session as an immutable snapshot, and the board where one account's is up for all to see.

A board has one writer, its account's keeper, and any number of readers, which wait for its
`changed`. It knows no broker and no socket; it is the one place that says whether a session is
valid.
"""

import math
from typing import Literal, Never

import msgspec
import trio

from neod.account.events import Event, Events, News
from neod.account.policy import MARGIN, Life, State
from neod.clock import Clock, wait_until

SAME = 1.0  # seconds: the clocks drift apart so far without one of them having been set


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the wire calls the session, whole: a new token never goes with an old sid.

    Times are epoch seconds; each has its RFC 3339 twin for India beside it.
    """

    account: str
    generation: int
    kind: Literal["view", "trade"]
    token: str
    sid: str
    rid: str | None
    server_id: str | None
    base_url: str | None
    ucc: str | None
    greeting_name: str | None
    data_center: str | None
    is_trial_account: bool | None
    password_expired: bool | None
    scope: tuple[str, ...]
    source_address: str | None
    issued_at: int
    issued_at_rfc3339: str
    expires_at: int
    expires_at_rfc3339: str
    token_expires_at: int
    token_expires_at_rfc3339: str
    bearer_expires_at: int | None
    bearer_expires_at_rfc3339: str | None
    headers: dict[str, str]
    extra: dict[str, object]

    def __repr__(self) -> str:
        return f"Session(account={self.account!r}, generation={self.generation}, token=***)"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A session with the instants that only this process knows.

    `token_boot` and `bearer_boot` are CLOCK_BOOTTIME deadlines, fixed when token and bearer
    arrived: a wall clock that is set back later does not make them live longer.
    """

    session: Session
    received_at: float  # wall clock, when the token came
    token_boot: float
    bearer_received_at: float
    bearer_boot: float | None
    bearer_renewable: bool
    stuck: bool = False  # a renewal brought the same end: no use asking again before it
    bearer_stuck: bool = False  # the same of the bearer

    def token_left(self, clock: Clock) -> float:
        """Seconds that the token lives yet, by the clock that grants it less."""
        wall = self.session.token_expires_at - clock.wall()
        return min(wall, self.token_boot - clock.boot())

    def bearer_left(self, clock: Clock) -> float:
        """Seconds that the bearer lives yet; infinite if it does not end."""
        if self.session.bearer_expires_at is None or self.bearer_boot is None:
            return math.inf
        wall = self.session.bearer_expires_at - clock.wall()
        return min(wall, self.bearer_boot - clock.boot())

    def left(self, clock: Clock) -> float:
        """Seconds that the session lives yet: token and bearer."""
        return min(self.token_left(clock), self.bearer_left(clock))

    @property
    def lives(self) -> float:
        """Seconds that what ends first, token or bearer, was to live when it came."""
        session, bearer_end = self.session, self.session.bearer_expires_at
        if bearer_end is not None and bearer_end < session.token_expires_at:
            return bearer_end - self.bearer_received_at
        return session.token_expires_at - self.received_at


class Failure(msgspec.Struct, frozen=True):
    """The last attempt that failed, for `status`."""

    at: float
    kind: str  # one of neod.kotak.replies.Kind, or "ledger", or "internal_error"
    detail: str
    action: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account stands, apart from its session."""

    state: State
    since: float  # epoch seconds
    why: str
    next: float | None = None  # epoch seconds: when neod does something by itself
    failing: bool = False  # the last attempt failed
    last_failure: Failure | None = None
    logins: tuple[int, int] = (0, 0)  # counted within 10 minutes, within a day
    clock_skew: float | None = None  # seconds that this clock is ahead of the broker's


class Board:
    """What is known of one account: its session, where it stands, and an event for changes.

    `margin` is how many seconds ahead of its end, at most, a session is said to be expiring.
    """

    def __init__(
        self, account: str, clock: Clock, news: News | None = None, *, margin: float = MARGIN
    ) -> None:
        self.account = account
        self.clock = clock
        self.news = news or News()
        self.events = Events(self.news)
        self.margin = margin
        self.changed = trio.Event()
        self.closed = ""  # why nothing more will come
        self.standing = Standing(
            state="starting", since=clock.wall(), why="there is no session yet"
        )
        self._held: Held | None = None
        self._lapsed = False
        self._token_dead = False
        self._told: set[Event] = set()  # of the session that is up: that it nears its end, or has

    @property
    def held(self) -> Held | None:
        """The last session that was published, valid or not."""
        return self._held

    @property
    def token_is_dead(self) -> bool:
        """True if it was seen past its end, or the broker was seen to say so."""
        return self._token_dead

    def valid(self) -> Held | None:
        """The session if it is valid now. One that was ever seen lapsed stays so."""
        if self._held is None:
            return None
        self._token_dead = self._token_dead or self._held.token_left(self.clock) <= 0
        self._lapsed = self._lapsed or self._token_dead or self._held.left(self.clock) <= 0
        return None if self._lapsed else self._held

    def life(self) -> Life | None:
        """The session's times as policy sees them; None before the first session.

        Ends are by the clock that grants less: after a step back, the wall clock promises more
        than there is.
        """
        held = self._held
        if held is None:
            return None
        lapsed = self.valid() is None
        bearer_end = held.session.bearer_expires_at
        planned = None if bearer_end is None else self._plan(bearer_end, held.bearer_boot)
        if lapsed and not self._token_dead:
            planned = 0.0  # it was the bearer
        return Life(
            begin=held.received_at,
            end=self._plan(held.session.token_expires_at, held.token_boot),
            alive=not self._token_dead,
            stuck=held.stuck,
            bearer_begin=held.bearer_received_at,
            bearer_end=planned,
            bearer_renewable=held.bearer_renewable,
            bearer_stuck=held.bearer_stuck,
        )

    def _plan(self, end: float, boot: float | None) -> float:
        """An end to plan with, epoch seconds: what the boot clock leaves, if that is less."""
        if boot is None:
            return end
        by_boot = self.clock.wall() + boot - self.clock.boot()
        return end if by_boot > end - SAME else by_boot

    def publish(self, held: Held) -> None:
        """Put up a new session."""
        same_token = self._held is not None and self._held.session.token == held.session.token
        self._held = held
        # A token that was seen dead stays so, whatever bearer comes with it.
        self._lapsed = self._token_dead = self._token_dead and same_token
        self._told.clear()
        if self.valid():
            self.tell("session", f"until {held.session.expires_at_rfc3339}")
        self._announce()

    def lapse(self) -> None:
        """The broker was seen to call the token dead: it is, whatever the clocks say."""
        self._lapsed = self._token_dead = True
        self.look()
        self._announce()

    def tell(self, event: Event, detail: str) -> None:
        """Tell those who watch of something that has just happened."""
        self.events.add(event, self.clock.wall(), detail)

    def look(self) -> float | None:
        """Tell of the session's end where it is near, or was reached; returns when to look again.

        In epoch seconds; None where there is no end to come.
        """
        held = self._held
        if held is None:
            return None
        ends = held.session.expires_at_rfc3339
        if self.valid() is None:
            self._tell_once("expired", f"generation {held.session.generation} has lapsed")
            return None
        left, near = held.left(self.clock), min(self.margin, held.lives / 4)
        if left > near:
            return self.clock.wall() + left - near
        self._tell_once("expiring", f"generation {held.session.generation} ends at {ends}")
        return self.clock.wall() + left

    def _tell_once(self, event: Event, detail: str) -> None:
        if event not in self._told:
            self._told.add(event)
            self.tell(event, detail)

    async def watch_the_end(self) -> Never:
        """Tell of each session's end in time, whatever its keeper is busy with."""
        while True:
            changed = self.changed
            await wait_until(self.look(), self.clock, changed)

    def stand(self, standing: Standing) -> None:
        """Put up where the account stands now."""
        if standing != self.standing:
            self.standing = standing
            self._announce()

    def close(self, why: str = "neod is stopping") -> None:
        """Tell all who wait that nothing more will come."""
        self.closed = why
        self._announce()
        self.news.announce()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
