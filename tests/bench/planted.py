"""The judge of the storm is judged: python -m tests.bench.planted [WORD …]

Small mistakes, such as a later change might bring in, are put one at a time into a copy of neod,
and the storm is run against each. Its verdict has to name the promise that is broken by it. Knows
of neod nothing but the text of its files, and of the storm nothing but what it prints; a text that
is no longer there, or is there twice, ends the bench at once.

With words, only the faults in whose name one of them is. --list tells all and runs none.

To reach: each fault named.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.bench.place import ROOT

COPIED = ("neod", "neoctl", "tests")
BROKEN = re.compile(r"^BROKEN (\S+) at ([0-9.]+) s \(seed [0-9]+\): (.*)$", re.MULTILINE)
SEED = 393  # in whose minute all is thrown that most of the faults take
LIFE = "20"  # seconds of a session: the shorter, the more logins there are to go wrong


class Edit(NamedTuple):
    path: str
    old: str
    new: str


class Fault(NamedTuple):
    what: str
    promise: str  # by which the verdict has to name it …
    told: str  # … and a word of what it has to say
    edits: tuple[Edit, ...]
    minutes: float = 1
    seed: int = SEED  # another where the fault takes what its plan has not


CLIENT, SERVER, CHILD = "neod/kotak/client.py", "neod/ipc/server.py", "neod/child.py"
KEEPER, POLICY = "neod/account/keeper.py", "neod/account/policy.py"
API, LEDGER, SESSION = "neod/ipc/api.py", "neod/account/ledger.py", "neod/account/session.py"
WATCH = "neod/ipc/watch.py"
FAULTS = (
    Fault(
        "a session that is being renewed is withheld",
        *("P1", "withheld"),
        (
            Edit(
                "neod/ipc/readiness.py",
                "if left >= wanted.min_valid and not too_old:",
                'if left >= wanted.min_valid and not too_old and standing.state != "renewing":',
            ),
        ),
    ),
    Fault(
        "a token is served for two seconds after its end",
        *("P2", "ended at"),
        (
            Edit(
                SESSION,
                "min(wall, self.token_boot - clock.boot())",
                "2 + min(wall, self.token_boot - clock.boot())",
            ),
        ),
    ),
    Fault(
        "a token that the broker has called dead is served on",
        *("P2", "called it dead"),
        (
            Edit(
                "neod/account/doubts.py",
                "        self._board.lapse()  # at once: a disk may take its time\n",
                "",
            ),
        ),
    ),
    Fault(
        "a restart forgets what was spent of the budget",
        *("P3", "allowed"),
        (
            Edit(
                LEDGER,
                "self._history = _fold(lines)",
                "self._history = msgspec.structs.replace(_fold(lines), logins=(), halves=())",
            ),
        ),
        minutes=2,
        seed=3033,
    ),
    Fault(
        "a budget that a reload makes smaller is not heeded",
        *("P3", "allowed"),
        (
            Edit(
                KEEPER,
                "before, self.account = self.account, wanted.account\n",
                "before, self.account = self.account, wanted.account\n"
                "        rules = msgspec.structs.replace(\n"
                "            self.account.rules, logins_per_10min=before.rules.logins_per_10min\n"
                "        )\n"
                "        self.account = msgspec.structs.replace(self.account, rules=rules)\n",
            ),
        ),
        minutes=2,
        seed=3033,
    ),
    Fault(
        "credentials are tried once more after a refusal",
        *("P3", "without a word"),
        (Edit(POLICY, "    if suspect.refusals:\n", "    if suspect.refusals > 1:\n"),),
        seed=5341,
    ),
    Fault(
        "a session is renewed at half of its life",
        *("P4", "without a cause"),
        (Edit(POLICY, "min(rules.margin, lives / 4)", "min(rules.margin, lives / 2)"),),
        seed=131,
    ),
    Fault(
        "now and then an answer waits for three seconds",
        *("P5", "took"),
        (
            Edit(
                API,
                "        response = await self._respond(request, Sent(body, client))\n",
                "        if self.answered.total() % 100 == 99:\n"
                "            await trio.sleep(3)\n"
                "        response = await self._respond(request, Sent(body, client))\n",
            ),
        ),
    ),
    Fault(
        "a kept connection is closed without a word",
        *("P5", "no answer"),
        (
            Edit(
                SERVER,
                "        elif ready.keep_alive:\n",
                "        elif ready.keep_alive and connection.client.requests % 100:\n",
            ),
        ),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "peers are turned away at a tenth of max_connections",
        *("room", "too_many_connections"),
        (
            Edit(
                SERVER,
                "most = self.limits.max_connections\n",
                "most = self.limits.max_connections // 10\n",
            ),
        ),
    ),
    Fault(
        "who is turned away is told so by another status",
        *("room", "too_many_connections"),
        (Edit("neoctl/wire.py", 'too_many_connections": (503', 'too_many_connections": (429'),),
    ),
    Fault(
        "watchers are turned away at a hundredth of max_watchers",
        *("room", "too_many_connections"),
        (Edit(WATCH, "self._count >= self.most:", "self._count >= self.most // 300:"),),
    ),
    Fault(
        "what a login sends is in the log",
        *("P6", ".log"),
        (
            Edit(
                "neod/account/dialogue.py",
                "step=request.step, url=request.url)",
                "step=request.step, body=request.body)",
            ),
        ),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "a mistake in a route",
        *("bugs", "internal_error"),
        (Edit(API, "limit=LOGINS if limit is None else limit,", "limit=limit,  # type: ignore"),),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "the user's group is let in",
        *("P7", "another user"),
        (Edit(SERVER, "if peer.uid == uid:", "if uid in (peer.uid, peer.gid):"),),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "readyz goes by a session that is over",
        *("P8", "readyz"),
        (
            Edit(
                API,
                "            try:\n                check(board, Wanted())\n",
                "            try:\n                board.held or check(board, Wanted())\n",
            ),
        ),
    ),
    Fault(
        "another bearer keeps the generation",
        *("generations", "another token or end"),
        (
            Edit(
                "neod/account/login.py",
                "held = with_bearer(old, bearer, generation, sent)",
                "held = with_bearer(old, bearer, generation - 1, sent)",
            ),
        ),
    ),
    Fault(
        "watchers are not told of a session whose token is as before",
        *("watch", "was not told"),
        (
            Edit(
                SESSION,
                'self.tell("session", f',
                'same_token or self.tell("session", f',
            ),
        ),
    ),
    Fault(
        "watchers are not told of an end",
        *("watch", "ended at"),
        (
            Edit(
                SESSION,
                "if event not in self._told:",
                'if event not in self._told and event != "expired":',
            ),
        ),
    ),
    Fault(
        "a heartbeat comes every second time",
        *("watch", "heartbeat"),
        (Edit(WATCH, "if beats != self._beats:", "if beats > self._beats + 1:"),),
        minutes=3,
    ),
    Fault(
        "a pause is not heeded",
        *("paused", "was paused"),
        (
            Edit(POLICY, "elif history.paused and", "elif history.paused and not life and"),
            Edit(KEEPER, "paused = await self._pause.holds()", "paused = False"),
        ),
        seed=328,
    ),
    Fault(
        "a keeper sleeps through what is due",
        *("stuck", "was due"),
        (
            Edit(KEEPER, "for at in (decision.at, lapse,", "for at in (None,"),
            Edit("neod/lookout.py", "keeper.look()", "keeper.board.look()"),
        ),
        minutes=2,
        seed=3033,
    ),
    Fault(
        "the keepers are not ended by a stop",
        *("exit", "SIGTERM"),
        (Edit("neod/daemon.py", '        keeping.cancel_scope.cancel(reason="drained")\n', ""),),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "the client of a login is kept, and not closed",
        *("growth", "to the broker"),
        (
            Edit(CLIENT, "async with httpx.AsyncClient(", "client = httpx.AsyncClient("),
            Edit(CLIENT, "    ) as client:\n", "    )\n    if _KEPT.append(client) is None:\n"),
            Edit(CLIENT, "Send = Callable", "_KEPT: list[httpx.AsyncClient] = []\nSend = Callable"),
        ),
    ),
    Fault(
        "a thread of each login never ends",
        *("growth", "threads"),
        (
            Edit(CLIENT, "import httpx ", "import threading\nimport httpx "),
            Edit(
                CLIENT,
                "    # TLS is set up here",
                "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n    #",
            ),
        ),
    ),
    Fault(
        "a child counts as ended once its output has, and is kept",
        *("growth", "not waited for"),
        (
            Edit(CHILD, "            status = await process.wait()\n", "            status = 0\n"),
            Edit(CHILD, "    out, err = ", "    _RUN.append(process)\n    out, err = "),
            Edit(CHILD, "SAID_MAX = 300", "_RUN: list[object] = []\nSAID_MAX = 300"),
        ),
    ),
    Fault(
        "the ledger is not closed",
        *("growth", "descriptors"),
        (
            Edit(
                LEDGER,
                "            raise\n    finally:\n        os.close(fd)\n",
                "            raise\n    finally:\n        pass\n",
            ),
        ),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "who has gone is not forgotten",
        *("growth", "are connected"),
        (Edit(SERVER, "        self._clients.discard(connection.client)\n", ""),),
        minutes=0.5,
        seed=959,
    ),
    Fault(
        "each conversation leaves 64 KiB behind",
        *("growth", "MB"),
        (
            Edit(
                SERVER,
                "        return Conversation(\n",
                '        _LEFT.append(b"x" * 65536)\n        return Conversation(\n',
            ),
            Edit(SERVER, "AT_ONCE = ", "_LEFT: list[bytes] = []\nAT_ONCE = "),
        ),
    ),
)


def spoilt(fault: Fault) -> dict[str, str]:
    """The files that the fault is in, as they are with it."""
    files: dict[str, str] = {}
    for edit in fault.edits:
        text = files.get(edit.path) or (ROOT / edit.path).read_text()
        if text.count(edit.old) != 1:
            sys.exit(f"{fault.what}: not once in {edit.path}: {edit.old!r}")
        files[edit.path] = text.replace(edit.old, edit.new)
    return files


def plant(fault: Fault, folder: Path) -> None:
    """Have a copy of neod with the fault in the folder."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in spoilt(fault).items():
        (folder / path).write_text(text)


def weathered(fault: Fault) -> str:
    """What the storm printed of a neod with the fault."""
    with tempfile.TemporaryDirectory(prefix="neod-planted-") as name:
        folder = Path(name)
        plant(fault, folder)
        words = ["--minutes", str(fault.minutes), "--seed", str(fault.seed)]
        done = subprocess.run(
            # The folder comes first in the path of `-m`, so it is the copy that is imported.
            [sys.executable, "-m", "tests.bench.chaos", *words, "--life", LIFE],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="of the faults to plant; all without one")
    parser.add_argument("--list", action="store_true", help="tell the faults, and run nothing")
    parser.add_argument("--keep", type=Path, help="a folder for what the storms print")
    options = parser.parse_args()
    for fault in FAULTS:
        spoilt(fault)  # all of them, ahead of the first storm
    missed = 0
    for number, fault in enumerate(FAULTS):
        if options.words and not any(word in fault.what for word in options.words):
            continue
        row = f"{fault.promise:11} {fault.told:22} {fault.what:60}"
        if options.list:
            print(row)
            continue
        said = weathered(fault)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{number:02}.txt").write_text(f"{fault.what}\n{said}")
        broken = BROKEN.findall(said)
        hits = [at for kind, at, told in broken if kind == fault.promise and fault.told in told]
        others = {kind for kind, _, _ in broken} - {fault.promise}
        missed += not hits
        found = f"after {hits[0]:>6} s" if hits else "NOT NAMED     "
        beside = f"; beside it {', '.join(sorted(others))}" if others else ""
        print(f"{row} {found} of {fault.minutes:g} min{beside}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
