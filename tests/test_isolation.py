"""Several accounts in one daemon: what befalls one leaves the others' timing untouched."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from neod import daemon
from neod.account.events import News
from neod.ipc.api import Api
from neod.ipc.server import Server
from neod.lookout import Lookout
from neod.sandbox.broker import Settings
from tests.fakes.clock import VirtualClock
from tests.fakes.kotak import Canned, Hang
from tests.fakes.streams import Door
from tests.fakes.world import World, accounts_of

HOUR = 3600.0


def well() -> World:
    return World(Settings(life=HOUR, bearer_life=2 * HOUR))


def hanging() -> World:
    world = well()
    world.kotak.always = lambda _: Hang()
    return world


def blocked() -> World:
    world = well()
    world.boot(password="wrong")
    return world


def down() -> World:
    world = well()
    world.kotak.always = lambda _: Canned(503)
    return world


def without_its_secrets() -> World:
    world = well()
    world.boot(password={"env": "NOT_THERE"})
    return world


def with_a_full_disk() -> World:
    world = well()
    world.ledger.full = True
    return world


async def hours_of(*worlds: World) -> list[float]:
    """When the first account's requests went out, with the others beside it in one daemon."""
    accounts = accounts_of({f"account-{number}": world for number, world in enumerate(worlds)})
    with trio.move_on_after(5 * HOUR):
        await daemon.serve(
            accounts,
            Server(Door().socket, Api(accounts, 0).respond),
            lookout=Lookout(accounts, News(), lambda: None),
            clock=VirtualClock().clock,
            shutdown=trio.sleep_forever,
        )
    return [seen.at for seen in worlds[0].kotak.seen]


@pytest.mark.parametrize(
    "other",
    [hanging, blocked, down, without_its_secrets, with_a_full_disk],
    ids=lambda f: f.__name__,
)
async def test_an_account_in_trouble_leaves_the_others_timing_untouched(
    autojump_clock: MockClock, other: Callable[[], World]
) -> None:
    began = trio.current_time()
    alone = [at - began for at in await hours_of(well())]
    began = trio.current_time()
    beside = [at - began for at in await hours_of(well(), other(), other())]

    assert len(alone) > 8
    assert beside == pytest.approx(alone, abs=1e-6)
