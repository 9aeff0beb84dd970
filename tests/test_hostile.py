"""Hostile peers, many at once and in virtual time: the honest notice nothing, and nothing stays.

tests/outer/test_hostile.py does it to a process, in real time.
"""

import gc
from functools import partial
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import config
from neod.ipc.reads import Reads
from neod.ipc.server import Server
from tests.fakes.desk import Desk
from tests.fakes.hostile import GET, HOSTILE, attack
from tests.fakes.streams import Door

EACH = 20  # peers of each kind


class Honest:
    """A bot that asks once a second, over a connection that it keeps, and over new ones."""

    def __init__(self, door: Door, answer: bytes, *, anew: bool) -> None:
        self._door = door
        self._answer = answer
        self._anew = anew
        self.took: list[float] = []

    async def run(self) -> None:
        kept = None if self._anew else self._door.connect()
        while True:
            began = trio.current_time()
            stream = kept or self._door.connect()
            await stream.send_all(GET)
            heard = b""
            while len(heard) < len(self._answer):
                heard += (some := await stream.receive_some())
                assert some, f"cut off: {heard!r}"
            assert heard == self._answer
            self.took.append(trio.current_time() - began)
            if self._anew:
                await stream.aclose()
            await trio.sleep(1)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_honest_notice_nothing_of_the_hostile_and_nothing_stays(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main")
    desk.publish()
    door = Door()
    reads = Reads(desk.api)
    limits = config.Server(max_connections=len(HOSTILE) * EACH + 2)
    server = Server(door.socket, desk.api.respond, glance=reads.take, limits=limits)
    await nursery.start(partial(server.serve, handler_nursery=nursery))
    ready = reads.glance(GET)
    assert ready is not None
    honest = [Honest(door, ready.answer, anew=anew) for anew in (False, True)]
    for bot in honest:
        nursery.start_soon(bot.run)
    await wait_all_tasks_blocked()
    gc.collect()
    before = trio.lowlevel.current_statistics().tasks_living, descriptors()

    async def connect() -> trio.SocketStream:
        return door.connect()

    async with trio.open_nursery() as attackers:
        for peer in HOSTILE * EACH:
            attackers.start_soon(attack, connect, peer)
    assert trio.current_time() < 60
    await trio.sleep(10)  # within these the last is found out
    await wait_all_tasks_blocked()
    gc.collect()

    assert (trio.lowlevel.current_statistics().tasks_living, descriptors()) == before
    for bot in honest:
        assert len(bot.took) > 10
        assert max(bot.took) < 1
