"""The judge of the chaos bench: it says what is broken, and excuses what is not neod's doing."""

import ast
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.planted import FAULTS, Fault, spoilt
from tests.bench.storm.broker import WHO
from tests.bench.storm.judge import EVERY, Asked, Judge, Watch
from tests.bench.storm.size import Size, grown
from tests.bench.storm.verdict import conclude

LIFE = 40.0  # seconds of a session
SID = "8a6f0a5e-3c5b-4a52-9d0f-0d4c2b7e1f10"
ORDERS = "/Orders/2.0/quick/user/orders"


def token_of(begin: float, name: str = "") -> str:
    claims = json.dumps({"iat": begin, "exp": begin + LIFE, "name": name}).encode()
    return f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(claims).decode()}.none"


class Story:
    """A judge, and a time in which things happen to the account main."""

    def __init__(self, folder: Path) -> None:
        self.at = 10_000.0
        self.path = folder / "journal"
        self.judge = Judge(self.path, lambda: self.at)
        self.judge.configured(40)
        self.judge.up()

    def after(self, seconds: float) -> float:
        self.at += seconds
        return self.at

    def wrote(self, step: str = "validate", **fields: object) -> str:
        """A line of the broker's journal; returns the token that it tells of."""
        line = {
            "at": self.at,
            "account": "main",
            "step": step,
            "path": f"/{step}",
            "used": "",
            "locked": False,
            "refused": False,
            "dead": False,
            **fields,
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return str(line.get("token"))

    def logged_in(self, account: str = "main") -> str:
        """A login that the broker accepted just now; returns its token."""
        self.wrote("bearer", account="")
        self.wrote("login", account=account)
        return self.wrote(account=account, token=token_of(self.at, account), sid=SID)

    def asked(self, after: int | None = None) -> Asked:
        return self.judge.ask("main", after)

    def served(self, generation: int, token: str, asked: Asked | None = None) -> None:
        """A bot was given this session."""
        end = float(json.loads(base64.urlsafe_b64decode(token.split(".")[1]))["exp"])
        self.judge.served("main", generation, token, end, asked or self.asked(), "token")

    def kept_being_served(self, generation: int, token: str, seconds: float) -> None:
        for _ in range(10):
            self.after(seconds / 10)
            self.served(generation, token)

    def session(self, generation: int = 1) -> str:
        token = self.logged_in()
        self.served(generation, token)
        return token

    def withheld(self, code: str = "not_ready", asked: Asked | None = None) -> None:
        self.judge.withheld("main", code, "why", asked or self.asked(), "token")

    def rejected(self, generation: int) -> Asked:
        return self.judge.rejects("main", generation)

    def called_dead(self, token: str) -> None:
        self.wrote("api", path=ORDERS, used=token, dead=True)
        self.judge.follow()

    def killed(self, seconds: float = 1.0) -> None:
        with self.judge.during("pause", "down"):
            self.judge.deaths.append(self.at)
            self.after(seconds)
        self.judge.up()

    def watched(self, opened: float, *told: tuple[str, int], after: int | None = None) -> Watch:
        """A watcher from then until now, that was told at once of these generations."""
        watch = Watch("main", after)
        watch.opened, watch.closed = opened, self.at
        watch.got = {key: self.judge.all[key].first for key in told}
        self.judge.watches.append(watch)
        return watch

    def broken(self) -> set[str]:
        conclude(self.judge)
        return {one.promise for one in self.judge.broken}


Tale = Callable[[Story], None]
BREAKS: list[tuple[str, Tale]] = []
EXCUSED: list[Tale] = []


def breaks(promise: str) -> Callable[[Tale], Tale]:
    def add(tale: Tale) -> Tale:
        BREAKS.append((promise, tale))
        return tale

    return add


def excused(tale: Tale) -> Tale:
    EXCUSED.append(tale)
    return tale


# P1


@breaks("P1")
def a_valid_session_is_withheld(story: Story) -> None:
    story.session()
    story.after(5)
    story.withheld()


@breaks("P1")
def a_valid_session_is_withheld_after_a_restart(story: Story) -> None:
    story.session()
    story.killed()
    story.withheld()


@breaks("P1")
def all_bots_are_turned_away_though_there_is_room(story: Story) -> None:
    story.session()
    story.after(5)
    story.withheld("too_many_connections")


@breaks("P1")
def it_says_that_it_is_stopping_and_does_not(story: Story) -> None:
    story.session()
    story.withheld("shutting_down")


@breaks("P1")
def a_session_is_called_lapsed_ahead_of_its_end(story: Story) -> None:
    story.session()
    story.after(LIFE - 3)
    story.judge.has_lapsed("main", 1)


@excused
def a_session_is_withheld_after_its_end(story: Story) -> None:
    story.session()
    asked = story.asked()
    story.after(LIFE)
    story.withheld(asked=asked)
    story.judge.has_lapsed("main", 1)


@excused
def a_session_is_withheld_that_the_broker_called_dead(story: Story) -> None:
    token = story.session()
    story.called_dead(token)
    story.withheld()
    story.judge.has_lapsed("main", 1)


@excused
def an_account_got_a_session_while_it_was_on_its_way_out(story: Story) -> None:
    story.judge.loose.add("main")
    story.session()
    story.after(1)
    story.judge.has_lapsed("main", 1)


@excused
def a_bot_is_turned_away_while_nobody_can_be_let_in(story: Story) -> None:
    story.session()
    with story.judge.during("no room"):
        story.withheld("too_many_connections")
        story.judge.turned("/v1/status", 503, "too_many_connections", story.at)
    with story.judge.during("down"):
        story.judge.turned("/v1/status", 503, "shutting_down", story.at)
    story.judge.turned("/v1/status", 404, "unknown_account", story.at)
    story.judge.loose.add("family")
    story.judge.turned("/v1/token", 503, "shutting_down", story.at)


@excused
def a_session_that_could_not_be_kept_is_gone_after_a_restart(story: Story) -> None:
    with story.judge.during("unkept"):
        token = story.session()
        story.after(1)
    story.kept_being_served(1, token, 5)
    story.killed()
    story.withheld()
    story.served(2, story.logged_in())


@excused
def an_account_that_was_taken_away_is_withheld(story: Story) -> None:
    story.session()
    story.judge.drop("main")
    story.withheld("unknown_account")


# P2


@breaks("P2")
def a_session_is_served_after_its_end(story: Story) -> None:
    token = story.session()
    story.after(LIFE)
    story.served(1, token)


@breaks("P2")
def an_answer_comes_long_after_the_end_of_what_is_in_it(story: Story) -> None:
    token = story.session()
    story.after(LIFE - 0.1)
    asked = story.asked()
    story.after(1)
    story.served(1, token, asked)


@breaks("P2")
def a_session_is_served_after_it_was_said_to_have_lapsed(story: Story) -> None:
    token = story.session()
    story.called_dead(token)
    story.judge.has_lapsed("main", 1)
    story.served(1, token)


@breaks("P2")
def a_session_is_served_after_the_broker_called_it_dead(story: Story) -> None:
    token = story.session()
    story.called_dead(token)
    story.after(1)
    story.served(1, token)


@breaks("P2")
def a_session_that_is_dead_comes_back_with_a_restart(story: Story) -> None:
    token = story.session()
    story.called_dead(token)
    story.after(5)
    story.killed()
    story.served(1, token)


@breaks("P2")
def a_watcher_is_given_what_is_over(story: Story) -> None:
    token = story.session()
    story.after(LIFE + 1)
    story.judge.told("main", 1, token, 10_000 + LIFE)


@excused
def an_answer_lay_in_the_socket_while_neod_stood_still(story: Story) -> None:
    token = story.session()
    story.after(LIFE - 0.1)
    asked = story.asked()
    with story.judge.during("pause"):
        story.after(4)
    story.served(1, token, asked)


@excused
def an_answer_lay_in_the_socket_while_the_bench_stood_still(story: Story) -> None:
    token = story.session()
    for _ in range(10):
        story.after(EVERY)
        story.judge.feel()
    story.after(LIFE - 0.6)
    story.judge.feel()
    asked = story.asked()
    story.after(2)
    story.served(1, token, asked)


@excused
def a_session_is_served_that_neod_had_no_time_to_hear_is_dead(story: Story) -> None:
    token = story.session()
    story.called_dead(token)
    story.killed()
    story.after(2)
    story.served(1, token)


@excused
def a_session_is_served_while_the_broker_calls_it_dead(story: Story) -> None:
    token = story.session()
    asked = story.asked()
    story.called_dead(token)
    story.after(0.2)
    story.served(1, token, asked)


# P3


@breaks("P3")
def the_account_is_locked(story: Story) -> None:
    story.wrote("login", locked=True)


@breaks("P3")
def there_are_more_logins_than_the_budget_has(story: Story) -> None:
    for generation in range(1, 42):
        story.session(generation)
        story.after(LIFE * 0.35)
    assert story.at < 10_000 + 600
    story.judge.drop("main")


@breaks("P3")
def there_are_more_logins_than_the_small_budget_has(story: Story) -> None:
    for generation in range(1, 4):
        story.kept_being_served(generation, story.session(generation), LIFE * 0.9)
    story.judge.configured(3)
    story.after(1)
    story.judge.taken_up()
    story.after(10)
    story.session(4)


@breaks("P3")
def a_restart_forgets_what_was_spent_of_the_budget(story: Story) -> None:
    story.judge.configured(3)
    story.judge.taken_up()
    for generation in range(1, 4):
        story.kept_being_served(generation, story.session(generation), LIFE * 0.9)
    story.killed()
    story.after(10)
    story.session(4)


@breaks("P3")
def credentials_are_tried_again_after_a_refusal(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(20)
    story.wrote("login")


@breaks("P3")
def credentials_are_tried_again_after_a_refusal_and_a_restart(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(10)
    story.killed()
    story.wrote("login")


@breaks("P3")
def credentials_are_tried_again_long_before_a_disk_was_full(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(20)
    story.wrote("login", refused=True)
    with story.judge.during("unwritten"):
        story.after(5)
    for _ in range(20):
        story.after(20)
        with story.judge.during("pause"):
            story.after(5)
    story.killed()


@breaks("P3")
def the_same_wrong_password_is_sent_twice(story: Story) -> None:
    with story.judge.wished("secrets", "main"):
        story.wrote("login", refused=True, mistyped=True)
        story.after(2)
        story.wrote("login", refused=True, mistyped=True)


@breaks("P3")
def one_word_leads_to_two_refusals(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(5)
    with story.judge.wished("unblock", "main"):
        story.after(0.1)
    story.after(0.1)
    story.wrote("login", refused=True)
    story.after(3)
    story.wrote("login", refused=True)


@excused
def a_login_goes_beyond_a_budget_that_is_not_taken_up_yet(story: Story) -> None:
    for generation in range(1, 4):
        story.kept_being_served(generation, story.session(generation), LIFE * 0.9)
    story.judge.configured(3)
    story.after(1)
    story.session(4)
    story.judge.taken_up()


@excused
def a_login_that_was_under_way_goes_beyond_the_new_budget(story: Story) -> None:
    for generation in range(1, 4):
        story.kept_being_served(generation, story.session(generation), LIFE * 0.9)
    story.wrote("login")
    story.judge.configured(3)
    story.judge.taken_up()
    story.after(5)
    story.served(4, story.wrote(token=token_of(story.at), sid=SID))


@excused
def what_neod_never_heard_of_is_not_in_its_budget(story: Story) -> None:
    story.judge.configured(1)
    story.judge.taken_up()
    story.wrote("validate", fault="cut")
    story.logged_in()
    story.wrote("validate", fault="cut")
    story.wrote("validate", token=token_of(story.at, "lost"))
    story.after(20)
    story.wrote("validate", token=token_of(story.at, "killed"))
    story.killed()
    story.after(20)


@excused
def credentials_are_tried_again_on_a_word(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(5)
    with story.judge.wished("unblock", "main"):
        story.after(0.1)
    story.wrote("login", refused=True)
    story.after(5)
    with story.judge.wished("secrets", "main", "family"):
        story.after(3)
    story.wrote("login")


@excused
def the_next_code_follows_one_that_was_refused(story: Story) -> None:
    story.wrote("login", refused=True, fault="totp-wrong")
    story.after(30)
    story.logged_in()


@excused
def credentials_are_tried_again_half_an_hour_later(story: Story) -> None:
    story.wrote("login", refused=True)
    story.after(1801)
    story.wrote("login")


@excused
def a_refusal_is_lost_that_the_disk_had_no_room_for(story: Story) -> None:
    with story.judge.during("unwritten"):
        story.wrote("login", refused=True)
        story.after(5)
    story.after(2)
    story.killed()
    story.wrote("login")


# P4


@breaks("P4")
def two_rejects_of_one_session_lead_to_two_logins(story: Story) -> None:
    story.kept_being_served(1, story.session(1), 15)
    asked = story.rejected(1), story.rejected(1)
    story.after(0.1)
    story.session(2)
    story.after(0.1)
    story.session(3)
    story.judge.rejected("main", 1, "renewed", 2, asked[0])
    story.judge.rejected("main", 1, "renewed", 3, asked[1])


@breaks("P4")
def a_session_is_renewed_for_nothing(story: Story) -> None:
    story.kept_being_served(1, story.session(1), LIFE / 2)
    story.session(2)


@breaks("P4")
def a_restart_costs_a_login(story: Story) -> None:
    story.kept_being_served(1, story.session(1), LIFE / 2)
    story.killed()
    story.session(2)


@breaks("P4")
def one_word_leads_to_two_logins(story: Story) -> None:
    story.kept_being_served(1, story.session(1), LIFE / 2)
    with story.judge.wished("renew", "main"):
        story.after(0.2)
        story.session(2)
    story.after(2)
    story.session(3)


@breaks("P4")
def a_reject_is_said_to_have_renewed_what_is_there_as_before(story: Story) -> None:
    story.session()
    story.judge.rejected("main", 1, "renewed", 1, story.rejected(1))


@excused
def a_reject_leads_to_a_login(story: Story) -> None:
    story.kept_being_served(1, story.session(1), 15)
    asked = story.rejected(1)
    story.after(0.1)
    story.session(2)
    story.judge.rejected("main", 1, "renewed", 2, asked)
    story.judge.rejected("main", 1, "newer", 2, asked)


@excused
def a_session_is_renewed_ahead_of_its_end(story: Story) -> None:
    story.kept_being_served(1, story.session(1), LIFE * 0.75)
    story.session(2)


@excused
def a_person_wishes_for_a_login(story: Story) -> None:
    story.kept_being_served(1, story.session(1), LIFE / 2)
    with story.judge.wished("renew", "main"):
        story.after(0.2)
        story.session(2)
    story.kept_being_served(2, story.judge.known["main"].token, LIFE / 2)
    with story.judge.wished("secrets", "main"):
        story.after(3)
    story.session(3)


@excused
def a_bearer_comes_without_a_login(story: Story) -> None:
    token = story.session(1)
    story.kept_being_served(1, token, LIFE / 2)
    story.wrote("bearer", account="")
    story.judge.served("main", 2, token, story.at + 10, story.asked(), "token")


# P5


@breaks("P5")
def an_answer_takes_too_long(story: Story) -> None:
    asked = story.at
    story.after(2.5)
    story.judge.took("/v1/token", asked)


@breaks("P5")
def a_wait_does_not_end(story: Story) -> None:
    asked = story.at
    story.after(9)
    story.judge.took("/v1/token", asked, 3.0)


@breaks("P5")
def a_wait_ends_early(story: Story) -> None:
    asked = story.at
    story.after(1)
    story.judge.held_on("/v1/token", asked, 3.0)


@breaks("P5")
def a_request_has_no_answer(story: Story) -> None:
    story.killed()
    story.after(2)
    with story.judge.during("pause"):
        story.after(2)
    story.judge.cut("/v1/token", story.at, story.at - 3.0, "cut")


@excused
def an_answer_waits_for_who_stands_still(story: Story) -> None:
    asked = story.at
    with story.judge.during("pause"):
        story.after(4)
    story.after(0.5)
    story.judge.took("/v1/token", asked)
    story.judge.held_on("/v1/token", asked, 3.0)


@excused
def an_answer_waits_for_a_descriptor(story: Story) -> None:
    asked = story.at
    with story.judge.during("crowd"):
        story.after(4)
    story.judge.took("/v1/token", asked)


@excused
def a_request_has_no_answer_from_who_was_killed(story: Story) -> None:
    opened = story.at
    story.after(5)
    story.killed()
    story.judge.cut("/v1/token", story.at, opened, "cut")


# Who is turned away


@breaks("room")
def a_peer_is_turned_away_from_a_crowd_that_leaves_room(story: Story) -> None:
    with story.judge.during("crowd"):
        story.judge.turned("/v1/watch", 503, "too_many_connections", story.at)


@breaks("room")
def a_peer_is_told_that_neod_stops_and_it_does_not(story: Story) -> None:
    story.judge.turned("/v1/status", 503, "shutting_down", story.at)


@breaks("room")
def a_peer_is_turned_away_with_another_status(story: Story) -> None:
    with story.judge.during("no room"):
        story.judge.turned("/v1/status", 429, "too_many_connections", story.at)


# P6, bugs


@breaks("P6")
def a_secret_is_in_an_answer(story: Story) -> None:
    story.judge.said("/v1/status", f'{{"why": "{WHO.mpin}"}}'.encode())


@breaks("P6")
def a_token_is_in_an_answer(story: Story) -> None:
    story.judge.said("/v1/status", story.session().encode())


@breaks("P6")
def a_sid_is_in_the_log(story: Story) -> None:
    story.session()
    story.judge.follow()
    story.judge.wrote("1.log", f"info session sid={SID}\n", log=True)


@breaks("P6")
def the_consumers_secret_is_in_the_log_as_http_has_it(story: Story) -> None:
    basic = base64.b64encode(f"{WHO.consumer_key}:{WHO.consumer_secret}".encode()).decode()
    story.judge.wrote("1.log", f"debug request authorization='Basic {basic}'\n", log=True)


@breaks("bugs")
def a_bug_is_in_the_log(story: Story) -> None:
    story.judge.wrote("1.log", "2026-11-24T10:00:00+05:30 error bug account=main\n", log=True)


@breaks("bugs")
def an_answer_tells_of_a_bug(story: Story) -> None:
    story.judge.said("/v1/renew", b'{"code":"internal_error"}')


@excused
def nothing_secret_is_written(story: Story) -> None:
    story.session()
    story.judge.wrote("1.log", f"info session rid={SID[::-1]}\nwarning accept\n", log=True)
    story.judge.said("/v1/status", b'{"code":"not_ready"}')


# P7, P8


@breaks("P7")
def another_user_is_given_a_session(story: Story) -> None:
    story.judge.met(b"HTTP/1.1 200 OK\r\n\r\n{}")


@excused
def another_user_is_sent_away_or_finds_nobody(story: Story) -> None:
    story.judge.met(b'HTTP/1.1 403 Forbidden\r\n\r\n{"code":"forbidden"}')
    story.judge.met(b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"code":"too_many_connections"}')
    story.judge.met(b"")


@breaks("P8")
def it_is_ready_and_has_no_session(story: Story) -> None:
    story.judge.ready("main", "not_ready", 200, "not_ready")


@breaks("P8")
def it_is_not_ready_and_has_a_session(story: Story) -> None:
    story.judge.ready("main", "200", 503, "200")


@excused
def it_is_ready_when_a_session_is_there(story: Story) -> None:
    story.judge.ready("main", "200", 200, "200")
    story.judge.ready("main", "not_ready", 503, "not_ready")
    story.judge.ready("main", "200", 503, "not_ready")


# Generations


@breaks("generations")
def an_older_generation_comes_after_a_newer_one(story: Story) -> None:
    first = story.session(1)
    story.after(LIFE * 0.8)
    story.session(2)
    story.served(1, first)


@breaks("generations")
def a_generation_is_given_away_twice(story: Story) -> None:
    story.session(1)
    story.after(LIFE * 0.8)
    story.session(1)


@breaks("generations")
def a_generation_comes_that_the_bot_has_already(story: Story) -> None:
    token = story.session(1)
    story.served(1, token, story.asked(after=1))


@breaks("generations")
def a_reject_is_told_of_an_older_generation(story: Story) -> None:
    story.session(3)
    story.judge.rejected("main", 3, "newer", 2, story.rejected(3))


# The watch


@breaks("watch")
def a_watcher_is_not_told_of_a_new_session(story: Story) -> None:
    opened = story.at
    story.after(1)
    story.kept_being_served(1, story.session(), 5)
    story.watched(opened)


@breaks("watch")
def a_watcher_is_told_of_a_new_session_late(story: Story) -> None:
    opened = story.at
    story.kept_being_served(1, story.session(), 5)
    story.watched(opened).got["main", 1] = opened + 2.5


@breaks("watch")
def a_watcher_is_not_told_of_the_session_that_is_there(story: Story) -> None:
    token = story.session()
    opened = story.after(5)
    story.kept_being_served(1, token, 5)
    story.watched(opened)


@breaks("watch")
def a_watcher_is_not_told_of_an_end(story: Story) -> None:
    opened = story.at
    story.session()
    story.after(LIFE + 4)
    story.watched(opened, ("main", 1))


@breaks("watch")
def a_watcher_hears_no_heartbeat(story: Story) -> None:
    beat = story.at
    story.after(19)
    story.judge.silent(beat)


@excused
def a_watcher_is_told_of_all_that_it_need_know(story: Story) -> None:
    token = story.session()
    opened = story.after(5)
    story.kept_being_served(1, token, 5)
    story.watched(opened, after=1)
    story.watched(opened, ("main", 1))
    story.after(LIFE)
    story.watched(opened, ("main", 1)).ended["main", 1] = story.at
    story.judge.silent(story.at - 16)


@excused
def a_watcher_is_gone_with_neod_before_it_could_be_told(story: Story) -> None:
    opened = story.at
    story.session()
    story.after(0.5)
    story.killed(4)
    story.watched(opened)


@excused
def a_watcher_is_told_of_what_comes_after_the_end(story: Story) -> None:
    opened = story.at
    story.session()
    story.after(LIFE + 1)
    story.session(2)
    story.after(5)
    story.watched(opened, ("main", 1), ("main", 2))


# What stands still


@breaks("stuck")
def an_account_does_not_do_what_was_due(story: Story) -> None:
    story.judge.stands("main", "backing_off", story.at - 30, story.at - 25, story.at)


@breaks("stuck")
def a_login_does_not_end(story: Story) -> None:
    story.judge.stands("main", "renewing", story.at - 80, None, story.at)


@breaks("paused")
def it_logs_in_while_a_person_has_paused_it(story: Story) -> None:
    with story.judge.wished("pause", "main"):
        story.after(10)
        story.wrote("login")
        story.after(1)


@breaks("paused")
def a_login_goes_on_though_a_person_has_paused_it_meanwhile(story: Story) -> None:
    story.wrote("login")
    story.after(1)
    with story.judge.wished("pause", "main"):
        story.after(2)
        story.wrote("validate")
        story.after(5)


@excused
def a_request_was_under_way_when_a_person_paused_the_account(story: Story) -> None:
    story.wrote("login")
    with story.judge.wished("pause", "main"), story.judge.during("broker stopped"):
        story.after(3)
        story.wrote("validate")
        story.after(5)
    story.wrote("login")
    with story.judge.wished("pause", "main"):
        story.wrote("validate", fault="slow")
        story.after(4)
        story.wrote("validate")
        story.after(5)


@excused
def an_account_waits_for_what_is_to_come(story: Story) -> None:
    with story.judge.during("pause"):
        story.after(40)
    story.judge.stands("main", "backing_off", story.at - 300, story.at - 42, story.at)
    story.judge.stands("main", "renewing", story.at - 100, None, story.at)
    story.judge.stands("main", "credentials_rejected", story.at - 300, None, story.at)


@excused
def it_logs_in_on_a_persons_word_though_it_is_paused(story: Story) -> None:
    with story.judge.wished("pause", "main"):
        story.after(10)
        with story.judge.wished("renew", "main"):
            story.wrote("login")


@pytest.mark.parametrize(("promise", "tale"), BREAKS, ids=[tale.__name__ for _, tale in BREAKS])
def test_the_judge_says_which_promise_is_broken(promise: str, tale: Tale, tmp_path: Path) -> None:
    story = Story(tmp_path)

    tale(story)

    assert story.broken() == {promise}


@pytest.mark.parametrize("tale", EXCUSED, ids=[tale.__name__ for tale in EXCUSED])
def test_the_judge_excuses_what_is_not_neods_doing(tale: Tale, tmp_path: Path) -> None:
    story = Story(tmp_path)

    tale(story)

    assert story.broken() == set()


SIZE = Size(files=["socket:[1]"], talks=1, memory=50.0, threads=3, zombies=0, peers=["bench"])


@pytest.mark.parametrize(
    ("size", "what"),
    [
        (SIZE._replace(files=["socket:[1]", "pipe:[2]"]), "descriptors"),
        (SIZE._replace(talks=4), "broker"),
        (SIZE._replace(memory=61.0), "MB"),
        (SIZE._replace(threads=9), "threads"),
        (SIZE._replace(zombies=1), "children"),
        (SIZE._replace(peers=["bench", "bot"]), "connected"),
    ],
)
def test_what_has_grown_is_told(size: Size, what: str) -> None:
    [told] = grown(SIZE, size)

    assert what in told


def test_a_neod_that_is_as_large_as_before_has_not_grown() -> None:
    assert grown(SIZE, SIZE._replace(memory=55.0, threads=5, files=[])) == []
    assert grown(None, SIZE) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_mistake_that_is_planted_to_judge_the_judge_can_be(fault: Fault) -> None:
    for path, text in spoilt(fault).items():
        ast.parse(text, path)
