"""A login as a generator: it yields what it wants, and is sent what came of it. Sans-IO.

It knows no clock, no client, no retry. What it yields is a Request, and then it is sent the
Reply; or a Wanted, and then it is sent the code that only the moment, or a person, can give.

The order of requests, their headers and their bodies are those of Kotak's SDKs: 1.2.0 for the
password flow, which the login document belongs to, and 3.0.9 for the TOTP flow.
"""

import base64
from collections.abc import Generator
from typing import Literal, TypeVar

import msgspec

from neod.account.token import BadToken, Claims, read_claims
from neod.kotak.endpoints import TOTP_FIN_KEY, Endpoints, is_loopback
from neod.kotak.replies import (
    BearerReply,
    LoginFailed,
    Reply,
    SessionReply,
    Step,
    check_sent,
    header_safe,
    read_bearer,
    read_session,
    unintelligible,
)
from neod.secrets import Secret


class Request(msgspec.Struct, frozen=True):
    """A POST with a JSON body; a GET without one. `step` is how the ledger counts it.

    `bearer` and `first_factor` are steps on the way to a `login`, which is the one that proves
    the secrets; None is a request that carries no credentials.
    """

    step: Literal["bearer", "first_factor", "login"] | None
    words: Step
    url: str
    headers: dict[str, str]
    body: dict[str, object] | None

    def __repr__(self) -> str:
        return f"Request({self.step} to {self.url})"


class Wanted(msgspec.Struct, frozen=True):
    """A code that has to be had now."""

    what: Literal["totp", "otp"]


class Consumer(msgspec.Struct, frozen=True):
    """The consumer key and secret that a bearer is got with."""

    key: Secret
    secret: Secret


class Bearer(msgspec.Struct, frozen=True):
    """The access token of the API, and how long it lives where it is known."""

    token: Secret
    expires_in: float | None = None  # seconds from the reply; None: not said
    ready: bool = False  # came out of the configuration, so it cannot be renewed


class Password(msgspec.Struct, frozen=True):
    """What the password flow is made of."""

    identity: tuple[str, str]  # the body's field, and what stands in it
    password: Secret
    access: Consumer | Secret  # a Secret is a ready access token
    second_factor: Literal["none", "mpin", "otp"] = "none"
    mpin: Secret | None = None


class Totp(msgspec.Struct, frozen=True):
    """What the TOTP flow is made of; the code itself is Wanted when its time has come."""

    mobile: str
    ucc: str
    access_token: Secret
    totp_secret: Secret
    mpin: Secret | None = None  # None: the view token is all that is wanted


class Login(msgspec.Struct, frozen=True):
    """What a login brought."""

    kind: Literal["view", "trade"]
    reply: SessionReply
    claims: Claims
    bearer: Bearer
    headers: dict[str, str]  # what Kotak's API wants after it

    def __repr__(self) -> str:
        return f"Login({self.kind})"


T = TypeVar("T")
Flow = Generator[Request | Wanted, Reply | Secret, T]
BEARER = Step("the request for a bearer", "consumer_key and consumer_secret")
VIEW = Step("the login", "the password, and mobile, pan or user_id")
MPIN = Step("the second factor", "mpin")
SEND_OTP = Step("the request to send an OTP", "the account's mobile number at Kotak")
OTP = Step("the one-time password", "the code that was typed")
TOTP_VIEW = Step("the login", "mobile, ucc, access_token and totp_secret")
CLOCK = Step("the question for the time", "")
LIFE = Step("the question whether the session is alive", "")


def bearer_flow(consumer: Consumer, endpoints: Endpoints) -> Flow[Bearer]:
    """Get a bearer. Raises LoginFailed."""
    pair = f"{consumer.key.reveal()}:{consumer.secret.reveal()}"
    reply = yield Request(
        step="bearer",
        words=BEARER,
        url=endpoints.bearer_url,
        headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
        body={"grant_type": "client_credentials"},
    )
    found: BearerReply = read_bearer(_reply(reply), BEARER)
    return Bearer(token=Secret(found.access_token), expires_in=found.expires_in)


def password_flow(credentials: Password, endpoints: Endpoints) -> Flow[Login]:
    """Log in with mobile number, PAN or user id, and the password: a view token.

    Then, where there is a second factor, on to a trade token. Raises LoginFailed.
    """
    if isinstance(credentials.access, Consumer):
        bearer = yield from bearer_flow(credentials.access, endpoints)
    else:
        bearer = Bearer(token=_fit_for_a_header(credentials.access), ready=True)
    authorization = {"Authorization": f"Bearer {bearer.token.reveal()}"}
    field, who = credentials.identity
    last = credentials.second_factor == "none"
    view, claims = yield from _step(
        Request(
            step="login" if last else "first_factor",
            words=VIEW,
            url=endpoints.validate_url,
            headers=authorization,
            body={field: who, "password": credentials.password.reveal()},
        )
    )
    kind: Literal["view", "trade"] = "view"
    if not last:
        kind = "trade"
        headers = {**authorization, "sid": view.sid, "Auth": view.token}
        if credentials.second_factor == "otp":
            words, body = OTP, (yield from _otp(claims, authorization, endpoints))
        else:
            words, body = MPIN, {field: who, "mpin": _mpin(credentials.mpin)}
        view, claims = yield from _step(
            Request("login", words, endpoints.validate_url, headers, body)
        )
        _check_trade(claims, words)
    headers = {
        **authorization,
        "Auth": view.token,
        "Sid": view.sid,
        "neo-fin-key": endpoints.fin_key,
    }
    return Login(kind=kind, reply=view, claims=claims, bearer=bearer, headers=headers)


def _otp(
    claims: Claims, authorization: dict[str, str], endpoints: Endpoints
) -> Flow[dict[str, object]]:
    """Have an OTP sent, once, and the body of the second factor made of what a person types."""
    user = claims.subject
    reply = yield Request(
        step=None,
        words=SEND_OTP,
        url=endpoints.send_otp_url,
        headers=authorization,
        body={"userId": user, "sendEmail": True, "isWhitelisted": True},
    )
    check_sent(_reply(reply), SEND_OTP)
    code = yield Wanted("otp")
    return {"userId": user, "otp": _code(code)}


def totp_flow(credentials: Totp, endpoints: Endpoints) -> Flow[Login]:
    """Log in with mobile number, UCC and a TOTP, and by the MPIN on to a trade token.

    Raises LoginFailed.
    """
    access = _fit_for_a_header(credentials.access_token)
    # The access token stands plain, with no `Bearer` before it.
    common = {"Authorization": access.reveal(), "neo-fin-key": TOTP_FIN_KEY}
    code = yield Wanted("totp")
    last = credentials.mpin is None
    session, claims = yield from _step(
        Request(
            step="login" if last else "first_factor",
            words=TOTP_VIEW,
            url=endpoints.totp_login_url,
            headers=common,
            body={
                "mobileNumber": credentials.mobile,
                "ucc": credentials.ucc,
                "totp": _code(code),
            },
        )
    )
    kind: Literal["view", "trade"] = "view"
    if not last:
        kind = "trade"
        headers = {**common, "sid": session.sid, "Auth": session.token}
        body: dict[str, object] = {"mpin": _mpin(credentials.mpin)}
        session, claims = yield from _step(
            Request("login", MPIN, endpoints.totp_validate_url, headers, body)
        )
        _check_trade(claims, MPIN)
    return Login(
        kind=kind,
        reply=session,
        claims=claims,
        bearer=Bearer(token=access, ready=True),
        headers={**common, "Auth": session.token, "Sid": session.sid},
    )


def proof_of_life(
    kind: Literal["view", "trade"], base_url: str | None, headers: dict[str, str]
) -> Request | None:
    """A cheap call of the API, which tells whether a session is alive: None if there is none.

    Only the TOTP flow gives a base_url to ask at (inferred; the order book of kotakneoapi 3.0.9),
    and only a trade token is let in there.
    """
    if (
        kind != "trade"
        or base_url is None
        or not (base_url.startswith("https://") or is_loopback(base_url))
    ):
        return None
    # It may hold a path, so the strings are joined.
    url = f"{base_url.rstrip('/')}/quick/user/orders"
    return Request(step=None, words=LIFE, url=url, headers=headers, body=None)


def clock_request(endpoints: Endpoints) -> Request:
    """A request for nothing, to see the Date of the answer: no credentials, any answer will do."""
    return Request(step=None, words=CLOCK, url=endpoints.login, headers={}, body=None)


def _step(request: Request) -> Flow[tuple[SessionReply, Claims]]:
    reply = yield request
    session = read_session(_reply(reply), request.words)
    try:
        return session, read_claims(session.token)
    except BadToken as error:
        raise unintelligible(request.words, str(error)) from None


def _check_trade(claims: Claims, words: Step) -> None:
    """See that the second factor brought what it is for: a view token must not pass as more.

    That a trade token's scope is "Trade" is inferred, so only "View" by itself is turned away.
    """
    if claims.scope == ("View",):
        raise unintelligible(words, "a view token, where a trade token was due")


def _fit_for_a_header(token: Secret) -> Secret:
    if not header_safe(token.reveal()):
        raise LoginFailed(
            "secret_unavailable",
            "access_token holds what cannot stand in a header",
            "copy it anew",
        )
    return token


def _reply(sent: Reply | Secret) -> Reply:
    assert isinstance(sent, Reply)  # noqa: S101 - whoever plays the flow sends what was asked for
    return sent


def _code(sent: Reply | Secret) -> str:
    assert isinstance(sent, Secret)  # noqa: S101 - as above
    return sent.reveal()


def _mpin(mpin: Secret | None) -> str:
    assert mpin is not None  # noqa: S101 - the configuration was checked
    return mpin.reveal()
