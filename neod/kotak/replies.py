"""What Kotak's replies mean: their models, and the table that tells one failure from another.

HTTP status, shape and success are independent of each other: a 200 can be a refusal, a 429 in a
body need not be a rate limit. A value out of a reply is never put into a message, since messages
are logged and a reply may repeat what was sent to it. What is said of a reply is a code that
this table knows, or its shape.

The sources of the rows are Kotak's SDKs (1.2.0, 2.0.0 and 3.0.9, their tests included), the
login document that neod started from, and users' reports; where no status is documented for
wrong credentials, the doubtful statuses are read as refusals, because a refusal that is taken
for an outage is tried again and again, and locks the account.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

Kind = Literal[
    "rejected",
    "otp_needed",
    "secret_unavailable",
    "rate_limited",
    "unavailable",
    "unanswered",
    "unintelligible",
]


class LoginFailed(Exception):  # noqa: N818 - reads as what happened
    """A login that brought no session.

    `detail` says what was refused or what is missing, `action` what a person can do; neither
    holds a secret or a value out of a reply. `retry_after` is in seconds, as the broker told.
    `totp` says that it was the code which was refused.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        action: str = "",
        *,
        retry_after: float | None = None,
        totp: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail
        self.action = action
        self.retry_after = retry_after
        self.totp = totp


class Reply(msgspec.Struct, frozen=True):
    """A whole reply: header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Reply(status={self.status}, {len(self.body)} bytes)"


class BearerReply(msgspec.Struct, frozen=True):
    """oauth2/token: `expires_in` is in seconds, 3600 by default."""

    access_token: str
    expires_in: float | None = None

    def __repr__(self) -> str:
        return "BearerReply(***)"


class SessionReply(msgspec.Struct, frozen=True):
    """`data` of a reply to login/v2/validate, tradeApiLogin or tradeApiValidate."""

    token: str
    sid: str
    rid: str | None = None
    server_id: str | None = None  # may be empty since January 2025
    base_url: str | None = None
    ucc: str | None = None
    greeting_name: str | None = None
    data_center: str | None = None
    is_trial_account: bool | None = None
    password_expired: bool | None = None
    extra: dict[str, object] = {}

    def __repr__(self) -> str:
        return "SessionReply(***)"


_NAMES = {
    "rid": "rid",
    "hsServerId": "server_id",
    "baseUrl": "base_url",
    "ucc": "ucc",
    "greetingName": "greeting_name",
    "dataCenter": "data_center",
    "isTrialAccount": "is_trial_account",
    "isUserPwdExpired": "password_expired",
}
_FLAGS = ("isTrialAccount", "isUserPwdExpired")


class Step(msgspec.Struct, frozen=True):
    """A request of a login, in words for the person whose credentials it carries."""

    name: str  # "the login"
    keys: str  # the configuration's keys that hold what is sent


def read_bearer(reply: Reply, step: Step) -> BearerReply:
    """The bearer in a reply to oauth2/token. Raises LoginFailed."""
    fields = _fields(reply)
    if reply.status == 200 and "access_token" in fields:
        try:
            bearer = msgspec.convert(fields, BearerReply)
        except msgspec.ValidationError:
            raise unintelligible(step, _shape(reply)) from None
        if header_safe(bearer.access_token):
            return bearer
        raise unintelligible(step, "an access token that is no text for a header")
    raise classify(reply, step)


def read_session(reply: Reply, step: Step) -> SessionReply:
    """The session in a reply to a step of a login. Raises LoginFailed."""
    data = _fields(reply).get("data")
    if reply.status != 200 or not isinstance(data, dict) or "token" not in data:
        raise classify(reply, step)
    # Only token and sid decide: a login that was accepted must not be lost to a field of
    # another type, which is kept as it is, with the rest.
    token, sid = data["token"], data.get("sid")
    named, extra = {}, {}
    for name, value in data.items():
        if name in _NAMES and isinstance(value, bool if name in _FLAGS else str):
            named[_NAMES[name]] = value
        elif name not in ("token", "sid") and not (name in _NAMES and value is None):
            extra[name] = value
    if not isinstance(token, str) or not isinstance(sid, str):
        raise unintelligible(step, _shape(reply))
    session = msgspec.convert({"token": token, "sid": sid, **named, "extra": extra}, SessionReply)
    if not header_safe(session.token) or not header_safe(session.sid):
        raise unintelligible(step, "a token or sid that is no text for a header")
    return session


def header_safe(text: str) -> bool:
    """True if the text can stand in a header, and in a shell's output, without doing harm."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def unintelligible(step: Step, shape: str) -> LoginFailed:
    """The failure for a reply that fits no model; `shape` describes it without its values."""
    return LoginFailed(
        "unintelligible",
        f"the reply to {step.name} cannot be understood: {shape}",
        "if Kotak has changed its API, neod needs an update",
    )


class Row(msgspec.Struct, frozen=True):
    """One known shape of a failure: what has to fit (None: anything), and what it means."""

    kind: Kind
    says: str  # for a person
    status: tuple[int, ...] | None = None
    code: str | None = None
    words: str | None = None  # in the message, in lower case
    to_do: str = ""  # empty: look at the keys of the step
    totp: bool = False  # it is the code that was refused, and the next one may do


_LOCKED = "unlock it in the Kotak Neo app, then: neoctl unblock"
_ADDRESS = (
    "orders and sessions need an address that Kotak has whitelisted: check source_address, "
    "and the addresses in the developer portal"
)
# In order: the first row that fits decides.
TABLE: tuple[Row, ...] = (
    # Users: an account locked by failed logins (older API, 403 of the gateway).
    Row("rejected", "the account is locked", code="70009", to_do=_LOCKED),
    Row("rejected", "the account is locked", words="account locked", to_do=_LOCKED),
    Row("rejected", "the account is locked", words="account is locked", to_do=_LOCKED),
    # Issue 9: no credentials were judged.
    Row("unavailable", "the OTP could not be sent", code="10522"),
    # Issue 20 of Kotak-Neo/kotak-neo-api.
    Row(
        "rejected",
        "the consumer key or secret is wrong",
        code="invalid_client",
        to_do="check consumer_key and consumer_secret",
    ),
    # WSO2's gateway (issue 183).
    Row(
        "rejected",
        "the access token, or bearer, is dead or wrong",
        code="900901",
        to_do="check access_token, or consumer_key and consumer_secret",
    ),
    # Users: TOTP wrong, stale or used before; TOTP not registered.
    Row(
        "rejected",
        "the TOTP is wrong, stale or was used before",
        code="10506",
        to_do="check totp_secret, and this machine's clock: timedatectl",
        totp=True,
    ),
    Row(
        "rejected",
        "TOTP is not registered for this account",
        code="10508",
        to_do="register TOTP in the Kotak Neo app, and put its secret into totp_secret",
    ),
    # SDK tests: a 200 whose 429 is no rate limit.
    Row("rejected", "the UCC is wrong", words="invalid ucc", to_do="check ucc"),
    Row("rejected", "the MPIN is wrong", words="invalid mpin", to_do="check mpin"),
    Row("rejected", "the credentials or the TOTP are wrong", words="invalid credentials"),
    # SDK: answered for a few seconds, then it works.
    Row("unavailable", "the broker answered 424, which passes within seconds", code="424"),
    # WSO2's gateway: throttled (generic; not confirmed for Kotak).
    Row("rate_limited", "too many requests", code="900800"),
    # Issue 2 of Kotak-Neo-api-v2: the step before gave no sid, or it was not sent on.
    Row(
        "rejected",
        "a header that the step before should have given is missing",
        code="10512",
        to_do="report it: neod sends both, so Kotak's API has changed",
    ),
    # Issue 280: the first factor's session ended before the second factor was there.
    Row("unavailable", "the session between the two factors has ended", code="100022"),
    # SDK, users: ambiguous; if the address is not whitelisted, trying again is of no use.
    Row("rejected", "not authorised, perhaps from this address", code="100008", to_do=_ADDRESS),
    Row("rejected", "the session is of another address", code="1037", to_do=_ADDRESS),
    # Issue 296.
    Row(
        "rejected",
        "a view token stands where a trade token is wanted",
        code="100021",
        to_do="set second_factor, so that neod gets a trade token",
    ),
    Row("rejected", "a field is missing or malformed", words="missing required field"),
    Row("rejected", "the credentials are wrong", code="401"),
    # The documented statuses of login/v2/validate, then what HTTP means by the rest.
    Row("rate_limited", "too many requests", status=(429,)),
    Row("rejected", "invalid or missing input", status=(400,)),
    Row("rejected", "not authorised", status=(401, 403)),
    Row("unavailable", "unexpected error", status=(500,)),
    Row("unavailable", "the trade API's service is unavailable", status=(503,)),
    # It was sent on and no answer came in time: what is behind the gateway may have judged it.
    Row("unanswered", "the gateway got no answer from the trade API in time", status=(504,)),
    Row("unavailable", "the gateway got no usable answer", status=(502,)),
    Row("unavailable", "the broker answered 424, which passes within seconds", status=(424,)),
    # None of these was ever seen; but no outage speaks so, and what was tried with credentials
    # that were accepted before would be tried all night.
    *(
        Row("rejected", "it complains of what was sent, in words that are new", words=words)
        for words in ("password", "mpin", "totp", "incorrect", "mismatch", "locked")
    ),
    Row("rejected", "what was sent cannot be taken, or is locked", status=(422, 423)),
)


def check_sent(reply: Reply, step: Step) -> None:
    """See that a request without a session in its reply was taken. Raises LoginFailed."""
    codes, _ = _complaint(reply)
    if reply.status != 200 or _is_page(reply) or codes & _KNOWN:
        raise classify(reply, step)


_KNOWN = frozenset(row.code for row in TABLE if row.code)


def classify(reply: Reply, step: Step) -> LoginFailed:
    """Which failure a reply is that brought no session."""
    codes, message = _complaint(reply)
    for row in TABLE:
        if row.status is not None and reply.status not in row.status:
            continue
        if row.code is not None and row.code not in codes:
            continue
        if row.words is not None and row.words not in message:
            continue
        return _failure(row, reply, step)
    if reply.status >= 500 or _is_page(reply):
        row = Row("unavailable", "a gateway's page in place of an answer")
        return _failure(row, reply, step)
    return unintelligible(step, _shape(reply))


def _failure(row: Row, reply: Reply, step: Step) -> LoginFailed:
    if row.kind == "rejected":
        detail = f"the broker refused {step.name} (HTTP {reply.status}): {row.says}"
        to_do = row.to_do or f"check {step.keys}"
        return LoginFailed("rejected", detail, to_do, totp=row.totp)
    detail = f"{step.name} failed (HTTP {reply.status}): {row.says}"
    return LoginFailed(row.kind, detail, row.to_do, retry_after=retry_after(reply))


def says_alive(reply: Reply) -> bool | None:
    """What the answer to a cheap API call says of its session: None if nothing clear.

    That 100022 is a dead one and 5203, "No Data", a living one is inferred from users' reports.
    """
    fields = _fields(reply)
    codes, _ = _codes_and_words(fields)
    if "100022" in codes:
        return False
    if "5203" in codes or (reply.status == 200 and fields.get("stat") == "Ok"):
        return True
    return None


def retry_after(reply: Reply) -> float | None:
    """Seconds that the broker asks to wait: Retry-After in either of its forms, at most a day.

    The form with a date is measured against the reply's own Date, so that a wrong clock here
    does no harm; without a Date it is not used.
    """
    told = reply.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        seconds = float(told[:9])
    else:
        until, date = _http_date(told), _http_date(reply.headers.get("date", ""))
        if until is None or date is None:
            return None
        seconds = until - date
    return min(max(seconds, 0.0), 86_400.0)


def clock_skew(reply: Reply, now: float) -> float | None:
    """Seconds that `now` is ahead of the reply's Date, which is exact to a second or so."""
    date = _http_date(reply.headers.get("date", ""))
    return None if date is None else round(now - date)


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _fields(reply: Reply) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _complaint(reply: Reply) -> tuple[frozenset[str], str]:
    """The codes and the message of a failure, wherever the reply has them."""
    return _codes_and_words(_fields(reply))


def _codes_and_words(fields: dict[str, object]) -> tuple[frozenset[str], str]:
    error = fields.get("error")
    errors = error if isinstance(error, list) else [error]
    places = [fields, fields.get("data"), fields.get("fault"), *errors]
    texts = [place for place in places if isinstance(place, str)]
    tables = [place for place in places if isinstance(place, dict)]
    codes = [table.get(name) for table in tables for name in ("code", "stCode", "errorCode")]
    words = [
        table.get(name)
        for table in tables
        for name in ("message", "errMsg", "description", "error_description")
    ]
    message = " ".join([*texts, *(word for word in words if isinstance(word, str))])
    return frozenset(str(code) for code in (*texts, *codes) if code is not None), message.lower()


def _is_page(reply: Reply) -> bool:
    kind = reply.headers.get("content-type", "").lower()
    return "html" in kind or reply.body.lstrip()[:1] == b"<"


def _shape(reply: Reply) -> str:
    """A reply without its values: enough to mend a model by."""
    if not reply.body:
        return f"HTTP {reply.status}, empty"
    fields = _fields(reply)
    if not fields:
        return f"HTTP {reply.status}, {len(reply.body)} bytes that are no JSON object"
    return f"HTTP {reply.status}, {_outline(fields)}"


def _outline(value: object, depth: int = 0) -> str:
    """Names and types. Names that are no plain words may be values that lost their way."""
    if isinstance(value, dict) and depth < 3:
        names = list(value)[:20]
        parts = [
            f"{n if n.isidentifier() and len(n) <= 32 else '?'}: {_outline(value[n], depth + 1)}"
            for n in names
        ]
        return "{" + ", ".join(parts) + ("" if len(value) <= 20 else ", …") + "}"
    return type(value).__name__
