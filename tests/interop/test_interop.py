"""Kotak's own SDK, unchanged and from PyPI, at the sandbox: what it takes for Kotak is like Kotak.

The SDK is the only public program that says what Kotak wants, so it is what the sandbox, and what
neod hands out, are held against. It lives in a venv of its own, since it pins and pulls in what
neod does not want. Nothing here reaches Kotak: see tests/interop/loopback.py.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import msgspec
import pytest

from neod.clock import SYSTEM
from neod.sandbox.broker import Broker, Credentials
from neod.sandbox.serve import totp_settings_to_paste
from tests.fakes.process import Home, Neod, Sandbox

pytestmark = pytest.mark.outer
ROOT = Path(__file__).parents[2]
# Read at import: a fixture takes what begins with NEOD_ out of the environment.
PYTHON = Path(os.environ.get("NEOD_TEST_SDK_PYTHON", ROOT / ".venv-interop/bin/python"))
INSTALL = "python3 -m venv .venv-interop && .venv-interop/bin/pip install kotakneoapi==3.0.9 pyotp"

WHO = Credentials()
NO_ORDERS = 5203
DEAD = 100022
VIEW_ONLY = 100021
UNAUTHORIZED = 100008

Answer = dict[str, object]


@pytest.fixture
def sdk() -> Path:
    """The interpreter that has Kotak's SDK. Without it there is nothing to hold neod against."""
    if not PYTHON.is_file():
        pytest.fail(f"Kotak's SDK is not at {PYTHON}; to have it, run: {INSTALL}")
    return PYTHON


@pytest.fixture
def neod(home: Home, sandbox: Sandbox) -> Iterator[Neod]:
    """`neod run` with a session of the TOTP flow."""
    home.configure(sandbox.url, text=totp_settings_to_paste("URL", Broker()))
    with Neod(home) as running:
        asked = home.neoctl("token", "--wait", "20")
        assert asked.returncode == 0, asked.stderr + running.stop()[2]
        yield running


def environ(home: Home) -> dict[str, str]:
    """What a user's program sees: `neoctl` on the PATH, and nothing of a proxy."""
    bin_ = Path(sys.executable).parent
    return {
        **home.environ,
        "PATH": f"{bin_}{os.pathsep}{home.environ['PATH']}",
        "PYTHONPATH": os.fspath(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NEO_LOG_LEVEL": "NOLOG",  # or the SDK logs among the answers on stdout
    }


def recipe() -> str:
    """The program in docs/clients.md, to the letter."""
    text = (ROOT / "docs/clients.md").read_text()
    section = text.partition("## Kotak's own SDK with neod's session\n")[2]
    found = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def steer(sandbox: Sandbox, what: str = "", **fields: object) -> Answer:
    """Have the sandbox do something, or nothing; its state."""
    url = f"{sandbox.url}sandbox{what}"
    answer = httpx.post(url, json=fields) if what else httpx.get(url)
    return dict(answer.raise_for_status().json())


def attempts(sandbox: Sandbox) -> tuple[object, ...]:
    state = steer(sandbox)
    return state["logins"], state["trades"], state["refused"]


def session_of(home: Home) -> Answer:
    return dict(json.loads(home.neoctl("session").stdout))


def code_of(said: object) -> object:
    """Which of Kotak's codes an answer of the SDK's bears."""
    assert isinstance(said, dict)
    return said.get("stCode")


def log_in(sdk: Path, home: Home, sandbox: Sandbox, who: Credentials = WHO) -> Answer:
    """What the SDK answers to each call, as `who` logs in and reads."""
    told = {**msgspec.to_builtins(who), "base_url": f"{sandbox.url}base"}
    ended = subprocess.run(
        [sdk, "-m", "tests.interop.sdk_login", sandbox.url],
        cwd=home.folder,
        env=environ(home),
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


class Borrower:
    """The document's program, which goes on to do as it is told: see sdk_borrow.py."""

    def __init__(self, sdk: Path, home: Home, sandbox: Sandbox) -> None:
        self.popen = subprocess.Popen(
            [sdk, "-m", "tests.interop.sdk_borrow", sandbox.url],
            cwd=home.folder,
            env=environ(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.orders = self.say(json.dumps(recipe()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def say(self, line: str) -> object:
        """One step, and its answer."""
        assert self.popen.stdin
        assert self.popen.stdout
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline()
        assert answer, self.popen.communicate()[1]
        return json.loads(answer)

    def pretend(self, **fields: object) -> None:
        """Set fields of the SDK's configuration."""
        self.say(json.dumps(fields))


def test_the_sdk_logs_in_at_the_sandbox_and_reads(sdk: Path, home: Home, sandbox: Sandbox) -> None:
    said = log_in(sdk, home, sandbox)

    view, trade = said["login"], said["validate"]
    assert isinstance(view, dict)
    assert isinstance(trade, dict)
    assert view["data"]["kType"] == "View"
    assert trade["data"]["kType"] == "Trade"
    assert trade["data"]["baseUrl"] == f"{sandbox.url}base"
    assert code_of(said["orders with view token"]) == VIEW_ONLY
    assert code_of(said["orders"]) == NO_ORDERS
    assert code_of(said["limits"]) == 200
    assert isinstance(said["ip"], dict)
    assert said["ip"]["data"][0]["ip"] == "127.0.0.1"
    assert attempts(sandbox) == (1, 1, 0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("totp_secret", "WRONGWRONGWRONGWRONGWRONGWRONGWR"),
        ("access_token", "another"),
        ("mobile", "+919999996709"),
        ("ucc", "D2015"),
    ],
)
def test_the_sdk_is_not_let_in_with_another(
    sdk: Path, home: Home, sandbox: Sandbox, field: str, wrong: str
) -> None:
    said = log_in(sdk, home, sandbox, msgspec.structs.replace(WHO, **{field: wrong}))

    assert isinstance(said["login"], dict)
    assert "data" not in said["login"]
    assert isinstance(said["validate"], dict)
    assert "data" not in said["validate"]
    assert said["orders"] == said["orders with view token"]  # the SDK's own: log in first
    assert code_of(said["orders"]) is None
    assert attempts(sandbox) == (0, 0, 1)


def test_the_sdk_gets_no_trade_token_with_another_mpin(
    sdk: Path, home: Home, sandbox: Sandbox
) -> None:
    said = log_in(sdk, home, sandbox, msgspec.structs.replace(WHO, mpin="000000"))

    assert isinstance(said["validate"], dict)
    assert said["validate"]["errMsg"] == "Invalid MPIN"
    assert code_of(said["orders"]) is None
    assert attempts(sandbox) == (1, 0, 1)


def test_the_documents_program_reads_with_neods_session_and_logs_in_nowhere(
    sdk: Path, home: Home, sandbox: Sandbox, neod: Neod
) -> None:
    before = attempts(sandbox)
    with Borrower(sdk, home, sandbox) as borrower:
        assert code_of(borrower.orders) == NO_ORDERS
        assert code_of(borrower.say("limits")) == 200
        assert code_of(borrower.say("ip")) == 1000

    assert before == attempts(sandbox) == (1, 1, 0)


def test_the_documents_program_follows_a_rotation(
    sdk: Path, home: Home, sandbox: Sandbox, neod: Neod
) -> None:
    """It takes a while: a TOTP is good for one login, so the second waits for the next code."""
    with Borrower(sdk, home, sandbox) as borrower:
        old = session_of(home)
        renewed = subprocess.run(
            [sys.executable, "-m", "neoctl", "renew"], env=home.environ, check=False, timeout=80
        )
        assert renewed.returncode == 0
        new = session_of(home)
        assert new["sid"] != old["sid"]
        steer(sandbox, "/kill", sid=old["sid"])

        assert code_of(borrower.say("orders")) == DEAD
        borrower.say("borrow")
        assert code_of(borrower.say("orders")) == NO_ORDERS

        # No new token with an old sid.
        borrower.pretend(edit_sid=old["sid"])
        assert code_of(borrower.say("orders")) == DEAD
    assert attempts(sandbox) == (2, 2, 0)


def test_the_documents_program_rejects_a_dead_session_and_goes_on_with_the_next(
    sdk: Path, home: Home
) -> None:
    """It takes a while: a session is believed to be dead from a quarter of its life on."""
    life = 40
    with Sandbox("--life", f"{life}") as sandbox:
        home.configure(sandbox.url, text=totp_settings_to_paste("URL", Broker()))
        with Neod(home):
            assert home.neoctl("token", "--wait", "20").returncode == 0
            born = session_of(home)["issued_at"]
            assert isinstance(born, (int, float))
            time.sleep(max(0.0, born + life / 4 + 1 - SYSTEM.wall()))
            steer(sandbox, "/kill")
            with Borrower(sdk, home, sandbox) as borrower:
                assert code_of(borrower.orders) == DEAD

                borrower.say("borrow")
                assert code_of(borrower.say("orders")) == NO_ORDERS
            [reject] = [
                entry
                for entry in json.loads(home.neoctl("logins", "--json").stdout)["logins"]
                if entry["event"] == "reject"
            ]
            assert reject["outcome"] == "dead"  # which the broker told neod too
            assert attempts(sandbox) == (2, 2, 0)


@pytest.mark.parametrize(
    ("field", "step", "code"),
    [
        ("edit_token", "orders", DEAD),
        ("edit_token", "limits", DEAD),
        ("edit_sid", "orders", DEAD),
        ("edit_sid", "limits", DEAD),
        ("consumer_key", "ip", UNAUTHORIZED),
    ],
)
def test_a_session_with_one_part_wrong_is_refused(
    sdk: Path, home: Home, sandbox: Sandbox, neod: Neod, field: str, step: str, code: int
) -> None:
    with Borrower(sdk, home, sandbox) as borrower:
        borrower.pretend(**{field: "wrong"})

        assert code_of(borrower.say(step)) == code

        borrower.say("borrow")
        assert code_of(borrower.say("orders")) == NO_ORDERS


def test_the_session_is_of_no_use_at_another_base_url(
    sdk: Path, home: Home, sandbox: Sandbox, neod: Neod
) -> None:
    """Without it the SDK falls back to a host of Kotak's, where its session's orders are not."""
    with Borrower(sdk, home, sandbox) as borrower:
        borrower.pretend(base_url=None)

        assert borrower.say("orders") == {"code": "404", "message": "No matching resource found"}


@pytest.mark.parametrize(
    "program",
    [
        "loopback.Loopback('http://127.0.0.1:9/').handle_request(httpx.Request('GET', URL))",
        "loopback.stay_here(); socket.create_connection(('192.0.2.1', 9), timeout=1)",
        "loopback.stay_here(); socket.socket().connect(('192.0.2.1', 9))",
    ],
)
def test_nothing_but_the_sandbox_can_be_asked(sdk: Path, home: Home, program: str) -> None:
    """192.0.2.1 is nobody's (RFC 5737)."""
    imports = "import httpx, socket; from tests.interop import loopback; URL = 'http://192.0.2.1/'"
    ended = subprocess.run(
        [sdk, "-c", f"{imports}\ntry:\n    {program}\nexcept Exception:\n    pass"],
        cwd=home.folder,
        env=environ(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ended.returncode == 1
    assert "a request for 192.0.2.1: only the sandbox" in ended.stderr
