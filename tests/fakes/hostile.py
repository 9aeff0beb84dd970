"""Peers as nobody wants them: slow, half, garbled, huge, greedy, gone. Each ends in the end."""

import socket
import struct
from collections.abc import Awaitable, Callable

import trio

GET = b"GET /v1/session HTTP/1.1\r\nHost: neod\r\n\r\n"
Connect = Callable[[], Awaitable[trio.SocketStream]]


async def slow_head(stream: trio.SocketStream) -> None:
    for byte in b"GET /" + b"a" * 1000:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.05)


async def half_a_request(stream: trio.SocketStream) -> None:
    await stream.send_all(GET[:20])
    await read_to_the_end(stream)


async def half_a_body(stream: trio.SocketStream) -> None:
    await stream.send_all(b"POST /v1/unblock HTTP/1.1\r\nContent-Length: 9999\r\n\r\n{")
    await stream.send_eof()
    await read_to_the_end(stream)


async def garbage(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(bytes(range(256)) * 8)
        await trio.sleep(0.01)  # or virtual time would stand still


async def head_of_64_kib(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET / HTTP/1.1\r\nX: " + b"a" * 65536 + b"\r\n\r\n")
    await read_to_the_end(stream)


async def pipelining(stream: trio.SocketStream) -> None:
    await stream.send_all(GET * 200)
    await stream.send_eof()
    await read_to_the_end(stream)


async def pipelining_and_reading_nothing(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(GET * 100)


async def early_close(stream: trio.SocketStream) -> None:
    await stream.send_all(GET * 3)


async def waits_and_goes(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET /v1/token?after=1&wait=300 HTTP/1.1\r\n\r\n")
    await stream.send_eof()
    await trio.sleep(0.5)


async def out_of_band(stream: trio.SocketStream) -> None:
    while True:
        await stream.socket.send(b"G", socket.MSG_OOB)
        await trio.sleep(0.05)


async def gives_descriptors(stream: trio.SocketStream) -> None:
    own = stream.socket.fileno()
    given = socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", own, own)
    await stream.socket.sendmsg([GET], [given])
    await stream.socket.sendmsg([GET[:20]], [given])
    await stream.send_eof()
    await read_to_the_end(stream)


async def has_no_ears(stream: trio.SocketStream) -> None:
    stream.socket.shutdown(socket.SHUT_RD)
    await stream.send_all(GET)
    await trio.sleep(0.5)


async def says_nothing(stream: trio.SocketStream) -> None:
    await read_to_the_end(stream)


HOSTILE = (
    *(slow_head, half_a_request, half_a_body, garbage, head_of_64_kib, pipelining),
    *(pipelining_and_reading_nothing, early_close, waits_and_goes, says_nothing),
    *(out_of_band, gives_descriptors, has_no_ears),
)


async def read_to_the_end(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def attack(connect: Connect, peer: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
    """One connection of such a peer; that it is cut off is what it is for."""
    try:
        async with await connect() as stream:
            await peer(stream)
    except (trio.BrokenResourceError, OSError):
        pass
