"""Where files are, and that folders are private."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neod.paths import config_file, make_private, state_folder, tilde


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_the_configuration_is_where_the_variable_says() -> None:
    assert config_file({"NEOD_CONFIG": "/etc/neod.toml"}) == Path("/etc/neod.toml")
    assert config_file({"NEOD_CONFIG": "~/neod.toml"}) == Path.home() / "neod.toml"


@pytest.mark.parametrize("variable", [{}, {"NEOD_CONFIG": ""}])
def test_the_configuration_is_the_users_own_without_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: dict[str, str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert config_file(os.environ | variable) == Path("/elsewhere/neod/config.toml")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config_file(os.environ | variable) == Path.home() / ".config/neod/config.toml"


def test_a_variable_with_an_unknown_users_home_does_not_break_it() -> None:
    assert config_file({"NEOD_CONFIG": "~no-such-user/x"}) == Path("~no-such-user/x")


def test_the_state_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert state_folder() == Path("/elsewhere/neod")
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unset)
        assert state_folder() == Path.home() / ".local/state/neod"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local/state/neod"


def test_asking_where_files_are_makes_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    state_folder()
    config_file(os.environ)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_a_folder_that_is_made_is_its_owners_alone_whatever_the_umask(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        make_private(tmp_path / "neod")
    assert mode(tmp_path / "neod") == 0o700


def test_what_is_missing_above_a_folder_is_made_too(tmp_path: Path) -> None:
    make_private(tmp_path / ".local/state/neod")
    assert mode(tmp_path / ".local/state/neod") == 0o700


def test_a_folder_that_is_there_keeps_its_mode_and_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "neod"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "main.ledger").touch()
    make_private(folder)
    assert mode(folder) == 0o755
    assert (folder / "main.ledger").exists()


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "neod").symlink_to(tmp_path / "there")
    make_private(tmp_path / "neod")
    assert (tmp_path / "neod").is_symlink()


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "neod").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "neod")


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "neod").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "neod")


def test_a_file_above_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "state/neod")


def test_a_path_below_ones_home_begins_with_a_tilde() -> None:
    assert tilde("/h/u/x", "/h/u/") == "~/x"
    assert tilde("/h/user/x", "/h/u") == "/h/user/x"
    assert tilde("/x", "") == "/x"
