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
        try:
            path = Path(f"/proc/{self.pid}/exe").readlink()
        except OSError:
            return None
        # Whoever made the path chose its bytes, and it goes into files of UTF-8.
        return os.fsencode(path).decode(errors="backslashreplace")


def peer_of(connected: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))
