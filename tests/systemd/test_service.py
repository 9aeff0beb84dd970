"""neod as a service, by a real systemd: how it starts, stops, fails, and is started again."""

import os
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neod.install import UNITS
from tests.fakes.process import CONFIG, Sandbox
from tests.systemd.machine import RUNTIME, Machine
from tests.systemd.service import PROGRAMS, SOCKET, UNIT_FOLDER, Service, asked

pytestmark = pytest.mark.outer

DROP_INS = Path(__file__).parent.parent.parent / "systemd" / "drop-ins"
EXPOSED = 6.5  # the most that `systemd-analyze security` may say of the unit, out of 10
FAULTY = f"{CONFIG}\n[server]\ngrace = 'long'\n"
HASTE = 5.0  # seconds in which a stop has to be over


def many(service: Service, count: int, *words: str) -> list[tuple[int, str, str]]:
    """What so many clients at once come to."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: service.neoctl(*words), range(count)))


# Starting


def test_who_connects_first_starts_it_and_is_answered(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.machine.systemctl("start", "neod.socket")
    assert service.stands() == ("inactive", "dead", 0)

    tokens = {out for _, out, _ in many(service, 8, "token", "--wait", "20")}

    assert len(tokens) == 1
    assert tokens.pop().count(".") == 2
    assert service.stands() == ("active", "running", 0)
    assert asked(sandbox)["logins"] == 1


def test_the_line_and_the_journal_say_what_happens_with_priorities(
    service: Service, sandbox: Sandbox
) -> None:
    service.configure(sandbox.url)
    service.start()
    service.token()
    assert re.fullmatch(r"main: view session until [\d:]+ IST, renews [\d:]+", service.says())
    service.machine.systemctl("stop", "neod.service")

    service.configure("http://127.0.0.1:9/")
    service.machine.do("rm", os.fspath(SOCKET.with_name("main.session")))
    service.start()
    entries = service.log(until="login_failed")

    priorities = {entry.text.split()[1]: entry.priority for entry in entries if "=" in entry.text}
    assert priorities["request"] == "7"
    assert priorities["start"] == priorities["session"] == "6"
    assert priorities["login_failed"] == "4"
    assert not [entry.text for entry in entries if entry.text.startswith("<")]


def test_a_broker_that_is_down_is_no_failure_of_the_unit(service: Service) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service.configure(f"http://127.0.0.1:{port}/")
    service.start()

    service.log(until="login_failed")
    assert service.stands() == ("active", "running", 0)
    assert service.neoctl("token")[0] == 6
    with Sandbox("--port", str(port)):
        assert service.neoctl("renew")[0] == 0
        assert service.token()


def test_a_faulty_configuration_is_told_to_all_who_ask_and_mended_by_a_reload(
    service: Service, sandbox: Sandbox
) -> None:
    service.configure(sandbox.url, text=CONFIG.replace("mobile", "moble"))
    service.machine.systemctl("start", "neod.socket")

    for _ in range(3):
        for status, _, err in many(service, 8, "token", "--wait", "5"):
            assert status == 5
            assert "account.main.moble" in err
    assert "account.main.moble" in service.says()
    assert service.stands() == ("active", "running", 0)
    assert service.machine.run("systemctl", "--user", "reload", "neod").returncode != 0

    service.configure(sandbox.url)
    service.machine.systemctl("reload", "neod")
    assert service.token()
    assert "moble" not in service.says()
    starts = [entry for entry in service.log(until="session") if "info start" in entry.text]
    assert len(starts) == 1


def test_a_reload_is_waited_for_and_a_faulty_one_changes_nothing(
    service: Service, sandbox: Sandbox
) -> None:
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    service.configure(sandbox.url, text=FAULTY)
    assert service.machine.run("systemctl", "--user", "reload", "neod").returncode != 0
    assert service.token() == token
    assert service.stands() == ("active", "running", 0)
    told = service.log(until="error reload")[-1]
    assert "server.grace" in told.text
    assert told.priority == "3"

    service.configure(sandbox.url, text=CONFIG + CONFIG.replace("main", "second"))
    service.machine.systemctl("reload", "neod")
    assert service.neoctl("token", "-a", "second", "--wait", "10")[0] == 0
    assert service.token() == token
    assert service.stands() == ("active", "running", 0)


def test_a_hangup_is_a_reload_too(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    service.configure(sandbox.url, text=FAULTY)
    service.machine.systemctl("kill", "--kill-who=main", "--signal=HUP", "neod.service")
    assert "server.grace" in service.log(until="error reload")[-1].text
    assert service.token() == token

    service.configure(sandbox.url, text=CONFIG + CONFIG.replace("main", "second"))
    service.machine.systemctl("kill", "--kill-who=main", "--signal=HUP", "neod.service")
    service.log(until="account=second")
    assert service.neoctl("token", "-a", "second", "--wait", "10")[0] == 0
    assert service.token() == token
    assert service.stands() == ("active", "running", 0)


def test_neoctl_reload_says_what_came_of_it(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    service.configure(sandbox.url, text=FAULTY)
    status, _, err = service.neoctl("reload")
    assert status == 2
    assert "nothing is changed" in err
    assert "server.grace" in err

    service.configure(sandbox.url, text=CONFIG + CONFIG.replace("main", "second"))
    status, out, err = service.neoctl("reload")
    assert status == 0
    assert "main: unchanged" in out + err
    assert service.token() == token


# Ending, and starting again


def test_a_kill_is_a_wait_for_who_asks_and_no_login(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    for restarts in (1, 2):
        service.machine.systemctl("kill", "--signal=KILL", "neod.service")
        assert service.token() == token
        assert service.stands() == ("active", "running", restarts)
    assert asked(sandbox)["logins"] == 1


def test_a_restart_is_a_wait_for_who_asks_and_no_login(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    with ThreadPoolExecutor(1) as beside:
        restarted = beside.submit(service.machine.systemctl, "restart", "neod.service")
        answers = many(service, 4, "token", "--wait", "10")
        restarted.result()
    # Who is answered at the very end is told that neod is stopping; nobody is refused.
    assert {status for status, _, _ in answers} <= {0, 4}
    assert service.token() == token
    assert asked(sandbox)["logins"] == 1


def test_a_loop_that_stands_still_is_ended_with_its_stack_in_the_journal(
    service: Service, sandbox: Sandbox
) -> None:
    pipe = RUNTIME / "standing"
    script = Path(__file__).with_name("standstill.py")
    service.drop_in(
        "standstill",
        "[Service]\nWatchdogSec=1s\nExecStart=\n"
        f"ExecStart={sys.executable} -P {script} run {pipe}\n",
    )
    service.machine.do("mkfifo", os.fspath(pipe))
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    service.machine.systemctl("kill", "--kill-who=main", "--signal=USR2", "neod.service")
    service.machine.do("cat", os.fspath(pipe))
    assert service.token() == token  # of the next one: this one answers nobody
    assert service.stands() == ("active", "running", 1)
    assert asked(sandbox)["logins"] == 1
    said = "\n".join(entry.text for entry in service.log(until="info resumed"))
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said
    assert "in stand_still" in said
    service.machine.do("rm", os.fspath(pipe))


def test_a_stop_in_a_login_is_a_stop(service: Service, silent_broker: str) -> None:
    service.configure(silent_broker)
    service.start()
    service.log(until="debug request")

    began = time.monotonic()
    service.machine.systemctl("stop", "neod.service")
    assert time.monotonic() - began < HASTE
    shown = service.machine.show("neod.service", "Result", "ExecMainStatus")
    assert shown == {"Result": "success", "ExecMainStatus": "0"}


def test_p3_refused_credentials_are_sent_once_however_many_ask(
    service: Service, sandbox: Sandbox
) -> None:
    service.configure(sandbox.url, password="wrong")
    service.machine.systemctl("start", "neod.socket")

    for _ in range(4):
        answers = many(service, 8, "token", "--wait", "5")
        assert {status for status, _, _ in answers} == {5}
    assert service.stands() == ("active", "running", 0)
    assert service.says().startswith("main: refused")

    service.machine.systemctl("restart", "neod.service")
    assert service.neoctl("token", "--wait", "5")[0] == 5
    assert asked(sandbox)["refusals"] == 1


def test_a_socket_whose_file_is_gone_is_said_with_what_mends_it(
    service: Service, sandbox: Sandbox
) -> None:
    service.drop_in("often", "[Service]\nWatchdogSec=1s\n")  # it looks twice as often
    service.configure(sandbox.url)
    service.start()
    token = service.token()

    service.machine.do("rm", os.fspath(SOCKET))
    service.log(until="the socket's file is gone")
    assert service.neoctl("token")[0] == 3
    words = service.says().rpartition(": ")[2].split()
    assert words == ["systemctl", "--user", "restart", "neod.socket", "neod.service"]

    service.machine.do(*words)
    assert service.token() == token
    assert asked(sandbox)["logins"] == 1


# The units


def test_systemd_finds_nothing_wrong_with_the_units(service: Service) -> None:
    paths = [os.fspath(UNIT_FOLDER / unit) for unit in UNITS]
    said = service.machine.run(
        "systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=yes", *paths
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_unit_is_no_more_exposed_than_it_was(service: Service) -> None:
    said = service.machine.do(
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={EXPOSED * 10:.0f}",
        os.fspath(UNIT_FOLDER / "neod.service"),
    )

    assert "Overall exposure level" in said


def test_secrets_come_from_systemds_credentials(service: Service, sandbox: Sandbox) -> None:
    drop_in = (DROP_INS / "credentials.conf").read_text()
    service.drop_in("credentials", re.sub(r"kotak-mpin:.*", "kotak-mpin:%h/secret", drop_in))
    text = CONFIG.replace('{ file = "password" }', '{ credential = "kotak-mpin" }')
    for name in (".config/neod/access-token", ".config/neod/totp-secret", "secret"):
        service.machine.write(UNIT_FOLDER.parents[2] / name, "sandbox-password\n")
    service.configure(sandbox.url, text=text)
    service.start()

    assert service.token()


def test_neod_works_with_all_of_the_stricter_directives(service: Service, sandbox: Sandbox) -> None:
    service.configure(sandbox.url)
    service.machine.do("mkdir", "-p", os.fspath(UNIT_FOLDER.parents[2] / ".local/state/neod"))
    service.drop_in("stricter", (DROP_INS / "stricter.conf").read_text())
    service.start()
    token = service.token()

    service.machine.systemctl("kill", "--signal=KILL", "neod.service")
    assert service.token() == token


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("node", ["node", "-e", "console.log('sandbox-password')"]),
        ("java", ["java", "-version"]),  # which prints no secret, and does not die of the unit
    ],
)
def test_the_unit_is_in_no_hooks_way(
    service: Service, sandbox: Sandbox, program: str, words: list[str]
) -> None:
    if service.machine.run("which", program).returncode != 0:
        package = {"node": "nodejs", "java": "default-jdk-headless"}[program]
        pytest.fail(f"this needs {program}: apt-get install {package}")
    service.configure(
        sandbox.url, text=CONFIG.replace('{ file = "password" }', f"{{ command = {words} }}")
    )
    service.start()

    status, _, err = service.neoctl("renew")
    assert status == 0 if program == "node" else "what it printed is empty" in err


# neod install


def listing(machine: Machine) -> str:
    config = os.fspath(UNIT_FOLDER.parents[1])
    return machine.run("find", config, "-printf", "%P %y %l %m\n").stdout


def test_install_and_uninstall_leave_the_folder_as_it_was(
    a_machine: Machine, sandbox: Sandbox
) -> None:
    service = Service(a_machine)
    service.configure(sandbox.url)
    service.machine.write(UNIT_FOLDER / "other.service", "[Service]\nExecStart=/bin/true\n")
    before = listing(a_machine)
    try:
        done = a_machine.run(*PROGRAMS.neod, "install", "--no-linger")
        assert done.returncode == 0, done.stdout + done.stderr
        assert service.token()
        shown = a_machine.show("neod.service", "UnitFileState", "ActiveState", "DropInPaths")
        assert shown == {"UnitFileState": "enabled", "ActiveState": "active", "DropInPaths": ""}
        assert a_machine.show("neod.socket", "UnitFileState")["UnitFileState"] == "enabled"

        installed = listing(a_machine)
        again = a_machine.run(*PROGRAMS.neod, "install")
        assert listing(a_machine) == installed
        # There is no logind here, so no linger can be had, which is not passed over.
        assert again.returncode == 1
        assert "neod ends when you log out" in again.stdout
        assert service.stands() == ("active", "running", 0)

        done = a_machine.run(*PROGRAMS.neod, "uninstall")
        assert done.returncode == 0, done.stdout + done.stderr
        assert listing(a_machine) == before
        assert service.neoctl("token")[0] == 3
        assert a_machine.show("neod.service", "LoadState")["LoadState"] == "not-found"
    finally:
        service.clear()


def test_without_a_bus_install_says_so_and_writes_nothing(a_machine: Machine) -> None:
    before = listing(a_machine)
    environ = {"XDG_RUNTIME_DIR": "/run/nowhere"}
    done = a_machine.run(
        "env", *(f"{k}={v}" for k, v in environ.items()), *PROGRAMS.neod, "install"
    )

    assert done.returncode == 2
    assert "loginctl enable-linger neod-test" in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(a_machine) == before
