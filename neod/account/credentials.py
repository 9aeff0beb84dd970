"""An account's secrets, read and put where its flow wants them. Sends nothing.

The credentials live as long as the login that reads them; what is kept of them is a fingerprint.
"""

from collections.abc import Collection, Mapping

from neod.account import totp
from neod.account.snapshot import ready_until
from neod.clock import rfc3339
from neod.config import Account
from neod.kotak.flows import Consumer, Password, Totp
from neod.secrets import Secret, SecretUnavailable, read

Credentials = Password | Totp


async def read_all(
    account: Account, environ: Mapping[str, str], hide: Collection[str]
) -> dict[str, Secret]:
    """The account's secrets by their keys, in an order that does not change.

    Programs that are asked for one do not see the variables to `hide`. Raises SecretUnavailable.
    """
    return {source.key: await read(source, environ, hide=hide) for source in account.secrets}


def to_fingerprint(account: Account, found: Mapping[str, Secret]) -> list[str]:
    """All that the broker judges a login by: if any of it changes, it is another login."""
    secrets = [secret.reveal() for secret in found.values()]
    return [account.flow, *account.identity, account.ucc, *secrets]


def credentials(account: Account, found: Mapping[str, Secret], now: float) -> Credentials:
    """What the account's flow is made of. Raises SecretUnavailable for what cannot be of use."""
    mpin = found[account.mpin.key] if account.mpin else None
    if account.access_token:
        ready = found[account.access_token.key]
        end = ready_until(ready.reveal())
        if end is not None and end <= now:
            raise SecretUnavailable(
                account.access_token,
                f"this access token ended at {rfc3339(end)}",
                "make a new one in the developer portal",
            )
    if account.flow == "totp":
        assert account.totp_secret is not None  # noqa: S101 - the configuration was checked
        totp_secret = found[account.totp_secret.key]
        try:
            totp.code(totp_secret.reveal(), 0)
        except totp.BadTotpSecret as error:
            raise SecretUnavailable(
                account.totp_secret, str(error), "copy it anew from where TOTP is registered"
            ) from None
        return Totp(account.identity[1], account.ucc, ready, totp_secret, mpin)
    assert account.password is not None  # noqa: S101 - as above
    if account.consumer:
        key, secret = (found[source.key] for source in account.consumer)
        access: Consumer | Secret = Consumer(key, secret)
    else:
        access = ready
    return Password(
        account.identity, found[account.password.key], access, account.second_factor, mpin
    )
