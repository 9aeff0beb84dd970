"""HTTP to neod over its Unix socket: one request a connection, each with a deadline.

`neoctl token` runs on every line of somebody's script. So this module imports as little as it
can: `_socket` is what `socket` wraps with enums and selectors that cost more than all the rest,
and `json` is imported only where there is a body to read.
"""

from __future__ import annotations

import _socket
import os
import time

from neoctl import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE = 4.5  # seconds that a call may take over what it waits for; 5 s are promised
REPLY_MAX = 4 * 1024 * 1024  # bytes


class Problem(Exception):  # noqa: N818 - the wire's own word (RFC 9457)
    """What neod, or the lack of it, answered in place of what was asked for."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        action: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.action = action
        self.retryable = retryable
        self.retry_after = retry_after


class Reply:
    """A reply of neod's: status, headers by lower-case name, body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def get(target: str, *, environ: Mapping[str, str], wait: float = 0.0) -> Reply:
    """GET `target`, and return the 200 that came back.

    Ends within 5 seconds more than `wait`. Raises Problem for whatever else happened.
    """
    return _call(f"GET {target} HTTP/1.0\r\nHost: neod\r\n\r\n".encode("ascii"), environ, wait)


def post(target: str, body: bytes, *, environ: Mapping[str, str], wait: float = 0.0) -> Reply:
    """POST a JSON `body`; otherwise as get()."""
    head = (
        f"POST {target} HTTP/1.0\r\nHost: neod\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return _call(head.encode("ascii") + body, environ, wait)


def lines(target: str, *, environ: Mapping[str, str], silence: float) -> Iterator[bytes]:
    """GET `target`, and yield each line of the answer as it comes, until neod ends it.

    Raises Problem, which is `not_running` where nothing comes for `silence` seconds.
    """
    request = f"GET {target} HTTP/1.0\r\nHost: neod\r\n\r\n".encode("ascii")
    uid = os.getuid()
    path = wire.socket_path(environ, uid)
    try:
        deadline = time.monotonic() + PATIENCE
        connection = _connected(path, uid, deadline)
        try:
            connection.settimeout(_left(deadline))
            _send(connection, request)
            received = bytearray()
            while b"\r\n\r\n" not in received:
                connection.settimeout(_left(deadline))
                if not (some := connection.recv(65536)):
                    break
                received += some
            if not received.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")):
                connection.settimeout(_left(deadline))
                while some := connection.recv(65536):
                    received += some
                    connection.settimeout(_left(deadline))
                raise _problem(_parse(bytes(received), path), path)
            connection.settimeout(silence)
            rest = bytes(received).partition(b"\r\n\r\n")[2]
            while True:
                *whole, rest = rest.split(b"\n")
                yield from whole
                if not (some := connection.recv(65536)):
                    return
                rest += some
                if len(rest) > REPLY_MAX:
                    raise OSError(None, "a line is too long to be neod's")
        finally:
            connection.close()
    except OSError as error:
        raise _why(error, path, uid) from None


def quote(text: str) -> str:
    """The text as it stands in a query."""
    safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
    return "".join(
        c if c in safe else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogateescape"))
        for c in text
    )


def _call(request: bytes, environ: Mapping[str, str], wait: float) -> Reply:
    uid = os.getuid()
    path = wire.socket_path(environ, uid)
    try:
        raw = _exchange(path, uid, request, time.monotonic() + wait + PATIENCE)
    except OSError as error:
        raise _why(error, path, uid) from None
    reply = _parse(raw, path)
    if reply.status != 200:
        raise _problem(reply, path)
    return reply


def _why(error: OSError, path: str, uid: int) -> Problem:
    """What it means that the socket failed in this way."""
    if isinstance(error, TimeoutError):
        return _not_running(f"no answer in time from {path}")
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
        return _not_running(f"nothing listens at {path}")
    if isinstance(error, PermissionError):
        return Problem(
            "forbidden",
            f"you (uid {uid}) may not use {path}",
            action="ask as the user who runs neod: sudo -u NAME neoctl …",
        )
    return _not_running(f"{path}: {error.strerror or error}")


def _not_running(detail: str) -> Problem:
    return Problem(
        "not_running",
        detail,
        action="start it: systemctl --user start neod, or: neod run",
        retryable=True,
    )


def _exchange(path: str, uid: int, request: bytes, deadline: float) -> bytes:
    connection = _connected(path, uid, deadline)
    try:
        connection.settimeout(_left(deadline))
        _send(connection, request)
        received = bytearray()
        while len(received) <= REPLY_MAX:
            connection.settimeout(_left(deadline))
            some = connection.recv(65536)
            if not some:
                return bytes(received)
            received += some
        raise OSError(None, "the reply is too long to be neod's")
    finally:
        connection.close()


def _connected(path: str, uid: int, deadline: float) -> _socket.socket:
    """Connect; a queue that is full for the moment is no reason to give up."""
    if why := wire.distrust(path, uid):
        raise Problem("forbidden", f"the socket's folder cannot be trusted: {why}")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        while True:
            connection.settimeout(_left(deadline))
            try:
                connection.connect(path)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def _send(connection: _socket.socket, request: bytes) -> None:
    """Who is turned away at the door may be told why before anything was asked."""
    try:  # noqa: SIM105 - contextlib costs more than the call
        connection.sendall(request)
    except BrokenPipeError:
        pass


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parse(raw: bytes, path: str) -> Reply:
    head, end, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not end or len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise _not_running(f"what answers at {path} is not neod, or it was cut off")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("content-length", str(len(body))) != str(len(body)):
        raise _not_running(f"the answer of {path} was cut off")
    return Reply(int(words[1]), headers, body)


def _problem(reply: Reply, path: str) -> Problem:
    import json

    try:
        told = json.loads(reply.body)
        after = told.get("retry_after")
        return Problem(
            str(told["code"]),
            str(told.get("detail") or told.get("title") or told["code"]),
            action=str(told.get("action") or ""),
            retryable=bool(told.get("retryable")),
            retry_after=after if isinstance(after, (int, float)) else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Problem("internal_error", f"{path} answered {reply.status} without a reason")
