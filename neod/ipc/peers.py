"""Who is at the other end of a Unix socket, as the kernel knows it. Decides nothing."""

import os
import socket
import struct
from pathlib import Path

import msgspec
import trio


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


def peer_of(stream: trio.SocketStream) -> Peer:
    """Ask the kernel who connected."""
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return Peer(*struct.unpack("3i", raw))
