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
    from collections.abc import Mapping

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


def _call(request: bytes, environ: Mapping[str, str], wait: float) -> Reply:
    uid = os.getuid()
    path = wire.socket_path(environ, uid)
    deadline = time.monotonic() + wait + PATIENCE
    try:
        if why := wire.distrust(path, uid):
            raise Problem("forbidden", f"the socket's folder cannot be trusted: {why}")
        raw = _exchange(path, request, deadline)
    except TimeoutError:
        raise _not_running(f"no answer in time from {path}") from None
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise _not_running(f"nothing listens at {path}") from None
    except PermissionError:
        raise Problem(
            "forbidden",
            f"you (uid {uid}) may not use {path}",
            action="ask as the user who runs neod: sudo -u NAME neoctl …",
        ) from None
    except OSError as error:
        raise _not_running(f"{path}: {error.strerror or error}") from None
    reply = _parse(raw, path)
    if reply.status != 200:
        raise _problem(reply, path)
    return reply


def _not_running(detail: str) -> Problem:
    return Problem(
        "not_running",
        detail,
        action="start it: systemctl --user start neod, or: neod run",
        retryable=True,
    )


def _exchange(path: str, request: bytes, deadline: float) -> bytes:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        _connect(connection, path, deadline)
        connection.settimeout(_left(deadline))
        connection.sendall(request)
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


def _connect(connection: _socket.socket, path: str, deadline: float) -> None:
    """Connect; a queue that is full for the moment is no reason to give up."""
    while True:
        connection.settimeout(_left(deadline))
        try:
            connection.connect(path)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return


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
