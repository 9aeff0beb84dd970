"""The order of requests of a login, without anything that sends."""

import base64
import json
from typing import Literal

import msgspec
import pytest

from neod.kotak.endpoints import ENVIRONMENTS, Environment
from neod.kotak.flows import (
    Consumer,
    Login,
    Password,
    Request,
    Totp,
    Wanted,
    password_flow,
    totp_flow,
)
from neod.kotak.replies import LoginFailed, Reply
from neod.sandbox.broker import Credentials, make_token
from neod.secrets import Secret
from tests.fakes.clock import START
from tests.seed import SAMPLE

PROD = ENVIRONMENTS["prod"]
CONSUMER = Consumer(key=Secret("key"), secret=Secret("s3cret"))
BEARER_REPLY = Reply(200, {}, b'{"access_token":"bearer-1","expires_in":3600}')
SESSION_REPLY = Reply(200, {}, SAMPLE)


def credentials(
    identity: tuple[str, str] = ("mobileNumber", "+919999996708"),
    access: Consumer | Secret = CONSUMER,
) -> Password:
    return Password(identity=identity, password=Secret("pa55word"), access=access)


def play(
    flow_of: Password | Totp, *sent: Reply | Secret, environment: Environment = "prod"
) -> tuple[list[Request], Login]:
    """The requests that a flow makes, given what it is sent in turn, and what it returns."""
    endpoints = ENVIRONMENTS[environment]
    flow = (
        totp_flow(flow_of, endpoints)
        if isinstance(flow_of, Totp)
        else password_flow(flow_of, endpoints)
    )
    wanted = [next(flow)]
    for one in sent:
        assert isinstance(one, Secret) == isinstance(wanted[-1], Wanted)
        try:
            wanted.append(flow.send(one))
        except StopIteration as stop:
            login: Login = stop.value
            return [one for one in wanted if isinstance(one, Request)], login
    raise AssertionError("the flow wants more")


@pytest.mark.parametrize(
    ("environment", "bearer_url", "login_url"),
    [
        (
            "prod",
            "https://napi.kotaksecurities.com/oauth2/token",
            "https://gw-napi.kotaksecurities.com/login/1.0/login/v2/validate",
        ),
        (
            "uat",
            "https://nsbxapi.kotaksecurities.com/oauth2/token",
            "https://nsbxapi-gw.kotaksecurities.com/api/1.0/login/v2/validate",
        ),
    ],
)
def test_a_login_is_a_bearer_and_then_the_password(
    environment: Environment, bearer_url: str, login_url: str
) -> None:
    (first, second), login = play(
        credentials(), BEARER_REPLY, SESSION_REPLY, environment=environment
    )

    assert first.url == bearer_url
    assert base64.b64decode(first.headers["Authorization"].removeprefix("Basic ")) == b"key:s3cret"
    assert first.body == {"grant_type": "client_credentials"}
    assert second.url == login_url
    assert second.headers == {"Authorization": "Bearer bearer-1"}
    assert second.body == {"mobileNumber": "+919999996708", "password": "pa55word"}
    assert login.kind == "view"
    assert login.bearer.expires_in == 3600


@pytest.mark.parametrize("identity", [("pan", "DUMMY1234A"), ("userid", "ABCD0")])
def test_pan_and_user_id_stand_in_for_the_mobile_number(identity: tuple[str, str]) -> None:
    (_, second), _ = play(credentials(identity), BEARER_REPLY, SESSION_REPLY)

    assert second.body == {identity[0]: identity[1], "password": "pa55word"}


def test_a_ready_access_token_saves_the_request_for_a_bearer() -> None:
    (only,), login = play(credentials(access=Secret("ready")), SESSION_REPLY)

    assert only.headers == {"Authorization": "Bearer ready"}
    assert login.bearer.ready


def test_an_access_token_that_fits_no_header_is_not_sent() -> None:
    with pytest.raises(LoginFailed) as failed:
        play(credentials(access=Secret("re\nady")))
    assert failed.value.kind == "secret_unavailable"


@pytest.mark.parametrize(
    ("replies", "refused"),
    [
        ((Reply(401, {}, b'{"error":"invalid_client"}'),), "consumer_key"),
        ((BEARER_REPLY, Reply(400, {}, b"{}")), "password"),
    ],
)
def test_a_refusal_names_the_key_whichever_step_it_comes_at(
    replies: tuple[Reply, ...], refused: str
) -> None:
    with pytest.raises(LoginFailed) as failed:
        play(credentials(), *replies)

    assert failed.value.kind == "rejected"
    assert refused in failed.value.action


def test_the_api_wants_four_headers_after_a_password_login() -> None:
    _, login = play(credentials(), BEARER_REPLY, SESSION_REPLY)

    assert login.headers == {
        "Authorization": "Bearer bearer-1",
        "Auth": login.reply.token,
        "Sid": "8f8cd1ab-46e6-41cc-9bdd-9412c5fd4fb7",
        "neo-fin-key": "X6Nk8cQhUgGmJ2vBdWw4sfzrz4L5En",
    }


def test_p6_no_secret_is_in_the_repr_of_what_is_sent_or_of_what_came() -> None:
    requests, login = play(credentials(), BEARER_REPLY, SESSION_REPLY)
    shown = repr((requests, login, credentials(), CONSUMER, BEARER_REPLY, SESSION_REPLY))

    for secret in ("pa55word", "s3cret", "bearer-1", login.reply.token, login.reply.sid):
        assert secret not in shown


# The second factor

SUBJECT = "a4e8a9c0-ff2f-11eb-9a03-0242ac130003"  # of the sample's token
TRADE = Reply(
    200,
    {},
    json.dumps(
        {
            "data": {
                "token": make_token(START, START + 60, Credentials(), "trade"),
                "sid": "trade-sid",
                "baseUrl": "https://base/with/a/path",
            }
        }
    ).encode(),
)


def two_factors(
    second_factor: Literal["mpin", "otp"], identity: tuple[str, str] = ("pan", "DUMMY1234A")
) -> Password:
    mpin = Secret("654321") if second_factor == "mpin" else None
    return Password(identity, Secret("pa55word"), CONSUMER, second_factor, mpin)


@pytest.mark.parametrize("identity", [("mobileNumber", "+919999996708"), ("pan", "DUMMY1234A")])
def test_by_mpin_it_goes_on_to_a_trade_token(identity: tuple[str, str]) -> None:
    (_, view, trade), login = play(
        two_factors("mpin", identity), BEARER_REPLY, SESSION_REPLY, TRADE
    )

    assert (view.step, trade.step) == ("first_factor", "login")
    assert trade.url == view.url
    assert trade.body == {identity[0]: identity[1], "mpin": "654321"}
    sample = json.loads(SAMPLE)["data"]
    assert trade.headers == {
        "Authorization": "Bearer bearer-1",
        "sid": sample["sid"],
        "Auth": sample["token"],
    }
    assert login.kind == "trade"
    assert login.reply.sid == "trade-sid"
    assert login.headers["Sid"] == "trade-sid"
    assert login.headers["Auth"] == login.reply.token


def test_an_otp_is_sent_once_and_then_typed() -> None:
    (_, view, send, trade), login = play(
        two_factors("otp"),
        BEARER_REPLY,
        SESSION_REPLY,
        Reply(200, {}, b"{}"),
        Secret("4711"),
        TRADE,
    )

    assert (view.step, send.step, trade.step) == ("first_factor", None, "login")
    assert send.url == "https://gw-napi.kotaksecurities.com/login/1.0/login/otp/generate"
    assert send.headers == {"Authorization": "Bearer bearer-1"}
    assert send.body == {"userId": SUBJECT, "sendEmail": True, "isWhitelisted": True}
    assert trade.body == {"userId": SUBJECT, "otp": "4711"}
    assert login.kind == "trade"


def test_an_otp_that_was_not_sent_is_not_waited_for() -> None:
    with pytest.raises(LoginFailed) as failed:
        play(two_factors("otp"), BEARER_REPLY, SESSION_REPLY, Reply(503, {}, b""))
    assert failed.value.kind == "unavailable"


def test_a_view_token_does_not_pass_for_a_trade_token() -> None:
    with pytest.raises(LoginFailed) as failed:
        play(two_factors("mpin"), BEARER_REPLY, SESSION_REPLY, SESSION_REPLY)
    assert failed.value.kind == "unintelligible"


def test_a_refused_mpin_names_the_mpin() -> None:
    refused = Reply(200, {}, b'{"stCode":401,"errMsg":"Invalid MPIN","status":"failure"}')

    with pytest.raises(LoginFailed) as failed:
        play(two_factors("mpin"), BEARER_REPLY, SESSION_REPLY, refused)

    assert "second factor" in failed.value.detail
    assert failed.value.action == "check mpin"


# The TOTP flow

TOTP = Totp("+919999996708", "AB123", Secret("uuid-token"), Secret("JBSWY3DP"), Secret("654321"))


@pytest.mark.parametrize(
    ("environment", "login_url", "validate_url"),
    [
        (
            "prod",
            "https://mis.kotaksecurities.com/login/1.0/tradeApiLogin",
            "https://mis.kotaksecurities.com/login/1.0/tradeApiValidate",
        ),
        (
            "uat",
            "https://d-mis.kotaksecurities.com/api/1.0/login/v6/totp/login",
            "https://d-mis.kotaksecurities.com/api/1.0/login/v6/totp/validate",
        ),
    ],
)
def test_the_totp_flow_is_a_code_and_then_the_mpin(
    environment: Environment, login_url: str, validate_url: str
) -> None:
    (view, trade), login = play(
        TOTP, Secret("123456"), SESSION_REPLY, TRADE, environment=environment
    )

    assert (view.url, trade.url) == (login_url, validate_url)
    assert (view.step, trade.step) == ("first_factor", "login")
    assert view.headers == {"Authorization": "uuid-token", "neo-fin-key": "neotradeapi"}
    assert view.body == {"mobileNumber": "+919999996708", "ucc": "AB123", "totp": "123456"}
    sample = json.loads(SAMPLE)["data"]
    assert trade.headers == {**view.headers, "sid": sample["sid"], "Auth": sample["token"]}
    assert trade.body == {"mpin": "654321"}
    assert login.kind == "trade"
    assert login.reply.base_url == "https://base/with/a/path"
    assert login.headers == {
        "Authorization": "uuid-token",
        "neo-fin-key": "neotradeapi",
        "Auth": login.reply.token,
        "Sid": "trade-sid",
    }


def test_without_an_mpin_the_totp_flow_ends_with_a_view_token() -> None:
    credentials = msgspec.structs.replace(TOTP, mpin=None)
    (only,), login = play(credentials, Secret("123456"), SESSION_REPLY)

    assert only.step == "login"
    assert login.kind == "view"
