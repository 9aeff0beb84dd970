"""What each route answers: the order of codes, waiting, who may ask, and health."""

import json
import re
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import __version__
from neod.account.keeper import LOGIN_TIME
from neod.account.policy import State
from neod.account.session import Board, Failure
from neod.ipc.api import ROUTES, Api
from neod.ipc.http1 import Problem, Response, parse
from neod.ipc.readiness import Wanted, check
from neod.sandbox.broker import Settings
from tests.fakes.asking import answer_of
from tests.fakes.clock import START, FrozenClock, VirtualClock
from tests.fakes.desk import HOUR, Desk, ask, code, hold, post, told
from tests.fakes.kotak import Canned
from tests.fakes.world import PASSWORD, TOTP, World

STATES: tuple[State, ...] = get_args(State)
PROBLEM = {"type", "code", "title", "status", "detail", "retryable", "retry_after", "action"}
READS = ("/v1/token", "/v1/session")


# What is answered while no session is valid


@pytest.mark.parametrize("target", READS)
@pytest.mark.parametrize(
    ("state", "failing", "expected", "status"),
    [
        ("paused", False, "paused", 409),
        ("paused", True, "paused", 409),
        ("credentials_rejected", False, "credentials_rejected", 409),
        ("credentials_rejected", True, "credentials_rejected", 409),
        ("blocked", False, "blocked", 409),
        ("blocked", True, "blocked", 409),
        ("login_budget", False, "login_budget", 503),
        ("login_budget", True, "login_budget", 503),
        ("otp_needed", False, "otp_needed", 409),
        ("otp_needed", True, "otp_needed", 409),
        ("backing_off", True, "broker_unavailable", 503),
        ("renewing", True, "broker_unavailable", 503),
        ("starting", True, "broker_unavailable", 503),
        ("ok", True, "broker_unavailable", 503),
        ("outside_hours", True, "broker_unavailable", 503),
        ("starting", False, "not_ready", 503),
        ("renewing", False, "not_ready", 503),
        ("ok", False, "not_ready", 503),
        ("outside_hours", False, "not_ready", 503),
    ],
)
async def test_without_a_session_the_state_says_the_code(
    target: str, state: State, expected: str, status: int, *, failing: bool
) -> None:
    desk = Desk("main")
    desk.stand(state, failing=failing)

    response = await desk.ask(target)

    assert (code(response), response.status) == (expected, status)
    assert told(response)["status"] == status
    assert f"because of {state}" in str(told(response)["detail"])
    if expected == "broker_unavailable":
        assert "it is down" in str(told(response)["detail"])


@pytest.mark.parametrize(
    ("state", "failing", "passes"),
    [
        ("starting", False, True),
        ("login_budget", False, True),
        ("backing_off", True, True),
        ("otp_needed", False, False),
        ("credentials_rejected", True, False),
        ("blocked", True, False),
        ("paused", False, False),
    ],
)
async def test_a_problem_says_whether_it_passes_by_itself_and_when(
    state: State, *, failing: bool, passes: bool
) -> None:
    desk = Desk("main")
    desk.stand(state, failing=failing, after=40)

    problem = told(await desk.ask("/v1/token"))

    assert problem.keys() == PROBLEM
    assert problem["type"] == "about:blank"
    assert problem["retryable"] is passes
    assert problem["retry_after"] == 40


async def test_not_ready_always_says_when_to_try_again() -> None:
    desk = Desk("main")

    retry_after = told(await desk.ask("/v1/token"))["retry_after"]

    assert isinstance(retry_after, float)
    assert retry_after > 0


@pytest.mark.parametrize(("after", "action"), [(None, "neoctl renew"), (300, "neoctl otp")])
async def test_who_may_give_a_code_now_is_told_so(after: float | None, action: str) -> None:
    desk = Desk("main")
    desk.stand("otp_needed", after=after)

    assert told(await desk.ask("/v1/token"))["action"] == action


@pytest.mark.parametrize("state", ["credentials_rejected", "blocked"])
async def test_where_a_person_is_needed_the_action_is_the_command_that_helps(state: State) -> None:
    desk = Desk("main")
    desk.stand(state)

    assert "neoctl unblock" in str(told(await desk.ask("/v1/token"))["action"])


# What is answered while one is


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", READS)
async def test_p1_a_valid_session_is_served_in_every_state(target: str, state: State) -> None:
    desk = Desk("main")
    desk.publish()
    desk.stand(state, failing=True)

    assert (await desk.ask(target)).status == 200


async def test_token_is_the_bare_token_and_a_newline() -> None:
    desk = Desk("main")
    desk.publish(7)

    response = await desk.ask("/v1/token")

    assert response.body == b"token-7\n"
    assert response.content_type.startswith("text/plain")
    assert dict(response.headers) == {
        "Neod-Generation": "7",
        "Neod-Expires-At": f"{START + HOUR:.0f}",
    }


async def test_session_is_the_whole_snapshot() -> None:
    desk = Desk("main")
    desk.publish(7)

    response = await desk.ask("/v1/session")

    assert response.content_type == "application/json"
    session = told(response)
    assert session.keys() == set(hold(desk.clock).session.__struct_fields__)
    assert session["generation"] == 7
    assert session["token"] == "token-7"
    assert session["sid"] == "sid"
    assert session["expires_at"] == START + HOUR
    assert session["expires_at_rfc3339"] == "2023-11-15T04:43:20+05:30"
    assert session["bearer_expires_at"] is None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", READS)
async def test_a_session_too_short_for_min_valid_is_that_in_every_state(
    target: str, state: State
) -> None:
    desk = Desk("main")
    desk.publish(lives=100)
    desk.stand(state, failing=True)

    assert (await desk.ask(f"{target}?min_valid=100")).status == 200
    response = await desk.ask(f"{target}?min_valid=100.5")
    assert (code(response), response.status) == ("min_valid_unreachable", 409)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", READS)
async def test_a_session_not_after_the_one_asked_for_is_not_ready_in_every_state(
    target: str, state: State
) -> None:
    desk = Desk("main")
    desk.publish(7)
    desk.stand(state, failing=True)

    response = await desk.ask(f"{target}?after=7")

    assert (code(response), response.status) == ("not_ready", 503)


@pytest.mark.parametrize("after", ["0", "6", "8", "1000"])
async def test_after_an_older_generation_or_one_above_the_current_it_is_answered_at_once(
    autojump_clock: MockClock, after: str
) -> None:
    desk = Desk("main")
    desk.publish(7)

    response = await desk.ask(f"/v1/token?after={after}&wait=60")

    assert response.body == b"token-7\n"
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    "query",
    [
        "min_valid=-1",
        "min_valid=nan",
        "min_valid=inf",
        "min_valid=1h",
        "min_valid=",
        "wait=x",
        "wait=-0.1",
        "wait=300.1",
        "wait=inf",
        "wait=nan",
        "after=-1",
        "after=1.0",
        "after=x",
        "after=%D9%A3",
        f"after={10**30}",
    ],
)
@pytest.mark.parametrize("target", READS)
async def test_a_figure_that_is_none_is_a_bad_request(target: str, query: str) -> None:
    desk = Desk("main")
    desk.publish()

    response = await desk.ask(f"{target}?{query}")

    assert (code(response), response.status) == ("bad_request", 400)
    assert query.partition("=")[0] in str(told(response)["detail"])


# A session that lapsed


async def test_p2_a_lapsed_session_stays_lapsed_when_the_clock_is_set_back() -> None:
    time = FrozenClock()
    desk = Desk("main", clock=time.clock)
    desk.publish()

    time.now += HOUR
    assert code(await desk.ask("/v1/token")) == "not_ready"
    time.now -= HOUR
    assert code(await desk.ask("/v1/token")) == "not_ready"


async def test_p2_a_clock_that_is_set_back_does_not_lengthen_a_life() -> None:
    time = FrozenClock()
    desk = Desk("main", clock=time.clock)
    desk.publish()

    time.now -= 10 * HOUR
    time.advance(HOUR - 1)
    assert (await desk.ask("/v1/token")).status == 200
    time.advance(1)
    assert code(await desk.ask("/v1/token")) == "not_ready"


async def test_p2_waiting_is_no_way_to_a_session_that_lapses_meanwhile(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.publish(7, lives=10)

    response = await desk.ask("/v1/token?after=7&wait=60")

    assert code(response) == "not_ready"
    assert trio.current_time() == 60


MOVES = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 100)),
    st.tuples(st.just("advance"), st.integers(0, 60)),
    st.tuples(st.just("step"), st.integers(-200, 200)),
)


@given(st.lists(MOVES, max_size=20))
def test_p1_p2_a_session_is_served_while_both_clocks_allow_it_and_never_again(
    moves: list[tuple[str, int]],
) -> None:
    time = FrozenClock()
    board = Board("main", time.clock)
    lapsed, wall_end, boot_end, generation = True, 0.0, 0.0, 0
    for move, seconds in moves:
        if move == "publish":
            generation += 1
            board.publish(hold(time.clock, generation, lives=seconds))
            lapsed, wall_end, boot_end = False, time.now + seconds, time.since_boot + seconds
        elif move == "advance":
            time.advance(seconds)
        else:
            time.now += seconds
        lapsed = lapsed or time.now >= wall_end or time.since_boot >= boot_end
        if lapsed:
            with pytest.raises(Problem):
                check(board, Wanted())
        else:
            assert check(board, Wanted()).session.generation == generation


# Waiting


@pytest.mark.parametrize("query", ["wait=60", "wait=60&min_valid=50", "wait=60&after=0"])
async def test_a_wait_ends_as_soon_as_there_is_a_session(
    autojump_clock: MockClock, nursery: trio.Nursery, query: str
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    in_a_while(nursery, 3, desk.publish)

    response = await desk.ask(f"/v1/token?{query}")

    assert response.body == b"token-1\n"
    assert trio.current_time() == 3


@pytest.mark.parametrize("query", ["after=1", "min_valid=1000"])
async def test_a_wait_for_a_better_session_ends_with_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery, query: str
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.publish(1, lives=500)
    in_a_while(nursery, 3, lambda: desk.publish(2))

    response = await desk.ask(f"/v1/token?{query}&wait=60")

    assert response.body == b"token-2\n"
    assert trio.current_time() == 3


def in_a_while(nursery: trio.Nursery, seconds: float, act: Callable[[], None]) -> None:
    async def later() -> None:
        await trio.sleep(seconds)
        act()

    nursery.start_soon(later)


@pytest.mark.parametrize(
    ("state", "failing", "expected"),
    [
        ("starting", False, "not_ready"),
        ("renewing", False, "not_ready"),
        ("outside_hours", False, "not_ready"),
        ("backing_off", True, "broker_unavailable"),
        ("otp_needed", False, "otp_needed"),
    ],
)
async def test_what_may_pass_is_waited_for_and_told_once_the_wait_is_over(
    autojump_clock: MockClock, state: State, expected: str, *, failing: bool
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.stand(state, failing=failing)

    assert code(await desk.ask("/v1/token?wait=300")) == expected
    assert trio.current_time() == 300


@pytest.mark.parametrize(
    ("query", "expected"), [("after=7", "not_ready"), ("min_valid=7200", "min_valid_unreachable")]
)
async def test_a_valid_session_that_is_not_enough_is_told_once_the_wait_is_over(
    autojump_clock: MockClock, query: str, expected: str
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.publish(7)
    desk.stand("blocked")

    assert code(await desk.ask(f"/v1/token?{query}&wait=10")) == expected
    assert trio.current_time() == 10


@pytest.mark.parametrize("after", [None, 301.0])
@pytest.mark.parametrize("state", ["paused", "credentials_rejected", "blocked", "login_budget"])
async def test_what_does_not_end_within_the_wait_is_told_at_once(
    autojump_clock: MockClock, state: State, after: float | None
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.stand(state, after=after)

    assert code(await desk.ask("/v1/token?wait=300")) == state
    assert trio.current_time() == 0


@pytest.mark.parametrize("state", ["credentials_rejected", "blocked", "login_budget"])
async def test_what_ends_by_itself_within_the_wait_is_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery, state: State
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.stand(state, after=20)
    in_a_while(nursery, 20, lambda: desk.stand("renewing"))
    in_a_while(nursery, 25, desk.publish)

    assert (await desk.ask("/v1/token?wait=60")).status == 200
    assert trio.current_time() == 25


@pytest.mark.parametrize("state", ["paused", "credentials_rejected", "blocked"])
async def test_a_wait_ends_when_waiting_has_become_useless(
    autojump_clock: MockClock, nursery: trio.Nursery, state: State
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    in_a_while(nursery, 1, lambda: desk.stand("backing_off", failing=True))
    in_a_while(nursery, 2, lambda: desk.stand(state))

    assert code(await desk.ask("/v1/token?wait=60")) == state
    assert trio.current_time() == 2


async def test_a_thousand_who_wait_get_the_same_session(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    bodies: list[bytes] = []

    async def wait() -> None:
        bodies.append((await desk.ask("/v1/token?wait=60")).body)

    async with trio.open_nursery() as waiting:
        for _ in range(1000):
            waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        desk.publish()
    assert bodies == [b"token-1\n"] * 1000
    assert trio.current_time() == 0


# Stopping


@pytest.mark.parametrize("state", STATES)
async def test_a_closed_board_is_shutting_down_in_every_state(
    autojump_clock: MockClock, state: State
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.stand(state, failing=True)
    desk.boards["main"].close()

    response = await desk.ask("/v1/token?wait=60")

    assert (code(response), response.status) == ("shutting_down", 503)
    assert trio.current_time() == 0


@pytest.mark.parametrize("query", ["wait=60", "wait=60&after=1", "wait=60&min_valid=7200"])
async def test_who_waits_is_told_of_the_stop_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, query: str
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    if query != "wait=60":
        desk.publish(1)
    in_a_while(nursery, 3, desk.boards["main"].close)

    assert code(await desk.ask(f"/v1/token?{query}")) == "shutting_down"
    assert trio.current_time() == 3


async def test_p1_a_valid_session_is_served_while_neod_stops() -> None:
    desk = Desk("main")
    desk.publish()
    desk.boards["main"].close()

    assert (await desk.ask("/v1/token")).status == 200


# Which account


@pytest.mark.parametrize("target", READS)
@pytest.mark.parametrize(
    ("names", "query", "chosen"),
    [
        (("main",), "", "main"),
        (("second",), "", "second"),
        (("first", "main"), "", "main"),
        (("first", "main"), "?account=first", "first"),
        (("first", "second"), "?account=second", "second"),
    ],
)
async def test_the_account_is_the_named_one_or_main_or_the_only_one(
    target: str, names: tuple[str, ...], query: str, chosen: str
) -> None:
    desk = Desk(*names)
    for generation, name in enumerate(names):
        desk.publish(generation, name=name)

    response = await desk.ask(f"{target}{query}")

    assert f"token-{names.index(chosen)}" in response.body.decode()


@pytest.mark.parametrize("target", READS)
async def test_several_accounts_without_main_have_to_be_chosen_from(target: str) -> None:
    response = await Desk("first", "second").ask(target)

    assert (code(response), response.status) == ("bad_request", 400)
    assert "first, second" in str(told(response)["detail"])


@pytest.mark.parametrize("names", [(), ("main",), ("first", "second")])
@pytest.mark.parametrize("account", ["nobody", "", "MAIN", "main%00", "%FF"])
@pytest.mark.parametrize("target", READS)
async def test_an_account_that_is_not_there_is_unknown(
    target: str, account: str, names: tuple[str, ...]
) -> None:
    response = await Desk(*names).ask(f"{target}?account={account}")

    assert (code(response), response.status) == ("unknown_account", 404)


@pytest.mark.parametrize("target", READS)
async def test_with_no_account_configured_there_is_none_to_find(target: str) -> None:
    response = await Desk().ask(target)

    assert (code(response), response.status) == ("unknown_account", 404)
    assert told(response)["action"]


# Browsers


@pytest.mark.parametrize(
    "host",
    [
        "Host:",
        "Host: neod",
        "Host: localhost",
        "Host: unix",
        "Host: localhost:80",
        "Host: neod:",
        "Host: :80",
        "Host: my-bot_1",
        "HOST: neod",
        "Host:  neod ",
        "X-No: host",
    ],
)
async def test_a_host_of_one_word_or_none_is_fine(host: str) -> None:
    assert (await Desk("main").ask("/livez", host)).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Host: 127.0.0.1",
        "Host: example.com",
        "Host: example.com:80",
        "Host: 123",
        "Host: 123:80",
        "Host: 2130706433",
        "Host: a.b:1",
        "Host: [::1]",
        "Host: [::1]:80",
        "Host: localhost.",
        "Host: .",
        "Host: neod, evil",
        "Host: neod:x",
        "Host: a@b",
        "Host: ::1",
        "Origin: http://localhost",
        "Origin: null",
        "Origin:",
        "Referer: http://neod/",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin",
        "sEC-fETCH-sITE: cross-site",
    ],
)
@pytest.mark.parametrize("target", [*ROUTES, "/nowhere"])
async def test_what_a_browser_sends_is_refused_on_every_route(target: str, header: str) -> None:
    desk = Desk("main")
    desk.publish()

    for method in ("GET", "POST", "OPTIONS"):
        response = await desk.ask(target, header, method=method)
        assert (code(response), response.status) == ("forbidden", 403)


# Routes and methods


GETS = sorted(target for target, methods in ROUTES.items() if "GET" in methods)
WHOLE = [target for target in GETS if target != "/v1/watch"]  # which has no end
POSTS = sorted(target for target, methods in ROUTES.items() if "POST" in methods)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/token/",
        "/V1/TOKEN",
        "/v2/token",
        "//v1/token",
        "/v1/../v1/token",
        "/%00",
        "/%FF",
        "/healthz",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT"])
async def test_a_route_that_is_not_there_is_not_found(method: str, target: str) -> None:
    response = await Desk("main").ask(target, method=method)

    assert (code(response), response.status) == ("not_found", 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
@pytest.mark.parametrize("target", WHOLE)
async def test_what_is_read_takes_get_and_head_alone(target: str, method: str) -> None:
    desk = Desk("main")
    desk.publish()

    response = await desk.ask(target, method=method)

    assert (code(response), response.status) == ("method_not_allowed", 405)
    assert dict(response.headers)["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
@pytest.mark.parametrize("target", POSTS)
async def test_what_is_done_takes_post_alone(target: str, method: str) -> None:
    response = await Desk("main").ask(target, method=method)

    assert (code(response), response.status) == ("method_not_allowed", 405)
    assert dict(response.headers)["Allow"] == "POST"


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_a_watch_takes_get_alone_since_it_has_no_end(method: str) -> None:
    response = await Desk("main").ask("/v1/watch", method=method)

    assert (code(response), response.status) == ("method_not_allowed", 405)
    assert dict(response.headers)["Allow"] == "GET"


@pytest.mark.parametrize("target", [target for target in WHOLE if target != "/metrics"])
@pytest.mark.parametrize("generation", [None, 7])
async def test_head_answers_as_get_does(target: str, generation: int | None) -> None:
    desk = Desk("main")
    if generation:
        desk.publish(generation)

    assert await desk.ask(target, method="HEAD") == await desk.ask(target)


# Health and status


async def test_live_is_all_that_answers() -> None:
    response = await Desk().ask("/livez")

    assert response.status == 200
    assert told(response)["status"] == "ok"
    assert told(response)["why"]


async def test_p8_ready_is_a_valid_session_for_each_account() -> None:
    time = FrozenClock()
    desk = Desk("first", "second", clock=time.clock)
    desk.publish(name="first", lives=100)
    desk.publish(name="second", lives=200)

    assert (await desk.ask("/readyz")).status == 200
    time.advance(100)
    response = await desk.ask("/readyz")
    assert (code(response), response.status) == ("not_ready", 503)
    assert "first" in str(told(response)["detail"])
    assert "second" not in str(told(response)["detail"])


async def test_p8_nothing_configured_is_not_ready() -> None:
    response = await Desk().ask("/readyz")

    assert (code(response), response.status) == ("unknown_account", 503)
    assert told(response)["status"] == 503


async def test_ready_can_be_asked_of_one_account() -> None:
    desk = Desk("first", "second")
    desk.publish(name="first")

    assert (await desk.ask("/readyz?account=first")).status == 200
    assert (await desk.ask("/readyz?account=second")).status == 503
    assert (await desk.ask("/readyz?account=third")).status == 404


@pytest.mark.parametrize("state", STATES)
async def test_p8_ready_is_what_token_says(state: State) -> None:
    desk = Desk("main")
    desk.stand(state, failing=True)
    response = await desk.ask("/readyz")
    assert (code(response), response.status) == (code(await desk.ask("/v1/token")), 503)

    desk.publish()
    assert (await desk.ask("/readyz")).status == 200


async def test_status_tells_of_each_account_and_of_no_token() -> None:
    desk = Desk("first", "second")
    desk.publish(7, name="first")
    desk.stand("ok", after=600, name="first")
    desk.stand("backing_off", failing=True, name="second")

    response = await desk.ask("/v1/status")

    assert response.status == 200
    assert b"token-7" not in response.body
    status = msgspec.json.decode(response.body, type=Status)
    assert (status.version, status.since) == (__version__, START)
    assert status.accounts == {
        "first": AccountStatus(
            state="ok",
            valid=True,
            since=START,
            why="because of ok",
            next=START + 600,
            kind="view",
            generation=7,
            expires_at=int(START + HOUR),
            last_failure=None,
            budget={"per_10min": Budget(0, None), "per_day": Budget(0, None)},
            clock_skew=None,
            environment="sandbox",
        ),
        "second": AccountStatus(
            state="backing_off",
            valid=False,
            since=START,
            why="because of backing_off",
            next=None,
            kind=None,
            generation=None,
            expires_at=None,
            last_failure=Failure(START, "unavailable", "it is down", "look"),
            budget={"per_10min": Budget(0, None), "per_day": Budget(0, None)},
            clock_skew=None,
            environment="sandbox",
        ),
    }


class Budget(msgspec.Struct):
    used: int
    allowed: int | None


class AccountStatus(msgspec.Struct):
    """Every field has to be there; that others are too is no harm."""

    state: State
    valid: bool
    since: float
    why: str
    next: float | None
    kind: str | None
    generation: int | None
    expires_at: int | None
    last_failure: Failure | None
    budget: dict[str, Budget]
    clock_skew: float | None
    environment: str


class Status(msgspec.Struct):
    version: str
    since: float
    accounts: dict[str, AccountStatus]


async def test_status_says_what_who_looks_after_neod_needs() -> None:
    desk = Desk("main")
    there = json.loads((await desk.ask("/v1/status")).body)
    assert there["files"] == {"socket": None, "configuration": None, "state": None}
    assert there["accounts"]["main"]["source_address"] is None
    assert there["accounts"]["main"]["proxy"] is False


@pytest.mark.parametrize("flow", ["password", "totp"])
async def test_status_says_where_the_credentials_go(autojump_clock: MockClock, flow: str) -> None:
    urls = {name: f"https://{name}.example/" for name in ("session", "api", "login")}
    changes = {**(TOTP if flow == "totp" else {}), "endpoints": urls}
    world = World()
    world.boot(**changes, source_address="192.0.2.7", proxy="http://me:secret@proxy:3128")

    request = parse(b"GET /v1/status HTTP/1.1\r\nHost: neod\r\n\r\n")
    body = (await answer_of(Api({"main": world.keeper}, START), request)).body

    told = json.loads(body)["accounts"]["main"]
    assert told["login_url"] == urls["login" if flow == "totp" else "api"]
    assert (told["source_address"], told["proxy"]) == ("192.0.2.7", True)
    assert b"secret" not in body


async def test_status_says_that_a_lapsed_session_is_not_valid() -> None:
    time = FrozenClock()
    desk = Desk("main", clock=time.clock)
    desk.publish()
    time.advance(HOUR)

    status = msgspec.json.decode((await desk.ask("/v1/status")).body, type=Status)

    assert status.accounts["main"].valid is False
    assert status.accounts["main"].generation == 1


# With a keeper


@pytest.mark.parametrize("password", ["sandbox-password", "wrong"])
async def test_reads_never_cause_a_login(autojump_clock: MockClock, password: str) -> None:
    left_alone = World(Settings(life=600), password=password)
    await left_alone.run_for(HOUR)
    world = World(Settings(life=600), start=START - HOUR, password=password)
    api = Api({"main": world.keeper}, START)

    async def pester() -> None:
        for query in ("", "?min_valid=100000", "?after=1000", "?min_valid=599&wait=1"):
            for target in (*WHOLE, "/nowhere"):
                await ask(api, f"{target}{query}")
                await ask(api, f"{target}{query}", method="HEAD")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run_for, HOUR)
        with trio.move_on_after(HOUR):
            while True:
                await pester()
                await trio.sleep(31)

    assert len(world.kotak.seen) == len(left_alone.kotak.seen)


async def test_unblock_allows_one_more_login_and_says_so(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(), password="wrong")
    api = Api({"main": world.keeper}, START)
    nursery.start_soon(world.keeper.run)
    await trio.sleep(60)
    assert code(await ask(api, "/v1/token")) == "credentials_rejected"

    response = await post(api, "/v1/unblock", b'{"account": "main"}')
    await trio.sleep(60)

    assert response.status == 200
    assert told(response)["account"] == "main"
    assert told(response)["detail"]
    assert len(world.kotak.logins) == 2

    response = await post(api, "/v1/unblock", b"{}")
    await trio.sleep(60)
    assert (code(response), response.status) == ("blocked", 409)
    assert "--force" in str(told(response)["action"])
    assert len(world.kotak.logins) == 2


async def test_unblock_where_nothing_is_blocked_does_nothing(autojump_clock: MockClock) -> None:
    world = World()
    await world.run_for(1)

    response = await post(Api({"main": world.keeper}, START), "/v1/unblock", b"{}")

    assert response.status == 200
    assert "not blocked" in str(told(response)["detail"])


async def test_an_unblock_that_cannot_be_written_down_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(Settings(), password="wrong")
    nursery.start_soon(world.keeper.run)
    await trio.sleep(60)
    world.ledger.full = True

    response = await post(Api({"main": world.keeper}, START), "/v1/unblock", b"{}")

    assert (code(response), response.status) == ("blocked", 409)
    assert "No space left" in str(told(response)["detail"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "bad_request"),
        (b"[]", "bad_request"),
        (b"\xff", "bad_request"),
        (b'{"account": "\xff"}', "bad_request"),
        (b'{"account": 1}', "bad_request"),
        (b'{"force": "yes"}', "bad_request"),
        (b'{"account": "nobody"}', "unknown_account"),
        (b'{"account": "\\ud800"}', "bad_request"),
    ],
)
async def test_unblock_does_not_guess_at_a_body(body: bytes, expected: str) -> None:
    response = await post(Desk("main").api, "/v1/unblock", body)

    assert code(response) == expected


async def test_p5_a_wish_that_nobody_serves_ends_within_a_logins_time(
    autojump_clock: MockClock,
) -> None:
    response = await post(Desk("main").api, "/v1/renew", b"{}")

    assert (code(response), response.status) == ("not_ready", 503)
    assert LOGIN_TIME < trio.current_time() < LOGIN_TIME + 5


@pytest.mark.parametrize(
    ("route", "body"), [("renew", b"{}"), ("reject", b'{"generation":1,"evidence":100022}')]
)
async def test_who_wishes_for_a_login_is_told_of_the_stop_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, route: str, body: bytes
) -> None:
    desk = Desk("main", clock=VirtualClock().clock)
    desk.publish(1)
    await trio.sleep(600)  # it is old enough to be rejected
    in_a_while(nursery, 3, desk.boards["main"].close)

    response = await post(desk.api, f"/v1/{route}", body)

    assert (code(response), response.status) == ("shutting_down", 503)
    assert trio.current_time() == 603


@pytest.mark.parametrize(
    ("password", "fault", "expected", "words"),
    [
        ("mistyped", None, "credentials_rejected", "refused the login"),
        (None, None, "blocked", "the variable is not set"),
        (PASSWORD, Canned(503), "broker_unavailable", "unavailable"),
    ],
)
async def test_a_renew_that_fails_says_of_what_though_the_session_is_valid(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    password: str | None,
    fault: Canned | None,
    expected: str,
    words: str,
) -> None:
    environ = {"PASSWORD": PASSWORD}
    world = World(Settings(life=24 * HOUR), environ=environ)
    world.boot(password={"env": "PASSWORD"})
    nursery.start_soon(world.run)
    await trio.sleep(120)
    api = Api({"main": world.keeper}, START, clock=world.clock)
    environ.pop("PASSWORD")
    if password:
        environ["PASSWORD"] = password
    world.kotak.always = lambda _: fault

    answer = await post(api, "/v1/renew", b"{}")

    assert code(answer) == expected
    assert words in str(told(answer)["detail"])
    assert bool(told(answer)["action"]) == (expected != "broker_unavailable")
    assert world.board.valid()


@pytest.mark.parametrize("route", ["unblock", "pause", "resume"])
async def test_no_body_is_one_without_a_field(autojump_clock: MockClock, route: str) -> None:
    assert (await post(Desk("main").api, f"/v1/{route}", b"")).status == 200


@pytest.mark.parametrize("route", ["reject", "otp"])
async def test_no_body_is_not_enough_where_a_field_is_needed(
    autojump_clock: MockClock, route: str
) -> None:
    assert (await post(Desk("main").api, f"/v1/{route}", b"")).status == 400


async def test_an_empty_generation_is_none_as_of_a_shells_empty_variable(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main")
    desk.publish(7)
    assert (await desk.ask("/v1/token?after=")).status == 200


async def test_unblock_takes_a_field_that_it_does_not_know() -> None:
    desk = Desk("main")

    assert (await post(desk.api, "/v1/unblock", b'{"new": 1}')).status == 200


@given(
    st.sampled_from([*ROUTES, "/nowhere"]).filter(
        lambda path: path not in ("/v1/watch", "/metrics")  # the one has no end, the other no JSON
    ),
    st.dictionaries(
        st.sampled_from(["account", "min_valid", "wait", "after"]), st.text(max_size=5)
    ),
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
    st.binary(max_size=20) | st.just(b"{}"),
)
def test_nothing_that_a_client_says_is_a_bug(
    path: str, query: dict[str, str], method: str, body: bytes
) -> None:
    request = msgspec.structs.replace(
        parse(f"{method} / HTTP/1.1\r\n\r\n".encode()), path=path, query=query
    )

    async def respond() -> Response:
        return await answer_of(Desk("main").api, request, body)

    response = trio.run(respond, clock=MockClock(autojump_threshold=0))
    assert re.fullmatch(r"200|400|404|405|503", str(response.status))
    json.loads(response.body)


# A reject


@pytest.mark.parametrize(
    "body", [b"{}", b'{"generation":-1}', b'{"generation":"7"}', b'{"generation":1.5}', b"[]"]
)
async def test_a_reject_has_to_name_a_generation(autojump_clock: MockClock, body: bytes) -> None:
    answer = await post(Desk("main").api, "/v1/reject", body)
    assert (answer.status, code(answer)) == (400, "bad_request")


async def test_a_reject_where_there_never_was_a_session_is_told_so(
    autojump_clock: MockClock,
) -> None:
    answer = await post(Desk("main").api, "/v1/reject", b'{"generation":1}')
    assert (answer.status, code(answer)) == (503, "not_ready")


async def test_a_reject_of_an_older_generation_is_told_that_there_is_a_newer_one(
    autojump_clock: MockClock,
) -> None:
    desk = Desk("main")
    desk.publish(7)
    answer = await post(desk.api, "/v1/reject", b'{"generation":6,"evidence":{"stCode":100022}}')
    assert answer.status == 200
    assert told(answer) == {
        "account": "main",
        "outcome": "newer",
        "generation": 7,
        "detail": "generation 7 is the newest",
    }


async def test_logins_are_told_newest_first_and_in_bounds(autojump_clock: MockClock) -> None:
    desk = Desk("main")
    for verb in ("pause", "resume", "pause"):
        assert (await post(desk.api, f"/v1/{verb}", b"{}")).status == 200
    answer = told(await desk.ask("/v1/logins?limit=2"))
    assert [entry["event"] for entry in answer["logins"]] == ["pause", "resume"]  # type: ignore[attr-defined]
    assert (await desk.ask("/v1/logins?limit=x")).status == 400
