"""Which TOTP is sent, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.account.totp import LAST, STEP, BadTotpSecret, code, next_step

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B


@pytest.mark.parametrize(
    ("moment", "digits"), [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")]
)
def test_the_codes_are_those_of_rfc_6238(moment: int, digits: str) -> None:
    assert code(SECRET, moment // STEP) == digits


def test_a_secret_is_taken_with_the_spaces_that_the_app_shows() -> None:
    assert code("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", 1) == code(SECRET, 1)


@pytest.mark.parametrize("secret", ["1!", "é", "0189"])
def test_what_is_no_base32_is_no_secret_and_is_not_repeated(secret: str) -> None:
    with pytest.raises(BadTotpSecret) as bad:
        code(secret, 1)
    assert secret not in str(bad.value)


def test_in_the_middle_of_a_step_its_code_is_sent_at_once() -> None:
    assert next_step(300.0, 0.0, 0) == (10, 0.0)
    assert next_step(327.9, 0.0, 0) == (10, 0.0)


def test_within_the_last_two_seconds_of_a_step_the_next_is_waited_for() -> None:
    step, wait = next_step(328.5, 0.0, 0)

    assert step == 11
    assert 1.5 <= wait < 2


def test_a_code_that_was_sent_is_not_sent_again() -> None:
    step, wait = next_step(310.0, 0.0, 10)

    assert step == 11
    assert 20 <= wait < 21


def test_a_clock_that_is_ahead_or_behind_is_corrected_for() -> None:
    assert next_step(310.0 + 600, 600.0, 0)[0] == 10
    assert next_step(310.0 - 600, -600.0, 0)[0] == 10


def test_what_a_date_header_leaves_open_is_not_corrected_for() -> None:
    assert next_step(300.5, 1.0, 0) == (10, 0.0)


moments = st.floats(0, 4e9)


@given(moments, st.floats(-7200, 7200), st.integers(0, 4 * 10**9 // STEP))
def test_whatever_is_sent_is_new_and_not_about_to_turn(now: float, ahead: float, used: int) -> None:
    step, wait = next_step(now, ahead, used)

    assert step > used
    assert wait >= 0
    if wait == 0:
        there = now - ahead if abs(ahead) > 1.5 else now
        assert step * STEP <= there < step * STEP + STEP - LAST + 1e-6


@pytest.mark.parametrize(
    ("now", "ahead", "step", "wait"),
    [
        (327.999, 0.0, 10, 0.0),
        (328.0, 0.0, 11, 2.1),
        (300.0, 1.5, 10, 0.0),
        (300.0, -1.5, 10, 0.0),
        (300.0, 1.6, 10, 1.7),
        (329.0, -1.6, 11, 0.0),
    ],
)
def test_a_step_ends_two_seconds_early_and_a_clock_is_off_from_a_second_and_a_half_on(
    now: float, ahead: float, step: int, wait: float
) -> None:
    sent, after = next_step(now, ahead, 0)

    assert sent == step
    assert after == pytest.approx(wait)
