"""Kotak's SDK with a session that neod keeps. Run by the interpreter of the SDK's venv.

    python -m tests.interop.sdk_borrow SANDBOX <program of docs/clients.md, as a JSON string

It runs the program as it stands in the document, but that the sandbox's transport is put under it,
and prints the program's `orders`. After that each line on stdin is a step, answered by a line:
`borrow` to take neod's session anew, `orders`, `limits` or `ip` to ask Kotak, and a JSON object to
set fields of the SDK's configuration.
"""

import functools
import json
import sys
from collections.abc import Callable

import neo_api_client

from tests.interop.loopback import Loopback, stay_here


def main(sandbox: str) -> None:
    stay_here()
    made = neo_api_client.NeoAPI.__init__
    neo_api_client.NeoAPI.__init__ = functools.partialmethod(made, transport=Loopback(sandbox))
    program: dict[str, object] = {}
    exec(json.loads(sys.stdin.readline()), program)
    answer(program["orders"])
    kotak, borrow = program["kotak"], program["borrow"]
    assert isinstance(kotak, neo_api_client.NeoAPI)
    assert callable(borrow)
    steps: dict[str, Callable[[], object]] = {
        "borrow": lambda: borrow(kotak),
        "orders": kotak.order_report,
        "limits": kotak.limits,
        "ip": kotak.whatsmyip,
    }
    for line in sys.stdin:
        if line.startswith("{"):
            vars(kotak.configuration).update(json.loads(line))
            answer(None)
        else:
            answer(steps[line.strip()]())


def answer(said: object) -> None:
    print(json.dumps(said, default=repr), flush=True)  # the SDK puts exceptions into its answers


if __name__ == "__main__":
    main(sys.argv[1])
