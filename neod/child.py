"""Running other people's programs: without a terminal, not for ever, and with what they may see.

Knows nothing of why one is run. A program is killed with all that it has started, and what it
prints is kept up to a limit.
"""

import os
import re
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE

import msgspec
import trio

SAID_MAX = 300  # characters of its last words
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal


class Ended(msgspec.Struct, frozen=True):
    """What became of a program."""

    status: int | None  # below zero: which signal ended it; None: it was killed at the limit
    out: bytes  # the beginning of its stdout: what it was asked for, and a byte more if too long
    said: str  # the end of its stderr, for a person

    def __repr__(self) -> str:
        return f"Ended({self.status}, {len(self.out)} bytes)"


async def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    limit: float,
    size: int | None = None,
    given: bytes = b"",
) -> Ended:
    """Run a program for `limit` seconds at most; it is `given` this on stdin. Raises OSError.

    It has answered when it has ended and nobody holds its stdout any more, as in a shell's $(…).
    One that prints more than `size` bytes is ended; without a size nobody reads what it prints.
    """
    # Not run_process: that would keep in memory all that is printed, and would reap the
    # program at once, after which its process group cannot be killed without a race.
    process = await trio.lowlevel.open_process(
        argv,
        stdin=PIPE if given else DEVNULL,
        stdout=DEVNULL if size is None else PIPE,
        stderr=PIPE,
        start_new_session=True,
        env=environ,
    )
    out, err = bytearray(), bytearray()
    status: int | None = None
    with trio.move_on_after(limit):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_give, process.stdin, given)
                nursery.start_soon(_keep_first, process.stdout, out, size or 0)
                nursery.start_soon(_keep_last, process.stderr, err)
            status = await process.wait()
        finally:
            if status is None:
                with suppress(ProcessLookupError, PermissionError):  # it may be another user's
                    os.killpg(process.pid, signal.SIGKILL)
                with trio.move_on_after(1.0, shield=True):
                    await process.wait()
    return Ended(status, bytes(out), _last_words(err))


def environment(environ: Mapping[str, str], hide: Collection[str]) -> dict[str, str]:
    """What a program may see of neod's environment: neither neod's own nor what is to be hidden."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("NEOD_") and name not in hide
    }


async def _give(stream: trio.abc.SendStream | None, given: bytes) -> None:
    if stream is not None:
        # A program that does not want to know is none that has failed.
        with suppress(trio.BrokenResourceError):
            async with stream:
                await stream.send_all(given)


async def _keep_first(stream: trio.abc.ReceiveStream | None, kept: bytearray, size: int) -> None:
    if stream is None:
        return
    async with stream:
        async for chunk in stream:
            kept += chunk
            if len(kept) > size:
                return  # and the program gets a SIGPIPE


async def _keep_last(stream: trio.abc.ReceiveStream | None, kept: bytearray) -> None:
    assert stream is not None  # noqa: S101 - as above
    async with stream:
        async for chunk in stream:
            kept += chunk
            del kept[: -8 * SAID_MAX]


def _last_words(raw: bytearray) -> str:
    """The last lines of a program's complaint, for a person: "gpg: decryption failed"."""
    text = _ESCAPES.sub("", raw.decode(errors="replace"))
    lines = (
        "".join(char if char.isprintable() else " " for char in line).strip()
        for line in text.splitlines()
    )
    said = " / ".join([line for line in lines if line][-3:])
    return said if len(said) <= SAID_MAX else f"…{said[1 - SAID_MAX :]}"
