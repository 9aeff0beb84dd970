"""What can go wrong at Kotak, by name: the replies of failure, and which requests meet them.

A name stands for one known failure. The broker answers with these replies when a request
deserves them, and a fault gives them to a request that does not, so that there is one text of
each. Pure: it opens no socket, reads no clock, and knows nothing of the broker's state.

Shapes and codes are Kotak's. Where no HTTP status is known for one, it is the one that Kotak's
documentation lists for that kind of request: 400 for a login, 403 for a session.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from neod.ipc.http1 import Response

Step = Literal["bearer", "login", "otp", "validate", "api"]
STEPS: tuple[Step, ...] = get_args(Step)
JSON = "application/json;charset=utf-8"
RETRY_AFTER = 60.0  # seconds

_ENDS: dict[str, Step] = {
    "/oauth2/token": "bearer",
    "/login/v2/validate": "login",  # or validate: its headers tell
    "/tradeApiLogin": "login",
    "/login/v6/totp/login": "login",
    "/login/otp/generate": "otp",
    "/tradeApiValidate": "validate",
    "/login/v6/totp/validate": "validate",
    "/quick/user/orders": "api",
    "/quick/user/limits": "api",
    "/get-client-ip": "api",
    "/5config/config": "api",
}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def step_of(path: str, headers: Mapping[str, str] = _NO_HEADERS) -> Step | None:
    """Which step of a session's life a request is; header names are in lower case.

    The password flow's two factors share a path. The second one has the view session's headers.
    """
    step = next((step for end, step in _ENDS.items() if path.endswith(end)), None)
    if step == "login" and ("sid" in headers or "auth" in headers):
        return "validate"
    return step


def reply(status: int, fields: Mapping[str, object]) -> Response:
    """A reply as Kotak writes it."""
    return Response(status, json.dumps(fields).encode(), JSON)


def missing(field: str) -> Response:
    """The refusal of a body that lacks a field."""
    return _listed(400, "400", f"Missing required field '{field}'")


def _listed(status: int, code: str | int, message: str) -> Response:
    return reply(status, {"error": [{"code": code, "message": message}]})


def _wrong(message: str) -> Response:
    return reply(401, {"status": "error", "message": message, "errorCode": "401"})


def _session(code: int, message: str) -> dict[str, object]:
    return {"stCode": code, "errMsg": message, "stat": "Not_Ok"}


def _gateway(status: int, code: str, message: str, description: str) -> Response:
    return reply(status, {"code": code, "message": message, "description": description})


def _page(status: int, title: str) -> Response:
    text = f"<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body>\n</html>\n"
    return Response(status, text.encode(), "text/html")


# Name -> what is answered. The broker is not asked then, and counts nothing.
REPLIES: dict[str, Response] = {
    "invalid-client": reply(
        401,
        {
            "error": "invalid_client",
            "error_description": "A valid OAuth client could not be found for client_id",
        },
    ),
    "totp-wrong": _listed(400, "10506", "Invalid TOTP"),
    "totp-unregistered": _listed(400, "10508", "TOTP is not registered"),
    "header-missing": _listed(400, "10512", "Required header not found."),
    "otp-not-sent": _listed(400, "10522", "Issues while generating OTP! Try to login again."),
    "passing-424": _listed(424, 424, "Failed Dependency"),  # an int, and gone in seconds
    "missing-field": missing("MobileNumber"),
    "credentials": _wrong("Invalid credentials or TOTP."),
    "mpin": _wrong("Invalid MPIN."),
    "stcode-401": reply(200, {"stCode": 401, "errMsg": "Invalid MPIN", "status": "failure"}),
    "stcode-429-ucc": reply(200, {"stCode": 429, "errMsg": "Invalid UCC", "status": "failure"}),
    "dead-session": reply(403, _session(100022, "invalid session token")),
    "dead-session-in-data": reply(200, {"data": _session(100022, "invalid session token")}),
    "unauthorized-100008": reply(403, _session(100008, "unauthorized")),
    "ip-1037": reply(403, _session(1037, "session ip doesnt match with reqest ip")),
    "view-100021": reply(403, _session(100021, "invalid  access type")),
    "bearer-dead": _gateway(
        401,
        "900901",
        "Invalid Credentials",
        "Invalid Credentials. Make sure you have provided the correct security credentials",
    ),
    "locked": reply(
        403,
        {
            "fault": {
                "code": 70009,
                "message": "Account Locked",
                "description": "Too many failed attempts",
            }
        },
    ),
    "throttled": _gateway(
        429, "900800", "Message throttled out", "You have exceeded your quota"
    ),  # Retry-After is the fault's
    "400": _listed(400, "400", "Invalid or missing input parameters"),
    "429": _listed(429, "429", "Too many requests to the API"),
    "500": _listed(500, "500", "Unexpected error"),
    "502": Response(502, b"", "text/plain"),
    "502-html": _page(502, "502 Bad Gateway"),
    "503": _listed(503, "503", "Trade API service is unavailable"),
    "504": _listed(504, "504", "Gateway timeout, trade API is unreachable"),
    "html": _page(200, "Kotak Neo is under maintenance"),
    "empty": Response(200, b"", JSON),
}

# Name -> what becomes of the broker's own answer. It has been asked, unless the answer never comes.
MANNERS: dict[str, str] = {
    "slow": "it comes after some seconds: slow=SECONDS",
    "hang": "it never comes",
    "cut": "it breaks off in the middle of the body",
    "wrong-type": "its Content-Type says that it is a page",
    "skew": "from now on the broker's clock is off: skew=SECONDS, and 0 mends it",
    "none": "all faults are forgotten, the clock's too",
}


def about() -> str:
    """What can be said of a fault, for a person."""
    replies = textwrap.fill(", ".join(REPLIES), 78, break_on_hyphens=False)
    manners = "\n".join(f"{name:<12} {what}" for name, what in MANNERS.items())
    return (
        "A fault is NAME[=SECONDS][@STEP][:N]: it meets the next N requests (default: 1), or the\n"
        f"next N of that step, which is one of {', '.join(STEPS)}.\n\n"
        f"These names stand for a reply of Kotak's, and the broker is not asked:\n"
        f"{textwrap.indent(replies, '  ')}\n\n"
        f"These are done to the broker's own answer:\n{textwrap.indent(manners, '  ')}"
    )


class UnknownFault(ValueError):  # noqa: N818 - reads as what happened
    """A text that names no fault; str() says what is known."""


class Fault(msgspec.Struct, frozen=True):
    """How the next requests are answered; str() is the text that it was parsed from."""

    name: str
    seconds: float | None = None
    step: Step | None = None  # None: whatever the request is
    times: int = 1

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"={self.seconds:g}"
        step = f"@{self.step}" if self.step else ""
        times = f":{self.times}" if self.times != 1 else ""
        return f"{self.name}{seconds}{step}{times}"

    @property
    def delay(self) -> float:
        """Seconds until the answer comes."""
        return (self.seconds or 0.0) if self.name == "slow" else 0.0

    @property
    def reply(self) -> Response | None:
        """What is answered in the broker's place; None where the broker is to be asked."""
        found = REPLIES.get(self.name)
        if found is None or self.name != "throttled":
            return found
        seconds = RETRY_AFTER if self.seconds is None else self.seconds
        return msgspec.structs.replace(found, headers=(("Retry-After", f"{seconds:.0f}"),))

    def spoil(self, answer: Response) -> Response:
        """The broker's own answer, as this fault lets it through."""
        if self.name == "wrong-type":
            return msgspec.structs.replace(answer, content_type="text/html")
        return answer


_TEXT = re.compile(
    r"(?P<name>[a-z0-9-]+)(=(?P<seconds>-?[0-9.]+))?(@(?P<step>[a-z]+))?(:(?P<times>[1-9][0-9]*))?"
)
_NEED_SECONDS, _MAY_HAVE_SECONDS = ("slow", "skew"), ("slow", "skew", "throttled")
_AT_ONCE = ("skew", "none")  # these wait for no request


def parse(text: str) -> Fault:
    """The fault that `NAME[=SECONDS][@STEP][:N]` describes. Raises UnknownFault."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise UnknownFault(f"{text!r} is no fault: write NAME[=SECONDS][@STEP][:N]")
    name, step = found["name"], found["step"]
    if name not in REPLIES and name not in MANNERS:
        known = ", ".join([*REPLIES, *MANNERS])
        raise UnknownFault(f"no fault is called {name!r}; these are: {known}")
    if step is not None and step not in STEPS:
        raise UnknownFault(f"no step is called {step!r}; these are: {', '.join(STEPS)}")
    if name in _AT_ONCE and (step or found["times"]):
        raise UnknownFault(f"{name} takes no step and no number of requests: it is for all")
    return Fault(
        name=name,
        seconds=_seconds(name, found["seconds"]),
        step=next((one for one in STEPS if one == step), None),
        times=int(found["times"] or 1),
    )


def _seconds(name: str, text: str | None) -> float | None:
    if text is None:
        if name in _NEED_SECONDS:
            raise UnknownFault(f"{name} needs a number of seconds: {name}=30")
        return None
    if name not in _MAY_HAVE_SECONDS:
        raise UnknownFault(f"{name} takes no seconds")
    try:
        seconds = float(text)
    except ValueError:
        raise UnknownFault(f"{text!r} is no number of seconds") from None
    if seconds < 0 and name != "skew":
        raise UnknownFault(f"{name} takes no seconds below 0")
    return seconds


class Faults:
    """The faults that wait for their requests, first come first served."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.waiting: list[Fault] = []
        self.skew = 0.0  # seconds that the broker's clock is ahead
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Queue a fault, or do at once what waits for no request."""
        if fault.name == "none":
            self.waiting.clear()
            self.skew = 0.0
        elif fault.name == "skew":
            self.skew = fault.seconds or 0.0
        else:
            self.waiting.append(fault)

    def next(self, path: str, headers: Mapping[str, str] = _NO_HEADERS) -> Fault | None:
        """The fault that this request meets, which is used up by it; None for most."""
        step = step_of(path, headers)
        for place, fault in enumerate(self.waiting):
            if fault.step is None or fault.step == step:
                left = msgspec.structs.replace(fault, times=fault.times - 1)
                self.waiting[place : place + 1] = [left] if left.times else []
                return fault
        return None
