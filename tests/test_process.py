"""End to end, in real time and few: the daemon as a process, the real neoctl, real signals."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neod.sandbox.broker import Credentials
from tests.fakes.process import CONFIG, Home, Neod, Process, Sandbox

MPIN = Credentials().mpin
HASTE = 5.0  # seconds in which a stop has to be over


def test_a_token_is_there_after_the_start_and_the_socket_is_gone_after_the_stop(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url)
    with Neod(home) as neod:
        token = home.neoctl("token", "--wait", "10")
        assert token.returncode == 0
        assert token.stdout.count(".") == 2
        assert token.stderr == ""
        assert stat.S_IMODE(home.socket.stat().st_mode) == 0o600

        status = json.loads(home.neoctl("status", "--json").stdout)
        assert status["accounts"]["main"]["state"] == "ok"
        assert status["accounts"]["main"]["environment"] == "sandbox"
        assert "ok" in home.neoctl("status").stdout

        session = json.loads(home.neoctl("session").stdout)
        headers = home.neoctl("headers").stdout.splitlines()
        assert headers == [f"{name}: {value}" for name, value in session["headers"].items()]
        assert home.neoctl("get", "sid").stdout == f"{session['sid']}\n"

        code, _, log = neod.stop()
    assert code == 0
    assert not home.socket.exists()
    assert home.neoctl("token").returncode == 3
    for secret in ("sandbox-password", "sandbox-consumer-secret", session["token"]):
        assert secret not in log


def test_a_socket_of_systemds_is_served_and_outlives_neod(home: Home, sandbox: Sandbox) -> None:
    command = 'test -z "$LISTEN_FDS$LISTEN_PID" && echo sandbox-password'
    home.configure(
        sandbox.url,
        text=CONFIG.replace('{ file = "password" }', f"{{ command = ['sh', '-c', '{command}'] }}"),
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.socket))
        listening.listen()
        home.environ["NEOD_SOCKET"] = str(home.folder / "another.sock")
        with Neod(home, listening) as neod:
            home.environ["NEOD_SOCKET"] = str(home.socket)
            assert home.neoctl("token", "--wait", "10").returncode == 0
            assert neod.stop()[0] == 0
        with socket.socket(socket.AF_UNIX) as waits_for_the_next:
            waits_for_the_next.connect(str(home.socket))
        assert (home.folder / "main.session").exists()


def test_a_socket_whose_file_was_taken_away_is_bound_anew(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    home.environ["WATCHDOG_USEC"] = "100000"  # so that neod looks twice as often
    with Neod(home) as neod:
        before = home.neoctl("token", "--wait", "10").stdout
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(home.socket))
            home.socket.unlink()
            assert neod.popen.stderr
            assert next(line for line in neod.popen.stderr if "bound anew" in line)
            assert home.neoctl("token").stdout == before
            connected.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert connected.recv(4096).startswith(b"HTTP/1.1 200")

            home.socket.unlink()
            with socket.socket(socket.AF_UNIX) as strange:
                strange.bind(str(home.socket))
                assert next(line for line in neod.popen.stderr if "another file is" in line)
        neod.stop()
    assert home.socket.exists()  # it is not neod's to take away


def test_a_faulty_configuration_is_told_to_who_asks_where_systemd_started_neod(
    home: Home, sandbox: Sandbox
) -> None:
    text = CONFIG.replace("mobile", "moble").replace('{ file = "password" }', "4711")
    home.configure(sandbox.url, text=text)
    home.environ["NEOD_LOG"] = "loud"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.socket))
        listening.listen()
        with Neod(home, listening) as neod:
            for words in (["token"], ["token", "--wait", "10"], ["renew"], ["logins"], ["watch"]):
                answer = home.neoctl(*words)
                assert answer.returncode == 5
                assert "account.main.moble" in answer.stderr
                assert "account.main.password" in answer.stderr
                assert f"neod check --config {home.config}" in answer.stderr
                assert "4711" not in answer.stderr
            assert "account.main.moble" in home.neoctl("status").stdout
            assert home.neoctl("clients").returncode == 0

            home.configure(sandbox.url, text=text.replace("moble", "mobile"))
            assert home.neoctl("reload").returncode == 2
            told = home.neoctl("token").stderr
            assert "account.main.password" in told
            assert "moble" not in told
            home.configure(sandbox.url)
            assert home.neoctl("reload").returncode == 0
            assert home.neoctl("get", "generation", "--wait", "10").stdout == "1\n"
            code, _, log = neod.stop()
    assert code == 0
    assert "did you mean mobile" in log
    assert "NEOD_LOG takes" in log
    assert "Traceback" not in log


def test_sigterm_during_a_login_that_hangs_ends_the_process_soon(
    home: Home, silent_broker: str
) -> None:
    home.configure(silent_broker)
    with Neod(home) as neod:
        _wait_until_connected(neod)
        began = time.monotonic()
        code, _, _ = neod.stop()
        assert time.monotonic() - began < HASTE
    assert code == 0
    assert not home.socket.exists()


def _wait_until_connected(neod: Neod) -> None:
    """Read the log up to the request: then the login hangs."""
    assert neod.popen.stderr
    for line in neod.popen.stderr:
        if "debug request" in line:
            return


def test_a_second_neod_says_who_is_first_and_leaves_it_alone(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    with Neod(home) as first:
        assert home.neoctl("token", "--wait", "10").returncode == 0
        with Process("run", "--config", str(home.config), environ=home.environ) as second:
            _, err = second.popen.communicate(timeout=30)
        assert second.popen.returncode == 23
        assert f"pid {first.popen.pid}" in err
        assert home.neoctl("token").returncode == 0

        elsewhere = {**home.environ, "NEOD_SOCKET": str(home.folder / "other.sock")}
        with Process("run", "--config", str(home.config), environ=elsewhere) as third:
            _, err = third.popen.communicate(timeout=30)
        assert third.popen.returncode == 23  # the ledger has one writer, whatever the socket


def test_a_killed_neod_leaves_nothing_that_stops_the_next(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 0
        neod.stop(signal.SIGKILL)
    assert home.socket.exists()

    with Neod(home) as neod:
        assert home.neoctl("get", "generation", "--wait", "10").stdout == "1\n"
        assert neod.stop(signal.SIGINT)[0] == 0


def test_p3_a_wrong_password_is_sent_once_over_restarts_until_it_changes(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url, password="wrong")
    for _ in range(3):
        with Neod(home) as neod:
            answer = home.neoctl("token", "--wait", "10")
            assert answer.returncode == 5
            assert "credentials_rejected" in answer.stderr
            assert "password" in answer.stderr
            neod.stop()

    home.configure(sandbox.url, password="sandbox-password")
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 0
        neod.stop()
    _, _, log = sandbox.stop()
    logins = [line for line in log.splitlines() if "validate" in line]
    assert [line.rpartition("status=")[2] for line in logins] == ["401", "200"]


def test_unblock_allows_one_more(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url, password="wrong")
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 5
        unblocked = home.neoctl("unblock")
        assert unblocked.returncode == 0
        assert "allowed" in unblocked.stderr
        assert home.neoctl("token", "--wait", "10").returncode == 5
        neod.stop()
    _, _, log = sandbox.stop()
    assert log.count("validate") == 2


def test_a_changed_configuration_is_taken_up_by_word_and_by_signal(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url, password="wrong")
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 5

        home.password.write_text("sandbox-password\n")  # the file of the secret alone
        assert "main: changed" in home.neoctl("reload").stderr
        assert home.neoctl("get", "generation", "--wait", "10").stdout == "1\n"

        home.config.write_text(home.config.read_text() + "[account.main.renewal]\nmargim = 5\n")
        faulty = home.neoctl("reload")
        assert faulty.returncode == 2
        assert "account.main.renewal.margim" in faulty.stderr
        neod.popen.send_signal(signal.SIGHUP)
        assert neod.popen.stderr
        assert any("margim" in line for line in neod.popen.stderr)
        assert home.neoctl("get", "generation").stdout == "1\n"

        neod.popen.send_signal(signal.SIGUSR1)
        after = home.neoctl("get", "generation", "--wait", "10")
        while after.stdout == "1\n":
            after = home.neoctl("get", "generation", "--wait", "10")
        assert after.stdout == "2\n"

        home.configure(sandbox.url, text=CONFIG.replace("mobile", f"mpin = '{MPIN}'\nmobile"))
        assert "another login by now" in home.neoctl("reload").stderr
        assert home.neoctl("get", "kind", "--wait", "10").stdout == "trade\n"
        assert home.neoctl("get", "generation").stdout == "3\n"  # by the same ledger
        assert neod.stop()[0] == 0


def test_a_stop_right_after_ready_is_a_clean_one(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    for _ in range(3):
        with Neod(home) as neod:
            assert neod.stop()[0] == 0


def test_no_signal_ends_neod_while_it_starts_and_stops(home: Home, sandbox: Sandbox) -> None:
    home.configure(sandbox.url)
    lock = home.folder / "state" / "neod" / "lock"
    with Process("run", "--config", str(home.config), environ=home.environ) as neod:
        while not lock.exists():  # until then it is Python that starts
            time.sleep(0.001)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            neod.popen.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        assert home.neoctl("token", "--wait", "10").returncode == 0

        neod.popen.send_signal(signal.SIGTERM)
        while neod.popen.poll() is None:
            neod.popen.send_signal(signal.SIGHUP)
            time.sleep(0.002)
    assert neod.popen.returncode == 0


def test_p6_a_program_of_one_account_does_not_see_the_variables_of_another(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(
        sandbox.url,
        text=CONFIG.replace('"sandbox-consumer-secret"', '{ env = "SECRET" }')
        + CONFIG.replace("account.main", "account.other").replace(
            '{ file = "password" }', '{ command = ["sh", "-c", "env >$HOME/seen; echo x"] }'
        ),
    )
    home.environ["SECRET"] = "sandbox-consumer-secret"
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 0
        assert home.neoctl("token", "-a", "other", "--wait", "10").returncode == 5
        neod.stop()
    assert "SECRET" not in (home.folder / "seen").read_text()


SIGNALLED = """
import signal, sys
from pathlib import Path
import trio
from neod import config, daemon

loads = 0

def load():
    global loads
    loads += 1
    if loads == 1:
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.raise_signal(number)
    if loads == 2:
        signal.raise_signal(signal.SIGHUP)
        raise ZeroDivisionError  # a bug, which must not end the sessions
    return config.Config(accounts={}, server=config.Server())

async def shutdown():
    while loads < 3:
        await trio.sleep(0.01)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.raise_signal(number)

folder = Path(sys.argv[1])
trio.run(lambda: daemon.main(load, {}, folder / "neod.sock", folder / "state", shutdown=shutdown))
"""


def test_a_signal_that_comes_early_is_heeded_and_none_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED, os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0


def test_the_demo_ends_with_its_terminal(home: Home) -> None:
    with Process("demo", environ=home.environ) as demo:
        assert demo.popen.stdout
        assert any("logged in" in line for line in demo.popen.stdout)
        assert demo.stop(signal.SIGHUP)[0] == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("mobile", "moble"), ["account.main.moble", "mobile"]),
        (('"9999996708"', "9999996708"), ["account.main.mobile"]),
        (("password = ", "# password = "), ["account.main.password"]),
        (("consumer_key", "consumer_kez"), ["main.consumer_kez", "main.consumer_key"]),
    ],
)
def test_a_wrong_configuration_names_each_key_and_nothing_is_started(
    home: Home, change: tuple[str, str], named: list[str]
) -> None:
    home.configure("http://127.0.0.1:1/", text=CONFIG.replace(*change, 1))
    _refused(home, named)


def test_a_password_file_that_others_can_read_is_refused_with_the_chmod(home: Home) -> None:
    home.configure("http://127.0.0.1:1/")
    home.password.chmod(0o644)
    _refused(home, ["account.main.password", f"chmod 600 {home.password}"])


def test_a_configuration_with_a_password_that_others_can_read_is_refused(home: Home) -> None:
    text = CONFIG.replace('{ file = "password" }', '"hunter2"')
    home.configure("http://127.0.0.1:1/", text=text)
    home.config.chmod(0o644)
    _refused(home, ["account.main.password", f"chmod 600 {home.config}"])


def _refused(home: Home, named: list[str]) -> None:
    with Process("run", "--config", str(home.config), environ=home.environ) as neod:
        _, err = neod.popen.communicate(timeout=30)
    assert neod.popen.returncode == 2
    assert "Traceback" not in err
    assert "hunter2" not in err
    for name in named:
        assert name in err
    assert not home.socket.exists()
    assert not (home.folder / "state").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="what root is told")
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_root_is_told_whose_service_neod_is(home: Home, command: str) -> None:
    with Process(command, environ=home.environ) as neod:
        _, err = neod.popen.communicate(timeout=30)
    assert neod.popen.returncode == 2
    assert err.startswith("neod: you are root")
    assert "sudo -u NAME neod install" in err


@pytest.mark.parametrize("host", ["", "Host: localhost\r\n", "Host: unix:80\r\n", "Host: neod\r\n"])
def test_the_hosts_that_clients_send_by_themselves_pass(
    home: Home, sandbox: Sandbox, host: str
) -> None:
    home.configure(sandbox.url)
    with Neod(home) as neod:
        home.neoctl("token", "--wait", "10")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(home.socket))
            client.sendall(f"GET /v1/session HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode())
            raw = b"".join(iter(lambda: client.recv(65536), b""))
        neod.stop()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(body)["account"] == "main"


def test_the_demo_takes_the_usual_socket_if_nobody_wants_it_and_ends_by_itself(home: Home) -> None:
    with Process("demo", "--for", "2", environ=home.environ) as demo:
        assert demo.popen.stdout
        for line in demo.popen.stdout:
            if "logged in" in line:
                break
        assert home.neoctl("token").returncode == 0
        out, _ = demo.popen.communicate(timeout=30)
    assert demo.popen.returncode == 0
    assert out is not None
    assert not home.socket.exists()
    assert not (home.folder / "state").exists()


def test_the_demo_leaves_a_socket_alone_that_a_configuration_is_for(home: Home) -> None:
    (home.folder / "config" / "neod").mkdir(parents=True)
    (home.folder / "config" / "neod" / "config.toml").touch()
    with Process("demo", "--for", "0.5", environ=home.environ) as demo:
        out, _ = demo.popen.communicate(timeout=30)
    assert f"NEOD_SOCKET={home.socket}" not in out
    assert "NEOD_SOCKET=" in out
    assert not home.socket.exists()
