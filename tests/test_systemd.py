"""What systemd is told, as its manuals have it, over a socket that plays systemd."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from neod import log
from neod.systemd import notify, watchdog_time

ME = 7


@pytest.fixture(params=["path", "abstract"])
def listening(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[socket.socket, str]]:
    """What systemd listens on, and how it is called in the environment."""
    abstract = request.param == "abstract"
    name = f"neod-test-{os.getpid()}" if abstract else os.fspath(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}" if abstract else name)
        yield sock, f"@{name}" if abstract else name


def test_fields_are_lines(listening: tuple[socket.socket, str]) -> None:
    sock, address = listening
    notify({"NOTIFY_SOCKET": address}, READY=1, STATUS="main: ok")

    assert sock.recv(4096) == b"READY=1\nSTATUS=main: ok"


def test_what_a_broker_said_does_not_become_a_field_of_its_own(
    listening: tuple[socket.socket, str],
) -> None:
    sock, address = listening
    notify({"NOTIFY_SOCKET": address}, STATUS="no\nMAINPID=1\r\x00\x1b[2J")

    assert sock.recv(4096) == b"STATUS=no MAINPID=1   [2J"


def test_a_message_is_never_longer_than_systemd_takes(
    listening: tuple[socket.socket, str],
) -> None:
    sock, address = listening
    notify({"NOTIFY_SOCKET": address}, STATUS="€" * 10_000)

    assert 1000 < len(sock.recv(9999)) <= 4096


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_without_systemd_nothing_is_sent_and_nothing_said_of_it(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "neod"):
        notify(environ, READY=1)

    assert caplog.messages == []


def test_a_systemd_that_does_not_listen_is_logged_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notify({"NOTIFY_SOCKET": "/nowhere/notify"}, READY=1)

    assert caplog.messages == ["notify"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),  # meant for a parent
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_is_for_one_process(
    environ: dict[str, str], expected: float | None
) -> None:
    assert watchdog_time(environ, ME) == expected


# Log lines for the journal


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment in which stderr goes to journald."""
    monkeypatch.setattr(log._logger, "handlers", log._logger.handlers)
    monkeypatch.setattr(log._logger, "propagate", log._logger.propagate)
    level, found = log._logger.level, os.fstat(2)
    yield {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "NEOD_LOG": "debug"}
    log._logger.setLevel(level)


def test_lines_have_their_priority_in_the_journal_and_no_stamp(
    journal: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert log.set_up(journal) == ""
    log.debug("one")
    log.event("two", why="a reason")
    log.warning("three")
    log.error("four", exc_info=ZeroDivisionError("five"))

    assert capsys.readouterr().err.splitlines() == [
        "<7>debug one",
        '<6>info two why="a reason"',
        "<4>warning three",
        "<3>error four",
        "<3>ZeroDivisionError: five",
    ]


@pytest.mark.parametrize("stream", [None, "", "1:1", "nonsense"])
def test_a_terminal_that_a_service_started_is_no_journal(
    journal: dict[str, str], capsys: pytest.CaptureFixture[str], stream: str | None
) -> None:
    environ = {} if stream is None else {"JOURNAL_STREAM": stream}
    log.set_up(environ)
    log.event("one")

    assert capsys.readouterr().err.endswith("+05:30 info one\n")
