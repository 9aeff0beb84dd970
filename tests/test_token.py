"""Claims out of tokens, and what happens to tokens that have none."""

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.account.token import FAR_FUTURE, BadToken, read_claims
from neod.clock import rfc3339


def token_of(claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2ln"


def test_the_claims_are_read_without_a_key() -> None:
    claims = read_claims(
        token_of({"exp": 1687977000, "iat": 1687946442, "sub": "someone", "scope": ["View"]})
    )

    assert claims.expires_at == 1687977000
    assert claims.issued_at == 1687946442
    assert claims.subject == "someone"
    assert claims.scope == ("View",)


def test_an_expired_token_is_read_like_any_other_for_policy_to_judge() -> None:
    assert read_claims(token_of({"exp": 1})).expires_at == 1


def test_a_token_that_is_really_signed_is_read_too() -> None:
    signed = jwt.encode({"exp": 2_000_000_000}, "k" * 32, algorithm="HS256")

    assert read_claims(signed).expires_at == 2_000_000_000


def test_a_fraction_of_a_second_is_not_given_away() -> None:
    assert read_claims(token_of({"exp": 1000.9})).expires_at == 1000


def test_a_bearers_scope_is_a_string_of_words() -> None:
    assert read_claims(token_of({"exp": 1, "scope": "default other"})).scope == (
        "default",
        "other",
    )


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": None},
        {"exp": "1687977000"},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": -1},
        {"exp": 10**15},
        {"exp": [1]},
        [],
        "text",
        7,
        None,
    ],
)
def test_a_token_that_does_not_say_when_it_ends_is_bad(claims: object) -> None:
    with pytest.raises(BadToken):
        read_claims(token_of(claims))


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b", "a.b.c", "..", "a.b.c.d", "e30.e30.\r\nSid: x", "e30.e30.c\n", "é.é.é"],
)
def test_what_is_no_jwt_is_bad(token: str) -> None:
    with pytest.raises(BadToken):
        read_claims(token)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]*"))
def test_any_text_is_read_or_is_bad_and_the_message_holds_nothing_of_it(text: str) -> None:
    try:
        read_claims(text)
    except BadToken as error:
        assert len(text) < 10 or text not in str(error)


@pytest.mark.parametrize("exp", [0, 1, FAR_FUTURE])
def test_a_token_may_end_at_any_second_that_india_can_write(exp: int) -> None:
    assert read_claims(token_of({"exp": exp, "iat": exp})).expires_at == exp
    assert read_claims(token_of({"exp": 1, "iat": exp})).issued_at == exp
    assert rfc3339(FAR_FUTURE) == "9999-12-31T23:59:59+05:30"


def test_what_is_no_word_in_a_scope_is_left_out() -> None:
    assert read_claims(token_of({"exp": 1, "scope": ["View", 7, None]})).scope == ("View",)
    assert read_claims(token_of({"exp": 1, "scope": {"View": 1}})).scope == ()
