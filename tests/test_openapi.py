"""docs/openapi.yaml is OpenAPI, has all that there is, and real answers are as it says."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from trio.testing import MockClock

from neoctl import wire
from neod.account.events import Event
from neod.account.history import Result, Verdict
from neod.account.policy import State
from neod.account.rejection import Outcome
from neod.ipc.api import ROUTES
from neod.ipc.http1 import Response
from neod.ipc.metrics import STATES
from neod.ipc.readiness import Wanted
from neod.kotak.replies import Kind
from tests import exchanges
from tests.fakes.clock import FrozenClock
from tests.fakes.desk import Desk, post

TEXT = (Path(__file__).parent.parent / "docs" / "openapi.yaml").read_text()
DOCUMENT = yaml.safe_load(TEXT)
METHODS = ("get", "post")
READ = sorted(path for path in ROUTES if "GET" in ROUTES[path] and path != "/v1/watch")
WISHES = sorted(path for path in ROUTES if "POST" in ROUTES[path])


def strict(part: object) -> object:
    """The same, but that an object may have no field which is not named."""
    if isinstance(part, list):
        return [strict(one) for one in part]
    if not isinstance(part, dict):
        return part
    made = {name: strict(inner) for name, inner in part.items()}
    if made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


COMPONENTS = strict(DOCUMENT["components"])


def resolved(part: dict[str, object]) -> dict[str, object]:
    """What a part of the document is, or refers to."""
    reference = part.get("$ref")
    if reference is None:
        return part
    assert isinstance(reference, str)
    found = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    assert isinstance(found, dict)
    return found


@cache
def validator(schema: str) -> Draft202012Validator:
    made = {**json.loads(schema), "components": COMPONENTS}
    return Draft202012Validator(made, format_checker=Draft202012Validator.FORMAT_CHECKER)


def said_of(method: str, path: str, status: int) -> dict[str, object]:
    """What the document says of an answer with this status."""
    if path not in DOCUMENT["paths"]:
        named = "NotFound"
    elif method.lower() not in DOCUMENT["paths"][path]:
        named = "MethodNotAllowed"
    else:
        responses = DOCUMENT["paths"][path][method.lower()]["responses"]
        assert str(status) in responses, f"{method} {path} answers {status}"
        return resolved(responses[str(status)])
    found = DOCUMENT["components"]["responses"]["Forbidden" if status == 403 else named]
    assert isinstance(found, dict)
    return found


def mistakes(
    method: str, target: str, status: int, headers: dict[str, str], body: bytes
) -> Iterator[str]:
    """Where an answer is not as the document says."""
    path = target.partition("?")[0]
    said = said_of("GET" if method == "HEAD" else method, path, status)
    kind = headers["Content-Type"].partition(";")[0]
    content = said["content"]
    assert isinstance(content, dict)
    assert kind in content, f"{method} {target} answers {kind}"
    wanted = said.get("headers", {})
    assert isinstance(wanted, dict)
    yield from (f"no {name}" for name in wanted.keys() - headers.keys())
    if kind == "text/plain":
        return
    lines = body.splitlines() if kind == "application/x-ndjson" else [body]
    check = validator(json.dumps(strict(content[kind]["schema"])))
    for line in lines:
        yield from (
            f"{error.json_path}: {error.message}" for error in check.iter_errors(json.loads(line))
        )


def hold(target: str, response: Response, *, method: str = "GET") -> None:
    headers = {"Content-Type": response.content_type, **dict(response.headers)}
    wrong = [*mistakes(method, target, response.status, headers, response.body)]
    assert wrong == [], f"{method} {target}"


# The document


def test_it_is_openapi() -> None:
    assert [*OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_has_the_routes_that_there_are() -> None:
    told = {
        path: {method.upper() for method in methods if method in METHODS}
        for path, methods in DOCUMENT["paths"].items()
    }
    assert told == {path: set(methods) for path, methods in ROUTES.items()}


def test_it_has_every_code_that_crosses_the_wire() -> None:
    problem = DOCUMENT["components"]["schemas"]["Problem"]["properties"]
    assert set(problem["code"]["enum"]) == wire.PROBLEMS.keys() - {"not_running"}


def test_it_has_all_that_a_field_may_be() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    def told(schema: str, field: str) -> set[str]:
        return set(schemas[schema]["properties"][field]["enum"])

    assert set(schemas["State"]["enum"]) == set(get_args(State))
    assert told("Line", "event") == {*get_args(Event), "state", "heartbeat", "bye"}
    assert told("Rejected", "outcome") == set(get_args(Outcome))
    assert told("Login", "outcome") == {*get_args(Result), *get_args(Verdict), None}
    assert told("Failure", "kind") == {*get_args(Kind), "ledger", "internal_error"}


def test_it_has_the_parameters_of_a_read() -> None:
    parameters = DOCUMENT["components"]["parameters"]
    assert set(parameters) == {"account", "wait", *Wanted.__struct_fields__}
    assert parameters["wait"]["schema"]["maximum"] == wire.WAIT_MAX


def test_all_that_it_has_is_referred_to_but_for_the_answers_to_what_it_has_not() -> None:
    unused = {
        name
        for kind, parts in DOCUMENT["components"].items()
        for name in parts
        if f"#/components/{kind}/{name}" not in TEXT
    }
    assert unused == {"NotFound", "MethodNotAllowed"}


def test_a_field_that_is_not_named_is_a_mistake_here() -> None:
    body = json.dumps({"account": "main", "detail": "", "more": 1}).encode()
    wrong = [*mistakes("POST", "/v1/pause", 200, {"Content-Type": "application/json"}, body)]
    assert len(wrong) == 1
    assert "more" in wrong[0]


# Real answers


def test_every_exchange_of_the_protocol_is_as_it_says() -> None:
    for name, exchange in exchanges.exchanges().items():
        method, target, _ = exchange.request.split(" ", 2)
        head, _, body = exchange.answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(line + b"\n" for line in body.splitlines() if line[:1] == b"{")
        wrong = [*mistakes(method, target, int(first.split()[1]), headers, body)]
        assert wrong == [], name


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("state", STATES)
async def test_in_every_state_all_that_is_read_is_as_it_says(
    autojump_clock: MockClock, state: State, *, failing: bool
) -> None:
    """Before there is a session, while there is one, when it has lapsed, and at the end."""
    time = FrozenClock()
    desk = Desk("main", "second", clock=time.clock)
    desk.publish(1, name="second")
    desk.stand(state, failing=failing, after=40 if failing else None)

    async def read_all() -> None:
        for path in READ:
            hold(path, await desk.ask(path))
        for path in ("/v1/token", "/v1/session", "/readyz"):
            for query in ("account=second", "min_valid=9000", "after=7", "account=nobody"):
                hold(path, await desk.ask(f"{path}?{query}"))
            hold(path, await desk.ask(path, method="HEAD"), method="HEAD")

    await read_all()
    desk.publish(7)
    await read_all()
    time.advance(3600)
    await read_all()
    desk.boards["main"].close()
    await read_all()


@pytest.mark.parametrize("path", sorted(ROUTES))
async def test_a_mistake_is_answered_as_it_says(autojump_clock: MockClock, path: str) -> None:
    for desk in (Desk(), Desk("first", "second")):
        desk.api.watchers.most = 0
        for method in ("GET", "POST", "OPTIONS", "PUT"):
            if method not in ROUTES[path]:
                hold(path, await desk.ask(path, method=method), method=method)
        for query in ("?after=x", "?min_valid=x", "?limit=x", "?since=x", "?account="):
            if "GET" in ROUTES[path]:
                hold(path, await desk.ask(f"{path}{query}"))
        hold(path, await desk.ask(path, "Origin: null"))
        hold("/nowhere", await desk.ask("/nowhere"))
        if path in WISHES:
            for body in (b"", b"{}", b'{"account": "nobody"}', b'{"generation": 1, "otp": "1234"}'):
                hold(path, await post(desk.api, path, body), method="POST")


async def test_a_wish_that_comes_to_nothing_is_answered_as_it_says(
    autojump_clock: MockClock,
) -> None:
    for state in STATES:
        desk = Desk("main", clock=FrozenClock().clock)
        desk.stand(state, failing=True)
        for path in (
            "/v1/reject",
            "/v1/otp",
            "/v1/unblock",
            "/v1/pause",
            "/v1/pause",
            "/v1/resume",
        ):
            body = b'{"generation": 1, "otp": "1234"}'
            hold(path, await post(desk.api, path, body), method="POST")
        hold("/v1/renew", await post(desk.api, "/v1/renew", b"{}"), method="POST")
        hold("/v1/logins", await desk.ask("/v1/logins"))
