"""Keepers, connections and accepting together: start, serve, stop. Virtual time."""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from neod import config, daemon
from neod.account.events import News
from neod.account.keeper import STUCK
from neod.account.policy import Decision
from neod.accounts import Accounts
from neod.clock import TICK
from neod.config import ConfigError
from neod.ipc.api import Api
from neod.ipc.reads import Reads
from neod.ipc.server import Server
from neod.lookout import Lookout
from neod.status import Status
from tests.fakes.clock import VirtualClock
from tests.fakes.kotak import Hang, Refuse
from tests.fakes.streams import Door
from tests.fakes.world import SOMEBODY, World, accounts_of


class Running:
    """A daemon with any number of accounts."""

    def __init__(self, worlds: dict[str, World], grace: float) -> None:
        self.worlds = worlds
        self.news = worlds["main"].board.news if worlds else News()
        self.grace = grace
        self.door = Door()
        self.stop = trio.Event()
        self.said: list[str] = []
        self.lines: list[str] = []  # of the status
        self.well: list[float] = []  # when the watchdog was fed
        self.stopped_at = 0.0

    api: Api
    accounts: Accounts

    async def run(self) -> None:
        status = Status(self.lines.append)
        accounts = self.accounts = accounts_of(self.worlds, self.news, beside=[status.follow])
        api = self.api = Api(accounts, 0, news=self.news)
        await daemon.serve(
            accounts,
            Server(
                self.door.socket,
                api.respond,
                glance=Reads(api).take,
                limits=config.Server(grace=self.grace),
            ),
            lookout=Lookout(accounts, self.news, lambda: self.well.append(trio.current_time())),
            clock=VirtualClock().clock,
            shutdown=self.stop.wait,
            ready=lambda: self.said.append("ready"),
            stopping=lambda: self.said.append("stopping"),
        )
        self.stopped_at = trio.current_time()

    async def get(self, target: str) -> tuple[int, bytes]:
        stream = self.door.connect()
        await stream.send_all(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        raw = b""
        async for some in stream:
            raw += some
        head, _, body = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body


@asynccontextmanager
async def running(*worlds: World, grace: float = 3) -> AsyncIterator[Running]:
    names = ["main", "second", "third"]
    daemon_ = Running(dict(zip(names, worlds, strict=False)), grace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon_.run)
        await trio.testing.wait_all_tasks_blocked()
        yield daemon_
        daemon_.stop.set()


async def test_it_is_ready_when_it_listens_and_not_when_it_is_logged_in(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.always = lambda _: Hang()

    async with running(world) as daemon_:
        assert daemon_.said == ["ready"]
        status, body = await daemon_.get("/v1/token")
        assert (status, json.loads(body)["code"]) == (503, "not_ready")

    assert daemon_.said == ["ready", "stopping"]


async def test_p1_who_asks_right_after_a_restart_gets_the_session_of_before(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)
    world.boot()
    world.ledger.slow_secrets = 1  # as scrypt is
    async with running(world) as daemon_:
        status, _ = await daemon_.get("/v1/token")

    assert status == 200
    assert world.generation == 1


async def test_p1_secrets_that_hang_hold_up_neither_the_start_nor_the_session(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)
    world.boot()
    world.ledger.slow_secrets = math.inf
    began = trio.current_time()
    async with running(world) as daemon_:
        assert (await daemon_.get("/v1/token"))[0] == 200
        assert trio.current_time() == began


async def test_p5_a_login_that_hangs_delays_neither_status_nor_stop(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.always = lambda _: Hang()

    async with running(world) as daemon_:
        await trio.sleep(5)
        asked = trio.current_time()
        assert (await daemon_.get("/v1/status"))[0] == 200
        assert trio.current_time() == asked
        stopping = trio.current_time()

    assert daemon_.stopped_at == stopping


async def test_who_waits_is_told_at_the_stop(autojump_clock: MockClock) -> None:
    world = World()
    world.kotak.always = lambda _: Refuse()
    answers: list[tuple[int, bytes]] = []

    async def wait() -> None:
        answers.append(await daemon_.get("/v1/token?wait=300"))

    async with trio.open_nursery() as nursery, running(world) as daemon_:
        nursery.start_soon(wait)
        await trio.sleep(20)

    [(status, body)] = answers
    assert status == 503
    assert json.loads(body)["code"] == "shutting_down"


async def test_an_idle_connection_does_not_delay_the_stop(autojump_clock: MockClock) -> None:
    async with running(World()) as daemon_:
        stream = daemon_.door.connect()
        await stream.send_all(b"GET /livez HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await stream.receive_some()
        stopping = trio.current_time()

    assert daemon_.stopped_at == stopping
    assert await stream.receive_some() == b""


async def test_a_connection_that_is_stuck_is_cut_after_the_grace(
    autojump_clock: MockClock,
) -> None:
    async with running(World(), grace=2) as daemon_:
        stream = daemon_.door.connect()
        await stream.send_all(b"GET /livez HT")
        await trio.sleep(1)
        stopping = trio.current_time()

    assert daemon_.stopped_at == stopping + 2


@pytest.mark.parametrize("trouble", ["hangs", "refused", "no secret"])
async def test_one_accounts_trouble_never_touches_another(
    autojump_clock: MockClock, trouble: str
) -> None:
    alone = World()
    async with running(alone):
        await trio.sleep(3 * 3600)

    well = World()
    ill = World(password={"env": "NOT_SET"} if trouble == "no secret" else "wrong")
    if trouble == "hangs":
        ill.kotak.always = lambda _: Hang()
    async with running(well, ill) as daemon_:
        await trio.sleep(3 * 3600)
        assert (await daemon_.get("/v1/token?account=main"))[0] == 200
        assert (await daemon_.get("/v1/token?account=second"))[0] in (409, 503)

    def times(world: World) -> list[float]:
        start = world.kotak.seen[0].at
        return [round(seen.at - start, 3) for seen in world.kotak.seen]

    assert times(well) == times(alone)


async def test_p8_ready_means_that_a_bot_gets_a_session_now(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world) as daemon_:
        for _ in range(50):
            before, _body = await daemon_.get("/readyz")
            token, _body = await daemon_.get("/v1/token")
            after, _body = await daemon_.get("/readyz")
            assert before != 200 or token == 200
            assert token != 200 or after == 200
            await trio.sleep(0.05)
        assert after == 200


async def test_p8_nothing_configured_is_not_ready(autojump_clock: MockClock) -> None:
    async with running() as daemon_:
        assert (await daemon_.get("/readyz"))[0] == 503
        assert (await daemon_.get("/v1/token"))[0] == 404
        assert (await daemon_.get("/livez"))[0] == 200


async def test_p8_a_faulty_configuration_is_not_ready_and_is_said_in_every_answer(
    autojump_clock: MockClock,
) -> None:
    async with running() as daemon_:
        daemon_.api.faulty = ConfigError(
            Path("/home/x/my config.toml"),
            ["account.main.mpin: expected digits, not 'abc'", "grace: unknown key"],
        )
        for target in ("/readyz", "/v1/token", "/v1/session?account=main", "/v1/logins"):
            status, body = await daemon_.get(target)
            problem = json.loads(body)
            assert (status, problem["code"]) == (503 if target == "/readyz" else 409, "blocked")
            assert problem["detail"].endswith("cannot be used: account.main.mpin, grace")
            assert problem["action"].startswith("neod check --config '/home/x/my config.toml'")
        assert (await daemon_.get("/livez"))[0] == 200
        status, body = await daemon_.get("/v1/status")
        assert (status, json.loads(body)["accounts"]) == (200, {})
        assert json.loads(body)["configuration"] == problem["detail"]

        daemon_.api.faulty = None  # as a reload does
        assert json.loads((await daemon_.get("/v1/token"))[1])["code"] == "unknown_account"


async def test_a_bug_in_a_keepers_loop_ends_the_daemon_for_systemd_to_restart(
    autojump_clock: MockClock,
) -> None:
    world = World()

    async def broken() -> None:
        await trio.sleep(1)
        raise ZeroDivisionError

    world.keeper.run = broken  # type: ignore[method-assign]
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with running(world):
            await trio.sleep(10)


# The watchdog, and the line that systemd shows


async def test_the_watchdog_is_fed_with_each_tick_whatever_the_broker_does(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.always = lambda _: Hang()

    async with running(world) as daemon_:
        began = trio.current_time()
        await trio.sleep(3601)

    assert daemon_.well == [began + TICK * number for number in range(1, 241)]


async def test_a_keeper_that_does_not_come_back_starves_the_watchdog(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    well, ill = World(), World()

    async def never(decision: Decision) -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    released = trio.Event()
    async with running(well, ill) as daemon_:
        await trio.sleep(60)
        ill.keeper._stand = never  # type: ignore[method-assign]
        hung = trio.current_time()
        await trio.sleep(2 * 3600)
        released.set()

    assert STUCK - TICK <= daemon_.well[-1] - hung <= STUCK + TICK
    [said] = [record for record in caplog.records if record.message == "stuck"]
    assert said.neod_fields["account"] == "second"  # type: ignore[attr-defined]


async def test_waiting_for_an_otp_is_no_standing_still(autojump_clock: MockClock) -> None:
    world = World(second_factor="otp")

    async with running(world) as daemon_, trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.renew, SOMEBODY)
        began = trio.current_time()
        await trio.sleep(400)
        nursery.cancel_scope.cancel()

    assert len(daemon_.well) == (trio.current_time() - began) // TICK


async def test_the_line_says_how_the_account_stands_and_only_when_that_changes(
    autojump_clock: MockClock,
) -> None:
    world = World()

    async with running(world) as daemon_:
        await trio.sleep(1800)

    assert [line for line in daemon_.lines if "renews" in line] == daemon_.lines[-1:]
    assert daemon_.lines[-1].startswith("main: view session until ")
    assert len(daemon_.lines) <= 3


async def test_a_closed_account_is_said_in_the_line(autojump_clock: MockClock) -> None:
    async with running(World(password="wrong")) as daemon_:
        await trio.sleep(60)

    assert daemon_.lines[-1].startswith("main: refused")
