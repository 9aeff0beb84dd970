"""Each way in which Kotak is known to fail, at each step where it can, played by the real keeper.

The replies are the sandbox's own (neod.sandbox.faults), so that what a sandbox answers and what
neod makes of it are held together. The rows are those of what is known of Kotak's failures.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest
import trio
from trio.testing import MockClock

from neod.account.history import Outcome
from neod.ipc.api import Api
from neod.ipc.http1 import Response, parse
from neod.kotak import replies
from neod.kotak.flows import BEARER, MPIN, OTP, SEND_OTP, TOTP_VIEW, VIEW
from neod.kotak.replies import Kind, classify
from neod.sandbox import faults
from neod.sandbox.broker import Credentials, Settings
from neod.secrets import Secret
from tests.fakes.asking import answer_of
from tests.fakes.clock import START
from tests.fakes.kotak import Canned, Cut, Fault, Hang, Refuse, Seen
from tests.fakes.world import SOMEBODY, TOTP, World

pytestmark = pytest.mark.outer

HOUR = 3600.0
HOURS = 6
WHO = Credentials()
MPIN_TABLE: dict[str, object] = {"mpin": WHO.mpin}
OTP_TABLE: dict[str, object] = {"second_factor": "otp"}


@dataclass(frozen=True)
class Place:
    """A request of one of the flows."""

    account: Mapping[str, object]  # what the account's table has beyond the usual
    step: faults.Step  # as the sandbox calls it
    words: replies.Step  # as a person is told of it
    keys: str  # of the configuration: where to look, unless the failure knows better


PLACES = {
    "bearer": Place({}, "bearer", BEARER, "consumer_key and consumer_secret"),
    "view": Place({}, "login", VIEW, "password"),  # all that there is
    "first": Place(MPIN_TABLE, "login", VIEW, "password"),  # the first factor of two
    "mpin": Place(MPIN_TABLE, "validate", MPIN, "mpin"),
    "send": Place(OTP_TABLE, "otp", SEND_OTP, "mobile"),
    "otp": Place(OTP_TABLE, "validate", OTP, "code that was typed"),
    "totp": Place(TOTP, "login", TOTP_VIEW, "totp_secret"),
    "trade": Place(TOTP, "validate", MPIN, "mpin"),  # the TOTP flow's second factor
}
ALL = " ".join(PLACES)
LOGINS = "view first mpin otp totp trade"
SECOND = "mpin otp trade"

# The fault's name with the sandbox | what kind it is | where it occurs | what a person is told
# of: a key of the configuration, or what to do. Empty: the keys of the request that failed.
TABLE: list[tuple[str, Kind, str, str]] = [
    ("invalid-client", "rejected", "bearer", "consumer_key and consumer_secret"),  # 401
    ("totp-wrong", "rejected", "totp", "totp_secret"),  # 10506
    ("totp-unregistered", "rejected", "totp", "totp_secret"),  # 10508
    ("header-missing", "rejected", SECOND, "report it"),  # 10512
    ("passing-424", "unavailable", ALL, ""),  # 424, an int
    ("missing-field", "rejected", f"{LOGINS} send", ""),  # 400, "Missing required field …"
    ("credentials", "rejected", LOGINS, ""),  # "Invalid credentials or TOTP."
    ("mpin", "rejected", "mpin trade", "mpin"),  # "Invalid MPIN."
    ("stcode-401", "rejected", "mpin trade", "mpin"),  # a 200
    ("stcode-429-ucc", "rejected", "totp", "ucc"),  # a 200, and 429 is no rate limit
    ("dead-session", "unavailable", SECOND, ""),  # 100022
    ("dead-session-in-data", "unavailable", SECOND, ""),  # 100022 inside data, a 200
    ("unauthorized-100008", "rejected", LOGINS, "source_address"),
    ("ip-1037", "rejected", LOGINS, "source_address"),
    ("view-100021", "rejected", SECOND, "second_factor"),
    ("bearer-dead", "rejected", "view first mpin otp send", "access_token, or consumer_key"),
    ("locked", "rejected", f"{LOGINS} send", "unlock it in the Kotak Neo app"),  # 70009
    ("throttled", "rate_limited", ALL, ""),  # 900800, with Retry-After
    ("429", "rate_limited", ALL, ""),
    ("400", "rejected", ALL, ""),
    ("500", "unavailable", ALL, ""),
    ("502", "unavailable", ALL, ""),  # nothing in it
    ("502-html", "unavailable", ALL, ""),
    ("503", "unavailable", ALL, ""),
    ("504", "unanswered", ALL, ""),
    ("html", "unavailable", ALL, ""),  # a 200
    ("empty", "unintelligible", f"bearer {LOGINS}", ""),  # a 200; of `send` see below
    ("otp-not-sent", "unavailable", "send", ""),  # 10522
    ("cut", "unanswered", ALL, ""),
    ("hang", "unanswered", ALL, ""),
    ("no-connection", "unavailable", ALL, ""),
]
CASES = [(name, kind, where, says) for name, kind, at, says in TABLE for where in at.split()]
DONE_TO_ITS_OWN_ANSWER: dict[str, Fault] = {
    "cut": Cut(),
    "hang": Hang(),
    "no-connection": Refuse(),  # no fault of the sandbox's: nobody is there to have it
}


def canned(answer: Response) -> Canned:
    headers = {"Content-Type": answer.content_type, **dict(answer.headers)}
    return Canned(answer.status, answer.body, headers)


def named(name: str) -> Fault:
    """The fault as the sandbox has it."""
    if name in DONE_TO_ITS_OWN_ANSWER:
        return DONE_TO_ITS_OWN_ANSWER[name]
    answer = faults.parse(name).reply
    assert answer
    return canned(answer)


@dataclass
class Played:
    """What hours with a fault came to."""

    world: World
    requests: int  # of the step that fails
    problem: dict[str, object]  # what a bot is told at the end

    @property
    def told(self) -> str:
        """What a person reads who asks for a token."""
        return f"{self.problem['detail']} {self.problem['action']}"


class Patience(random.Random):
    """The longest waits that there are: fewer logins to play, and the least of them to count."""

    def random(self) -> float:
        return 0.99


def world_at(place: Place) -> World:
    world = World(Settings(life=HOUR, bearer_life=24 * HOUR))
    world.random = Patience()
    world.boot(**place.account)
    return world


async def play(place: Place, fault: Fault, hours: int = HOURS) -> Played:
    """Hours of a fault that does not pass, for secrets that were never accepted."""
    world = world_at(place)

    def hit(seen: Seen) -> bool:
        return faults.step_of(seen.path, seen.headers) == place.step

    world.kotak.always = lambda seen: fault if hit(seen) else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        for _ in range(hours):
            if place.account is OTP_TABLE:
                await ask(world)
            await trio.sleep(HOUR)
        nursery.cancel_scope.cancel()
    answer = await answer_of(
        Api({"main": world.keeper}, START), parse(b"GET /v1/token HTTP/1.1\r\n\r\n")
    )
    return Played(world, sum(hit(seen) for seen in world.kotak.seen), json.loads(answer.body))


async def ask(world: World) -> None:
    """A person who wants a login, and types the code where one is wanted."""
    await world.keeper.renew(SOMEBODY)
    if world.keeper.waits_for_otp:
        await world.keeper.give_otp(Secret(world.kotak.broker.otp or "1234"), SOMEBODY)


def check(played: Played, name: str, kind: Kind, where: str, says: str) -> None:
    """Compare what came of a fault with what its kind demands."""
    standing = played.world.board.standing
    assert standing.last_failure
    failure = standing.last_failure
    assert failure.kind == kind
    requests, states, code = fate(name, kind, where)
    assert played.requests in requests
    assert standing.state in states
    assert played.problem["code"] == code
    assert not played.world.board.held
    assert failure.detail
    if kind == "rejected":
        assert (says or PLACES[where].keys) in failure.action
        assert (says or PLACES[where].keys) in played.told
        if where != "send":  # which no ledger holds, since it judges no credentials
            assert failure.action in standing.why
    if code == "blocked":
        assert "neoctl unblock" in played.told
    if where != "send":
        ends = [one for one in played.world.ledger.lines if isinstance(one, Outcome)]
        assert sum(end.result == kind for end in ends) in (played.requests, played.requests - 1)


BY_A_PERSON = range(HOURS, HOURS + 1)  # once each time that a person asked
MANY = range(20, 200)  # within an hour: an outage is tried on and on, ever less often
Fate = tuple[range, tuple[str, ...], str]  # requests, state, code on the wire


def fate(name: str, kind: Kind, where: str) -> Fate:
    """What has to follow from a failure of a kind."""
    if where == "send":  # it judges no credentials, and goes out on a person's word alone
        return BY_A_PERSON, ("otp_needed",), "otp_needed"
    if kind == "rejected":
        once_more = name == "totp-wrong"  # with the next step's code
        times = 2 if once_more else 1
        return range(times, times + 1), ("credentials_rejected",), "credentials_rejected"
    if kind in ("unanswered", "unintelligible"):
        return range(2, 3), ("blocked",), "blocked"
    if where == "otp":
        return BY_A_PERSON, ("otp_needed",), "otp_needed"
    return MANY, ("backing_off", "starting"), "broker_unavailable"


@pytest.mark.parametrize(
    ("name", "kind", "where", "says"), CASES, ids=[f"{case[0]}@{case[2]}" for case in CASES]
)
async def test_each_failure_at_each_step_ends_as_its_kind_demands(
    autojump_clock: MockClock, name: str, kind: Kind, where: str, says: str
) -> None:
    goes_on = fate(name, kind, where)[0] == MANY

    played = await play(PLACES[where], named(name), 1 if goes_on else HOURS)

    check(played, name, kind, where, says)


def test_no_reply_of_the_sandboxs_is_left_out() -> None:
    assert set(faults.REPLIES) <= {name for name, *_ in TABLE}
    # These are no failures of their own: late, or about the clock, or about the sandbox.
    others = {"slow", "skew", "none", "wrong-type"}
    assert set(faults.MANNERS) - others <= {name for name, *_ in TABLE}


def test_every_row_of_the_classification_is_met_by_a_reply_of_the_sandboxs() -> None:
    unmet = list(replies.TABLE)
    for name, _, where, _ in CASES:
        if answer := faults.REPLIES.get(name):
            sent = replies.Reply(answer.status, {"content-type": answer.content_type}, answer.body)
            found = classify(sent, PLACES[where].words)
            unmet = [row for row in unmet if row.says not in found.detail]
    # The gateway of the older API said the first in words, a bare status is none of Kotak's, and
    # the sandbox has nothing that nobody has seen.
    assert {row.says for row in unmet} <= {
        "the account is locked",
        "not authorised",
        "the credentials are wrong",
        "it complains of what was sent, in words that are new",
        "what was sent cannot be taken, or is locked",
    }


# Shapes

SAID_BY_ITS_CODE_OR_WORDS = [
    (name, kind, at.split()[0], says)
    for name, kind, at, says in TABLE
    if name in faults.REPLIES
    and name not in ("400", "429", "500", "502", "502-html", "503", "504", "html", "empty")
]
REFUSALS = [case for case in SAID_BY_ITS_CODE_OR_WORDS if case[1] == "rejected"]


def complaint(answer: Response) -> tuple[object, str]:
    """The code and the message of a reply, wherever it has them."""
    fields = json.loads(answer.body)
    inner = fields.get("data") or fields.get("fault") or fields.get("error")
    found = inner[0] if isinstance(inner, list) else inner if isinstance(inner, dict) else fields
    names = ("code", "stCode", "errorCode", "error")
    code = next(found[name] for name in names if name in found)
    words = ("message", "errMsg", "error_description")
    return code, next(found[name] for name in words if name in found)


def turned(code: object) -> object:
    """The code as an int where it is a string, and the other way round."""
    if isinstance(code, int):
        return str(code)
    return int(code) if isinstance(code, str) and code.isdigit() else code


SHAPES: dict[str, object] = {  # CODE and MESSAGE stand for the reply's own
    "listed": {"error": [{"code": "CODE", "message": "MESSAGE"}]},
    "listed second": {"error": [{}, {"code": "CODE", "message": "MESSAGE"}]},
    "error is a table": {"error": {"code": "CODE", "message": "MESSAGE"}},
    "error is a string": {"error": "MESSAGE", "code": "CODE"},
    "errorCode": {"status": "error", "message": "MESSAGE", "errorCode": "CODE"},
    "stCode": {"stCode": "CODE", "errMsg": "MESSAGE", "stat": "Not_Ok"},
    "stCode in data": {"data": {"stCode": "CODE", "errMsg": "MESSAGE"}},
    "code in data": {"data": {"code": "CODE", "message": "MESSAGE"}},
    "fault": {"fault": {"code": "CODE", "message": "MESSAGE", "description": ""}},
    "gateway": {"code": "CODE", "message": "MESSAGE", "description": ""},
}


def reshaped(answer: Response, shape: str, *, turn: bool = False) -> Response:
    code, message = complaint(answer)
    text = json.dumps(SHAPES[shape])
    text = text.replace('"CODE"', json.dumps(turned(code) if turn else code))
    return msgspec.structs.replace(
        answer, body=text.replace('"MESSAGE"', json.dumps(message)).encode()
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "kind", "where", "says"),
    REFUSALS,
    ids=[case[0] for case in REFUSALS],
)
async def test_a_refusal_is_the_same_in_any_shape(
    autojump_clock: MockClock, name: str, kind: Kind, where: str, says: str, shape: str
) -> None:
    answer = faults.parse(name).reply
    assert answer

    played = await play(PLACES[where], canned(reshaped(answer, shape, turn=True)), 1)

    check(played, name, kind, where, says)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 424, 429, 500, 503])
@pytest.mark.parametrize("name", [case[0] for case in SAID_BY_ITS_CODE_OR_WORDS])
def test_a_failure_that_has_a_code_is_the_same_with_any_status(name: str, status: int) -> None:
    answer = faults.parse(name).reply
    assert answer
    for place in PLACES.values():
        usual = classify(replies.Reply(answer.status, {}, answer.body), place.words)
        for shape in SHAPES:
            for turn in (False, True):
                body = reshaped(answer, shape, turn=turn).body
                found = classify(replies.Reply(status, {}, body), place.words)
                assert (found.kind, found.action, found.totp) == (
                    usual.kind,
                    usual.action,
                    usual.totp,
                ), (place, shape, turn)


# What the table cannot say


async def test_an_empty_answer_to_the_wish_for_an_otp_counts_as_sent(
    autojump_clock: MockClock,
) -> None:
    world = World(second_factor="otp")
    world.kotak.always = lambda seen: (
        named("empty") if faults.step_of(seen.path, seen.headers) == "otp" else None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        asked = await world.keeper.renew(SOMEBODY)
        assert not asked.failed
        assert world.keeper.waits_for_otp
        nursery.cancel_scope.cancel()


async def test_who_asks_again_while_an_otp_is_waited_for_is_told_so_at_once(
    autojump_clock: MockClock,
) -> None:
    world = World(second_factor="otp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await world.keeper.renew(SOMEBODY)
        with trio.move_on_after(5) as in_time:
            asked = await world.keeper.renew(SOMEBODY)
            assert not asked.failed
            assert "neoctl otp" in asked.detail
        assert not in_time.cancelled_caught
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("where", ["view", "mpin", "trade"])
async def test_a_content_type_that_is_wrong_loses_no_login(
    autojump_clock: MockClock, where: str
) -> None:
    place = PLACES[where]
    world = world_at(place)
    handle, fault = world.kotak.broker.handle, faults.parse("wrong-type")

    def spoil(seen: Seen) -> Canned | None:
        if faults.step_of(seen.path, seen.headers) != place.step:
            return None
        return canned(fault.spoil(handle("POST", seen.path, seen.headers, seen.body, seen.at)))

    world.kotak.always = spoil

    await world.run_for(40)

    assert world.state == "ok"


@pytest.mark.parametrize(
    ("name", "where", "requests"),
    [
        ("credentials", "view", 2),
        ("locked", "view", 2),
        ("mpin", "mpin", 2),
        ("stcode-401", "trade", 2),
        ("totp-wrong", "totp", 2),
        ("invalid-client", "bearer", 2),
    ],
)
async def test_p3_secrets_that_were_accepted_before_are_refused_twice_and_no_more(
    autojump_clock: MockClock, name: str, where: str, requests: int
) -> None:
    place = PLACES[where]
    world = world_at(place)
    seen_before = 0

    def hit(seen: Seen) -> bool:
        return faults.step_of(seen.path, seen.headers) == place.step

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(60)
        assert world.state == "ok"
        seen_before = sum(hit(seen) for seen in world.kotak.seen)
        world.kotak.always = lambda seen: named(name) if hit(seen) else None
        await trio.sleep(HOURS * HOUR)
        nursery.cancel_scope.cancel()

    assert sum(hit(seen) for seen in world.kotak.seen) - seen_before == requests
    assert world.state == "credentials_rejected"


@pytest.mark.parametrize("name", ["cut", "empty"])
@pytest.mark.parametrize("where", ["view", "mpin", "totp", "trade"])
async def test_secrets_that_were_accepted_before_are_not_blocked_by_doubts(
    autojump_clock: MockClock, name: str, where: str
) -> None:
    place = PLACES[where]
    world = world_at(place)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.keeper.run)
        await trio.sleep(60)
        world.kotak.always = lambda seen: (
            named(name) if faults.step_of(seen.path, seen.headers) == place.step else None
        )
        await trio.sleep(HOURS * HOUR)
        assert world.state in ("backing_off", "renewing")
        world.kotak.always = None
        await trio.sleep(700)
        assert world.state == "ok"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("where", ["view", "mpin", "totp"])
async def test_retry_after_is_kept_to(autojump_clock: MockClock, where: str) -> None:
    place = PLACES[where]
    world = world_at(place)
    world.kotak.always = lambda seen: (
        named("throttled=1800") if faults.step_of(seen.path, seen.headers) == place.step else None
    )

    await world.run_for(HOURS * HOUR)

    times = [
        seen.at
        for seen in world.kotak.seen
        if faults.step_of(seen.path, seen.headers) == place.step
    ]
    assert len(times) >= 10
    assert min(after - before for before, after in pairwise(times)) >= 1800
