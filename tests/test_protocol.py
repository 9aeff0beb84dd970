"""docs/protocol.md says what the program does: its exchanges are real, its tables whole."""

import re
from typing import get_args

import msgspec
import pytest
from trio.testing import MockClock

from neoctl import wire
from neod import config
from neod.account.events import Event
from neod.account.history import Result, Step, Verdict, Word
from neod.account.keeper import LOGIN_TIME
from neod.account.logbook import Entry as Login
from neod.account.policy import MARGIN, State
from neod.account.rejection import Outcome
from neod.account.session import Session
from neod.clock import TICK
from neod.ipc import api, clients, conversation, readiness, watch
from neod.ipc.http1 import Problem
from neod.kotak.replies import Kind
from tests import exchanges
from tests.fakes.desk import Desk, told

DOCUMENT = exchanges.DOCUMENT.read_text()


def rows(header: str) -> list[list[str]]:
    """The rows of the table whose first cell is this."""
    found = re.search(rf"^\| {header} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    assert found, f"no table of {header!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def told_in(header: str) -> set[str]:
    """What the first column of a table tells of."""
    return quoted(" ".join(row[0] for row in rows(header)))


def cell(header: str, name: str) -> set[str]:
    """What the second column tells of, in the row of this name."""
    return next(quoted(row[1]) for row in rows(header) if name in quoted(row[0]))


def without_twins(fields: tuple[str, ...]) -> set[str]:
    return {field for field in fields if not field.endswith("_rfc3339")}


# The exchanges


def test_the_exchanges_are_what_the_program_says() -> None:
    fresh = exchanges.filled(DOCUMENT, exchanges.exchanges())
    assert fresh == DOCUMENT, "stale; python -m tests.exchanges --write"


def test_each_exchange_has_one_place_and_each_place_an_exchange() -> None:
    assert sorted(exchanges.names(DOCUMENT)) == sorted(exchanges.exchanges())


def test_a_place_is_filled_and_filled_anew_and_others_are_left_alone() -> None:
    document = "a\n\n<!-- exchange: x -->\n\nb\n\n<!-- exchange: y -->\n\n```http\nold\n```\n"
    found = exchanges.Exchange("GET /x\n\n", b"HTTP/1.1 200 OK\r\n\r\n", 0)
    once = exchanges.filled(document, {"x": found})
    shown = "```http\nGET /x\n\nHTTP/1.1 200 OK\n```"
    assert once == document.replace("x -->\n", f"x -->\n\n{shown}\n")
    other = found.but("200 OK", "204 No Content")
    assert exchanges.filled(once, {"x": other}) == once.replace("200 OK", "204 No Content")


@pytest.mark.parametrize("route", [*api.ROUTES])
def test_each_route_is_shown_or_its_answer_is_told_in_a_table(route: str) -> None:
    asked = re.findall(r"^(?:GET|POST) ([^ ?]+)", DOCUMENT, re.MULTILINE)
    assert route in asked or route == "/metrics"  # which is too long


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_each_outcome_of_a_reject_is_shown(outcome: str) -> None:
    assert f'"outcome":"{outcome}"' in DOCUMENT


# The tables


def test_the_routes_are_all_told_with_their_methods() -> None:
    there = {f"{method} {path}" for path, methods in api.ROUTES.items() for method in methods}
    assert told_in("request") == there


def test_the_parameters_of_a_read_are_those_that_it_takes() -> None:
    assert told_in("parameter of both") == {"account", "wait", *readiness.Wanted.__struct_fields__}
    assert f"at most {wire.WAIT_MAX:.0f} |" in DOCUMENT


def test_the_fields_of_a_session_are_all_told() -> None:
    assert told_in("field of the session") == without_twins(Session.__struct_fields__)


def test_the_lines_of_a_watch_are_told_with_all_their_events() -> None:
    assert told_in("field of a line") == set(watch.Line.__struct_fields__)
    assert told_in("event") == {*get_args(Event), "state", "heartbeat", "bye"}
    assert f"every {TICK:.0f} seconds" in DOCUMENT
    assert f"within {MARGIN / 60:.0f} minutes (`margin`)" in DOCUMENT


def test_a_reject_is_told_with_all_its_outcomes() -> None:
    assert told_in("field of a reject") == set(api._Reject.__struct_fields__)
    assert told_in("outcome") == set(get_args(Outcome))
    assert f"within {LOGIN_TIME + api.SLACK:.0f} seconds" in DOCUMENT


async def test_the_status_of_an_account_is_told_whole(autojump_clock: MockClock) -> None:
    accounts = told(await Desk("main").ask("/v1/status"))["accounts"]
    assert isinstance(accounts, dict)
    assert told_in("field of an account") == set(accounts["main"])
    assert cell("field of an account", "state") == set(get_args(State))
    kinds = re.search(r"^The `kind` of a failure(.*?)\n\n", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert kinds
    assert quoted(kinds[1]) == {*get_args(Kind), "ledger", "internal_error"}


def test_the_logins_are_told_with_all_that_can_come_of_them() -> None:
    assert told_in("field of a login") == set(Login.__struct_fields__)
    assert cell("field of a login", "outcome") == {*get_args(Result), *get_args(Verdict)}
    assert cell("field of a login", "word") == set(Word.__struct_fields__)
    assert cell("field of a login", "event") >= set(get_args(Step))
    assert f"{api.LOGINS} if not given" in DOCUMENT


def test_a_client_is_told_whole() -> None:
    assert told_in("field of a client") == set(clients.Entry.__struct_fields__)


async def test_the_metrics_are_those_that_there_are(autojump_clock: MockClock) -> None:
    desk = Desk("main")
    desk.publish()
    await desk.ask("/livez")
    keeper = desk.api._accounts["main"]
    keeper.outcomes["login", "accepted"] += 1
    keeper.lateness = 0.0
    keeper.account = msgspec.structs.replace(
        keeper.account, rules=msgspec.structs.replace(keeper.account.rules, logins_per_day=24)
    )
    text = (await desk.ask("/metrics")).body.decode()
    there = set(re.findall(r"^(neod_\w+)[ {]", text, re.MULTILINE))
    assert told_in("metric") == there


def test_the_fields_of_a_problem_are_all_told() -> None:
    body = msgspec.json.decode(Problem("not_ready", "").response().body)
    assert told_in("field of a problem") == set(body)


def test_the_codes_have_the_statuses_that_are_told() -> None:
    found = {}
    for names, statuses, exit_status in rows("code"):
        codes = re.findall(r"`([^`]+)`", names)
        each = statuses.split() if statuses[0].isdigit() else ["0"]
        for code, status in zip(codes, each * (1 if len(each) > 1 else len(codes)), strict=True):
            found[code] = (int(status), int(exit_status))
    assert found == {code: told[:2] for code, told in wire.PROBLEMS.items()}


def test_the_limits_are_those_that_are_told() -> None:
    limits = config.Server()
    assert [row[1] for row in rows("limit")] == [
        f"{limits.max_head // 1024} KiB, within {limits.head_timeout:.0f} s",
        f"{limits.max_body // 1024} KiB, within {conversation.BODY_TIME:.0f} s",
        f"{limits.idle_timeout:.0f} s",
        f"{limits.max_connections:,}",
        f"{limits.max_watchers:,}",
        f"{conversation.SEND_TIME:.0f} s",
    ]
    settings = quoted(" ".join(row[2] for row in rows("limit")))
    assert settings == set(limits.__struct_fields__) - {"grace", "log"}
