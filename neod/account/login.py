"""One login, or one bearer, from credentials to a session that can be held.

Between the talk with the broker and the keeper, which publishes what comes of it. Decides nothing.
"""

import msgspec

from neod.account.credentials import Credentials
from neod.account.dialogue import Dialogue
from neod.account.edge import gained_nothing
from neod.account.policy import Life
from neod.account.session import Held
from neod.account.snapshot import from_login, with_bearer
from neod.clock import Clock
from neod.config import Account
from neod.kotak.flows import Consumer, Password, Totp, bearer_flow, password_flow, totp_flow
from neod.kotak.replies import LoginFailed


async def log_in(
    account: Account,
    usable: Credentials,
    talk: Dialogue,
    old: Life | None,
    generation: int,
    clock: Clock,
) -> Held:
    """Log in; `old` is the life of the session that this renews, None if none is valid.

    Raises LoginFailed, NotWritten, CalledOff.
    """
    sent = clock.wall(), clock.boot()
    if isinstance(usable, Totp):
        login = await talk.play(totp_flow(usable, account.endpoints))
    else:
        login = await talk.play(password_flow(usable, account.endpoints))
    held = from_login(account, login, generation, sent=sent, clock=clock, ahead=talk.skew)
    _refuse_lapsed(held, clock)
    before = None if old is None else (old.begin, old.end)
    return msgspec.structs.replace(held, stuck=gained_nothing(before, span(held)))


async def renew_bearer(
    account: Account, usable: Password, talk: Dialogue, old: Held, generation: int, clock: Clock
) -> Held:
    """Get the session another bearer. Raises LoginFailed, NotWritten."""
    assert isinstance(usable.access, Consumer)  # noqa: S101 - else it is not renewable
    sent = clock.wall(), clock.boot()
    bearer = await talk.play(bearer_flow(usable.access, account.endpoints))
    held = with_bearer(old, bearer, generation, sent)
    if held.bearer_left(clock) <= 0:
        _refuse_lapsed(held, clock)
    return held


def span(held: Held) -> tuple[float, float]:
    """When the token came, and its end."""
    return held.received_at, float(held.session.token_expires_at)


def _refuse_lapsed(held: Held, clock: Clock) -> None:
    if held.left(clock) <= 0:
        raise LoginFailed(
            "unintelligible",
            "the login was accepted, and what it brought had ended already, at "
            f"{held.session.expires_at_rfc3339} by the broker's clock",
            "check this machine's clock: timedatectl",
        )
