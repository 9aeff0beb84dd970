"""The sandbox's Kotak: as strict as Kotak's, in the shapes that Kotak writes."""

import base64
import json
from collections.abc import Mapping
from typing import cast

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.ipc.http1 import Response
from neod.sandbox.broker import Broker, Credentials, Kind, Settings, make_token
from neod.sandbox.faults import REPLIES, missing
from neod.sandbox.lock import Lock
from tests.fakes.clock import START

WHO = Credentials()
ME = {"mobileNumber": WHO.mobile}
PASSWORD = {**ME, "password": WHO.password}
MPIN = {**ME, "mpin": WHO.mpin}
PROD, UAT = "/login/1.0", "/api/1.0"
TOTP_PATHS = {
    "prod": ("/login/1.0/tradeApiLogin", "/login/1.0/tradeApiValidate"),
    "uat": ("/api/1.0/login/v6/totp/login", "/api/1.0/login/v6/totp/validate"),
}
LOGIN, VALIDATE = TOTP_PATHS["prod"]
PLAIN = {"authorization": WHO.access_token, "neo-fin-key": "neotradeapi"}
BEARER = {"authorization": f"Bearer {WHO.access_token}"}
BASIC = base64.b64encode(f"{WHO.consumer_key}:{WHO.consumer_secret}".encode()).decode()


class Caller:
    """A client that sends what a test says, at the time that the test says."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.broker = Broker(settings or Settings(life=3600))
        self.now = START

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        return self.broker.handle(method, path, headers, body, self.now)

    def post(self, path: str, fields: Mapping[str, object], headers: Mapping[str, str]) -> Response:
        return self.ask("POST", path, headers, json.dumps(fields).encode())

    def password(
        self,
        fields: Mapping[str, object] = PASSWORD,
        headers: Mapping[str, str] = BEARER,
        prefix: str = PROD,
    ) -> Response:
        return self.post(f"{prefix}/login/v2/validate", fields, headers)

    def mpin(self, view: Mapping[str, str], mpin: str = WHO.mpin) -> Response:
        """The second factor of the password flow."""
        return self.password({**ME, "mpin": mpin}, {**BEARER, **view})

    def send_otp(self, user: str = WHO.subject) -> Response:
        body = {"userId": user, "sendEmail": True, "isWhitelisted": True}
        return self.post(f"{PROD}/login/otp/generate", body, BEARER)

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(WHO.totp_secret).at(int(self.now) + 30 * steps)

    def totp(
        self,
        code: str | None = None,
        headers: Mapping[str, str] = PLAIN,
        path: str = LOGIN,
        **changes: object,
    ) -> Response:
        wanted: dict[str, object] = {"mobileNumber": WHO.mobile, "ucc": WHO.ucc}
        wanted |= {"totp": self.code() if code is None else code, **changes}
        return self.post(path, {k: v for k, v in wanted.items() if v is not None}, headers)

    def validate(
        self, view: Mapping[str, str], mpin: object = WHO.mpin, path: str = VALIDATE
    ) -> Response:
        return self.post(path, {"mpin": mpin} if mpin is not None else {}, {**PLAIN, **view})

    def trade(self) -> dict[str, str]:
        """The headers of a trade session of the TOTP flow."""
        return session(self.validate(session(self.totp())))

    def orders(self, headers: Mapping[str, str], path: str = "/base/quick/user/orders") -> Response:
        return self.ask("GET", path, headers, b"")


def data(answer: Response) -> dict[str, object]:
    assert answer.status == 200, answer.body
    return cast("dict[str, object]", json.loads(answer.body)["data"])


def session(answer: Response) -> dict[str, str]:
    """The headers that go with a session, as a request has them once it was read."""
    told = data(answer)
    return {"sid": str(told["sid"]), "auth": str(told["token"])}


def claims(answer: Response) -> dict[str, object]:
    body = str(data(answer)["token"]).split(".")[1]
    return cast("dict[str, object]", json.loads(base64.urlsafe_b64decode(body + "==")))


@pytest.fixture
def caller() -> Caller:
    return Caller()


# Bearers


def test_a_bearer_is_given_for_the_key_and_the_secret_and_lives_as_long_as_it_says() -> None:
    caller = Caller(Settings(bearer_life=100))
    basic = {"authorization": f"Basic {BASIC}"}
    answer = caller.post("/oauth2/token", {"grant_type": "client_credentials"}, basic)
    told = json.loads(answer.body)
    assert told == {
        "access_token": told["access_token"],
        "scope": "default",
        "token_type": "Bearer",
        "expires_in": 100,
    }
    assert caller.broker.bearers_given == 1

    bearer = {"authorization": f"Bearer {told['access_token']}"}
    caller.now += 99
    assert caller.password(headers=bearer).status == 200
    caller.now += 1
    assert caller.password(headers=bearer) == REPLIES["bearer-dead"]
    assert caller.broker.refused == 0


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !", f"Bearer {BASIC}", "Basic d3Jvbmc6d3Jvbmc="]
)
def test_a_wrong_key_gets_no_bearer(caller: Caller, authorization: str) -> None:
    headers = {"authorization": authorization}
    answer = caller.post("/oauth2/token", {"grant_type": "client_credentials"}, headers)
    assert answer == REPLIES["invalid-client"]
    assert caller.broker.refused == 1


def test_a_bearer_is_not_given_for_another_grant(caller: Caller) -> None:
    answer = caller.post("/oauth2/token", {"grant_type": "x"}, {"authorization": f"Basic {BASIC}"})
    assert answer.status == 400


# The password flow, first factor


@pytest.mark.parametrize("prefix", [PROD, UAT])
@pytest.mark.parametrize(
    "who", [ME, {"pan": WHO.pan}, {"userid": WHO.user_id}], ids=["mobile", "pan", "user id"]
)
@pytest.mark.parametrize("secret", [{"password": WHO.password}, {"mpin": WHO.mpin}])
def test_who_is_known_and_has_the_password_gets_a_view_token(
    caller: Caller, prefix: str, who: dict[str, str], secret: dict[str, str]
) -> None:
    answer = caller.password({**who, **secret}, prefix=prefix)

    assert claims(answer)["scope"] == ["View"]
    assert claims(answer)["exp"] == START + 3600
    assert set(data(answer)) == {
        "token",
        "sid",
        "rid",
        "hsServerId",
        "isUserPwdExpired",
        "caches",
        "ucc",
        "greetingName",
        "isTrialAccount",
        "dataCenter",
        "searchAPIKey",
    }
    assert [live.kind for live in caller.broker.sessions] == ["view"]
    assert caller.broker.logins == 1


@pytest.mark.parametrize(
    "fields",
    [
        {**ME, "password": "wrong"},
        {**ME, "mpin": "000000"},
        {"mobileNumber": WHO.mobile.removeprefix("+91"), "password": WHO.password},
        {"pan": "ABCDE1234F", "password": WHO.password},
        {"userid": WHO.mobile, "password": WHO.password},
    ],
)
def test_who_is_wrong_about_the_first_factor_is_refused(
    caller: Caller, fields: dict[str, str]
) -> None:
    assert caller.password(fields) == REPLIES["credentials"]
    assert caller.broker.refusals == 1
    assert caller.broker.sessions == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "MobileNumber"),
        ({"password": WHO.password}, "MobileNumber"),
        ({"mobileNumber": 9999996708, "password": WHO.password}, "MobileNumber"),
        ({"mobileNumber": "", "password": WHO.password}, "MobileNumber"),
        ({**PASSWORD, "pan": WHO.pan}, "MobileNumber"),
        (ME, "Password"),
        ({**ME, "password": ""}, "Password"),
    ],
)
def test_a_field_that_is_missing_or_no_text_is_said_and_not_counted(
    caller: Caller, fields: dict[str, object], field: str
) -> None:
    assert caller.password(fields) == missing(field)
    assert caller.broker.refused == 0


@pytest.mark.parametrize("authorization", ["", WHO.access_token, "Bearer unknown", "Bearer "])
def test_without_a_live_bearer_no_step_is_looked_at(caller: Caller, authorization: str) -> None:
    headers = {"authorization": authorization}
    view = session(caller.password())
    assert caller.password(headers=headers) == REPLIES["bearer-dead"]
    assert caller.password(MPIN, {**headers, **view}) == REPLIES["bearer-dead"]
    assert caller.post(f"{PROD}/login/otp/generate", {}, headers) == REPLIES["bearer-dead"]
    assert caller.ask("POST", f"{PROD}/logout", {**headers, **view}, b"") == REPLIES["bearer-dead"]
    assert caller.broker.refused == 0


# The password flow, second factor


def test_the_mpin_makes_a_trade_session_of_its_own_of_a_view_session(caller: Caller) -> None:
    view = session(caller.password())
    answer = caller.mpin(view)

    assert claims(answer)["scope"] == ["Trade"]
    assert session(answer)["sid"] != view["sid"]
    assert "baseUrl" not in data(answer)
    assert [live.kind for live in caller.broker.sessions] == ["view", "trade"]
    assert (caller.broker.logins, caller.broker.trades) == (1, 1)


@pytest.mark.parametrize("who", [{"pan": WHO.pan}, {"userid": WHO.user_id}])
def test_the_mpin_can_be_given_with_pan_or_user_id(caller: Caller, who: dict[str, str]) -> None:
    view = session(caller.password({**who, "password": WHO.password}))
    answer = caller.password({**who, "mpin": WHO.mpin}, {**BEARER, **view})
    assert claims(answer)["scope"] == ["Trade"]


def test_a_wrong_mpin_is_refused_and_the_view_session_lives_on(caller: Caller) -> None:
    view = session(caller.password())
    assert caller.mpin(view, "000000") == REPLIES["mpin"]
    assert caller.broker.refusals == 1
    assert caller.mpin(view).status == 200


def test_the_second_factor_wants_its_fields(caller: Caller) -> None:
    headers = {**BEARER, **session(caller.password())}
    assert caller.password({"mpin": WHO.mpin}, headers) == missing("MobileNumber")
    assert caller.password(ME, headers) == missing("Mpin")
    assert caller.broker.refused == 0


def test_the_mpin_of_somebody_else_is_refused(caller: Caller) -> None:
    view = session(caller.password())
    answer = caller.password({"pan": "ABCDE1234F", "mpin": WHO.mpin}, {**BEARER, **view})
    assert answer == REPLIES["credentials"]
    assert caller.broker.refusals == 1


@pytest.mark.parametrize("left_out", ["sid", "auth"])
def test_the_second_factor_wants_both_headers_of_the_view_session(
    caller: Caller, left_out: str
) -> None:
    view = session(caller.password())
    del view[left_out]
    assert caller.mpin(view) == REPLIES["header-missing"]
    assert caller.password({"userId": WHO.subject, "otp": "1234"}) == REPLIES["header-missing"]
    assert caller.broker.refused == 0


def test_the_second_factor_wants_a_view_session_that_lives_and_its_own_sid(caller: Caller) -> None:
    first, second = session(caller.password()), session(caller.password())
    crossed = {"sid": first["sid"], "auth": second["auth"]}
    trade = session(caller.mpin(first))
    other_flow = session(caller.totp())
    for view in (crossed, trade, other_flow, {"sid": "x", "auth": "y"}):
        assert caller.mpin(view) == REPLIES["dead-session"]
    caller.now += 3600
    assert caller.mpin(first) == REPLIES["dead-session"]


def test_an_otp_is_sent_to_who_has_a_view_session_and_is_good_for_one_login(
    caller: Caller,
) -> None:
    assert caller.send_otp() == REPLIES["otp-not-sent"]
    view = session(caller.password())
    assert caller.send_otp("somebody else") == REPLIES["otp-not-sent"]
    assert caller.send_otp().status == 200
    assert caller.broker.otps_sent == 1
    otp = caller.broker.otp
    assert otp is not None
    assert otp.isdigit()
    assert len(otp) == 4

    body = {"userId": str(claims(caller.password())["sub"]), "otp": otp}
    assert claims(caller.password(body, {**BEARER, **view}))["scope"] == ["Trade"]
    assert caller.password(body, {**BEARER, **view}) == REPLIES["credentials"]
    assert caller.broker.refusals == 1


def test_a_new_otp_puts_the_old_one_out_of_use(caller: Caller) -> None:
    view = session(caller.password())
    caller.send_otp()
    caller.broker.otp = old = "none of four digits"
    caller.send_otp()
    body = {"userId": WHO.subject, "otp": old}
    assert caller.password(body, {**BEARER, **view}) == REPLIES["credentials"]


def test_an_otp_that_nobody_sent_is_refused(caller: Caller) -> None:
    view = session(caller.password())
    for otp, answer in (("1234", REPLIES["credentials"]), ("", missing("Otp"))):
        body = {"userId": WHO.subject, "otp": otp}
        assert caller.password(body, {**BEARER, **view}) == answer
    assert caller.password({"otp": "1234"}, {**BEARER, **view}) == missing("UserId")
    assert caller.post(f"{PROD}/login/otp/generate", {}, BEARER) == missing("UserId")
    assert caller.broker.refusals == 1


def test_a_session_that_logged_out_is_dead(caller: Caller) -> None:
    trade = session(caller.mpin(session(caller.password())))
    form = {"content-type": "application/x-www-form-urlencoded"}
    headers = {**BEARER, **trade, **form}
    assert caller.ask("POST", f"{PROD}/logout", headers, b"jData=%7B%7D").status == 200
    assert caller.ask("POST", f"{PROD}/logout", headers, b"") == REPLIES["dead-session"]


# The TOTP flow


@pytest.mark.parametrize("environment", TOTP_PATHS)
def test_totp_and_mpin_make_a_trade_session_with_a_base_url_that_has_a_path(
    caller: Caller, environment: str
) -> None:
    login, validate = TOTP_PATHS[environment]
    first = caller.totp(path=login)
    second = caller.validate(session(first), path=validate)

    assert claims(first)["scope"] == ["View"]
    assert data(first)["kType"] == "View"
    assert "baseUrl" not in data(first)
    assert claims(second)["scope"] == ["Trade"]
    told = data(second)
    assert told["kType"] == "Trade"
    assert told["status"] == "success"
    assert told["baseUrl"] == "http://127.0.0.1/base"
    assert told["hsServerId"] == ""
    assert told["dataCenterMap"] is None
    assert told["kId"] == WHO.pan
    assert (caller.broker.logins, caller.broker.trades) == (1, 1)


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_of_now_or_of_the_step_beside_is_taken_once(caller: Caller, steps: int) -> None:
    code = caller.code(steps)
    assert caller.totp(code).status == 200
    assert caller.totp(code) == REPLIES["totp-wrong"]
    caller.now += 30
    assert caller.totp(code) == REPLIES["totp-wrong"]
    assert caller.totp(caller.code(1)).status == 200
    assert caller.broker.refused == 2


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_of_another_time_is_stale(caller: Caller, steps: int) -> None:
    assert caller.totp(caller.code(steps)) == REPLIES["totp-wrong"]


def test_a_code_stays_used_when_the_brokers_clock_goes_forth_and_back(caller: Caller) -> None:
    code = caller.code()
    assert caller.totp(code).status == 200
    caller.now += 600
    assert caller.totp().status == 200
    caller.now -= 600
    assert caller.totp(code) == REPLIES["totp-wrong"]


def test_totp_that_is_not_registered_is_said_and_not_counted() -> None:
    caller = Caller(Settings(totp_registered=False))
    assert caller.totp() == REPLIES["totp-unregistered"]
    assert caller.broker.refused == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"code": "000000"}, "totp-wrong"),
        ({"mobileNumber": "+910000000000"}, "credentials"),
        ({"mobileNumber": WHO.mobile.removeprefix("+91")}, "credentials"),
        ({"ucc": "OTHER"}, "stcode-429-ucc"),
        ({"headers": {**PLAIN, "authorization": "another token"}}, "credentials"),
        ({"headers": {**PLAIN, "authorization": f"Bearer {WHO.access_token}"}}, "credentials"),
    ],
)
def test_each_wrong_credential_of_a_totp_login_is_refused_in_its_own_words(
    caller: Caller, changes: dict[str, str], name: str
) -> None:
    assert caller.totp(**changes) == REPLIES[name]  # type: ignore[arg-type]
    assert caller.broker.refusals == 1
    assert caller.totp().status == 200  # and no code was used up by it


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"neo-fin-key": "neotradeapi"}},
        {"headers": {"authorization": WHO.access_token}},
        {"headers": {**PLAIN, "neo-fin-key": "another"}},
    ],
)
def test_a_totp_login_wants_its_headers(caller: Caller, changes: dict[str, str]) -> None:
    assert caller.totp(**changes) == REPLIES["header-missing"]  # type: ignore[arg-type]
    assert caller.broker.refused == 0


@pytest.mark.parametrize(
    ("name", "field"), [("mobileNumber", "MobileNumber"), ("ucc", "Ucc"), ("totp", "Totp")]
)
@pytest.mark.parametrize("value", [None, "", 123456])
def test_a_totp_login_wants_its_fields(
    caller: Caller, name: str, field: str, value: object
) -> None:
    assert caller.totp(**{name: value}) == missing(field)  # type: ignore[arg-type]
    assert caller.broker.refused == 0


def test_a_wrong_mpin_is_told_with_a_200(caller: Caller) -> None:
    view = session(caller.totp())
    assert caller.validate(view, "000000") == REPLIES["stcode-401"]
    assert caller.broker.refusals == 1
    assert caller.validate(view, None) == missing("Mpin")
    assert caller.validate(view, 246810) == missing("Mpin")
    assert caller.broker.refusals == 1


def test_the_mpin_step_wants_the_headers_of_a_live_view_session(caller: Caller) -> None:
    view = session(caller.totp())
    assert caller.validate({"sid": view["sid"]}) == REPLIES["header-missing"]
    assert caller.validate({"auth": view["auth"]}) == REPLIES["header-missing"]
    assert caller.validate({**view, "sid": "another"}) == REPLIES["dead-session"]
    assert caller.validate(session(caller.password())) == REPLIES["dead-session"]
    assert caller.validate({**view, "neo-fin-key": ""}) == REPLIES["header-missing"]
    assert caller.validate({**view, "authorization": "another"}) == REPLIES["credentials"]
    caller.now += 3600
    assert caller.validate(view) == REPLIES["dead-session"]


# Locking


def test_the_third_refusal_in_a_row_locks_the_account_for_both_flows(caller: Caller) -> None:
    trade = caller.trade()
    caller.now += 30
    for _ in range(3):
        assert not caller.broker.locked
        assert caller.password({**ME, "password": "wrong"}) == REPLIES["credentials"]
    assert caller.broker.locked

    assert caller.password() == REPLIES["locked"]
    assert caller.totp() == REPLIES["locked"]
    assert caller.send_otp() == REPLIES["locked"]
    assert caller.broker.refused == 3
    assert caller.orders(trade).status == 200

    caller.broker.unlock()
    assert caller.broker.refusals == 0
    assert caller.totp().status == 200


def test_a_locked_account_takes_no_second_factor(caller: Caller) -> None:
    password, totp = session(caller.password()), session(caller.totp())
    caller.send_otp()
    for _ in range(3):
        caller.totp("000000")
    body = {"userId": WHO.subject, "otp": str(caller.broker.otp)}
    assert caller.mpin(password) == REPLIES["locked"]
    assert caller.password(body, {**BEARER, **password}) == REPLIES["locked"]
    assert caller.validate(totp) == REPLIES["locked"]


def test_wrong_credentials_of_different_kinds_add_up(caller: Caller) -> None:
    caller.post("/oauth2/token", {}, {"authorization": "Basic x"})
    caller.totp(ucc="OTHER")
    caller.password({**ME, "password": "wrong"})
    assert caller.broker.locked


def test_a_wrong_mpin_locks_although_the_password_is_right_each_time(caller: Caller) -> None:
    for _ in range(3):
        assert not caller.broker.locked
        caller.mpin(session(caller.password()), "000000")
    assert caller.broker.locked


def test_wrong_passwords_count_again_when_the_mpin_after_a_right_one_is_wrong(
    caller: Caller,
) -> None:
    for _ in range(2):
        caller.password({**ME, "password": "wrong"})
    view = session(caller.password())
    assert caller.broker.refusals == 0
    caller.mpin(view, "000000")
    assert caller.broker.refusals == 3
    assert caller.broker.locked


def test_a_view_token_is_an_accepted_login_for_who_wants_no_more(caller: Caller) -> None:
    for _ in range(5):
        caller.password({**ME, "password": "wrong"})
        caller.password({**ME, "password": "wrong"})
        assert caller.password().status == 200
    assert not caller.broker.locked


def test_a_trade_token_makes_good_for_everything(caller: Caller) -> None:
    for _ in range(5):
        caller.password({**ME, "password": "wrong"})
        view = session(caller.password())
        caller.mpin(view, "000000")
        assert caller.broker.refusals == 2
        assert caller.mpin(view).status == 200
        assert caller.broker.refusals == 0
    assert not caller.broker.locked


CHANGES = st.sampled_from(["refuse_first", "refuse_second", "accept_first", "accept_second"])


@given(st.lists(CHANGES, max_size=12))
def test_three_refusals_in_a_row_lock_and_fewer_never_do(changes: list[str]) -> None:
    lock, at_once, since_accepted, wrong_seconds = Lock(), 0, 0, 0
    for change in changes:
        getattr(lock, change)()
        refused = change.startswith("refuse")
        at_once = at_once + 1 if refused else 0  # with nothing accepted between
        since_accepted = 0 if change == "accept_second" else since_accepted + refused
        if change.endswith("second"):
            wrong_seconds = wrong_seconds + 1 if refused else 0

        assert max(at_once, wrong_seconds) <= lock.in_a_row <= since_accepted
        assert lock.locked == (lock.in_a_row >= 3)
        if lock.locked:
            return


# Sessions and the API


def test_a_session_of_kotaks_ends_at_midnight_in_india() -> None:
    caller = Caller(Settings())
    assert claims(caller.password())["exp"] == 1_700_073_000  # 2023-11-16T00:00:00+05:30


def test_a_session_ends_at_the_edge_or_after_its_life_whichever_is_first() -> None:
    assert claims(Caller(Settings(life=50, edge=3600)).password())["exp"] == START + 50
    edge = claims(Caller(Settings(life=86_400, edge=3600)).password())["exp"]
    assert edge == (START // 3600 + 1) * 3600


api_call = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/base/quick/user/orders"),
        ("POST", "/base/quick/user/limits"),
        ("GET", "/login/1.0/get-client-ip"),
        ("GET", "/base/login/1.0/get-client-ip"),
    ],
)


@api_call
def test_an_api_call_is_answered_for_a_trade_session(
    caller: Caller, method: str, path: str
) -> None:
    answer = caller.ask(method, path, caller.trade(), b"")
    assert answer.status == 200
    assert json.loads(answer.body)["stCode"] in (200, 1000, 5203)


@api_call
def test_an_api_call_takes_a_form(caller: Caller, method: str, path: str) -> None:
    headers = {**caller.trade(), "content-type": "application/x-www-form-urlencoded"}
    assert caller.ask(method, path, headers, b"jData=%7B%22seg%22%3A+%22ALL%22%7D").status == 200


@api_call
def test_an_api_call_is_refused_without_sid_or_auth(caller: Caller, method: str, path: str) -> None:
    trade = caller.trade()
    for name in trade:
        headers = {key: value for key, value in trade.items() if key != name}
        assert caller.ask(method, path, headers, b"") == REPLIES["header-missing"]


@api_call
def test_an_api_call_is_refused_with_a_view_token(caller: Caller, method: str, path: str) -> None:
    view = session(caller.totp())
    assert caller.ask(method, path, view, b"") == REPLIES["view-100021"]


@api_call
def test_an_api_call_is_refused_when_the_session_is_dead(
    caller: Caller, method: str, path: str
) -> None:
    trade = caller.trade()
    crossed = {**trade, "sid": "another"}
    assert caller.ask(method, path, crossed, b"") == REPLIES["dead-session"]
    caller.now += 3600
    assert caller.ask(method, path, trade, b"") == REPLIES["dead-session"]


@api_call
def test_an_api_call_is_refused_when_the_session_was_killed(
    caller: Caller, method: str, path: str
) -> None:
    trade = caller.trade()
    assert caller.broker.kill("another") == 0
    assert caller.ask(method, path, trade, b"").status == 200
    assert caller.broker.kill(trade["sid"]) == 1
    assert caller.ask(method, path, trade, b"") == REPLIES["dead-session"]


@api_call
def test_an_api_call_is_refused_when_the_access_token_was_reset(
    caller: Caller, method: str, path: str
) -> None:
    trade = caller.trade()
    caller.broker.reset_access_token()
    assert caller.ask(method, path, trade, b"") == REPLIES["dead-session"]


def test_no_orders_is_no_data(caller: Caller) -> None:
    told = json.loads(caller.orders(caller.trade()).body)
    assert told["stCode"] == 5203
    assert told["errMsg"] == "No Data"


def test_the_path_of_the_base_url_matters() -> None:
    caller = Caller(Settings(base_url="http://127.0.0.1:1/some/where/"))
    trade = caller.trade()
    assert caller.orders(trade, "/some/where/quick/user/orders").status == 200
    assert caller.orders(trade, "/base/quick/user/orders").status == 404
    assert caller.orders(trade, "/quick/user/orders").status == 404


def test_headers_that_may_be_left_out_after_a_totp_login_are_checked_where_they_are_given(
    caller: Caller,
) -> None:
    trade = caller.trade()
    assert caller.orders({**trade, **PLAIN}).status == 200
    wrong = {**trade, "authorization": "another"}
    assert caller.orders(wrong) == REPLIES["unauthorized-100008"]
    assert caller.orders({**trade, "neo-fin-key": "x"}) == REPLIES["header-missing"]
    bearer = {**trade, "authorization": "Bearer another"}
    assert caller.orders(bearer) == REPLIES["bearer-dead"]


@pytest.mark.parametrize("path", ["/Orders/2.0/quick/user/orders", "/base/quick/user/orders"])
def test_after_a_password_login_the_api_wants_a_live_bearer_and_the_key(
    caller: Caller, path: str
) -> None:
    trade = session(caller.mpin(session(caller.password())))
    whole = {**trade, **BEARER, "neo-fin-key": "any"}
    assert caller.orders(whole, path).status == 200
    assert caller.orders(trade, path) == REPLIES["bearer-dead"]
    assert caller.orders({**trade, **BEARER}, path) == REPLIES["header-missing"]
    caller.broker.bearers[WHO.access_token] = START
    assert caller.orders(whole, path) == REPLIES["bearer-dead"]


def test_a_new_access_token_ends_the_old_one_and_every_session(caller: Caller) -> None:
    caller.password()
    caller.trade()
    new = caller.broker.reset_access_token()
    caller.now += 30
    assert caller.broker.live(caller.now) == []
    assert caller.password() == REPLIES["bearer-dead"]
    assert caller.totp() == REPLIES["credentials"]
    assert caller.totp(headers={**PLAIN, "authorization": new}).status == 200
    assert caller.password(headers={"authorization": f"Bearer {new}"}).status == 200
    assert caller.broker.reset_access_token("chosen") == "chosen"


def test_several_sessions_may_live_at_once(caller: Caller) -> None:
    first = caller.trade()
    caller.now += 30
    second = caller.trade()
    assert caller.orders(first).status == 200
    assert caller.orders(second).status == 200
    assert caller.broker.kill() == 4
    assert caller.orders(second) == REPLIES["dead-session"]


def test_the_sdks_question_for_its_feeds_is_answered_without_a_session(caller: Caller) -> None:
    for path in ("/5config/config", "/base/5config/config"):
        assert data(caller.ask("GET", path, {}, b"")) == {"configs": {}}


# What is no request of Kotak's


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/login/v2/validate", 404),
        ("POST", "/login/1.0/api/1.0/login/v2/validate", 404),
        ("POST", "/api/1.0/tradeApiLogin", 404),
        ("GET", "/login/1.0/login/v2/validate", 405),
        ("POST", "/base/quick/user/orders", 405),
    ],
)
def test_other_paths_and_methods_are_not_served(
    caller: Caller, method: str, path: str, status: int
) -> None:
    assert caller.ask(method, path, BEARER, b"{}").status == status


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_object_is_a_bad_request(caller: Caller, body: bytes) -> None:
    assert caller.ask("POST", LOGIN, PLAIN, body) == REPLIES["400"]
    assert caller.broker.refused == 0


def test_a_login_that_is_sent_as_a_form_has_no_fields(caller: Caller) -> None:
    headers = {**BEARER, "content-type": "application/x-www-form-urlencoded"}
    assert caller.password(headers=headers) == missing("MobileNumber")


@pytest.mark.parametrize(("kind", "scope"), [("view", ["View"]), ("trade", ["Trade"])])
def test_a_token_can_be_made_without_a_login(kind: Kind, scope: list[str]) -> None:
    body = make_token(START, START + 60, WHO, kind).split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert told["scope"] == scope
    assert (told["iat"], told["exp"]) == (START, START + 60)
