"""What several test files need. No fixture here holds a clock: see tests/fakes/clock.py."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.fakes.process import Home, Sandbox
from tests.fakes.streams import Door

# The machine that runs this is noisy: a slow example is no failure.
settings.register_profile("neod", deadline=None)
settings.register_profile("long", deadline=None, max_examples=150_000)
# The same examples for each mutant, and the first that fails is enough.
settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile(os.environ.get("NEOD_TEST_PROFILE", "neod"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A user's folders."""
    return Home(tmp_path)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose sessions live to midnight in India, as Kotak's do."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """The URL of a port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell's background job inherits the signal as ignored, and so would what a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_environment_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must not find, nor change, the configuration of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("NEOD_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _doors_are_closed() -> Iterator[None]:
    yield
    Door.close_all()
