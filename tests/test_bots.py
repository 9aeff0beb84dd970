"""neoctl as Python bots import it: objects, exceptions, and a session that is at hand."""

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import neoctl
from neod.account.session import Session as OnTheWire
from tests.fakes.canned import (
    A_SESSION,
    A_TOKEN,
    SESSION,
    TOKEN,
    CannedNeod,
    a_watch,
    json_of,
    line_of,
    problem,
)

ROOT = Path(__file__).parent.parent
LIVES = msgspec.structs.replace(SESSION, expires_at=int(time.time()) + 3600)  # noqa: TID251


@pytest.fixture
def neod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedNeod]:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    monkeypatch.delenv("NEOD_ACCOUNT", raising=False)
    with CannedNeod(tmp_path / "neod.sock") as server:
        server.reply = json_of(LIVES)
        yield server


def rotation(generation: int, **changes: object) -> bytes:
    """The line of the watch that tells of another session."""
    session = msgspec.structs.replace(LIVES, generation=generation, token=f"token-{generation}")
    return line_of("session", generation, session=msgspec.to_builtins(session) | changes)


def until(true: Callable[[], bool]) -> None:
    """Wait for what the follower's thread does, which tells nobody."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_token_is_the_token(neod: CannedNeod) -> None:
    neod.reply = A_TOKEN
    assert neoctl.token("main", min_valid=60, wait=0.5) == TOKEN
    assert neod.target() == "/v1/token?account=main&min_valid=60&wait=0.5"


def test_a_session_has_every_field_of_the_wire(neod: CannedNeod) -> None:
    neod.reply = A_SESSION
    session = neoctl.session()

    assert neod.target() == "/v1/session"
    for name in OnTheWire.__struct_fields__:
        assert getattr(session, name) == getattr(SESSION, name), name
    assert {f.name for f in dataclasses.fields(session)} == set(OnTheWire.__struct_fields__)


def test_a_session_is_not_to_be_changed_and_shows_no_secret(neod: CannedNeod) -> None:
    session = neoctl.session()

    with pytest.raises(dataclasses.FrozenInstanceError):
        session.token = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        session.headers["Auth"] = "other"  # type: ignore[index]
    assert TOKEN not in repr(session)
    assert "3f2b" not in repr(session)


def test_a_field_of_a_later_neod_breaks_nothing(neod: CannedNeod) -> None:
    neod.reply = json_of(msgspec.to_builtins(SESSION) | {"new": 1})
    assert neoctl.session().generation == 7


def test_the_account_of_the_environment_is_asked_for(
    neod: CannedNeod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOD_ACCOUNT", "uat")
    neoctl.session()
    assert neod.target() == "/v1/session?account=uat"


@pytest.mark.parametrize("code", ["not_ready", "blocked", "unknown_account"])
def test_what_fails_is_an_exception_with_the_wires_code(neod: CannedNeod, code: str) -> None:
    neod.reply = problem(code, action="do this")
    for ask in (
        neoctl.token,
        neoctl.session,
        lambda: neoctl.reject(1),
        lambda: next(neoctl.watch()),
    ):
        with pytest.raises(neoctl.Problem, match="what happened") as caught:
            ask()
        assert (caught.value.code, caught.value.action) == (code, "do this")


def test_without_neod_the_code_is_not_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    with pytest.raises(neoctl.Problem) as caught:
        neoctl.token()
    assert caught.value.code == "not_running"


def test_a_reject_says_what_came_of_it(neod: CannedNeod) -> None:
    answer = {"account": "main", "outcome": "renewed", "generation": 8, "detail": "it is new"}
    neod.reply = json_of(answer)

    assert neoctl.reject(7, {"stCode": 100022}) == neoctl.Rejected("renewed", 8, "it is new")
    body = neod.request().partition(b"\r\n\r\n")[2]
    assert msgspec.json.decode(body) == {"generation": 7, "evidence": {"stCode": 100022}}


def test_a_watch_gives_events_without_heartbeats(neod: CannedNeod) -> None:
    neod.watch = a_watch(rotation(8), line_of("heartbeat"), line_of("expired", 8, detail="gone"))
    events = neoctl.watch("main", after=7)

    first, second = next(events), next(events)

    assert neod.target() == "/v1/watch?account=main&after=7"
    assert first.session
    assert (first.event, first.session.token) == ("session", "token-8")
    assert (second.event, second.detail, second.session) == ("expired", "gone", None)


# The session at hand


def test_the_session_at_hand_is_not_asked_for_again(neod: CannedNeod) -> None:
    neod.watch = a_watch(rotation(7, token=TOKEN))
    with neoctl.follow() as at_hand:
        assert {at_hand.session().generation for _ in range(100)} == {7}
        assert at_hand.token() == TOKEN
    asked = [neod.target(), neod.target()]
    assert asked == ["/v1/session", "/v1/watch?account=main"]
    assert neod.untouched


def test_a_rotation_is_at_hand_without_asking(neod: CannedNeod) -> None:
    neod.rotated.clear()
    neod.watch = a_watch(rotation(8))
    with neoctl.follow() as at_hand:
        neod.rotated.set()
        until(lambda: at_hand.token() == "token-8")


def test_without_a_name_it_follows_the_account_that_neod_means_and_no_other(
    neod: CannedNeod,
) -> None:
    neod.watch = a_watch(rotation(8))
    with neoctl.follow() as at_hand:
        assert at_hand.session().account == "main"
        until(lambda: at_hand.token() == "token-8")
    assert [neod.target(), neod.target()] == ["/v1/session", "/v1/watch?account=main"]


def test_after_a_fork_neod_is_asked_since_nobody_follows_there(neod: CannedNeod) -> None:
    neod.watch = a_watch(rotation(7))
    script = """if True:
        import os, neoctl
        at_hand = neoctl.follow()
        at_hand.session()
        at_hand._guard.acquire()  # as another thread may hold it
        if os.fork() == 0:
            os._exit(at_hand.session().generation)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env={"NEOD_SOCKET": f"{neod.path}"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.communicate(timeout=10)[0] == b"7\n"
    finally:
        process.kill()
    assert sorted(neod.target() for _ in range(3)) == [
        "/v1/session",
        "/v1/session?account=main",
        "/v1/watch?account=main",
    ]


def test_a_session_that_the_broker_calls_dead_is_not_handed_out(neod: CannedNeod) -> None:
    neod.watch = a_watch(rotation(8), line_of("expired", 8))
    neod.reply = problem("not_ready")
    with neoctl.follow("main") as at_hand:
        until(lambda: neod.target() == "/v1/watch?account=main")

        def refused() -> bool:
            try:
                at_hand.token()
            except neoctl.Problem as told:
                return told.code == "not_ready"
            return False

        until(refused)


def test_a_session_that_died_while_nobody_was_connected_is_not_handed_out(
    neod: CannedNeod,
) -> None:
    neod.rotated.clear()
    neod.watch = a_watch(line_of("state", state="blocked"))  # as after a restart of neod
    with neoctl.follow() as at_hand:
        at_hand.session()
        neod.reply = problem("blocked")
        neod.rotated.set()

        def refused() -> bool:
            try:
                at_hand.token()
            except neoctl.Problem as told:
                return told.code == "blocked"
            return False

        until(refused)


def test_a_later_session_is_at_hand_though_neod_counts_from_one_again(neod: CannedNeod) -> None:
    neod.rotated.clear()
    neod.watch = a_watch(rotation(1, issued_at=LIVES.issued_at + 60))  # its ledger was lost
    with neoctl.follow() as at_hand:
        assert at_hand.session().generation == LIVES.generation > 1
        neod.rotated.set()
        until(lambda: at_hand.token() == "token-1")


def test_a_session_that_lapsed_is_not_handed_out(neod: CannedNeod) -> None:
    neod.watch = a_watch(line_of("heartbeat"))
    lapsed = msgspec.structs.replace(SESSION, expires_at=int(time.time()) - 1)  # noqa: TID251
    neod.reply = json_of(lapsed)
    with neoctl.follow() as at_hand:
        at_hand.session()  # neod says that it is valid, by its clock …
        neod.reply = problem("not_ready")
        with pytest.raises(neoctl.Problem):
            at_hand.session()  # … and it is not kept


def test_min_valid_is_asked_of_neod_where_the_one_at_hand_is_too_old(neod: CannedNeod) -> None:
    neod.watch = a_watch(rotation(7, token=TOKEN))
    with neoctl.follow() as at_hand:
        at_hand.session()
        neod.reply = problem("min_valid_unreachable")
        assert at_hand.session(min_valid=60).generation == 7
        with pytest.raises(neoctl.Problem):
            at_hand.session(min_valid=7200)


def test_the_session_at_hand_is_there_though_neod_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = json_of(LIVES)
        neod.watch = a_watch(rotation(7))
        at_hand = neoctl.follow()
        assert at_hand.session().generation == 7
        at_hand.close()
    assert at_hand.session().generation == 7


def test_a_follower_that_is_closed_leaves_no_thread_though_neod_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")

    def following() -> int:
        return sum(thread.name == "neod" for thread in threading.enumerate())

    before = following()
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = json_of(LIVES)
        neod.watch = a_watch(rotation(7))
        at_hand = neoctl.follow("main")
        until(lambda: at_hand.session().generation == 7)
        assert following() > before
    at_hand.close()

    until(lambda: following() <= before)


def test_a_follower_stays_with_the_neod_of_its_beginning(
    neod: CannedNeod, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand = neoctl.follow("main")
    monkeypatch.setenv("NEOD_SOCKET", "/somewhere/else")
    assert at_hand.session(min_valid=1).generation == 7
    at_hand.close()


# How it is had


def test_what_a_bot_imports_costs_neoctl_token_nothing() -> None:
    code = "import sys, neoctl.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, check=True
    )
    assert not {"neoctl.bots", "dataclasses", "threading"} & set(done.stdout.decode().split())


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tokens'"):
        neoctl.tokens  # noqa: B018 - see above
    for name in neoctl.__all__:
        assert getattr(neoctl, name)


def test_one_file_is_the_program_and_a_place_to_import_from(
    neod: CannedNeod, tmp_path: Path
) -> None:
    neod.reply = A_TOKEN
    file = tmp_path / "neoctl.pyz"
    environ = {"NEOD_SOCKET": f"{neod.path}", "PATH": "/usr/bin:/bin"}

    def output(*words: object, **more: str) -> str:
        command = [sys.executable, "-S", *map(str, words)]
        found = subprocess.run(
            command, cwd=tmp_path, env=environ | more, capture_output=True, check=True
        )
        return found.stdout.decode()

    subprocess.run([sys.executable, "-m", "neoctl.pack", file], cwd=ROOT, check=True)
    first = file.read_bytes()
    subprocess.run([sys.executable, "-m", "neoctl.pack", file], cwd=ROOT, check=True)
    assert file.read_bytes() == first
    assert file.stat().st_mode & 0o111
    assert output(file, "token") == f"{TOKEN}\n"
    imported = output("-c", "import neoctl; print(neoctl.token())", PYTHONPATH=f"{file}")
    assert imported == f"{TOKEN}\n"


def test_a_place_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neoctl.pack", f"{tmp_path}/not/there"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"neoctl.pack: {tmp_path}/not/there: No such file or directory\n"
