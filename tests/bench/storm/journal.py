"""What the broker wrote down, as the judge reads it."""

import json
from pathlib import Path

import msgspec

ORDERS = "/quick/user/orders"  # where neod asks whether a session is alive
GARBLED = ("cut", "wrong-type")  # faults after which neod has not understood an answer
SLOW = 5.0  # seconds that an answer with this fault comes late, at most
REQUEST_TIME = 6.0  # seconds from one request of a login to the next, at most
TOTP_STEP = 30.0  # seconds that a code that was used is waited out, at most
READY = 1.0  # seconds from the decision to the first request: secrets are read


class Line(msgspec.Struct):
    """One answer, or one fault that a request met; an answer may follow it, of the same request."""

    at: float
    account: str
    step: str | None
    path: str
    used: str  # the token that the request carried
    locked: bool
    refused: bool
    dead: bool  # the session, by what was answered
    fault: str = ""
    token: str | None = None
    sid: str | None = None
    spoilt: str = ""  # by which fault the answer was
    mistyped: bool = False  # the password is not the right one

    @property
    def tries(self) -> bool:
        """True if credentials were in the request."""
        return self.step in ("login", "validate")

    @property
    def accepts(self) -> bool:
        """True if it ends a login well."""
        return self.step == "validate" and bool(self.token)


class Journal:
    """The lines so far."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        self.dead: dict[str, float] = {}  # token -> when neod was told that it is
        self.sids = set[str]()
        self._path = path
        self._read = 0

    def follow(self) -> list[Line]:
        """Read on; returns what is new."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            raw = file.read()
        whole, newline, _ = raw.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        new = [msgspec.convert(json.loads(text), Line) for text in whole.splitlines()]
        for line in new:
            self._add(line)
        return new

    def _add(self, line: Line) -> None:
        before = self.lines[-1] if self.lines else None
        if before and before.fault and not line.fault and before.path == line.path:
            line.spoilt = before.fault
        self.lines.append(line)
        if line.sid:
            self.sids.add(line.sid)
        if line.dead and line.path.endswith(ORDERS):
            self.dead.setdefault(line.used, line.at)

    def of(self, account: str) -> list[Line]:
        """The account's requests with credentials, a line each."""
        met = self.lines[1:]
        doubled = {id(one) for one, after in zip(self.lines, met, strict=False) if after.spoilt}
        return [
            line
            for line in self.lines
            if line.account == account and line.tries and id(line) not in doubled
        ]

    def begin(self, line: Line) -> float:
        """When the login was decided on that this request is of, at the earliest."""
        if line.account == "codes":
            return line.at - TOTP_STEP - REQUEST_TIME - READY
        before = [one for one in self.lines if one.at <= line.at]
        firsts = [one.at for one in before if (one.account, one.step) == (line.account, "login")]
        begin = max([line.at - REQUEST_TIME, *firsts]) if line.step == "validate" else line.at
        bearers = [one.at for one in before if one.step == "bearer"]
        bearers = [at for at in bearers if begin - REQUEST_TIME <= at <= begin]
        return min([begin, *bearers]) - READY
