"""A machine for all tests here, and neod installed on it for each."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from tests.systemd.machine import Impossible, Machine, machine
from tests.systemd.service import Service

ROOT = Path(__file__).parent.parent.parent
WITHOUT = "NEOD_TEST_WITHOUT_SYSTEMD"


def capture_of(request: pytest.FixtureRequest) -> CaptureManager:
    found = request.config.pluginmanager.get_plugin("capturemanager")
    assert isinstance(found, CaptureManager)
    return found


@pytest.fixture(scope="session")
def a_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """With a user's systemd. A machine that cannot have one says so, and is no success."""
    trees = {ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent}
    try:
        with machine(sorted(trees)) as made:
            yield made
    except Impossible as error:
        said = f"LOUD: nothing in tests/systemd/ is tested here: {error}"
        with capture_of(request).global_and_fixture_disabled():
            print(f"\n{said}", flush=True)
        if os.environ.get(WITHOUT) == "1":
            pytest.skip(said)
        pytest.fail(f"{said}; {WITHOUT}=1 lets that pass", pytrace=False)


@pytest.fixture
def service(a_machine: Machine) -> Iterator[Service]:
    """The units in their place, not started, and nothing left of the test before."""
    made = Service(a_machine)
    made.put_units()
    try:
        yield made
    finally:
        made.clear()
