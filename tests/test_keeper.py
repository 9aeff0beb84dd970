"""The keeper against a broker that behaves, in virtual time. Nothing here touches a file."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Never

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from neod.account.credentials import to_fingerprint
from neod.account.dialogue import stamp
from neod.account.edge import DAY, Edge
from neod.account.history import ANY_SECRETS, Carried, History, Suspect, Unblocked
from neod.account.wishes import NotUnblocked
from neod.clock import TICK
from neod.config import Account
from neod.sandbox.broker import Credentials, Settings, make_token
from neod.secrets import Secret
from tests.fakes.clock import START
from tests.fakes.kotak import Canned, Cut, Fault, Hang, Refuse, Seen
from tests.fakes.world import PASSWORD, SOMEBODY, World

HOUR = 3600.0
MIDNIGHT = 1687977000.0  # 2023-06-29T00:00:00+05:30


async def test_it_logs_in_at_once_and_renews_ahead_of_the_end(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))

    await world.run_for(3 * HOUR)

    times = [login.at - START for login in world.kotak.logins]
    assert times[0] < 1
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.68 * HOUR < gap <= 0.76 * HOUR for gap in gaps)
    assert len(set(map(round, gaps))) == len(gaps)  # so that no two machines go in step
    assert world.state == "ok"


async def test_each_renewal_is_a_new_generation_and_there_is_no_gap(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=60))
    seen: list[int] = []
    gaps = 0

    async def watch() -> None:
        nonlocal gaps
        while True:
            held = world.board.valid()
            if held is None:
                gaps += 1
            elif not seen or held.session.generation != seen[-1]:
                seen.append(held.session.generation)
            await trio.sleep(0.05)

    with trio.move_on_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.run)
            while world.board.valid() is None:
                await world.board.changed.wait()
            nursery.start_soon(watch)

    assert gaps == 0
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 10


async def test_generations_go_on_after_a_restart(autojump_clock: MockClock) -> None:
    world = World()
    await world.run_for(10)
    first = world.generation

    world.store.reboot()
    world.boot()
    await world.run_for(10)

    assert world.generation == first + 1


async def test_p1_after_a_restart_a_session_is_there_before_anything_takes_time(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)

    world.boot()

    assert world.board.valid()
    await world.run_for(10)
    assert world.generation == len(world.kotak.logins) == 1


async def test_p1_another_password_takes_no_session_away_over_a_restart(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)

    world.boot(password="a wrong one")
    await world.run_for(10)
    assert world.board.valid()
    assert world.state == "credentials_rejected"

    world.boot(password=PASSWORD)
    await world.run_for(10)
    assert world.board.valid()
    assert (world.generation, world.state) == (1, "ok")


async def test_p2_another_number_takes_no_session_away_over_a_restart_and_is_logged_in_with(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)

    world.boot(mobile="+919999990000")  # which the broker does not know
    assert world.board.valid()
    await world.run_for(10)

    assert world.board.valid()
    assert world.state == "credentials_rejected"
    assert len(world.kotak.logins) == 2


async def test_a_password_that_changed_over_a_restart_is_tried_at_once(
    autojump_clock: MockClock,
) -> None:
    world = World()
    await world.run_for(10)

    new = Credentials(password="a new one")
    world.kotak.broker.settings = Settings(life=HOUR, credentials=new)
    world.boot(password="a new one")
    await world.run_for(10)

    assert world.generation == 2


# The day's edge


async def test_the_edge_costs_one_useless_login_the_first_time_and_none_after(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(), start=MIDNIGHT - 2 * HOUR, access_token="sandbox-access-token",
                  consumer_key=None, consumer_secret=None)  # fmt: skip

    await world.run_for(3 * DAY)

    times = [login.at - MIDNIGHT for login in world.kotak.logins]
    useless, right_after = times[1], times[2:]
    assert -1200 < useless < -900
    assert [round(at // DAY) for at in right_after] == [0, 1, 2]
    assert all(at % DAY < 5 for at in right_after)
    assert world.ledger.history.edge == Edge(at=MIDNIGHT, every=DAY)


async def test_the_edge_is_known_after_a_restart(autojump_clock: MockClock) -> None:
    world = World(Settings(), start=MIDNIGHT - 2 * HOUR)
    await world.run_for(DAY)
    before = len(world.kotak.logins)

    world.boot()
    await world.run_for(DAY)

    assert world.board.standing.last_failure is None
    assert len(world.kotak.logins) - before == 1  # the edge's
    assert (world.kotak.logins[-1].at - MIDNIGHT) % DAY < 5


@pytest.mark.parametrize("edge", [10.0, 20.0, 37.0, 600.0])
async def test_edges_that_are_seconds_apart_cost_one_useless_login_too(
    autojump_clock: MockClock, edge: float
) -> None:
    world = World(Settings(edge=edge))

    await world.run_for(12 * edge)

    phases = [login.at % edge for login in world.kotak.logins]
    useless = [phase for phase in phases[1:] if phase > 5]
    assert len(useless) <= 1
    assert 11 <= len(phases) <= 14
    assert all(phase < max(0.5, edge / 10) for phase in phases[3:])


async def test_an_edge_that_is_gone_is_forgotten(autojump_clock: MockClock) -> None:
    world = World(Settings(edge=100))
    await world.run_for(1000)
    assert world.ledger.history.edge is not None

    world.kotak.broker.settings = Settings(life=270)
    await world.run_for(1000)

    assert world.ledger.history.edge is None


# Outages


async def test_p1_an_outage_does_not_take_away_a_session_that_is_valid(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    await world.run_for(10)
    held = world.board.held
    assert held

    world.kotak.always = lambda _: Refuse()
    with trio.move_on_after(2 * HOUR):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.run)
            left = held.left(world.clock)
            await trio.sleep(left - 0.5)
            assert world.state == "backing_off"
            assert world.board.valid() is held
            await trio.sleep(0.5)
            assert world.board.valid() is None

    assert world.state == "backing_off"
    assert world.board.standing.last_failure
    assert world.board.standing.last_failure.kind == "unavailable"


async def test_the_first_login_after_an_outage_is_soon(autojump_clock: MockClock) -> None:
    world = World()
    world.kotak.always = lambda _: Refuse() if world.time.wall() < START + 600 else None

    await world.run_for(700)

    assert world.state == "ok"
    assert world.kotak.logins[0].at - START < 600 + 61


async def test_attempts_in_an_outage_of_a_day_are_few(autojump_clock: MockClock) -> None:
    world = World()
    world.kotak.always = lambda _: Canned(503)

    await world.run_for(DAY)

    assert 100 < len(world.kotak.seen) < 500
    assert world.ledger.history.logins == ()


async def test_a_login_that_hangs_ends_within_its_time(autojump_clock: MockClock) -> None:
    world = World()
    world.kotak.faults.extend([Hang()])

    await world.run_for(60)

    assert world.state == "ok"
    assert [seen.at - START for seen in world.kotak.seen][1] < 13


@pytest.mark.parametrize(
    ("headers", "least"), [({}, 60), ({"Retry-After": "200"}, 200), ({"Retry-After": "900"}, 900)]
)
async def test_a_rate_limit_is_kept_to(
    autojump_clock: MockClock, headers: dict[str, str], least: float
) -> None:
    world = World()
    world.kotak.faults.append(Canned(429, headers=headers))

    await world.run_for(1000)

    assert world.kotak.seen[1].at - world.kotak.seen[0].at >= least
    assert world.state == "ok"


async def test_a_token_that_had_ended_on_arrival_is_not_served(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR))
    world.time.step(10 * HOUR)  # this machine's clock is wrong, not the broker's
    world.kotak.slow = 10 * HOUR

    await world.run_for(HOUR)

    assert world.board.valid() is None
    assert world.board.held is None
    failure = world.board.standing.last_failure
    assert failure
    assert "timedatectl" in failure.action
    assert len(world.kotak.logins) < 100
    assert world.ledger.history.proven  # the broker did accept the secrets


@pytest.mark.parametrize(
    "token", ["opaque", "a.b.c", "eyJhbGciOiJub25lIn0.e30.c2ln", "eyJhbGciOiJub25lIn0.W10.c2ln"]
)
async def test_a_token_that_cannot_be_read_is_not_served(
    autojump_clock: MockClock, token: str
) -> None:
    world = World()
    reply = json.dumps({"data": {"token": token, "sid": "sid"}}).encode()
    world.kotak.always = lambda seen: Canned(200, reply) if "validate" in seen.path else None

    await world.run_for(DAY)

    assert world.board.held is None
    assert len(world.kotak.logins) == 2  # unproven, so it may have been a refusal
    assert world.state == "blocked"


async def test_a_bug_in_a_login_ends_in_a_standing_and_not_in_a_crash(
    autojump_clock: MockClock,
) -> None:
    world = World()

    def broken(_: Seen) -> Fault | None:
        raise ZeroDivisionError

    world.kotak.always = broken
    await world.run_for(1)
    assert world.board.standing.last_failure
    assert world.board.standing.last_failure.kind == "internal_error"

    world.kotak.always = None
    await world.run_for(100)
    assert world.state == "ok"


async def test_a_bug_ahead_of_the_first_login_ends_in_a_standing_and_not_in_a_crash(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()

    def broken(_: object, __: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("neod.account.keeper.to_fingerprint", broken)
        await world.run_for(10)
    assert world.board.standing.last_failure
    assert world.board.standing.last_failure.kind == "internal_error"

    await world.run_for(100)
    assert world.state == "ok"


async def test_after_a_bug_ahead_of_the_first_login_it_goes_on_within_seconds(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    bugs = [ZeroDivisionError()]

    def broken_once(account: Account, found: Mapping[str, Secret]) -> list[str]:
        if bugs:
            raise bugs.pop()
        return to_fingerprint(account, found)

    monkeypatch.setattr("neod.account.keeper.to_fingerprint", broken_once)
    await world.run_for(10)

    assert caplog.messages == ["bug", "login_failed"]
    assert world.kotak.seen[0].at - START == pytest.approx(5)
    assert world.state == "ok"
    assert world.keeper.outcomes == {("login", "internal_error"): 1, ("login", "accepted"): 1}


async def test_what_a_full_disk_did_not_take_is_on_it_soon_after_there_is_room(
    autojump_clock: MockClock,
) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        world.ledger.full = True
        assert "not on the disk" in await world.keeper.pause(SOMEBODY)
        await trio.sleep(60)
        assert world.ledger.written < len(world.ledger.lines)

        world.ledger.full = False
        await trio.sleep(41 * TICK)  # a world's tick is longer than a daemon's

        assert world.ledger.written == len(world.ledger.lines)
        nursery.cancel_scope.cancel()


async def test_a_keeper_that_is_ended_leaves_no_line_unwritten(
    autojump_clock: MockClock,
) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        world.ledger.full = True
        await world.keeper.pause(SOMEBODY)
        await trio.sleep(1)
        world.ledger.full = False

        nursery.cancel_scope.cancel()

    assert world.ledger.written == len(world.ledger.lines)


# Refusals


async def test_p3_a_neod_that_dies_in_each_login_makes_no_more_of_them_than_the_budget_has(
    autojump_clock: MockClock,
) -> None:
    world = World(renewal={"logins_per_10min": 4, "logins_per_day": 24})
    await world.run_for(60)  # the secrets are proven, so that doubts do not stop it
    world.store.kept = None
    world.kotak.always = lambda seen: Hang() if "validate" in seen.path else None

    for _ in range(50):
        world.boot()
        await world.run_for(5)

    assert len(world.kotak.logins) == 4
    assert world.state == "login_budget"


async def test_p3_a_wrong_password_is_tried_once_over_any_number_of_restarts(
    autojump_clock: MockClock,
) -> None:
    world = World(password="wrong")

    for _ in range(5):
        await world.run_for(DAY)
        assert world.state == "credentials_rejected"
        world.boot()
    assert len(world.kotak.logins) == 1

    world.boot(password=PASSWORD)
    await world.run_for(10)
    assert world.state == "ok"
    assert len(world.kotak.logins) == 2


async def test_p3_a_wrong_consumer_secret_is_tried_once_too(autojump_clock: MockClock) -> None:
    world = World(consumer_secret="wrong")

    for _ in range(5):
        await world.run_for(DAY)
        world.boot()

    assert len(world.kotak.seen) == 1
    assert world.board.standing.state == "starting"


async def test_p3_a_password_that_changed_at_the_broker_costs_two_attempts(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    await world.run_for(10)
    right = world.kotak.broker.settings.credentials
    who = type(right)(password="new at the broker")
    world.kotak.broker.settings = Settings(life=HOUR, bearer_life=DAY, credentials=who)

    for _ in range(10):
        await world.run_for(6 * HOUR)
        world.boot()

    wrong = world.kotak.logins[1:]
    assert len(wrong) == 2
    assert wrong[1].at - wrong[0].at >= 30 * 60
    assert not world.kotak.broker.locked


async def test_p3_replies_that_are_lost_block_unproven_secrets_after_two(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None

    for _ in range(5):
        await world.run_for(DAY)
        assert world.state == "blocked"
        world.boot()

    assert len(world.kotak.logins) == 2


async def test_proven_secrets_are_not_blocked_by_lost_replies(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    await world.run_for(10)
    world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None
    await world.run_for(5 * HOUR)
    assert world.state == "backing_off"

    world.kotak.always = None
    await world.run_for(700)

    assert world.state == "ok"


async def test_a_stop_in_the_middle_of_a_login_is_remembered_as_a_possible_refusal(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.latency = 5

    for _ in range(10):
        await world.run_for(7)  # the bearer takes 5 s, so this stops while the password is out
        world.boot()
    await world.run_for(100)

    assert len(world.kotak.logins) == 2
    assert world.state == "blocked"


async def test_unblock_allows_one_attempt(autojump_clock: MockClock) -> None:
    world = World(password="wrong")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(10)
        assert len(world.kotak.logins) == 1

        await world.keeper.unblock(SOMEBODY)
        await trio.sleep(DAY / 2)
        assert len(world.kotak.logins) == 2
        assert world.state == "credentials_rejected"

        with pytest.raises(NotUnblocked, match="third"):
            await world.keeper.unblock(SOMEBODY)
        await trio.sleep(10)
        assert len(world.kotak.logins) == 2

        await world.keeper.unblock(SOMEBODY, force=True)
        await trio.sleep(10)
        assert len(world.kotak.logins) == 3
        nursery.cancel_scope.cancel()


async def test_unblock_is_followed_by_an_attempt_at_once_though_one_was_backed_off(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.always = lambda _: Refuse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(HOUR)
        world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None
        while world.state != "blocked":
            await world.board.changed.wait()
        world.kotak.always = None

        said = await world.keeper.unblock(SOMEBODY)
        await trio.sleep(1)

        assert said == "main: one more login is allowed, and tried as soon as it may be"
        assert world.state == "ok"
        nursery.cancel_scope.cancel()


async def test_unblock_of_an_account_that_is_paused_waits_for_resume_and_says_so(
    autojump_clock: MockClock,
) -> None:
    world = World(password="wrong")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        await world.keeper.pause(SOMEBODY)

        said = await world.keeper.unblock(SOMEBODY)
        await trio.sleep(HOUR)

        assert said == "main: one more login is allowed, once neoctl resume is said"
        assert len(world.kotak.logins) == 1
        await world.keeper.resume(SOMEBODY)
        await trio.sleep(10)
        assert len(world.kotak.logins) == 2
        nursery.cancel_scope.cancel()


async def test_a_login_that_a_slow_disk_holds_up_is_not_told_as_failed(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.store.slow = 61.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        assert not (await world.keeper.renew(SOMEBODY)).failed
        assert world.board.valid()
        await trio.sleep(10)
        assert (world.state, world.board.standing.last_failure) == ("ok", None)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("takes", [0.5, 5.0])
async def test_corrected_secrets_that_take_their_time_are_logged_in_with_on_a_persons_word(
    autojump_clock: MockClock, takes: float
) -> None:
    environ = {"PASSWORD": "wrong"}
    world = World(environ=environ)
    world.boot(password={"env": "PASSWORD"})
    world.ledger.slow_secrets = takes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(60)
        asked = await world.keeper.renew(SOMEBODY)
        assert (asked.failed, world.state) == (True, "credentials_rejected")
        assert "refused once" in asked.detail

        environ["PASSWORD"] = PASSWORD
        assert not (await world.keeper.renew(SOMEBODY)).failed
        assert len(world.kotak.logins) == 2
        nursery.cancel_scope.cancel()


async def test_p3_unblock_needs_force_after_two_refusals_whatever_was_refused(
    autojump_clock: MockClock,
) -> None:
    environ = {"PASSWORD": "wrong"}
    world = World(environ=environ)
    world.boot(password={"env": "PASSWORD"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(10)
        environ["PASSWORD"] = "wrong too"
        assert (await world.keeper.renew(SOMEBODY)).failed

        with pytest.raises(NotUnblocked, match="2 times within 24 hours"):
            await world.keeper.unblock(SOMEBODY)
        await trio.sleep(DAY / 2)
        assert len(world.kotak.logins) == 2

        environ["PASSWORD"] = PASSWORD
        assert not (await world.keeper.renew(SOMEBODY)).failed  # the account is not locked
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("refusals", "ago", "needs_force"), [(1, 0, False), (2, DAY - 1, True), (2, DAY, False)]
)
async def test_unblock_needs_force_after_two_refusals_within_a_day(
    autojump_clock: MockClock, refusals: int, ago: float, *, needs_force: bool
) -> None:
    suspects = (Suspect(ANY_SECRETS, refusals=refusals, refused_at=START - ago),)
    world = World()
    await world.ledger.append(Carried(at=START, time="", history=History(suspects=suspects)))
    await world.keeper._see_secrets()
    if needs_force:
        with pytest.raises(NotUnblocked, match=f"{refusals} times"):
            await world.keeper.unblock(SOMEBODY)
        assert not world.ledger.history.pardoned

    assert "one more login" in await world.keeper.unblock(SOMEBODY, force=needs_force)

    assert world.ledger.history.pardoned
    assert world.ledger.lines[-1] == Unblocked(word=SOMEBODY, **stamp(world.clock))


async def test_unblock_of_an_account_that_is_well_does_nothing(autojump_clock: MockClock) -> None:
    world = World()
    await world.run_for(10)

    assert "not blocked" in await world.keeper.unblock(SOMEBODY)
    assert not world.ledger.history.pardoned


async def test_p3_a_second_chance_whose_reply_is_lost_was_the_second_refusal(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    await world.run_for(10)
    world.kotak.broker.settings = Settings(credentials=Credentials(password="new at the broker"))
    await world.run_for(HOUR)
    assert world.state == "credentials_rejected"

    world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None
    for _ in range(5):
        await world.run_for(6 * HOUR)
        world.boot()

    assert world.kotak.broker.refusals == 2


async def test_p3_a_stop_in_the_middle_of_the_second_chance_was_the_second_refusal(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    await world.run_for(10)
    world.kotak.broker.settings = Settings(credentials=Credentials(password="new at the broker"))
    await world.run_for(HOUR)
    world.kotak.latency = 5

    for _ in range(5):
        world.boot()
        await world.run_for(40)
    await world.run_for(HOUR / 2)
    for _ in range(5):
        world.boot()
        await world.run_for(7)

    assert world.kotak.broker.refusals == 2


async def test_p3_unblock_pardons_nothing_while_the_secret_cannot_be_had(
    autojump_clock: MockClock,
) -> None:
    world = World(password={"env": "PASSWORD"})
    world.keeper._environ = {"PASSWORD": "wrong"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(5)
        await world.keeper.unblock(SOMEBODY)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert world.kotak.broker.refusals == 2

    world.boot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(5)
        assert world.state == "blocked"
        assert "not blocked" in await world.keeper.unblock(SOMEBODY)
        world.keeper._environ = {"PASSWORD": "wrong"}
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()

    assert world.kotak.broker.refusals == 2
    assert world.state == "credentials_rejected"


async def test_p3_an_unblock_during_a_login_does_not_lose_what_comes_of_it(
    autojump_clock: MockClock,
) -> None:
    world = World(password="wrong")
    world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(100)
        assert world.state == "blocked"
        world.kotak.always = None
        world.kotak.latency = 3
        await world.keeper.unblock(SOMEBODY)
        await trio.sleep(4)
        assert "under way" in await world.keeper.unblock(SOMEBODY)
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()

    assert len(world.kotak.logins) == 3
    assert world.state == "credentials_rejected"


async def test_p3_many_unblocks_at_once_allow_one_attempt(autojump_clock: MockClock) -> None:
    world = World(password="wrong")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(5)
        async with trio.open_nursery() as persons:
            for _ in range(5):
                persons.start_soon(world.keeper.unblock, SOMEBODY)
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()

    assert len(world.kotak.logins) == 2


# This machine's own troubles


async def test_a_disk_that_is_full_stops_logins_and_not_serving(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    await world.run_for(10)
    world.ledger.full = True
    sent = len(world.kotak.seen)

    with trio.move_on_after(HOUR):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.run)
            await trio.sleep(0.9 * HOUR)
            assert world.board.valid()
            assert world.board.standing.last_failure
            assert world.board.standing.last_failure.kind == "ledger"
            assert world.state == "blocked"
    assert len(world.kotak.seen) == sent

    world.ledger.full = False
    await world.run_for(400)
    assert world.state == "ok"


async def test_p5_a_disk_that_stands_still_for_ten_minutes_is_known_to(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=DAY, bearer_life=DAY))
    assert not world.keeper.stuck
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(HOUR / 2)
        world.store.slow = HOUR
        nursery.start_soon(world.keeper.renew, SOMEBODY)
        await trio.sleep(599.5)
        assert not world.keeper.stuck
        await trio.sleep(1)
        assert world.keeper.stuck
        await trio.sleep(HOUR)
        assert not world.keeper.stuck
        nursery.cancel_scope.cancel()


async def test_a_secret_that_cannot_be_had_is_asked_for_again_and_nothing_is_sent(
    autojump_clock: MockClock,
) -> None:
    world = World(password={"env": "NEOD_TEST_PASSWORD"})
    await world.run_for(HOUR)
    assert world.state == "blocked"
    assert world.kotak.seen == []
    assert world.board.standing.last_failure
    assert "account.main.password" in world.board.standing.last_failure.detail

    world.keeper._environ = {"NEOD_TEST_PASSWORD": PASSWORD}
    await world.run_for(301)
    assert world.state == "ok"


async def test_a_secret_that_cannot_be_had_after_a_restart_is_no_reason_for_a_login(
    autojump_clock: MockClock,
) -> None:
    environ = {"PASSWORD": PASSWORD}
    world = World(environ=environ, password={"env": "PASSWORD"})
    await world.run_for(10)
    environ.clear()

    world.boot(password={"env": "PASSWORD"})
    await world.run_for(60)

    assert world.board.valid()
    assert (world.state, world.board.standing.last_failure) == ("ok", None)


async def test_a_secret_that_was_corrected_is_logged_in_with_on_a_persons_word(
    autojump_clock: MockClock,
) -> None:
    environ = {"PASSWORD": "wrong"}
    world = World(environ=environ, password={"env": "PASSWORD"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        assert world.state == "credentials_rejected"
        environ["PASSWORD"] = PASSWORD

        asked = await world.keeper.renew(SOMEBODY)

        assert not asked.failed
        assert world.state == "ok"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("password", "state"),
    [("wrong", "credentials_rejected"), (PASSWORD, "ok")],
    ids=["refused", "accepted"],
)
async def test_secrets_are_read_once_for_a_persons_wish_and_not_while_nothing_is_due(
    autojump_clock: MockClock, password: str, state: str
) -> None:
    world = World(Settings(life=30 * DAY, bearer_life=30 * DAY), password=password)
    at_once, reads = world.ledger.fingerprint, 0

    async def counting(texts: list[str]) -> str:
        nonlocal reads
        reads += 1  # as a command is run that wants a touch
        return await at_once(texts)

    world.ledger.fingerprint = counting  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        assert world.state == state
        before = reads
        await trio.sleep(DAY)
        assert reads == before

        await world.keeper.renew(SOMEBODY)

        assert reads == before + 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("changes", "settles"), [(2, True), (3, False)])
async def test_secrets_that_change_while_they_are_read_are_read_again_and_that_twice(
    autojump_clock: MockClock, changes: int, *, settles: bool
) -> None:
    world = World()
    left = iter(range(changes))

    async def changing(texts: list[str]) -> str:
        await trio.lowlevel.checkpoint()
        return str(next(left, changes))

    world.ledger.fingerprint = changing  # type: ignore[method-assign]
    await world.run_for(0.5)

    failure = world.board.standing.last_failure
    assert (world.generation == 1) is settles
    assert (failure is None) is settles
    if failure:
        assert (failure.kind, world.state) == ("secret_unavailable", "blocked")
        assert failure.detail == "the secrets are others each time that they are read"


async def test_secrets_that_were_others_now_and_then_are_not_others_each_time(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    reads = iter("abccdee")  # two changes ahead of the first login, and two ahead of the next

    async def changing(texts: list[str]) -> str:
        await trio.lowlevel.checkpoint()
        return next(reads, "e")

    world.ledger.fingerprint = changing  # type: ignore[method-assign]
    await world.run_for(HOUR)

    assert next(reads, None) is None
    assert (world.generation, world.board.standing.last_failure) == (2, None)


# Clocks


async def test_p2_after_a_suspend_over_the_end_a_new_session_is_there_within_thirty_seconds(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(60)
        world.time.suspend(8 * HOUR)
        assert world.board.valid() is None
        await trio.sleep(31)
        assert world.board.valid()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("step", [3 * HOUR, -3 * HOUR])
async def test_p2_a_step_of_the_clock_serves_no_lapsed_session(
    autojump_clock: MockClock, step: float
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(60)
        old = world.board.held
        assert old
        world.time.step(step)
        if step > 0:
            assert world.board.valid() is None
            await trio.sleep(31)
            assert world.board.valid()
        else:
            await trio.sleep(HOUR - 59)
            assert world.board.valid() is not old
            await trio.sleep(31)
            assert world.board.valid()
        nursery.cancel_scope.cancel()


# The bearer


async def test_a_bearer_of_seconds_under_sessions_of_minutes_costs_no_login(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=600, bearer_life=20))
    dead = 0

    async def watch() -> None:
        nonlocal dead
        while True:
            held = world.board.valid()
            if held is not None:
                bearer = held.session.headers["Authorization"].removeprefix("Bearer ")
                alive = world.kotak.broker.bearers[bearer] > world.time.wall()
                dead += not alive or held.session.expires_at > world.kotak.broker.bearers[bearer]
            elif world.board.held:
                dead += 1
            await trio.sleep(0.1)

    with trio.move_on_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.run)
            nursery.start_soon(watch)

    assert len(world.kotak.logins) == 1
    assert dead == 0
    assert world.generation > 15


@pytest.mark.parametrize("expires_in", [0, -5, 0.5])
async def test_a_bearer_that_is_dead_on_arrival_is_backed_off(
    autojump_clock: MockClock, expires_in: float
) -> None:
    world = World()
    world.kotak.broker.settings = Settings(life=DAY, bearer_life=20)
    await world.run_for(5)
    dead = json.dumps({"access_token": "dead", "expires_in": expires_in}).encode()
    world.kotak.always = lambda seen: Canned(200, dead) if "oauth2" in seen.path else None

    await world.run_for(HOUR)

    assert 50 < len(world.kotak.seen) < 250
    assert world.board.valid() is None
    assert world.board.standing.last_failure
    assert world.board.standing.last_failure.kind == "unintelligible"
    assert "had ended already" in world.board.standing.last_failure.detail


async def test_a_broker_that_gives_the_same_bearer_until_it_ends_is_not_pressed(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=DAY))
    ends = 0.0

    def same(seen: Seen) -> Fault | None:
        nonlocal ends
        if "oauth2" not in seen.path:
            return None
        if seen.at >= ends:
            ends = seen.at + HOUR
        world.kotak.broker.bearers["same"] = ends
        left = int(ends - seen.at)
        return Canned(200, json.dumps({"access_token": "same", "expires_in": left}).encode())

    world.kotak.always = same
    await world.run_for(5.5 * HOUR)

    assert len(world.kotak.seen) < 25
    assert len(world.kotak.logins) == 1
    assert world.state == "ok"


@pytest.mark.parametrize("expires_in", [9223372036854775, 10**300, 1e308])
async def test_a_bearer_without_end_in_sight_is_a_bearer(
    autojump_clock: MockClock, expires_in: float
) -> None:
    world = World(Settings(bearer_life=expires_in))

    await world.run_for(10)

    assert world.board.valid()


async def test_a_ready_access_token_that_ends_is_said_and_no_login_is_made_with_it(
    autojump_clock: MockClock,
) -> None:
    world = World()
    ready = make_token(START, START + 600, Credentials())
    world.kotak.broker.bearers[ready] = START + 600
    world.boot(access_token=ready, consumer_key=None, consumer_secret=None)
    await world.run_for(599)
    held = world.board.valid()
    assert held
    assert held.session.bearer_expires_at == START + 600

    await world.run_for(DAY)

    assert len(world.kotak.logins) == 1
    assert world.state == "blocked"
    assert world.board.standing.last_failure
    assert "access_token" in world.board.standing.last_failure.detail


async def test_fields_of_another_type_lose_no_login(autojump_clock: MockClock) -> None:
    world = World()
    token = make_token(START, START + HOUR, Credentials())
    data = {"token": token, "sid": "sid", "isTrialAccount": "false", "ucc": 7, "rid": None}
    reply = json.dumps({"data": data}).encode()
    world.kotak.always = lambda seen: Canned(200, reply) if "validate" in seen.path else None

    await world.run_for(10)

    held = world.board.valid()
    assert held
    assert held.session.is_trial_account is None
    assert held.session.extra == {"isTrialAccount": "false", "ucc": 7}


# A clock that is wrong, against a broker's that is right


@pytest.mark.parametrize("ahead", [3.0, 30.0, 300.0])
async def test_at_the_edge_it_waits_for_the_brokers_midnight(
    autojump_clock: MockClock, ahead: float
) -> None:
    world = World(Settings(), start=MIDNIGHT - 2 * HOUR)
    world.kotak.slow = ahead

    await world.run_for(26 * HOUR)

    after = [login.at - MIDNIGHT for login in world.kotak.logins if login.at > MIDNIGHT]
    assert ahead <= after[0] < ahead + 6
    assert len(after) == 1


async def test_what_is_known_of_the_brokers_clock_is_kept_through_an_outage(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR))
    world.kotak.slow = 45.0
    async with trio.open_nursery() as nursery:
        world.kotak.faults.append(Refuse())
        nursery.start_soon(world.run)
        await trio.sleep(0.5)
        assert world.state == "backing_off"
        assert world.board.standing.clock_skew is None
        await trio.sleep(10)
        world.kotak.always = lambda _: Refuse()
        await trio.sleep(HOUR)
        assert world.state == "backing_off"
        assert world.board.standing.clock_skew == pytest.approx(45, abs=1)
        nursery.cancel_scope.cancel()


async def test_p2_a_clock_that_is_behind_serves_no_session_past_the_brokers_end(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=DAY))
    world.kotak.slow = -600.0
    await world.run_for(5)
    held = world.board.held
    assert held
    world.kotak.always = lambda _: Refuse()

    with trio.move_on_after(HOUR):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.run)
            while True:
                broker_time = world.time.wall() + 600
                if world.board.valid():
                    assert broker_time < held.session.expires_at + 3
                await trio.sleep(1)


async def test_an_edge_that_is_configured_wrong_does_not_burn_logins(
    autojump_clock: MockClock,
) -> None:
    for edge in ("none", "03:00"):
        world = World(Settings(), start=MIDNIGHT - 2 * HOUR, renewal={"edge": edge})

        await world.run_for(2 * DAY)

        assert len(world.kotak.logins) <= 6, edge
        assert world.ledger.history.edge is None  # what is configured is not learnt


# Properties

faults = st.sampled_from(
    [
        None,
        Refuse(),
        Hang(),
        Cut(),
        Canned(500),
        Canned(503),
        Canned(504),
        Canned(429),
        Canned(200, b"<html>maintenance</html>"),
        Canned(200, b""),
        Canned(200, b'{"data": {}}'),
        Canned(400, b'{"error": "?"}'),
    ]
)


async def play(drawn: list[Fault | None], password: str) -> World:
    """One drawn history of troubles, and restarts, over the real keeper."""
    world = World(Settings(life=900, bearer_life=1700), password=password)
    served_dead = 0

    async def watch() -> None:
        nonlocal served_dead
        while True:
            held = world.board.valid()
            if held is not None:
                served_dead += held.session.expires_at <= world.time.wall()
            await trio.sleep(61)

    world.kotak.faults.extend(drawn)
    for _ in range(4):
        with trio.move_on_after(2 * HOUR + 3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.keeper.run)
                nursery.start_soon(watch)
        world.boot()
    assert served_dead == 0
    return world


@settings(max_examples=10, deadline=None)
@given(st.lists(faults, max_size=30), st.sampled_from([PASSWORD, "wrong"]))
def test_p2_p3_whatever_the_broker_does_no_account_is_locked_and_no_dead_session_served(
    drawn: list[Fault | None], password: str
) -> None:
    world = trio.run(play, drawn, password, clock=MockClock(autojump_threshold=0))

    assert not world.kotak.broker.locked
    if password != PASSWORD:
        assert len(world.kotak.logins) <= 2 + sum(fault is not None for fault in drawn)
        assert world.kotak.broker.refusals <= 2


async def test_p2_a_session_that_lapsed_by_its_bearer_is_not_back_after_a_restart_and_a_step(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=DAY, bearer_life=3600))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(60)
        assert world.board.valid()
        world.kotak.always = lambda _: Refuse()
        world.time.step(2 * 3600)
        await trio.sleep(20)
        assert world.board.valid() is None
        nursery.cancel_scope.cancel()

    world.time.step(-2 * 3600)
    world.boot()
    await world.run_for(5)

    assert world.board.valid() is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(99, "Cannot assign requested address"), "Cannot assign requested address"),
        (OSError("without a number"), "without a number"),
    ],
    ids=["of the system", "of a library"],
)
async def test_what_keeps_a_login_from_being_begun_is_an_outage(
    autojump_clock: MockClock, error: OSError, said: str
) -> None:
    def unreachable(_: object) -> Never:
        raise error

    world = World()
    world.keeper._connect = unreachable
    await world.run_for(5)

    failure = world.board.standing.last_failure
    assert failure
    assert (failure.kind, world.state) == ("unavailable", "backing_off")
    assert failure.detail == f"cannot make ready to connect: {said}"
    assert not world.ledger.lines


async def test_p5_a_login_that_gets_nowhere_ends_after_a_minute(
    autojump_clock: MockClock,
) -> None:
    @asynccontextmanager
    async def connecting(_: object) -> AsyncIterator[Never]:
        await trio.sleep_forever()
        yield

    world = World()
    world.keeper._connect = connecting
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(59)
        assert world.board.standing.last_failure is None
        await trio.sleep(2)
        failure = world.board.standing.last_failure
        nursery.cancel_scope.cancel()

    assert failure
    assert failure.kind == "unanswered"
    assert "longer than 60 s" in failure.detail
