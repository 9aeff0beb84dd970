"""Under `neod demo` for half a minute, a client that reads all the time never sees an error."""

import base64
import json
import time

import pytest

from neoctl import client
from tests.fakes.process import Home, Process

pytestmark = pytest.mark.outer


def expiry(token: str) -> float:
    claims = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])


def test_a_reader_every_20_ms_for_30_s_sees_no_error_and_no_lapsed_token(home: Home) -> None:
    errors: list[str] = []
    tokens: set[str] = set()
    reads = 0
    with Process("demo", "--for", "40", environ=home.environ) as demo:
        assert demo.popen.stdout
        for line in demo.popen.stdout:
            if "logged in" in line:
                break
        end = time.monotonic() + 30
        while time.monotonic() < end:
            asked = time.time()  # noqa: TID251 - a bot has no clock to take
            try:
                token = client.get("/v1/token", environ=home.environ).body.decode().strip()
            except client.Problem as problem:
                errors.append(f"{problem.code}: {problem}")
                continue
            if expiry(token) <= asked:
                errors.append("a token past its exp")
            tokens.add(token)
            reads += 1
            time.sleep(0.02)  # the pace of a reader, not a wait for something
        demo.stop()

    assert errors == []
    assert len(tokens) > 5
    assert reads > 500
    print(f"{reads} reads, {len(tokens)} tokens")
