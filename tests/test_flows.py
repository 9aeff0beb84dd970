"""The order of requests of a login, without anything that sends."""

import base64

import pytest

from neod.kotak.endpoints import ENVIRONMENTS, Environment
from neod.kotak.flows import Consumer, Login, Password, Request, api_headers, password_flow
from neod.kotak.replies import LoginFailed, Reply
from neod.secrets import Secret
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
    flow_of: Password, *replies: Reply, environment: Environment = "prod"
) -> tuple[list[Request], Login]:
    flow = password_flow(flow_of, ENVIRONMENTS[environment])
    requests = [next(flow)]
    for reply in replies:
        try:
            requests.append(flow.send(reply))
        except StopIteration as stop:
            return requests, stop.value
    raise AssertionError("the flow wants more replies")


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

    assert api_headers(login, PROD) == {
        "Authorization": "Bearer bearer-1",
        "Auth": login.reply.token,
        "Sid": "8f8cd1ab-46e6-41cc-9bdd-9412c5fd4fb7",
        "neo-fin-key": "X6Nk8cQhUgGmJ2vBdWw4sfzrz4L5En",
    }


def test_no_secret_is_in_the_repr_of_what_is_sent_or_of_what_came() -> None:
    requests, login = play(credentials(), BEARER_REPLY, SESSION_REPLY)
    shown = repr((requests, login, credentials(), CONSUMER, BEARER_REPLY, SESSION_REPLY))

    for secret in ("pa55word", "s3cret", "bearer-1", login.reply.token, login.reply.sid):
        assert secret not in shown
