"""Which reply is which failure: one row a known shape."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.kotak.evidence import read_evidence
from neod.kotak.flows import BEARER, VIEW
from neod.kotak.replies import (
    TABLE,
    BearerReply,
    Kind,
    LoginFailed,
    Reply,
    SessionReply,
    Step,
    check_sent,
    classify,
    clock_skew,
    read_bearer,
    read_session,
    retry_after,
    says_alive,
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
    ("424 of a gateway", reply(424, {}), "unavailable"),
    # Not seen, and read as refusals all the same, since no outage speaks so.
    ("new words", reply(200, {"message": "Password mismatch", "code": "1"}), "rejected"),
    ("new words with 404", reply(404, {"error": {"message": "Incorrect user"}}), "rejected"),
    ("an outage that names it", reply(503, {"message": "no password service"}), "unavailable"),
    ("422", reply(422, {}), "rejected"),
    ("423", reply(423, {}), "rejected"),
    # What fits nothing.
    ("404", reply(404, {"message": "no such route"}), "unintelligible"),
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
    ("read", "answer", "said"),
    [
        (read_session, {"data": {"token": 7, "sid": "x"}}, "{data: {token: int, sid: str}}"),
        (read_session, {"data": {"token": "t", "sid": ""}}, "a token or sid that is no text"),
        (read_bearer, {"access_token": 7}, "HTTP 200, {access_token: int}"),
        (read_bearer, {"access_token": "a b"}, "an access token that is no text for a header"),
    ],
)
def test_what_is_unintelligible_is_said_and_that_an_update_may_be_needed(
    read: Callable[[Reply, Step], object], answer: object, said: str
) -> None:
    with pytest.raises(LoginFailed) as failed:
        read(reply(200, answer), VIEW)

    assert f"the reply to {VIEW.name} cannot be understood: " in failed.value.detail
    assert said in failed.value.detail
    assert failed.value.action == "if Kotak has changed its API, neod needs an update"


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


# Each row, wherever the reply has it


@pytest.mark.parametrize(
    ("code", "kind", "action"),
    [
        ("70009", "rejected", "unlock it"),
        ("10522", "unavailable", ""),
        ("invalid_client", "rejected", "check consumer_key and consumer_secret"),
        ("900901", "rejected", "check access_token"),
        ("10506", "rejected", "check totp_secret"),
        ("10508", "rejected", "register TOTP"),
        ("424", "unavailable", ""),
        ("900800", "rate_limited", ""),
        ("10512", "rejected", "report it"),
        ("100022", "unavailable", ""),
        ("100008", "rejected", "orders and sessions need"),
        ("1037", "rejected", "orders and sessions need"),
        ("100021", "rejected", "set second_factor"),
        ("401", "rejected", f"check {VIEW.keys}"),
    ],
)
def test_a_code_means_the_same_wherever_a_reply_has_it(code: str, kind: Kind, action: str) -> None:
    table = {"code": code}
    for body in (
        *(table, {"stCode": code}, {"errorCode": code}, {"error": code}),
        *({"data": table}, {"fault": table}, {"error": table}, {"error": [{}, table]}),
    ):
        failure = classify(reply(200, body), VIEW)

        assert (failure.kind, failure.totp) == (kind, code == "10506")
        assert failure.action.startswith(action) if action else not failure.action


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("Account Locked", "unlock it"),
        ("Your account is locked", "unlock it"),
        ("Invalid UCC", "check ucc"),
        ("Invalid MPIN", "check mpin"),
        ("Invalid Credentials", f"check {VIEW.keys}"),
        ("Missing required field 'X'", f"check {VIEW.keys}"),
    ],
)
def test_a_message_means_the_same_wherever_a_reply_has_it(message: str, action: str) -> None:
    for name in ("message", "errMsg", "description", "error_description", "error"):
        failure = classify(reply(200, {name: message}), VIEW)

        assert (failure.kind, failure.action[: len(action)]) == ("rejected", action)


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_that_is_not_authorised_is_a_refusal_whatever_it_brings(status: int) -> None:
    with pytest.raises(LoginFailed) as failed:
        read_session(reply(status, {"data": {"token": "t", "sid": "s"}}), VIEW)
    assert failed.value.kind == "rejected"
    with pytest.raises(LoginFailed) as failed:
        read_bearer(reply(status, {"access_token": "t"}), BEARER)
    assert failed.value.kind == "rejected"


def test_an_answer_of_200_without_a_bearer_is_the_failure_that_it_tells_of() -> None:
    with pytest.raises(LoginFailed) as failed:
        read_bearer(reply(200, {"error": "invalid_client"}), BEARER)

    assert failed.value.kind == "rejected"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(200, {}), None),
        (reply(200, {"code": "777", "message": "OTP sent"}), None),
        (reply(200, {"code": "10522"}), "unavailable"),
        (reply(200, GATEWAY), "unavailable"),
        (reply(500, {}), "unavailable"),
        (reply(401, {}), "rejected"),
    ],
)
def test_a_request_for_an_otp_was_taken_unless_the_reply_says_otherwise(
    answer: Reply, kind: Kind | None
) -> None:
    if kind is None:
        check_sent(answer, VIEW)
        return
    with pytest.raises(LoginFailed) as failed:
        check_sent(answer, VIEW)
    assert failed.value.kind == kind


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"gateway down", content_type="Text/HTML; charset=utf-8"),
        reply(200, b"\r\n  <html>"),
    ],
)
def test_a_page_is_known_by_its_type_or_by_its_beginning(answer: Reply) -> None:
    assert classify(answer, VIEW).kind == "unavailable"


FIELDS = {
    "rid": "a rid",
    "hsServerId": "a server",
    "baseUrl": "https://e21.kotaksecurities.com",
    "ucc": "AB123",
    "greetingName": "ASHA",
    "dataCenter": "E21",
    "isTrialAccount": False,
    "isUserPwdExpired": True,
}


def test_each_field_that_has_a_name_of_its_own_gets_it() -> None:
    session = read_session(reply(200, {"data": {"token": "t", "sid": "s", **FIELDS}}), VIEW)

    assert session == SessionReply(
        *("t", "s", "a rid", "a server", "https://e21.kotaksecurities.com", "AB123"),
        *("ASHA", "E21", False, True),
    )


def test_a_named_field_that_is_null_is_none_and_another_is_kept_as_it_is() -> None:
    nothing: dict[str, object] = dict.fromkeys(FIELDS)
    data = {"token": "t", "sid": "s", **nothing, "newThing": None}

    session = read_session(reply(200, {"data": data}), VIEW)

    assert session == SessionReply("t", "s", extra={"newThing": None})


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", "HTTP 418, empty"),
        (b"short", "HTTP 418, 5 bytes that are no JSON object"),
        (b'{"a": "\xff"}', "HTTP 418, 10 bytes that are no JSON object"),
        (b"[" * 20_000, "HTTP 418, 20000 bytes that are no JSON object"),
        (b'{"a": 1, "b c": ["x"], "d": null}', "HTTP 418, {a: int, ?: list, d: NoneType}"),
        (b'{"a": {"b": {"c": {"d": 1}}}}', "HTTP 418, {a: {b: {c: dict}}}"),
    ],
)
def test_a_reply_that_fits_nothing_is_described_by_its_shape(body: bytes, shape: str) -> None:
    failure = classify(reply(418, body), VIEW)

    assert failure.kind == "unintelligible"
    assert failure.detail.endswith(f": {shape}")


def test_names_that_are_long_or_many_are_left_out_of_a_shape() -> None:
    long = classify(reply(418, {"a" * 32: 1, "b" * 33: 1}), VIEW)
    many, more = (
        classify(reply(418, {f"n{number}": 1 for number in range(count)}), VIEW)
        for count in (20, 21)
    )

    assert "a" * 32 in long.detail
    assert "?: int}" in long.detail
    assert "n19: int}" in many.detail
    assert "n19: int, …}" in more.detail


@pytest.mark.parametrize("told", [" 120 ", "120"])
def test_a_time_to_wait_may_have_blanks_around_it(told: str) -> None:
    assert retry_after(reply(429, {}, retry_after=told)) == 120


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (reply(200, {"stat": "Ok"}), True),
        (reply(200, {"stat": "Not_Ok", "stCode": 5203, "errMsg": "No Data"}), True),
        (reply(200, {"stat": "Not_Ok", "stCode": 100022}), False),
        (reply(500, {"stat": "Ok"}), None),
        (reply(200, {"stat": "Not_Ok"}), None),
        (reply(200, {}), None),
        (reply(401, {}), None),
    ],
)
def test_an_answer_says_that_the_session_lives_or_is_dead_or_nothing_clear(
    answer: Reply, *, alive: bool | None
) -> None:
    assert says_alive(answer) is alive


@pytest.mark.parametrize(
    "held", [BearerReply("c4nary"), SessionReply("c4nary", "c4nary"), reply(200, "c4nary")]
)
def test_p6_what_a_reply_holds_is_not_in_its_repr(held: object) -> None:
    assert repr(held).startswith(f"{type(held).__name__}(")
    assert "c4nary" not in repr(held)


# Evidence of a bot


@pytest.mark.parametrize(
    ("code", "about"),
    [
        *((code, "session") for code in ("100022", "401", "403")),
        ("900901", "bearer"),
        *((code, "other") for code in ("100008", "1037", "100021", "5203", "900800", "429", "400")),
        *((code, "other") for code in ("424", "500", "502", "503", "504")),
    ],
)
def test_evidence_means_the_same_however_it_is_handed_over(code: str, about: str) -> None:
    table = {"code": code}
    for evidence in (
        *(code, int(code), f"HTTP {code}: no", f'"{code}"', table, {"code": int(code)}),
        *({"stCode": code}, {"errorCode": code}, {"status": code}),
        *({"status_code": int(code)}, {"statusCode": int(code)}),
        *({"error": [{}, table]}, {"fault": table}, {"code": table}, [[table]]),
        *({"body": json.dumps(table)}, {"Text": f"it said {code}"}, {"data": code}),
    ):
        means = read_evidence(evidence)

        assert means.about == about
        assert means.says.startswith(code)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 401 after 503 tries", "401"),
        ("a 403 for order 429", "403"),
        ("5203 in 120 ms", "5203"),
        ("price 500, quantity 429", "no code"),
        ("order 10002277", "no code"),
    ],
)
def test_of_several_numbers_in_a_text_a_price_is_no_status(text: str, said: str) -> None:
    assert read_evidence(text).says.startswith(said)


def wrapped(wrap: Callable[[object], object], times: int) -> object:
    evidence: object = {"code": "5203"}
    for _ in range(times):
        evidence = wrap(evidence)
    return evidence


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: {"error": inner}, lambda inner: [inner], json.dumps],
    ids=["a table", "a list", "a text"],
)
def test_evidence_is_looked_for_six_levels_deep_and_no_deeper(
    wrap: Callable[[object], object],
) -> None:
    assert read_evidence(wrapped(wrap, 5)).about == "other"
    assert read_evidence(wrapped(wrap, 6)).about == "session"


@pytest.mark.parametrize(("before", "about"), [(19, "other"), (20, "session")])
def test_evidence_is_looked_for_in_the_first_twenty_of_a_list(before: int, about: str) -> None:
    assert read_evidence([*[0] * before, 5203]).about == about


@pytest.mark.parametrize(
    "evidence",
    [
        None,
        True,
        {"code": True},
        pytest.param(10**5000, id="huge"),
        -1,
        0.5,
        "\ud800",
        "[" * 20_000,
    ],
)
def test_evidence_that_says_nothing_may_be_of_a_dead_session(evidence: object) -> None:
    assert read_evidence(evidence).says == "no code that is known"
