"""neoctl env, exec and wait: the session for a shell, and for a child with its own status."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import msgspec
import pytest

from neoctl import cli, env
from tests.fakes.canned import (
    A_SESSION,
    SESSION,
    TOKEN,
    CannedNeod,
    a_watch,
    json_of,
    line_of,
    problem,
)

ROOT = Path(__file__).parent.parent
Captured = pytest.CaptureFixture[str]
NASTY = """it's $(touch x) `y` \\ "z" ; *"""


@pytest.fixture
def neod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedNeod]:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    monkeypatch.delenv("NEOD_ACCOUNT", raising=False)
    with CannedNeod(tmp_path / "neod.sock") as server:
        server.reply = A_SESSION
        yield server


def executing(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # What ignores a hang-up, as under nohup, has children that do.
        ["env", "--default-signal=HUP", sys.executable, "-m", "neoctl", "exec", *words],
        cwd=ROOT,
        env={"NEOD_SOCKET": os.environ["NEOD_SOCKET"], "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def done(*words: str) -> tuple[int, str, str]:
    process = executing(*words)
    out, err = process.communicate(timeout=20)
    return process.returncode, out.decode(), err.decode()


# env


def test_a_shell_that_evaluates_it_has_the_session(neod: CannedNeod, capsys: Captured) -> None:
    neod.reply = json_of(msgspec.structs.replace(SESSION, sid=NASTY, base_url=None))
    assert cli.main(["env"]) == 0

    script = capsys.readouterr().out + 'printf "%s|" "$NEO_TOKEN" "$NEO_SID" "${NEO_BASE_URL-gone}"'
    found = subprocess.run(
        ["sh", "-c", script], env={"NEO_BASE_URL": "old"}, capture_output=True, check=True
    )
    assert found.stdout.decode() == f"{TOKEN}|{NASTY}|gone|"


def test_for_fish_a_quote_and_a_backslash_are_escaped() -> None:
    assert env.lines({"A": "it's \\", "B": None}, "fish") == "set -gx A 'it\\'s \\\\';\nset -e B;\n"


def test_the_variables_as_json(neod: CannedNeod, capsys: Captured) -> None:
    assert cli.main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "NEO_TOKEN": TOKEN,
        "NEO_SID": "3f2b",
        "NEO_BASE_URL": "https://cis.kotaksecurities.com",
        "NEO_EXPIRES_AT": "1700000000",
    }


def test_a_value_with_control_characters_reaches_no_shell(
    neod: CannedNeod, capsys: Captured
) -> None:
    neod.reply = json_of(msgspec.structs.replace(SESSION, sid="a\nrm -rf ~"))
    assert cli.main(["env"]) == 1
    assert capsys.readouterr().out == ""


# exec


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)],
)
def test_the_status_is_the_programs_own(neod: CannedNeod, script: str, status: int) -> None:
    assert done("--", "sh", "-c", script) == (status, "", "")


def test_a_program_that_is_not_there_or_cannot_be_run_is_as_with_env(
    neod: CannedNeod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # as with env, one that may not be read says 126
    text = tmp_path / "text"
    text.write_text("no program")
    assert done("--", "/not/there")[0] == 127
    assert done("--", "not-there-either")[0] == 127
    assert done("--", str(text))[0] == 126


def test_the_program_is_given_where_to_ask_and_no_secret(neod: CannedNeod) -> None:
    status, out, _ = done("-a", "main", "--", "env")
    given = dict(line.split("=", 1) for line in out.splitlines())

    assert status == 0
    assert given["NEOD_SOCKET"] == os.environ["NEOD_SOCKET"]
    assert given["NEOD_ACCOUNT"] == "main"
    assert TOKEN not in out


def test_with_env_it_is_given_the_values_too(neod: CannedNeod) -> None:
    _, out, _ = done("--env", "--", "env")
    assert f"NEO_TOKEN={TOKEN}\n" in out


def test_it_is_given_its_arguments_as_they_are(neod: CannedNeod) -> None:
    words = ["--", "-a", "--json", NASTY]
    assert done("--", "printf", "%s|", *words)[1] == "".join(f"{word}|" for word in words)


def test_without_a_session_in_time_it_is_not_run(neod: CannedNeod) -> None:
    neod.reply = problem("blocked", action="neoctl unblock")
    status, out, err = done("--wait", "0", "--", "echo", "ran")
    assert (status, out) == (125, "")
    assert "neoctl: blocked: what happened" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_passed_on(neod: CannedNeod, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    process = executing(
        "--", "sh", "-c", f"trap 'exit 9' {name}; echo up; while :; do sleep 0.01; done"
    )
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 9


def test_the_program_blocks_no_signal(neod: CannedNeod) -> None:
    _, out, _ = done("--", "grep", "SigBlk", "/proc/self/status")
    assert int(out.split()[1], 16) == 0


def test_the_program_ignores_no_signal_that_python_does(neod: CannedNeod) -> None:
    _, out, _ = done("--", "grep", "SigIgn", "/proc/self/status")
    ignored = int(out.split()[1], 16)
    assert not [n for n in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (n - 1) & 1]


def test_it_waits_for_neod_and_for_the_first_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    process = executing("--", "echo", "ran")
    assert process.stderr
    assert b"waits; not_running" in process.stderr.readline()
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = problem("not_ready")
        while b"waits; not_ready" not in process.stderr.readline():
            pass
        neod.reply = A_SESSION
        out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, b"ran\n")


@pytest.mark.parametrize(
    ("action", "script", "said"),
    [
        ("SIGHUP", "trap 'echo hup; exit' HUP; echo up; while :; do sleep 0.01; done", "hup\n"),
        (
            "restart",
            "case $NEO_TOKEN in new) echo again;; *) echo up; exec sleep 99;; esac",
            "again\n",
        ),
    ],
)
def test_at_a_rotation_it_is_told_or_started_anew(
    neod: CannedNeod, action: str, script: str, said: str
) -> None:
    session = msgspec.to_builtins(msgspec.structs.replace(SESSION, generation=8, token="new"))
    neod.watch = a_watch(line_of("session", 8, session=session))

    neod.rotated.clear()
    process = executing("--env", "--on-rotate", action, "--", "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    neod.rotated.set()
    out, _ = process.communicate(timeout=20)

    assert (process.returncode, out.decode()) == (0, said)


def a_rotation(generation: int = 8) -> bytes:
    session = msgspec.structs.replace(SESSION, generation=generation, token="new")
    return line_of("session", generation, session=msgspec.to_builtins(session))


def test_who_is_stopped_while_it_is_started_anew_is_not_started_anew(neod: CannedNeod) -> None:
    program = """if True:
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print("up", flush=True)
        signal.sigwait([signal.SIGTERM])
        print("rotated", flush=True)
        signal.sigwait([signal.SIGTERM])
        exit(3)
    """
    neod.watch = a_watch(a_rotation())
    neod.rotated.clear()
    process = executing("--on-rotate", "restart", "--", sys.executable, "-c", program)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    neod.rotated.set()
    assert process.stdout.readline() == b"rotated\n"
    process.send_signal(signal.SIGTERM)
    try:
        out, _ = process.communicate(timeout=10)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (3, b"")


def test_rotations_are_followed_again_once_what_was_in_the_way_is_over(neod: CannedNeod) -> None:
    script = "trap 'echo hup; exit' HUP; echo up; while :; do sleep 0.01; done"
    process = executing("--on-rotate", "SIGHUP", "--", "sh", "-c", script)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"up\n"
    assert b"internal_error: a line of the watch cannot be" in process.stderr.readline()
    neod.watch = a_watch(a_rotation())
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"hup\n")


def test_a_program_is_restarted_though_nobody_reads_what_is_said(neod: CannedNeod) -> None:
    neod.watch = a_watch(a_rotation())
    neod.rotated.clear()
    script = "case $NEO_TOKEN in new) echo again;; *) echo up; exec sleep 99;; esac"
    process = executing("--env", "--on-rotate", "restart", "--", "sh", "-c", script)
    assert process.stdout
    assert process.stderr
    process.stderr.close()
    assert process.stdout.readline() == b"up\n"
    neod.rotated.set()
    assert process.stdout.readline() == b"again\n"
    assert process.wait(timeout=10) == 0
    process.stdout.close()


def test_the_status_is_the_programs_own_though_children_are_ignored(neod: CannedNeod) -> None:
    command = [sys.executable, "-m", "neoctl", "exec", "--", "sh", "-c", "exit 7"]
    ignoring = ["env", "--ignore-signal=CHLD", *command]
    environ = {"NEOD_SOCKET": os.environ["NEOD_SOCKET"], "PATH": os.environ["PATH"]}
    ended = subprocess.run(ignoring, cwd=ROOT, env=environ, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (7, b"")


def test_the_programs_own_options_are_none_of_neoctls(neod: CannedNeod) -> None:
    assert done("--", "echo", "-h", "--help") == (0, "-h --help\n", "")


# wait


def test_wait_returns_when_there_is_a_session(neod: CannedNeod, capsys: Captured) -> None:
    neod.reply = problem("credentials_rejected")

    def mend() -> None:
        neod.reply = A_SESSION

    timer = Timer(0.2, mend)
    timer.start()
    assert cli.main(["wait"]) == 0
    timer.join()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("code", "status"), [("blocked", 5), ("not_ready", 4), ("forbidden", 8)])
def test_wait_ends_with_what_is_in_the_way(
    neod: CannedNeod, capsys: Captured, code: str, status: int
) -> None:
    neod.reply = problem(code)
    assert cli.main(["wait", "--wait", "0"]) == status
    assert f"neoctl: {code}: what happened" in capsys.readouterr().err


def test_wait_without_neod_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    assert cli.main(["wait", "--wait", "0.1"]) == 3
