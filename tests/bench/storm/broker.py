"""The sandbox of the storm, as a process: secrets that can be recognised, and a journal.

A line of the journal is written before the answer that it tells of goes out, so that nothing that
neod was told is missing from it, whoever is killed. It names the account by what stands in the
request; tokens stand in it, so it is kept away from where leaks are looked for.
"""

import argparse
import json
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import trio

from neod import config
from neod.clock import SYSTEM
from neod.ipc.clients import Client
from neod.ipc.conversation import converse
from neod.ipc.http1 import Request, Response, Stream
from neod.sandbox.broker import Broker, Credentials, Settings
from neod.sandbox.faults import Fault, Faults, step_of
from neod.sandbox.serve import Sandbox, listen, url_of

WHO = Credentials(
    consumer_key="Key-Canary-consumer-6601",
    consumer_secret="Secret-Canary-consumer-6602",
    access_token="Access-Canary-token-6603",
    password="Word-Canary-password-6604",
    mpin="Mpin-Canary-6605",
    totp_secret="CANARYBIRDCANARYBIRDCANARYBIRD66",
)
REFUSALS = ("credentials", "mpin", "totp-wrong", "stcode-401", "stcode-429-ucc")
_asking: ContextVar[tuple[str, bytes, Mapping[str, str]]] = ContextVar("asking")


def fields_of(body: bytes) -> dict[str, object]:
    """What a request says in JSON; nothing where it is none."""
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def whose(path: str, body: bytes) -> str:
    """Which of the storm's accounts a login is of; each has an identity of its own."""
    if "/tradeApi" in path:
        return "codes"
    fields = fields_of(body)
    return "main" if "mobileNumber" in fields else "family" if "pan" in fields else ""


def mistyped(body: bytes) -> bool:
    """True if the password of a first factor is not the right one."""
    return fields_of(body).get("password", WHO.password) != WHO.password


class Journal:
    def __init__(self, path: Path, broker: Broker) -> None:
        self._file = path.open("a", buffering=1)
        self._broker = broker

    def write(self, **fields: object) -> None:
        path, body, headers = _asking.get()
        line = {
            "at": time.time(),  # noqa: TID251 - a bench has no other clock
            "account": whose(path, body),
            "step": step_of(path, headers),
            "path": path,
            "used": headers.get("auth", ""),
            "locked": self._broker.locked,
            "mistyped": mistyped(body),
            "in_a_row": self._broker.refusals,
            **fields,
        }
        self._file.write(json.dumps(line) + "\n")


class Noted(Faults):
    """Faults, each of which is written down when it is met."""

    journal: Journal

    def next(self, path: str, headers: Mapping[str, str]) -> Fault | None:  # type: ignore[override]
        fault = super().next(path, headers)
        if fault is not None:
            reply = fault.reply
            dead = reply is not None and b"100022" in reply.body
            self.journal.write(fault=fault.name, refused=fault.name in REFUSALS, dead=dead)
        return fault


class Recording(Sandbox):
    """The sandbox, which writes down what the broker itself says."""

    def __init__(self, broker: Broker, faults: Noted, journal: Journal) -> None:
        super().__init__(broker, faults, SYSTEM, lambda _path, _status: None)
        self._journal = journal

    async def respond(
        self, stream: trio.SocketStream, request: Request, body: bytes, client: Client | None
    ) -> Response:
        _asking.set((request.path, body, request.headers))
        return await super().respond(stream, request, body, client)

    def _ask(self, request: Request, body: bytes) -> Response:
        broker = self._broker
        before = broker.refused
        answer = super()._ask(request, body)
        data: object = None
        if answer.status == 200:
            data = json.loads(answer.body or b"{}").get("data")
        given = data if isinstance(data, dict) and "token" in data else {}
        self._journal.write(
            status=answer.status,
            refused=broker.refused > before,
            dead=b"100022" in answer.body,
            token=given.get("token"),
            sid=given.get("sid"),
        )
        return answer


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--life", type=float, required=True)
    options = parser.parse_args()
    broker = Broker(
        Settings(life=options.life, bearer_life=round(options.life * 0.7), credentials=WHO)
    )
    listener = await listen(options.port)
    broker.url = url_of(listener)
    journal = Journal(options.journal, broker)
    faults = Noted()
    faults.journal = journal
    sandbox = Recording(broker, faults, journal)

    async def handle(stream: trio.SocketStream) -> None:
        async def respond(
            request: Request, body: bytes, client: Client | None
        ) -> Response | Stream:
            return await sandbox.respond(stream, request, body, client)

        await converse(stream, respond, config.Server())

    print("listening", flush=True)
    await trio.serve_listeners(handle, [listener])


if __name__ == "__main__":
    trio.run(partial(main))
