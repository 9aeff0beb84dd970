"""Which TOTP to send, and when: never the same twice, never one that is about to turn. Pure."""

import binascii

import pyotp

STEP = 30  # seconds
LAST = 2.0  # seconds before the end of a step in which no code is sent: it may arrive too late
CERTAIN = 1.5  # seconds that a clock may seem off by the rounding of a Date alone


class BadTotpSecret(ValueError):  # noqa: N818
    """Not a secret that codes can be made of."""


def code(secret: str, step: int) -> str:
    """The six digits of a step. Raises BadTotpSecret; its message holds nothing of the secret."""
    try:
        return pyotp.TOTP(secret.replace(" ", "")).generate_otp(step)
    except (binascii.Error, ValueError, TypeError):
        raise BadTotpSecret("it is no base32, as the app shows it") from None


def next_step(now: float, ahead: float, used: int) -> tuple[int, float]:
    """The step whose code to send next, and how many seconds to wait until it may be sent.

    `ahead` is how many seconds the clock that shows `now` is ahead of the broker's; `used` the
    last step whose code was sent.
    """
    there = now - ahead if abs(ahead) > CERTAIN else now
    step, into = divmod(there, STEP)
    if step > used and STEP - into > LAST:
        return int(step), 0.0
    step = max(int(step) + 1, used + 1)
    return step, step * STEP - there + 0.1
