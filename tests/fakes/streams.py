"""A listener over memory streams, so that a server runs without a socket."""

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """`connect` is the client's end."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[MemoryStream](1000)
        self.closed = False

    async def connect(self) -> MemoryStream:
        client, server = memory_stream_pair()
        await self._send.send(server)
        return client

    async def accept(self) -> MemoryStream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()
