"""The sandbox: what goes wrong in it on demand, and how it is steered while it runs."""

import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyotp
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import cli, config
from neod.ipc.http1 import Response
from neod.sandbox.broker import Broker, Credentials, Settings
from neod.sandbox.faults import (
    MANNERS,
    REPLIES,
    STEPS,
    Fault,
    Faults,
    UnknownFault,
    about,
    parse,
    step_of,
)
from neod.sandbox.serve import (
    CONTROLS,
    listen,
    serve,
    settings_to_paste,
    totp_settings_to_paste,
    url_of,
)
from tests.fakes.clock import START, FrozenClock
from tests.fakes.process import Sandbox

WHO = Credentials()
PLAIN = {"Authorization": WHO.access_token, "neo-fin-key": "neotradeapi"}
BEARER = {"Authorization": f"Bearer {WHO.access_token}"}
PASSWORD = {"mobileNumber": WHO.mobile, "password": WHO.password}
VALIDATE = "login/1.0/login/v2/validate"

# Names


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("credentials", Fault("credentials")),
        ("504:3", Fault("504", times=3)),
        ("totp-wrong@login:2", Fault("totp-wrong", step="login", times=2)),
        ("slow=2.5", Fault("slow", 2.5)),
        ("slow=2.5@bearer:4", Fault("slow", 2.5, "bearer", 4)),
        ("throttled", Fault("throttled")),
        ("throttled=5", Fault("throttled", 5)),
        ("skew=-40", Fault("skew", -40)),
        (" none ", Fault("none")),
    ],
)
def test_a_fault_is_read_from_its_text(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "NAME"),
        ("cut:0", "NAME"),
        ("cut:-1", "NAME"),
        ("cut@", "NAME"),
        ("cut:1:2", "NAME"),
        ("nonsense", "nonsense"),
        ("cut@logout", "logout"),
        ("slow", "slow=30"),
        ("skew", "skew=30"),
        ("slow=1.2.3", "1.2.3"),
        ("slow=-1", "below 0"),
        ("cut=3", "no seconds"),
        ("skew=3:2", "for all"),
        ("none@login", "for all"),
    ],
)
def test_a_text_that_is_no_fault_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(UnknownFault, match=says):
        parse(text)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownFault) as refused:
        parse("totp-wrogn")
    for name in [*REPLIES, *MANNERS]:
        assert name in str(refused.value)
        assert name in about()


faults = st.builds(
    Fault,
    st.sampled_from([*REPLIES, "hang", "cut", "wrong-type"]),
    st.none(),
    st.sampled_from([None, *STEPS]),
    st.integers(1, 99),
)


@given(faults | st.builds(Fault, st.just("slow"), st.integers(0, 99).map(float)))
def test_a_faults_text_is_what_it_is_read_from(fault: Fault) -> None:
    assert parse(str(fault)) == fault


# Shapes


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("invalid-client", 401, {"error": "invalid_client"}),
        ("totp-wrong", 400, {"code": "10506"}),
        ("totp-unregistered", 400, {"code": "10508"}),
        ("header-missing", 400, {"code": "10512", "message": "Required header not found."}),
        ("otp-not-sent", 400, {"code": "10522"}),
        ("passing-424", 424, {"code": 424}),
        ("missing-field", 400, {"code": "400", "message": "Missing required field 'MobileNumber'"}),
        (
            "credentials",
            401,
            {"status": "error", "message": "Invalid credentials or TOTP.", "errorCode": "401"},
        ),
        ("mpin", 401, {"status": "error", "message": "Invalid MPIN.", "errorCode": "401"}),
        ("stcode-401", 200, {"stCode": 401, "errMsg": "Invalid MPIN", "status": "failure"}),
        ("stcode-429-ucc", 200, {"stCode": 429, "errMsg": "Invalid UCC", "status": "failure"}),
        (
            "dead-session",
            403,
            {"stCode": 100022, "errMsg": "invalid session token", "stat": "Not_Ok"},
        ),
        ("unauthorized-100008", 403, {"stCode": 100008, "errMsg": "unauthorized"}),
        ("ip-1037", 403, {"stCode": 1037, "errMsg": "session ip doesnt match with reqest ip"}),
        ("view-100021", 403, {"stCode": 100021, "errMsg": "invalid  access type"}),
        ("bearer-dead", 401, {"code": "900901", "message": "Invalid Credentials"}),
        ("locked", 403, {"code": 70009, "message": "Account Locked"}),
        ("throttled", 429, {"code": "900800", "message": "Message throttled out"}),
    ],
)
def test_a_reply_has_the_shape_that_kotaks_has(
    name: str, status: int, told: dict[str, object]
) -> None:
    answer = Fault(name).reply
    assert answer
    assert answer.status == status
    body = json.loads(answer.body)
    inner = body.get("error", body.get("fault", body))
    inner = inner[0] if isinstance(inner, list) else inner
    assert (body if name == "invalid-client" else inner).items() >= told.items()


def test_a_dead_session_may_be_told_inside_data() -> None:
    answer = REPLIES["dead-session-in-data"]
    assert answer.status == 200
    assert json.loads(answer.body)["data"]["stCode"] == 100022


@pytest.mark.parametrize("status", ["400", "429", "500", "502", "503", "504"])
def test_a_status_is_a_fault_of_its_own(status: str) -> None:
    assert REPLIES[status].status == int(status)


@pytest.mark.parametrize(("name", "status"), [("502-html", 502), ("html", 200)])
def test_a_page_is_no_json(name: str, status: int) -> None:
    assert REPLIES[name].status == status
    assert REPLIES[name].content_type == "text/html"
    assert REPLIES[name].body.startswith(b"<html>")


@pytest.mark.parametrize(("text", "seconds"), [("throttled", "60"), ("throttled=5", "5")])
def test_a_throttled_one_is_told_how_long_to_wait(text: str, seconds: str) -> None:
    answer = parse(text).reply
    assert answer
    assert answer.headers == (("Retry-After", seconds),)


@pytest.mark.parametrize("name", ["slow", "hang", "cut", "wrong-type"])
def test_what_is_done_to_an_answer_is_no_reply(name: str) -> None:
    assert Fault(name, 1.0).reply is None


def test_a_wrong_type_leaves_the_body_as_it_is() -> None:
    answer = Response(200, b"{}")
    assert parse("wrong-type").spoil(answer) == Response(200, b"{}", "text/html")
    assert parse("cut").spoil(answer) == answer


# Which request meets which fault


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("/oauth2/token", "bearer"),
        ("/login/1.0/login/v2/validate", "login"),
        ("/api/1.0/login/v2/validate", "login"),
        ("/login/1.0/tradeApiLogin", "login"),
        ("/api/1.0/login/v6/totp/login", "login"),
        ("/api/1.0/login/otp/generate", "otp"),
        ("/login/1.0/tradeApiValidate", "validate"),
        ("/api/1.0/login/v6/totp/validate", "validate"),
        ("/base/quick/user/orders", "api"),
        ("/base/quick/user/limits", "api"),
        ("/login/1.0/get-client-ip", "api"),
        ("/5config/config", "api"),
        ("/", None),
    ],
)
def test_a_path_is_of_a_step(path: str, step: str | None) -> None:
    assert step_of(path) == step


@pytest.mark.parametrize("name", ["sid", "auth"])
def test_the_password_flows_second_factor_is_known_by_its_headers(name: str) -> None:
    assert step_of("/login/1.0/login/v2/validate", {name: "x"}) == "validate"
    assert step_of("/oauth2/token", {name: "x"}) == "bearer"


def test_faults_are_met_in_order_and_each_as_often_as_it_says() -> None:
    queue = Faults(map(parse, ["504:2", "credentials"]))
    met = [fault.name if (fault := queue.next("/any")) else None for _ in range(4)]
    assert met == ["504", "504", "credentials", None]


def test_a_fault_of_a_step_waits_for_it_and_holds_up_no_other() -> None:
    queue = Faults(map(parse, ["mpin@validate", "totp-wrong@login:2", "500"]))
    met = [
        queue.next("/login/1.0/tradeApiLogin"),
        queue.next("/oauth2/token"),
        queue.next("/login/1.0/login/v2/validate", {"sid": "x"}),
        queue.next("/login/1.0/login/v2/validate"),
        queue.next("/login/1.0/login/v2/validate"),
    ]
    assert [fault.name if fault else None for fault in met] == [
        "totp-wrong",
        "500",
        "mpin",
        "totp-wrong",
        None,
    ]


def test_what_waits_is_shown_with_how_often_yet() -> None:
    queue = Faults(map(parse, ["504:3", "slow=2@api"]))
    queue.next("/any")
    assert [str(fault) for fault in queue.waiting] == ["504:2", "slow=2@api"]


def test_a_skew_holds_until_it_is_changed_and_meets_no_request() -> None:
    queue = Faults([parse("skew=-40")])
    assert queue.next("/any") is None
    assert queue.skew == -40
    queue.add(parse("skew=0"))
    assert queue.skew == 0


def test_all_can_be_forgotten() -> None:
    queue = Faults(map(parse, ["skew=9", "504:3", "none"]))
    assert queue.waiting == []
    assert queue.skew == 0


# On loopback


@dataclass
class Served:
    """A sandbox that runs in this process, on a clock that stands still."""

    http: httpx.AsyncClient
    broker: Broker
    faults: Faults
    clock: FrozenClock
    told: list[tuple[str, int]] = field(default_factory=list)

    async def login(self) -> httpx.Response:
        return await self.http.post(VALIDATE, json=PASSWORD, headers=BEARER)

    async def state(self) -> dict[str, object]:
        answer = await self.http.get("sandbox")
        assert answer.status_code == 200
        found: dict[str, object] = answer.json()
        return found

    async def fault(self, text: str) -> dict[str, object]:
        answer = await self.http.post("sandbox/faults", json={"fault": text})
        assert answer.status_code == 200
        found: dict[str, object] = answer.json()
        return found


@asynccontextmanager
async def served(*texts: str) -> AsyncIterator[Served]:
    listener = await listen(0)
    async with (
        httpx.AsyncClient(base_url=url_of(listener), timeout=20, trust_env=False) as http,
        trio.open_nursery() as nursery,
    ):
        running = Served(
            http, Broker(Settings(life=3600)), Faults(map(parse, texts)), FrozenClock()
        )

        async def run() -> None:
            await serve(
                running.broker,
                listener,
                running.clock.clock,
                faults=running.faults,
                told=lambda path, status: running.told.append((path, status)),
            )

        nursery.start_soon(run)
        yield running
        nursery.cancel_scope.cancel()


async def test_a_fault_is_met_and_then_it_is_over() -> None:
    async with served("504") as sandbox:
        assert (await sandbox.login()).status_code == 504
        assert (await sandbox.login()).status_code == 200
        assert sandbox.told == [(f"/{VALIDATE}", 504), (f"/{VALIDATE}", 200)]
        assert sandbox.broker.logins == 1


async def test_every_reply_goes_over_the_wire() -> None:
    async with served(*REPLIES) as sandbox:
        for name, reply in REPLIES.items():
            answer = await sandbox.login()
            assert (answer.status_code, answer.content) == (reply.status, reply.body), name
            assert answer.headers["content-type"] == reply.content_type
            assert answer.headers["date"]
        assert answer.headers.get("retry-after") is None
        assert sandbox.broker.logins == 0


async def test_a_cut_answer_breaks_off_in_its_body_and_the_login_was_made() -> None:
    async with served("cut") as sandbox:
        async with sandbox.http.stream("POST", VALIDATE, json=PASSWORD, headers=BEARER) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
            assert 0 < answer.num_bytes_downloaded < int(answer.headers["content-length"])
        assert sandbox.broker.logins == 1
        assert (await sandbox.login()).status_code == 200


async def test_a_request_that_hangs_is_not_answered_and_holds_up_no_other() -> None:
    async with served("hang") as sandbox:
        with pytest.raises(httpx.ReadTimeout):
            await sandbox.http.post(VALIDATE, json=PASSWORD, headers=BEARER, timeout=0.2)
        assert sandbox.broker.logins == 0
        assert sandbox.told == [(f"/{VALIDATE}", 0)]
        assert (await sandbox.login()).status_code == 200


@pytest.mark.parametrize("name", ["hang", "cut"])
async def test_nothing_stays_of_a_request_that_got_no_whole_answer(
    autojump_clock: MockClock, name: str
) -> None:
    async with served(name) as sandbox:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        port = sandbox.http.base_url.port or 0
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /login HTTP/1.1\r\n\r\n")
            await trio.sleep(100)
            assert sandbox.told == [("/login", 0 if name == "hang" else 404)]
        await trio.sleep(1)

        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_slow_answer_comes_when_its_time_has_come() -> None:
    async with served("slow=0.3") as sandbox:
        began = trio.current_time()
        assert (await sandbox.login()).status_code == 200
        assert trio.current_time() - began >= 0.3


async def test_an_answer_of_the_wrong_type_is_whole() -> None:
    async with served("wrong-type") as sandbox:
        answer = await sandbox.login()
        assert answer.headers["content-type"] == "text/html"
        assert answer.json()["data"]["token"]


async def test_a_skew_is_in_the_date_and_in_what_the_broker_takes_for_now() -> None:
    async with served("skew=3600") as sandbox:
        code = pyotp.TOTP(WHO.totp_secret).at(int(START))
        body = {"mobileNumber": WHO.mobile, "ucc": WHO.ucc, "totp": code}
        answer = await sandbox.http.post("login/1.0/tradeApiLogin", json=body, headers=PLAIN)
        assert answer.headers["date"] == "Tue, 14 Nov 2023 23:13:20 GMT"
        assert answer.json()["error"][0]["code"] == "10506"

        await sandbox.fault("skew=0")
        answer = await sandbox.http.post("login/1.0/tradeApiLogin", json=body, headers=PLAIN)
        assert answer.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert answer.status_code == 200


async def test_the_base_url_is_where_the_sandbox_is_with_a_path_behind_it() -> None:
    async with served() as sandbox:
        code = pyotp.TOTP(WHO.totp_secret).at(int(START))
        body = {"mobileNumber": WHO.mobile, "ucc": WHO.ucc, "totp": code}
        view = (await sandbox.http.post("login/1.0/tradeApiLogin", json=body, headers=PLAIN)).json()
        headers = {**PLAIN, "sid": view["data"]["sid"], "Auth": view["data"]["token"]}
        answer = await sandbox.http.post(
            "login/1.0/tradeApiValidate", json={"mpin": WHO.mpin}, headers=headers
        )
        trade = answer.json()["data"]
        assert trade["baseUrl"] == f"{sandbox.http.base_url}base"

        headers = {"Sid": trade["sid"], "Auth": trade["token"]}
        orders = f"{trade['baseUrl']}/quick/user/orders"
        assert (await sandbox.http.get(orders, headers=headers)).json()["stCode"] == 5203
        await sandbox.http.post("sandbox/kill", json={"sid": trade["sid"]})
        assert (await sandbox.http.get(orders, headers=headers)).json()["stCode"] == 100022


async def test_an_otp_is_printed_for_a_person_to_type(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with served() as sandbox:
        await sandbox.login()
        body = {"userId": WHO.subject, "sendEmail": True, "isWhitelisted": True}
        await sandbox.http.post("login/1.0/login/otp/generate", json=body, headers=BEARER)
        assert capsys.readouterr().out == f"# the OTP is {sandbox.broker.otp}\n"
        assert (await sandbox.state())["otp"] == sandbox.broker.otp


# Steering


async def test_the_state_tells_all_but_tokens_of_sessions() -> None:
    async with served("504@api:2") as sandbox:
        token = (await sandbox.login()).json()["data"]["token"]
        await sandbox.http.post(VALIDATE, json={**PASSWORD, "password": "x"}, headers=BEARER)
        answer = await sandbox.http.get("sandbox")
        [live] = sandbox.broker.sessions
        assert answer.json() == {
            "logins": 1,
            "trades": 0,
            "bearers": 0,
            "refusals": 1,
            "refused": 1,
            "locked": False,
            "otps_sent": 0,
            "otp": None,
            "access_token": WHO.access_token,
            "sessions": [
                {"sid": live.sid, "kind": "view", "flow": "password", "until": START + 3600}
            ],
            "faults": ["504@api:2"],
            "skew": 0.0,
        }
        assert token not in answer.text
        sandbox.clock.advance(3600)
        assert (await sandbox.state())["sessions"] == []


async def test_a_fault_can_be_added_while_it_runs() -> None:
    async with served() as sandbox:
        assert (await sandbox.fault("credentials@login:2"))["faults"] == ["credentials@login:2"]
        assert (await sandbox.login()).status_code == 401
        assert (await sandbox.state())["faults"] == ["credentials@login"]
        assert (await sandbox.fault("none"))["faults"] == []
        assert (await sandbox.login()).status_code == 200


async def test_sessions_can_be_killed_one_or_all() -> None:
    async with served() as sandbox:
        for _ in range(3):
            await sandbox.login()
        sid = sandbox.broker.sessions[1].sid
        answer = await sandbox.http.post("sandbox/kill", json={"sid": sid})
        assert len(answer.json()["sessions"]) == 2
        assert (await sandbox.http.post("sandbox/kill", json={"sid": sid})).status_code == 404
        assert (await sandbox.http.post("sandbox/kill")).json()["sessions"] == []


async def test_an_account_can_be_unlocked() -> None:
    async with served() as sandbox:
        for _ in range(3):
            await sandbox.http.post(VALIDATE, json={**PASSWORD, "password": "x"}, headers=BEARER)
        assert (await sandbox.login()).json()["fault"]["code"] == 70009
        assert (await sandbox.http.post("sandbox/unlock")).json()["locked"] is False
        assert (await sandbox.login()).status_code == 200


async def test_the_access_token_can_be_reset() -> None:
    async with served() as sandbox:
        await sandbox.login()
        answer = await sandbox.http.post("sandbox/reset-access-token", json={})
        assert answer.json()["sessions"] == []
        assert answer.json()["access_token"] != WHO.access_token
        assert (await sandbox.login()).json()["code"] == "900901"
        body = {"access_token": "chosen"}
        answer = await sandbox.http.post("sandbox/reset-access-token", json=body)
        assert answer.json()["access_token"] == "chosen"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("sandbox/faults", b'{"fault": "nope"}', 400, "504"),
        ("sandbox/faults", b"{}", 400, "NAME"),
        ("sandbox/faults", b"{", 400, ""),
        ("sandbox/faults", b'{"fault": 504}', 400, "fault"),
        ("sandbox/faults", b'{"faults": []}', 400, "faults"),
        ("sandbox/nothing", b"", 404, "POST /sandbox/unlock"),
        ("sandbox", b"", 404, "GET  /sandbox"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_with_the_reason(
    path: str, body: bytes, status: int, says: str
) -> None:
    async with served("hang") as sandbox:
        answer = await sandbox.http.post(path, content=body)
        assert answer.status_code == status
        assert says in answer.json()["error"]
        assert (await sandbox.state())["faults"] == ["hang"]  # orders meet no faults


# The command


def test_what_is_printed_to_paste_is_the_password_account_and_the_totp_account(
    tmp_path: Path,
) -> None:
    broker, url = Broker(), "http://127.0.0.1:8080/"
    main, both = settings_to_paste(url, broker), totp_settings_to_paste(url, broker)
    assert list(tomllib.loads(main)["account"]) == ["main"]
    mistakes: list[str] = []
    read = config.read(tomllib.loads(main + both), tmp_path, mistakes)

    assert mistakes == []
    assert {name: account.flow for name, account in read.accounts.items()} == {
        "main": "password",
        "totp": "totp",
    }
    assert read.accounts["totp"].second_factor == "mpin"
    assert all(account.endpoints.on_loopback() for account in read.accounts.values())


def test_the_command_takes_faults_and_lives_and_is_steered_over_http() -> None:
    with Sandbox(
        "--fault", "504@login", "--fault", "skew=60", "--bearer-life", "5", "--life", "9"
    ) as sandbox:
        assert sandbox.popen.stdout
        assert "[account.totp]\n" in iter(sandbox.popen.stdout.readline, "")
        with httpx.Client(base_url=sandbox.url, trust_env=False) as http:
            state = http.get("sandbox").json()
            answer = http.post(VALIDATE, json=PASSWORD, headers=BEARER)
            http.post("sandbox/faults", json={"fault": "none"})
        code, _, log = sandbox.stop()
    assert code == 0
    assert (state["faults"], state["skew"]) == (["504@login"], 60)
    assert answer.status_code == 504
    assert "fault name=504" in log
    assert f"request path=/{VALIDATE} status=504" in log


def test_the_command_lists_the_faults_and_the_orders(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sandbox", "--help"])
    told = capsys.readouterr().out
    assert about() in told
    assert CONTROLS in told


def test_the_command_refuses_a_fault_that_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sandbox", "--fault", "nope"])
    assert ended.value.code == 2
    assert "dead-session" in capsys.readouterr().err
