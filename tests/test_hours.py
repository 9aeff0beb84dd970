"""Hours: when a login may begin, and when it may next, by examples and against an oracle."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neod.account.edge import DAY
from neod.account.hours import (
    Hours,
    Window,
    is_open,
    opens_at,
    parse_day,
    parse_time,
    parse_window,
    ready_by_next,
    span,
    time_of_day,
)
from neod.clock import INDIA

MINUTE = 60.0
REPUBLIC_DAY = date(2026, 1, 26)  # a Monday
MON_FRI = "Mon-Fri 08:30-15:45"


def at(text: str) -> float:
    """The epoch second of a time in India."""
    return datetime.fromisoformat(text).replace(tzinfo=INDIA).timestamp()


def when(moment: float | None) -> str | None:
    """The opposite of at(), to the minute."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, INDIA).strftime("%Y-%m-%dT%H:%M")


def keeping(
    *windows: str, holidays: tuple[date, ...] = (), lead: float = 0.0, ready_by: str = ""
) -> Hours:
    return Hours(
        windows=tuple(map(parse_window, windows)),
        holidays=frozenset(holidays),
        lead=lead,
        ready_by=parse_time(ready_by) if ready_by else None,
    )


# Open or not.


@pytest.mark.parametrize(
    ("hours", "now", "is_so"),
    [
        (keeping(), "2026-01-25T03:00", True),
        (keeping(MON_FRI), "2026-01-23T08:29:59.999", False),
        (keeping(MON_FRI), "2026-01-23T08:30", True),
        (keeping(MON_FRI), "2026-01-23T15:44:59.999", True),
        (keeping(MON_FRI), "2026-01-23T15:45", False),
        (keeping(MON_FRI), "2026-01-24T12:00", False),
        (keeping(MON_FRI, "Sat 09:15-12:30"), "2026-01-24T12:00", True),
        (keeping(MON_FRI), "2026-01-26T12:00", True),
        (keeping(MON_FRI, holidays=(REPUBLIC_DAY,)), "2026-01-26T12:00", False),
        (keeping(MON_FRI, lead=600), "2026-01-23T08:19:59", False),
        (keeping(MON_FRI, lead=600), "2026-01-23T08:20", True),
        (keeping("Sun 00:00-24:00"), "2026-01-25T00:00", True),
        (keeping("Sun 00:00-24:00"), "2026-01-25T23:59:59.999999", True),
        (keeping("Sun 00:00-24:00"), "2026-01-26T00:00", False),
    ],
)
def test_it_is_open_from_the_start_less_the_lead_until_before_the_end(
    hours: Hours, now: str, *, is_so: bool
) -> None:
    assert is_open(hours, at(now)) is is_so


def test_the_last_instant_of_a_day_is_that_days() -> None:
    instant = at("2026-01-26T00:00") - 2.5e-7  # which datetime would round up to the next day

    assert instant < at("2026-01-26T00:00")
    assert is_open(keeping("Sun 00:00-24:00"), instant)
    assert not is_open(keeping("Mon 00:00-24:00"), instant)


def test_a_lead_that_reaches_into_the_day_before_belongs_to_its_window() -> None:
    tuesdays = keeping("Tue 00:05-06:00", lead=600)
    ahead = at("2026-01-26T23:55")

    assert is_open(tuesdays, ahead)
    assert not is_open(tuesdays, ahead - 1)
    assert is_open(keeping("Tue 00:05-06:00", lead=600, holidays=(REPUBLIC_DAY,)), ahead)
    tuesday = date(2026, 1, 27)
    assert not is_open(keeping("Tue 00:05-06:00", lead=600, holidays=(tuesday,)), ahead)


# When it opens.


@pytest.mark.parametrize(
    ("hours", "now", "then"),
    [
        (keeping(), "2026-01-25T03:00", "2026-01-25T03:00"),
        (keeping(MON_FRI), "2026-01-23T12:00", "2026-01-23T12:00"),
        (keeping(MON_FRI), "2026-01-23T07:00", "2026-01-23T08:30"),
        (keeping(MON_FRI, lead=600), "2026-01-23T07:00", "2026-01-23T08:20"),
        (keeping(MON_FRI), "2026-01-23T15:45", "2026-01-26T08:30"),
        (keeping(MON_FRI, holidays=(REPUBLIC_DAY,)), "2026-01-23T15:45", "2026-01-27T08:30"),
        (keeping("Fri 14:00-15:00", "Fri 09:00-10:00"), "2026-01-23T08:00", "2026-01-23T09:00"),
        (keeping("Fri 14:00-15:00", "Fri 09:00-10:00"), "2026-01-23T10:00", "2026-01-23T14:00"),
        (keeping("Mon 09:00-10:00"), "2026-01-26T10:00", "2026-02-02T09:00"),
    ],
)
def test_it_opens_now_or_with_the_next_window(hours: Hours, now: str, then: str) -> None:
    assert when(opens_at(hours, at(now))) == then


def a_year_of(weekdays: tuple[int, ...]) -> tuple[date, ...]:
    days = (REPUBLIC_DAY + timedelta(days=ahead) for ahead in range(400))
    return tuple(day for day in days if day.weekday() in weekdays)


def test_what_has_holidays_alone_for_a_year_never_opens() -> None:
    mondays = a_year_of((0,))
    hours = keeping("Mon 09:00-10:00", holidays=mondays, ready_by="09:30")

    assert opens_at(hours, at("2026-01-26T08:00")) is None
    assert ready_by_next(hours, at("2026-01-26T08:00")) is None
    assert when(opens_at(hours, at("2026-12-31T08:00"))) == "2027-03-08T09:00"


# By when a session is expected.


@pytest.mark.parametrize(
    ("hours", "now", "then"),
    [
        (keeping(), "2026-01-23T08:00", None),
        (keeping(MON_FRI), "2026-01-23T08:00", None),
        (keeping(ready_by="08:45"), "2026-01-23T08:00", "2026-01-23T08:45"),
        (keeping(ready_by="08:45"), "2026-01-24T08:45", "2026-01-25T08:45"),
        (
            keeping(ready_by="08:45", holidays=(REPUBLIC_DAY,)),
            "2026-01-25T09:00",
            "2026-01-27T08:45",
        ),
        (keeping(MON_FRI, ready_by="08:45"), "2026-01-23T08:44", "2026-01-23T08:45"),
        (keeping(MON_FRI, ready_by="08:45"), "2026-01-23T08:45", "2026-01-26T08:45"),
        (
            keeping(MON_FRI, ready_by="08:45", holidays=(REPUBLIC_DAY,)),
            "2026-01-23T08:45",
            "2026-01-27T08:45",
        ),
        (keeping(MON_FRI, ready_by="08:25", lead=600), "2026-01-23T08:00", "2026-01-23T08:25"),
        # on Saturday nothing can be there by 08:45
        (
            keeping(MON_FRI, "Sat 10:00-12:00", ready_by="08:45"),
            "2026-01-23T08:45",
            "2026-01-26T08:45",
        ),
        # the lead of Tuesday's window
        (
            keeping("Tue 00:05-06:00", lead=600, ready_by="23:58"),
            "2026-01-23T00:00",
            "2026-01-26T23:58",
        ),
        # neither at the opening, when no login can be done yet, nor when it ends
        (keeping(MON_FRI, ready_by="08:30"), "2026-01-23T00:00", None),
        (keeping(MON_FRI, ready_by="15:45"), "2026-01-23T00:00", None),
        (keeping(MON_FRI, ready_by="07:00"), "2026-01-23T00:00", None),
    ],
)
def test_a_session_is_expected_at_ready_by_where_it_is_within_a_window(
    hours: Hours, now: str, then: str | None
) -> None:
    assert when(ready_by_next(hours, at(now))) == then


# Against an oracle, which looks at each minute of a stretch of days on its own.

FIRST = REPUBLIC_DAY
DAYS = 9
MINUTES = DAYS * 1440
START = at("2026-01-26T00:00")

minutes_of_day = st.integers(0, 1440)
windows = st.builds(
    lambda days, ends: Window(days, min(ends) * MINUTE, max(ends) * MINUTE),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.tuples(minutes_of_day, minutes_of_day).filter(lambda ends: ends[0] != ends[1]),
)
holidays = st.frozensets(st.integers(0, DAYS).map(lambda ahead: FIRST + timedelta(days=ahead)))
schedules = st.builds(
    Hours,
    windows=st.lists(windows, min_size=1, max_size=3).map(tuple),
    holidays=holidays,
    lead=st.sampled_from([0, 1, 10, 90, 1439]).map(lambda minutes: minutes * MINUTE),
    ready_by=st.integers(0, 1439).map(lambda minutes: minutes * MINUTE),
)
moments = st.floats(0, MINUTES * MINUTE / 2).map(lambda after: START + after)


def oracle(hours: Hours) -> list[bool]:
    """Whether it is open in each minute from START on, of which the last day's are not known."""

    def started(minute: int) -> bool:
        day = FIRST + timedelta(days=minute // 1440)
        second = minute % 1440 * MINUTE
        return day not in hours.holidays and any(
            day.weekday() in window.days and window.start <= second < window.end
            for window in hours.windows
        )

    lead = int(hours.lead // MINUTE)
    open_then, starts = [], 10**9
    for minute in reversed(range(MINUTES)):
        starts = minute if started(minute) else starts
        open_then.append(starts - minute <= lead)
    return open_then[::-1]


def known(answers: list[bool]) -> Iterator[tuple[float, bool]]:
    """The oracle's answers of all days but the last."""
    for minute, answer in enumerate(answers[: MINUTES - 1440]):
        yield START + minute * MINUTE, answer


@settings(max_examples=15)
@given(schedules, st.integers(0, MINUTES - 1441))
def test_it_is_open_when_the_oracle_says_so(hours: Hours, minute: int) -> None:
    answers = list(known(oracle(hours)))

    assert is_open(hours, answers[minute][0]) is answers[minute][1]
    for (before, was), (moment, is_so) in pairwise(answers):
        if was is not is_so:
            assert is_open(hours, moment) is is_so
            assert is_open(hours, moment - 0.001) is was
            assert is_open(hours, before) is was


@settings(max_examples=15)
@given(schedules, st.integers(0, MINUTES // 2))
def test_it_opens_at_the_oracles_next_open_minute(hours: Hours, minute: int) -> None:
    opened = (moment for moment, is_so in list(known(oracle(hours)))[minute:] if is_so)
    expected = next(opened, None)
    found = opens_at(hours, START + minute * MINUTE)

    if expected is None:
        assert found is None or found >= START + (MINUTES - 1440) * MINUTE
    else:
        assert found == expected


@settings(max_examples=15)
@given(schedules, moments)
def test_a_session_is_expected_next_when_the_oracle_says_so(hours: Hours, now: float) -> None:
    assert hours.ready_by is not None
    # Each window by itself: where one ends as another opens, the oracle would see no opening.
    alone = [
        list(known(oracle(Hours((window,), hours.holidays, hours.lead))))
        for window in hours.windows
    ]
    expected = [
        START + day * DAY + hours.ready_by
        for day in range(DAYS - 1)
        for answers in alone
        if (minute := day * 1440 + int(hours.ready_by // MINUTE))
        and answers[minute][1]
        and answers[minute - 1][1]
    ]
    found = ready_by_next(hours, now)
    later = [moment for moment in expected if moment > now]

    if later:
        assert found == min(later)
    else:
        assert found is None or found >= START + (DAYS - 1) * DAY


# Properties at any instant, of any schedule.

anytime = st.floats(0, 4e9)


@given(schedules, anytime)
def test_it_is_open_when_it_is_said_to_open_and_not_before(hours: Hours, now: float) -> None:
    opens = opens_at(hours, now)

    assert opens is not None
    assert opens >= now
    assert is_open(hours, opens)
    if opens > now:
        assert not is_open(hours, now)
        assert not is_open(hours, (now + opens) / 2)
        assert not is_open(hours, opens - 0.001)
        assert opens_at(hours, (now + opens) / 2) == opens


@given(schedules, st.integers(0, 1439), st.integers(0, DAYS))
def test_no_window_of_a_holiday_is_open(hours: Hours, minute: int, ahead: int) -> None:
    day = FIRST + timedelta(days=ahead)
    closed = Hours(hours.windows, hours.holidays | {day})

    assert not is_open(closed, START + ahead * DAY + minute * MINUTE)


@given(schedules, st.floats(0, DAY, exclude_max=True), moments)
def test_a_lead_only_widens(hours: Hours, lead: float, now: float) -> None:
    wide, bare = (Hours(hours.windows, hours.holidays, each) for each in (lead, 0.0))

    assert is_open(wide, now) >= is_open(bare, now)
    wide_opens, bare_opens = opens_at(wide, now), opens_at(bare, now)
    assert wide_opens is not None
    assert bare_opens is not None
    assert max(now, bare_opens - lead) >= wide_opens


@given(schedules, anytime)
def test_a_session_is_expected_only_while_it_is_open(hours: Hours, now: float) -> None:
    moment = ready_by_next(hours, now)

    if moment is not None:
        assert moment > now
        assert is_open(hours, moment)
        assert is_open(hours, moment - 0.001)


# As text.


@pytest.mark.parametrize(
    ("text", "window", "said"),
    [
        (MON_FRI, Window(frozenset(range(5)), 30_600, 56_700), MON_FRI),
        ("Sat 09:15-12:30", Window(frozenset({5}), 33_300, 45_000), "Sat 09:15-12:30"),
        ("mon,WED,Fri 09:00-15:30", None, "Mon,Wed,Fri 09:00-15:30"),
        ("Mon-Wed,Fri 09:00-15:30", None, "Mon-Wed,Fri 09:00-15:30"),
        ("Sat-Mon 00:00-24:00", Window(frozenset({5, 6, 0}), 0, DAY), "Sat-Mon 00:00-24:00"),
        ("Mon,Wed,Sat,Sun 09:00-09:01", None, "Wed,Sat-Mon 09:00-09:01"),
        ("Tue-Mon 09:00-15:30", None, "Mon-Sun 09:00-15:30"),
        ("Mon-Wed,Tue-Thu 09:00-15:30", None, "Mon-Thu 09:00-15:30"),
        ("  Mon - Tue, thu   09:00 - 15:30 ", None, "Mon-Tue,Thu 09:00-15:30"),
    ],
)
def test_a_window_is_read_and_said(text: str, window: Window | None, said: str) -> None:
    assert str(parse_window(text)) == said
    assert window in (None, parse_window(text))


@given(windows)
def test_a_window_is_read_as_it_is_said(window: Window) -> None:
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "days and times in India such as"),
        ("Mon-Fri", "days and times in India such as"),
        ("08:30-15:45", "days and times in India such as"),
        ("Mon-Fri 08:30", "days and times in India such as"),
        ("Mon-Fri 08:30-15:45 Sat 09:15-12:30", "days and times in India such as"),
        ("Mon\N{EN DASH}Fri 08:30-15:45", "days and times in India such as"),
        ("\N{LATIN SMALL LETTER LONG S}un 08:30-15:45", "days and times in India such as"),
        ("Monday 08:30-15:45", "days such as"),
        ("Mon Fri 08:30-15:45", "days such as"),
        ("Mon-Wed-Fri 08:30-15:45", "days such as"),
        ("Mon-Mon 08:30-15:45", "days such as"),
        ("Mon- 08:30-15:45", "days such as"),
        ("Mon,,Tue 08:30-15:45", "days such as"),
        (", 08:30-15:45", "days such as"),
        ("Mon 8:30-15:45", "a time of day in India such as"),
        ("Mon 08:30-15:60", "a time of day in India such as"),
        ("Mon 08:30-24:01", "a time of day in India such as"),
        ("Mon 24:00-24:00", "a time of day in India such as"),
        ("Mon 08:30:00-15:45:00", "a time of day in India such as"),
        ("Mon 22:00-02:00", "an end after the start; what goes over midnight is two"),
        ("Mon 09:00-09:00", "an end after the start"),
        ("Mon 00:00-00:00", "an end after the start"),
    ],
)
def test_what_is_no_window_is_told_with_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        parse_window(text)
    assert words in str(caught.value)


@given(
    st.text(
        st.sampled_from(
            "monfri SATsun0123456789:-, \t\N{LATIN SMALL LETTER LONG S}\N{KELVIN SIGN}\N{EN DASH}"
        ),
        max_size=24,
    )
)
def test_whatever_the_text_it_is_a_window_or_a_value_error(text: str) -> None:
    try:
        window = parse_window(text)
    except ValueError as error:
        assert str(error).startswith("expected ")
    else:
        assert window.days
        assert 0 <= window.start < window.end <= DAY


def test_a_day_is_read() -> None:
    assert parse_day("2026-01-26") == REPUBLIC_DAY


@pytest.mark.parametrize(
    "text",
    ["", "26-01-2026", "2026-02-30", "20260126", "2026-W05-1", "2026-01-26T00:00", "0000-01-01"],
)
def test_what_is_no_day_is_told_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r'^expected a day such as "2026-01-26"$'):
        parse_day(text)


def test_hours_are_said_as_a_person_would() -> None:
    assert str(keeping()) == "always"
    assert str(keeping(MON_FRI)) == MON_FRI
    assert str(keeping(MON_FRI, lead=600)) == f"{MON_FRI}, opens 10 min before"
    both = keeping(MON_FRI, "Sat 09:15-12:30", lead=5400)
    assert str(both) == f"{MON_FRI}, Sat 09:15-12:30, opens 90 min before"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "0 s"), (0.5, "0.5 s"), (60.0, "1 min"), (7200.0, "2 h")]
)
def test_a_span_is_told_in_the_largest_unit_that_fits(seconds: float, said: str) -> None:
    assert span(seconds) == said


@given(st.integers(0, 1439))
def test_a_time_of_day_is_read_as_it_is_said(minute: int) -> None:
    assert parse_time(time_of_day(minute * MINUTE)) == minute * MINUTE
