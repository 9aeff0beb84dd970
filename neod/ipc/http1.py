"""HTTP/1.1 as neod speaks it: bytes -> Request, Response -> bytes. Sans-IO.

A strict subset: a head within a limit, a body only by Content-Length. h11 parses the head, so
that what is lenient and what is not was thought about by people who do that for a living. This
module knows no route and no socket.
"""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import msgspec

from neoctl.wire import BODY_MAX, HEAD_MAX, PASSES_BY_ITSELF, PROBLEMS

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_HAS_HOST = re.compile(rb"^host[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Request(msgspec.Struct, frozen=True):
    """A request's head. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    length: int  # bytes of the body
    keep_alive: bool
    old: bool = False  # HTTP/1.0: who speaks it knows no chunks

    @property
    def waits(self) -> bool:
        """True if its body comes only after a word that it may (RFC 9110 10.1.1)."""
        return not self.old and self.headers.get("expect", "").lower() == "100-continue"

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Response(msgspec.Struct, frozen=True):
    """A reply, whole."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


class Stream(msgspec.Struct, frozen=True):
    """A reply that is written bit by bit: `write` is given what sends a bit, at once.

    That raises trio.BrokenResourceError where the peer takes nothing; when the peer has gone,
    `write` is cancelled. The head goes with the first bit, so `write` begins before anything is
    sent. The reply ends when it returns.
    """

    write: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    content_type: str = "application/x-ndjson"


class BadRequest(Exception):  # noqa: N818 - what it is called on the wire
    """Bytes that are no request; str() says why, for the answer."""


def split_head(received: bytes | bytearray, max_head: int = HEAD_MAX) -> int:
    """Where the first head in `received` ends, 0 if it is not whole yet.

    Raises BadRequest as soon as it is too long to become one.
    """
    found = _END_OF_HEAD.search(received, 0, max_head)
    if found:
        return found.end()
    if len(received) >= max_head:
        raise BadRequest(f"the head is longer than {max_head} bytes")
    return 0


def parse(head: bytes, *, max_body: int = BODY_MAX) -> Request:
    """The request whose whole head this is. Raises BadRequest."""
    if not _HAS_HOST.search(head):  # which means nothing on a Unix socket, and h11 insists on it
        head = head.replace(b"\n", b"\nHost:\r\n", 1)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequest(str(error)) from None
    if not isinstance(event, h11.Request):
        raise BadRequest("the head is not whole")
    target = event.target.decode("ascii", "replace")
    if not target.startswith("/"):
        raise BadRequest("the target has to be a path")
    parts = urlsplit(f"//neod{target}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))  # what is odd is ignored
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "transfer-encoding" in headers:
        raise BadRequest("a body has to come with Content-Length")
    length = int(headers.get("content-length", "0"))
    if length > max_body:
        raise BadRequest(f"the body is longer than {max_body} bytes")
    return Request(
        method=event.method.decode("ascii"),
        path=unquote(parts.path),
        query=query,
        headers=headers,
        length=length,
        keep_alive=_keeps_alive(event.http_version, headers.get("connection", "")),
        old=event.http_version != b"1.1",
    )


def _keeps_alive(version: bytes, connection: str) -> bool:
    options = {option.strip().lower() for option in connection.split(",")}
    return version == b"1.1" and "close" not in options


def encode(response: Response, *, keep_alive: bool, body: bool = True) -> bytes:
    """The response as bytes; without its body for HEAD."""
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in response.headers),
        *(() if keep_alive else ("Connection: close",)),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + response.body if body else head


def encode_start(stream: Stream, *, chunked: bool) -> bytes:
    """The head of a reply that is written bit by bit; its end is told by a chunk, or by EOF."""
    lines = [
        "HTTP/1.1 200 OK",
        f"Content-Type: {stream.content_type}",
        "Cache-Control: no-store",
        "Connection: close",
        *(("Transfer-Encoding: chunked",) if chunked else ()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def encode_chunk(some: bytes) -> bytes:
    """A bit of a chunked reply. One without a byte would be its end, so nothing stays nothing."""
    return b"%x\r\n%b\r\n" % (len(some), some) if some else b""


class Problem(Exception):  # noqa: N818 - the wire's own word (RFC 9457)
    """A failure with a code of the wire."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        action: str = "",
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.action = action
        self.retry_after = retry_after
        self.headers = headers or {}

    def response(self, *, status: int | None = None) -> Response:
        """The problem as application/problem+json; `status` where it is not the code's own."""
        usual, _, title = PROBLEMS[self.code]
        status = status or usual
        body: dict[str, object] = {
            "type": "about:blank",
            "code": self.code,
            "title": title,
            "status": status,
            "detail": self.detail,
            "retryable": self.code in PASSES_BY_ITSELF,
            "retry_after": self.retry_after,
            "action": self.action or None,
        }
        headers = [*self.headers.items()]
        if self.retry_after is not None:  # whole seconds, by RFC 9110
            headers.append(("Retry-After", str(math.ceil(self.retry_after))))
        return Response(
            status, msgspec.json.encode(body) + b"\n", "application/problem+json", tuple(headers)
        )
