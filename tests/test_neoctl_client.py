"""HTTP to neod from the client's side, over real sockets. Nothing here waits out a patience."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neoctl import client, wire
from neod.ipc.http1 import parse
from tests.fakes.canned import A_TOKEN, TOKEN, CannedNeod, json_of, ok, problem


@pytest.fixture
def neod(tmp_path: Path) -> Iterator[CannedNeod]:
    with CannedNeod(tmp_path / "neod.sock") as server:
        yield server


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without much patience."""
    monkeypatch.setattr(client, "PATIENCE", 0.05)


def get(path: Path, target: str = "/v1/token", wait: float = 0.0) -> client.Reply:
    return client.get(target, environ={"NEOD_SOCKET": os.fspath(path)}, wait=wait)


def refused(path: Path) -> client.Problem:
    """What is raised in place of a reply."""
    with pytest.raises(client.Problem) as caught:
        get(path)
    return caught.value


def test_a_reply_comes_with_its_status_headers_and_body(neod: CannedNeod) -> None:
    reply = get(neod.path)
    assert (reply.status, reply.body) == (200, f"{TOKEN}\n".encode())
    assert reply.headers["neod-generation"] == "7"
    assert reply.headers["cache-control"] == "no-store"


def test_who_is_turned_away_before_it_has_asked_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "neod.sock"

    def connected(*_: object) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(problem("too_many_connections", "300 are open already"))
        return ours

    monkeypatch.setattr(client, "_connected", connected)

    assert refused(path).code == "too_many_connections"
    with pytest.raises(client.Problem, match="300 are open"):
        list(client.lines("/v1/watch", environ={"NEOD_SOCKET": os.fspath(path)}, silence=1))


def test_a_get_is_what_neod_understands(neod: CannedNeod) -> None:
    get(neod.path, "/v1/session?account=main")
    request = parse(neod.request())
    assert (request.method, request.path) == ("GET", "/v1/session")
    assert request.query == {"account": "main"}
    assert request.headers["host"] == "neod"
    assert not request.keep_alive


def test_a_post_carries_its_body_and_says_how_long_it_is(neod: CannedNeod) -> None:
    neod.reply = json_of({})
    body = '{"account": "आशा"}'.encode()
    client.post("/v1/unblock", body, environ={"NEOD_SOCKET": os.fspath(neod.path)})
    head, _, sent = neod.request().partition(b"\r\n\r\n")
    request = parse(head + b"\r\n\r\n")
    assert (request.method, request.path, request.length) == ("POST", "/v1/unblock", len(body))
    assert request.headers["content-type"] == "application/json"
    assert sent == body


def test_a_reply_without_a_length_ends_with_the_connection(neod: CannedNeod) -> None:
    neod.reply = b"HTTP/1.0 200 OK\r\n\r\nall of it"
    assert get(neod.path).body == b"all of it"


def test_a_body_may_hold_an_empty_line(neod: CannedNeod) -> None:
    neod.reply = ok(b"a\r\n\r\nb")
    assert get(neod.path).body == b"a\r\n\r\nb"


def test_a_long_reply_arrives_whole(neod: CannedNeod) -> None:
    neod.reply = ok(b"x" * 1_000_000)
    assert len(get(neod.path).body) == 1_000_000


def test_a_problem_is_raised_as_neod_told_it(neod: CannedNeod) -> None:
    neod.reply = problem("not_ready", "the first login runs", action="wait", retry_after=2.5)
    raised = refused(neod.path)
    assert (raised.code, raised.detail, raised.action) == (
        "not_ready",
        "the first login runs",
        "wait",
    )
    assert raised.retryable
    assert raised.retry_after == 2.5


def test_a_problem_that_a_person_has_to_mend_is_not_retryable(neod: CannedNeod) -> None:
    neod.reply = problem("blocked")
    raised = refused(neod.path)
    assert (raised.retryable, raised.retry_after, raised.action) == (False, None, "")


def test_a_code_of_a_later_version_is_passed_on(neod: CannedNeod) -> None:
    body = b'{"code": "broker_on_strike", "title": "On strike", "fresh": {}}'
    neod.reply = b"HTTP/1.1 503 x\r\n\r\n" + body
    raised = refused(neod.path)
    assert (raised.code, raised.detail) == ("broker_on_strike", "On strike")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[]", b'"blocked"', b"null", b"{}", b'{"detail": "no code"}'],
)
def test_a_failure_without_a_reason_is_an_internal_error(neod: CannedNeod, body: bytes) -> None:
    neod.reply = b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + body
    raised = refused(neod.path)
    assert (raised.code, raised.detail) == (
        "internal_error",
        f"{neod.path} answered 502 without a reason",
    )


def test_no_socket_means_not_running(tmp_path: Path) -> None:
    raised = refused(tmp_path / "neod.sock")
    assert raised.code == "not_running"
    assert raised.detail == f"nothing listens at {tmp_path}/neod.sock"
    assert "systemctl --user start neod" in raised.action
    assert raised.retryable


def test_a_stale_socket_means_not_running(tmp_path: Path) -> None:
    path = tmp_path / "neod.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    raised = refused(path)
    assert (raised.code, raised.detail) == ("not_running", f"nothing listens at {path}")


def test_a_file_in_place_of_the_socket_or_of_its_folder_means_not_running(tmp_path: Path) -> None:
    file = tmp_path / "neod.sock"
    file.touch()
    for path in (file, file / "neod.sock"):
        raised = refused(path)
        assert (raised.code, raised.detail) == ("not_running", f"nothing listens at {path}")


def test_a_path_that_no_socket_can_have_means_not_running(tmp_path: Path) -> None:
    raised = refused(tmp_path / ("x" * 120))
    assert raised.code == "not_running"
    assert raised.detail.endswith(": AF_UNIX path too long")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"\x16\x03\x01\x00\xff\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_what_does_not_speak_http_is_not_neod(neod: CannedNeod, reply: bytes) -> None:
    neod.reply = reply
    assert refused(neod.path).code == "not_running"


@pytest.mark.parametrize("length", range(0, len(A_TOKEN), 10))
def test_a_reply_that_is_cut_off_is_not_taken(neod: CannedNeod, length: int) -> None:
    neod.reply = A_TOKEN[:length]
    assert refused(neod.path).code == "not_running"


def test_a_connection_that_is_reset_means_not_running(neod: CannedNeod) -> None:
    neod.manner = "resets"
    assert refused(neod.path).code == "not_running"


def test_a_reply_without_end_is_given_up(neod: CannedNeod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REPLY_MAX", 100_000)
    neod.reply = ok(b"x" * 200_000)
    raised = refused(neod.path)
    assert (raised.code, raised.detail) == (
        "not_running",
        f"{neod.path}: the reply is too long to be neod's",
    )


@pytest.mark.parametrize("reply", [b"", A_TOKEN[:50]])
def test_silence_means_not_running(neod: CannedNeod, hasty: None, reply: bytes) -> None:
    neod.reply, neod.manner = reply, "hangs"
    raised = refused(neod.path)
    assert (raised.code, raised.detail) == ("not_running", f"no answer in time from {neod.path}")


def test_a_reply_that_drips_does_not_outlive_the_deadline(neod: CannedNeod, hasty: None) -> None:
    neod.manner = "drips"
    begin = time.monotonic()
    raised = refused(neod.path)
    assert raised.detail == f"no answer in time from {neod.path}"
    assert time.monotonic() - begin < 2


def test_a_watch_that_drips_is_not_waited_for(neod: CannedNeod, hasty: None) -> None:
    neod.manner = "drips"
    begin = time.monotonic()
    environ = {"NEOD_SOCKET": f"{neod.path}"}
    with pytest.raises(client.Problem, match="no answer in time"):
        next(client.lines("/v1/watch", environ=environ, silence=45))
    assert time.monotonic() - begin < 2


def test_the_patience_keeps_the_promise_of_5_seconds_more_than_wait() -> None:
    assert 4 <= client.PATIENCE < 5


def test_wait_is_added_to_the_patience(neod: CannedNeod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.0)
    assert refused(neod.path).detail == f"no answer in time from {neod.path}"
    assert get(neod.path, wait=10.0).status == 200


def fill(path: Path) -> list[socket.socket]:
    """Connect until the queue of a listener that does not accept is full."""
    waiting: list[socket.socket] = []
    while True:
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(os.fspath(path))
        except BlockingIOError:
            one.close()
            return waiting
        waiting.append(one)


def test_a_queue_that_stays_full_ends_in_time(tmp_path: Path, hasty: None) -> None:
    path = tmp_path / "neod.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(os.fspath(path))
        busy.listen(0)
        waiting = fill(path)
        raised = refused(path)
        for one in waiting:
            one.close()
    assert (raised.code, raised.detail) == ("not_running", f"no answer in time from {path}")


def test_a_queue_that_is_full_for_the_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = CannedNeod(tmp_path / "neod.sock", backlog=0)
    waiting = fill(server.path)
    naps: list[float] = []

    def nap(seconds: float) -> None:  # while the client sleeps, neod works the queue off
        if not naps:
            for one in waiting:
                one.close()
            server.__enter__()
        naps.append(seconds)

    monkeypatch.setattr("time.sleep", nap)
    try:
        assert get(server.path).status == 200
        assert naps
    finally:
        server.__exit__()


def test_a_folder_that_is_not_to_be_trusted_is_not_even_connected_to(
    neod: CannedNeod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_fallback", lambda _uid: os.fspath(tmp_path))
    tmp_path.chmod(0o755)
    raised = refused(neod.path)
    assert raised.code == "forbidden"
    assert raised.detail.startswith("the socket's folder cannot be trusted: ")
    assert neod.untouched
