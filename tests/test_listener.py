"""The socket: who is there already is never disturbed, and what is systemd's stays systemd's."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neoctl.wire import distrust
from neod.errors import AlreadyRunning, Unusable
from neod.ipc.listener import Adopted, Claim, adoptable
from neod.lock import Lock
from neod.systemd import handed_over

SOMEBODY_ELSE = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of one's own, with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="neod-test-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "neod.sock"


def listen(path: Path, backlog: int = 5) -> socket.socket:
    """A socket of somebody's, who is no neod and knows of no lock."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(backlog)
    return listening


def stale(path: Path) -> int:
    """What a daemon leaves that was killed; its inode."""
    listen(path).close()
    return path.lstat().st_ino


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# A claim


def test_a_claimed_path_is_listened_on(path: Path) -> None:
    with Claim(path) as claim:
        assert claim.path == path
        assert answers(path)


def test_the_folder_is_made_and_is_ones_own(folder: Path) -> None:
    with Claim(folder / "run" / "neod" / "neod.sock"):
        assert mode(folder / "run" / "neod") == 0o700


def test_a_folder_that_is_there_keeps_its_mode(folder: Path, path: Path) -> None:
    folder.chmod(0o755)

    with Claim(path):
        assert mode(folder) == 0o755


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_nobody_else_may_connect_whatever_the_umask_and_it_stays(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Claim(path):
            assert mode(path) == 0o600
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_at_the_end_the_socket_is_gone_and_the_path_can_be_claimed_again(path: Path) -> None:
    with Claim(path):
        pass
    assert not path.exists()

    with Claim(path):
        assert answers(path)


def test_at_the_end_nothing_is_closed_that_somebody_else_put_there(path: Path) -> None:
    with Claim(path):
        path.unlink()
        with listen(path):
            inode = path.lstat().st_ino
    assert path.lstat().st_ino == inode


def test_at_the_end_a_file_that_took_the_sockets_place_is_left(path: Path) -> None:
    with Claim(path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_at_the_end_a_socket_that_was_taken_away_is_not_missed(path: Path) -> None:
    with Claim(path):
        path.unlink()
    with Claim(path):
        assert answers(path)


def test_the_end_comes_after_a_failure_too(path: Path) -> None:
    with pytest.raises(KeyError), Claim(path):
        raise KeyError
    assert not path.exists()


# Somebody is there


def test_a_second_claim_names_the_first_ones_pid_and_leaves_it_alone(path: Path) -> None:
    with Claim(path):
        inode = path.lstat().st_ino
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}") as caught:
            Claim(path)
        assert caught.value.pid == os.getpid()
        assert path.lstat().st_ino == inode
        assert answers(path)


def test_the_lock_comes_first_so_that_a_daemon_about_to_bind_is_not_disturbed(path: Path) -> None:
    inode = stale(path)

    with Lock(path.with_name("neod.sock.lock")):
        with pytest.raises(AlreadyRunning) as caught:
            Claim(path)
        assert caught.value.pid == os.getpid()
        assert path.lstat().st_ino == inode


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    stale(path)

    with Claim(path):
        assert answers(path)


def test_a_socket_that_was_bound_and_is_not_listened_on_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        with Claim(path):
            assert answers(path)


def test_a_socket_that_somebody_listens_on_is_left_alone_though_nobody_has_the_lock(
    path: Path,
) -> None:
    with listen(path):
        inode = path.lstat().st_ino
        with pytest.raises(AlreadyRunning) as caught:
            Claim(path)
        assert caught.value.pid == os.getpid()
        assert path.lstat().st_ino == inode
        assert answers(path)


def test_a_listener_whose_queue_is_full_is_alive(path: Path) -> None:
    with listen(path, backlog=0), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        with pytest.raises(AlreadyRunning) as caught:
            Claim(path)
        assert caught.value.pid is None
        assert path.is_socket()


def test_a_claim_that_failed_holds_no_lock(path: Path) -> None:
    with listen(path), pytest.raises(AlreadyRunning):
        Claim(path)

    with Claim(path):
        assert answers(path)


def test_a_daemon_that_was_killed_is_in_nobodys_way(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from neod.ipc.listener import Claim;"
        "claim = Claim(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        with pytest.raises(AlreadyRunning) as caught:
            Claim(path)
        assert caught.value.pid == daemon.pid
        daemon.send_signal(signal.SIGKILL)
    assert path.is_socket()

    with Claim(path):
        assert answers(path)


# Paths that cannot be used


@pytest.mark.parametrize("kind", ["file", "folder", "fifo", "link to a file", "dangling link"])
def test_what_is_no_socket_is_left_and_refused(path: Path, kind: str) -> None:
    target = path.with_name("target")
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link to a file":
            target.write_text("precious")
            path.symlink_to(target)
        case "dangling link":
            path.symlink_to(target)
    before = path.lstat()

    with pytest.raises(Unusable, match=r"no socket.*NEOD_SOCKET"):
        Claim(path)

    assert path.lstat() == before
    path.rename(path.with_name("moved"))
    with Claim(path):
        assert answers(path)


def test_a_socket_of_another_kind_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        inode = path.lstat().st_ino
        with pytest.raises((AlreadyRunning, Unusable, OSError)):
            Claim(path)
        assert path.lstat().st_ino == inode


def test_a_path_may_be_as_long_as_the_kernel_takes_and_no_longer(folder: Path) -> None:
    room = 107 - len(os.fsencode(folder)) - 1
    with Claim(folder / ("a" * room)):
        pass

    with pytest.raises(Unusable, match=r"107 bytes.*NEOD_SOCKET"):
        Claim(folder / ("a" * (room + 1)))
    with pytest.raises(Unusable, match="107 bytes"):
        Claim(folder / ("é" * (room // 2 + 1)))
    with pytest.raises(Unusable, match="107 bytes"):
        Claim(folder / ("a" * 120) / "neod.sock")
    assert not (folder / ("a" * 120)).exists()


def test_a_folder_that_is_a_file_is_no_folder(folder: Path) -> None:
    (folder / "file").write_text("precious")

    with pytest.raises(FileExistsError):
        Claim(folder / "file" / "neod.sock")
    assert (folder / "file").read_text() == "precious"


# A socket of systemd's


@pytest.fixture
def passed(path: Path) -> Iterator[int]:
    """The descriptor of a socket that is listened on, as systemd passes it."""
    with listen(path) as listening:
        yield os.dup(listening.fileno())


def test_a_socket_of_systemds_is_adopted_with_its_path_and_is_left_there(
    path: Path, passed: int
) -> None:
    given = adoptable([passed])
    assert given

    with Adopted(given) as adopted:
        assert (adopted.path, adopted.socket) == (path, given)
        assert answers(path)
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            Claim(path)
    assert given.fileno() == -1
    assert answers(path)  # systemd holds it yet


def test_without_a_socket_of_systemds_there_is_none() -> None:
    assert adoptable([]) is None


def test_of_two_sockets_none_is_taken(passed: int) -> None:
    with pytest.raises(Unusable, match=r"2 descriptors.*systemctl --user cat neod.socket"):
        adoptable([passed, passed])
    os.close(passed)


@pytest.mark.parametrize("kind", ["tcp", "datagram", "not listened on", "abstract", "pipe", "none"])
def test_what_cannot_be_adopted_is_refused_in_plain_words(path: Path, kind: str) -> None:
    made: list[socket.socket] = []

    def make(family: socket.AddressFamily, type_: socket.SocketKind, name: object) -> int:
        made.append(socket.socket(family, type_))
        made[0].bind(name)  # type: ignore[arg-type]
        return made[0].fileno()

    match kind:
        case "tcp":
            descriptor = make(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        case "datagram":
            descriptor = make(socket.AF_UNIX, socket.SOCK_DGRAM, str(path))
        case "not listened on":
            descriptor = make(socket.AF_UNIX, socket.SOCK_STREAM, str(path))
        case "abstract":
            descriptor = make(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{path}")
            made[0].listen()
        case "pipe":
            descriptor, other = os.pipe()
            os.close(other)
        case _:
            descriptor, other = os.pipe()
            os.close(other)
            os.close(descriptor)
    for sock in made:
        descriptor = os.dup(sock.fileno())
        sock.close()

    with pytest.raises(Unusable, match=r"systemd passed .*ListenStream="):
        adoptable([descriptor])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, []),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, [3]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "7", "LISTEN_FDNAMES": "neod:x"}, [3, 4]),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "8"}, []),  # meant for a parent
        ({"LISTEN_FDS": "1"}, []),
        ({"LISTEN_FDS": "x", "LISTEN_PID": "7"}, []),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "7"}, []),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "7"}, []),
    ],
)
def test_what_systemd_hands_over_is_for_one_process_and_for_no_child(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], expected: list[int]
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(os, "set_inheritable", lambda number, to: closed.append(number))
    environ = {**told, "LISTEN_PIDFDID": "1", "HOME": "/home/x"}

    assert handed_over(environ, 7) == expected
    assert closed == expected
    assert environ == {"HOME": "/home/x"}


# /tmp/neod-UID, which anybody can make


@pytest.fixture
def fallback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a neod without a runtime folder uses, in another /tmp than the real one."""
    monkeypatch.setattr("neoctl.wire._fallback", lambda uid: f"{folder}/neod-{uid}")
    return folder / f"neod-{os.getuid()}"


def test_the_fallback_is_made_and_is_ones_own(fallback: Path) -> None:
    with Claim(fallback / "neod.sock"):
        assert mode(fallback) == 0o700
    with Claim(fallback / "neod.sock"):
        assert answers(fallback / "neod.sock")


@pytest.mark.parametrize("bits", [0o755, 0o770, 0o707, 0o701, 0o1777])
def test_a_fallback_that_is_open_to_others_is_refused(fallback: Path, bits: int) -> None:
    fallback.mkdir()
    fallback.chmod(bits)

    with pytest.raises(Unusable, match=f"chmod 700 {fallback}"):
        Claim(fallback / "neod.sock")
    assert list(fallback.iterdir()) == []


def test_a_fallback_that_is_a_link_is_refused_even_to_a_folder_of_ones_own(
    fallback: Path, folder: Path
) -> None:
    own = folder / "own"
    own.mkdir(0o700)
    fallback.symlink_to(own)

    with pytest.raises(Unusable, match="not a directory"):
        Claim(fallback / "neod.sock")
    assert list(own.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_fallback_that_is_no_folder_is_refused(fallback: Path, folder: Path, kind: str) -> None:
    if kind == "file":
        fallback.write_text("")
    else:
        fallback.symlink_to(folder / "nowhere")

    with pytest.raises((Unusable, FileExistsError)):
        Claim(fallback / "neod.sock")
    assert not (folder / "nowhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_fallback_that_is_somebody_elses_is_refused(fallback: Path) -> None:
    fallback.mkdir(0o700)
    os.chown(fallback, SOMEBODY_ELSE, SOMEBODY_ELSE)

    with pytest.raises(Unusable, match=f"belongs to uid {SOMEBODY_ELSE}"):
        Claim(fallback / "neod.sock")
    assert list(fallback.iterdir()) == []


def test_a_client_does_not_trust_somebody_elses_fallback_either(
    fallback: Path, folder: Path
) -> None:
    uid = os.getuid() + 1
    theirs = folder / f"neod-{uid}"
    theirs.mkdir(0o700)

    assert f"belongs to uid {os.getuid()}" in distrust(f"{theirs}/neod.sock", uid)
    assert distrust(f"{folder}/elsewhere/neod.sock", uid) == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_into_which_others_may_write_is_refused(
    folder: Path, path: Path, mode: int
) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)

    with pytest.raises(Unusable, match=f"may be written by others.*chmod go-w {folder}"):
        Claim(path)
    assert not path.exists()


def test_a_folder_like_tmp_in_which_nobody_replaces_what_is_anothers_is_taken(
    folder: Path, path: Path
) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    with Claim(path):
        assert path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_is_somebody_elses_is_refused(folder: Path, path: Path) -> None:
    folder.mkdir(exist_ok=True)
    os.chown(folder, 12345, 12345)
    with pytest.raises(Unusable, match="belongs to uid 12345"):
        Claim(path)


def test_a_socket_that_may_not_even_be_probed_is_left_alone(folder: Path, path: Path) -> None:
    folder.chmod(0o1777)
    uid = os.geteuid()
    with listen(path):
        path.chmod(0)  # which root alone may pass by, so root is somebody else meanwhile
        os.seteuid(uid or SOMEBODY_ELSE)
        try:
            with pytest.raises(Unusable, match=str(path)):
                Claim(path)
        finally:
            os.seteuid(uid)
        path.chmod(0o600)
        assert answers(path)
