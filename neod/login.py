"""`neod login`: one login on a person's word, shown without its secrets.

It is in the ledger like any other, so it counts against the budget, and refused credentials are
not tried again here either.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import trio

from neoctl.wire import distrust, exit_status
from neod import daemon
from neod.account.history import Word
from neod.account.keeper import Keeper
from neod.account.session import Session
from neod.account.wishes import Asked
from neod.clock import SYSTEM
from neod.config import Config
from neod.errors import AlreadyRunning, Unusable
from neod.ipc.http1 import Problem
from neod.ipc.readiness import Wanted, check
from neod.lock import Lock
from neod.paths import make_private
from neod.secrets import Secret

WORD = Word("login")


async def log_in(
    config: Config, name: str, environ: Mapping[str, str], state: Path, socket: Path
) -> int:
    """Log in once, and keep the session beside the socket; returns the exit status.

    Raises AlreadyRunning beside a daemon, and Unusable where there is no such account.
    """
    account = config.accounts.get(name)
    if account is None:
        known = ", ".join(config.accounts) or "none"
        raise Unusable(f"there is no account {name!r}; there is: {known}")
    try:
        make_private(state)
        with suppress(FileNotFoundError):  # then it is made, when there is something to keep
            if why := distrust(os.fspath(socket), os.getuid()):
                raise Unusable(f"the socket's folder cannot be trusted: {why}")
        with Lock(state / "lock"):
            files = daemon.on_disk(state, socket.parent, account, clock=SYSTEM)
            keeper = daemon.keeper_of(
                account, files, environ=environ, hide=config.variables, clock=SYSTEM
            )
            return await _with(keeper)
    except AlreadyRunning as error:
        raise AlreadyRunning(error.pid, state, "have it log in instead: neoctl renew") from None
    except OSError as error:
        raise Unusable(f"{error.filename or state}: {error.strerror}") from None


async def _with(keeper: Keeper) -> int:
    status = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        asked = await keeper.renew(WORD)
        while keeper.waits_for_otp and not asked.failed:
            # Here the code is typed, so the hint to neoctl that others get is left out.
            code = await trio.to_thread.run_sync(_prompt, abandon_on_cancel=True)
            asked = await keeper.give_otp(code, WORD) or asked
        status = _show(keeper, asked)
        nursery.cancel_scope.cancel(reason="one login is all")
    return status


def _prompt() -> Secret:
    print("neod: an OTP was sent", file=sys.stderr)
    return Secret(getpass.getpass("OTP: ") if sys.stdin.isatty() else sys.stdin.readline().strip())


def _show(keeper: Keeper, asked: Asked) -> int:
    try:
        held = check(keeper.board, Wanted())
        if asked.failed:
            print(f"neod: {asked.detail}", file=sys.stderr)
            still = f"generation {held.session.generation} of before is valid all the same"
            print(f"neod: {still}", file=sys.stderr)
            return exit_status("broker_unavailable")
    except Problem as problem:
        print(f"neod: {asked.detail}", file=sys.stderr)
        if problem.action:
            print(f"neod: {problem.action}", file=sys.stderr)
        return exit_status(problem.code)
    print("\n".join(lines(held.session)))
    return 0


def lines(session: Session) -> list[str]:
    """A session for a person to look at: all of it but what opens an account."""
    shown = {
        "account": f"{session.account}, generation {session.generation}",
        "kind": session.kind,
        "scope": ", ".join(session.scope),
        "token until": session.token_expires_at_rfc3339,
        "bearer until": session.bearer_expires_at_rfc3339 or "no end of its own",
        "base url": session.base_url or "none",
        "ucc": session.ucc or "none",
        "name": session.greeting_name or "none",
        "data centre": session.data_center or "none",
        "password": "expired; change it in the Kotak Neo app" if session.password_expired else "ok",
        "headers": ", ".join(session.headers),
    }
    return [f"{name:14}{value}" for name, value in shown.items()]


def account_asked_for(config: Config, name: str | None) -> str:
    """The account of this name; without one `main`, else the only one. Raises Unusable."""
    if name is not None:
        return name
    if "main" in config.accounts:
        return "main"
    if len(config.accounts) == 1:
        return next(iter(config.accounts))
    known = ", ".join(config.accounts) or "none"
    raise Unusable(f"say which account: neod login ACCOUNT; there is: {known}")
