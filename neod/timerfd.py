"""The kernel's word that the wall clock was set, or that the machine woke from suspend.

A timer for a distant date, which every such jump cancels (timerfd_create(2)). NTP's slewing is no
jump. Knows nothing of who waits, nor of what follows.
"""

import ctypes  # which trio has imported anyhow
import errno
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import trio

FAR = 2**33  # epoch seconds: the year 2242, which the kernel's nanoseconds in 64 bits still hold
ON_SET = 1 | 2  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET


@contextmanager
def jumps() -> Iterator[Callable[[], Awaitable[None]]]:
    """Give an async function that returns once there was a jump since it last returned.

    Jumps before its first call count from the entering on; several are told as one. One task at
    a time may wait. Where the machine has no such timer, the function never returns.
    """
    fd = _armed()
    if fd is None:
        yield trio.sleep_forever
        return

    async def jumped() -> None:
        while True:
            await trio.lowlevel.wait_readable(fd)
            try:
                with suppress(BlockingIOError):
                    os.read(fd, 8)  # it is FAR already, which is no jump
            except OSError as error:
                if error.errno != errno.ECANCELED:
                    raise
                _arm(fd)
                return

    try:
        yield jumped
    finally:
        trio.lowlevel.notify_closing(fd)
        os.close(fd)


def _armed() -> int | None:
    """A timer that the next jump cancels, or None if this kernel, libc or sandbox has none."""
    try:
        fd = _create()
    except (OSError, AttributeError):
        return None
    try:
        _arm(fd)
    except OSError:
        os.close(fd)
        return None
    return fd


def _arm(fd: int) -> None:
    try:
        _set(fd)
    except OSError as error:
        # A jump since the last read, which is about to be told. The timer is armed all the same.
        if error.errno != errno.ECANCELED:
            raise


if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _set(fd: int) -> None:
        os.timerfd_settime(fd, flags=ON_SET, initial=FAR)

else:

    def _create() -> int:
        return _libc("timerfd_create", time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)

    def _set(fd: int) -> None:
        # Interval and date, each in seconds and nanoseconds. A libc that has 32 bits for each
        # reads zeros: no date, and cancelled by a jump all the same.
        _libc("timerfd_settime", fd, ON_SET, (ctypes.c_int64 * 4)(0, 0, FAR, 0), None)

    def _libc(function: str, *arguments: object) -> int:
        result: int = getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments)
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
