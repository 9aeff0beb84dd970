"""What is kept of a session over restarts, and what is not: by the keeper, in virtual time."""

import logging

import pytest
import trio
from trio.testing import MockClock

from neod.account.history import Published
from neod.sandbox.broker import Settings
from tests.fakes.kotak import Refuse
from tests.fakes.ledger import MemoryLedger
from tests.fakes.world import SOMEBODY, World, world_of_totp
from tests.test_log import lines
from tests.test_rejects import reject, running

HOUR = 3600.0
A_DAY = Settings(life=24 * HOUR, bearer_life=24 * HOUR)


def warned(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [fields["why"] for event, fields in lines(caplog) if event == "store"]


# What a restart does not go on with


async def test_p2_what_is_not_gone_on_with_is_served_to_nobody_and_kept_no_longer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "neod")
    world = World(A_DAY)
    await world.run_for(10)
    world.kotak.always = lambda _: Refuse()

    world.boot(environment="uat")
    assert world.board.valid() is None
    await world.run_for(10)

    assert world.board.held is None
    assert world.store.kept is None
    assert [fields for event, fields in lines(caplog) if event == "not_resumed"] == [
        {
            "account": "main",
            "why": "the account has changed since: whose it is, how it logs in or where",
        }
    ]


async def test_whose_it_is_stays_known_over_restarts_and_new_bearers(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=24 * HOUR, bearer_life=HOUR))
    await world.run_for(10)
    world.boot()
    await world.run_for(HOUR)
    assert world.generation == 2

    world.boot(mobile="+919999990000")  # the same account's, for all that is known

    assert world.board.valid()


async def test_a_ledger_that_was_lost_is_told_the_generation_of_what_was_kept(
    autojump_clock: MockClock,
) -> None:
    world = World(A_DAY)
    await world.run_for(10)
    held = world.board.held
    assert held
    world.ledger = MemoryLedger()

    world.boot()
    await world.run_for(10)

    [line] = world.ledger.lines
    assert isinstance(line, Published)
    assert (line.generation, line.expires_at, line.bearer) == (1, held.session.expires_at, False)


# A disk that does not take it


async def test_p1_a_session_that_a_full_disk_does_not_take_is_served_and_nothing_older_is_kept(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(World(A_DAY)) as world:
        world.store.full = True
        assert not (await world.keeper.renew(SOMEBODY)).failed
        assert world.board.valid()
        assert world.generation == 2

    assert world.store.kept is None
    assert warned(caplog) == ["the session will not outlive a restart: No space left on device"]


async def test_a_dead_session_that_cannot_be_taken_away_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.store.read_only = True
        world.kotak.broker.kill()
        world.kotak.always = lambda seen: None if "orders" in seen.path else Refuse()
        await reject(world)
        await trio.sleep(HOUR)
        assert world.board.valid() is None

    assert warned(caplog) == ["Read-only file system"]


async def test_a_session_whose_bearer_has_lapsed_is_written_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(World(Settings(life=24 * HOUR, bearer_life=HOUR))) as world:
        world.kotak.always = lambda _: Refuse()
        world.store.full = True  # so that each write is told of
        await trio.sleep(10 * HOUR)
        assert world.board.valid() is None

    assert len(warned(caplog)) == 1


async def test_each_dead_session_is_taken_away(autojump_clock: MockClock) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        for _ in range(2):
            world.kotak.broker.kill()
            world.kotak.always = lambda seen: None if "orders" in seen.path else Refuse()
            await reject(world)
            assert world.store.kept is None

            world.kotak.always = None
            await trio.sleep(HOUR)
            assert world.store.kept
            assert world.store.kept.held == world.board.held


async def test_an_account_that_is_taken_out_leaves_nothing_though_a_session_of_it_had_died(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.broker.kill()
        await reject(world)
        assert world.store.kept

    await world.keeper.forget()

    assert world.store.kept is None
