"""The contract: where the socket is, whose folder is trusted, what a failure is worth."""

import os
from pathlib import Path

import pytest

from neoctl import wire

# design.md, section 7: code -> status, exit status.
TABLE = {
    "bad_request": (400, 2),
    "unknown_account": (404, 2),
    "not_found": (404, 2),
    "method_not_allowed": (405, 2),
    "not_running": (0, 3),
    "not_ready": (503, 4),
    "login_budget": (503, 4),
    "too_many_connections": (503, 4),
    "shutting_down": (503, 4),
    "otp_needed": (409, 5),
    "credentials_rejected": (409, 5),
    "blocked": (409, 5),
    "paused": (409, 5),
    "broker_unavailable": (503, 6),
    "min_valid_unreachable": (409, 7),
    "forbidden": (403, 8),
    "internal_error": (500, 1),
}


def test_each_problem_has_its_status_and_its_exit_status() -> None:
    assert {code: row[:2] for code, row in wire.PROBLEMS.items()} == TABLE


def test_each_problem_has_a_title_of_its_own() -> None:
    titles = [title for _, _, title in wire.PROBLEMS.values()]
    assert all(titles)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("code", TABLE)
def test_the_exit_status_of_a_problem_is_the_tables(code: str) -> None:
    assert wire.exit_status(code) == TABLE[code][1]


def test_a_code_of_a_later_version_exits_with_1() -> None:
    assert wire.exit_status("broker_on_strike") == 1


def test_only_what_the_server_answers_with_503_passes_by_itself() -> None:
    assert {code for code, (status, _) in TABLE.items() if status == 503} == wire.PASSES_BY_ITSELF


def test_the_limits_are_the_documented_ones() -> None:
    limits = wire.HEAD_MAX, wire.BODY_MAX, wire.HEAD_TIME, wire.WAIT_MAX
    assert limits == (8 * 1024, 64 * 1024, 5.0, 300.0)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"NEOD_SOCKET": "/a/b.sock", "XDG_RUNTIME_DIR": "/x"}, "/a/b.sock"),
        ({"NEOD_SOCKET": "b.sock"}, "b.sock"),
        ({"NEOD_SOCKET": "", "XDG_RUNTIME_DIR": "/x"}, "/x/neod/neod.sock"),
        ({"XDG_RUNTIME_DIR": "/x"}, "/x/neod/neod.sock"),
        ({"XDG_RUNTIME_DIR": ""}, "/run/user/1234/neod/neod.sock"),
        ({"XDG_RUNTIME_DIR": "x/y"}, "/run/user/1234/neod/neod.sock"),
        ({}, "/run/user/1234/neod/neod.sock"),
    ],
)
def test_the_socket_is_where_the_first_of_the_rules_says(
    environ: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.isdir", {"/run/user/1234"}.__contains__)
    assert wire.socket_path(environ, 1234) == path


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "relative"}, {"NEOD_SOCKET": ""}])
def test_without_a_runtime_folder_the_socket_is_in_tmp(environ: dict[str, str]) -> None:
    nobodys = 4_294_967_000  # no such uid has logged in
    assert wire.socket_path(environ, nobodys) == f"/tmp/neod-{nobodys}/neod.sock"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /tmp/neod-UID; it is not made yet."""
    monkeypatch.setattr(wire, "_fallback", lambda uid: f"{tmp_path}/neod-{uid}")
    return tmp_path / f"neod-{os.getuid()}"


def distrust(folder: Path) -> str:
    return wire.distrust(f"{folder}/neod.sock", os.getuid())


def test_ones_own_closed_folder_is_trusted(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    assert distrust(folder) == ""


def test_a_folder_that_is_not_there_is_not_waited_for_a_stranger_to_make(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        distrust(folder)


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o702, 0o704, 0o777])
def test_a_folder_that_others_can_enter_or_read_is_not_trusted(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    assert distrust(folder) == (f"{folder} is open to others (mode 0{mode:o}); chmod 700 {folder}")


def test_a_link_to_a_good_folder_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir(mode=0o700)
    folder.symlink_to(good)
    assert distrust(folder) == f"{folder} is not a directory"


def test_a_dangling_link_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    folder.symlink_to(tmp_path / "nowhere")
    assert distrust(folder) == f"{folder} is not a directory"


def test_a_file_in_its_place_is_not_trusted(folder: Path) -> None:
    folder.touch(mode=0o700)
    assert distrust(folder) == f"{folder} is not a directory"


def test_a_folder_of_somebody_elses_is_not_trusted(tmp_path: Path, folder: Path) -> None:
    me, other = os.getuid(), os.getuid() + 1
    theirs = tmp_path / f"neod-{other}"
    theirs.mkdir(mode=0o700)
    why = wire.distrust(f"{theirs}/neod.sock", other)
    assert why == f"{theirs} belongs to uid {me}, not to you (uid {other})"


def test_a_folder_that_somebody_chose_is_not_looked_at(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert distrust(tmp_path) == ""
