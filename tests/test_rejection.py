"""What a bot's word that its session was refused is worth, as a table of situations."""

import pytest

from neod.account.policy import Life
from neod.account.rejection import weigh
from neod.kotak.evidence import Evidence

NOW = 1_700_000_000.0
DEAD, BEARER = Evidence("session", "dead"), Evidence("bearer", "dead bearer")
OTHER = Evidence("other", "another address")


def has_lived(
    age: float,
    lives: float = 3600.0,
    *,
    alive: bool = True,
    bearer_age: float = 0.0,
    bearer_lives: float | None = None,
    renewable: bool = True,
) -> Life:
    bearer_begin = NOW - bearer_age
    return Life(
        begin=NOW - age,
        end=NOW - age + lives,
        alive=alive,
        bearer_begin=bearer_begin,
        bearer_end=None if bearer_lives is None else bearer_begin + bearer_lives,
        bearer_renewable=renewable,
    )


@pytest.mark.parametrize(
    ("life", "evidence", "young"),
    [
        (has_lived(0), DEAD, True),
        (has_lived(59.9), DEAD, True),
        (has_lived(60), DEAD, False),
        (has_lived(-1), DEAD, False),  # received by a clock that was wrong
        (has_lived(9.9, 40), DEAD, True),
        (has_lived(10, 40), DEAD, False),
        (has_lived(0.24, 0.9), DEAD, False),
        (has_lived(0, 0), DEAD, False),
        (has_lived(10, alive=False), DEAD, False),  # nobody has to ask the broker
        (has_lived(10, 10), DEAD, False),
        # A bearer that can be renewed alone counts from its own beginning.
        (has_lived(1000, bearer_age=59.9, bearer_lives=3600), BEARER, True),
        (has_lived(1000, bearer_age=60, bearer_lives=3600), BEARER, False),
        (has_lived(1000, bearer_age=9.9, bearer_lives=40), BEARER, True),
        (has_lived(1000, bearer_age=10, bearer_lives=40), BEARER, False),
        (has_lived(1000, bearer_age=1, bearer_lives=3600), DEAD, False),
        (has_lived(1000, bearer_age=1, bearer_lives=3600, renewable=False), BEARER, False),
        (has_lived(1, bearer_age=1000, bearer_lives=3600, renewable=False), BEARER, True),
        (has_lived(1000, bearer_age=1), BEARER, False),
        (has_lived(1, bearer_age=1000), BEARER, True),
        (has_lived(10, 10, bearer_age=1, bearer_lives=3600), BEARER, False),
    ],
)
def test_what_is_rejected_has_to_have_lived_a_minute_or_a_quarter_of_its_life(
    life: Life, evidence: Evidence, *, young: bool
) -> None:
    answer = weigh(NOW, life, 7, 7, evidence)

    assert (answer and answer.outcome) == ("too_young" if young else None)


def test_who_rejects_too_soon_is_told_from_when_on_it_is_believed() -> None:
    answer = weigh(NOW, has_lived(12, 200), 7, 7, DEAD)

    assert answer
    assert "generation 7 is 12 s old" in answer.detail
    assert "believed from 50 s on" in answer.detail


@pytest.mark.parametrize("generation", [6, 8])
def test_a_reject_of_another_generation_leads_to_nothing_whatever_it_says(generation: int) -> None:
    for evidence in (DEAD, BEARER, OTHER):
        answer = weigh(NOW, has_lived(1000), generation, 7, evidence)

        assert answer
        assert answer.outcome == "newer"


@pytest.mark.parametrize("age", [1, 1000, 5000])
def test_evidence_of_something_else_leads_to_nothing_and_its_meaning_is_told(age: float) -> None:
    answer = weigh(NOW, has_lived(age), 7, 7, OTHER)

    assert answer
    assert (answer.outcome, answer.detail) == ("not_a_session_fault", OTHER.says)
