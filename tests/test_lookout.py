"""The socket's file is looked after: mended, or left alone and said. Never taken from others."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neod.ipc.listener import Adopted, Claim
from neod.lock import Lock
from neod.lookout import Door


class Looking:
    """A door on a claim, whose socket a server would listen on."""

    def __init__(self, claim: Claim | Adopted) -> None:
        self.listening = claim.socket
        self.said = ""
        self.door = Door(claim, self.listen_on, self.say)

    def listen_on(self, listening: socket.socket) -> None:
        self.listening.close()
        self.listening = listening

    def say(self, words: str) -> None:
        self.said = words

    def look(self) -> str:
        self.door.look()
        return self.said

    def serves(self, path: Path) -> bool:
        """True if who connects to the path comes to this one."""
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(path)) != 0:
                return False
            self.listening.setblocking(False)
            try:
                accepted, _ = self.listening.accept()
            except BlockingIOError:
                return False
            accepted.close()
            return True


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="neod-test-", dir="/tmp") as made:
        yield Path(made) / "run" / "neod.sock"


@pytest.fixture
def claimed(path: Path) -> Iterator[Looking]:
    """Of neod's own binding."""
    with Claim(path) as claim:
        yield Looking(claim)
        claim.socket.close()


@pytest.fixture
def adopted(path: Path) -> Iterator[Looking]:
    """Of systemd's binding."""
    path.parent.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as of_systemd:
        of_systemd.bind(str(path))
        of_systemd.listen()
        with Adopted(socket.socket(fileno=os.dup(of_systemd.fileno()))) as claim:
            yield Looking(claim)


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "neod")


def strange(path: Path) -> socket.socket:
    """Somebody else's socket, which takes the place of what is there."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.message == "socket"]


@pytest.mark.parametrize("whose", ["claimed", "adopted"])
def test_a_file_that_is_there_is_no_news(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    assert request.getfixturevalue(whose).look() == ""
    assert events(caplog) == []


def test_a_file_that_is_gone_is_bound_anew_for_its_owner_alone(
    claimed: Looking, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        path.unlink()
        assert claimed.look() == ""
        assert claimed.serves(path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert events(caplog) == ["WARNING"] * 3


def test_a_folder_that_is_gone_is_made_anew_and_so_is_the_lock(
    claimed: Looking, path: Path
) -> None:
    shutil.rmtree(path.parent)

    assert claimed.look() == ""
    assert claimed.serves(path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(Exception, match=f"pid {os.getpid()}"):
        Lock(path.with_name("neod.sock.lock"))


def test_a_neod_that_has_come_into_the_place_is_left_alone(claimed: Looking, path: Path) -> None:
    shutil.rmtree(path.parent)
    with Claim(path) as other:
        inode = path.stat().st_ino
        assert "another file" in claimed.look()
        path.unlink()
        assert "running already" in claimed.look()
        assert not path.exists()
    assert other.path == path
    assert inode
    assert claimed.look() == ""
    assert claimed.serves(path)


def test_another_file_is_left_alone_and_said_once_until_it_is_gone(
    claimed: Looking, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with strange(path):
        inode = path.stat().st_ino
        for _ in range(3):
            assert f"ss -xlp src {path}" in claimed.look()
        assert path.stat().st_ino == inode
        assert not claimed.serves(path)
    path.unlink()

    assert claimed.look() == ""
    assert claimed.serves(path)
    assert events(caplog) == ["ERROR", "WARNING", "INFO"]


def test_what_cannot_be_made_anew_is_said_with_the_reason_and_tried_again(
    claimed: Looking, path: Path
) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    assert "File exists" in claimed.look()
    path.parent.unlink()

    assert claimed.look() == ""
    assert claimed.serves(path)


@pytest.mark.parametrize("how", ["gone", "another one"])
def test_systemds_socket_is_systemds_to_mend(
    adopted: Looking, path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    kept = path.with_name("kept")
    path.rename(kept)
    other = strange(path) if how == "another one" else None

    for _ in range(3):
        said = adopted.look()
        assert f"is {how}" in said
        assert said.endswith("systemctl --user restart neod.socket neod.service")
    assert path.exists() == (other is not None)

    if other:
        other.close()
    kept.replace(path)
    assert adopted.look() == ""
    assert events(caplog) == ["ERROR", "INFO"]
