"""Who is at the other end of a Unix socket, as the kernel knows it. Decides nothing."""

import os
import socket
import struct
from pathlib import Path

import msgspec

_UCRED = struct.Struct("3i")


class Peer(msgspec.Struct, frozen=True):
    """A process, at the moment at which it connected."""

    pid: int
    uid: int
    gid: int

    @property
    def executable(self) -> str | None:
        """What the process runs; None where /proc does not tell, or it has gone."""
        return _executable(self.pid)


class Process(msgspec.Struct, frozen=True):
    """What /proc tells of a process; None is what it does not."""

    started: float | None = None  # CLOCK_BOOTTIME, seconds; rounded down to a hundredth or so
    executable: str | None = None
    unit: str | None = None  # the systemd unit that it runs in


def process(pid: int) -> Process:
    """What can be known of the process that has this number now."""
    started = _started(pid)
    found = Process(started, _executable(pid), _unit(pid))
    # One that ended meanwhile may have left its number to another.
    return found if _started(pid) == started else Process()


def _started(pid: int) -> float | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # proc(5): the 22nd field; the second is a name that may hold anything, in brackets.
    return int(stat.rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def _executable(pid: int) -> str | None:
    try:
        return _text(os.fsencode(Path(f"/proc/{pid}/exe").readlink()))
    except OSError:
        return None


def _unit(pid: int) -> str | None:
    try:
        return unit_in(Path(f"/proc/{pid}/cgroup").read_bytes())
    except OSError:
        return None


def unit_in(groups: bytes) -> str | None:
    """The innermost unit of systemd in the paths of /proc/PID/cgroup; None if there is none."""
    for line in groups.splitlines():
        _, _, path = line.split(b":", 2)
        for name in reversed(path.split(b"/")):
            if name.endswith((b".service", b".scope")):
                return _text(name)
    return None


def _text(raw: bytes) -> str:
    """Whoever made the path chose its bytes, and it goes into files of UTF-8."""
    return raw.decode(errors="backslashreplace")


def peer_of(connected: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))
