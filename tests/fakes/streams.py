"""A Unix socket that needs no path, so that a server runs in a test as it does in life.

Both ends are in one loop, and what one end does to a Unix socket is there for the other at once:
so `autojump_clock` makes no false jump.
"""

import socket
from typing import ClassVar

import trio


class Door:
    """A listening socket, and the way in. A test's doors are closed after it, by conftest.py."""

    made: ClassVar[list["Door"]] = []

    def __init__(self) -> None:
        self.made.append(self)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind("")  # the kernel finds a name
        self.socket.listen(1000)
        self._address = self.socket.getsockname()
        self._connected: list[socket.socket] = []

    def connect(self) -> trio.SocketStream:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(self._address)
        except OSError:
            connected.close()
            raise
        self._connected.append(connected)
        return trio.SocketStream(trio.socket.from_stdlib_socket(connected))

    @classmethod
    def close_all(cls) -> None:
        while cls.made:
            door = cls.made.pop()
            door.socket.close()
            for connected in door._connected:
                connected.close()
