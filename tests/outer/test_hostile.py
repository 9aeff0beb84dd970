"""Hostile peers against the daemon as a process: what tests/test_hostile.py does, in real time."""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.fakes.hostile import GET, HOSTILE, attack
from tests.fakes.process import CONFIG, Home, Neod, Sandbox

pytestmark = pytest.mark.outer
PLACES = 200
LIMITS = f"""
[server]
max_connections = {PLACES}
head_timeout = "500ms"
idle_timeout = "1s"
"""


class Bot:
    """Asks again and again over a connection that it has kept since before the attack."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.took: list[float] = []

    async def ask(self) -> None:
        began = time.perf_counter()
        await self._stream.send_all(GET)
        heard = b""
        while b"\r\n\r\n" not in heard or not heard.endswith(b"}\n"):
            heard += (some := await self._stream.receive_some())
            assert some, "cut off"
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
        self.took.append(time.perf_counter() - began)

    async def run(self) -> None:
        while True:
            await self.ask()
            await trio.sleep(0.01)

    async def aclose(self) -> None:
        await self._stream.aclose()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def attacked(home: Home, pid: int) -> tuple[list[float], list[int]]:
    """What a bot's requests took while neod was attacked, and its size after each wave."""

    async def connect() -> trio.SocketStream:
        return await trio.open_unix_socket(home.socket)

    sizes = []
    bots = [Bot(await connect()) for _ in range(3)]
    for bot in bots:
        await bot.ask()  # so that it has its place
    descriptors_before = descriptors(pid)
    async with trio.open_nursery() as honest:
        for bot in bots:
            honest.start_soon(bot.run)
        for _ in range(4):
            await wave(connect)
            with trio.fail_after(5):
                while descriptors(pid) > descriptors_before:  # noqa: ASYNC110 - a process is asked
                    await trio.sleep(0.05)
            sizes.append(resident(pid))
        honest.cancel_scope.cancel()
    for bot in bots:
        await bot.aclose()
    return [took for bot in bots for took in bot.took], sizes


async def wave(connect: Callable[[], Awaitable[trio.SocketStream]]) -> None:
    """All kinds of them at once, three times as many as there are places."""
    with trio.move_on_after(2):
        async with trio.open_nursery() as attackers:
            for peer in HOSTILE * (3 * PLACES // len(HOSTILE)):
                attackers.start_soon(attack, connect, peer)


def test_a_process_serves_the_honest_amid_the_hostile_and_is_as_before(
    home: Home, sandbox: Sandbox
) -> None:
    home.configure(sandbox.url, text=CONFIG + LIMITS)
    home.environ["NEOD_LOG"] = "info"
    with Neod(home) as neod:
        assert home.neoctl("token", "--wait", "10").returncode == 0
        took, sizes = trio.run(attacked, home, neod.popen.pid)
        assert home.neoctl("token").returncode == 0
        code, _, log = neod.stop()

    assert code == 0
    assert "bug" not in log
    took.sort()
    assert len(took) > 100
    assert took[len(took) * 99 // 100] < 1.0, os.getloadavg()
    # The first waves make the interpreter as large as it gets; after that it does not grow.
    assert sizes[-1] < sizes[1] + 2048, sizes
    print(f"{len(took)} requests, p99 {took[len(took) * 99 // 100] * 1000:.1f} ms, KiB {sizes}")
