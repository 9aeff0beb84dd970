"""Which reply is which failure: one row a known shape."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.kotak.flows import BEARER, VIEW
from neod.kotak.replies import (
    TABLE,
    Kind,
    LoginFailed,
    Reply,
    Step,
    classify,
    clock_skew,
    read_bearer,
    read_session,
    retry_after,
)
from tests.fakes.clock import START


def reply(status: int, body: object = None, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)


GATEWAY = b"<html><body>Bad Gateway</body></html>"
KNOWN: list[tuple[str, Reply, Kind]] = [
    # The documented statuses of login/v2/validate, bare.
    ("400", reply(400, {}), "rejected"),
    ("429", reply(429, {}), "rate_limited"),
    ("500", reply(500, {}), "unavailable"),
    ("503", reply(503, {}), "unavailable"),
    ("504", reply(504, {}), "unanswered"),
    # Shapes that were seen.
    ("consumer", reply(401, {"error": "invalid_client", "error_description": "…"}), "rejected"),
    ("totp wrong", reply(200, {"error": [{"code": "10506", "message": "…"}]}), "rejected"),
    ("totp missing", reply(400, {"error": [{"code": "10508"}]}), "rejected"),
    ("header", reply(400, {"error": [{"code": "10512", "message": "…"}]}), "rejected"),
    ("424 in a list", reply(400, {"error": [{"code": 424, "message": "…"}]}), "unavailable"),
    (
        "field",
        reply(200, {"error": [{"code": "400", "message": "Missing required field 'X'"}]}),
        "rejected",
    ),
    (
        "credentials",
        reply(
            200, {"status": "error", "message": "Invalid credentials or TOTP.", "errorCode": "401"}
        ),
        "rejected",
    ),
    (
        "mpin",
        reply(200, {"status": "error", "message": "Invalid MPIN.", "errorCode": "401"}),
        "rejected",
    ),
    (
        "200 with stCode 401",
        reply(200, {"stCode": 401, "errMsg": "Invalid MPIN", "status": "failure"}),
        "rejected",
    ),
    (
        "200 with stCode 429 is no rate limit",
        reply(200, {"stCode": 429, "errMsg": "Invalid UCC", "status": "failure"}),
        "rejected",
    ),
    ("gateway", reply(401, {"code": "900901", "message": "Invalid Credentials"}), "rejected"),
    ("locked", reply(403, {"fault": {"code": 70009, "message": "Account Locked"}}), "rejected"),
    (
        "throttled",
        reply(429, {"code": "900800", "message": "Message throttled out"}),
        "rate_limited",
    ),
    ("502", reply(502, GATEWAY, content_type="text/html"), "unavailable"),
    ("a page with 200", reply(200, GATEWAY, content_type="text/html"), "unavailable"),
    ("a page that says json", reply(200, GATEWAY, content_type="application/json"), "unavailable"),
    ("599", reply(599, b""), "unavailable"),
    # What fits nothing.
    ("empty", reply(200, b""), "unintelligible"),
    ("a list", reply(200, []), "unintelligible"),
    ("data without a token", reply(200, {"data": {"sid": "x"}}), "unintelligible"),
    ("data is null", reply(200, {"data": None}), "unintelligible"),
    ("redirect", reply(302, b"", location="https://elsewhere/"), "unintelligible"),
    ("teapot", reply(418, {}), "unintelligible"),
]


@pytest.mark.parametrize(("answer", "kind"), [row[1:] for row in KNOWN], ids=[k[0] for k in KNOWN])
def test_a_known_reply_is_the_failure_it_is_known_for(answer: Reply, kind: Kind) -> None:
    with pytest.raises(LoginFailed) as failed:
        read_session(answer, VIEW)

    assert failed.value.kind == kind
    assert failed.value.detail


@pytest.mark.parametrize("step", [BEARER, VIEW])
def test_a_refusal_says_what_was_refused_and_where_it_is_configured(step: Step) -> None:
    failure = classify(reply(401, {}), step)

    assert step.name in failure.detail
    assert step.keys in failure.action


def test_a_locked_account_is_not_answered_with_check_the_password() -> None:
    failure = classify(reply(403, {"fault": {"code": 70009, "message": "Account Locked"}}), VIEW)

    assert "unlock" in failure.action


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"data": {"token": 7, "sid": "x"}}),
        reply(200, {"data": {"token": "t", "sid": None}}),
        reply(200, {"data": {"token": "t", "sid": ""}}),
        reply(200, {"data": {"token": "t\r\nX: y", "sid": "s"}}),
        reply(200, {"data": {"token": "t", "sid": "s\x1b[2J"}}),
    ],
)
def test_a_session_that_fits_no_model_or_no_header_is_unintelligible(answer: Reply) -> None:
    with pytest.raises(LoginFailed) as failed:
        read_session(answer, VIEW)
    assert failed.value.kind == "unintelligible"


def test_fields_without_a_name_of_their_own_are_kept_as_kotak_spells_them() -> None:
    session = read_session(
        reply(200, {"data": {"token": "t", "sid": "s", "hsServerId": "", "newThing": [1]}}), VIEW
    )

    assert session.server_id == ""
    assert session.extra == {"newThing": [1]}


def test_a_bearer_comes_with_its_life_or_without() -> None:
    assert read_bearer(reply(200, {"access_token": "x", "expires_in": 20}), BEARER).expires_in == 20
    assert read_bearer(reply(200, {"access_token": "x"}), BEARER).expires_in is None


@pytest.mark.parametrize("token", [None, 7, "", "a b", "é", "a\n"])
def test_a_bearer_that_cannot_stand_in_a_header_is_unintelligible(token: object) -> None:
    with pytest.raises(LoginFailed) as failed:
        read_bearer(reply(200, {"access_token": token}), BEARER)
    assert failed.value.kind == "unintelligible"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999999999", 86_400.0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_understood_in_both_its_forms(told: str, seconds: float | None) -> None:
    date = "Tue, 14 Nov 2023 22:13:20 GMT"

    assert retry_after(reply(429, {}, retry_after=told, date=date)) == seconds


def test_a_date_to_wait_for_is_of_no_use_without_the_brokers_own() -> None:
    assert retry_after(reply(429, {}, retry_after="Tue, 14 Nov 2023 22:15:20 GMT")) is None


def test_the_clocks_error_is_learnt_from_a_reply() -> None:
    assert clock_skew(reply(200, {}, date="Tue, 14 Nov 2023 22:13:20 GMT"), START + 90) == 90
    assert clock_skew(reply(200, {}), START) is None
    assert clock_skew(reply(200, {}, date="yesterday"), START) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)
bodies = st.binary(max_size=200) | st.one_of(
    json_values, st.dictionaries(st.sampled_from(["data", "error", "fault"]), json_values)
).map(lambda value: json.dumps(value).encode())


@given(st.integers(100, 599), bodies)
def test_any_reply_is_a_session_or_a_failure(status: int, body: bytes) -> None:
    for read, step in ((read_session, VIEW), (read_bearer, BEARER)):
        try:
            read(Reply(status, {}, body), step)
        except LoginFailed as failure:
            assert failure.kind in {
                "rejected", "rate_limited", "unavailable", "unanswered", "unintelligible"
            }  # fmt: skip


@given(st.integers(100, 599), st.dictionaries(st.text(max_size=8), json_values))
def test_no_value_of_a_reply_is_in_what_is_said_of_it(
    status: int, fields: dict[str, object]
) -> None:
    canary = "canary-5up3r53cr3t"
    fields = {**fields, "message": canary, canary: 1, "data": {"password": canary}}

    failure = classify(reply(status, fields), VIEW)

    assert canary not in f"{failure} {failure.detail} {failure.action}"


def test_every_row_of_the_table_can_be_reached() -> None:
    reached = set()
    for row in TABLE:
        status = row.status[0] if row.status else 200
        fields = {"code": row.code, "message": row.words}
        failure = classify(reply(status, fields), VIEW)
        reached |= {other.says for other in TABLE if other.says in failure.detail}

    assert reached == {row.says for row in TABLE}
