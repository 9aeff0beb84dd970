"""The verbs, as a script sees them: stdout, stderr and the exit status, apart from each other."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from neoctl import __version__, cli, client, wire
from neod.ipc.http1 import parse
from tests.fakes.canned import (
    A_SESSION,
    A_TOKEN,
    SESSION,
    TOKEN,
    CannedNeod,
    a_watch,
    json_of,
    line_of,
    ok,
    problem,
)

ROOT = Path(__file__).parent.parent
Captured = pytest.CaptureFixture[str]

STATUS = {
    "version": "9.9",
    "since": 1.0,
    "accounts": {
        "main": {"state": "starting", "valid": False, "why": "the first login runs"},
        "uat": {"state": "paused", "valid": False, "why": "somebody said so"},
    },
}
A_STATUS = json_of(STATUS)
UNBLOCKED = json_of({"account": "main", "detail": "one more login is allowed"})
# Every verb that asks neod, with the reply that it wants. `version` takes no for an answer.
ASKS = {
    "token": A_TOKEN,
    "session": A_SESSION,
    "get sid": A_SESSION,
    "headers": A_SESSION,
    "status": A_STATUS,
    "unblock": UNBLOCKED,
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    monkeypatch.delenv("NEOD_ACCOUNT", raising=False)


@pytest.fixture
def neod(tmp_path: Path) -> Iterator[CannedNeod]:
    with CannedNeod(tmp_path / "neod.sock") as server:
        yield server


def run(
    *argv: str | bytes,
    before: tuple[str, ...] = (),
    stdout: int = subprocess.PIPE,
    **environ: str | bytes,
) -> subprocess.CompletedProcess[bytes]:
    """`python -m neoctl` as a process of its own."""
    environment = {"NEOD_SOCKET": os.environ["NEOD_SOCKET"], "PATH": os.environ["PATH"]} | environ
    command = [*before, sys.executable, "-m", "neoctl", *argv]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )


# What goes to stdout.


@pytest.mark.parametrize(
    ("line", "reply", "out"),
    [
        ("token", A_TOKEN, f"{TOKEN}\n"),
        (
            "token --json",
            A_TOKEN,
            f'{{"token":"{TOKEN}","generation":7,"expires_at":1700000000}}\n',
        ),
        ("session", A_SESSION, msgspec.json.encode(SESSION).decode() + "\n"),
        ("session --json", A_SESSION, msgspec.json.encode(SESSION).decode() + "\n"),
        ("get sid", A_SESSION, "3f2b\n"),
        ("get generation", A_SESSION, "7\n"),
        ("get expires_at", A_SESSION, "1700000000\n"),
        ("get greeting_name", A_SESSION, "आशा\n"),
        ("get is_trial_account", A_SESSION, "false\n"),
        ("get scope", A_SESSION, '["Trade"]\n'),
        ("get rid", A_SESSION, "\n"),
        ("get rid --json", A_SESSION, "null\n"),
        ("get sid --json", A_SESSION, '"3f2b"\n'),
        ("get greeting_name --json", A_SESSION, '"आशा"\n'),
        ("get headers.Auth", A_SESSION, f"{TOKEN}\n"),
        ("get extra.caches.a", A_SESSION, "[1, 2]\n"),
        ("get extra.caches", A_SESSION, '{"a": [1, 2]}\n'),
        ("headers", A_SESSION, f"Auth: {TOKEN}\nSid: 3f2b\nneo-fin-key: neotradeapi\n"),
        ("headers --json", A_SESSION, json.dumps(SESSION.headers) + "\n"),
        ("status --json", A_STATUS, json.dumps(STATUS, separators=(",", ":")) + "\n"),
        ("unblock --json", UNBLOCKED, '{"account":"main","detail":"one more login is allowed"}\n'),
        ("version", A_STATUS, f"neoctl {__version__}\nneod 9.9\n"),
        ("version --json", A_STATUS, f'{{"neoctl": "{__version__}", "neod": "9.9"}}\n'),
        ("--version", A_STATUS, f"neoctl {__version__}\nneod 9.9\n"),
    ],
)
def test_the_value_and_nothing_else_is_on_stdout(
    neod: CannedNeod, capsys: Captured, line: str, reply: bytes, out: str
) -> None:
    neod.reply = reply
    assert cli.main(line.split()) == 0
    assert capsys.readouterr() == (out, "")


def test_the_token_as_json_is_json(neod: CannedNeod, capsys: Captured) -> None:
    cli.main(["token", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told == {"token": TOKEN, "generation": 7, "expires_at": 1_700_000_000}


def test_status_is_for_a_person_unless_json_is_asked_for(
    neod: CannedNeod, capsys: Captured
) -> None:
    neod.reply = A_STATUS
    assert cli.main(["status"]) == 0
    out, err = capsys.readouterr()
    assert "main: starting\n" in out
    assert "uat: paused\n" in out
    assert err == ""


def test_status_shows_the_account_that_was_asked_for(neod: CannedNeod, capsys: Captured) -> None:
    neod.reply = A_STATUS
    assert cli.main(["status", "-a", "uat"]) == 0
    assert capsys.readouterr().out.startswith("uat: paused\n")


def test_status_of_an_account_that_is_not_there_names_those_that_are(
    neod: CannedNeod, capsys: Captured
) -> None:
    neod.reply = A_STATUS
    assert cli.main(["status", "-a", "nobody"]) == 2
    assert capsys.readouterr() == (
        "",
        "neoctl: unknown_account: there is no account 'nobody'; there is: main, uat\n",
    )


def test_what_unblock_did_is_for_a_person(neod: CannedNeod, capsys: Captured) -> None:
    neod.reply = UNBLOCKED
    assert cli.main(["unblock"]) == 0
    assert capsys.readouterr() == ("", "neoctl: one more login is allowed\n")


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("unblock", {"account": None, "force": False}),
        ("unblock --force", {"account": None, "force": True}),
        ("unblock -a uat", {"account": "uat", "force": False}),
    ],
)
def test_unblock_says_which_account_and_whether_by_force(
    neod: CannedNeod, line: str, body: dict[str, object]
) -> None:
    neod.reply = UNBLOCKED
    assert cli.main(line.split()) == 0
    head, _, sent = neod.request().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/unblock ")
    assert json.loads(sent) == body


@pytest.mark.parametrize(
    ("line", "stdin", "route", "body"),
    [
        ("reject 7", "", "reject", {"account": None, "generation": 7, "evidence": None}),
        (
            "reject 7 --evidence 100022 -a uat",
            "",
            "reject",
            {"account": "uat", "generation": 7, "evidence": "100022"},
        ),
        (
            "reject 7 --evidence -",
            '{"stCode":100022}',
            "reject",
            {"account": None, "generation": 7, "evidence": '{"stCode":100022}'},
        ),
        ("pause", "", "pause", {"account": None}),
        ("resume -a uat", "", "resume", {"account": "uat"}),
    ],
)
def test_a_wish_is_sent_as_it_was_said(
    neod: CannedNeod,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    line: str,
    stdin: str,
    route: str,
    body: dict[str, object],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    neod.reply = json_of({"account": "main", "outcome": "alive", "detail": "what came of it"})
    assert cli.main(line.split()) == 0
    head, _, sent = neod.request().partition(b"\r\n\r\n")
    assert head.startswith(f"POST /v1/{route} ".encode())
    assert json.loads(sent) == body
    outcome = "alive: " if route == "reject" else ""
    assert capsys.readouterr() == ("", f"neoctl: {outcome}what came of it\n")


@pytest.mark.parametrize("line", ["reject", "reject x", "reject -1", "logins --limit x", "pause 1"])
def test_a_wish_that_cannot_be_one_is_not_sent(neod: CannedNeod, line: str) -> None:
    assert cli.main(line.split()) == 2
    assert neod.untouched


def test_logins_are_a_line_each_that_does_nothing_to_a_terminal(
    neod: CannedNeod, capsys: Captured
) -> None:
    word = {"verb": "reject", "pid": 812, "executable": "/tmp/\x1b[2J\nforged"}
    entry = {"at": 1_700_000_000, "event": "login", "outcome": "accepted", "generation": 2}
    neod.reply = json_of({"logins": [{**entry, "why": "the session was rejected", "word": word}]})

    assert cli.main(["logins", "--limit", "5"]) == 0

    assert neod.target() == "/v1/logins?limit=5"
    assert capsys.readouterr().out == (
        "15 Nov 03:43:20  login        accepted       generation 2; the session was rejected; "
        "asked for: reject, by /tmp/\\x1b[2J\\nforged, pid 812\n"
    )


def test_the_sockets_path_is_printed_whether_or_not_anybody_listens(
    capsys: Captured, tmp_path: Path
) -> None:
    assert cli.main(["socket"]) == 0
    assert capsys.readouterr() == (f"{tmp_path}/neod.sock\n", "")


def test_version_tells_why_there_is_no_answer_of_neods(capsys: Captured, tmp_path: Path) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr() == (
        f"neoctl {__version__}\nneod is not answering: nothing listens at {tmp_path}/neod.sock\n",
        "",
    )


def test_version_as_json_has_null_where_neod_does_not_answer(capsys: Captured) -> None:
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"neoctl": __version__, "neod": None}


# What goes to stderr.


@pytest.mark.parametrize("code", sorted(set(wire.PROBLEMS) - {"not_running"}))
def test_a_problem_is_told_on_stderr_with_its_exit_status(
    neod: CannedNeod, capsys: Captured, code: str
) -> None:
    neod.reply = problem(code, "it is so", action="do this", retry_after=12.4)
    assert cli.main(["token"]) == wire.PROBLEMS[code][1]
    assert capsys.readouterr() == (
        "",
        f"neoctl: {code}: it is so\nneoctl: try again in 12 s\nneoctl: do this\n",
    )


def test_a_problem_without_help_is_one_line(neod: CannedNeod, capsys: Captured) -> None:
    neod.reply = problem("paused")
    assert cli.main(["token"]) == 5
    assert capsys.readouterr() == ("", "neoctl: paused: what happened\n")


@pytest.mark.parametrize("line", ASKS)
@pytest.mark.parametrize("flag", ["", " --json"])
def test_no_verb_has_anything_on_stdout_when_it_fails(
    neod: CannedNeod, capsys: Captured, line: str, flag: str
) -> None:
    neod.reply = problem("broker_unavailable")
    assert cli.main(f"{line}{flag}".split()) == 6
    assert capsys.readouterr() == ("", "neoctl: broker_unavailable: what happened\n")


@pytest.mark.parametrize("line", ASKS)
def test_every_verb_exits_with_3_when_neod_is_not_there(
    capsys: Captured, tmp_path: Path, line: str
) -> None:
    assert cli.main(line.split()) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"neoctl: not_running: nothing listens at {tmp_path}/neod.sock",
        "neoctl: start it: systemctl --user start neod, or: neod run",
    ]


@pytest.mark.parametrize("line", ASKS)
def test_every_verb_exits_with_3_when_no_answer_comes_in_time(
    neod: CannedNeod, capsys: Captured, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.02)
    neod.manner, neod.reply = "hangs", b""
    assert cli.main(line.split()) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("neoctl: not_running: no answer in time from ")


@pytest.mark.parametrize("line", ["token", "session", "get sid", "headers"])
def test_wait_is_time_that_neod_may_take(
    neod: CannedNeod, capsys: Captured, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.0)
    neod.reply = ASKS[line]
    assert cli.main(line.split()) == 3
    assert cli.main([*line.split(), "--wait", "10"]) == 0


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("get sid", b"<html>"),
        ("get sid", b"[1]"),
        ("headers", b"<html>"),
        ("headers", b"{}"),
        ("session", b"\xff"),
        ("status", b"<html>"),
        ("status", b"{}"),
        ("token", b"\xff"),
        ("token --json", b"abc"),
        ("unblock", b"<html>"),
        ("version", b"<html>"),
    ],
)
def test_a_200_that_is_not_neods_is_said_in_words(
    neod: CannedNeod, capsys: Captured, line: str, body: bytes
) -> None:
    neod.reply = ok(body)
    status = cli.main(line.split())
    out, err = capsys.readouterr()
    if line == "version":  # which tells it as the reason why neod's is not known
        assert status == 0
        assert "neod is not answering: " in out
    else:
        assert status in (1, 3)
        assert out == ""
        assert err.startswith("neoctl: ")


def test_a_problem_whose_retry_after_is_no_number_is_told_all_the_same(
    neod: CannedNeod, capsys: Captured
) -> None:
    body = b'{"code": "not_ready", "detail": "soon", "retry_after": "Mon, 29 Jun 2026"}'
    neod.reply = b"HTTP/1.1 503 x\r\n\r\n" + body
    assert cli.main(["token"]) == 4
    assert capsys.readouterr().err.startswith("neoctl: not_ready: soon\n")


# What is asked for.


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("token", "/v1/token"),
        ("session", "/v1/session"),
        ("headers", "/v1/session"),
        ("get sid", "/v1/session"),
        ("token -a main", "/v1/token?account=main"),
        ("token --account main", "/v1/token?account=main"),
        ("token --account=main", "/v1/token?account=main"),
        ("-a main token", "/v1/token?account=main"),
        ("token -a one -a two", "/v1/token?account=two"),
        ("token --min-valid 90", "/v1/token?min_valid=90"),
        ("token --min-valid=0", "/v1/token?min_valid=0"),
        ("token --min-valid 0.5", "/v1/token?min_valid=0.5"),
        ("token --wait 0", "/v1/token"),
        ("token --wait 300", "/v1/token?wait=300"),
        (
            "session -a main --min-valid 60 --wait 2.5",
            "/v1/session?account=main&min_valid=60&wait=2.5",
        ),
        ("get sid -a main --wait 1", "/v1/session?account=main&wait=1"),
        ("headers --min-valid 1 -a main", "/v1/session?account=main&min_valid=1"),
    ],
)
def test_options_stand_in_the_query(
    neod: CannedNeod, capsys: Captured, line: str, target: str
) -> None:
    neod.reply = A_TOKEN if "token" in line else A_SESSION
    assert cli.main(line.split()) == 0
    assert neod.target() == target


@pytest.mark.parametrize(
    ("account", "quoted"),
    [
        ("a b", "a%20b"),
        ("a&min_valid=1", "a%26min_valid%3D1"),
        ("a?b#c/d", "a%3Fb%23c%2Fd"),
        ("100%+1", "100%25%2B1"),
        ("é", "%C3%A9"),
        ("a\r\nHost: evil.example", "a%0D%0AHost%3A%20evil.example"),
        ("\udcff", "%FF"),
    ],
)
def test_an_account_cannot_break_out_of_the_query(
    neod: CannedNeod, capsys: Captured, account: str, quoted: str
) -> None:
    assert cli.main(["token", "-a", account]) == 0
    assert neod.target() == f"/v1/token?account={quoted}"


@pytest.mark.parametrize(
    ("argv", "target"),
    [
        (["token"], "/v1/token?account=from%20env"),
        (["token", "-a", "given"], "/v1/token?account=given"),
    ],
)
def test_the_account_of_the_environment_yields_to_the_option(
    neod: CannedNeod,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    target: str,
) -> None:
    monkeypatch.setenv("NEOD_ACCOUNT", "from env")
    assert cli.main(argv) == 0
    assert neod.target() == target


@pytest.mark.parametrize(
    "seconds", ["0", "0.0001", "90", "1e3", "86400", "86399.75", "123456.5", "1234567", "1e9"]
)
def test_neod_reads_the_min_valid_that_was_typed(
    neod: CannedNeod, capsys: Captured, seconds: str
) -> None:
    assert cli.main(["token", "--min-valid", seconds]) == 0
    assert float(parse(neod.request()).query["min_valid"]) == float(seconds)


# What cannot be asked for.


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--json", "which verb?"),
        ("bogus", "unknown verb 'bogus'"),
        ("Token", "unknown verb 'Token'"),
        ("token --bogus", "unknown option --bogus"),
        ("token -x", "unknown option -x"),
        ("token -", "unknown option -"),
        ("token --json=yes", "unknown option --json=yes"),
        ("token -a", "--account needs a value"),
        ("token --account=", "--account needs a value"),
        ("token --min-valid", "--min-valid needs a value"),
        ("token --wait", "--wait needs a value"),
        ("token --min-valid x", "--min-valid takes a number of seconds, not 'x'"),
        ("token --min-valid -1", "--min-valid takes a number of seconds, not '-1'"),
        ("token --min-valid nan", "--min-valid takes a number of seconds, not 'nan'"),
        ("token --min-valid inf", "--min-valid takes a number of seconds, not 'inf'"),
        ("token --wait 5s", "--wait takes a number of seconds, not '5s'"),
        ("token --wait=-0.1", "--wait takes a number of seconds, not '-0.1'"),
        ("token --wait 1e400", "--wait takes a number of seconds, not '1e400'"),
        ("token --wait 300.1", "--wait takes at most 300 seconds"),
        ("token --wait 3600", "--wait takes at most 300 seconds"),
        ("token extra", "neoctl token takes no argument"),
        ("token -- x", "neoctl token takes no argument"),
        ("token --env", "neoctl token does not take --env"),
        ("env --shell csh", "--shell takes sh or fish, not 'csh'"),
        ("exec", "neoctl exec takes a command: neoctl exec -- CMD [ARGUMENT...]"),
        ("exec --", "neoctl exec takes a command: neoctl exec -- CMD [ARGUMENT...]"),
        ("exec true", "neoctl exec takes a command: neoctl exec -- CMD [ARGUMENT...]"),
        (
            "exec --on-rotate stop -- true",
            "--on-rotate takes none or restart or SIGHUP, not 'stop'",
        ),
        ("get", "neoctl get takes FIELD"),
        ("get sid ucc", "neoctl get takes FIELD"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused_before_neod_hears_of_it(
    neod: CannedNeod, capsys: Captured, line: str, why: str
) -> None:
    assert cli.main(line.split()) == 2
    assert capsys.readouterr() == ("", f"neoctl: {why}\nneoctl: see `neoctl --help`\n")
    assert neod.untouched


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("nope", "there is: account, generation, kind, token, sid, "),
        ("", "there is: account, generation, kind, token, sid, "),
        ("headers.nope", "there is: Auth, Sid, neo-fin-key\n"),
        ("extra.nope", "there is: caches, searchAPIKey\n"),
        ("sid.nope", "there is: nothing further\n"),
        ("rid.nope", "there is: nothing further\n"),
        ("headers.", "there is: Auth, Sid, neo-fin-key\n"),
    ],
)
def test_a_field_that_is_not_there_is_answered_with_what_there_is(
    neod: CannedNeod, capsys: Captured, field: str, why: str
) -> None:
    neod.reply = A_SESSION
    assert cli.main(["get", field]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"neoctl: the session has no {field!r}; {why}")
    assert TOKEN not in err


def test_every_verb_of_the_design_is_known() -> None:
    design = """token session get headers env exec watch wait status logins clients renew reject
        otp unblock pause resume reload doctor socket version"""
    assert set(cli.VERBS) == set(design.split())


def test_without_a_verb_the_usage_is_an_error(capsys: Captured) -> None:
    assert cli.main([]) == 2
    assert capsys.readouterr() == ("", cli.usage())


@pytest.mark.parametrize("line", ["-h", "--help", "help", "token -h", "token --help"])
def test_help_is_what_was_asked_for(capsys: Captured, line: str) -> None:
    assert cli.main(line.split()) == 0
    assert capsys.readouterr() == (cli.usage(), "")


def test_the_usage_names_every_verb_and_every_exit_status() -> None:
    words = set(cli.usage().replace(",", " ").split())
    assert set(cli.VERBS) <= words
    assert {str(status) for _, status, _ in wire.PROBLEMS.values()} <= words


def test_the_usage_fits_a_terminal() -> None:
    assert max(map(len, cli.usage().splitlines())) <= 90


# As a process.


def test_a_process_prints_the_token_alone(neod: CannedNeod) -> None:
    done = run("token")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{TOKEN}\n".encode(), b"")


def test_a_process_exits_with_the_problems_status(neod: CannedNeod) -> None:
    neod.reply = problem("blocked", "two refusals", action="neoctl unblock")
    done = run("token")
    assert (done.returncode, done.stdout) == (5, b"")
    assert done.stderr == b"neoctl: blocked: two refusals\nneoctl: neoctl unblock\n"


def without_privileges() -> tuple[str, ...]:
    """A command that takes root's right to open everything away from the one that follows."""
    if os.getuid():
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("root may open everything, and there is no setpriv to take that away")
    return ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")


@pytest.mark.parametrize("closed", ["socket", "folder"])
def test_a_socket_that_one_may_not_use_exits_with_8(tmp_path: Path, closed: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    path = folder / "neod.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        (path if closed == "socket" else folder).chmod(0)
        done = run("token", before=without_privileges(), NEOD_SOCKET=os.fspath(path))
    folder.chmod(0o700)
    assert (done.returncode, done.stdout) == (8, b"")
    assert done.stderr.decode() == (
        f"neoctl: forbidden: you (uid {os.getuid()}) may not use {path}\n"
        "neoctl: ask as the user who runs neod: sudo -u NAME neoctl …\n"
    )


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_reader_that_left_costs_no_traceback(neod: CannedNeod, size: int) -> None:
    neod.reply = json_of({"long": "x" * size})
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("session", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk_is_said_in_words(neod: CannedNeod) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = run("token", stdout=full)
    finally:
        os.close(full)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_closed_stdout_costs_no_traceback(neod: CannedNeod) -> None:
    done = run("token", before=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_an_interrupt_ends_the_wait_without_a_traceback(neod: CannedNeod) -> None:
    neod.manner, neod.reply = "hangs", b""
    # The default handler by hand: whoever starts pytest in the background has SIGINT ignored.
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from neoctl.cli import main
sys.exit(main(["token", "--wait", "60"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        neod.request()
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=20) == (b"", b"")
    assert waiting.returncode == 130


@pytest.mark.parametrize(
    "argv",
    [
        (b"\xff",),
        (b"--\xff",),
        (b"token", b"--min-valid", b"\xff"),
        (b"token", b"\xff=\xff"),
        (b"get", b"\xff"),
        (b"status", b"-a", b"\xff\xfe"),
        (b"-a", b"\xff", b"exec"),
    ],
)
def test_bytes_that_are_no_text_are_refused_without_a_traceback(
    neod: CannedNeod, argv: tuple[bytes, ...]
) -> None:
    neod.reply = A_STATUS if b"status" in argv else A_SESSION
    done = run(*argv, PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"neoctl: ")
    assert b"Traceback" not in done.stderr


def test_an_account_that_is_no_text_reaches_neod_byte_by_byte(neod: CannedNeod) -> None:
    assert run("token", NEOD_ACCOUNT=b"a\xff").returncode == 0
    assert neod.target() == "/v1/token?account=a%FF"


def test_a_sockets_path_that_is_no_text_is_printed_as_it_is() -> None:
    done = run("socket", NEOD_SOCKET=b"/tmp/\xff.sock", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"/tmp/\xff.sock\n", b"")


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("session", msgspec.json.encode(SESSION) + b"\n"),
        ("get greeting_name", "आशा\n".encode()),
    ],
)
def test_a_name_in_another_script_survives_a_locale_that_lacks_it(
    neod: CannedNeod, line: str, out: bytes
) -> None:
    neod.reply = A_SESSION
    done = run(*line.split(), PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, out, b"")


# The watch


def watching(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "neoctl", "watch", *argv],
        cwd=ROOT,
        env={"NEOD_SOCKET": os.environ["NEOD_SOCKET"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    return out, err


def test_a_watch_is_a_line_an_event_for_a_person(neod: CannedNeod) -> None:
    neod.manner = "hangs"
    neod.reply = a_watch(
        line_of("session", detail="until tomorrow", session={"token": TOKEN}),
        line_of("heartbeat"),
        line_of("login_failed", None, state="backing_off", detail="it is down\x1b[2J"),
    )
    process = watching()
    assert process.stdout
    lines = [process.stdout.readline(), process.stdout.readline()]
    out, _ = ended(process)

    assert lines == [
        b"03:43:20 IST  main: session (ok, generation 7): until tomorrow\n",
        b"03:43:20 IST  main: login_failed (backing_off): it is down\\x1b[2J\n",
    ]
    assert out == b""
    assert TOKEN.encode() not in b"".join(lines)


def test_a_watch_as_json_is_the_stream_as_it_comes(neod: CannedNeod) -> None:
    neod.manner = "hangs"
    lines = [line_of("state", None), line_of("heartbeat"), line_of("session", session={"a": 1})]
    neod.reply = a_watch(*lines)
    process = watching("--json", "-a", "main")
    assert process.stdout

    assert [process.stdout.readline() for _ in lines] == lines
    ended(process)
    assert neod.target() == "/v1/watch?account=main"


def test_a_watch_that_ends_is_taken_up_again_and_repeats_no_session(neod: CannedNeod) -> None:
    neod.reply = a_watch(line_of("session"), line_of("bye"))
    process = watching("-a", "main")
    assert process.stdout
    assert process.stderr
    lines = [process.stdout.readline() for _ in range(3)]
    told = [process.stderr.readline() for _ in range(2)]
    ended(process)

    assert [line.split(b" ")[4] for line in lines] == [b"session", b"bye", b"bye"]
    assert told == [
        b"neoctl: the connection ended; connects again as soon as neod is there\n",
        b"neoctl: connected again\n",
    ]
    assert [neod.target(), neod.target()] == [
        "/v1/watch?account=main",
        "/v1/watch?account=main&after=7",
    ]


def test_a_watch_outlives_a_neod_that_is_not_there_for_a_while(tmp_path: Path) -> None:
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = a_watch(line_of("session"))
        process = watching()
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        assert b"connects again" in process.stderr.readline()
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = a_watch(line_of("session"), line_of("session", 8))
        second = process.stdout.readline()
        ended(process)

    assert (b"generation 7" in first, b"generation 8" in second) == (True, True)


@pytest.mark.parametrize("reply", ["unknown_account", "too_many_connections", "forbidden"])
def test_a_watch_that_cannot_begin_exits_as_the_problem_says(
    neod: CannedNeod, capsys: Captured, reply: str
) -> None:
    neod.reply = problem(reply)

    assert cli.main(["watch"]) == wire.exit_status(reply)
    assert capsys.readouterr().err.startswith(f"neoctl: {reply}: what happened\n")


@pytest.mark.parametrize("line", [b"no JSON\n", b"[]\n", b'{"event":"session"}\n'])
def test_a_watch_that_cannot_be_understood_is_said_in_words(
    neod: CannedNeod, capsys: Captured, line: bytes
) -> None:
    neod.reply = a_watch(line)
    assert cli.main(["watch"]) == 1
    assert "internal_error: a line of the watch" in capsys.readouterr().err


def test_a_watch_of_no_neod_exits_with_3(capsys: Captured) -> None:
    assert cli.main(["watch"]) == 3
    assert "neoctl: not_running: " in capsys.readouterr().err


def test_clients_are_a_line_each_with_what_they_hold(neod: CannedNeod, capsys: Captured) -> None:
    bot = {
        "uid": 1000,
        "pid": 812,
        "started": 1_699_999_000.0,
        "executable": "/usr/bin/node\x1b[2J",
        "unit": "bot.service",
        "since": 1_700_000_000.0,
        "since_rfc3339": "…",
        "requests": 3,
        "account": "main",
        "generation": 7,
        "watches": False,
    }
    gone = bot | {"executable": None, "unit": None, "generation": None, "watches": True}
    # One reply serves both: the clients, and the status that says which generation is the newest.
    neod.reply = json_of({"clients": [bot, gone], "accounts": {"main": {"generation": 8}}})

    assert cli.main(["clients"]) == 0

    out = capsys.readouterr().out
    assert out == (
        "15 Nov 03:43:20  pid 812     /usr/bin/node\\x1b[2J  3 requests; bot.service; "
        "main: generation 7, and 8 is the newest\n"
        "15 Nov 03:43:20  pid 812     ?  watches\n"
    )
