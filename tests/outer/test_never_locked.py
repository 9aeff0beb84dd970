"""P3 at length: whatever the sandbox's faults, the account is never locked by neod itself.

The same property as in tests/test_promises.py, over more runs, drawn by $NEOD_TEST_SEED. Hypothesis
prints the script of a run that fails. The one way to be locked that nothing can be done about is a
password that was good, was changed at the broker, and every reply that says so is lost.
"""

import os
from collections import Counter

import pytest
from hypothesis import given, seed, settings

from tests.fakes.script import Answered, Refused
from tests.test_promises import P3, PHASES, Story, refusing

pytestmark = pytest.mark.outer

RUNS = 500
SEED = int(os.environ.get("NEOD_TEST_SEED", "20261124"))


def test_p3_over_500_runs_the_account_is_never_locked() -> None:
    print(f"seed {SEED}")
    seen: Counter[str] = Counter()

    @seed(SEED)
    @settings(max_examples=RUNS, database=None, deadline=None, phases=PHASES)
    @given(refusing)
    def never(story: Story) -> None:
        trace = story.play()
        for check in P3:
            check(story, trace)
        seen["runs"] += 1
        seen["with a refusal"] += any(isinstance(entry, Refused) for entry in trace)
        seen["with an answer"] += any(isinstance(entry, Answered) for entry in trace)

    never()
    print(seen)
    # It would be no news about runs in which nothing was refused.
    assert seen["runs"] >= RUNS
    assert seen["with a refusal"] > RUNS / 10
    assert seen["with an answer"] > RUNS / 2
