"""The client of neod. Standard library only: it starts about as fast as a bare interpreter.

For bots:

    import neoctl

    session = neoctl.session(min_valid=60, wait=30)   # or neoctl.token()
    requests.get(url, headers=session.headers)

    for event in neoctl.watch():                      # each rotation, and what goes wrong
        ...

    with neoctl.follow() as neod:                     # the session at hand, never a lapsed one
        neod.session().headers

What fails is a Problem, whose `code` is one of the wire's.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from neoctl.bots import Event, Follower, Rejected, Session, reject, session, token, watch
    from neoctl.client import Problem

__version__ = "0.1.0"
__all__ = [
    "Event",
    "Follower",
    "Problem",
    "Rejected",
    "Session",
    "follow",
    "reject",
    "session",
    "token",
    "watch",
]


def follow(account: str = "") -> Follower:
    """The session at hand for as long as a bot runs; see Follower."""
    from neoctl.bots import Follower

    return Follower(account)


def __getattr__(name: str) -> object:
    """What bots use is imported when they do: `neoctl token` needs none of it."""
    if name == "Problem":
        from neoctl.client import Problem

        return Problem
    if name in __all__:
        from neoctl import bots

        return getattr(bots, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
