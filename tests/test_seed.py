"""The sample of Kotak's login document: in at the HTTP side, out of the socket, whole."""

import json

from trio.testing import MockClock

from neod.account.keeper import Keeper
from neod.ipc.api import Api
from neod.ipc.http1 import Request, Response
from tests.fakes.asking import answer_of
from tests.fakes.kotak import Canned
from tests.fakes.world import World
from tests.seed import EXPIRES_AT, ISSUED_AT, SAMPLE


async def ask(keeper: Keeper, path: str) -> Response:
    request = Request("GET", path, {}, {}, 0, keep_alive=False)
    return await answer_of(Api({"main": keeper}, 0), request)


def world_with_the_sample(start: float) -> World:
    world = World(
        start=start,
        access_token="a-ready-access-token",
        consumer_key=None,
        consumer_secret=None,
    )
    world.kotak.always = lambda _: Canned(200, SAMPLE)
    return world


async def test_every_field_of_the_sample_comes_out_of_the_session_route(
    autojump_clock: MockClock,
) -> None:
    world = world_with_the_sample(ISSUED_AT)
    await world.run_for(5)

    answer = await ask(world.keeper, "/v1/session")

    sample = json.loads(SAMPLE)["data"]
    session = json.loads(answer.body)
    assert answer.status == 200
    assert session["expires_at"] == EXPIRES_AT
    assert session["expires_at_rfc3339"] == "2023-06-29T00:00:00+05:30"
    assert session["issued_at"] == ISSUED_AT
    assert session["kind"] == "view"
    assert session["scope"] == ["View"]
    assert session["bearer_expires_at"] is None
    named = {
        "token": "token",
        "sid": "sid",
        "rid": "rid",
        "hsServerId": "server_id",
        "isUserPwdExpired": "password_expired",
        "ucc": "ucc",
        "greetingName": "greeting_name",
        "isTrialAccount": "is_trial_account",
        "dataCenter": "data_center",
    }
    for kotaks, ours in named.items():
        assert session[ours] == sample.pop(kotaks), kotaks
    assert session["extra"] == sample
    assert set(sample) == {"caches", "searchAPIKey"}
    assert session["headers"]["Auth"] == session["token"]
    assert session["headers"]["Sid"] == session["sid"]


async def test_the_bare_token_is_the_samples(autojump_clock: MockClock) -> None:
    world = world_with_the_sample(ISSUED_AT)
    await world.run_for(5)

    answer = await ask(world.keeper, "/v1/token")

    assert answer.body.decode() == json.loads(SAMPLE)["data"]["token"] + "\n"
    assert dict(answer.headers) == {
        "Neod-Generation": "1",
        "Neod-Expires-At": str(EXPIRES_AT),
    }


async def test_the_same_reply_at_todays_clock_is_a_lapsed_token_and_is_not_served(
    autojump_clock: MockClock,
) -> None:
    world = world_with_the_sample(1_795_500_000)
    await world.run_for(3600)

    for path in ("/v1/session", "/v1/token"):
        answer = await ask(world.keeper, path)
        assert answer.status == 503
        assert json.loads(answer.body)["code"] == "broker_unavailable"
    assert world.board.held is None
