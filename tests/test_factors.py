"""Second factors and TOTP, by the keeper against the sandbox's broker, in virtual time."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from trio.testing import MockClock

from neod.account.history import Attempt
from neod.account.logbook import entries
from neod.account.totp import STEP
from neod.account.wishes import Asked
from neod.config import Account
from neod.ipc.api import Api
from neod.ipc.http1 import Request
from neod.kotak import flows
from neod.kotak.client import Send
from neod.kotak.evidence import read_evidence
from neod.kotak.replies import Reply
from neod.sandbox.broker import Credentials, Settings, make_token
from neod.secrets import Secret
from tests.fakes.asking import answer_of
from tests.fakes.clock import START
from tests.fakes.kotak import Canned, Cut, Refuse, Seen
from tests.fakes.world import SOMEBODY, TOTP, World, world_of_totp

HOUR = 3600.0
WHO = Credentials()


def stale_once() -> Callable[[Seen], Canned | None]:
    """A broker that refuses the next code, and no other."""
    refusal = {"error": [{"code": "10506", "message": "Invalid TOTP"}]}
    first = [Canned(400, json.dumps(refusal).encode())]
    return lambda seen: first.pop() if first and "tradeApiLogin" in seen.path else None


def codes(world: World) -> list[str]:
    return [
        json.loads(seen.body)["totp"]
        for seen in world.kotak.seen
        if seen.path.endswith("tradeApiLogin")
    ]


# The password flow


async def test_an_mpin_brings_a_trade_token(autojump_clock: MockClock) -> None:
    world = World(Settings(life=HOUR, bearer_life=24 * HOUR), mpin=WHO.mpin)

    await world.run_for(3 * HOUR)

    held = world.board.valid()
    assert held
    assert held.session.kind == "trade"
    assert held.session.scope == ("Trade",)
    assert world.kotak.broker.otps_sent == 0
    assert world.state == "ok"


async def test_the_first_factors_view_token_is_never_published(autojump_clock: MockClock) -> None:
    world = World(mpin="111111")
    kinds: list[str] = []

    async def watch() -> None:
        while True:
            await world.board.changed.wait()
            if world.board.held:
                kinds.append(world.board.held.session.kind)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await world.run_for(24 * HOUR)
        nursery.cancel_scope.cancel()

    assert kinds == []
    assert world.state == "credentials_rejected"
    assert world.kotak.broker.refusals == 1
    assert "check mpin" in world.board.standing.why


async def test_p3_an_mpin_that_became_wrong_is_tried_twice_over_restarts(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=HOUR, bearer_life=24 * HOUR), mpin=WHO.mpin)
    await world.run_for(10)
    changed = msgspec.structs.replace(WHO, mpin="135791")
    world.kotak.broker.settings = Settings(life=HOUR, bearer_life=24 * HOUR, credentials=changed)

    for _ in range(6):
        await world.run_for(4 * HOUR)
        world.boot(mpin=WHO.mpin)

    # A first factor that is accepted again and again proves nothing of the second.
    assert world.kotak.broker.refusals == 2
    assert not world.kotak.broker.locked


async def test_otp_needs_a_person_to_ask_and_a_person_to_answer(autojump_clock: MockClock) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(HOUR)
        assert world.state == "otp_needed"
        assert world.kotak.seen == []
        assert await world.keeper.give_otp(Secret("1234"), SOMEBODY) is None

        asked = await world.keeper.renew(SOMEBODY)
        assert not asked.failed
        assert "neoctl otp" in asked.detail
        assert world.kotak.broker.otps_sent == 1
        await trio.sleep(200)
        assert world.state == "otp_needed"

        code = world.kotak.broker.otp
        assert code
        told = await world.keeper.give_otp(Secret(code), SOMEBODY)
        assert told
        assert not told.failed
        held = world.board.valid()
        assert held
        assert held.session.kind == "trade"
        assert world.kotak.broker.otps_sent == 1
        nursery.cancel_scope.cancel()


async def test_while_an_otp_is_waited_for_that_is_told_and_who_asks_again_is_told_the_same(
    autojump_clock: MockClock,
) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        asked = await world.keeper.renew(SOMEBODY)
        standing = world.board.standing
        assert (standing.state, standing.why) == ("otp_needed", asked.detail.removeprefix("main: "))
        assert standing.next == pytest.approx(world.time.wall() + 300, abs=1)

        began = trio.current_time()
        again = await world.keeper.renew(SOMEBODY)
        assert trio.current_time() == began
        assert (again.detail, again.failed) == (asked.detail, False)
        assert world.kotak.broker.otps_sent == 1
        nursery.cancel_scope.cancel()


async def test_an_otp_goes_out_as_soon_as_it_is_given(autojump_clock: MockClock) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        world.kotak.latency = 2
        code, began = world.kotak.broker.otp, trio.current_time()
        assert code
        nursery.start_soon(world.keeper.give_otp, Secret(code), SOMEBODY)
        await trio.sleep(1)
        assert (world.state, world.board.standing.why) == ("renewing", "an OTP was given")
        while world.board.held is None:
            await world.board.changed.wait()
        assert trio.current_time() - began < 3
        nursery.cancel_scope.cancel()


async def test_p5_a_login_that_gets_nowhere_after_its_otp_ends_a_minute_later(
    autojump_clock: MockClock,
) -> None:
    world = World(second_factor="otp")
    connect = world.keeper._connect

    @asynccontextmanager
    async def connecting(account: Account) -> AsyncIterator[Send]:
        async with connect(account) as send:

            async def slow(request: flows.Request) -> Reply:
                if request.step == "login":
                    await trio.sleep_forever()
                return await send(request)

            yield slow

    world.keeper._connect = connecting
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        told: list[Asked | None] = []

        async def give() -> None:
            told.append(await world.keeper.give_otp(Secret("1234"), SOMEBODY))

        nursery.start_soon(give)
        await trio.sleep(59)
        assert not told
        assert world.ledger.history.pending
        await trio.sleep(2)
        assert [asked.detail for asked in told if asked] == [
            "main: the login took longer than 60 s"
        ]
        assert world.ledger.history.pending is None  # so that nobody waits for what comes of it
        assert world.ledger.history.logins == ()  # nor takes it for one that was accepted
        [entry] = entries(world.ledger.lines, since=0, limit=1)
        assert (entry.outcome, entry.detail) == (
            "unanswered",
            "neod stopped waiting for the answer",
        )
        nursery.cancel_scope.cancel()


async def test_a_reject_waits_for_no_person_who_types_an_otp(autojump_clock: MockClock) -> None:
    world = World(Settings(life=24 * HOUR, bearer_life=24 * HOUR), second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        code = world.kotak.broker.otp
        assert code
        await world.keeper.give_otp(Secret(code), SOMEBODY)
        await trio.sleep(120)

        nursery.start_soon(world.keeper.renew, SOMEBODY)
        began = trio.current_time()
        answer = await world.keeper.reject(1, read_evidence(100022), SOMEBODY)
        assert answer
        assert (answer.outcome, "neoctl otp" in answer.detail) == ("deferred", True)
        assert trio.current_time() - began < 5
        nursery.cancel_scope.cancel()


async def test_an_otp_that_is_not_given_ends_the_login_after_five_minutes(
    autojump_clock: MockClock,
) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        await trio.sleep(301)
        assert world.board.standing.last_failure
        assert world.board.standing.last_failure.kind == "otp_needed"
        assert await world.keeper.give_otp(Secret("1234"), SOMEBODY) is None
        await trio.sleep(HOUR)
        assert world.kotak.broker.otps_sent == 1
        assert world.state == "otp_needed"
        nursery.cancel_scope.cancel()


async def test_an_otp_that_nobody_types_holds_up_no_bearer(autojump_clock: MockClock) -> None:
    world = World(Settings(life=24 * HOUR, bearer_life=HOUR), second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        code = world.kotak.broker.otp
        assert code
        await world.keeper.give_otp(Secret(code), SOMEBODY)
        await trio.sleep(1)
        due = world.board.standing.next
        assert due
        await trio.sleep(due - world.time.wall() - 299)

        await world.keeper.renew(SOMEBODY)
        while world.generation == 1:
            await world.board.changed.wait()

        failure = world.board.standing.last_failure
        assert failure
        assert failure.kind == "otp_needed"
        assert due < failure.at
        assert world.time.wall() - failure.at < 0.5
        nursery.cancel_scope.cancel()


async def test_a_wrong_otp_is_told_to_who_typed_it(autojump_clock: MockClock) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        await world.keeper.renew(SOMEBODY)
        wrong = "0000" if world.kotak.broker.otp != "0000" else "0001"
        told = await world.keeper.give_otp(Secret(wrong), SOMEBODY)
        assert told
        assert told.failed
        assert world.kotak.broker.refusals == 1
        nursery.cancel_scope.cancel()


async def test_p4_a_hundred_wishes_are_served_by_the_login_that_is_under_way(
    autojump_clock: MockClock,
) -> None:
    world = World()
    world.kotak.latency = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(1)
        async with trio.open_nursery() as persons:
            for _ in range(100):
                persons.start_soon(world.keeper.renew, SOMEBODY)
        assert len(world.kotak.logins) == 1

        asked = await world.keeper.renew(SOMEBODY)
        assert not asked.failed
        assert len(world.kotak.logins) == 2
        nursery.cancel_scope.cancel()


async def test_a_wish_that_the_ledger_forbids_is_refused_with_the_reason(
    autojump_clock: MockClock,
) -> None:
    world = World(password="wrong")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(10)
        asked = await world.keeper.renew(SOMEBODY)
        assert asked.failed
        assert "refused once" in asked.detail
        assert len(world.kotak.logins) == 1
        nursery.cancel_scope.cancel()


# The TOTP flow


async def test_totp_and_mpin_bring_a_trade_token_with_its_base_url_whole(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp()

    await world.run_for(40)

    held = world.board.valid()
    assert held
    session = held.session
    assert session.kind == "trade"
    assert session.base_url == world.kotak.broker.base_url
    assert session.bearer_expires_at is None
    assert session.headers == {
        "Authorization": WHO.access_token,
        "neo-fin-key": "neotradeapi",
        "Auth": session.token,
        "Sid": session.sid,
    }


async def test_the_same_code_is_never_sent_twice_over_restarts_and_renewals(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp(Settings(life=20))

    for _ in range(12):
        await world.run_for(25)
        world.boot(**TOTP)
    await world.run_for(120)

    sent = codes(world)
    assert len(sent) > 6
    assert len(set(sent)) == len(sent)
    assert world.kotak.broker.refusals == 0


async def test_a_code_whose_reply_was_lost_is_not_sent_again(autojump_clock: MockClock) -> None:
    world = world_of_totp()
    world.kotak.always = lambda seen: Cut() if "tradeApiLogin" in seen.path else None

    await world.run_for(24 * HOUR)

    sent = codes(world)
    assert len(set(sent)) == len(sent) == 2
    assert world.state == "blocked"


@pytest.mark.parametrize("left", [1.5, 0.5])
async def test_no_code_is_sent_within_the_last_two_seconds_of_its_step(
    autojump_clock: MockClock, left: float
) -> None:
    world = world_of_totp()
    into = START % STEP
    world.time.step(STEP - into - left)

    await world.run_for(40)

    [login] = [seen for seen in world.kotak.seen if seen.path.endswith("tradeApiLogin")]
    assert login.at % STEP < STEP - 2
    assert world.state == "ok"


@pytest.mark.parametrize("slow", [-3600.0, -45.0, 45.0, 3600.0])
async def test_a_clock_that_is_off_is_learnt_before_the_first_code_is_spent(
    autojump_clock: MockClock, slow: float
) -> None:
    world = world_of_totp(Settings(life=8 * HOUR))
    world.kotak.slow = slow

    await world.run_for(40)

    assert world.kotak.broker.refusals == 0
    assert world.board.valid()
    assert world.board.standing.clock_skew == pytest.approx(slow, abs=2)
    first = world.kotak.seen[0]
    assert first.body == b""
    assert "authorization" not in first.headers


async def test_a_refused_code_is_followed_by_one_with_the_next_and_no_more(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp(totp_secret="A" * 32)

    for _ in range(4):
        await world.run_for(6 * HOUR)
        world.boot(**{**TOTP, "totp_secret": "A" * 32})

    assert len(codes(world)) == 2
    assert world.kotak.broker.refusals == 2
    assert not world.kotak.broker.locked


async def test_a_code_that_was_stale_by_bad_luck_costs_half_a_minute(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp()
    world.kotak.always = stale_once()

    await world.run_for(62)

    assert world.state == "ok"


async def test_a_code_that_was_stale_costs_no_more_after_an_outage(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp()
    world.kotak.always = lambda _: Refuse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(HOUR)
        assert world.state == "backing_off"  # for up to ten minutes
        world.kotak.always = stale_once()

        while not codes(world):
            await world.board.changed.wait()
        await trio.sleep(STEP + 2)

        assert world.state == "ok"
        nursery.cancel_scope.cancel()


async def test_a_totp_secret_that_is_none_is_said_and_nothing_is_sent(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp(totp_secret="not base32!")

    await world.run_for(HOUR)

    assert world.kotak.seen == []
    assert world.state == "blocked"
    assert world.board.standing.last_failure
    assert "account.main.totp_secret" in world.board.standing.last_failure.detail


async def test_a_password_that_expired_is_told_in_the_status_and_once_a_session_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    token = make_token(START, START + HOUR, WHO)
    data = {"token": token, "sid": "sid", "isUserPwdExpired": True}
    reply = json.dumps({"data": data}).encode()
    world.kotak.always = lambda seen: Canned(200, reply) if "validate" in seen.path else None

    await world.run_for(60)

    request = Request("GET", "/v1/status", {}, {}, 0, keep_alive=False)
    answer = await answer_of(Api({"main": world.keeper}, 0), request)
    assert json.loads(answer.body)["accounts"]["main"]["password_expired"] is True
    assert [record.message for record in caplog.records].count("password_expired") == 1


async def test_each_attempt_has_a_number_of_its_own_and_a_code_is_noted_with_its_own_alone(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp()
    await world.run_for(HOUR)

    attempts = [line for line in world.ledger.lines if isinstance(line, Attempt)]
    assert [(line.id, line.step, line.totp_step > 0) for line in attempts] == [
        (1, "first_factor", True),
        (2, "login", False),
        (3, "first_factor", True),
        (4, "login", False),
    ]
