"""GET /metrics: what neod knows of itself, as Prometheus reads it.

prometheus_client writes the text. It is imported when it is first asked for: most people never
do, and it is 1 MB. Counters begin at neod's start.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from neod import __version__
from neod.account.edge import DAY
from neod.account.history import TEN_MINUTES
from neod.account.keeper import Keeper
from neod.account.policy import State
from neod.ipc.http1 import Response

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES: tuple[State, ...] = get_args(State)


def metrics(
    accounts: Mapping[str, Keeper],
    *,
    since: float,
    connections: int,
    watchers: Mapping[str, int],
    answered: Counter[tuple[str, int]],
) -> Response:
    """All of it, whole. `answered` is requests by route and status."""
    from prometheus_client import (  # noqa: PLC0415 - see above
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.registry import Collector  # noqa: PLC0415

    class Neod(Collector):
        def collect(self) -> Iterator["Metric"]:
            yield from _of_the_daemon(since, connections, answered)
            yield from _of_accounts(accounts, watchers)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Neod())
    ProcessCollector(registry=registry)
    return Response(200, generate_latest(registry), CONTENT_TYPE_LATEST)


def _of_the_daemon(
    since: float, connections: int, answered: Counter[tuple[str, int]]
) -> Iterator["Metric"]:
    from prometheus_client.core import (  # noqa: PLC0415
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    yield InfoMetricFamily("neod", "This neod", {"version": __version__})
    yield GaugeMetricFamily("neod_start_time_seconds", "When neod started, since the epoch", since)
    yield GaugeMetricFamily("neod_connections", "Connections that are open", connections)
    requests = CounterMetricFamily(
        "neod_requests", "Requests that were answered", labels=["route", "status"]
    )
    for (route, status), count in sorted(answered.items()):
        requests.add_metric([route, str(status)], count)
    yield requests


def _of_accounts(accounts: Mapping[str, Keeper], watchers: Mapping[str, int]) -> Iterable["Metric"]:
    from prometheus_client.core import (  # noqa: PLC0415
        CounterMetricFamily,
        GaugeMetricFamily,
    )

    def gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"neod_{name}", what, labels=["account", *labels])

    state = gauge("account_state", "1 for the state that the account is in", "state")
    valid = gauge("session_valid", "1 while there is a valid session")
    generation = gauge("session_generation", "The generation of the last session")
    expires = gauge("session_expires_at_seconds", "When the last session ends, since the epoch")
    watching = gauge("watchers", "Connections that watch the account")
    overdue = gauge("renewal_overdue_seconds", "How long a renewal has been due now")
    lateness = gauge("renewal_lateness_seconds", "How late the last renewal was")
    used = gauge("login_budget_used", "Logins that the budget counts", "window")
    allowed = gauge("login_budget_allowed", "Logins that the budget allows", "window")
    attempts = CounterMetricFamily(
        "neod_logins",
        "Logins, and renewals of a bearer alone, by what came of them",
        labels=["account", "kind", "outcome"],
    )
    for name, keeper in accounts.items():
        board, rules = keeper.board, keeper.account.rules
        for each in STATES:
            state.add_metric([name, each], each == board.standing.state)
        valid.add_metric([name], board.valid() is not None)
        watching.add_metric([name], watchers.get(name, 0))
        overdue.add_metric([name], keeper.overdue)
        if keeper.lateness is not None:
            lateness.add_metric([name], keeper.lateness)
        if board.held is not None:
            generation.add_metric([name], board.held.session.generation)
            expires.add_metric([name], board.held.session.expires_at)
        windows = (
            (TEN_MINUTES, board.standing.logins[0], rules.logins_per_10min),
            (DAY, board.standing.logins[1], rules.logins_per_day),
        )
        for window, count, most in windows:
            used.add_metric([name, f"{window:.0f}s"], count)
            if most is not None:
                allowed.add_metric([name, f"{window:.0f}s"], most)
        for (kind, outcome), count in sorted(keeper.outcomes.items()):
            attempts.add_metric([name, kind, outcome], count)
    return (
        state,
        valid,
        generation,
        expires,
        watching,
        overdue,
        lateness,
        used,
        allowed,
        attempts,
    )
