"""What a refusal that a bot met at Kotak's API says of its session.

A bot hands over what it has: a code, a text, the broker's reply, or that within a log line. Only
the codes in it are believed, and nothing of it is repeated. Knows nothing of neod's own logins,
whose replies are those of replies.py.

The sources of the rows are Kotak's SDKs (1.2.0, 2.0.0 and 3.0.9, their tests included) and users'
reports.
"""

import re
from typing import Literal

import msgspec


class Evidence(msgspec.Struct, frozen=True):
    """What a refusal that a bot met says of its session."""

    about: Literal["session", "bearer", "other"]
    says: str  # for a person, and for the log: nothing of what the bot sent


# In order: the first row whose code is in the evidence decides. Kotak's own codes come first,
# then what HTTP says of authorisation, then what it says of anything else.
EVIDENCE: tuple[tuple[str, Evidence], ...] = (
    ("100022", Evidence("session", "100022: the session is dead, or the markets are closed")),
    ("900901", Evidence("bearer", "900901: the gateway says that the bearer is dead")),
    (
        "100008",
        Evidence(
            "other",
            "100008 says that this address is not whitelisted, or that the session is seconds "
            "old; another login would change neither: check the addresses in the developer portal",
        ),
    ),
    (
        "1037",
        Evidence(
            "other",
            "1037 says that the session was made from another address than the request: "
            "check source_address",
        ),
    ),
    (
        "100021",
        Evidence(
            "other",
            "100021 says that a view token stands where a trade token is wanted: "
            "check second_factor",
        ),
    ),
    ("5203", Evidence("other", "5203 says that there is no data, to a session that is alive")),
    ("900800", Evidence("other", "900800 says that there were too many requests: slow down")),
    ("401", Evidence("session", "401: not authorised")),
    ("403", Evidence("session", "403: not authorised")),
    ("429", Evidence("other", "429 says that there were too many requests: slow down")),
    ("400", Evidence("other", "400 says that the request was wrong, and nothing of the session")),
    *(
        (code, Evidence("other", f"{code} says that Kotak has an outage, and no more"))
        for code in ("424", "500", "502", "503", "504")
    ),
)
_NUMBER = re.compile(r"(?<![0-9A-Za-z.-])[0-9]{3,6}(?![0-9A-Za-z.-])")
_CODES = ("code", "stcode", "errorcode", "status", "status_code", "statuscode")
_AUTH = ("401", "403")
_DEEP = 6  # levels of a reply in a reply, beyond which nobody looks


def read_evidence(evidence: object) -> Evidence:
    """What evidence says: a code, a text with codes in it, or the broker's reply as JSON.

    Evidence that says nothing that is known may be of a dead session. It is never repeated: a bot
    may have sent a reply with anything in it.
    """
    codes = _codes_in(evidence, _DEEP)
    for code, means in EVIDENCE:
        if code in codes:
            return means
    return Evidence("session", "no code that is known")


def _codes_in(evidence: object, depth: int) -> set[str]:
    if depth == 0 or evidence is None or isinstance(evidence, bool):
        return set()
    if isinstance(evidence, str):
        try:
            inner = msgspec.json.decode(evidence)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # A price or a quantity is no status: where there are several numbers, those of HTTP
            # that speak of the request count for nothing.
            found = set(_NUMBER.findall(evidence))
            return found if len(found) == 1 else {n for n in found if n in _AUTH or len(n) > 3}
        return _codes_in(inner, depth - 1)
    if isinstance(evidence, dict):
        found = set()
        for name, value in evidence.items():
            is_code = str(name).lower() in _CODES and isinstance(value, (str, int))
            if is_code and not isinstance(value, bool):
                found.add(str(value)[:10])
            elif isinstance(value, (dict, list)) or str(name).lower() in ("body", "text", "data"):
                found |= _codes_in(value, depth - 1)
        return found
    if isinstance(evidence, list):
        return set().union(*(_codes_in(one, depth - 1) for one in evidence[:20]))
    return {str(evidence)[:10]} if isinstance(evidence, int) and abs(evidence) < 10**9 else set()
