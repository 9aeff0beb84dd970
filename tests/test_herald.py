"""What is told of an account, and how often: on its board, to who watches, and in the log."""

import errno
import logging
from typing import Never

import pytest
import trio
from trio.testing import MockClock

from neod.account.history import COOL
from neod.kotak.evidence import read_evidence
from neod.sandbox.broker import Settings
from tests.fakes.clock import START
from tests.fakes.kotak import Cut, Hang, Refuse
from tests.fakes.world import PASSWORD, SOMEBODY, World, world_of_totp
from tests.test_log import lines
from tests.test_watch import living

HOUR = 3600.0
MIDNIGHT = 1687977000.0  # 2023-06-29T00:00:00+05:30
A_DAY = Settings(life=24 * HOUR, bearer_life=24 * HOUR)
READY_BY = START + 5 * HOUR + 100  # 08:45 in India


# Its session


@pytest.mark.parametrize(("margin", "ahead"), [("1min", 60), ("10min", 600), ("1h", HOUR / 4)])
async def test_a_session_is_said_to_be_near_its_end_as_far_ahead_as_the_configuration_has_it(
    autojump_clock: MockClock, nursery: trio.Nursery, margin: str, ahead: float
) -> None:
    world = World(Settings(life=HOUR, bearer_life=24 * HOUR))
    world.boot(renewal={"margin": margin})
    watcher = await living(nursery, world)
    await trio.sleep(1)
    held = world.board.held
    assert held
    world.kotak.always = lambda _: Hang()

    await trio.sleep(HOUR)

    at = watcher.last("expiring")["at"]
    assert at == pytest.approx(held.session.expires_at - ahead, abs=1.1)


async def test_the_log_has_what_a_session_is_and_a_bearer_is_no_news(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(Settings(life=24 * HOUR, bearer_life=HOUR))
    with caplog.at_level(logging.DEBUG, "neod"):
        await world.run_for(HOUR)

    held = world.board.held
    assert held
    [first, second] = [fields for event, fields in lines(caplog) if event == "session"]
    assert first == {
        "account": "main",
        "generation": 1,
        "kind": "view",
        "expires": first["expires"],
        "why": "there is no session yet",
        "login": "1",
    }
    assert second["expires"] == held.session.expires_at_rfc3339 != first["expires"]
    assert (second["generation"], second["login"]) == (2, "3")
    assert str(second["why"]).startswith("the bearer ends at ")
    levels = [record.levelno for record in caplog.records if record.message == "session"]
    assert levels == [logging.INFO, logging.DEBUG]


@pytest.mark.parametrize(
    ("settings", "reachable", "level"),
    [
        pytest.param(Settings(), True, logging.INFO, id="at the day's edge"),
        pytest.param(Settings(life=600), False, logging.WARNING, id="in an outage"),
        pytest.param(Settings(bearer_life=500), False, logging.WARNING, id="by its bearer"),
    ],
)
async def test_that_a_session_has_lapsed_is_logged_once_and_is_a_warning_where_it_had_not_to_be(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    settings: Settings,
    *,
    reachable: bool,
    level: int,
) -> None:
    world = World(settings, start=MIDNIGHT - 600)
    caplog.set_level(logging.INFO, "neod")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        if not reachable:
            world.kotak.always = lambda _: Refuse()
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()

    said = [record for record in caplog.records if record.message == "expired"]
    assert [record.levelno for record in said] == [level]


# Where it stands


async def test_since_when_it_stands_so_is_kept_while_the_reason_changes(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=24 * HOUR))
    stood: list[tuple[str, float, str]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        await world.keeper.pause(SOMEBODY)
        for _ in range(2):
            await trio.sleep(HOUR - 20)
            standing = world.board.standing
            stood.append((standing.state, standing.since - START, standing.why))
        nursery.cancel_scope.cancel()

    assert [(state, round(since)) for state, since, _ in stood] == [("paused", 10)] * 2
    assert len({why for _, _, why in stood}) == 2


async def test_it_is_failing_from_a_failure_until_a_login_succeeds(
    autojump_clock: MockClock,
) -> None:
    world = World(A_DAY)
    world.kotak.faults.append(Refuse())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        assert not world.board.standing.failing
        await trio.sleep(0.5)
        assert world.board.standing.failing
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    standing = world.board.standing
    assert (standing.state, standing.failing) == ("ok", False)
    assert standing.last_failure  # which is told still, as what was
    assert standing.last_failure.at == pytest.approx(START, abs=0.5)


async def test_each_change_of_state_is_a_line_for_who_looks_for_faults(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(A_DAY)
    world.kotak.faults.extend([Refuse()] * 3)
    with caplog.at_level(logging.DEBUG, "neod"):
        await world.run_for(600)

    states = [fields["state"] for event, fields in lines(caplog) if event == "state"]
    assert states == ["backing_off", "starting"] * 3 + ["ok"]


# What a person has to mend


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"password": "wrong"}, "credentials_rejected"),
        ({"password": {"env": "NOT_THERE"}}, "blocked"),
        ({"second_factor": "otp"}, "otp_needed"),
    ],
    ids=["refused", "no secret", "otp"],
)
async def test_it_is_told_once_however_long_it_lasts(
    autojump_clock: MockClock, nursery: trio.Nursery, changes: dict[str, object], event: str
) -> None:
    world = World()
    world.boot(**changes)
    watcher = await living(nursery, world)

    await trio.sleep(2 * HOUR)

    assert watcher.events.count(event) == 1


async def test_that_a_secret_cannot_be_had_is_told_again_once_it_could_be_meanwhile(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    environ: dict[str, str] = {}
    world = World(A_DAY, environ=environ, password={"env": "PASSWORD"})
    watcher = await living(nursery, world)
    await trio.sleep(HOUR)
    assert watcher.events.count("blocked") == 1

    environ["PASSWORD"] = PASSWORD
    assert not (await world.keeper.renew(SOMEBODY)).failed
    environ.clear()
    assert (await world.keeper.renew(SOMEBODY)).failed
    await trio.sleep(24 * HOUR)

    assert watcher.events.count("blocked") == 2


async def test_that_credentials_are_refused_is_told_though_it_was_blocked_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    environ: dict[str, str] = {}
    world = World(A_DAY, environ=environ, password={"env": "PASSWORD"})
    watcher = await living(nursery, world)
    await trio.sleep(HOUR)
    assert world.state == "blocked"

    environ["PASSWORD"] = "wrong"
    await trio.sleep(HOUR)

    assert [event for event in watcher.events if event != "login_failed"] == [
        "state",
        "blocked",
        "credentials_rejected",
    ]


async def test_that_it_is_blocked_is_told_again_after_a_person_has_unblocked_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(A_DAY)
    world.kotak.always = lambda seen: Cut() if "validate" in seen.path else None
    watcher = await living(nursery, world)
    await trio.sleep(HOUR)
    assert watcher.events.count("blocked") == 1

    await world.keeper.unblock(SOMEBODY)
    await trio.sleep(HOUR)

    assert world.state == "blocked"
    assert watcher.events.count("blocked") == 2


async def test_a_failure_is_told_with_what_mends_it_where_something_does(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def unreachable(_: object) -> Never:
        raise OSError(99, "Cannot assign requested address")

    world = World(A_DAY)
    connect, world.keeper._connect = world.keeper._connect, unreachable
    watcher = await living(nursery, world)
    await trio.sleep(1)
    what = "cannot make ready to connect: Cannot assign requested address"
    assert watcher.last("login_failed")["detail"] == what

    world.keeper._connect = connect
    world.ledger.full = True
    await trio.sleep(100)

    failure = world.board.standing.last_failure
    assert failure
    assert failure.action == "make room on the disk that holds neod's state"
    assert watcher.last("login_failed")["detail"] == f"{failure.detail}; {failure.action}"


@pytest.mark.parametrize(
    ("number", "action"),
    [(errno.EDQUOT, "make room"), (errno.ENOENT, "restart neod"), (errno.EROFS, "neoctl doctor")],
)
async def test_what_mends_a_ledger_that_cannot_be_written_is_of_its_cause(
    autojump_clock: MockClock, number: int, action: str
) -> None:
    world = World(A_DAY)
    world.ledger.full, world.ledger.errno = True, number
    await world.run_for(10)

    failure = world.board.standing.last_failure
    assert failure
    assert action in failure.action


# Another program that logs in


async def test_a_contention_over_a_session_that_is_dead_is_told_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = world_of_totp(A_DAY)
    watcher = await living(nursery, world)
    for _ in range(2):
        await trio.sleep(90)
        world.kotak.broker.kill()
        await world.keeper.reject(world.generation, read_evidence(100022), SOMEBODY)
    assert world.board.valid() is None

    await trio.sleep(COOL[0] - 10)

    assert watcher.events.count("contended") == 1
    assert "another program" in str(watcher.last("contended")["detail"])


# By when a session is expected


async def test_that_none_was_ready_is_told_at_that_very_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(A_DAY)
    world.boot(renewal={"ready_by": "08:45"})
    await world.keeper.pause(SOMEBODY)
    watcher = await living(nursery, world)

    await trio.sleep(24 * HOUR)

    assert watcher.events.count("not_ready_by") == 1
    assert watcher.last("not_ready_by")["at"] == pytest.approx(READY_BY, abs=1)


@pytest.mark.parametrize(
    ("late", "there", "told"),
    [(299.5, False, 1), (300.5, False, 0), (299.5, True, 0)],
    ids=["soon after", "when it is over", "there is one"],
)
async def test_a_machine_that_slept_past_ready_by_tells_of_it_while_it_matters(
    autojump_clock: MockClock, nursery: trio.Nursery, late: float, *, there: bool, told: int
) -> None:
    world = World(A_DAY)
    world.boot(renewal={"ready_by": "08:45"})
    if not there:
        world.kotak.always = lambda _: Refuse()
    watcher = await living(nursery, world)
    await trio.sleep(10)

    world.time.suspend(READY_BY + late - world.time.wall())
    await trio.sleep(10)

    assert watcher.events.count("not_ready_by") == told
