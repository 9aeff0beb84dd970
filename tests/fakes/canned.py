"""A neod that says what a test told it to say: a thread behind a real Unix socket.

`neoctl` blocks, so what it talks to cannot live in the same thread.
"""

import os
import queue
import re
import select
import socket
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Literal, Self

import msgspec

from neod.account.session import Session
from neod.ipc.http1 import Problem, Response, encode

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJl"
SESSION = Session(
    account="main",
    generation=7,
    kind="trade",
    token=TOKEN,
    sid="3f2b",
    rid=None,
    server_id="server4",
    base_url="https://cis.kotaksecurities.com",
    ucc="XX123",
    greeting_name="आशा",
    data_center="gdc",
    is_trial_account=False,
    password_expired=None,
    scope=("Trade",),
    source_address=None,
    issued_at=1_699_990_000,
    issued_at_rfc3339="2023-11-15T00:56:40+05:30",
    expires_at=1_700_000_000,
    expires_at_rfc3339="2023-11-15T03:43:20+05:30",
    token_expires_at=1_700_000_000,
    token_expires_at_rfc3339="2023-11-15T03:43:20+05:30",
    bearer_expires_at=None,
    bearer_expires_at_rfc3339=None,
    headers={"Auth": TOKEN, "Sid": "3f2b", "neo-fin-key": "neotradeapi"},
    extra={"caches": {"a": [1, 2]}, "searchAPIKey": "k"},
)


def ok(body: bytes, *headers: tuple[str, str]) -> bytes:
    """A 200 as neod sends it."""
    return encode(Response(200, body, headers=headers), keep_alive=False)


def json_of(value: object) -> bytes:
    """A 200 with this as JSON."""
    return ok(msgspec.json.encode(value) + b"\n")


def problem(
    code: str, detail: str = "what happened", *, action: str = "", retry_after: float | None = None
) -> bytes:
    """A problem as neod sends it."""
    told = Problem(code, detail, action=action, retry_after=retry_after)
    return encode(told.response(), keep_alive=False)


A_TOKEN = ok(
    TOKEN.encode() + b"\n", ("Neod-Generation", "7"), ("Neod-Expires-At", str(SESSION.expires_at))
)
A_SESSION = json_of(SESSION)


class CannedNeod:
    """Gives every request the same `reply`, in the same `manner`. Enter it to start its thread.

    It serves one after another, and a watch beside them.
    """

    def __init__(self, path: Path, *, backlog: int = 100) -> None:
        self.path = path
        self.reply = A_TOKEN
        self.watch = b""  # the reply to a watch, which then goes on without a word; none: `reply`
        self.rotated = Event()  # when it is given
        self.rotated.set()
        # hangs: does not close afterwards; drips: a byte now and then, for 5 s;
        # resets: closes without having read the request
        self.manner: Literal["answers", "hangs", "drips", "resets"] = "answers"
        self._requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(os.fspath(path))
        self._listening.listen(backlog)
        self._watches: list[tuple[Thread, socket.socket]] = []
        self._thread = Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self._thread.join()
        for thread, connection in self._watches:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        self._listening.close()
        self.path.unlink()

    def request(self) -> bytes:
        """The oldest request that was not asked for yet, whole."""
        return self._requests.get(timeout=10)

    def target(self) -> str:
        """Of that request, the target."""
        return self.request().split(b" ")[1].decode("ascii")

    @property
    def untouched(self) -> bool:
        """True when no request is left that was not asked for."""
        return self._requests.empty()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            # The client may have had enough, and left.
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        if self.manner == "resets":
            select.select([connection], [], [])
            return
        request = _read(connection)
        if not request:
            return
        self._requests.put(request)
        if self.manner == "drips":
            for _ in range(1000):
                if select.select([connection], [], [], 0.005)[0]:
                    return  # the client left
                connection.sendall(b"H")
            return
        if self.watch and request.startswith(b"GET /v1/watch"):
            beside = connection.dup()
            thread = Thread(target=self._tell, args=(beside,))
            self._watches.append((thread, beside))
            thread.start()
            return
        connection.sendall(self.reply)
        if self.manner == "hangs":
            connection.recv(1)

    def _tell(self, connection: socket.socket) -> None:
        with connection, suppress(BrokenPipeError, ConnectionResetError):
            self.rotated.wait(10)
            connection.sendall(self.watch)
            connection.recv(1)


def _read(connection: socket.socket) -> bytes:
    """A whole request; nothing where the client left before it sent one."""
    received = b""
    while b"\r\n\r\n" not in received:
        some = connection.recv(65536)
        if not some:
            return b""
        received += some
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def line_of(event: str, generation: int | None = 7, **fields: object) -> bytes:
    line = {
        "event": event,
        "account": "main",
        "at": 1_700_000_000.0,
        "state": "ok",
        "generation": generation,
        "detail": "",
    }
    return msgspec.json.encode(line | fields) + b"\n"


def a_watch(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + b"".join(lines)
