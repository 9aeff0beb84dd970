"""Rejects, pauses and hours: what bots and people wish, by the keeper in virtual time."""

import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod.account.history import COOL, Attempt, Paused, Rejected, Resumed, Word
from neod.account.logbook import entries
from neod.account.rejection import Answer
from neod.account.wishes import Wishes
from neod.ipc.http1 import Response
from neod.ipc.peers import Peer
from neod.kotak.evidence import EVIDENCE, read_evidence
from neod.kotak.flows import proof_of_life
from neod.sandbox.broker import Broker, Flow, Kind, Settings
from tests.fakes.clock import START
from tests.fakes.kotak import Canned, Fault, Hang, Refuse, Seen
from tests.fakes.ledger import MemoryLedger
from tests.fakes.world import SOMEBODY, TOTP, WHO, World, world_of_totp

DEAD = read_evidence(100022)
HOUR = 3600.0
A_DAY = Settings(life=24 * HOUR)
BOT = Word("reject", 812, "/usr/bin/python3")


@asynccontextmanager
async def running(world: World, *, age: float = 120) -> AsyncIterator[World]:
    """The world, once it has had a session for so many seconds."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        while world.board.valid() is None:
            await world.board.changed.wait()
        await trio.sleep(age)
        yield world
        nursery.cancel_scope.cancel()


async def reject(world: World, generation: int | None = None, evidence: object = 100022) -> Answer:
    held = world.board.held
    assert held
    generation = held.session.generation if generation is None else generation
    answer = await world.keeper.reject(generation, read_evidence(evidence), BOT)
    assert answer
    return answer


def probes(world: World) -> list[Seen]:
    return [seen for seen in world.kotak.seen if "orders" in seen.path]


def accepted(world: World) -> int:
    return len(world.ledger.history.logins)


# A reject


async def test_a_session_that_the_broker_calls_dead_is_lapsed_at_once_and_replaced(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.broker.kill()
        answer = await reject(world)
        assert answer.outcome == "renewed"
        assert world.generation == 2
        assert len(probes(world)) == 1
        assert [e.word for e in entries(world.ledger.lines, since=0, limit=1)] == [BOT]


async def test_a_dead_session_is_not_served_while_it_is_replaced(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.broker.kill()
        world.kotak.always = lambda seen: None if "orders" in seen.path else Canned(503)
        answer = await reject(world)
        assert answer.outcome == "deferred"
        assert answer.detail.startswith("the renewal failed: ")
        assert world.board.valid() is None
        assert world.store.kept is None

        world.kotak.always = None
        await trio.sleep(130)
        assert world.generation == 2


async def test_a_dead_session_stays_dead_over_a_restart(autojump_clock: MockClock) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        kept = world.store.kept
        world.kotak.broker.kill()
        world.kotak.always = lambda seen: None if "orders" in seen.path else Refuse()
        await reject(world)
    world.store.kept = kept  # as if neod had been killed ahead of taking it away

    world.boot()
    await world.run_for(5)

    assert world.board.valid() is None


async def test_a_session_that_is_alive_is_left_alone(autojump_clock: MockClock) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        assert (await reject(world)).outcome == "alive"
        assert (await reject(world)).outcome == "alive"
        assert (world.generation, len(probes(world))) == (1, 1)

        world.kotak.broker.kill()
        await trio.sleep(9.5)
        assert (await reject(world)).outcome == "alive"
        await trio.sleep(1)  # a proof of life does not last
        assert (await reject(world)).outcome == "renewed"


async def test_a_proof_of_life_is_no_answer_to_what_it_does_not_speak_of(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        assert (await reject(world)).outcome == "alive"
        assert (await reject(world, 0)).outcome == "newer"
        assert (await reject(world, evidence=503)).outcome == "not_a_session_fault"


async def test_who_rejects_what_was_called_alive_just_now_waits_for_no_login(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world, trio.open_nursery() as nursery:
        assert (await reject(world)).outcome == "alive"
        world.kotak.always = lambda _: Hang()
        nursery.start_soon(world.keeper.renew, SOMEBODY)
        await trio.sleep(1)
        began = trio.current_time()
        assert (await reject(world)).outcome == "alive"
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_p1_what_was_said_of_the_session_before_is_not_held_against_its_successor(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp(Settings(life=24))  # of which a quarter is too young to be rejected
    async with running(world, age=6.5):
        world.kotak.broker.kill()
        assert (await reject(world)).outcome == "renewed"
        assert world.board.held
        await trio.sleep(world.board.held.received_at + 6.2 - world.time.wall())
        asked = probes(world)[0].at
        assert world.time.wall() - asked < 10

        assert (await reject(world)).outcome == "alive"

        assert (world.generation, len(probes(world))) == (2, 2)


@pytest.mark.parametrize("fault", [Canned(502), Hang(), Refuse(), Canned(200, b"<html>")])
async def test_without_a_proof_of_life_it_is_served_on_while_it_is_renewed(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        first = world.board.valid()
        world.kotak.always = lambda seen: fault if "orders" in seen.path else Canned(503)
        assert (await reject(world)).outcome == "deferred"
        assert world.board.valid() is first

        world.kotak.always = None
        await trio.sleep(120)  # the suspicion stands, so it is tried again without another word
        assert world.generation == 2


async def test_a_flow_without_a_second_path_is_renewed_on_a_bots_word(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY, bearer_life=None)) as world:
        assert (await reject(world)).outcome == "renewed"
        assert (world.generation, probes(world)) == (2, [])


async def test_a_suspicion_stands_over_a_restart(autojump_clock: MockClock) -> None:
    async with running(World(A_DAY)) as world:
        world.kotak.always = lambda _: Canned(503)
        assert (await reject(world)).outcome == "deferred"
    world.kotak.always = None

    world.boot()
    await world.run_for(5)

    assert world.generation == 2


async def test_a_reject_that_had_to_wait_is_judged_by_what_is_so_by_then(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world, trio.open_nursery() as nursery:
        world.kotak.always = lambda _: Hang()
        nursery.start_soon(world.keeper.renew, SOMEBODY)
        await trio.sleep(1)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await reject(world))

        nursery.start_soon(ask)
        await trio.sleep(1)
        assert not answers
        world.time.step(-100)  # the clock is put right, so the session is young
        await trio.sleep(10)
        assert [answer.outcome for answer in answers] == ["too_young"]


async def test_only_the_session_that_is_there_can_be_rejected(autojump_clock: MockClock) -> None:
    async with running(World(A_DAY)) as world:
        await reject(world)
        before = accepted(world)
        assert (await reject(world, 1)).outcome == "newer"
        assert (await reject(world, 7)).outcome == "newer"  # of a ledger that was lost
        assert accepted(world) == before


async def test_a_session_that_is_too_young_is_not_doubted(autojump_clock: MockClock) -> None:
    async with running(World(A_DAY), age=59) as world:
        assert (await reject(world)).outcome == "too_young"
        await trio.sleep(2)
        assert (await reject(world)).outcome == "renewed"
    async with running(World(Settings(life=40)), age=9) as world:  # a quarter of its life
        assert (await reject(world)).outcome == "too_young"
        await trio.sleep(1)
        assert (await reject(world)).outcome == "renewed"


@pytest.mark.parametrize("evidence", [100008, "1037", {"stCode": 100021}, '{"stCode":5203}', 503])
async def test_evidence_of_something_else_never_causes_a_login(
    autojump_clock: MockClock, evidence: object
) -> None:
    async with running(World(A_DAY)) as world:
        answer = await reject(world, evidence=evidence)
        assert answer.outcome == "not_a_session_fault"
        assert accepted(world) == 1


async def test_a_dead_bearer_costs_a_bearer_and_no_login(autojump_clock: MockClock) -> None:
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        answer = await reject(world, evidence={"code": "900901"})
        assert answer.outcome == "renewed"
        assert (world.generation, accepted(world)) == (2, 1)


async def test_p4_a_thousand_rejects_at_once_are_one_question_and_one_login(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.broker.kill()
        told: Counter[str] = Counter()

        async def bot(number: int) -> None:
            await trio.sleep(number % 10 / 20)  # some come while the login is under way
            told[(await reject(world, 1)).outcome] += 1

        async with trio.open_nursery() as bots:
            for number in range(1000):
                bots.start_soon(bot, number)
        assert set(told) <= {"renewed", "newer"}
        assert told.total() == 1000
        assert (len(probes(world)), accepted(world)) == (1, 2)


async def test_a_bot_that_leaves_does_not_take_the_others_answer_with_it(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.broker.kill()
        async with trio.open_nursery() as bots:
            with trio.move_on_after(0.05):
                await reject(world)
            bots.start_soon(reject, world, 1)
        assert world.generation == 2


async def test_a_reject_before_any_session_has_no_answer(autojump_clock: MockClock) -> None:
    world = World(A_DAY)
    assert await world.keeper.reject(1, DEAD, BOT) is None


# Another program that logs in


async def test_a_session_from_a_reject_is_not_renewed_by_another_for_5_then_15_then_60_minutes(
    autojump_clock: MockClock,
) -> None:
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        await reject(world)
        gaps, at = [], trio.current_time()
        for _ in range(4):
            while (answer := await reject(world)).outcome != "renewed":
                assert answer.outcome in ("too_young", "deferred")
                if answer.outcome == "deferred":
                    assert "contended" in answer.detail
                await trio.sleep(20)
            gaps.append(trio.current_time() - at)
            at = trio.current_time()
        for gap, least in zip(gaps, (*COOL, COOL[-1]), strict=True):
            assert least <= gap <= least + 25


async def test_an_hour_of_peace_ends_the_contention(autojump_clock: MockClock) -> None:
    async with running(World(A_DAY)) as world:
        await reject(world)
        await trio.sleep(COOL[0] + 10)
        await reject(world)
        await trio.sleep(HOUR + 10)
        assert (await reject(world)).outcome == "renewed"
        await trio.sleep(COOL[0] + 10)
        assert (await reject(world)).outcome == "renewed"


async def test_what_is_contended_and_dead_waits_too(autojump_clock: MockClock) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        for expected in ("renewed", "deferred"):
            world.kotak.broker.kill()
            assert (await reject(world)).outcome == expected
            await trio.sleep(70)
        assert world.board.valid() is None
        assert "contended" in world.board.standing.why
        await trio.sleep(COOL[0])
        assert world.generation == 3


async def test_rejects_leave_the_logins_that_are_kept_for_lapsed_sessions(
    autojump_clock: MockClock,
) -> None:
    budget = {"logins_per_10min": 4, "logins_per_day": 10}
    async with running(World(A_DAY, renewal=budget)) as world:
        for _ in range(60):
            await reject(world)
            await trio.sleep(10 * 60)
        assert accepted(world) == 2  # ten, less the eight that are kept
        assert (await reject(world)).outcome == "deferred"


# Pause


async def test_paused_it_does_not_log_in_and_serves_what_is_valid(
    autojump_clock: MockClock,
) -> None:
    async with running(World(Settings(life=HOUR, bearer_life=24 * HOUR))) as world:
        await world.keeper.pause(SOMEBODY)
        await trio.sleep(HOUR - 200)
        assert world.board.valid()
        assert world.state == "paused"
        await trio.sleep(HOUR)
        assert world.board.valid() is None
        assert accepted(world) == 1

        world.boot()
    await world.run_for(HOUR)
    assert (world.state, accepted(world)) == ("paused", 1)  # over a restart too


async def test_paused_it_logs_in_on_a_persons_word_and_resumed_by_itself(
    autojump_clock: MockClock,
) -> None:
    async with running(World(Settings(life=HOUR, bearer_life=24 * HOUR))) as world:
        await world.keeper.pause(SOMEBODY)
        assert not (await world.keeper.renew(SOMEBODY)).failed
        assert (accepted(world), world.state) == (2, "paused")
        await trio.sleep(2 * HOUR)
        await world.keeper.resume(SOMEBODY)
        await trio.sleep(5)
        assert (accepted(world), world.state) == (3, "ok")


async def test_a_person_who_asks_for_a_login_while_a_disk_is_slow_gets_one(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world, trio.open_nursery() as nursery:
        await world.keeper.pause(SOMEBODY)
        world.store.slow = 3.0
        world.kotak.broker.kill()
        nursery.start_soon(reject, world)
        await trio.sleep(1)  # it is dead, and about to be taken off the disk
        assert world.board.valid() is None

        asked = await world.keeper.renew(SOMEBODY)

        assert (asked.failed, world.generation) == (False, 2)


async def test_paused_a_reject_is_put_off_and_a_bearer_is_renewed(
    autojump_clock: MockClock,
) -> None:
    async with running(World(Settings(life=24 * HOUR, bearer_life=HOUR))) as world:
        await world.keeper.pause(SOMEBODY)
        assert (await reject(world)).outcome == "deferred"
        await trio.sleep(10 * HOUR)
        assert world.board.valid()
        assert accepted(world) == 1


@pytest.mark.parametrize(
    ("said_after", "sent"),
    [
        pytest.param(0.01, ["bearer"], id="the bearer is asked for"),
        pytest.param(5, ["bearer", "login"], id="the first factor is out"),
        pytest.param(9, ["bearer", "login", "login"], id="the second factor is out"),
    ],
)
async def test_a_pause_ends_a_login_that_is_under_way_ahead_of_its_next_request(
    autojump_clock: MockClock, said_after: float, sent: list[str]
) -> None:
    world = World(A_DAY, second_factor="mpin", mpin=WHO.mpin)
    world.kotak.way_back = 4.0  # seconds, of each of three replies
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(said_after)
        said = await world.keeper.pause(SOMEBODY)
        assert "what the broker is being asked just now is waited for, and no more is sent" in said
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    steps = ["bearer" if "oauth2" in seen.path else "login" for seen in world.kotak.seen]
    assert steps == sent
    assert (world.board.valid() is not None) == (len(sent) == 3)
    assert (world.state, world.board.standing.last_failure) == ("paused", None)
    assert world.ledger.history.pending is None


async def test_a_pause_ends_a_login_whose_last_answer_is_being_written_down(
    autojump_clock: MockClock,
) -> None:
    world = World(A_DAY, second_factor="mpin", mpin=WHO.mpin)
    world.ledger.slow = 5.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(17)  # the first factor's outcome is on its way to the disk
        assert len(world.kotak.logins) == 1
        await world.keeper.pause(SOMEBODY)
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()
    assert len(world.kotak.logins) == 1


async def test_a_login_on_a_persons_word_goes_on_over_a_pause(autojump_clock: MockClock) -> None:
    world = World(A_DAY, second_factor="mpin", mpin=WHO.mpin)
    async with running(world):
        world.kotak.way_back = 4.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.renew, SOMEBODY)
            await trio.sleep(5)
            said = await world.keeper.pause(SOMEBODY)
        assert "the login that a person asked for goes on" in said
        assert (world.generation, world.state) == (2, "paused")


async def test_a_login_is_on_the_word_of_who_asked_for_it_whoever_has_rejected_before(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        await world.keeper.pause(SOMEBODY)
        world.kotak.broker.kill()
        assert (await reject(world)).outcome == "deferred"
        await world.keeper.renew(SOMEBODY)
        words = [line.word for line in world.ledger.lines if isinstance(line, Attempt)]
    assert words[-1] == SOMEBODY


async def test_p2_a_session_that_was_called_dead_is_not_served_while_that_is_written_down(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world, trio.open_nursery() as nursery:
        world.kotak.broker.kill()
        world.ledger.slow = 5.0
        nursery.start_soon(reject, world)
        await trio.sleep(1)
        assert probes(world)
        assert world.board.valid() is None


async def test_a_pause_while_secrets_are_waited_for_lets_nothing_be_sent(
    autojump_clock: MockClock,
) -> None:
    world = World(A_DAY)
    world.ledger.slow_secrets = 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(7)
        assert "just now" not in await world.keeper.pause(SOMEBODY)
        await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()
    assert (world.kotak.seen, world.state) == ([], "paused")


async def test_a_reject_whose_login_a_pause_ends_is_put_off(autojump_clock: MockClock) -> None:
    world = World(A_DAY, second_factor="mpin", mpin=WHO.mpin)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await reject(world))

    async with running(world):
        world.kotak.always = lambda seen: Canned(401) if "orders" in seen.path else None
        world.kotak.way_back = 4.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(6)
            await world.keeper.pause(SOMEBODY)
    assert [(answer.outcome, "paused" in answer.detail) for answer in answers] == [
        ("deferred", True)
    ]


async def test_what_pause_and_resume_say_and_write(autojump_clock: MockClock) -> None:
    word = Word("resume", 813, "/usr/bin/neoctl")
    async with running(World(Settings(life=HOUR, bearer_life=24 * HOUR))) as world:
        keeper = world.keeper
        assert await keeper.resume(word) == "main is not paused"
        said = await keeper.pause(SOMEBODY)
        assert said == "main is paused: no login by itself; the session is served to its end"
        assert await keeper.pause(SOMEBODY) == "main is paused already"
        assert await keeper.resume(word) == "main is resumed"
        assert isinstance(world.ledger.lines[-1], Resumed)
        assert world.ledger.lines[-1].word == word

        world.kotak.always = lambda _: Refuse()
        await trio.sleep(HOUR)
        said = await keeper.pause(SOMEBODY)
        assert said == "main is paused: no login by itself; no session is there"


async def test_a_pause_on_a_full_disk_holds_until_a_restart_and_says_so(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY)) as world:
        world.ledger.full = True
        assert "a restart undoes it" in await world.keeper.pause(SOMEBODY)
        assert world.ledger.history.paused
        assert "already" in await world.keeper.pause(SOMEBODY)


# Hours: Wednesday, 15 November 2023, 03:43:20 in India is START


async def test_no_login_outside_the_hours_and_one_as_they_open(autojump_clock: MockClock) -> None:
    world = World(Settings(), renewal={"hours": ["Mon-Fri 08:30-15:45"], "lead": "10min"})
    opens = START - (3 * HOUR + 43 * 60 + 20) + 8 * HOUR + 20 * 60

    await world.run_for(3 * HOUR)
    assert world.kotak.seen == []
    assert world.state == "outside_hours"
    assert world.board.standing.next == opens

    world.boot()
    await world.run_for(24 * HOUR)
    assert [login.at - opens < 1 for login in world.kotak.logins] == [True]
    assert world.state == "outside_hours"


async def test_hours_hold_up_no_person(autojump_clock: MockClock) -> None:
    world = World(Settings(), renewal={"hours": ["Mon-Fri 08:30-15:45"]})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        assert not (await world.keeper.renew(SOMEBODY)).failed
        await trio.sleep(1)
        assert world.board.valid()
        nursery.cancel_scope.cancel()


async def test_it_is_told_that_no_session_was_there_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(Settings(), renewal={"hours": ["Mon-Fri 08:30-15:45"], "ready_by": "08:45"})
    world.kotak.always = lambda _: Canned(503)
    await world.run_for(24 * HOUR)
    assert caplog.messages.count("not_ready_by") == 1


# The ledger tells of it


async def test_the_logbook_has_one_entry_for_what_was_done_and_what_came_of_it(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY, mpin=TOTP["mpin"])) as world:
        await reject(world)
        await world.keeper.pause(SOMEBODY)
        book = entries(world.ledger.lines, since=0, limit=100)
        assert [(e.event, e.outcome, e.generation) for e in book] == [
            ("pause", None, None),
            ("login", "accepted", 2),
            ("first_factor", "accepted", None),
            ("bearer", "accepted", None),
            ("reject", "unclear", 1),
            ("login", "accepted", 1),
            ("first_factor", "accepted", None),
            ("bearer", "accepted", None),
        ]
        assert [e.word for e in book[:2]] == [SOMEBODY, BOT]
        assert book[4].detail == DEAD.says
        assert [e.word for e in book[5:]] == [None] * 3  # neod's own
        assert entries(world.ledger.lines, since=0, limit=2) == book[:2]
        assert entries(world.ledger.lines, since=book[0].at, limit=100) == book[:1]
        assert isinstance(world.ledger.lines[-1], Paused)
        assert any(isinstance(line, Rejected) for line in world.ledger.lines)


# What went wrong once


@pytest.mark.parametrize("until_restart", [2 * 60, 12 * HOUR])
async def test_p3_rejects_of_dead_sessions_leave_the_kept_logins_over_restarts_too(
    autojump_clock: MockClock, until_restart: float
) -> None:
    limits = {"logins_per_10min": 4, "logins_per_day": 24}
    world = world_of_totp(A_DAY)
    world.boot(**TOTP, renewal=limits)

    async def hammer() -> None:
        while True:
            await trio.sleep(20)
            if world.board.valid():
                world.kotak.broker.kill()  # as Kotak says 100022 while markets are closed
                await reject(world)

    for _ in range(round(12 * HOUR / until_restart)):
        with trio.move_on_after(until_restart):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.run)
                nursery.start_soon(hammer)
        world.boot(**TOTP, renewal=limits)
    assert 5 < accepted(world) <= 16


def bring_the_token_again(broker: Broker) -> None:
    """Have each login bring the token that the last one brought, whatever became of it."""
    token, begin = broker.sessions[-1].token, broker._begin

    def again(kind: Kind, flow: Flow, now: float) -> Response:
        answer = begin(kind, flow, now)
        fresh = broker.sessions[-1].token
        return msgspec.structs.replace(
            answer, body=answer.body.replace(fresh.encode(), token.encode())
        )

    broker._begin = again  # type: ignore[method-assign]


async def test_a_login_that_brings_the_dead_token_again_is_no_new_session(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        bring_the_token_again(world.kotak.broker)
        world.kotak.broker.kill()
        assert (await reject(world)).outcome == "deferred"
        await trio.sleep(HOUR)
        assert world.generation == 1
        assert len(world.ledger.history.logins) < 50  # backed off, where a limit is none


async def test_a_login_that_brings_the_living_token_again_is_no_failure(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY)) as world:
        bring_the_token_again(world.kotak.broker)
        assert not (await world.keeper.renew(SOMEBODY)).failed
        assert (world.generation, world.state) == (2, "ok")


async def test_a_suspicion_outlives_a_new_bearer(autojump_clock: MockClock) -> None:
    async with running(World(Settings(life=24 * HOUR, bearer_life=HOUR))) as world:
        await world.keeper.pause(SOMEBODY)
        assert (await reject(world)).outcome == "deferred"
        await trio.sleep(HOUR)
        assert (world.generation, accepted(world)) == (2, 1)

        await world.keeper.resume(SOMEBODY)
        await trio.sleep(10)
        assert (world.generation, accepted(world)) == (3, 2)


async def test_a_kept_session_that_is_older_than_the_ledger_is_not_served(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY)) as world:
        old = world.store.kept
        await reject(world)
    world.store.kept = old

    world.boot()
    await world.run_for(1)

    assert world.generation == 3


async def test_a_kill_between_the_store_and_the_ledger_costs_no_login(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY)) as world:
        await reject(world)
    lines = [line for line in world.ledger.lines if getattr(line, "generation", 0) != 2]
    world.ledger = MemoryLedger(lines)

    world.boot()
    await world.run_for(1)

    assert (world.generation, world.ledger.history.generation) == (2, 2)


async def test_a_reject_that_comes_while_a_login_fails_is_looked_into_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.always = lambda seen: None if "orders" in seen.path else Hang()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.keeper.renew, SOMEBODY)
            await trio.sleep(1)
            world.kotak.broker.kill()
            assert (await reject(world)).outcome == "deferred"
            assert len(probes(world)) == 1
            assert world.board.valid() is None


@pytest.mark.parametrize("url", [None, "http://[kotak", "//[x", "http://kotak.example/", "x"])
def test_a_base_url_that_is_none_is_not_asked(url: str | None) -> None:
    assert proof_of_life("trade", url, {}) is None


async def test_a_bot_that_hammers_is_a_question_in_ten_seconds(autojump_clock: MockClock) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.always = lambda seen: Canned(502) if "orders" in seen.path else None
        await reject(world)
        await trio.sleep(70)
        before, until = len(probes(world)), trio.current_time() + 60
        while trio.current_time() < until:
            await reject(world)
            await trio.sleep(0.05)
        assert len(probes(world)) - before <= 7


async def test_a_reject_does_not_cost_the_renewal_ahead_of_the_end(
    autojump_clock: MockClock,
) -> None:
    budget = {"logins_per_10min": 4, "logins_per_day": 9}
    settings = Settings(life=HOUR, bearer_life=24 * HOUR)
    async with running(World(settings, renewal=budget)) as world:
        await reject(world)  # put off: of nine logins, eight are kept
        await trio.sleep(HOUR)
        assert world.board.valid()
        assert world.generation == 2


async def test_a_clock_that_was_wrong_does_not_prolong_a_contention(
    autojump_clock: MockClock,
) -> None:
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        world.time.step(3 * HOUR)
        assert (await reject(world)).outcome == "renewed"
        world.time.step(-3 * HOUR)
        assert (await reject(world)).outcome == "renewed"


async def test_rejects_of_bearers_are_no_more_than_one_in_five_minutes(
    autojump_clock: MockClock,
) -> None:
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=HOUR))) as world:
        before = world.generation
        for _ in range(360):
            await reject(world, evidence="900901")
            await trio.sleep(5)
        assert world.generation - before <= 8
        assert accepted(world) == 1


async def test_secrets_that_are_others_at_each_read_are_backed_off(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(A_DAY)
    numbers = itertools.count()

    async def flapping(texts: list[str]) -> str:
        await trio.lowlevel.checkpoint()
        return str(next(numbers))

    monkeypatch.setattr(world.ledger, "fingerprint", flapping)
    await world.run_for(60)
    assert next(numbers) < 60
    assert world.state == "blocked"


def test_what_a_caller_is_called_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "readlink", lambda _: Path(os.fsdecode(b"/tmp/\xff/curl")))
    assert Peer(1, 0, 0).executable == r"/tmp/\xff/curl"


@pytest.mark.parametrize(
    ("evidence", "about"),
    [
        (100022, "session"),
        (" 100022 ", "session"),
        ('{"stCode":100022,"errMsg":"invalid session token"}', "session"),
        ({"data": {"stCode": "100022"}}, "session"),
        ("401 Unauthorized after 500 ms", "session"),
        ("BUY 400 INFY: HTTP 401 invalid session token", "session"),
        (None, "session"),
        ("", "session"),
        (True, "session"),
        ([], "session"),
        ({"code": "900901", "status": 401}, "bearer"),
        ("HTTP 503", "other"),
        (429, "other"),
        ({"status": 401, "body": {"stCode": 100008}}, "other"),
        ([{"stCode": 100008}], "other"),
        ({"status_code": 401, "text": '{"stCode":100008}'}, "other"),
        ("stCode 1037", "other"),
    ],
)
def test_evidence_says_what_it_is_of(evidence: object, about: str) -> None:
    assert read_evidence(evidence).about == about


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_evidence_is_taken_and_none_of_it_is_repeated(evidence: object) -> None:
    assert read_evidence(evidence).says in {means.says for _, means in EVIDENCE} | {
        "no code that is known"
    }


# What is noted of a reject


def verdicts(world: World) -> list[str]:
    return [line.verdict for line in world.ledger.lines if isinstance(line, Rejected)]


async def test_a_suspicion_is_over_once_the_broker_calls_the_session_alive(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        world.kotak.always = lambda _: Canned(503)
        assert (await reject(world)).outcome == "deferred"
        world.kotak.always = lambda seen: None if "orders" in seen.path else Canned(503)
        await trio.sleep(11)
        assert (await reject(world)).outcome == "alive"

        world.kotak.always = None
        await trio.sleep(HOUR)
        assert verdicts(world) == ["unclear", "alive"]
        assert (world.generation, accepted(world)) == (1, 1)


async def test_a_bot_that_goes_on_while_it_is_contended_is_noted_every_five_minutes(
    autojump_clock: MockClock,
) -> None:
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        await reject(world)
        await trio.sleep(COOL[0] + 10)
        assert (await reject(world)).outcome == "renewed"
        for later, noted in (299.5, 0), (1, 1), (299, 1), (1.5, 2):
            await trio.sleep(later)  # which is in all less than COOL[1]
            assert (await reject(world)).outcome == "deferred"
            assert verdicts(world) == ["unclear", "unclear"] + noted * ["put_off"]


async def test_a_bearer_that_came_from_a_reject_is_not_replaced_by_another_for_5_minutes(
    autojump_clock: MockClock,
) -> None:
    dead = {"code": "900901"}
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        for _ in range(2):
            assert (await reject(world, evidence=dead)).outcome == "renewed"
            await trio.sleep(COOL[0] - 0.5)
            answer = await reject(world, evidence=dead)
            assert answer.outcome == "deferred"
            assert "came from a reject" in answer.detail
            await trio.sleep(15)

        assert verdicts(world) == ["put_off", "put_off"]
        assert (world.generation, accepted(world)) == (3, 1)


async def test_a_bearer_that_cannot_be_renewed_is_doubted_as_its_session_is(
    autojump_clock: MockClock,
) -> None:
    async with running(world_of_totp(A_DAY)) as world:
        assert (await reject(world, evidence={"code": "900901"})).outcome == "alive"
        assert len(probes(world)) == 1


async def test_who_rejected_what_has_been_replaced_is_told_so() -> None:
    wishes, told = Wishes(), []

    async def bot(generation: int) -> None:
        answer = await wishes.reject(generation, DEAD, BOT)
        assert answer
        told.append((generation, answer.outcome))

    async with trio.open_nursery() as bots:
        for generation in (1, 1, 2):
            bots.start_soon(bot, generation)
            await wait_all_tasks_blocked()
        assert told == [(1, "newer"), (1, "newer")]
        wishes.answer(Answer("renewed", ""))
    assert told[2:] == [(2, "renewed")]


async def test_a_bearer_that_was_renewed_in_time_may_be_rejected_though_one_before_it_was(
    autojump_clock: MockClock,
) -> None:
    dead = {"code": "900901"}
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=HOUR))) as world:
        assert (await reject(world, evidence=dead)).outcome == "renewed"
        while world.generation == 2:
            await world.board.changed.wait()
        await trio.sleep(90)

        assert (await reject(world, evidence=dead)).outcome == "renewed"
        assert (world.generation, accepted(world)) == (4, 1)


async def test_p2_the_token_that_is_dead_is_no_session_though_a_login_brings_it_again(
    autojump_clock: MockClock,
) -> None:
    async with running(World(A_DAY)) as world:
        bring_the_token_again(world.kotak.broker)
        world.board.lapse()
        world.keeper.look()
        await trio.sleep(5)

        failure = world.board.standing.last_failure
        assert failure
        assert (failure.kind, world.generation) == ("unintelligible", 1)
        assert "brought the token that is dead" in failure.detail
        assert world.board.valid() is None


async def test_a_bearer_that_a_login_brought_may_be_rejected_though_one_before_it_was(
    autojump_clock: MockClock,
) -> None:
    dead = {"code": "900901"}
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        world.kotak.always = lambda _: Canned(503)
        assert (await reject(world, evidence=dead)).outcome == "deferred"
        world.kotak.always = None
        assert not (await world.keeper.renew(SOMEBODY)).failed
        await trio.sleep(70)

        assert (await reject(world, evidence=dead)).outcome == "renewed"
        assert (world.generation, accepted(world)) == (3, 2)


async def test_a_clock_that_was_wrong_holds_up_no_bearer(autojump_clock: MockClock) -> None:
    dead = {"code": "900901"}
    async with running(World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR))) as world:
        assert (await reject(world, evidence=dead)).outcome == "renewed"
        await trio.sleep(70)
        assert (await reject(world, evidence=dead)).outcome == "deferred"

        world.time.step(-300)
        assert (await reject(world, evidence=dead)).outcome == "renewed"


@pytest.mark.parametrize(
    ("world", "evidence", "outcome"),
    [
        (lambda: world_of_totp(A_DAY), 100022, "alive"),
        (
            lambda: World(msgspec.structs.replace(A_DAY, bearer_life=24 * HOUR)),
            {"code": "900901"},
            "renewed",
        ),
    ],
    ids=["the session", "its bearer"],
)
async def test_what_came_before_a_restart_is_looked_into_as_anything_else(
    autojump_clock: MockClock, world: Callable[[], World], evidence: object, outcome: str
) -> None:
    async with running(world()) as before:
        pass
    before.boot(**(TOTP if outcome == "alive" else {}))
    async with running(before, age=0) as after:
        assert (await reject(after, evidence=evidence)).outcome == outcome
