"""HTTP as neod speaks it: bytes to requests, responses to bytes, and nothing in between."""

import contextlib
import json
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neoctl.wire import BODY_MAX, HEAD_MAX, PROBLEMS
from neod.ipc.http1 import BadRequest, Problem, Request, Response, encode, parse, split_head

# Bytes that get further into the parser than bytes at random.
WORDS = (
    b"GET POST / /v1/token ? a=1 & % %ff # // [ HTTP/1.1 HTTP/1.0 HTTP/9.9 : Host host: "
    b"Content-Length: 0 99999999999999999999 -1 , Transfer-Encoding: chunked Connection: close"
)
PIECES = st.sampled_from(
    [*WORDS.split(), b" ", b"\r\n", b"\n", b"\r", b"\t", b"\x00", b"\xff", b"GET / HTTP/1.1\r\n"]
)
LIKELY = st.lists(PIECES, max_size=12).map(b"".join)
AFTER_A_LINE = LIKELY.map(lambda rest: b"GET /v1/token?a=b HTTP/1.1\r\n" + rest + b"\r\n\r\n")


@given(st.binary(max_size=200) | LIKELY | AFTER_A_LINE)
@example(b"")
@example(b"\n\n")
@example(b"\r\nGET / HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.1\n folded\n\n")
def test_any_bytes_are_a_request_or_a_bad_one(head: bytes) -> None:
    with contextlib.suppress(BadRequest):
        request = parse(head)
        assert request.path.startswith("/")
        assert 0 <= request.length <= BODY_MAX
        assert all(name == name.lower() for name in request.headers)


def feed(data: bytes, cuts: list[int]) -> int | None:
    """What a server learns that gets `data` in pieces: a head's end, 0, or None: too long."""
    try:
        for _, end in pairwise([0, *sorted(cuts), len(data)]):
            if found := split_head(data[:end]):
                return found
    except BadRequest:
        return None
    return 0


BREAKS = st.text(alphabet="\r\na", max_size=30).map(str.encode)
LENGTHS = st.integers(0, 4) | st.integers(HEAD_MAX - 8, HEAD_MAX + 4)


@given(LENGTHS, BREAKS, st.integers(0, 40), st.data())
def test_a_head_ends_at_the_same_place_however_it_is_chunked(
    before: int, breaks: bytes, after: int, data: st.DataObject
) -> None:
    received = b"a" * before + breaks + b"a" * after
    cuts = data.draw(st.lists(st.integers(0, len(received)), max_size=8))

    assert feed(received, cuts) == feed(received, [])


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_a_head_ends_after_its_empty_line_and_what_follows_is_not_its(end: bytes) -> None:
    head = b"GET / HTTP/1.1" + end

    assert split_head(head[:-1]) == 0
    assert split_head(head) == len(head)
    assert split_head(bytearray(head + b"GET /next HTTP/1.1\r\n\r\n")) == len(head)


def head_of(length: int) -> bytes:
    line, end = b"GET / HTTP/1.1\r\nX: ", b"\r\n\r\n"
    return line + b"a" * (length - len(line) - len(end)) + end


def test_a_head_may_be_8_kib_long_and_no_longer() -> None:
    longest = head_of(8 * 1024)
    assert split_head(longest) == len(longest)
    assert parse(longest).path == "/"

    with pytest.raises(BadRequest, match="8192"):
        split_head(head_of(8 * 1024 + 1))
    with pytest.raises(BadRequest, match="8192"):
        split_head(b"a" * 8 * 1024)


def test_a_request_is_read_whole() -> None:
    request = parse(
        b"POST /v1/unblock?account=main&x= HTTP/1.1\r\n"
        b"Host: neod\r\nContent-Length: 12\r\nX-Odd:  caf\xe9 \r\n\r\n"
    )

    assert request == Request(
        method="POST",
        path="/v1/unblock",
        query={"account": "main", "x": ""},
        headers={"host": "neod", "content-length": "12", "x-odd": "caf\xe9"},
        length=12,
        keep_alive=True,
    )


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/v1/token", "/v1/token", {}),
        ("/v1/token?", "/v1/token", {}),
        ("/v1/%74oken?account=m%61in", "/v1/token", {"account": "main"}),
        ("/v1/token?wait=1.5&after=3", "/v1/token", {"wait": "1.5", "after": "3"}),
        ("/a?b=c=d", "/a", {"b": "c=d"}),
        ("/a?b=/c?d", "/a", {"b": "/c?d"}),
        ("//host/a", "//host/a", {}),
        ("/%ff", "/�", {}),
        ("/[", "/[", {}),
    ],
)
def test_a_target_is_a_path_and_a_query(target: str, path: str, query: dict[str, str]) -> None:
    request = parse(f"GET {target} HTTP/1.1\r\n\r\n".encode())

    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nhOST: \r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\nHost: neod\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\nHost: neod\n\n",
        b"GET / HTTP/1.0\nX: Host: a\n\n",
    ],
)
def test_a_host_may_be_there_or_not_and_lines_may_end_in_lf_alone(head: bytes) -> None:
    assert parse(head).headers.get("host", "") in ("", "neod")


@pytest.mark.parametrize(
    "head",
    [
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET http://neod/v1/token HTTP/1.1\r\n\r\n",
        b"GET v1/token HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT neod:80 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
    ],
    ids=lambda head: repr(head[:80]),
)
def test_what_is_no_request_is_refused_and_told_why(head: bytes) -> None:
    with pytest.raises(BadRequest, match=r"."):
        parse(head)


def test_a_body_may_be_64_kib_long() -> None:
    head = f"POST / HTTP/1.1\r\nContent-Length: {64 * 1024}\r\n\r\n"

    assert parse(head.encode()).length == 64 * 1024


@pytest.mark.parametrize(
    ("version", "headers", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive\r\n", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: TE, close\r\n", False),
        ("1.1", "Connection: closed\r\n", True),
        ("1.1", "Connection: close\r\nConnection: TE\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", False),
        ("1.0", "Connection: close\r\n", False),
    ],
)
def test_a_connection_is_kept_by_http_1_1_unless_it_says_close(
    version: str, headers: str, *, keeps: bool
) -> None:
    assert parse(f"GET / HTTP/{version}\r\n{headers}\r\n".encode()).keep_alive is keeps


def understood(answer: bytes, method: str) -> tuple[int, dict[str, str], bytes]:
    """An answer as a stranger's client reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "neod")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return head.status_code, headers, body


@given(
    st.sampled_from(sorted({200} | {status for status, *_ in PROBLEMS.values() if status})),
    st.binary(max_size=100),
    st.booleans(),
)
def test_others_understand_an_answer(status: int, body: bytes, keep_alive: bool) -> None:  # noqa: FBT001
    response = Response(status, body, "text/plain", (("Neod-Generation", "7"),))

    answered, headers, read = understood(encode(response, keep_alive=keep_alive), "GET")

    assert (answered, read) == (status, body)
    assert headers["content-type"] == "text/plain"
    assert headers["content-length"] == str(len(body))
    assert headers["cache-control"] == "no-store"
    assert headers["neod-generation"] == "7"
    assert headers.get("connection") == (None if keep_alive else "close")


def test_head_is_get_without_the_body() -> None:
    response = Response(200, b"token\n")

    answer = encode(response, keep_alive=True, body=False)

    assert encode(response, keep_alive=True) == answer + b"token\n"
    assert understood(answer, "HEAD")[1]["content-length"] == "6"


def test_a_problem_is_answered_as_rfc_9457_has_it() -> None:
    problem = Problem(
        "login_budget",
        "4 logins within 10 minutes are the most allowed",
        action="wait",
        retry_after=12.5,
        headers={"Allow": "GET"},
    )

    response = problem.response()

    assert response.status == 503
    assert response.content_type == "application/problem+json"
    assert response.headers == (("Allow", "GET"), ("Retry-After", "13"))
    assert json.loads(response.body) == {
        "type": "about:blank",
        "code": "login_budget",
        "title": "The budget of logins is used up",
        "status": 503,
        "detail": "4 logins within 10 minutes are the most allowed",
        "retryable": True,
        "retry_after": 12.5,
        "action": "wait",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("account=main&", {"account": "main"}),
        ("a=b&&c=d", {"a": "b", "c": "d"}),
        ("flag", {"flag": ""}),
        ("", {}),
        ("&", {}),
    ],
)
def test_what_is_odd_in_a_query_is_ignored(query: str, found: dict[str, str]) -> None:
    assert parse(f"GET /?{query} HTTP/1.1\r\n\r\n".encode()).query == found


def test_a_problem_may_go_with_another_status_than_its_own() -> None:
    response = Problem("unknown_account", "no account is configured").response(status=503)

    assert response.status == 503
    assert json.loads(response.body)["status"] == 503
    assert json.loads(response.body)["action"] is None


@pytest.mark.parametrize("code", sorted(PROBLEMS.keys() - {"not_running"}))
def test_each_code_of_the_wire_is_an_answer(code: str) -> None:
    status, headers, body = understood(
        encode(Problem(code, "because").response(), keep_alive=False), "GET"
    )

    told = json.loads(body)
    assert (status, told["status"]) == (PROBLEMS[code][0], PROBLEMS[code][0])
    assert headers["content-type"] == "application/problem+json"
    assert (told["code"], told["detail"], bool(told["title"])) == (code, "because", True)
