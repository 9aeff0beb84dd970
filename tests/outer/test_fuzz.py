"""What others send, or leave on the disk, damaged: nothing but what is documented comes of it.

Each begins with something that is right, and damages it. `NEOD_TEST_PROFILE=long` has each of them
tried 150,000 times: about an hour, in which no test may be held to hang.

    NEOD_TEST_PROFILE=long pytest -m outer -o faulthandler_timeout=7200 tests/outer/test_fuzz.py
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from neoctl import cli, client, glance
from neod import config
from neod.account import totp
from neod.account.ledger import FileLedger, open_ledger
from neod.account.policy import barred
from neod.account.snapshot import from_login
from neod.account.store import FileStore, Kept, login_of
from neod.account.token import BadToken, read_claims
from neod.ipc.api import ROUTES
from neod.ipc.conversation import Conversation
from neod.ipc.http1 import BadRequest, Problem, Request, parse, split_head
from neod.kotak.evidence import read_evidence
from neod.kotak.flows import Flow, Login, Password, Totp, Wanted, password_flow, totp_flow
from neod.kotak.flows import Request as ToKotak
from neod.kotak.replies import LoginFailed, Reply
from neod.sandbox.broker import Broker, make_token
from neod.secrets import Secret
from tests.fakes.asking import answer_of
from tests.fakes.canned import A_SESSION, A_TOKEN
from tests.fakes.clock import START, FrozenClock
from tests.fakes.desk import Desk, hold
from tests.fakes.world import TOTP, WHO, account

pytestmark = pytest.mark.outer

T = TypeVar("T")
Damage = Callable[[bytes], bytes]
STRANGE = [
    *(b"\0", b"\r\n", b"\n\n", b"\xff", b"\xc3\x28", b"\\ud800", b"\x1b[2J", b"%00", b"{}", b"[]"),
    *(b"null", b"-1", b"1e400", b"9" * 40, b'"', b"'", b" " * 70_000, b"[" * 2000, b"NaN"),
]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Something that is done to bytes: pieces cut out, doubled, moved, or strange ones put in."""
    place = st.tuples(st.floats(0, 1), st.floats(0, 1))
    strange = st.sampled_from(STRANGE) | st.binary(max_size=8)
    kinds = st.sampled_from(["cut", "double", "put", "replace", "end"])
    drawn = draw(st.lists(st.tuples(place, strange, kinds), min_size=1, max_size=4))

    def damage(text: bytes) -> bytes:
        for (first, second), piece, kind in drawn:
            start, stop = sorted((int(first * len(text)), int(second * len(text))))
            stop = min(stop, start + 64)
            if kind == "cut":
                text = text[:start] + text[stop:]
            elif kind == "double":
                text = text[:stop] + text[start:]
            elif kind == "put":
                text = text[:start] + piece + text[start:]
            elif kind == "replace":
                text = text[:start] + piece + text[stop:]
            else:
                text = text[:start]
        return text

    return damage


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def wrong_somewhere(draw: st.DrawFn) -> Callable[[object], object]:
    """Something that is done to JSON: one value in it is another, or gone."""
    path = draw(st.lists(st.integers(0, 30), max_size=4))
    value = draw(values)
    gone = draw(st.booleans())

    def change(tree: object) -> object:
        return _changed(tree, path, value, gone=gone)

    return change


def _changed(tree: object, path: list[int], value: object, *, gone: bool) -> object:
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    if isinstance(tree, list):
        place = path[0] % len(tree)
        return [
            _changed(one, path[1:], value, gone=gone) if number == place else one
            for number, one in enumerate(tree)
        ]
    name = list(tree)[path[0] % len(tree)]
    if gone and len(path) == 1:
        return {key: one for key, one in tree.items() if key != name}
    return {
        key: _changed(one, path[1:], value, gone=gone) if key == name else one
        for key, one in tree.items()
    }


HEADS = [
    b"GET /v1/token?account=main&min_valid=60 HTTP/1.1\r\nHost: neod\r\n\r\n",
    b"POST /v1/reject HTTP/1.1\r\nHost: neod\r\nContent-Length: 12\r\nConnection: close\r\n\r\n",
    b"HEAD /v1/session HTTP/1.0\r\n\r\n",
]


@given(st.sampled_from(HEADS), damages())
def test_a_head_is_a_request_or_a_bad_one(head: bytes, damage: Damage) -> None:
    damaged = damage(head)
    try:
        end = split_head(damaged)
        request = parse(damaged[:end]) if end else None
    except BadRequest as error:
        assert Problem("bad_request", str(error)).response().status == 400
    else:
        assert request is None or isinstance(request, Request)


class Peer(trio.abc.HalfCloseableStream):
    """The other end of a conversation: says its piece, and hears all."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.heard = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        some, self.said = self.said[:max_bytes], self.said[max_bytes or len(self.said) :]
        return some

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.heard += bytes(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@given(st.lists(st.sampled_from(HEADS), min_size=1, max_size=3), damages())
def test_a_conversation_is_http_and_ends(heads: list[bytes], damage: Damage) -> None:
    desk = Desk("main")
    desk.publish(7)
    peer = Peer(damage(b"".join(heads)))
    trio.run(
        Conversation(peer, desk.api.respond, config.Server()).run,
        clock=MockClock(autojump_threshold=0),
    )
    assert not peer.heard or peer.heard.startswith(b"HTTP/1.1 ")
    assert b"internal_error" not in peer.heard


POSTS = sorted(route for route, methods in ROUTES.items() if "POST" in methods)
BODY = {
    "account": "main",
    "generation": 7,
    "evidence": {"stCode": 100022},
    "otp": "1234",
    "force": False,
}


@given(st.sampled_from(POSTS), wrong_somewhere(), damages(), st.booleans())
def test_a_body_is_answered_as_documented(
    route: str,
    change: Callable[[object], object],
    damage: Damage,
    broken: bool,  # noqa: FBT001
) -> None:
    body = json.dumps(change(BODY)).encode()
    body = damage(body) if broken else body
    request = Request("POST", route, {}, {}, len(body), keep_alive=True)

    async def ask() -> tuple[int, bytes]:
        desk = Desk("main")
        response = await answer_of(desk.api, request, body)
        return response.status, response.body

    status, answer = trio.run(ask, clock=MockClock(autojump_threshold=0))
    assert status in {200, 400, 404, 409, 503}
    json.loads(answer)


@given(values)
def test_evidence_may_be_anything(evidence: object) -> None:
    assert read_evidence(evidence).says


# What the broker sends


def settled(flow: Flow[Login], broker: Broker, spoil: Callable[[int, bytes], bytes]) -> object:
    """Play a flow against the sandbox, whose replies are spoilt on the way; what comes of it."""
    count, wanted = 0, next(flow)
    try:
        while True:
            if isinstance(wanted, Wanted):
                wanted = flow.send(Secret(totp.code(WHO.totp_secret, int(START) // 30)))
                continue
            sent = ask(broker, wanted)
            count += 1
            wanted = flow.send(Reply(sent.status, sent.headers, spoil(count, sent.body)))
    except StopIteration as stop:
        return stop.value
    except LoginFailed as failure:
        return failure


def ask(broker: Broker, request: ToKotak) -> Reply:
    path = "/" + request.url.partition("://")[2].partition("/")[2]
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = b"" if request.body is None else json.dumps(request.body).encode()
    answer = broker.handle("POST", path, headers, body, START)
    return Reply(answer.status, {"content-type": answer.content_type}, answer.body)


ACCESS = Secret(WHO.access_token)
PASSWORD_ACCOUNT, TOTP_ACCOUNT = account(), account(**TOTP)


def flows() -> tuple[Flow[Login], Flow[Login]]:
    """The password flow and the TOTP flow, with what the sandbox lets in."""
    access = Secret(WHO.access_token)
    who = ("mobileNumber", WHO.mobile)
    by_password = Password(who, Secret(WHO.password), access, "mpin", Secret(WHO.mpin))
    by_totp = Totp(WHO.mobile, WHO.ucc, access, Secret(WHO.totp_secret), Secret(WHO.mpin))
    return (
        password_flow(by_password, PASSWORD_ACCOUNT.endpoints),
        totp_flow(by_totp, TOTP_ACCOUNT.endpoints),
    )


@given(st.booleans(), st.integers(1, 4), wrong_somewhere(), damages(), st.booleans())
def test_a_login_that_is_spoilt_is_a_session_or_a_failure(
    by_totp: bool,  # noqa: FBT001
    step: int,
    change: Callable[[object], object],
    damage: Damage,
    broken: bool,  # noqa: FBT001
) -> None:
    owner = TOTP_ACCOUNT if by_totp else PASSWORD_ACCOUNT

    def spoil(count: int, body: bytes) -> bytes:
        if count != step:
            return body
        if broken:
            return damage(body)
        try:
            return json.dumps(change(json.loads(body))).encode("utf-8", "surrogatepass")
        except ValueError:
            return damage(body)

    flow = flows()[by_totp]
    found = settled(flow, Broker(), spoil)
    if isinstance(found, Login):
        clock = FrozenClock().clock
        try:
            held = from_login(owner, found, 1, sent=(START, 1000.0), clock=clock)
        except LoginFailed:
            return
        assert msgspec.json.decode(msgspec.json.encode(held.session))
        for name, value in held.session.headers.items():
            assert f"{name}{value}".isprintable()
    else:
        assert isinstance(found, LoginFailed)


TOKEN = make_token(START, START + 3600, WHO, "trade")


@given(damages())
def test_a_token_is_claims_or_a_bad_one(damage: Damage) -> None:
    try:
        claims = read_claims(damage(TOKEN.encode()).decode("utf-8", "replace"))
    except BadToken:
        return
    assert claims.expires_at > 0


# What is on the disk

CONFIG = b"""
[account.main]
mobile = "+919999996708"
password = { command = ["pass", "kotak/password"] }
consumer_key = "key"
consumer_secret = { credential = "kotak" }
[account.main.renewal]
margin = "15min"
hours = ["Mon-Fri 08:30-15:45"]
edge = "00:00"
[account.main.hooks]
on_event = ["x"]
[server]
grace = "3s"
"""


@given(damages())
def test_a_configuration_is_one_or_a_list_of_mistakes(damage: Damage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.write_bytes(damage(CONFIG))
        path.chmod(0o600)
        try:
            config.load(path)
        except config.ConfigError as error:
            assert error.mistakes
            str(error).encode()


def a_ledger() -> bytes:
    """What the file says after a few logins."""
    lines = [
        {"ledger": 1, "account": "main", "salt": "00" * 16},
        *(
            line
            for number in range(1, 6)
            for line in (
                {"event": "attempt", "at": START, "time": "", "id": number, "step": "login"}
                | {"secrets": "a", "why": "", "totp_step": number},
                {"event": "outcome", "at": START, "time": "", "id": number, "result": "accepted"},
                {"event": "published", "at": START, "time": "", "generation": number}
                | {"expires_at": int(START) + 9},
            )
        ),
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@given(damages())
def test_a_damaged_ledger_is_set_aside_and_allows_nothing(damage: Damage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.ledger")
        path.write_bytes(damage(a_ledger()))
        ledger, why = open_ledger(path, "main", FrozenClock().clock)
        assert isinstance(ledger, FileLedger)
        if why:
            assert barred(START, ledger.history, "a") is not None
        again, why = open_ledger(path, "main", FrozenClock().clock)
        assert why == ""
        assert again.history == ledger.history


@given(damages())
def test_a_damaged_store_has_a_session_or_none(damage: Damage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.session")
        store = FileStore(path, "boot")
        held = hold(FrozenClock().clock)
        kept = Kept(held=held, secrets="a", login=login_of(account()))
        trio.run(store.save, kept)
        path.write_bytes(damage(path.read_bytes()))
        path.chmod(0o600)
        found = FileStore(path, "boot").load()
        assert found in (None, kept)


# What neod sends to its client

STATUS = {
    "version": "1",
    "configuration": None,
    "accounts": {
        "main": {
            "state": "ok",
            "valid": True,
            "since": 1.0,
            "why": "x",
            "next": 2.0,
            "kind": "trade",
            "generation": 7,
            "expires_at": 9,
            "last_failure": {"at": 1.0, "kind": "k", "detail": "d", "action": "a"},
            "budget": {"per_day": {"used": 1, "allowed": None}},
            "environment": "prod",
            "watchers": 1,
        }
    },
}


@given(st.sampled_from([A_TOKEN, A_SESSION]), damages())
def test_an_answer_is_a_reply_or_a_problem(answer: bytes, damage: Damage) -> None:
    try:
        reply = client._parse(damage(answer), "/x")
        if reply.status != 200:
            raise client._problem(reply, "/x")
    except client.Problem as problem:
        assert problem.code


@given(wrong_somewhere())
def test_a_status_is_shown_or_not_understood(change: Callable[[object], object]) -> None:
    for show in (glance.at, glance.line):
        try:
            text = show(change(STATUS))  # type: ignore[arg-type]
        except (*cli.NOT_UNDERSTOOD, OSError):
            continue  # which neoctl says in one line
        assert text.endswith("\n")


def test_a_login_that_is_not_spoilt_is_a_session() -> None:
    """So that the spoilt ones get as far as they can."""
    for flow in flows():
        assert isinstance(settled(flow, Broker(), lambda _, body: body), Login)
