"""A Kotak Neo as a pure state machine: request in, reply out, the clock given.

It plays both of Kotak's login flows and a few calls of its API, and is as strict: headers are
checked, bearers and sessions end, a code is good for one login, and the third refusal in a row
locks the account (lock.py). It opens no socket and reads no clock, so tests play it in virtual
time and `neod sandbox` puts it on loopback. What it answers when it refuses is in faults.py.
"""

import base64
import binascii
import json
import math
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import pyotp

from neod.account.edge import DAY, INDIA_OFFSET
from neod.clock import rfc3339
from neod.ipc.http1 import Response
from neod.sandbox.faults import REPLIES, missing, reply
from neod.sandbox.lock import Lock

TOTP_STEP = 30  # seconds
TOTP_FIN_KEY = "neotradeapi"
PREFIXES = ("/login/1.0", "/api/1.0")  # of the password flow: prod, uat
ORDERS = ("/Orders/2.0", "/orderapi/1.0")  # and of the API calls after it

# What else the replies of each flow hold.
PASSWORD_EXTRAS = {
    "caches": {
        "baskets": "1687845385",
        "lastUpdatedTS": "1687845385",
        "multiplewatchlists": "1683352919",
        "techchartpreferences": "1683528608",
    }
}
TOTP_EXTRAS = {
    "status": "success",
    "derivativesRiskDisclosure": "Risk Disclosure on Derivatives\n\n• A sandbox has none.",
    "mfAccess": 1,
    "dataCenterMap": None,
    "dormancyStatus": "A",
    "asbaStatus": "",
    "clientType": "RI",
    "isNRI": False,
    "incRange": 0,
    "incUpdFlag": "",
    "clientGroup": "",
    "kraStatus": "",
    "rcFlag": 0,
}

Flow = Literal["password", "totp"]
Kind = Literal["view", "trade"]
Headers = Mapping[str, str]
Fields = Mapping[str, object]
Answer = Callable[[Headers, Fields, float], Response]


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
    mpin: str = "246810"
    totp_secret: str = "NEODSANDBOXNEODSANDBOXNEODSANDBO"

    @property
    def subject(self) -> str:
        """Who a session's JWT is about; the OTP's userId."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.ucc))


class Settings(msgspec.Struct, frozen=True):
    """How the sandbox behaves. Times are in seconds."""

    life: float | None = None  # of a session; None: to the edge
    edge: float | None = None  # all sessions end at instants so far apart; None with no life: a day
    bearer_life: float = 3600
    credentials: Credentials = Credentials()
    base_url: str | None = None  # of API calls after a TOTP login; None: /base, where it is served
    totp_registered: bool = True


class Live(msgspec.Struct, frozen=True):
    """A session that was given out."""

    token: str
    sid: str
    until: float
    kind: Kind = "view"
    flow: Flow = "password"


class Broker:
    """The broker's state: who holds what, and how often somebody was wrong."""

    def __init__(self, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self.settings = settings
        self.url = "http://127.0.0.1/"  # where it is served
        self.bearers: dict[str, float] = {settings.credentials.access_token: math.inf}
        self.sessions: list[Live] = []
        self.otp: str | None = None  # the one that was sent last, until it is used
        # Counted from the start on.
        self.logins = 0  # first factors that were accepted: view tokens
        self.trades = 0  # second factors that were accepted: trade tokens
        self.bearers_given = 0
        self.otps_sent = 0
        self._lock = Lock()
        self._codes_used: set[tuple[str, int]] = set()  # secret and step

    @property
    def locked(self) -> bool:
        return self._lock.locked

    @property
    def refusals(self) -> int:
        """In a row: at the third the account is locked."""
        return self._lock.in_a_row

    @property
    def refused(self) -> int:
        """Refusals since the start."""
        return self._lock.ever

    @property
    def base_url(self) -> str:
        """Where a TOTP login sends its client for API calls. It has a path, which matters."""
        return self.settings.base_url or f"{self.url}base"

    def handle(self, method: str, path: str, headers: Headers, body: bytes, now: float) -> Response:
        """The reply to one request; header names are in lower case."""
        verb, answer = self._routes().get(path, ("", _nothing_here))
        if verb and method != verb:
            return reply(405, {"code": "405", "message": "Method Not Allowed"})
        # Kotak's API calls come as forms, whose content nothing here asks for.
        form = "x-www-form-urlencoded" in headers.get("content-type", "")
        fields = _read(b"" if form else body)
        return REPLIES["400"] if fields is None else answer(headers, fields, now)

    def live(self, now: float) -> list[Live]:
        """The sessions that have not ended."""
        return [one for one in self.sessions if now < one.until]

    def kill(self, sid: str | None = None) -> int:
        """End a session early, or all; returns how many."""
        before = len(self.sessions)
        self.sessions = [one for one in self.sessions if sid is not None and one.sid != sid]
        return before - len(self.sessions)

    def unlock(self) -> None:
        """What a person does in the Neo app."""
        self._lock.unlock()

    def reset_access_token(self, token: str = "") -> str:
        """Give a new access token: the old one is dead, and every session with it."""
        who = self.settings.credentials
        token = token or str(uuid.uuid4())
        self.settings = msgspec.structs.replace(
            self.settings, credentials=msgspec.structs.replace(who, access_token=token)
        )
        self.bearers.pop(who.access_token, None)
        self.bearers[token] = math.inf
        self.kill()
        return token

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

    def _routes(self) -> dict[str, tuple[str, Answer]]:
        base = urlsplit(self.base_url).path.rstrip("/")
        return {
            "/oauth2/token": ("POST", self._bearer),
            **{f"{one}/login/v2/validate": ("POST", self._password) for one in PREFIXES},
            **{f"{one}/login/otp/generate": ("POST", self._send_otp) for one in PREFIXES},
            **{f"{one}/logout": ("POST", self._logout) for one in PREFIXES},
            "/login/1.0/tradeApiLogin": ("POST", self._totp_login),
            "/api/1.0/login/v6/totp/login": ("POST", self._totp_login),
            "/login/1.0/tradeApiValidate": ("POST", self._totp_validate),
            "/api/1.0/login/v6/totp/validate": ("POST", self._totp_validate),
            **{f"{one}/quick/user/orders": ("GET", self._orders) for one in (base, *ORDERS)},
            **{f"{one}/quick/user/limits": ("POST", self._limits) for one in (base, *ORDERS)},
            **{f"{one}/login/1.0/get-client-ip": ("GET", self._client_ip) for one in ("", base)},
            **{f"{one}/5config/config": ("GET", _configs) for one in ("", base)},
        }

    # The password flow

    def _bearer(self, headers: Headers, fields: Fields, now: float) -> Response:
        who = self.settings.credentials
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if scheme != "Basic" or pair != f"{who.consumer_key}:{who.consumer_secret}":
            return self._refuse_first("invalid-client")
        if fields.get("grant_type") != "client_credentials":
            return reply(400, {"error": "unsupported_grant_type"})
        token = str(uuid.uuid4())
        self.bearers[token] = now + self.settings.bearer_life
        self.bearers_given += 1
        return reply(
            200,
            {
                "access_token": token,
                "scope": "default",
                "token_type": "Bearer",
                "expires_in": self.settings.bearer_life,
            },
        )

    def _password(self, headers: Headers, fields: Fields, now: float) -> Response:
        """Both factors: the second has the view session's headers, or an OTP."""
        if not self._has_bearer(headers, now):
            return REPLIES["bearer-dead"]
        if "otp" in fields or "sid" in headers or "auth" in headers:
            return self._password_second(headers, fields, now)
        wrong_who = self._wrong_identity(fields)
        if isinstance(wrong_who, Response):
            return wrong_who
        field = "password" if "password" in fields else "mpin"
        secret = _text(fields, field)
        if not secret:
            return missing("Password")
        if self.locked:
            return REPLIES["locked"]
        who = self.settings.credentials
        if wrong_who or secret != (who.password if field == "password" else who.mpin):
            return self._refuse_first("credentials")
        return self._accept_first("password", now)

    def _password_second(self, headers: Headers, fields: Fields, now: float) -> Response:
        view = self._view_session(headers, "password", now)
        if isinstance(view, Response):
            return view
        if "otp" in fields:
            return self._otp_second(fields, now)
        wrong_who = self._wrong_identity(fields)
        if isinstance(wrong_who, Response):
            return wrong_who
        mpin = _text(fields, "mpin")
        if not mpin:
            return missing("Mpin")
        if self.locked:
            return REPLIES["locked"]
        if wrong_who or mpin != self.settings.credentials.mpin:
            return self._refuse_second("credentials" if wrong_who else "mpin")
        return self._accept_second("password", now)

    def _otp_second(self, fields: Fields, now: float) -> Response:
        user, otp = _text(fields, "userId"), _text(fields, "otp")
        if not user or not otp:
            return missing("Otp" if user else "UserId")
        if self.locked:
            return REPLIES["locked"]
        if user != self.settings.credentials.subject or otp != self.otp:
            return self._refuse_second("credentials")
        self.otp = None
        return self._accept_second("password", now)

    def _send_otp(self, headers: Headers, fields: Fields, now: float) -> Response:
        if not self._has_bearer(headers, now):
            return REPLIES["bearer-dead"]
        user = _text(fields, "userId")
        if not user:
            return missing("UserId")
        if self.locked:
            return REPLIES["locked"]
        known = any(one.kind == "view" and one.flow == "password" for one in self.live(now))
        if not known or user != self.settings.credentials.subject:
            return REPLIES["otp-not-sent"]
        self.otp = f"{secrets.randbelow(10_000):04d}"
        self.otps_sent += 1
        return reply(200, {"data": {"status": "success"}})

    def _logout(self, headers: Headers, _fields: Fields, now: float) -> Response:
        if not self._has_bearer(headers, now):
            return REPLIES["bearer-dead"]
        live = self._session(headers, now)
        if isinstance(live, Response):
            return live
        self.kill(live.sid)
        return reply(200, {"data": {"status": "success"}})

    def _has_bearer(self, headers: Headers, now: float) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and now < self.bearers.get(bearer, -math.inf)

    def _wrong_identity(self, fields: Fields) -> bool | Response:
        """Whether the one who logs in is somebody else; a reply if it is not said who."""
        who = self.settings.credentials
        known = {"mobileNumber": who.mobile, "pan": who.pan, "userid": who.user_id}
        given = [name for name in known if name in fields]
        if len(given) != 1 or not _text(fields, given[0]):
            return REPLIES["missing-field"]
        return fields[given[0]] != known[given[0]]

    # The TOTP flow

    def _totp_login(self, headers: Headers, fields: Fields, now: float) -> Response:
        if not _has_totp_headers(headers):
            return REPLIES["header-missing"]
        for name in ("mobileNumber", "ucc", "totp"):
            if not _text(fields, name):
                return missing(name[0].upper() + name[1:])
        if self.locked:
            return REPLIES["locked"]
        who = self.settings.credentials
        if headers["authorization"] != who.access_token or fields["mobileNumber"] != who.mobile:
            return self._refuse_first("credentials")
        if fields["ucc"] != who.ucc:
            return self._refuse_first("stcode-429-ucc")
        if not self.settings.totp_registered:
            return REPLIES["totp-unregistered"]
        if not self._use_code(_text(fields, "totp"), now):
            return self._refuse_first("totp-wrong")
        return self._accept_first("totp", now)

    def _totp_validate(self, headers: Headers, fields: Fields, now: float) -> Response:
        if not _has_totp_headers(headers):
            return REPLIES["header-missing"]
        view = self._view_session(headers, "totp", now)
        if isinstance(view, Response):
            return view
        mpin = _text(fields, "mpin")
        if not mpin:
            return missing("Mpin")
        if self.locked:
            return REPLIES["locked"]
        who = self.settings.credentials
        if headers["authorization"] != who.access_token:
            return self._refuse_second("credentials")
        if mpin != who.mpin:
            return self._refuse_second("stcode-401")
        return self._accept_second("totp", now)

    def _use_code(self, code: str, now: float) -> bool:
        """Take a TOTP of now, or of the steps beside, once."""
        secret = self.settings.credentials.totp_secret
        current = math.floor(now // TOTP_STEP)
        for step in range(current - 1, current + 2):
            fits = pyotp.TOTP(secret).generate_otp(step) == code
            if fits and (secret, step) not in self._codes_used:
                self._codes_used.add((secret, step))
                return True
        return False

    # What both flows share

    def _view_session(self, headers: Headers, flow: Flow, now: float) -> Live | Response:
        """The session whose second factor this is."""
        live = self._session(headers, now)
        if isinstance(live, Live) and (live.kind != "view" or live.flow != flow):
            return REPLIES["dead-session"]
        return live

    def _session(self, headers: Headers, now: float) -> Live | Response:
        """The session that the headers are of, or what is wrong with them."""
        sid, token = headers.get("sid", ""), headers.get("auth", "")
        if not sid or not token:
            return REPLIES["header-missing"]
        for live in self.live(now):
            if live.sid == sid and live.token == token:
                return live
        return REPLIES["dead-session"]

    def _refuse_first(self, name: str) -> Response:
        self._lock.refuse_first()
        return REPLIES[name]

    def _refuse_second(self, name: str) -> Response:
        self._lock.refuse_second()
        return REPLIES[name]

    def _accept_first(self, flow: Flow, now: float) -> Response:
        self._lock.accept_first()
        self.logins += 1
        return self._begin("view", flow, now)

    def _accept_second(self, flow: Flow, now: float) -> Response:
        self._lock.accept_second()
        self.trades += 1
        return self._begin("trade", flow, now)

    def _begin(self, kind: Kind, flow: Flow, now: float) -> Response:
        until = self.ends_at(now)
        token = make_token(now, until, self.settings.credentials, kind)
        live = Live(token=token, sid=str(uuid.uuid4()), until=until, kind=kind, flow=flow)
        self.sessions = [*self.live(now), live]
        return reply(200, {"data": self._data(live)})

    def _data(self, live: Live) -> dict[str, object]:
        who = self.settings.credentials
        data: dict[str, object] = {
            "token": live.token,
            "sid": live.sid,
            "rid": str(uuid.uuid4()),
            "hsServerId": "server2" if live.flow == "password" else "",
            "isUserPwdExpired": False,
            "ucc": who.ucc,
            "greetingName": "DUMMY",
            "isTrialAccount": False,
            "dataCenter": "gdc",
            "searchAPIKey": "",
        }
        if live.flow == "password":
            return data | PASSWORD_EXTRAS
        data |= {**TOTP_EXTRAS, "kId": who.pan, "kType": live.kind.title()}
        if live.kind == "trade":
            data |= {"baseUrl": self.base_url, "feedUrl": "", "rtUrl": ""}
        return data

    # Calls of the API

    def _trading(self, headers: Headers, now: float) -> Response | None:
        """None for one who may trade, or the refusal."""
        authorization = headers.get("authorization", "")
        if authorization.startswith("Bearer ") and not self._has_bearer(headers, now):
            return REPLIES["bearer-dead"]
        live = self._session(headers, now)
        if isinstance(live, Response):
            return live
        if live.kind == "view":
            return REPLIES["view-100021"]
        if live.flow == "password":
            if not self._has_bearer(headers, now):
                return REPLIES["bearer-dead"]
            return None if headers.get("neo-fin-key") else REPLIES["header-missing"]
        # Kotak's own SDK sends these only with some calls, so they may be missing.
        if authorization not in ("", self.settings.credentials.access_token):
            return REPLIES["unauthorized-100008"]
        if headers.get("neo-fin-key", TOTP_FIN_KEY) != TOTP_FIN_KEY:
            return REPLIES["header-missing"]
        return None

    def _orders(self, headers: Headers, _fields: Fields, now: float) -> Response:
        # Nobody trades here, and this is how Kotak says so.
        none = {"stat": "Not_Ok", "stCode": 5203, "errMsg": "No Data", "desc": "data not found"}
        return self._trading(headers, now) or reply(200, none)

    def _limits(self, headers: Headers, _fields: Fields, now: float) -> Response:
        limits = {"stat": "Ok", "stCode": 200, "Net": "0", "MarginUsed": "0"}
        return self._trading(headers, now) or reply(200, limits)

    def _client_ip(self, headers: Headers, _fields: Fields, now: float) -> Response:
        address = {"ip": "127.0.0.1", "time": rfc3339(now)[:19].replace("T", " ") + ".000"}
        told = {"data": [address], "stCode": 1000, "status": "success"}
        return self._trading(headers, now) or reply(200, told)


def _configs(_headers: Headers, _fields: Fields, _now: float) -> Response:
    """Where a client finds its feeds: there are none."""
    return reply(200, {"data": {"configs": {}}})


def _nothing_here(_headers: Headers, _fields: Fields, _now: float) -> Response:
    return reply(404, {"code": "404", "message": "No matching resource found"})


def _has_totp_headers(headers: Headers) -> bool:
    return bool(headers.get("authorization")) and headers.get("neo-fin-key") == TOTP_FIN_KEY


def _read(body: bytes) -> Fields | None:
    """The body's JSON object; None if it is none."""
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _text(fields: Fields, name: str) -> str:
    """A field that has to be a text; empty if it is missing, or is none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def make_token(now: float, until: float, who: Credentials, kind: Kind = "view") -> str:
    """A session JWT of Kotak's shape. Its signature is noise: neod has no key to check it with."""
    claims = {
        "scope": [kind.title()],
        "exp": math.floor(until),
        "jti": str(uuid.uuid4()),
        "iat": math.floor(now),
        "iss": "login-service",
        "sub": who.subject,
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
