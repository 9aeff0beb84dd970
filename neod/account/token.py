"""A session token -> what it says of itself. Pure; compares nothing with any clock.

Kotak publishes no key, so the signature of a token cannot be checked and is not: neod takes
what it got over verified TLS at its word, as every client of Kotak's does.
"""

import math
import re

import jwt
import msgspec

FAR_FUTURE = 253_402_300_799 - 19_800  # the last second that India can write in RFC 3339
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Claims(msgspec.Struct, frozen=True):
    """The claims that neod uses."""

    expires_at: int  # epoch seconds, rounded down
    issued_at: int | None  # epoch seconds
    subject: str
    scope: tuple[str, ...]


class BadToken(ValueError):  # noqa: N818 - it is the token that is bad
    """Not a token that can be kept: the message says why, and holds nothing of the token."""


def read_claims(token: str) -> Claims:
    """Read a JWT without its signature.

    Raises BadToken where it is no JWT, or where it does not say when it ends: a session whose
    end is not known cannot be served with a promise that it is alive.
    """
    if not _COMPACT.fullmatch(token):
        raise BadToken("the token is no JWT")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise BadToken("the token is no JWT") from None
    if "exp" not in claims:
        raise BadToken("the token has no exp, so there is no telling when it lapses")
    expires_at = _seconds(claims["exp"])
    if expires_at is None:
        raise BadToken("the token's exp is no time")
    scope = claims.get("scope", ())
    if isinstance(scope, str):
        scope = scope.split()
    subject = claims.get("sub")
    return Claims(
        expires_at=expires_at,
        issued_at=_seconds(claims.get("iat")),
        subject=subject if isinstance(subject, str) else "",
        scope=tuple(s for s in scope if isinstance(s, str)) if isinstance(scope, list) else (),
    )


def _seconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= FAR_FUTURE:  # which what is not a number is not
        return None
    return math.floor(value)
