"""The accounts of a running daemon: which there are, each with its keeper, over every reload.

Knows what a change of the configuration means for an account that is being kept, and nothing of
how one is kept.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Never, Protocol

import trio

from neod.account.keeper import Keeper
from neod.account.store import whose_of
from neod.config import Account


class Make(Protocol):
    """How a keeper is made, which looks at its account's files. Raises OSError."""

    async def __call__(self, account: Account, /) -> Keeper: ...


class Remake(Protocol):
    """How one is made in place of another, whose files it goes on with."""

    def __call__(self, account: Account, instead_of: Keeper, /) -> Keeper: ...


class Accounts(Mapping[str, Keeper]):
    """The keepers by the names of their accounts."""

    _nursery: trio.Nursery

    def __init__(
        self,
        keepers: Mapping[str, Keeper],
        make: Make,
        remake: Remake,
        beside: Sequence[Callable[[Keeper], Awaitable[None]]] = (),
    ) -> None:
        """With the keepers that there are at the start; what is `beside` a keeper runs as long."""
        self._kept = {name: _Kept(keeper, beside) for name, keeper in keepers.items()}
        self._make = make
        self._remake = remake
        self._beside = beside

    def __getitem__(self, name: str) -> Keeper:
        return self._kept[name].keeper

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    async def run(self) -> Never:
        """Keep all of them, for ever."""
        async with trio.open_nursery() as self._nursery:
            for kept in self._kept.values():
                self._nursery.start_soon(kept.run)
            await trio.sleep_forever()
        raise AssertionError  # sleep_forever() does not return

    async def adopt(self, wanted: Mapping[str, Account]) -> dict[str, str]:
        """Have these accounts from now on; returns what became of each, for a person.

        An account that stays the same goes on untouched, but its secrets are read anew. One that
        changed goes on with its session, unless that is somebody else's by now. Raises OSError
        where the files of a new one cannot be had: then nothing is changed.
        """
        new = {name: await self._make(wanted[name]) for name in wanted if name not in self}
        told = dict.fromkeys(new, "new")
        for name, keeper in new.items():
            kept = self._kept[name] = _Kept(keeper, self._beside)
            self._nursery.start_soon(kept.run)
            keeper.board.news.announce()  # to those who watch all that there are
        async with trio.open_nursery() as nursery:
            for name in [name for name in self if name not in new]:
                nursery.start_soon(self._go_on, name, wanted.get(name), told)
        return {name: told[name] for name in sorted(told)}

    async def _go_on(self, name: str, account: Account | None, told: dict[str, str]) -> None:
        kept = self._kept[name]
        if account is None:
            told[name] = "taken out of the configuration"
            del self._kept[name]
            await kept.end(f"{name} was {told[name]}")
        elif goes_on(kept.keeper.account, account):
            told[name] = await kept.keeper.adopt(account)
        else:
            told[name] = "another login by now, so its session is gone"
            after = self._kept[name] = _Kept(self._remake(account, kept.keeper), self._beside)
            await kept.end(f"{name} is {told[name]}")
            self._nursery.start_soon(after.run)


class _Kept:
    """A keeper that runs, and can be ended."""

    def __init__(
        self, keeper: Keeper, beside: Sequence[Callable[[Keeper], Awaitable[None]]]
    ) -> None:
        self.keeper = keeper
        self._beside = beside
        self._running = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    async def run(self) -> None:
        self._ended = trio.Event()
        try:
            with self._running:
                async with trio.open_nursery() as nursery:
                    for each in self._beside:
                        nursery.start_soon(each, self.keeper)
                    await self.keeper.run()
        finally:
            self._ended.set()

    async def end(self, why: str) -> None:
        """End it, and what its account's session was to anybody, at once."""
        self.keeper.board.lapse()
        self.keeper.board.close(why)
        self._running.cancel(reason=why)
        await self._ended.wait()
        await self.keeper.forget()


def goes_on(old: Account, new: Account) -> bool:
    """True if the session of the one may be served as the other's.

    It may though the password or the number to log in with are others; not if whose it is, what
    kind it is or where it is good changed.
    """
    return whose_of(old) == whose_of(new)
