"""neoctl for Python bots: the session as an object, its rotations, and one that is at hand.

Standard library only. Blocks; an asynchronous bot asks the socket with the client that it has.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from neoctl import client, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

LOGIN_TIME = 65.0  # seconds: neod answers a reject when what follows from it is done


def _nothing() -> Mapping[str, object]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Session:
    """The session, whole. Times are epoch seconds; docs/protocol.md says what each field is.

    What a later neod adds to it is not in here. `repr` shows no secret.
    """

    account: str
    generation: int
    kind: str
    token: str = field(repr=False)
    sid: str = field(repr=False)
    expires_at: int
    expires_at_rfc3339: str
    issued_at: int
    issued_at_rfc3339: str
    token_expires_at: int
    token_expires_at_rfc3339: str
    headers: Mapping[str, str] = field(repr=False)
    rid: str | None = field(default=None, repr=False)
    server_id: str | None = None
    base_url: str | None = None
    ucc: str | None = field(default=None, repr=False)
    greeting_name: str | None = field(default=None, repr=False)
    data_center: str | None = None
    is_trial_account: bool | None = None
    password_expired: bool | None = None
    scope: tuple[str, ...] = ()
    source_address: str | None = None
    bearer_expires_at: int | None = None
    bearer_expires_at_rfc3339: str | None = None
    extra: Mapping[str, object] = field(default_factory=_nothing, repr=False)

    def left(self) -> float:
        """Seconds that it is valid yet, by this machine's clock; below zero if it has lapsed."""
        return self.expires_at - time.time()  # noqa: TID251 - a bot has no other clock


@dataclass(frozen=True)
class Event:
    """Something that happened to an account; docs/protocol.md lists the events."""

    event: str
    account: str
    at: float  # epoch seconds
    state: str
    generation: int | None
    detail: str
    session: Session | None = None  # of the event `session`


@dataclass(frozen=True)
class Rejected:
    """What came of a reject; docs/protocol.md says what each outcome asks of a bot."""

    outcome: str
    generation: int
    detail: str


def token(account: str = "", *, min_valid: float = 0, wait: float = 0) -> str:
    """The current token. As session(), but that nothing else is read."""
    reply = client.get(
        f"/v1/token{_query(account, min_valid, wait)}", environ=os.environ, wait=wait
    )
    return reply.body.decode("ascii").rstrip("\n")


def session(account: str = "", *, min_valid: float = 0, wait: float = 0) -> Session:
    """The current session, valid for `min_valid` seconds yet; waits up to `wait` seconds for it.

    Ends within 5 seconds more than `wait`, which is at most 300. Raises Problem, whose `code` is
    one of the wire's.
    """
    return _ask(account, min_valid, wait, os.environ)


def reject(generation: int, evidence: object = None, account: str = "") -> Rejected:
    """Say that the broker refused the session of this generation. Raises Problem.

    `evidence` is any JSON: a code, or best the broker's reply as it came. Returns when what
    follows from it is done, which may be a login.
    """
    asked = {"generation": generation, "evidence": evidence, "account": account or _account()}
    body = json.dumps({name: value for name, value in asked.items() if value not in (None, "")})
    reply = client.post("/v1/reject", body.encode(), environ=os.environ, wait=LOGIN_TIME)
    told = json.loads(reply.body)
    return Rejected(told["outcome"], told["generation"], told["detail"])


def watch(account: str = "", *, after: int | None = None) -> Iterator[Event]:
    """What happens from now on, for ever; heartbeats are left out.

    The first is the session that there is, unless its generation is `after`. Where neod is
    restarted, it is connected again by itself, and no session is told twice. Raises Problem where
    neod cannot be reached at the beginning.
    """
    name = account or _account()
    for _, line in stream.events(name, after=after, environ=os.environ):
        if line["event"] != "heartbeat":
            yield _event(line)


class Follower:
    """The session at hand: follows rotations in a thread, and never hands out a lapsed one.

    Most calls cost no more than a look at the clock. If there is none that is valid, neod is asked.
    Without a name it is the account that neod means at the first call, and stays so. To be closed,
    or used in a `with`.
    """

    def __init__(self, account: str = "") -> None:
        self._account = account or _account()
        self._environ = dict(os.environ)
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._held: Session | None = None
        self._ends = 0.0  # CLOCK_BOOTTIME, which goes on in suspend and cannot be set
        self._closed = threading.Event()
        if self._account:
            self._start()

    def session(self, *, min_valid: float = 0, wait: float = 0) -> Session:
        """As the function of this name."""
        if os.getpid() != self._process:  # a fork has no thread that follows, and maybe no guard
            return _ask(self._account, min_valid, wait, self._environ)
        with self._guard:
            held, ends = self._held, self._ends
        if held is not None and min(held.left(), ends - _boot()) > max(0.0, min_valid):
            return held
        found = _ask(self._account, min_valid, wait, self._environ)
        self._take(found)
        return found

    def token(self, *, min_valid: float = 0, wait: float = 0) -> str:
        """As the function of this name."""
        return self.session(min_valid=min_valid, wait=wait).token

    def close(self) -> None:
        """Follow no more. The thread ends with the next line, a heartbeat at the latest."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _take(self, found: Session) -> None:
        with self._guard:
            if not self._account:
                self._account = found.account
                self._start()
            held = self._held
            # An answer may come late. But neod counts anew if what it counts by was lost.
            if (
                held is None
                or found.generation >= held.generation
                or found.issued_at > held.issued_at
            ):
                self._held, self._ends = found, _boot() + found.left()

    def _drop(self, generation: int | None = None) -> None:
        with self._guard:
            if self._held is not None and generation in (None, self._held.generation):
                self._held = None

    def _start(self) -> None:
        threading.Thread(target=self._follow, name="neod", daemon=True).start()

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                events = stream.events(self._account, environ=self._environ, rest=self._closed.wait)
                for _, line in events:
                    if self._closed.is_set():
                        return
                    self._see(_event(line))
            except client.Problem:  # who asks for a session is told
                self._closed.wait(stream.LONGEST_PAUSE)

    def _see(self, event: Event) -> None:
        if event.session is not None:
            self._take(event.session)
        elif event.event == "expired":
            self._drop(event.generation)
        elif event.event == "state":  # connected again: what one has may have died meanwhile
            self._drop()


def _ask(account: str, min_valid: float, wait: float, environ: Mapping[str, str]) -> Session:
    target = f"/v1/session{_query(account, min_valid, wait)}"
    return _session(json.loads(client.get(target, environ=environ, wait=wait).body))


def _session(told: Mapping[str, object]) -> Session:
    known = {f.name: told[f.name] for f in fields(Session) if f.name in told}
    known["headers"] = MappingProxyType(dict(known["headers"]))  # type: ignore[call-overload]
    known["extra"] = MappingProxyType(dict(known.get("extra") or {}))  # type: ignore[call-overload]
    known["scope"] = tuple(known.get("scope") or ())  # type: ignore[arg-type]
    return Session(**known)  # type: ignore[arg-type]


def _event(line: Mapping[str, object]) -> Event:
    found = line.get("session")
    known = {f.name: line.get(f.name) for f in fields(Event) if f.name != "session"}
    session = _session(found) if isinstance(found, dict) else None
    return Event(**known, session=session)  # type: ignore[arg-type]


def _query(account: str, min_valid: float, wait: float) -> str:
    asked = {"account": account or _account(), "min_valid": min_valid, "wait": wait}
    parts = [f"{name}={client.quote(str(value))}" for name, value in asked.items() if value]
    return "?" + "&".join(parts) if parts else ""


def _account() -> str:
    return os.environ.get("NEOD_ACCOUNT", "")


def _boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
