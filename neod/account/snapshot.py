"""What a login brought -> the session that is served. Pure.

`expires_at` is the earlier of the token's end and the bearer's, since the API wants both alive.
"""

import math
from typing import TypedDict

import msgspec

from neod.account.edge import slack
from neod.account.session import Held, Session
from neod.account.token import FAR_FUTURE, BadToken, read_claims
from neod.clock import Clock, rfc3339
from neod.config import Account
from neod.kotak.flows import Bearer, Login

DATE_ERROR = 2.0  # seconds that a Date header may be off, by rounding and by the way it took
Moment = tuple[float, float]  # wall clock, CLOCK_BOOTTIME


def from_login(
    account: Account,
    login: Login,
    generation: int,
    *,
    sent: Moment,
    clock: Clock,
    ahead: float | None = None,
) -> Held:
    """The session of a login whose first request went out at `sent`.

    `ahead` is how many seconds this clock is ahead of the broker's, as far as is known: behind
    it, a token would be thought to live longer than it does.
    """
    reply, claims = login.reply, login.claims
    now = clock.wall()
    behind = max(0.0, -(ahead or 0.0) - DATE_ERROR)
    bearer_end = _bearer_end(login.bearer, sent)
    session = Session(
        account=account.name,
        generation=generation,
        kind=login.kind,
        token=reply.token,
        sid=reply.sid,
        rid=reply.rid,
        server_id=reply.server_id,
        base_url=reply.base_url,
        ucc=reply.ucc,
        greeting_name=reply.greeting_name,
        data_center=reply.data_center,
        is_trial_account=reply.is_trial_account,
        password_expired=reply.password_expired,
        scope=claims.scope,
        source_address=account.source_address,
        headers=login.headers,
        extra=reply.extra,
        **_times(claims.issued_at or math.floor(now), claims.expires_at, bearer_end),
    )
    return Held(
        session=session,
        received_at=now,
        token_boot=clock.boot() + claims.expires_at - now - behind,
        bearer_received_at=sent[0],
        bearer_boot=_bearer_boot(login.bearer, sent),
        bearer_renewable=not login.bearer.ready,
    )


def with_bearer(old: Held, bearer: Bearer, generation: int, sent: Moment) -> Held:
    """The same session with another bearer, that was asked for at `sent`."""
    before = old.session
    session = msgspec.structs.replace(
        before,
        generation=generation,
        headers={**before.headers, "Authorization": f"Bearer {bearer.token.reveal()}"},
        **_times(before.issued_at, before.token_expires_at, _bearer_end(bearer, sent)),
    )
    new_end, old_end = session.bearer_expires_at, before.bearer_expires_at
    return msgspec.structs.replace(
        old,
        session=session,
        bearer_received_at=sent[0],
        bearer_boot=_bearer_boot(bearer, sent),
        bearer_stuck=new_end is not None
        and old_end is not None
        and new_end <= old_end + slack(old_end - old.bearer_received_at),
    )


def ready_until(access_token: str) -> int | None:
    """When a ready access token ends, epoch seconds: None if it is no JWT that says so."""
    try:
        return read_claims(access_token).expires_at
    except BadToken:
        return None


def _bearer_end(bearer: Bearer, sent: Moment) -> int | None:
    if bearer.ready:
        return ready_until(bearer.token.reveal())
    if bearer.expires_in is None:
        return None
    return math.floor(min(sent[0] + max(0.0, bearer.expires_in), FAR_FUTURE))


def _bearer_boot(bearer: Bearer, sent: Moment) -> float | None:
    end = _bearer_end(bearer, sent)
    return None if end is None else sent[1] + end - sent[0]


class _Times(TypedDict):
    issued_at: int
    issued_at_rfc3339: str
    expires_at: int
    expires_at_rfc3339: str
    token_expires_at: int
    token_expires_at_rfc3339: str
    bearer_expires_at: int | None
    bearer_expires_at_rfc3339: str | None


def _times(issued_at: int, token_end: int, bearer_end: int | None) -> _Times:
    end = token_end if bearer_end is None else min(token_end, bearer_end)
    return {
        "issued_at": issued_at,
        "issued_at_rfc3339": rfc3339(issued_at),
        "expires_at": end,
        "expires_at_rfc3339": rfc3339(end),
        "token_expires_at": token_end,
        "token_expires_at_rfc3339": rfc3339(token_end),
        "bearer_expires_at": bearer_end,
        "bearer_expires_at_rfc3339": None if bearer_end is None else rfc3339(bearer_end),
    }
