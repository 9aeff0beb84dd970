"""A session as an immutable snapshot, and the board where one account's is up for all to see.

A board has one writer, its account's keeper, and any number of readers, which wait for its
`changed`. It knows no broker and no socket; it is the one place that says whether a session is
valid.
"""

from typing import Literal

import msgspec
import trio

from neod.account.policy import Life, State
from neod.clock import Clock


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

    def token_left(self, clock: Clock) -> float:
        """Seconds that the token lives yet, by the clock that grants it less."""
        wall = self.session.token_expires_at - clock.wall()
        return min(wall, self.token_boot - clock.boot())

    def left(self, clock: Clock) -> float:
        """Seconds that the session lives yet: token and bearer."""
        left = self.token_left(clock)
        if self.session.bearer_expires_at is not None:
            left = min(left, self.session.bearer_expires_at - clock.wall())
        if self.bearer_boot is not None:
            left = min(left, self.bearer_boot - clock.boot())
        return left


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
    """What is known of one account: its session, where it stands, and an event for changes."""

    def __init__(self, account: str, clock: Clock) -> None:
        self.account = account
        self.clock = clock
        self.changed = trio.Event()
        self.closed = False
        self.standing = Standing(
            state="starting", since=clock.wall(), why="there is no session yet"
        )
        self._held: Held | None = None
        self._lapsed = False
        self._token_dead = False

    @property
    def held(self) -> Held | None:
        """The last session that was published, valid or not."""
        return self._held

    def valid(self) -> Held | None:
        """The session if it is valid now. One that was ever seen lapsed stays so."""
        if self._held is None or self._lapsed:
            return None
        if self._held.left(self.clock) <= 0:
            self._lapsed = True
            return None
        return self._held

    def life(self) -> Life | None:
        """The session's times, for policy; None before the first session."""
        held = self._held
        if held is None:
            return None
        if held.token_left(self.clock) <= 0:
            self._token_dead = True
        return Life(
            begin=held.received_at,
            end=held.session.token_expires_at,
            alive=not self._token_dead,
            bearer_begin=held.bearer_received_at,
            bearer_end=self._bearer_end(held),
            bearer_renewable=held.bearer_renewable,
        )

    def _bearer_end(self, held: Held) -> float | None:
        """The bearer's end; in the past where the session lapsed and its token did not."""
        if self.valid() is None and not self._token_dead:
            return min(self.clock.wall(), held.session.bearer_expires_at or 0)
        return held.session.bearer_expires_at

    def publish(self, held: Held) -> None:
        """Put up a new session."""
        new_token = self._held is None or self._held.session.token != held.session.token
        self._held = held
        self._lapsed = False
        self._token_dead = self._token_dead and not new_token
        self._announce()

    def stand(self, standing: Standing) -> None:
        """Put up where the account stands now."""
        if standing != self.standing:
            self.standing = standing
            self._announce()

    def close(self) -> None:
        """Tell all who wait that nothing more will come."""
        self.closed = True
        self._announce()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
