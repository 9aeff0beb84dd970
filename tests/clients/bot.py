"""A bot that lives on neod's session, in Python's standard library: it follows the watch."""

import http.client
import json
import os
import socket
import sys
import threading
import time
from typing import NamedTuple

SOCKET = os.environ.get("NEOD_SOCKET", f"/run/user/{os.getuid()}/neod/neod.sock")
ACCOUNT = os.environ.get("NEOD_ACCOUNT", "main")
FAILURES = (OSError, http.client.HTTPException, ValueError)


class Session(NamedTuple):
    """What a bot needs of neod's; the others of its fields are in docs/protocol.md."""

    generation: int
    expires_at: int
    token: str
    headers: dict[str, str]


class Neod(http.client.HTTPConnection):
    """HTTP over neod's socket, with a timeout in seconds for each step."""

    def __init__(self, timeout: float) -> None:
        super().__init__("neod", timeout=timeout)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


class Follower:
    """Has the newest session: a thread follows rotations, and neod's own restarts."""

    def __init__(self) -> None:
        self._newest = Session(0, 0, "", {})
        self._dead = 0  # the generation that is not to be used again
        threading.Thread(target=self._follow, daemon=True).start()

    def session(self) -> Session | None:
        """The session to use now; None while there is none."""
        newest = self._newest
        usable = newest.generation != self._dead and time.time() < newest.expires_at
        return newest if usable else None

    def reject(self, session: Session, evidence: object) -> str:
        """The broker refused this session, and that is what it said. Returns what came of it."""
        told = {"account": ACCOUNT, "generation": session.generation, "evidence": evidence}
        neod = Neod(timeout=70)
        try:
            neod.request("POST", "/v1/reject", json.dumps(told))
            answer = json.load(neod.getresponse())
            outcome = str(answer.get("outcome") or answer["code"])
        except FAILURES:
            outcome = "unheard"
        finally:
            neod.close()
        if outcome in ("renewed", "newer", "deferred"):
            self._dead = session.generation
        return outcome

    def _follow(self) -> None:
        while True:
            neod = Neod(timeout=45)  # a heartbeat comes every 15 seconds
            try:
                # With the generation that we have, we are told only of what we missed.
                after = self._newest.generation
                neod.request("GET", f"/v1/watch?account={ACCOUNT}&after={after}")
                for line in neod.getresponse():
                    self._take(json.loads(line))
            except FAILURES:
                pass  # neod is not there, or went away: as good as the end of the watch
            finally:
                neod.close()
            say("waiting")
            time.sleep(1)

    def _take(self, told: dict[str, object]) -> None:
        match told:
            case {"event": "session", "session": dict(fields)}:
                self._newest = Session(*(fields[name] for name in Session._fields))
                say(f"session {self._newest.generation}, {len(self._newest.token)} bytes of token")
            case {"event": "expired", "generation": int(generation)}:
                self._dead = generation


def say(line: str) -> None:
    print(f"{line}\n", end="", flush=True)  # in one piece, whatever the other thread says


def main() -> None:
    neod = Follower()
    # A real bot calls the broker here, with session.headers. For this one a line on stdin is what
    # the broker answered to one call.
    for line in sys.stdin:
        answer, session = line.strip(), neod.session()
        if session is None:
            say("waiting")
        elif answer in ("401", "100022"):
            say(f"rejected {session.generation} {neod.reject(session, answer)}")
            if neod.session() is session:
                time.sleep(1)  # it is served on: no hurry


if __name__ == "__main__":
    main()
