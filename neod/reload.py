"""Taking up a changed configuration while neod runs: all of it, or nothing where it is wrong."""

from collections.abc import Callable

import trio

from neod import log
from neod.accounts import Accounts
from neod.config import Config, ConfigError
from neod.config import Server as Limits


class Reload:
    """Reads the configuration anew when it is called.

    `load` raises ConfigError. `adopt` is told the [server] table.
    """

    def __init__(
        self, load: Callable[[], Config], accounts: Accounts, adopt: Callable[[Limits], None]
    ) -> None:
        self._load = load
        self._accounts = accounts
        self._adopt = adopt
        self._one_at_a_time = trio.Lock()

    async def __call__(self) -> str:
        """Take it up; returns what became of each account, for a person.

        Raises ConfigError for a mistake and OSError where an account's files cannot be had; then
        nothing is changed. Once begun it is made to its end, which takes seconds, though who asked
        for it goes: half of a change is worse than either whole.
        """
        async with self._one_at_a_time:
            with trio.CancelScope(shield=True):
                told = await self._make()
        return told

    async def _make(self) -> str:
        try:
            config = self._load()
            told = await self._accounts.adopt(config.accounts)
        except ConfigError as error:
            log.error("reload", why=error, action=error.action)
            raise
        except OSError as error:
            log.error("reload", why=f"{error.filename}: {error.strerror}")
            raise
        self._adopt(config.server)
        for name, what in told.items():
            log.event("reload", account=name, outcome=what)
        return "; ".join(f"{name}: {what}" for name, what in told.items()) or "no account"
