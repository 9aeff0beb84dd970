"""A login as a generator: `reply = yield request`. Sans-IO: no clock, no client, no retry.

The order of requests, their headers and their bodies are those of Kotak's SDK (1.2.0), which
the login document of the password flow belongs to.
"""

import base64
from collections.abc import Generator
from typing import Literal

import msgspec

from neod.account.token import BadToken, Claims, read_claims
from neod.kotak.endpoints import Endpoints
from neod.kotak.replies import (
    BearerReply,
    LoginFailed,
    Reply,
    SessionReply,
    Step,
    header_safe,
    read_bearer,
    read_session,
    unintelligible,
)
from neod.secrets import Secret


class Request(msgspec.Struct, frozen=True):
    """A POST with a JSON body. `step` is how the ledger counts it."""

    step: Literal["bearer", "login"]
    words: Step
    url: str
    headers: dict[str, str]
    body: dict[str, object]

    def __repr__(self) -> str:
        return f"Request({self.step} to {self.url})"


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
    """What the password flow's first factor is made of."""

    identity: tuple[str, str]  # the body's field, and what stands in it
    password: Secret
    access: Consumer | Secret  # a Secret is a ready access token


class Login(msgspec.Struct, frozen=True):
    """What a login brought."""

    kind: Literal["view", "trade"]
    reply: SessionReply
    claims: Claims
    bearer: Bearer


Flow = Generator[Request, Reply, Login]
BEARER = Step("the request for a bearer", "consumer_key and consumer_secret")
VIEW = Step("the login", "the password, and mobile, pan or user_id")


def bearer_flow(consumer: Consumer, endpoints: Endpoints) -> Generator[Request, Reply, Bearer]:
    """Get a bearer. Raises LoginFailed."""
    pair = f"{consumer.key.reveal()}:{consumer.secret.reveal()}"
    reply = yield Request(
        step="bearer",
        words=BEARER,
        url=endpoints.bearer_url,
        headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
        body={"grant_type": "client_credentials"},
    )
    found: BearerReply = read_bearer(reply, BEARER)
    return Bearer(token=Secret(found.access_token), expires_in=found.expires_in)


def password_flow(credentials: Password, endpoints: Endpoints) -> Flow:
    """Log in with mobile number, PAN or user id, and the password: a view token.

    Raises LoginFailed.
    """
    if isinstance(credentials.access, Consumer):
        bearer = yield from bearer_flow(credentials.access, endpoints)
    else:
        bearer = Bearer(token=credentials.access, ready=True)
        if not header_safe(bearer.token.reveal()):
            raise LoginFailed(
                "secret_unavailable",
                "access_token holds what cannot stand in a header",
                "copy it anew from the developer portal",
            )
    field, who = credentials.identity
    reply = yield Request(
        step="login",
        words=VIEW,
        url=endpoints.validate_url,
        headers={"Authorization": f"Bearer {bearer.token.reveal()}"},
        body={field: who, "password": credentials.password.reveal()},
    )
    session = read_session(reply, VIEW)
    try:
        claims = read_claims(session.token)
    except BadToken as error:
        raise unintelligible(VIEW, str(error)) from None
    return Login(kind="view", reply=session, claims=claims, bearer=bearer)


def api_headers(login: Login, endpoints: Endpoints) -> dict[str, str]:
    """The headers that Kotak's API wants after this login."""
    return {
        "Authorization": f"Bearer {login.bearer.token.reveal()}",
        "Auth": login.reply.token,
        "Sid": login.reply.sid,
        "neo-fin-key": endpoints.fin_key,
    }
