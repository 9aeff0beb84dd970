"""The lock: held once, it says by whom, and who wants it next may wait for it."""

import errno
import fcntl
import os
import stat
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from neod.errors import AlreadyRunning
from neod.lock import Lock, patiently
from tests.fakes.disk import disk_full


def test_a_lock_is_held_once_and_says_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(AlreadyRunning) as caught:
            Lock(path)
        assert caught.value.pid == os.getpid()
        assert str(path) in str(caught.value)
    assert path.read_text() == ""
    with Lock(path):
        pass


@pytest.mark.parametrize("text", ["", "nobody", "-1"])
def test_a_lock_that_does_not_say_by_whom_is_held_all_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match="running already: ") as caught:
            Lock(path)
    assert caught.value.pid is None


def test_a_longer_pid_than_ones_own_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("1234567890123456789\n")

    with Lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_on_a_full_disk_is_held_though_it_cannot_say_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with disk_full(path), Lock(path):
        with pytest.raises(AlreadyRunning) as caught:
            Lock(path)
        assert caught.value.pid is None


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError) as caught:  # noqa: PT011 - its errno is what counts
        Lock(tmp_path / "lock")
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_neod_that_is_about_to_stop_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def stop_in(seconds: float) -> None:
        with Lock(tmp_path / "lock"):
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_in, 3)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        with await patiently(partial(Lock, tmp_path / "lock"), 5.0):
            assert 3 <= trio.current_time() - began < 3.1


async def test_a_neod_that_stays_is_waited_for_no_longer_than_that(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with Lock(tmp_path / "lock"):
        for patience in (5.0, 0.0):
            began = trio.current_time()
            with pytest.raises(AlreadyRunning):
                await patiently(partial(Lock, tmp_path / "lock"), patience)
            assert trio.current_time() - began == pytest.approx(patience, abs=0.1)
