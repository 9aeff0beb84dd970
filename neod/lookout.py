"""What the daemon's one tick is for: all is judged afresh, and who has to know is told.

It decides nothing about a session, and has no clock: the tick calls it.
"""

from collections.abc import Callable, Mapping

from neod import log
from neod.account.events import News
from neod.account.keeper import Keeper


class Lookout:
    """Looks at everything with each tick, and says that all is well where that is so.

    `well` feeds systemd's watchdog. That this runs shows that the loop does; that no keeper has
    been at one thing for longer than it can take shows that more than this runs. A keeper that
    died is not seen here: it ends the daemon.
    """

    def __init__(self, keepers: Mapping[str, Keeper], news: News, well: Callable[[], None]) -> None:
        self._keepers = keepers
        self._news = news
        self._well = well
        self._stuck: set[str] = set()

    def look(self) -> None:
        for keeper in self._keepers.values():
            keeper.look()
        self._news.beat()
        stuck = {name for name, keeper in self._keepers.items() if keeper.stuck}
        for name in sorted(stuck - self._stuck):
            log.error("stuck", account=name, why="its keeper does not come back from what it does")
        self._stuck = stuck
        if not stuck:
            self._well()
