"""The units say what the program does. That systemd takes them is shown in tests/systemd/."""

from pathlib import Path

import pytest

from neoctl.wire import socket_path
from neod import cli, config
from neod.clock import TICK

UNITS = Path(__file__).parent.parent / "systemd"
DROP_INS = sorted((UNITS / "drop-ins").iterdir())
# They split the state, hide the socket's folder, or end node and java in hooks.
NOT_BY_DEFAULT = {
    "StateDirectory",
    "RuntimeDirectory",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "MemoryDenyWriteExecute",
}


def directives(path: Path) -> dict[str, list[str]]:
    """What a unit sets: each key with its values."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(key, []).append(value)
    return found


SERVICE, SOCKET = directives(UNITS / "neod.service"), directives(UNITS / "neod.socket")


def test_the_socket_is_where_clients_look() -> None:
    [listens] = SOCKET["ListenStream"]

    assert listens == socket_path({"XDG_RUNTIME_DIR": "/run/x"}, 1).replace("/run/x", "%t")
    assert SERVICE["Environment"] == [f"NEOD_SOCKET={listens}"]
    assert (SOCKET["SocketMode"], SOCKET["DirectoryMode"]) == (["0600"], ["0700"])


def test_enabling_the_one_enables_the_other_too() -> None:
    assert SERVICE["Also"] == SERVICE["Requires"] == SERVICE["After"] == ["neod.socket"]


def test_what_starting_again_does_not_mend_is_not_started_again() -> None:
    told = {int(status) for status in SERVICE["RestartPreventExitStatus"][0].split()}

    assert told == {cli.USAGE, cli.ALREADY_RUNNING}


def test_the_times_of_unit_and_program_go_together() -> None:
    def seconds(key: str) -> float:
        return float(SERVICE[key][0].removesuffix("s"))

    assert seconds("WatchdogSec") >= 2 * TICK  # else neod would wake more often for its sake
    assert seconds("TimeoutStopSec") > config.Server().grace


def test_what_costs_something_is_not_on_by_default() -> None:
    assert not NOT_BY_DEFAULT & SERVICE.keys()


@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_says_what_it_is_for_before_it_does_something(path: Path) -> None:
    first, *_ = path.read_text().splitlines()

    assert first.startswith("# ")
    assert directives(path)
