"""What happens to an account, for those who watch."""

import pytest

from neod.account.events import Event, Events, Happening, News


def told(events: Events, since: int = 0) -> list[Event]:
    return [happening.event for happening in events.since(since)]


@pytest.mark.parametrize(
    "wrong",
    ["login_failed", "otp_needed", "credentials_rejected", "blocked", "contended", "not_ready_by"],
)
def test_that_things_are_well_again_is_told_once_after_a_new_session(wrong: Event) -> None:
    events = Events(News())
    events.add(wrong, 1.0, "why")
    events.add("expiring", 2.0, "soon")
    events.add("session", 3.0, "until then")
    assert told(events) == [wrong, "expiring", "session", "recovered"]

    events.add("session", 4.0, "until later")
    assert told(events) == [wrong, "expiring", "recovered", "session"]


@pytest.mark.parametrize("harmless", ["session", "expiring", "expired", "paused", "resumed"])
def test_what_is_no_trouble_is_nothing_to_recover_from(harmless: Event) -> None:
    events = Events(News())
    events.add(harmless, 1.0, "")
    events.add("session", 2.0, "")

    assert "recovered" not in told(events)


def test_of_each_kind_the_newest_is_kept_and_they_are_numbered_from_one() -> None:
    events = Events(News())
    assert events.count == 0
    for at, event in enumerate(("session", "expiring", "session"), 1):
        events.add(event, float(at), f"the {at}")  # type: ignore[arg-type]

    assert events.count == 3
    assert events.since(0) == [
        Happening(2, "expiring", 2.0, "the 2"),
        Happening(3, "session", 3.0, "the 3"),
    ]
    assert told(events, since=2) == ["session"]
    assert told(events, since=3) == []


def test_each_event_and_each_heartbeat_wakes_who_waits_for_news() -> None:
    news = News()
    events = Events(news)
    before = news.changed
    events.add("paused", 1.0, "")
    assert before.is_set()
    assert news.beats == 0

    before = news.changed
    assert not before.is_set()
    news.beat()
    news.beat()
    assert before.is_set()
    assert news.beats == 2
