"""`neod install` and `uninstall`, beside a systemd that behaves. The real one: tests/systemd/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neod import install
from neod.errors import AlreadyRunning, Unusable
from neod.install import Done, Programs, Site, is_ours, programs, render
from neod.lock import Lock
from tests.fakes.systemd import Systemd

FOUND = Programs(("/venv/bin/neod",), ("/venv/bin/neoctl",))
NEWER = Programs(("/other/bin/neod",), ("/other/bin/neoctl",))
ROOT = Path(__file__).parent.parent


class User:
    """A user with a home, a systemd, and a word on what may be replaced."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / ".config" / "systemd" / "user"
        self.state = home / ".local" / "state" / "neod"
        self.config = home / ".config" / "neod" / "config.toml"
        self.systemd = Systemd(self.folder)
        self.said: list[str] = []
        self.questions: list[str] = []
        self.word = False

    @property
    def site(self) -> Site:
        return Site(
            folder=self.folder,
            home=str(self.home),
            user="asha",
            run=self.systemd.run,
            say=self.said.append,
            ask=self.ask,
        )

    def ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.word

    def install(self, found: Programs = FOUND, **options: bool) -> int:
        self.said.clear()
        self.systemd.ran.clear()
        return install.install(self.site, found, self.state, self.config, **options)

    def uninstall(self, **options: bool) -> int:
        self.said.clear()
        return install.uninstall(self.site, **options)

    def files(self) -> dict[str, str]:
        """All that is below the home: a file's text, where a link goes."""
        return {
            str(path.relative_to(self.home)): (
                str(path.readlink())
                if path.is_symlink()
                else "folder"
                if path.is_dir()
                else path.read_text()
            )
            for path in sorted(self.home.rglob("*"))
        }


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


# Installing


def test_the_units_are_there_enabled_started_and_linger_is_on(user: User) -> None:
    assert user.install() == 0

    service = (user.folder / "neod.service").read_text()
    assert "ExecStart=/venv/bin/neod run\n" in service
    assert "ExecReload=/venv/bin/neoctl reload\n" in service
    assert "%h/.local/share" not in service
    assert user.systemd.active.keys() == {"neod.service", "neod.socket"}
    assert (user.folder / "default.target.wants" / "neod.service").is_symlink()
    assert (user.folder / "sockets.target.wants" / "neod.socket").is_symlink()
    assert user.systemd.linger


def test_each_thing_that_is_written_or_run_is_said(user: User) -> None:
    user.install()

    said = "\n".join(user.said)
    for unit in install.UNITS:
        assert f"wrote    ~/.config/systemd/user/{unit}" in said
    for command in ("daemon-reload", "enable neod.service", "start neod.service"):
        assert f"ran      systemctl --user {command}" in said
    assert "ran      loginctl enable-linger asha" in said
    assert "Created symlink" in said
    assert user.said[-1].endswith("neod setup, then neoctl reload")


def test_a_second_time_changes_nothing_and_does_not_restart_neod(user: User) -> None:
    user.install()
    user.config.parent.mkdir(parents=True)
    user.config.touch()
    before, started = user.files(), dict(user.systemd.active)

    assert user.install() == 0
    assert user.files() == before
    assert user.systemd.active == started
    assert not any("restart" in line for line in user.systemd.ran)
    assert user.said[-1].endswith("neoctl status")


def test_another_neod_takes_the_place_of_the_one_before_without_a_question(user: User) -> None:
    user.install()

    assert user.install(NEWER) == 0
    assert "/other/bin/neod" in user.systemd.active["neod.service"]
    assert user.questions == []
    assert list(user.folder.glob("*.bak")) == []


def test_without_linger_is_said(user: User) -> None:
    assert user.install(linger=False) == 0
    assert not user.systemd.linger
    assert "without linger neod ends when you log out" in user.said


def test_a_configuration_elsewhere_is_named_in_the_unit(user: User, tmp_path: Path) -> None:
    user.config = tmp_path / "my 100% config.toml"
    user.install(named=True)

    service = (user.folder / "neod.service").read_text()
    named = str(user.config).replace("%", "%%")
    assert f'ExecStart=/venv/bin/neod run --config "{named}"\n' in service


# What is somebody's own


@pytest.mark.parametrize("how", ["changed", "of another make", "a link", "a link to nowhere"])
def test_a_unit_that_is_not_as_it_was_written_is_left(user: User, how: str) -> None:
    user.install()
    path = user.folder / "neod.service"
    match how:
        case "changed":
            path.write_text(path.read_text() + "Nice=5\n")
        case "of another make":
            path.write_text("[Service]\nExecStart=/bin/true\n")
        case "a link":
            path.rename(user.home / "mine.service")
            path.symlink_to(user.home / "mine.service")
        case _:
            path.unlink()
            path.symlink_to(user.home / "nowhere")
    before = user.files()

    if how != "a link":  # which reads as it was written
        with pytest.raises(Unusable, match=r"--force.*systemctl --user edit neod.service"):
            user.install(NEWER)
        assert user.files() == before
    assert user.install(NEWER, force=True) == 0
    assert "/other/bin/neod" in path.read_text()
    assert not path.is_symlink()
    assert os.path.lexists(user.folder / "neod.service.bak")


def test_who_says_yes_has_it_replaced_and_kept(user: User) -> None:
    user.folder.mkdir(parents=True)
    (user.folder / "neod.socket").write_text("mine")
    with pytest.raises(Unusable):
        user.install()
    user.word = True

    assert user.install() == 0
    assert len(user.questions) == 2
    assert (user.folder / "neod.socket.bak").read_text() == "mine"


# What goes wrong


def test_without_systemd_the_other_way_is_told(user: User) -> None:
    user.systemd.broken["systemctl"] = Done(install.NOT_FOUND, "systemctl: not found")
    with pytest.raises(Unusable, match="`neod run`"):
        user.install()
    assert user.files() == {}


def test_without_a_bus_what_systemd_said_and_what_mends_it_is_told(user: User) -> None:
    user.systemd.broken["systemctl"] = Done(1, "Failed to connect to bus: No medium found\n")
    with pytest.raises(Unusable, match=r"No medium found; .*loginctl enable-linger asha"):
        user.install()
    assert user.files() == {}


def test_a_neod_that_does_not_run_from_elsewhere_is_not_installed(user: User) -> None:
    user.systemd.broken["/venv/bin/neod"] = Done(1, "No module named neod")
    with pytest.raises(Unusable, match="No module named neod; install neod first"):
        user.install()
    assert user.files() == {}


def test_a_neod_that_was_started_by_hand_has_to_go_first(user: User) -> None:
    user.state.mkdir(parents=True)
    with Lock(user.state / "lock"):
        before = user.files()
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}.*stop it first"):
            user.install()
        assert user.files() == before
    assert user.install() == 0

    with Lock(user.state / "lock"):  # the service's own
        assert user.install() == 0


def test_a_start_that_fails_is_told_with_where_to_look(user: User) -> None:
    user.systemd.broken["systemctl --user start"] = Done(1, "Job for neod.service failed.")

    assert user.install() == 1
    assert "         Job for neod.service failed." in user.said
    assert user.said[-1].endswith("journalctl --user -u neod -n 20")


def test_linger_that_cannot_be_had_is_not_passed_over(user: User) -> None:
    user.systemd.broken["loginctl"] = Done(1, "Could not enable linger: Access denied")

    assert user.install() == 1
    assert "         Could not enable linger: Access denied" in user.said
    assert any("neod ends when you log out" in line for line in user.said)
    assert "neod.service" in user.systemd.active


# Uninstalling


@pytest.mark.parametrize("before", ["nothing", "another's unit", "one's own neod.service"])
def test_the_folder_is_as_it_was(user: User, before: str) -> None:
    if before != "nothing":
        user.folder.mkdir(parents=True)
        name = "other.service" if before == "another's unit" else "neod.service"
        (user.folder / name).write_text("mine")
    was = user.files()

    user.install(force=True)
    assert user.uninstall() == 0

    after = user.files()
    after.pop(".config", None)
    was.pop(".config", None)
    assert after == was
    assert user.systemd.active == {}
    assert any("disable-linger asha" in line for line in user.said)


def test_a_changed_unit_is_deleted_only_on_a_word(user: User) -> None:
    user.install()
    (user.folder / "neod.service").write_text("mine")
    before = user.files()
    with pytest.raises(Unusable, match="--force deletes it"):
        user.uninstall()
    assert user.files() == before
    assert user.systemd.active

    assert user.uninstall(force=True) == 0
    assert not user.folder.exists()


def test_what_the_user_added_stays(user: User) -> None:
    user.install()
    (user.folder / "neod.service.d").mkdir()
    (user.folder / "neod.service.d" / "override.conf").write_text("[Service]\nNice=5\n")

    user.uninstall()
    assert (user.folder / "neod.service.d" / "override.conf").exists()
    assert any("neod.service.d, which neod did not write" in line for line in user.said)


def test_where_nothing_is_there_is_nothing_to_do(user: User) -> None:
    assert user.uninstall() == 0
    assert user.systemd.ran == []
    assert user.said == ["nothing to do: neod is not in ~/.config/systemd/user"]


# Which neod it is


def scripts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("neod", "neoctl", "python3"):
        (folder / name).touch()
    return folder


def test_the_scripts_are_those_of_the_neod_that_was_called(tmp_path: Path) -> None:
    venv, pipx = scripts(tmp_path / "venv" / "bin"), scripts(tmp_path / ".local" / "bin")
    python = str(venv / "python3")

    assert programs(python, str(venv / "neod")).neod == (str(venv / "neod"),)
    assert programs(python, str(pipx / "neod")).neod == (str(pipx / "neod"),)
    assert programs(python, "/src/neod/__main__.py").neoctl == (str(venv / "neoctl"),)


def test_without_scripts_it_is_the_interpreter(tmp_path: Path) -> None:
    found = programs("/usr/bin/nopython3", str(tmp_path / "neod" / "__main__.py"))

    assert found.neod == ("/usr/bin/nopython3", "-P", "-m", "neod")
    assert found.neoctl == ("/usr/bin/nopython3", "-P", "-m", "neoctl")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/a/bin/neod", "/home/a/bin/neod"),
        ("/home/a b/neod", '"/home/a b/neod"'),
        ("/home/100%/neod", '"/home/100%%/neod"'),
        ('/home/"a\\/neod', '"/home/\\"a\\\\/neod"'),
        ("/home/a$b/neod", '"/home/a$b/neod"'),
    ],
)
def test_a_path_is_written_as_systemd_reads_it(path: str, expected: str) -> None:
    assert install.command_line([path, "run"]) == f"{expected} run"


def test_in_an_argument_a_dollar_is_no_variable() -> None:
    assert install.command_line(["/neod", "$HOME"]) == '/neod "$$HOME"'


def test_a_path_with_a_line_break_cannot_be_written() -> None:
    with pytest.raises(Unusable, match="cannot be printed"):
        install.command_line(["/home/a\nExecStart=/bin/sh", "run"])


def test_what_was_written_is_known_again_and_a_change_is_seen() -> None:
    text = render("neod.service", FOUND)

    assert is_ours(text)
    assert not is_ours(f"{text}\n")
    assert not is_ours(text.replace("RestartSec=5s", "RestartSec=1s"))
    assert not is_ours("")


def test_commands_are_run_for_real(tmp_path: Path) -> None:
    run = install.runner({"PATH": "/usr/bin:/bin"})

    assert run(("sh", "-c", "echo one; echo two >&2; exit 3")) == Done(3, "one\ntwo")
    assert run(("no-such-command",)).status == install.NOT_FOUND
    assert run((str(tmp_path),)).status == 126


def test_root_is_not_whom_it_is_for() -> None:
    with pytest.raises(Unusable, match="loginctl enable-linger NAME"):
        install.refuse_root(0)
    install.refuse_root(1000)


def test_a_user_is_called_by_name_or_by_number() -> None:
    assert install.user_name(0) == "root"
    assert install.user_name(3_999_999_999) == "3999999999"


def test_the_units_come_with_the_wheel(tmp_path: Path) -> None:
    config = (ROOT / "pyproject.toml").read_text()

    assert 'systemd = "neod/units"' in config
    assert (install.delivered() / "neod.service").is_file()
    found = subprocess.run(
        [sys.executable, "-P", "-m", "neod", "install", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--no-linger" in found.stdout
