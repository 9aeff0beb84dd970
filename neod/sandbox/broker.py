"""A Kotak Neo as a pure state machine: request in, reply out, the clock given.

It plays Kotak's password flow, and is as strict: headers are checked,
bearers and sessions end, refusals are counted, and the third locks the account. It opens no
socket and reads no clock, so tests play it in virtual time and `neod sandbox` puts it on
loopback.
"""

import base64
import binascii
import json
import math
import secrets
import uuid
from collections.abc import Mapping

import msgspec

from neod.account.edge import DAY, INDIA_OFFSET
from neod.ipc.http1 import Response

LOCKED_AT = 3  # refusals; the only figure that users report


class Credentials(msgspec.Struct, frozen=True):
    """What the sandbox lets in. Made up, and printed for all to see."""

    consumer_key: str = "sandbox-consumer-key"
    consumer_secret: str = "sandbox-consumer-secret"
    access_token: str = "sandbox-access-token"
    mobile: str = "+919999996708"
    pan: str = "DUMMY1234A"
    user_id: str = "DUMMY"
    password: str = "sandbox-password"
    ucc: str = "D2014"


class Settings(msgspec.Struct, frozen=True):
    """How the sandbox behaves. Times are in seconds."""

    life: float | None = None  # of a session; None: to the edge
    edge: float | None = None  # all sessions end at instants so far apart; None with no life: a day
    bearer_life: float = 3600.0
    credentials: Credentials = Credentials()


class Live(msgspec.Struct, frozen=True):
    """A session that was given out."""

    token: str
    sid: str
    until: float


class Broker:
    """The broker's state: who holds what, and how often somebody was wrong."""

    def __init__(self, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self.settings = settings
        self.bearers: dict[str, float] = {settings.credentials.access_token: math.inf}
        self.sessions: list[Live] = []
        self.logins = 0
        self.refusals = 0
        self.locked = False

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Response:
        """The reply to one request; header names are in lower case."""
        if method != "POST":
            return _reply(405, {"code": "405", "message": "Method Not Allowed"})
        try:
            fields = json.loads(body or b"{}")
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return _reply(400, {"error": [{"code": "400", "message": "Invalid JSON"}]})
        if path == "/oauth2/token":
            return self._bearer(headers, fields, now)
        if path.removeprefix("/login/1.0").removeprefix("/api/1.0") == "/login/v2/validate":
            return self._validate(headers, fields, now)
        return _reply(404, {"code": "404", "message": "No matching resource found"})

    def _bearer(
        self, headers: Mapping[str, str], fields: Mapping[str, object], now: float
    ) -> Response:
        who = self.settings.credentials
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if scheme != "Basic" or pair != f"{who.consumer_key}:{who.consumer_secret}":
            return _reply(
                401,
                {
                    "error": "invalid_client",
                    "error_description": "A valid OAuth client could not be found for client_id",
                },
            )
        if fields.get("grant_type") != "client_credentials":
            return _reply(400, {"error": "unsupported_grant_type"})
        token = str(uuid.uuid4())
        self.bearers[token] = now + self.settings.bearer_life
        return _reply(
            200,
            {
                "access_token": token,
                "scope": "default",
                "token_type": "Bearer",
                "expires_in": self.settings.bearer_life,
            },
        )

    def _validate(
        self, headers: Mapping[str, str], fields: Mapping[str, object], now: float
    ) -> Response:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self.bearers.get(bearer, -math.inf) <= now:
            return _reply(401, {"code": "900901", "message": "Invalid Credentials"})
        who = self.settings.credentials
        known = {"mobileNumber": who.mobile, "pan": who.pan, "userid": who.user_id}
        given = [name for name in known if name in fields]
        if len(given) != 1 or "password" not in fields:
            message = "Missing required field 'MobileNumber'"
            return _reply(400, {"error": [{"code": "400", "message": message}]})
        if self.locked:
            return _reply(403, {"fault": {"code": 70009, "message": "Account Locked"}})
        if fields[given[0]] != known[given[0]] or fields["password"] != who.password:
            self.refusals += 1
            self.locked = self.refusals >= LOCKED_AT
            return _reply(
                401,
                {
                    "status": "error",
                    "message": "Invalid credentials or TOTP.",
                    "errorCode": "401",
                },
            )
        self.refusals = 0
        self.logins += 1
        until = self.ends_at(now)
        token = make_token(now, until, who)
        live = Live(token=token, sid=str(uuid.uuid4()), until=until)
        self.sessions = [*(one for one in self.sessions if now < one.until), live]
        return _reply(200, {"data": self._data(live)})

    def ends_at(self, now: float) -> int:
        """When a session that begins now ends."""
        settings, ends = self.settings, []
        if settings.life is not None:
            ends.append(now + settings.life)
        if settings.edge is not None:
            ends.append((now // settings.edge + 1) * settings.edge)
        if not ends:
            ends.append(((now + INDIA_OFFSET) // DAY + 1) * DAY - INDIA_OFFSET)
        return math.floor(min(ends))

    def _data(self, live: Live) -> dict[str, object]:
        return {
            "token": live.token,
            "sid": live.sid,
            "rid": str(uuid.uuid4()),
            "hsServerId": "server2",
            "isUserPwdExpired": False,
            "caches": {
                "baskets": "1687845385",
                "lastUpdatedTS": "1687845385",
                "multiplewatchlists": "1683352919",
                "techchartpreferences": "1683528608",
            },
            "ucc": self.settings.credentials.ucc,
            "greetingName": "DUMMY",
            "isTrialAccount": False,
            "dataCenter": "gdc",
            "searchAPIKey": "",
        }


def make_token(now: float, until: float, who: Credentials) -> str:
    """A session JWT of Kotak's shape. Its signature is noise: neod has no key to check it with."""
    claims = {
        "scope": ["View"],
        "exp": math.floor(until),
        "jti": str(uuid.uuid4()),
        "iat": math.floor(now),
        "iss": "login-service",
        "sub": str(uuid.uuid5(uuid.NAMESPACE_URL, who.ucc)),
        "ucc": who.ucc,
        "nap": who.pan,
        "fetchcachingrule": 0,
        "categorisation": "",
    }
    parts = (
        json.dumps({"alg": "RS256", "typ": "JWT"}, separators=(",", ":")).encode(),
        json.dumps(claims, separators=(",", ":")).encode(),
        secrets.token_bytes(256),
    )
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _reply(status: int, fields: Mapping[str, object]) -> Response:
    return Response(status, json.dumps(fields).encode(), "application/json;charset=utf-8")
