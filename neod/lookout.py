"""What the daemon's one tick is for: all is judged afresh, and who has to know is told.

It decides nothing about a session, and has no clock: the tick calls it.
"""

import socket
from collections.abc import Callable, Mapping

from neod import log
from neod.account.events import News
from neod.account.keeper import Keeper
from neod.errors import AlreadyRunning, Unusable
from neod.ipc.listener import Adopted, Claim

UNREACHED = "so nobody reaches neod"
AGAIN = "systemctl --user restart neod.socket neod.service"


class Door:
    """The socket's file, which has to be where clients look for it.

    What is gone is bound anew, and `listen_on` is given the new socket. What is somebody else's is
    left alone, and what systemd has bound only systemd can bind again: that is said, in the log
    once and by `say` as long as it is so.
    """

    def __init__(
        self,
        claim: Claim | Adopted,
        listen_on: Callable[[socket.socket], None],
        say: Callable[[str], None],
    ) -> None:
        self._claim = claim
        self._listen_on = listen_on
        self._say = say
        self._trouble = ""

    def look(self) -> None:
        trouble = self._judge()
        if trouble and trouble != self._trouble:
            log.error("socket", path=self._claim.path, why=trouble)
        elif self._trouble and not trouble:
            log.event("socket", path=self._claim.path, why="neod is reached again")
        self._trouble = trouble
        self._say(trouble)

    def _judge(self) -> str:
        """What is wrong, and what mends it; empty if all is well, or has been mended."""
        claim = self._claim
        whereabouts = claim.whereabouts()
        if whereabouts == "ours":
            return ""
        if isinstance(claim, Adopted):
            what = "is gone" if whereabouts == "gone" else "is another one"
            return f"the socket's file {what}, {UNREACHED}: {AGAIN}"
        if whereabouts == "another's":
            return (
                f"another file is in the socket's place, {UNREACHED}; see who listens there "
                f"(ss -xlp src {claim.path}), stop it, and remove the file: neod then binds its own"
            )
        try:
            self._listen_on(claim.bind_anew())
        except (AlreadyRunning, Unusable) as error:
            return f"the socket's file is gone, {UNREACHED}: {error}"
        except OSError as error:
            why = f"{error.filename or claim.path}: {error.strerror}"
            return f"the socket's file is gone, {UNREACHED}, and cannot be made anew: {why}"
        log.warning("socket", path=claim.path, why="its file was gone, and is bound anew")
        return ""


class Lookout:
    """Looks at everything with each tick, and says that all is well where that is so.

    `well` feeds systemd's watchdog. That this runs shows that the loop does; that no keeper has
    been at one thing for longer than it can take shows that more than this runs. A keeper that
    died is not seen here: it ends the daemon.
    """

    def __init__(
        self,
        keepers: Mapping[str, Keeper],
        news: News,
        well: Callable[[], None],
        door: Door | None = None,
    ) -> None:
        self._keepers = keepers
        self._news = news
        self._well = well
        self._door = door
        self._stuck: set[str] = set()

    def look(self) -> None:
        for keeper in self._keepers.values():
            keeper.look()
        self._news.beat()
        if self._door:
            self._door.look()
        stuck = {name for name, keeper in self._keepers.items() if keeper.stuck}
        for name in sorted(stuck - self._stuck):
            log.error("stuck", account=name, why="its keeper does not come back from what it does")
        self._stuck = stuck
        if not stuck:
            self._well()
