"""The board: what is valid, what is final, and who hears of it."""

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from neod.account.session import Board, Held, Standing
from neod.account.snapshot import from_login, with_bearer
from neod.account.token import Claims
from neod.kotak.flows import Bearer, Login
from neod.kotak.replies import SessionReply
from neod.secrets import Secret
from tests.fakes.clock import START, FrozenClock
from tests.fakes.world import account

SECOND = 1
BEARER = Bearer(token=Secret("bearer"))


def hold(
    time: FrozenClock,
    lives: int = 100,
    bearer: Bearer = BEARER,
    generation: int = 1,
    ahead: float | None = None,
) -> Held:
    now = int(time.wall())
    login = Login(
        kind="view",
        reply=SessionReply(token=f"token-{generation}", sid="sid"),
        claims=Claims(expires_at=now + lives, issued_at=now, subject="", scope=("View",)),
        bearer=bearer,
        headers={"Authorization": "Bearer bearer"},
    )
    sent = time.wall(), time.boot()
    return from_login(account(), login, generation, sent=sent, clock=time.clock, ahead=ahead)


def board(time: FrozenClock, held: Held | None = None) -> Board:
    board = Board("main", time.clock)
    if held:
        board.publish(held)
    return board


def test_a_session_is_valid_to_its_last_second_and_not_beyond() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=100))

    time.advance(99.999)
    assert shown.valid()
    time.advance(0.001)
    assert not shown.valid()


def test_p2_a_clock_that_is_set_back_revives_nothing() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=100))

    time.now += 100
    assert not shown.valid()
    time.now -= 100
    assert not shown.valid()


def test_p2_a_clock_that_is_set_back_lengthens_no_life() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=100))

    time.now -= 3600
    time.advance(99)
    assert shown.valid()
    time.advance(1)
    assert not shown.valid()


def test_a_bearer_that_ended_makes_the_session_lapse_and_a_new_one_brings_it_back() -> None:
    time = FrozenClock()
    held = hold(time, lives=100, bearer=Bearer(token=Secret("old"), expires_in=10))
    shown = board(time, held)
    assert held.session.expires_at == START + 10

    time.advance(10)
    assert not shown.valid()
    life = shown.life()
    assert life
    assert life.alive
    assert life.bearer_end is not None
    assert life.bearer_end <= time.wall()

    bearer = Bearer(token=Secret("new"), expires_in=10)
    shown.publish(with_bearer(held, bearer, 2, (time.wall(), time.boot())))
    valid = shown.valid()
    assert valid
    assert valid.session.headers["Authorization"] == "Bearer new"
    assert valid.session.token == held.session.token
    assert valid.session.expires_at == START + 20


def test_a_session_never_outlives_its_token_whatever_the_bearer_says() -> None:
    time = FrozenClock()
    held = hold(time, lives=100, bearer=Bearer(token=Secret("old"), expires_in=1000))
    shown = board(time, held)
    time.advance(100)
    assert not shown.valid()

    shown.publish(with_bearer(held, BEARER, 2, (time.wall(), time.boot())))

    assert not shown.valid()
    life = shown.life()
    assert life
    assert not life.alive


def test_a_bearers_wrong_clock_is_not_believed_either() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=100, bearer=Bearer(token=Secret("x"), expires_in=10)))

    time.now -= 3600
    time.advance(10)

    assert not shown.valid()
    life = shown.life()
    assert life
    assert life.bearer_end is not None
    assert life.bearer_end <= time.wall()


def test_p2_a_new_bearer_does_not_revive_a_token_that_was_seen_dead() -> None:
    time = FrozenClock()
    held = hold(time, lives=100, bearer=Bearer(token=Secret("old"), expires_in=10))
    shown = board(time, held)

    time.now += 100
    assert not shown.valid()
    time.now -= 100
    life = shown.life()
    assert life
    assert not life.alive
    shown.publish(with_bearer(held, BEARER, 2, (time.wall(), time.boot())))

    assert not shown.valid()


def test_p2_a_clock_that_is_behind_the_brokers_lengthens_no_life() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=1000, ahead=-600))

    time.advance(403)
    assert not shown.valid()


def test_planning_is_by_the_clock_that_grants_less() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=1000))
    life = shown.life()
    assert life
    assert life.end == START + 1000

    time.now -= 600
    life = shown.life()
    assert life
    assert life.end == START + 400


def test_a_session_shows_no_token_in_its_repr() -> None:
    held = hold(FrozenClock())

    assert "token-1" not in repr(held)
    assert "bearer" not in repr(held.session)
    assert b"token-1" in msgspec.json.encode(held.session)


async def test_all_who_wait_hear_of_each_change() -> None:
    time = FrozenClock()
    shown = board(time)
    heard: list[int] = []

    async def listen(number: int) -> None:
        await shown.changed.wait()
        heard.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(listen, number)
        await wait_all_tasks_blocked()
        shown.publish(hold(time))
    assert sorted(heard) == [0, 1, 2]


def test_the_same_standing_again_is_no_news() -> None:
    shown = board(FrozenClock())
    before = shown.changed

    shown.stand(shown.standing)
    assert shown.changed is before
    shown.stand(Standing(state="ok", since=0, why="because"))
    assert before.is_set()


async def test_a_session_that_the_broker_called_dead_is_told_of_at_once_and_stays_so() -> None:
    time = FrozenClock()
    shown = board(time, hold(time))
    before = shown.changed

    shown.lapse()

    assert before.is_set()
    assert shown.valid() is None
    assert shown.token_is_dead
    assert [happening.event for happening in shown.events.since(1)] == ["expired"]


def test_each_session_is_told_to_near_its_end_and_to_have_ended_once() -> None:
    time = FrozenClock()
    shown = Board("main", time.clock, margin=10.0)
    assert shown.look() is None
    for generation in (1, 2):
        since = shown.events.count
        shown.publish(hold(time, lives=100, generation=generation))
        assert shown.look() == time.wall() + 90

        time.advance(90)
        assert shown.look() == shown.look() == time.wall() + 10
        time.advance(10)
        assert shown.look() is None
        assert shown.look() is None
        told = [happening.event for happening in shown.events.since(since)]
        assert told == ["session", "expiring", "expired"]


@pytest.mark.parametrize(
    ("token_lives", "bearer_lives", "left", "lives"),
    [(100, None, 70, 100), (100, 40, 10, 40), (100, 200, 70, 100), (100, 100, 70, 100)],
)
def test_a_session_lives_as_long_as_what_ends_first_by_the_clock_that_grants_less(
    token_lives: int, bearer_lives: float | None, left: float, lives: float
) -> None:
    time = FrozenClock()
    bearer = Bearer(token=Secret("x"), expires_in=bearer_lives)
    held = hold(time, lives=token_lives, bearer=bearer)
    time.advance(30)
    assert (held.left(time.clock), held.lives) == (left, lives)

    time.now -= 600
    assert held.left(time.clock) == left
    time.now += 600 + 5
    assert held.left(time.clock) == left - 5


@pytest.mark.parametrize("off", [0.0, 0.5, 1.0])
def test_clocks_that_drift_apart_by_less_than_a_second_change_no_plan(off: float) -> None:
    time = FrozenClock()
    shown = board(time, hold(time, lives=1000))

    time.now -= off
    life = shown.life()

    assert life
    assert life.end == START + 1000 - (off if off == 1.0 else 0)


def test_a_token_that_does_not_say_when_it_was_issued_was_so_when_it_came() -> None:
    time = FrozenClock()
    time.advance(0.7)
    login = Login(
        kind="view",
        reply=SessionReply(token="token", sid="sid"),
        claims=Claims(expires_at=int(START) + 100, issued_at=None, subject="", scope=()),
        bearer=BEARER,
        headers={},
    )
    sent = time.wall(), time.boot()
    told = msgspec.structs.replace(
        login, claims=msgspec.structs.replace(login.claims, issued_at=int(START) - 3)
    )

    for each, issued_at in ((login, START), (told, START - 3)):
        held = from_login(account(), each, 1, sent=sent, clock=time.clock)
        assert held.session.issued_at == issued_at


def test_p2_a_bearer_that_was_seen_past_its_end_is_not_revived_by_a_step_back() -> None:
    time = FrozenClock()
    held = hold(time, lives=1000, bearer=Bearer(token=Secret("old"), expires_in=10))
    shown = board(time, held)
    time.now += 20
    assert not shown.valid()
    time.now -= 20
    assert not shown.valid()

    life = shown.life()
    assert life
    assert life.alive
    assert life.bearer_end == 0.0

    shown.publish(with_bearer(held, BEARER, 2, (time.wall(), time.boot())))
    assert shown.valid()


def test_the_bearer_of_a_token_that_is_dead_is_planned_with_as_it_is() -> None:
    time = FrozenClock()
    shown = board(time, hold(time, bearer=Bearer(token=Secret("x"), expires_in=50)))
    shown.lapse()

    life = shown.life()

    assert life
    assert not life.alive
    assert life.bearer_end == START + 50
