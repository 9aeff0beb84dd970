"""The user's own programs, run when something happens to an account.

`on_rotate` is given each new session, `on_event` what a person may have to know, without secrets;
both as one line of JSON on stdin. One runs at a time for an account. What happens meanwhile is
told afterwards, of each kind the newest; a hook that fails or takes too long is logged, and
nothing else comes of it.
"""

from collections.abc import Collection, Mapping
from typing import Never

import msgspec

from neod import child, log
from neod.account.events import Event, Happening
from neod.account.keeper import Keeper
from neod.config import Account
from neod.ipc.watch import line

LIMIT = 30.0  # seconds that a hook may take
ALERTS: frozenset[Event] = frozenset(
    {
        "login_failed",
        "otp_needed",
        "blocked",
        "credentials_rejected",
        "expired",
        "recovered",
        "contended",
        "not_ready_by",
    }
)


async def run(
    keeper: Keeper, environ: Mapping[str, str], socket: str, hide: Collection[str]
) -> Never:
    """Run an account's hooks, as its configuration has them by then; for ever.

    They do not see the variables to `hide`, of which there may be more later.
    """
    board, seen, failing = keeper.board, 0, False
    while True:
        changed = board.news.changed
        happenings = board.events.since(seen)
        if not happenings:
            await changed.wait()
            continue
        happening = happenings[0]
        seen = happening.number
        # An outage of a night is one alert, not one a minute.
        again = happening.event == "login_failed" and failing
        failing = happening.event == "login_failed" or (failing and happening.event != "session")
        if not again:
            await _tell(keeper, happening, child.environment(environ, hide), socket)


async def _tell(
    keeper: Keeper, happening: Happening, environ: Mapping[str, str], socket: str
) -> None:
    board, hooks = keeper.board, keeper.account.hooks
    if happening.event == "session":
        if hooks.on_rotate and (valid := board.valid()):
            given = msgspec.json.encode(valid.session) + b"\n"
            await _run("on_rotate", hooks.on_rotate, given, keeper.account, environ, socket)
    elif happening.event in ALERTS and hooks.on_event:
        given = line(board, happening.event, happening.at, happening.detail)
        await _run("on_event", hooks.on_event, given, keeper.account, environ, socket)


async def _run(
    name: str,
    argv: tuple[str, ...],
    given: bytes,
    account: Account,
    environ: Mapping[str, str],
    socket: str,
) -> None:
    own = {"NEOD_SOCKET": socket, "NEOD_ACCOUNT": account.name}
    try:
        ended = await child.run(argv, {**environ, **own}, limit=LIMIT, given=given)
    except OSError as error:
        why, said = f"it cannot be started: {error.strerror}", ""
    else:
        said = ended.said
        match ended.status:
            case 0:
                log.debug("hook", account=account.name, hook=name)
                return
            case None:
                why = f"it did not end within {LIMIT:g} s"
            case status if status < 0:
                why = f"it was ended by signal {-status}"
            case status:
                why = f"it ended with status {status}"
    action = f"run what stands at account.{account.name}.hooks.{name} by hand"
    log.warning("hook_failed", account=account.name, hook=name, why=why, said=said, action=action)
