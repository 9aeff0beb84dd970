"""Twenty seconds of the bench in which everything goes wrong at once, as CI has time for."""

import os
import random
from pathlib import Path

import pytest

from tests.bench.chaos import storm

pytestmark = pytest.mark.outer

SEED = int(os.environ.get("NEOD_TEST_SEED") or random.randrange(100_000))
SECONDS, LIFE = 20.0, 12.0


def test_no_promise_is_broken_while_everything_goes_wrong(tmp_path: Path) -> None:
    print(f"NEOD_TEST_SEED={SEED}")

    broken = storm(SECONDS, SEED, LIFE, tmp_path).judge.broken

    assert not broken, f"seed {SEED}: {broken[0]}"
