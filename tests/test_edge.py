"""The day's edge: learnt from a renewal that gained nothing, forgotten when outlived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.account.edge import DAY, Edge, daily, ends_there, gained_nothing, learn, slack

MIDNIGHT = 1687977000.0  # 2023-06-29T00:00:00+05:30
HOUR = 3600.0


def test_a_renewal_that_gained_nothing_teaches_the_edge() -> None:
    old = MIDNIGHT - 8 * HOUR, MIDNIGHT
    edge = learn(None, old, (MIDNIGHT - 600, MIDNIGHT))

    assert edge == Edge(at=MIDNIGHT)
    assert ends_there(edge, MIDNIGHT - 600, MIDNIGHT)


def test_a_minute_gained_is_nothing_and_more_is_something() -> None:
    old = MIDNIGHT - 8 * HOUR, MIDNIGHT

    assert learn(None, old, (MIDNIGHT - 600, MIDNIGHT + 60)) is not None
    assert learn(None, old, (MIDNIGHT - 600, MIDNIGHT + 61)) is None


def test_a_renewal_of_a_short_session_gains_its_life_and_teaches_nothing() -> None:
    assert learn(None, (0.0, 6.0), (4.0, 10.0)) is None


def test_a_renewal_that_a_person_asked_for_soon_after_the_login_teaches_nothing() -> None:
    assert learn(None, (0.0, 600.0), (3.0, 603.0)) is None
    assert learn(None, (0.0, 600.0), (3.0, 600.0)) is None
    assert learn(None, (0.0, 600.0), (90.0, 600.0)) == Edge(at=600.0)


def test_a_lapsed_session_teaches_nothing() -> None:
    assert learn(None, None, (MIDNIGHT - 600, MIDNIGHT)) is None


def test_the_first_session_from_after_the_edge_tells_that_it_is_a_time_of_day() -> None:
    edge = learn(Edge(at=MIDNIGHT), None, (MIDNIGHT + 3, MIDNIGHT + DAY))

    assert edge == Edge(at=MIDNIGHT, every=DAY)


def test_it_is_a_time_of_day_even_if_neod_was_away_for_some_days() -> None:
    edge = learn(Edge(at=MIDNIGHT), None, (MIDNIGHT + 3 * DAY + 5, MIDNIGHT + 4 * DAY))

    assert edge == Edge(at=MIDNIGHT, every=DAY)


def test_a_session_of_hours_that_ends_by_itself_does_not_make_up_an_edge() -> None:
    edge = learn(Edge(at=MIDNIGHT), None, (MIDNIGHT + 3, MIDNIGHT + 3 + 8 * HOUR))

    assert edge == Edge(at=MIDNIGHT, every=DAY)
    assert not ends_there(edge, MIDNIGHT + 3, MIDNIGHT + 3 + 8 * HOUR)


def test_edges_of_a_sandbox_are_seconds_apart() -> None:
    edge = learn(Edge(at=MIDNIGHT), None, (MIDNIGHT + 1, MIDNIGHT + 20))

    assert edge == Edge(at=MIDNIGHT, every=20.0)
    assert ends_there(edge, MIDNIGHT + 21, MIDNIGHT + 40)
    assert not ends_there(edge, MIDNIGHT + 21, MIDNIGHT + 33)


def test_a_session_that_outlives_the_edge_makes_it_forgotten() -> None:
    daily_edge = Edge(at=MIDNIGHT, every=DAY)
    begin = MIDNIGHT + DAY - HOUR

    assert learn(daily_edge, None, (begin, begin + 8 * HOUR)) is None
    assert learn(Edge(at=MIDNIGHT), None, (MIDNIGHT - HOUR, MIDNIGHT + HOUR)) is None


def test_a_session_that_ends_at_the_edge_or_before_it_does_not() -> None:
    edge = Edge(at=MIDNIGHT, every=DAY)

    assert learn(edge, None, (MIDNIGHT + HOUR, MIDNIGHT + DAY)) == edge
    assert learn(edge, None, (MIDNIGHT + HOUR, MIDNIGHT + 9 * HOUR)) == edge


def test_another_useless_renewal_at_the_known_edge_changes_nothing() -> None:
    edge = Edge(at=MIDNIGHT, every=DAY)
    old = MIDNIGHT + HOUR, MIDNIGHT + DAY

    assert learn(edge, old, (MIDNIGHT + DAY - 60, MIDNIGHT + DAY)) == edge


def test_an_edge_that_moved_is_learnt_anew() -> None:
    edge = Edge(at=MIDNIGHT, every=DAY)
    six = MIDNIGHT + 6 * HOUR

    assert learn(edge, (MIDNIGHT + 10, six), (six - 600, six)) == Edge(at=six)


@pytest.mark.parametrize("days", [0, 1, 365])
def test_an_edge_from_the_configuration_is_a_time_of_day_in_india(days: int) -> None:
    edge = daily(0.0)
    end = MIDNIGHT + days * DAY

    assert ends_there(edge, end - 8 * HOUR, end)
    assert ends_there(edge, end - 8 * HOUR, end + 59)
    assert not ends_there(edge, end - 8 * HOUR, end + 600)
    assert not ends_there(edge, end - 8 * HOUR, end - HOUR)


times = st.floats(min_value=0, max_value=4e9)


@given(times, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_session_whose_renewal_taught_the_edge_is_never_renewed_before_it(
    begin: float, life: float, later: float, gain: float
) -> None:
    old = begin, begin + life
    enough = slack(old[1] - old[0])  # not of `life`, which is not what floats make of it
    new = min(begin + later, old[1]), old[1] + min(gain, enough)
    edge = learn(None, old, new)

    assert edge is None or ends_there(edge, *new)
    if new[0] - old[0] > enough:
        assert edge is not None


# How exact an end has to be


def test_an_edge_is_told_as_a_time_of_day() -> None:
    assert str(Edge(at=MIDNIGHT)) == "00:00:00 IST"


@pytest.mark.parametrize(
    ("life", "exact"), [(-5.0, 0.0), (0.0, 0.0), (20.0, 2.0), (600.0, 60.0), (8 * HOUR, 60.0)]
)
def test_an_end_may_be_off_by_a_tenth_of_the_life_or_a_minute(life: float, exact: float) -> None:
    assert slack(life) == exact


@pytest.mark.parametrize(
    ("edge", "life", "off", "there"),
    [
        (Edge(at=MIDNIGHT), 100.0, -10, True),
        (Edge(at=MIDNIGHT), 100.0, -11, False),
        (Edge(at=MIDNIGHT), 100.0, 9999, True),  # of one from after it nothing is known
        (Edge(at=MIDNIGHT, every=DAY), 100.0, 10, True),
        (Edge(at=MIDNIGHT, every=DAY), 100.0, 11, False),
        (Edge(at=MIDNIGHT, every=DAY), 100.0, -10, True),
        (Edge(at=MIDNIGHT, every=DAY), 100.0, -11, False),
        (Edge(at=MIDNIGHT, every=DAY), 8 * HOUR, 60, True),
        (Edge(at=MIDNIGHT, every=DAY), 8 * HOUR, 61, False),
        (Edge(at=MIDNIGHT, every=20.0), 300.0, 2, True),
        (Edge(at=MIDNIGHT, every=20.0), 300.0, 3, False),
        (Edge(at=MIDNIGHT, every=20.0), 300.0, -2, True),
        (Edge(at=MIDNIGHT, every=20.0), 300.0, 18, True),
        (Edge(at=MIDNIGHT, every=20.0), 300.0, 17, False),
        (None, 100.0, 0, False),
    ],
)
def test_a_session_ends_at_the_edge_if_its_end_is_as_exact_as_that(
    edge: Edge | None, life: float, off: float, *, there: bool
) -> None:
    end = MIDNIGHT + off

    assert ends_there(edge, end - life, end) is there


@pytest.mark.parametrize(
    ("later", "gained", "nothing"),
    [
        (11, 10, True),
        (10, 10, False),
        (11, 11, False),
        (50, 0, True),
        (0, 0, False),
        (50, -5, True),
    ],
)
def test_a_renewal_gained_nothing_if_it_came_later_than_its_end_did(
    later: float, gained: float, *, nothing: bool
) -> None:
    old, new = (MIDNIGHT - 100, MIDNIGHT), (MIDNIGHT - 100 + later, MIDNIGHT + gained)

    assert gained_nothing(old, new) is nothing
    assert not gained_nothing(None, new)


@pytest.mark.parametrize(
    ("begin", "end", "known"),
    [
        (-90.0, 10.0, Edge(at=MIDNIGHT)),  # it ends there itself
        (-89.0, 11.0, None),  # it outlived it
        (-10.0, 90.0, Edge(at=MIDNIGHT, every=90.0)),
        (-11.0, 89.0, None),
        (0.0, HOUR, Edge(at=MIDNIGHT, every=HOUR)),
        (0.0, HOUR + 1, Edge(at=MIDNIGHT, every=DAY)),
    ],
)
def test_what_the_first_session_that_is_seen_after_an_edge_makes_of_it(
    begin: float, end: float, known: Edge | None
) -> None:
    assert learn(Edge(at=MIDNIGHT), None, (MIDNIGHT + begin, MIDNIGHT + end)) == known


@pytest.mark.parametrize("days", [-3, 0, 5])
@pytest.mark.parametrize(
    ("begin", "end", "outlived"),
    [
        (-100.0, 500.0, True),
        (-60.0, 540.0, False),  # it may have begun after the edge
        (-61.0, 539.0, True),
        (-540.0, 60.0, False),  # it may have ended by it
        (-539.0, 61.0, True),
        (-10.0, 90.0, False),
        (-11.0, 89.0, True),
        (-90.0, 10.0, False),
        (-89.0, 11.0, True),
        (-HOUR, DAY / 2 - 1, True),
        (-HOUR, DAY / 2 + 1, True),
        (-10.0, DAY - HOUR, False),
        (HOUR, DAY + HOUR, True),
        (HOUR, DAY - HOUR, False),
        (HOUR, HOUR + 600, False),
        (-HOUR, 2 * DAY - HOUR, True),
    ],
)
def test_an_edge_is_forgotten_when_a_session_lives_on_over_any_of_its_instants(
    days: int, begin: float, end: float, *, outlived: bool
) -> None:
    edge, midnight = Edge(at=MIDNIGHT, every=DAY), MIDNIGHT + days * DAY

    known = learn(edge, None, (midnight + begin, midnight + end))

    assert known == (None if outlived else edge)


def test_a_session_of_a_sandbox_outlives_an_edge_by_a_tenth_of_what_is_between_them() -> None:
    edge = Edge(at=MIDNIGHT, every=20.0)

    assert learn(edge, None, (MIDNIGHT - 100, MIDNIGHT + 22)) is None
    assert learn(edge, None, (MIDNIGHT + 18, MIDNIGHT + 42)) == edge
    assert learn(edge, None, (MIDNIGHT + 17.9, MIDNIGHT + 42)) is None
