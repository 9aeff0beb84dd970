"""Who is connected, and what each of them has got. Decides nothing about anybody.

A connection knows its process only by a number, which the kernel gives to another once the
process has ended. So what /proc says of a number is believed only if that process is older than
the connection.
"""

from collections.abc import Iterable

import msgspec

from neod.account.session import Held
from neod.clock import Clock, rfc3339
from neod.ipc.peers import Peer, Process, process


class Client:
    """One connection: who made it and when, and what was handed to it since."""

    __slots__ = ("account", "generation", "peer", "requests", "since", "watches")

    def __init__(self, peer: Peer, since: float) -> None:
        self.peer = peer
        self.since = since  # CLOCK_BOOTTIME, seconds
        self.requests = 0
        self.account: str | None = None
        self.generation: int | None = None
        self.watches = False

    def handed(self, held: Held | None) -> None:
        """Note that a session went to it, if it is one."""
        if held is not None:
            self.account = held.session.account
            self.generation = held.session.generation


class Entry(msgspec.Struct, frozen=True):
    """A client as the wire tells of it. Null is what cannot be known."""

    uid: int
    pid: int
    started: float | None  # epoch seconds, of the process
    executable: str | None
    unit: str | None  # of systemd
    since: float  # epoch seconds, of the connection
    since_rfc3339: str
    requests: int
    account: str | None  # the last session that it got …
    generation: int | None  # … and that one's generation
    watches: bool


def entries(clients: Iterable[Client], clock: Clock) -> list[Entry]:
    """Who is connected now, the longest first. Reads /proc."""
    booted = clock.wall() - clock.boot()
    return [_entry(client, booted) for client in sorted(clients, key=lambda c: c.since)]


def _entry(client: Client, booted: float) -> Entry:
    known = process(client.peer.pid)
    if known.started is None or known.started > client.since:
        known = Process()  # the number is another's by now
    return Entry(
        uid=client.peer.uid,
        pid=client.peer.pid,
        started=None if known.started is None else booted + known.started,
        executable=known.executable,
        unit=known.unit,
        since=booted + client.since,
        since_rfc3339=rfc3339(booted + client.since),
        requests=client.requests,
        account=client.account,
        generation=client.generation,
        watches=client.watches,
    )
