"""What Prometheus is told: read back by its own parser."""

import errno

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from neod.ipc.api import Api
from neod.ipc.clients import Client
from neod.ipc.http1 import parse
from neod.ipc.peers import Peer
from neod.ipc.reads import Reads
from neod.sandbox.broker import Settings
from tests.fakes.asking import answer_of
from tests.fakes.clock import START
from tests.fakes.desk import Desk
from tests.fakes.kotak import Canned
from tests.fakes.world import SOMEBODY, World

HOUR = 3600.0
Labels = tuple[tuple[str, str], ...]


async def metrics(api: Api) -> dict[str, dict[Labels, float]]:
    """Samples by name and labels."""
    response = await answer_of(api, parse(b"GET /metrics HTTP/1.1\r\n\r\n"))
    assert response.status == 200
    assert response.content_type.startswith("text/plain; version=")
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(response.body.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


MAIN: Labels = (("account", "main"),)


async def test_an_account_is_measured(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    api = Api({"main": world.keeper}, START)
    await world.run_for(HOUR + 1)
    held = world.board.held
    assert held

    found = await metrics(api)

    states = found["neod_account_state"]
    assert [dict(labels)["state"] for labels, value in states.items() if value] == ["ok"]
    assert len(states) == 10
    assert found["neod_session_valid"] == {MAIN: 1}
    assert found["neod_session_generation"] == {MAIN: 2}
    assert found["neod_session_expires_at_seconds"] == {MAIN: held.session.expires_at}
    accepted = (("account", "main"), ("kind", "login"), ("outcome", "accepted"))
    assert found["neod_logins_total"] == {accepted: 2}
    assert found["neod_renewal_lateness_seconds"][MAIN] == pytest.approx(0, abs=1)
    assert found["neod_renewal_overdue_seconds"] == {MAIN: 0}
    assert found["neod_start_time_seconds"] == {(): START}
    assert of_windows(found["neod_login_budget_used"]) == {"600s": 0, "86400s": 2}


def of_windows(samples: dict[Labels, float]) -> dict[str, float]:
    return {dict(labels)["window"]: value for labels, value in samples.items()}


async def test_an_account_that_never_had_a_session_is_measured_too(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR))
    world.kotak.always = lambda _: Canned(503)
    await world.run_for(HOUR)

    found = await metrics(Api({"main": world.keeper}, START))

    assert found["neod_session_valid"] == {MAIN: 0}
    assert found["neod_renewal_overdue_seconds"] == {MAIN: 0}
    assert found.keys().isdisjoint({"neod_renewal_lateness_seconds", "neod_session_generation"})


async def test_a_first_session_is_not_late_and_one_on_a_persons_word_is_not_overdue(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    api = Api({"main": world.keeper}, START)
    nursery.start_soon(world.run)
    await trio.sleep(10)
    assert "neod_renewal_lateness_seconds" not in await metrics(api)

    await world.keeper.pause(SOMEBODY)
    await world.keeper.renew(SOMEBODY)
    await trio.sleep(HOUR)

    assert (await metrics(api))["neod_renewal_overdue_seconds"] == {MAIN: 0}


async def test_a_renewal_that_is_late_is_overdue_and_then_was_so(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(life=HOUR, bearer_life=10 * HOUR))
    api = Api({"main": world.keeper}, START)
    nursery.start_soon(world.run)
    await trio.sleep(1)
    due = world.board.standing.next
    assert due
    world.kotak.always = lambda _: Canned(503)
    await trio.sleep(due - world.clock.wall() + 600)

    overdue = (await metrics(api))["neod_renewal_overdue_seconds"][MAIN]
    world.kotak.always = None
    await trio.sleep(120)
    found = await metrics(api)

    assert overdue == pytest.approx(600, abs=1)
    assert 600 <= found["neod_renewal_lateness_seconds"][MAIN] <= 720
    assert found["neod_renewal_overdue_seconds"] == {MAIN: 0}
    unavailable = (("account", "main"), ("kind", "login"), ("outcome", "unavailable"))
    assert found["neod_logins_total"][unavailable] > 5


async def test_requests_are_counted_by_route_and_status_however_they_were_answered(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main")
    reads = Reads(desk.api)
    client = Client(Peer(1, 0, 0), 0)
    await desk.ask("/v1/token")
    desk.publish(7)
    await desk.ask("/v1/token")
    assert reads.take(b"GET /v1/token HTTP/1.1\r\n\r\n", client)
    assert reads.take(b"GET /v1/status HTTP/1.1\r\n\r\n", client) is None
    await desk.ask("/nobody/counts/paths/of/a/clients/own")

    counted = (await metrics(desk.api))["neod_requests_total"]

    assert {tuple(value for _, value in labels): count for labels, count in counted.items()} == {
        ("/v1/token", "200"): 2,
        ("/v1/token", "503"): 1,
        ("other", "404"): 1,
    }
    assert (client.requests, client.account, client.generation) == (1, "main", 7)


async def test_without_an_account_there_are_metrics_all_the_same(
    autojump_clock: MockClock,
) -> None:
    found = await metrics(Desk().api)

    assert found["neod_connections"] == {(): 0}
    assert "neod_session_valid" not in found
    assert found["neod_info"]


async def test_without_a_descriptor_they_come_later(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    def read_from_the_disk(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("neod.ipc.api.metrics", read_from_the_disk)

    response = await answer_of(Api({}, START), parse(b"GET /metrics HTTP/1.1\r\n\r\n"))

    assert response.status == 503
    assert b"too_many_connections" in response.body
