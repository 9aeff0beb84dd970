"""Who is connected: processes as /proc tells of them, and never one for another."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod.clock import SYSTEM
from neod.ipc.clients import Client, Entry, entries
from neod.ipc.peers import Peer, process, unit_in
from neod.ipc.reads import Reads
from neod.ipc.server import Server
from tests.fakes.desk import Desk
from tests.fakes.streams import Door


class Clients(msgspec.Struct):
    clients: list[Entry]


US = Peer(os.getpid(), os.getuid(), os.getgid())


def test_a_process_is_what_proc_says() -> None:
    found = process(os.getpid())

    assert found.executable == os.path.realpath("/proc/self/exe")
    assert found.started is not None
    assert 0 <= SYSTEM.boot() - found.started < 24 * 3600


def test_of_a_process_that_has_gone_nothing_is_known() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

    assert process(child) == process(0)
    assert process(child).started is None


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        (
            b"0::/user.slice/user@1000.service/app.slice/bot.service\n",
            "bot.service",
        ),
        (b"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        (b"0::/system.slice/bot.service/worker\n", "bot.service"),
        (b"0::/\n", None),
        (b"", None),
        (b"1:name=systemd:/system.slice/bot.service\n0::/\n", "bot.service"),
        (b"0::/a:b.service\n", "a:b.service"),
        (b"0::/\xff.service\n", r"\xff.service"),
    ],
    ids=["user", "scope", "delegated", "none", "empty", "old", "colon", "odd"],
)
def test_a_unit_is_found_in_a_control_group(groups: bytes, unit: str | None) -> None:
    assert unit_in(groups) == unit


def test_a_number_that_is_anothers_by_now_is_not_mistaken_for_its_predecessor() -> None:
    ours = Client(US, SYSTEM.boot())
    before_we_began = Client(US, process(US.pid).started or 0)
    before_we_began.since -= 1

    gone, here = entries([ours, before_we_began], SYSTEM)

    assert (gone.started, gone.executable, gone.unit) == (None, None, None)
    assert (gone.pid, gone.uid) == (US.pid, US.uid)
    assert here.started is not None
    assert here.executable


@asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[Door]:
    door = Door()
    server = Server(
        door.socket, desk.api.respond, glance=Reads(desk.api).take, clients=desk.clients
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, handler_nursery=nursery))
        yield door
        nursery.cancel_scope.cancel()


async def listed(desk: Desk) -> list[Entry]:
    return msgspec.json.decode((await desk.ask("/v1/clients")).body, type=Clients).clients


async def test_each_connection_is_listed_with_what_it_got(autojump_clock: MockClock) -> None:
    desk = Desk("first", "second", clock=SYSTEM)
    desk.publish(7, name="first")
    desk.publish(8, name="second")
    async with serving(desk) as door:
        silent, reader, watcher = door.connect(), door.connect(), door.connect()
        for target in (b"/v1/token?account=first", b"/v1/session?account=second&wait=0", b"/livez"):
            await reader.send_all(b"GET %b HTTP/1.1\r\n\r\n" % target)
            assert await reader.receive_some()
        await watcher.send_all(b"GET /v1/watch HTTP/1.0\r\n\r\n")
        assert await watcher.receive_some()

        quiet, read, watched = await listed(desk)

        assert (quiet.requests, quiet.generation, quiet.watches) == (0, None, False)
        assert (read.requests, read.account, read.generation) == (3, "second", 8)
        assert (watched.requests, watched.watches) == (1, True)
        assert {entry.pid for entry in (quiet, read, watched)} == {os.getpid()}
        assert {entry.uid for entry in (quiet, read, watched)} == {os.getuid()}
        assert abs(quiet.since - time.time()) < 60  # noqa: TID251 - SYSTEM is the clock here
        for stream in (silent, reader, watcher):
            await stream.aclose()
        await wait_all_tasks_blocked()

        assert await listed(desk) == []


async def test_a_session_that_a_watcher_is_sent_is_one_that_it_got(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main", clock=SYSTEM)
    desk.publish(7)
    async with serving(desk) as door:
        watcher = door.connect()
        await watcher.send_all(b"GET /v1/watch HTTP/1.1\r\n\r\n")
        assert await watcher.receive_some()
        assert [entry.generation for entry in await listed(desk)] == [7]
        desk.publish(8)
        assert await watcher.receive_some()

        assert [entry.generation for entry in await listed(desk)] == [8]
