"""What happens to the sessions, line by line, for as long as one wants to know.

neod may be restarted meanwhile: who watches is connected again by itself, and misses no session.
"""

from __future__ import annotations

import json
import time

from neoctl import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SILENCE = 45.0  # seconds: three heartbeats that did not come
PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts to connect again
PASSES = frozenset({"not_running", "not_ready", "too_many_connections", "shutting_down"})


def events(
    account: str = "",
    *,
    after: int | None = None,
    environ: Mapping[str, str],
    told: Callable[[str], None] = lambda _: None,
    rest: Callable[[float], bool | None] = time.sleep,
) -> Iterator[tuple[bytes, dict[str, object]]]:
    """Each line of /v1/watch as it came, and what is in it; for ever.

    `after` is the generation that one has. `told` is given what a person may want to know of the
    connection; `rest` waits so many seconds ahead of the next attempt, and ends all if it returns
    True. Raises client.Problem where the first connection fails, or a later one does for a
    reason that does not pass.
    """
    have: dict[object, object] = {}  # generation by account
    connected, pause = False, PAUSE
    while True:
        try:
            generation = have.get(account, after) if account else after
            for raw in client.lines(_target(account, generation), environ=environ, silence=SILENCE):
                line = _understood(raw)
                if pause > PAUSE:
                    told("connected again")
                connected, pause = True, PAUSE
                if line["event"] == "session":
                    if have.get(line["account"]) == line["generation"]:
                        continue  # it came before the connection was lost
                    have[line["account"]] = line["generation"]
                yield raw, line
            why = "the connection ended"
        except client.Problem as problem:
            if not connected or problem.code not in PASSES:
                raise
            why = str(problem)
        if pause == PAUSE:
            told(f"{why}; connects again as soon as neod is there")
        if rest(pause):
            return
        pause = min(2 * pause, LONGEST_PAUSE)


def _understood(raw: bytes) -> dict[str, object]:
    try:
        line = json.loads(raw)
        if isinstance(line, dict) and {"event", "account", "generation"} <= line.keys():
            return line
    except ValueError:
        pass
    raise client.Problem("internal_error", "a line of the watch cannot be understood")


def _target(account: str, after: object) -> str:
    parts = []
    if account:
        parts.append(f"account={client.quote(account)}")
    if after is not None:
        parts.append(f"after={after}")
    return "/v1/watch" + ("?" + "&".join(parts) if parts else "")
