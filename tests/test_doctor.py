"""`neoctl doctor`: what is judged of which facts, and what it looks like."""

import json
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from threading import Event

import pytest

from neoctl import cli, client, doctor, probes
from neoctl.doctor import FAILED, OK, WARNING, Finding
from neoctl.probes import Answer, Done, Look, Place, Routes, Space
from tests.fakes.canned import CannedNeod, json_of, ok, problem
from tests.test_glance import NONE, NOW, standing

PYTHON = sys.executable
UID = os.getuid()
ME = probes.user_name(UID)
OTHER = UID + 4711
PATH = "/run/user/1000/neod/neod.sock"
Captured = pytest.CaptureFixture[str]


def only(findings: Iterable[Finding] | Finding) -> Finding:
    """The one finding. A Finding is a tuple, so it comes first."""
    if isinstance(findings, Finding):
        return findings
    [found] = findings
    return found


def holds(found: Finding, level: str, detail: str, action: str = "") -> None:
    """It is of this level; these words are in it; and what is trouble has a remedy."""
    assert (found.level, bool(found.action)) == (level, level != OK), found
    assert detail in found.detail
    assert action in found.action


# The socket


@pytest.mark.parametrize(
    ("here", "level", "detail", "action"),
    [
        (Place(PATH, "socket", 0o600, UID), OK, f"{PATH}, mode 0600", ""),
        (Place(PATH, "socket", 0o666, UID), WARNING, "open to others (mode 0666)", f"600 {PATH}"),
        (Place(PATH, "socket", 0o600, OTHER), FAILED, f"belongs to {OTHER}", f"sudo -u {OTHER}"),
        (Place(PATH, "file", 0o600, UID), FAILED, "is no socket", "ls -l"),
        (Place(PATH), FAILED, f"there is none at {PATH}", "systemctl --user start neod"),
        (
            Place(PATH, "other", why="Permission denied"),
            FAILED,
            "Permission denied",
            "sudo -u NAME",
        ),
        (Place(f"/{'x' * 107}"), FAILED, "more than 107 bytes", "NEOD_SOCKET"),
    ],
)
def test_the_socket(here: Place, level: str, detail: str, action: str) -> None:
    holds(only(doctor.judge_socket(here, UID)), level, detail, action)


@pytest.mark.parametrize(
    ("mode", "owner", "level", "detail", "action"),
    [
        (0o700, UID, OK, "/run/x, mode 0700", ""),
        (0o755, UID, WARNING, "others may look into it", "chmod 700 /run/x"),
        (0o1777, 0, WARNING, "others may look into it", ""),
        (0o770, UID, FAILED, "others may replace the socket", "chmod 700 /run/x"),
        (0o700, OTHER, FAILED, "may replace the socket", f"sudo -u {OTHER} neoctl doctor"),
    ],
)
def test_the_sockets_folder(mode: int, owner: int, level: str, detail: str, action: str) -> None:
    place = Place("/run/x", "folder", mode, owner)
    holds(only(doctor.judge_folder(place, UID)), level, detail, action)


def test_a_folder_that_is_not_there_is_told_of_as_the_missing_socket() -> None:
    assert list(doctor.judge_folder(Place("/run/x"), UID)) == []


STATUS = b'{"version": "1", "accounts": {}}'


@pytest.mark.parametrize(
    ("answer", "level", "detail", "action"),
    [
        (Answer(0.0021, STATUS, UID), OK, "neod answers within 2 ms", ""),
        (Answer(0.002, STATUS, None), OK, "neod answers within 2 ms", ""),
        (Answer(1.5, STATUS, UID), WARNING, "neod answers within 1500 ms", "top"),
        (Answer(0.1, STATUS, OTHER), FAILED, f"{OTHER} listens there", f"sudo -u {OTHER}"),
        (Answer(0.1, b"<html>", UID), FAILED, "cannot be understood", "neoctl version"),
        (Answer(0.1, b"[]", UID), FAILED, "cannot be understood", "neoctl version"),
        (
            Answer(problem=client.Problem("not_running", "nobody", action="start it: neod run")),
            FAILED,
            "nobody",
            "neod run",
        ),
    ],
)
def test_the_answer(answer: Answer, level: str, detail: str, action: str) -> None:
    holds(doctor.judge_answer(answer, UID), level, detail, action)
    assert not doctor.judge_answer(answer, UID).action.startswith("start it")


def test_versions_are_of_one_make_or_that_is_said() -> None:
    holds(doctor.judge_versions("1.2", "1.2"), OK, "neoctl and neod are 1.2")
    older = doctor.judge_versions("1.2", "1.1")
    holds(older, WARNING, "neoctl is 1.2, and the neod that runs is 1.1", "restart neod")


# systemd


def units(service: str = "", listening: str = "", **changes: str) -> Done:
    """What systemctl says of a unit that is enabled and active, but for the changes."""
    usual = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "Result": "success",
        "NeedDaemonReload": "no",
    }
    text = "".join(f"{name}={value}\n" for name, value in (usual | changes).items())
    return Done(
        0,
        f"Id=neod.service\n{text}{service}\n"
        f"Id=neod.socket\nLoadState=loaded\nActiveState=inactive\n{listening}",
    )


@pytest.mark.parametrize(
    ("done", "level", "detail", "action"),
    [
        (units(), OK, "neod.service is active", ""),
        (None, OK, "no systemd runs here", ""),
        (Done(1, "", "Failed to connect to bus\nx"), WARNING, "Failed to connect to bus", "su"),
        (units(LoadState="not-found"), WARNING, "nothing starts neod", "neod install"),
        (units(LoadState="masked"), WARNING, "neod.service is masked", "neod install"),
        (units(ActiveState="activating"), WARNING, "is activating", "systemctl --user status"),
        (
            units(ActiveState="failed", Result="exit-code"),
            FAILED,
            "has failed (exit-code)",
            "reset-failed",
        ),
        (units(ActiveState="inactive"), FAILED, "is inactive", "systemctl --user start neod"),
        (units("", "ActiveState=active\n", ActiveState="inactive"), OK, "neod.socket listens", ""),
    ],
)
def test_the_unit(done: Done | None, level: str, detail: str, action: str) -> None:
    holds(next(doctor.judge_units(done, answers=False)), level, detail, action)


def test_a_neod_that_is_not_the_units_is_no_failure_of_the_unit() -> None:
    found = next(doctor.judge_units(units(ActiveState="inactive"), answers=True))
    holds(found, WARNING, "not as neod.service", "systemctl --user start neod")


@pytest.mark.parametrize(
    ("service", "listening", "level", "detail"),
    [
        ("enabled", "disabled", OK, "neod.service, with"),
        ("disabled", "enabled", OK, "neod.socket, with"),
        ("enabled", "enabled", OK, "neod.service and neod.socket, with"),
        ("disabled", "disabled", WARNING, "nothing starts neod with this machine"),
    ],
)
def test_what_is_enabled(service: str, listening: str, level: str, detail: str) -> None:
    told = units("", f"UnitFileState={listening}\n", UnitFileState=service)
    unit, enabled = doctor.judge_units(told, answers=True)
    assert (unit.check, enabled.check) == ("unit", "enabled")
    holds(enabled, level, detail)


def test_units_that_were_changed_and_not_read_are_told_first() -> None:
    first, *_ = doctor.judge_units(units(NeedDaemonReload="yes"), answers=True)
    holds(first, WARNING, "has not read them since", "systemctl --user daemon-reload")


def test_linger_decides_whether_neod_outlives_a_logout() -> None:
    holds(doctor.judge_linger("asha", lingers=None), OK, "no systemd runs here")
    holds(doctor.judge_linger("asha", lingers=True), OK, "neod goes on")
    off = doctor.judge_linger("asha", lingers=False)
    holds(off, WARNING, "go when you log out", "loginctl enable-linger asha")


# The clock


@pytest.mark.parametrize(
    ("done", "level", "detail"),
    [
        (None, OK, "timedatectl is not there"),
        (Done(1), OK, "timedatectl is not there"),
        (Done(0, "NTP=yes\nNTPSynchronized=yes\n"), OK, "kept by NTP"),
        (Done(0, "NTP=no\nNTPSynchronized=yes\n"), OK, "kept by NTP"),  # by chrony, say
        (Done(0, "NTP=yes\nNTPSynchronized=no\n"), WARNING, "has not set the clock yet"),
        (Done(0, "NTP=no\nNTPSynchronized=no\n"), WARNING, "nothing keeps"),
    ],
)
def test_what_keeps_the_time(done: Done | None, level: str, detail: str) -> None:
    holds(doctor.judge_ntp(done), level, detail)


@pytest.mark.parametrize(
    ("skew", "level", "detail"),
    [
        (None, OK, "not compared"),
        (0, OK, "as the broker's"),
        (-4.2, OK, "4 s behind the broker's"),
        (6, WARNING, "6 s ahead of the broker's"),
        (-90, FAILED, "90 s behind the broker's"),
    ],
)
def test_the_clock_against_the_brokers(skew: float | None, level: str, detail: str) -> None:
    holds(doctor.judge_clock("main", skew), level, detail)


# The address

V4, V6 = "192.168.1.5", "2001:db8::5"
HOST = "mis.example"


@pytest.mark.parametrize(
    ("told", "routes", "level", "detail", "action"),
    [
        ({}, Routes(HOST, V4), OK, f"{V4} to {HOST}; what the broker sees behind NAT", ""),
        ({}, Routes(HOST, None, V6), OK, f"{V6} to {HOST}", ""),
        ({}, Routes(HOST, V4, V6), WARNING, "whichever answers first", f'source_address = "{V4}"'),
        ({}, Routes(HOST), FAILED, f"no way from this machine to {HOST}", "ip route"),
        ({}, Routes(HOST, why="no such name"), WARNING, "no such name", f"getent ahosts {HOST}"),
        ({"proxy": True}, Routes(HOST), OK, "the broker sees the proxy's", ""),
        ({"environment": "sandbox"}, Routes("localhost", "127.0.0.1", "::1"), OK, "a sandbox", ""),
        ({"source_address": V4}, Routes(HOST, V4, here=True), OK, "as configured", ""),
        (
            {"source_address": "192.0.2.1"},
            Routes(HOST, V4, here=False),
            FAILED,
            "none of this machine's",
            "ip address",
        ),
        (
            {"source_address": "192.168.1.6"},
            Routes(HOST, V4, here=True),
            WARNING,
            f"may leave from {V4}",
            "have the bots bind 192.168.1.6",
        ),
        (
            {"source_address": V4},
            Routes(HOST, V4, V6, here=True),
            WARNING,
            f"may leave from {V6}",
            f"have the bots bind {V4}",
        ),
        ({"source_address": V6}, Routes(HOST, V4, here=True), FAILED, "no way from", "ip route"),
    ],
)
def test_the_address(
    told: dict[str, object], routes: Routes, level: str, detail: str, action: str
) -> None:
    holds(only(doctor.judge_address("main", standing(**told), routes)), level, detail, action)


def test_a_neod_that_does_not_say_where_it_logs_in_is_not_judged_by_it() -> None:
    assert list(doctor.judge_address("main", standing(), None)) == []


def test_the_way_to_a_host_is_known_without_a_packet_to_it() -> None:
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with there:
        there.bind(("127.0.0.1", 0))
        there.setblocking(False)
        url = f"http://127.0.0.1:{there.getsockname()[1]}/"
        assert probes.routes(url, "127.0.0.1") == Routes("127.0.0.1", "127.0.0.1", here=True)
        with pytest.raises(BlockingIOError):
            there.recv(1)
    assert probes.routes(url, "192.0.2.1").here is False


# The configuration


@pytest.mark.parametrize(
    ("here", "level", "detail", "action"),
    [
        (Place("/c", "file", 0o600, UID), OK, "/c, mode 0600", ""),
        (Place("/c", "file", 0o640, UID), WARNING, "others may read it", "chmod 600 /c"),
        (Place("/c", "file", 0o602, UID), FAILED, "anybody may change it", "chmod 600 /c"),
        (Place("/c", "file", 0o600, OTHER), FAILED, f"belongs to {OTHER}", "sudo chown"),
        (Place("/c", "folder", 0o700, UID), FAILED, "is no file", "neod setup"),
        (Place("/c"), FAILED, "there is no /c", "neod setup"),
        (Place("/c", "other", why="Permission denied"), FAILED, "Permission denied", "ls -l /c"),
    ],
)
def test_the_file(here: Place, level: str, detail: str, action: str) -> None:
    holds(doctor.judge_configuration(here, UID), level, detail, action)


@pytest.mark.parametrize(
    ("status", "environ", "path"),
    [
        ({"files": {"configuration": "/c"}}, {"NEOD_CONFIG": "/d"}, "/c"),
        ({"files": {"configuration": None}}, {"NEOD_CONFIG": "/d"}, ""),
        ({}, {"NEOD_CONFIG": "/d"}, "/d"),
        (None, {"XDG_CONFIG_HOME": "/e"}, "/e/neod/config.toml"),
        (None, {}, f"{Path.home()}/.config/neod/config.toml"),
    ],
)
def test_which_file_it_is(
    status: dict[str, object] | None, environ: dict[str, str], path: str
) -> None:
    assert doctor.configuration_path(status, environ) == path


CHECKED = """\
configuration    ~/.config/neod/config.toml
account          main
  flow           totp
  access_token   file ~/x y: not ok
                 No such file or directory
                 put the secret into ~/x y, mode 0600
  mpin           command pass: ok
account          uat
  totp_secret    credential totp: not ok
                 no credentials were handed over
not well: 2 of the secrets
"""


def test_each_secret_that_cannot_be_had_is_told_with_its_remedy() -> None:
    assert list(doctor.judge_check(Done(1, CHECKED))) == [
        Finding(
            "secrets",
            FAILED,
            "access_token file ~/x y: No such file or directory",
            "put the secret into ~/x y, mode 0600",
            "main",
        ),
        # neod, which systemd gives it to, may well have it.
        Finding(
            "secrets",
            WARNING,
            "totp_secret credential totp: no credentials were handed over",
            "neod check",
            "uat",
        ),
    ]


@pytest.mark.parametrize(
    ("done", "level", "detail", "action"),
    [
        (Done(0, "all is well\n"), OK, "without a terminal", ""),
        (None, WARNING, "there is no neod beside neoctl", "neod check"),
        (Done(2, "", "neod: /c: 2 mistakes\n  a\n  b\n"), FAILED, "/c: 2 mistakes; a; b", "neod"),
        (Done(1), FAILED, "it ended with 1", "neod check"),
    ],
)
def test_the_check(done: Done | None, level: str, detail: str, action: str) -> None:
    holds(only(doctor.judge_check(done)), level, detail, action)


# The accounts

FAILURE = {"at": NOW - 5, "kind": "rejected", "detail": "wrong password", "action": "edit it"}


@pytest.mark.parametrize(
    ("told", "level", "detail", "action"),
    [
        ({}, OK, "trade, until 05:43:20 IST (in 2 h 00 min)", ""),
        ({"state": "renewing"}, OK, "trade, until", ""),
        ({"state": "outside_hours"}, OK, "trade, until", ""),
        ({"state": "paused"}, WARNING, "paused: ", "neoctl resume"),
        ({"state": "credentials_rejected"}, WARNING, "credentials_rejected: ", "neoctl renew"),
        ({"state": "blocked", "last_failure": FAILURE}, WARNING, "blocked: ", "edit it"),
        ({"state": "starting", **NONE}, WARNING, "none; starting: ", "neoctl wait"),
        ({"state": "renewing", **NONE}, WARNING, "none; renewing: ", "neoctl wait"),
        ({"state": "outside_hours", **NONE}, OK, "none; outside_hours: ", ""),
        ({"state": "paused", **NONE}, WARNING, "none; paused: ", "neoctl resume"),
        ({"state": "backing_off", **NONE}, FAILED, "none; backing_off: ", "neoctl logins"),
        ({"state": "login_budget", **NONE}, FAILED, "none; login_budget: ", "neoctl logins"),
        ({"state": "otp_needed", **NONE}, FAILED, "none; otp_needed: ", "neoctl otp"),
        ({"state": "credentials_rejected", **NONE}, FAILED, "none; ", "neoctl renew"),
        ({"state": "blocked", **NONE}, FAILED, "none; blocked: ", "neoctl unblock"),
        ({"state": "of a later neod", **NONE}, WARNING, "none; ", "neoctl status -a main"),
    ],
)
def test_the_session(told: dict[str, object], level: str, detail: str, action: str) -> None:
    holds(only(doctor.judge_session("main", standing(**told), NOW)), level, detail, action)


def test_a_password_that_has_expired_is_said_beside_the_session() -> None:
    _, password = doctor.judge_session("main", standing(password_expired=True), NOW)
    holds(password, WARNING, "has expired", "change it")


@pytest.mark.parametrize(
    ("told", "level", "detail", "action"),
    [
        ({}, OK, "none", ""),
        ({"last_failure": FAILURE}, OK, "it has passed", ""),
        ({"last_failure": FAILURE, **NONE}, WARNING, "rejected, 03:43:15 IST (5 s ago)", "edit"),
        ({"last_failure": FAILURE | {"action": ""}, **NONE}, WARNING, "wrong", "neoctl logins"),
    ],
)
def test_the_last_failure(told: dict[str, object], level: str, detail: str, action: str) -> None:
    holds(doctor.judge_failure("main", standing(**told), NOW), level, detail, action)


@pytest.mark.parametrize(
    ("used", "allowed", "level"), [(2, 4, OK), (3, 4, WARNING), (4, 4, WARNING), (99, None, OK)]
)
def test_the_budget(used: int, allowed: int | None, level: str) -> None:
    budget = {"per_10min": {"used": used, "allowed": allowed}}
    holds(only(doctor.judge_budget("main", budget)), level, f"{used}")


# Disk, and where others look


@pytest.mark.parametrize(
    ("folder", "writable", "level", "detail", "action"),
    [
        (Place("/s", "folder", 0o700, UID), True, OK, "/s, mode 0700", ""),
        (Place("/s", "folder", 0o755, UID), True, WARNING, "look into it", "chmod 700 /s"),
        (Place("/s", "folder", 0o500, UID), False, FAILED, "cannot be written", "chmod 700 /s"),
        (Place("/s", "folder", 0o700, OTHER), True, FAILED, "belongs to", "sudo chown -R"),
        (Place("/s"), False, FAILED, "is no folder", "restart neod"),
    ],
)
def test_the_ledgers_folder(
    folder: Place, *, writable: bool, level: str, detail: str, action: str
) -> None:
    holds(only(doctor.judge_state((folder, writable), UID)), level, detail, action)


def test_a_neod_that_does_not_say_where_its_ledgers_are_is_not_judged_by_them() -> None:
    assert list(doctor.judge_state(None, UID)) == []


@pytest.mark.parametrize(
    ("space", "level", "detail"),
    [
        (Space("/s", 3 * 10**9, 10**6), OK, "/s: 3.0 GB free"),
        (Space("/s", 3 * 10**9, None), OK, "/s: 3.0 GB free"),
        (Space("/s", 10**7, 10**6), WARNING, "10.0 MB free"),
        (Space("/s", 5000, 10**6), FAILED, "5.0 kB free"),
        (Space("/s", 0, 10**6), FAILED, "0 bytes free"),
        (Space("/s", 10**9, 50), WARNING, "50 files more"),
        (Space("/s", 10**9, 0), FAILED, "0 files more"),
        (Space("/s", why="gone"), WARNING, "/s: gone"),
    ],
)
def test_the_room_on_the_disk(space: Space, level: str, detail: str) -> None:
    holds(doctor.judge_space(space), level, detail)


def test_cron_and_sudo_find_the_usual_socket() -> None:
    path = "/tmp/neod-4294967000/neod.sock"  # no such user has a runtime directory
    cron, sudo = doctor.judge_runtime(path, {}, 4294967000, "asha")
    holds(cron, OK, "cron finds this socket too")
    holds(sudo, OK, "through sudo: sudo -u asha neoctl token")


def test_cron_does_not_find_a_socket_of_the_environments() -> None:
    cron, sudo = doctor.judge_runtime("/x/neod.sock", {}, 4294967000, "asha")
    holds(cron, WARNING, "looks at /tmp/neod-4294967000/", "NEOD_SOCKET=/x/neod.sock")
    holds(sudo, OK, "sudo -u asha NEOD_SOCKET=/x/neod.sock neoctl")


def test_root_by_sudo_is_told_whose_neod_it_looks_for() -> None:
    found = only(doctor.judge_runtime("/x", {"SUDO_USER": "asha"}, 0, "root"))
    holds(found, WARNING, "you are root, by sudo", "sudo -u asha neoctl doctor")


# How it is told

SOME = [
    Finding("socket", OK, PATH),
    Finding("session", WARNING, "a word " * 20, "neoctl resume", "main"),
    Finding("config", FAILED, "b\x1b[2J", "chmod 600 /c"),
]


def test_findings_are_a_line_each_with_what_mends_them_below() -> None:
    assert doctor.as_text(SOME) == (
        f"ok       socket   {PATH}\n"
        "warning  session  main: a word a word a word a word a word a word a word a word\n"
        "                  a word a word a word a word a word a word a word a word a word\n"
        "                  a word a word a word\n"
        "                  mend it: neoctl resume\n"
        "failed   config   b\\x1b[2J\n"
        "                  mend it: chmod 600 /c\n"
        "1 failed, 1 warning\n"
    )


def test_all_is_well_is_said() -> None:
    assert doctor.as_text(SOME[:1]).endswith("\nall is well\n")
    assert doctor.as_text(SOME[1:2] * 2).endswith("\n2 warnings\n")


def test_a_terminal_shows_levels_in_their_colours() -> None:
    text = doctor.as_text(SOME, colours=True)
    for level, colour in doctor.COLOURS.items():
        assert f"\x1b[{colour}m{level:8}\x1b[0m " in text
    plain = text
    for colour in doctor.COLOURS.values():
        plain = plain.replace(f"\x1b[{colour}m", "")
    assert plain.replace("\x1b[0m", "") == doctor.as_text(SOME)


def test_as_json_it_is_ok_unless_something_failed() -> None:
    told = json.loads(doctor.as_json(SOME))
    assert told["ok"] is False
    assert told["findings"][1] == {
        "check": "session",
        "level": "warning",
        "detail": "a word " * 20,
        "action": "neoctl resume",
        "account": "main",
    }
    assert json.loads(doctor.as_json(SOME[:2]))["ok"] is True


# The probes


def test_a_place_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o640)
    (tmp_path / "link").symlink_to("file")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        kinds = {name: probes.place(str(tmp_path / name)).kind for name in ("file", "link", "s")}
    assert kinds == {"file": "file", "link": "link", "s": "socket"}
    assert probes.place(str(tmp_path / "link"), follow=True).kind == "file"
    assert probes.place(str(tmp_path)).kind == "folder"
    assert probes.place("/dev/null").kind == "other"
    assert not probes.place(str(tmp_path / "file" / "x")).kind
    assert probes.place("x" * 5000).why == "File name too long"


def test_what_hangs_is_left_behind() -> None:
    never, raised, well = Look(Event().wait), Look(lambda: 1 // 0), Look(lambda: "well")
    probes.together(0.05, [never, raised, well])
    assert isinstance(never.found, TimeoutError)
    assert isinstance(raised.found, ZeroDivisionError)
    assert well.found == "well"


def test_a_command_has_no_terminal_and_an_end(tmp_path: Path) -> None:
    look = "import os, sys; print(os.isatty(0), sys.stdin.read()); open('/dev/tty')"
    done = probes.run([PYTHON, "-c", look], {}, 20)
    assert done
    assert done.out == "False \n"
    assert "OSError" in done.err
    assert probes.run([str(tmp_path / "nothing")], {}, 1) is None
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    # A shell has what it starts with & ignore ^C.
    script = f"exec 9>{fifo}; sleep 60 & sleep 60"
    with pytest.raises(TimeoutError):
        probes.run(["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"}, 0.2)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # once nobody is left who could write
    os.close(reader)


def test_systemctl_is_asked_as_from_a_login() -> None:
    assert probes.of_systemd({"XDG_RUNTIME_DIR": "/x"}, UID) == {"XDG_RUNTIME_DIR": "/x"}
    assert probes.of_systemd({}, 4294967000) == {}


# All of it, as it is asked for


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEOD_SOCKET", f"{tmp_path}/neod.sock")
    monkeypatch.setenv("NEOD_CONFIG", f"{tmp_path}/config.toml")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", ["/nowhere/neoctl"])
    monkeypatch.setattr("sys.executable", "")
    monkeypatch.delenv("NEOD_ACCOUNT", raising=False)
    tmp_path.chmod(0o700)


def found_by(*argv: str, capsys: Captured) -> tuple[int, dict[tuple[str, str | None], str]]:
    """The exit status, and the level of each check."""
    status = cli.main(["doctor", "--json", *argv])
    told = json.loads(capsys.readouterr().out)
    return status, {(one["check"], one["account"]): one["level"] for one in told["findings"]}


def test_without_neod_it_looks_at_what_there_is(capsys: Captured) -> None:
    status, levels = found_by(capsys=capsys)
    assert status == 1
    assert (levels["socket", None], levels["config", None]) == (FAILED, FAILED)
    assert not {"answer", "session", "secrets"} & {check for check, _ in levels}


def test_each_account_is_looked_at_or_the_one_that_is_named(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "config.toml").touch(0o600)
    accounts = {"main": standing(), "uat": standing(state="blocked", **NONE)}
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.path.chmod(0o600)
        neod.reply = json_of({"version": "1", "accounts": accounts})
        status, levels = found_by(capsys=capsys)
        assert status == 1
        assert (levels["session", "main"], levels["session", "uat"]) == (OK, FAILED)
        assert levels["secrets", None] == WARNING  # there is no neod on this PATH

        status, levels = found_by("-a", "main", capsys=capsys)
        assert status == 0
        assert ("session", "uat") not in levels

        status, levels = found_by("-a", "nobody", capsys=capsys)
        assert (status, levels["account", None]) == (1, FAILED)


@pytest.mark.parametrize(
    "reply", [problem("forbidden"), ok(b"<html>"), ok(b"{}"), b"SSH-2.0-OpenSSH\r\n"]
)
def test_what_is_not_neods_answer_fails_in_words(
    tmp_path: Path, capsys: Captured, reply: bytes
) -> None:
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = reply
        status, levels = found_by(capsys=capsys)
    assert (status, levels["answer", None]) == (1, FAILED)


def test_a_faulty_configuration_is_told_once(tmp_path: Path, capsys: Captured) -> None:
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.reply = json_of({"version": "1", "configuration": "moble", "accounts": {}})
        assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert out.count("account  moble") == 1
    assert "no account is configured" not in out


def test_a_neod_that_hangs_is_not_waited_for(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FIRST", 0.05)
    monkeypatch.setattr(client, "PATIENCE", 0.3)  # so that it has left when the test ends
    with CannedNeod(tmp_path / "neod.sock") as neod:
        neod.manner, neod.reply = "hangs", b""
        status, levels = found_by(capsys=capsys)
    # What failed is the configuration, which is not there.
    assert (status, levels["answer", None]) == (1, WARNING)
