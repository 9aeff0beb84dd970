"""The configuration: what is read, and which mistakes are told in which words."""

import json
import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neod import config
from neod.account.edge import daily
from neod.account.hours import Hours, parse_window
from neod.account.policy import Rules
from neod.config import Account, Config, ConfigError
from neod.kotak.endpoints import ENVIRONMENTS
from neod.secrets import Secret, Source

FOLDER = Path("/nowhere/neod")
MON_FRI = "Mon-Fri 08:30-15:45"
MONDAYS_OF_1970 = [date(1970, 1, 5) + timedelta(weeks=n) for n in range(60)]
LOOPBACK = "http://127.0.0.1:8080/"
CANARY = "c4nary-s3cret"
FAULTLESS: dict[str, object] = {
    "mobile": "+919999996708",
    "password": "made-up-password",
    "consumer_key": "made-up-key",
    "consumer_secret": "made-up-secret",
}
TOTP: dict[str, object] = {  # what makes the faultless one an account of the other flow
    "flow": "totp",
    "ucc": "AB123",
    "access_token": "made-up-token",
    "totp_secret": "MADEUPMADEUPMADE",
    **dict.fromkeys(("password", "consumer_key", "consumer_secret")),
}
TOKEN: dict[str, object] = {
    "access_token": "made-up-token",
    **dict.fromkeys(("consumer_key", "consumer_secret")),
}


def table(**changes: object) -> dict[str, object]:
    """An account's table without a mistake, then changed; None takes a key away."""
    return {key: value for key, value in (FAULTLESS | changes).items() if value is not None}


def read(raw: dict[str, object]) -> tuple[Config, list[str]]:
    mistakes: list[str] = []
    return config.read(raw, FOLDER, mistakes), mistakes


def accepted(**changes: object) -> Account:
    found, mistakes = read({"account": {"main": table(**changes)}})
    assert not mistakes
    return found.accounts["main"]


def inline(key: str, text: str) -> Source:
    return Source(f"account.main.{key}", "inline", "", Secret(text))


def refused(**changes: object) -> list[str]:
    """The mistakes of an account that is otherwise faultless."""
    found, mistakes = read({"account": {"main": table(**changes)}})
    assert mistakes
    assert not found.accounts
    return mistakes


def toml(raw: dict[str, object]) -> str:
    """TOML, as far as JSON and inline tables are: enough for a test."""

    def value(of: object) -> str:
        if isinstance(of, dict):
            pairs = (f"{json.dumps(key)} = {value(inner)}" for key, inner in of.items())
            return f"{{ {', '.join(pairs)} }}"
        if isinstance(of, list):
            return f"[{', '.join(map(value, of))}]"
        return json.dumps(of)

    return "".join(f"{json.dumps(key)} = {value(of)}\n" for key, of in raw.items())


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a config.toml, by default with the mode it should have."""

    def written(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return written


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return str(caught.value)


# What is read


def test_a_file_becomes_accounts_and_a_server(write: Write) -> None:
    path = write(
        """
        [account.main]
        mobile = "9999996708"
        password = { file = "password" }
        access_token = { credential = "token" }

        [account.main.renewal]
        margin = "5min"

        [server]
        grace = "2s"
        max_connections = 10
        """
    )
    found = config.load(path)
    main = found.accounts["main"]
    assert main.password == Source(
        "account.main.password", "file", os.fspath(path.parent / "password")
    )
    assert main.access_token == Source("account.main.access_token", "credential", "token")
    assert main.consumer is None
    assert main.rules == Rules(margin=300.0)
    assert main.endpoints == ENVIRONMENTS["prod"]
    assert found.server == config.Server(grace=2.0, max_connections=10)


def test_each_limit_of_the_server_can_be_set(write: Write) -> None:
    path = write(
        """
        [server]
        max_connections = 1
        max_watchers = 2
        max_head = 1024
        max_body = 4
        head_timeout = "500ms"
        idle_timeout = "1min"
        """
    )
    assert config.load(path).server == config.Server(
        max_connections=1,
        max_watchers=2,
        max_head=1024,
        max_body=4,
        head_timeout=0.5,
        idle_timeout=60.0,
    )


def test_an_empty_file_is_a_configuration_without_accounts(write: Write) -> None:
    assert config.load(write("")) == Config(accounts={}, server=config.Server())


def test_several_accounts_are_read_and_one_with_a_mistake_leaves_the_others() -> None:
    found, mistakes = read({"account": {"a": table(), "b-2_": table(), "c": table(mobile=None)}})
    assert list(found.accounts) == ["a", "b-2_"]
    assert [mistake.partition(":")[0] for mistake in mistakes] == ["account.c.mobile"]


def test_the_environment_picks_the_endpoints() -> None:
    assert accepted(environment="uat").endpoints == ENVIRONMENTS["uat"]


def test_an_account_of_the_password_flow_is_read() -> None:
    main = accepted()
    assert main.flow == "password"
    assert main.second_factor == "none"
    assert (main.password, main.consumer) == (
        inline("password", "made-up-password"),
        (inline("consumer_key", "made-up-key"), inline("consumer_secret", "made-up-secret")),
    )
    assert (main.access_token, main.ucc, main.totp_secret, main.mpin) == (None, "", None, None)


def test_an_account_of_the_totp_flow_is_read() -> None:
    main = accepted(**TOTP, mpin="123456")
    assert main.flow == "totp"
    assert main.second_factor == "mpin"
    assert main.identity == ("mobileNumber", "+919999996708")
    assert main.ucc == "AB123"
    assert (main.access_token, main.totp_secret, main.mpin) == (
        inline("access_token", "made-up-token"),
        inline("totp_secret", "MADEUPMADEUPMADE"),
        inline("mpin", "123456"),
    )
    assert (main.password, main.consumer) == (None, None)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, "none"),
        ({"second_factor": "none"}, "none"),
        ({"second_factor": "otp"}, "otp"),
        ({"mpin": "123456"}, "mpin"),
        ({"mpin": {"keyring": "neod/mpin"}, "second_factor": "mpin"}, "mpin"),
        (TOTP, "none"),
        (TOTP | {"second_factor": "none"}, "none"),
        (TOTP | {"mpin": "123456"}, "mpin"),
        (TOTP | {"mpin": "123456", "second_factor": "mpin"}, "mpin"),
    ],
)
def test_the_second_factor_is_the_mpin_where_there_is_one(
    changes: dict[str, object], factor: str
) -> None:
    assert accepted(**changes).second_factor == factor


@pytest.mark.parametrize(
    ("key", "value", "identity"),
    [
        ("mobile", "9999996708", ("mobileNumber", "+919999996708")),
        ("mobile", "99999 96708", ("mobileNumber", "+919999996708")),
        ("mobile", "+91 99999-96708", ("mobileNumber", "+919999996708")),
        ("mobile", "+4915112345678", ("mobileNumber", "+4915112345678")),
        ("pan", "ABCDE1234F", ("pan", "ABCDE1234F")),
        ("pan", "abcde1234f", ("pan", "ABCDE1234F")),
        ("user_id", "AB1234", ("userid", "AB1234")),
    ],
)
def test_an_identity_is_sent_in_its_own_field(
    key: str, value: str, identity: tuple[str, str]
) -> None:
    assert accepted(**{"mobile": None, key: value}).identity == identity


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90.0),
        (0, 0.0),
        (1.5, 1.5),
        ("250ms", 0.25),
        ("90s", 90.0),
        ("15min", 900.0),
        ("15 min", 900.0),
        ("1.5h", 5400.0),
        ("1d", 86_400.0),
    ],
)
def test_a_duration_is_seconds_or_a_number_with_its_unit(value: object, seconds: float) -> None:
    assert accepted(renewal={"margin": value}).rules.margin == seconds


@pytest.mark.parametrize(
    ("value", "edge"),
    [("auto", "auto"), ("none", "none"), ("00:00", daily(0)), ("23:59", daily(86_340))],
)
def test_an_edge_is_learnt_or_none_or_a_time_of_day(value: str, edge: object) -> None:
    assert accepted(renewal={"edge": value}).rules.edge == edge


def test_hours_are_read_with_what_belongs_to_them(write: Write) -> None:
    path = write(
        """
        [account.main]
        mobile = "9999996708"
        password = { file = "password" }
        access_token = { credential = "token" }

        [account.main.renewal]
        hours = ["Mon-Fri 08:30-15:45", "sat 09:15-12:30"]
        holidays = ["2026-01-26", 2026-12-25, "2026-12-25"]
        lead = "10min"
        ready_by = "08:45"
        """
    )
    assert config.load(path).accounts["main"].rules == Rules(
        hours=Hours(
            windows=(parse_window("Mon-Fri 08:30-15:45"), parse_window("Sat 09:15-12:30")),
            holidays=frozenset({date(2026, 1, 26), date(2026, 12, 25)}),
            lead=600.0,
            ready_by=31_500.0,
        )
    )


@pytest.mark.parametrize(
    "renewal",
    [
        {"ready_by": "00:00"},
        {"ready_by": "00:00", "edge": "23:59"},
        {"hours": [MON_FRI], "holidays": []},
        {"hours": [MON_FRI, MON_FRI], "lead": 0},
        {"hours": [MON_FRI], "lead": "23h"},
        {"hours": [MON_FRI], "lead": "10min", "ready_by": "08:21"},
        {"hours": [MON_FRI], "ready_by": "15:44"},
        {"hours": [MON_FRI, "Sat 10:00-12:00"], "ready_by": "08:45"},
        {"hours": ["Tue 00:05-06:00"], "lead": "10min", "ready_by": "23:58"},
        {"hours": ["Mon 08:30-15:45"], "ready_by": "08:45", "holidays": MONDAYS_OF_1970},
        {"logins_per_10min": 3, "logins_per_day": 3},
        {"logins_per_day": 1},
    ],
)
def test_what_does_not_contradict_each_other_is_accepted(renewal: dict[str, object]) -> None:
    accepted(renewal=renewal)


@pytest.mark.parametrize(
    ("value", "place", "name"),
    [
        ({"env": "PASSWORD"}, "env", "PASSWORD"),
        ({"credential": "kotak-password"}, "credential", "kotak-password"),
        ({"file": "/etc/neod/password"}, "file", "/etc/neod/password"),
        ({"file": "password"}, "file", "/nowhere/neod/password"),
        ({"file": "~/password"}, "file", f"{Path.home()}/password"),
        ({"keyring": "neod/password"}, "keyring", "neod/password"),
        ({"keyring": "https://neo/main/password"}, "keyring", "https://neo/main/password"),
    ],
)
def test_a_secret_can_stand_elsewhere(value: object, place: str, name: str) -> None:
    source = Source("account.main.password", place, name)  # type: ignore[arg-type] # of the table
    assert accepted(password=value).password == source


@pytest.mark.parametrize(
    ("argv", "program", "arguments"),
    [
        (["get-password"], "get-password", ()),
        (["pass", "show", "neod/main"], "pass", ("show", "neod/main")),
        (["sh", "-c", "echo ~/$X; exit", ""], "sh", ("-c", "echo ~/$X; exit", "")),
        (["/usr/bin/pass", "/x"], "/usr/bin/pass", ("/x",)),
        (["./get-password", "./x"], "/nowhere/neod/get-password", ("./x",)),
        (["bin/get-password", "~/x"], "/nowhere/neod/bin/get-password", ("~/x",)),
        (["~/bin/get-password"], f"{Path.home()}/bin/get-password", ()),
    ],
)
def test_a_command_is_kept_word_by_word_and_only_its_program_can_be_a_path(
    argv: list[str], program: str, arguments: tuple[str, ...]
) -> None:
    source = Source("account.main.password", "command", program, arguments=arguments)
    assert accepted(password={"command": argv}).password == source


@pytest.mark.parametrize("key", config.SECRETS)
def test_every_secret_can_stand_elsewhere(key: str) -> None:
    changes = {
        "password": {},
        "consumer_secret": {},
        "access_token": TOKEN,
        "mpin": {},
        "totp_secret": TOTP,
    }[key]
    account = accepted(**changes | {key: {"keyring": "neod/main"}})
    assert Source(f"account.main.{key}", "keyring", "neod/main") in account.secrets


def test_a_secret_in_the_file_itself_is_kept_as_a_secret() -> None:
    assert accepted(password=CANARY).password == inline("password", CANARY)
    assert CANARY not in repr(accepted(password=CANARY, mpin=CANARY))
    assert CANARY not in repr(accepted(**TOTP | {"access_token": CANARY, "totp_secret": CANARY}))
    assert CANARY not in repr(accepted(password={"command": ["echo", CANARY]}))


def test_secrets_are_listed_in_an_order_that_does_not_change() -> None:
    def keys(**changes: object) -> list[str]:
        secrets = accepted(**changes).secrets
        return [source.key.removeprefix("account.main.") for source in secrets]

    assert keys() == ["password", "consumer_key", "consumer_secret"]
    assert keys(mpin="123456") == ["password", "consumer_key", "consumer_secret", "mpin"]
    assert keys(**TOKEN) == ["password", "access_token"]
    assert keys(**TOTP) == ["access_token", "totp_secret"]
    assert keys(mpin="123456", **TOTP) == ["access_token", "totp_secret", "mpin"]


@pytest.mark.parametrize(
    "url",
    ["https://a.example", "https://a.example:8443/x/", "http://localhost:1/", "http://[::1]:1/"],
)
def test_an_endpoint_is_https_or_on_loopback_and_ends_in_a_slash(url: str) -> None:
    assert accepted(endpoints={"api": url}).endpoints.api == f"{url.rstrip('/')}/"


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
def test_a_source_address_is_an_ip_address(address: str) -> None:
    assert accepted(source_address=address).source_address == address


def test_a_sandbox_has_no_budget_unless_one_is_given() -> None:
    endpoints = dict.fromkeys(("session", "api", "login"), LOOPBACK)
    assert accepted(endpoints=endpoints).rules.logins_per_day is None
    given_one = accepted(endpoints=endpoints, renewal={"logins_per_day": 1000})
    assert given_one.rules.logins_per_day == 1000


# What is refused, and in which words


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        # unknown keys, with the nearest known one
        ({"passwrod": "x"}, "passwrod", "unknown key; did you mean password?"),
        ({"consumer_kye": "x"}, "consumer_kye", "did you mean consumer_key?"),
        ({"renewal": {"margn": 1}}, "renewal.margn", "did you mean margin?"),
        ({"endpoints": {"apl": LOOPBACK}}, "endpoints.apl", "did you mean api?"),
        ({"zzzz": 1}, "zzzz", "known are access_token, "),
        ({"margin": "5min"}, "margin", "it belongs into [account.main.renewal]"),
        # wrong types
        ({"mobile": 9999996708}, "mobile", "expected a string of ten digits"),
        ({"mobile": 9999996708}, "mobile", "found 9999996708"),
        ({"user_id": 7, "mobile": None}, "user_id", "expected a string, found 7"),
        ({"user_id": "", "mobile": None}, "user_id", 'expected a string, found ""'),
        ({"renewal": "15min"}, "renewal", "expected a table, found"),
        ({"endpoints": [LOOPBACK]}, "endpoints", "expected a table, found an array"),
        ({"password": 123456}, "password", "expected a string, or a table"),
        ({"password": 123456}, "password", "found an integer"),
        ({"password": {}}, "password", "found a table"),
        ({"password": {"env": "A", "file": "b"}}, "password", "a table with one of credential"),
        ({"password": {"env": ""}}, "password", "a table with one of credential"),
        ({"password": {"vault": "x"}}, "password", "a table with one of credential"),
        ({"password": ""}, "password", "a string that is not empty"),
        ({"password": "one\ntwo"}, "password", "of printable characters"),
        ({"mpin": 123456}, "mpin", "expected a string, or a table"),
        ({"mpin": 123456}, "mpin", "found an integer"),
        ({"mpin": ""}, "mpin", "a string that is not empty"),
        (TOTP | {"ucc": 123}, "ucc", "expected a string, found 123"),
        (TOTP | {"ucc": ""}, "ucc", 'expected a string, found ""'),
        (TOTP | {"totp_secret": 123}, "totp_secret", "found an integer"),
        ({"password": {"credential": "a/b"}}, "password", "a credential, which has no slash"),
        ({"password": {"keyring": ""}}, "password", "a table with one of credential"),
        ({"password": {"keyring": ["neod", "x"]}}, "password", "a table with one of credential"),
        ({"password": {"keyring": "neod"}}, "password", 'the keyring as "service/username"'),
        ({"password": {"keyring": "neod/"}}, "password", 'the keyring as "service/username"'),
        ({"password": {"keyring": "/x"}}, "password", 'the keyring as "service/username"'),
        ({"password": {"keyring": "a\0/x"}}, "password", "a table with one of credential"),
        ({"password": {"command": "pass neod"}}, "password", "the command as an array of strings"),
        ({"password": {"command": "pass neod"}}, "password", "no shell reads it"),
        ({"password": {"command": []}}, "password", "the command as an array of strings"),
        ({"password": {"command": [""]}}, "password", "the command as an array of strings"),
        ({"password": {"command": ["", "x"]}}, "password", "the command as an array of strings"),
        ({"password": {"command": ["x", 1]}}, "password", "the command as an array of strings"),
        ({"password": {"command": ["x", ["y"]]}}, "password", "the command as an array of str"),
        ({"password": {"command": ["x", "\0"]}}, "password", "the command as an array of strings"),
        ({"password": {"command": {"x": "y"}}}, "password", "the command as an array of strings"),
        # shapes
        ({"mobile": "12345"}, "mobile", 'found "12345"'),
        ({"mobile": "919999996708"}, "mobile", "ten digits"),
        ({"mobile": "+91 99999x96708"}, "mobile", "ten digits"),
        ({"pan": "ABCD1234F", "mobile": None}, "pan", "five letters, four digits and a letter"),
        ({"pan": "ABCDE1234FX", "mobile": None}, "pan", 'found "ABCDE1234FX"'),
        ({"environment": "production"}, "environment", 'expected "prod" or "uat"'),
        ({"flow": "otp"}, "flow", 'expected "password" or "totp", found "otp"'),
        ({"flow": ["totp"]}, "flow", 'expected "password" or "totp", found an array'),
        ({"second_factor": "sms"}, "second_factor", 'expected "none", "mpin" or "otp"'),
        ({"second_factor": True}, "second_factor", "found true"),
        ({"source_address": "eth0"}, "source_address", "expected an IP address"),
        ({"proxy": "proxy:3128"}, "proxy", "expected a URL such as http://proxy:3128"),
        ({"proxy": "http://[::1"}, "proxy", "expected a URL such as http://proxy:3128"),
        ({"renewal": {"edge": "24:00"}}, "renewal.edge", "a time of day in India"),
        ({"renewal": {"logins_per_day": 0}}, "renewal.logins_per_day", "a whole number"),
        ({"renewal": {"logins_per_day": True}}, "renewal.logins_per_day", "found true"),
        # missing, and contradictions
        ({"password": None}, "password", "missing; it is the trading password"),
        ({"mobile": None}, "mobile", "missing; give mobile, or pan, or user_id"),
        ({"pan": "ABCDE1234F"}, "mobile and pan", "only one of mobile, pan and user_id"),
        ({"consumer_key": None, "consumer_secret": None}, "consumer_key", "give an access_token"),
        ({"consumer_key": None}, "consumer_key", "missing; consumer_secret needs it"),
        ({"consumer_secret": None}, "consumer_secret", "missing; consumer_key needs it"),
        ({"access_token": "x"}, "access_token", "or consumer_key and consumer_secret, not both"),
        ({"second_factor": "mpin"}, "mpin", 'missing; second_factor = "mpin" needs it'),
        ({"mpin": "123456", "second_factor": "none"}, "mpin", 'of no use with second_factor = "n'),
        ({"mpin": "123456", "second_factor": "otp"}, "mpin", 'of no use with second_factor = "o'),
        ({"ucc": "AB123"}, "ucc", 'not for flow = "password"'),
        ({"totp_secret": "x"}, "totp_secret", 'not for flow = "password"'),
        (TOTP | {"mobile": None}, "mobile", "missing"),
        (TOTP | {"ucc": None}, "ucc", "missing; it is the client code"),
        (TOTP | {"access_token": None}, "access_token", "missing; it is the access token of"),
        (TOTP | {"totp_secret": None}, "totp_secret", "missing; it is the secret that the codes"),
        (TOTP | {"password": "x"}, "password", 'not for flow = "totp"'),
        (TOTP | {"consumer_key": "x"}, "consumer_key", 'not for flow = "totp"'),
        (TOTP | {"consumer_secret": "x"}, "consumer_secret", 'not for flow = "totp"'),
        (TOTP | {"pan": "ABCDE1234F"}, "pan", 'not for flow = "totp"'),
        (TOTP | {"user_id": "AB1234"}, "user_id", 'not for flow = "totp"'),
        (TOTP | {"second_factor": "otp"}, "second_factor", 'flow = "totp" takes "mpin" or "none"'),
        (TOTP | {"second_factor": "mpin"}, "mpin", 'missing; second_factor = "mpin" needs it'),
        (TOTP | {"mpin": "123456", "second_factor": "none"}, "mpin", "of no use with"),
        # hooks
        ({"hooks": {"on_event": "x"}}, "hooks.on_event", "expected a program as an array"),
        ({"hooks": {"on_event": []}}, "hooks.on_event", "expected a program as an array"),
        ({"hooks": {"on_event": [1]}}, "hooks.on_event", "expected a program as an array"),
        ({"hooks": {"on_rotate": [""]}}, "hooks.on_rotate", "expected the program's path first"),
        ({"hooks": {"on_event": ["a\0"]}}, "hooks.on_event", "no NUL in it"),
        ({"hooks": {"on_evnt": ["x"]}}, "hooks.on_evnt", "on_event"),
        # the budget
        ({"renewal": {"logins_per_10min": 5}}, "renewal.logins_per_10min", "at most 4 unless"),
        ({"renewal": {"logins_per_day": 25}}, "renewal.logins_per_day", "found 25"),
    ],
)
def test_a_mistake_names_its_key_and_what_was_expected(
    changes: dict[str, object], key: str, words: str
) -> None:
    mistakes = refused(**changes)
    assert [mistake.partition(": ")[0] for mistake in mistakes] == [f"account.main.{key}"]
    assert words in mistakes[0]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"acount": {}}, "acount: unknown key; did you mean account?"),
        ({"server": {"grase": 1}}, "server.grase: unknown key; did you mean grace?"),
        ({"server": 3}, "server: expected a table, found "),
        ({"account": []}, "account: expected a table, found an array"),
        ({"server": {"max_connections": "many"}}, "server.max_connections: expected a whole"),
        ({"server": {"max_watchers": 0}}, "server.max_watchers: expected a whole"),
        (
            {"server": {"max_head": 1023}},
            "server.max_head: at least 1024, or no client fits, found",
        ),
        ({"server": {"max_body": "64 KiB"}}, "server.max_body: expected a whole number"),
        ({"server": {"head_timeout": 0}}, "server.head_timeout: expected more than no time"),
        ({"server": {"idle_timeout": "soon"}}, "server.idle_timeout: expected seconds, or"),
        ({"account": {"Main": table()}}, "account.Main: a name is 1 to 32 of"),
        ({"account": {"a" * 33: table()}}, "a name is 1 to 32 of"),
        ({"account": {"": table()}}, "a name is 1 to 32 of"),
    ],
)
def test_a_mistake_outside_an_account_is_told_as_well(raw: dict[str, object], words: str) -> None:
    [mistake] = read(raw)[1]
    assert words in mistake


@pytest.mark.parametrize(
    "value",
    [
        "90",
        "15 minutes",
        "min",
        "",
        "-1s",
        -1,
        True,
        float("inf"),
        float("nan"),
        [90],
        pytest.param(10**400, id="more than a float holds"),
    ],
)
def test_a_bad_duration_is_refused(value: object) -> None:
    [mistake] = refused(renewal={"margin": value})
    assert mistake.startswith("account.main.renewal.margin: expected seconds, or a duration")


@pytest.mark.parametrize(
    "url",
    [
        "http://gw-napi.kotaksecurities.com/",
        "http://127.0.0.1.example/",
        "http://127.0.0.1@a.example/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "127.0.0.1:8080",
        "https://",
        "https:///path",
        "https://a.example/?q",
        "https://a.example/#f",
        "https://a.example:port/",
        "https://[::1/",
        "https://user:password@a.example/",
        "https://:password@a.example/",
        8080,
    ],
)
def test_an_endpoint_that_is_neither_https_nor_loopback_is_refused(url: object) -> None:
    [mistake] = refused(endpoints={"session": url})
    assert mistake.startswith("account.main.endpoints.session: expected a URL such as https://")


@pytest.mark.parametrize("elsewhere", ["session", "api", "login"])
def test_the_budget_can_be_larger_only_if_every_endpoint_is_on_loopback(elsewhere: str) -> None:
    endpoints = dict.fromkeys(("session", "api", "login"), LOOPBACK)
    renewal = {"logins_per_10min": 1000}
    assert accepted(endpoints=endpoints, renewal=renewal).rules.logins_per_10min == 1000
    [mistake] = refused(endpoints=endpoints | {elsewhere: "https://a.example/"}, renewal=renewal)
    assert "unless every endpoint is on loopback" in mistake


@pytest.mark.parametrize(
    ("renewal", "key", "words"),
    [
        # types and shapes
        ({"hours": MON_FRI}, "hours", f'an array such as ["{MON_FRI}"], found "{MON_FRI}"'),
        ({"hours": {"Mon": "08:30"}}, "hours", "expected an array such as"),
        ({"hours": [MON_FRI, "Sat"]}, "hours[1]", 'days and times in India such as "Mon-Fri 0'),
        ({"hours": [MON_FRI, "Sat"]}, "hours[1]", 'found "Sat"'),
        ({"hours": [MON_FRI, "Sut 09:00-10:00"]}, "hours[1]", "expected days such as"),
        ({"hours": ["Mon 9:00-10:00"]}, "hours[0]", "expected a time of day in India"),
        ({"hours": ["Mon 22:00-02:00"]}, "hours[0]", "expected an end after the start"),
        ({"hours": [[MON_FRI]]}, "hours[0]", "found an array"),
        ({"hours": [5]}, "hours[0]", "found 5"),
        ({"holidays": "2026-01-26"}, "holidays", 'such as ["2026-01-26"], found "2026-01-26"'),
        ({"holidays": date(2026, 1, 26)}, "holidays", "found a date"),
        ({"holidays": ["2026-01-26", "26 Jan"]}, "holidays[1]", 'a day such as "2026-01-26", fou'),
        ({"holidays": ["2026-02-30"]}, "holidays[0]", 'found "2026-02-30"'),
        ({"holidays": [datetime(2026, 1, 26)]}, "holidays[0]", "found a date with a time"),  # noqa: DTZ001 - TOML has such
        ({"lead": "1d"}, "lead", 'expected less than 24 h, found "1d"'),
        ({"lead": 86_400}, "lead", "expected less than 24 h, found 86400"),
        ({"lead": "ten"}, "lead", "expected seconds, or a duration"),
        ({"ready_by": "8:45"}, "ready_by", 'expected a time of day in India such as "08:45"'),
        ({"ready_by": "24:00"}, "ready_by", 'found "24:00"'),
        ({"ready_by": time(8, 45)}, "ready_by", "found a time"),
        # contradictions
        ({"hours": []}, "hours", "an empty array; leave it out"),
        ({"hours": None, "lead": 0}, "lead", "of no use without hours"),
        ({"hours": None, "holidays": []}, "holidays", "of no use without hours"),
        ({"ready_by": "08:00"}, "ready_by", f"and before the end of the hours ({MON_FRI}), found"),
        ({"ready_by": "08:30"}, "ready_by", "after the opening and before the end of the hours"),
        ({"ready_by": "15:45"}, "ready_by", 'found "15:45"'),
        ({"ready_by": "08:20", "lead": "10min"}, "ready_by", "opens 10 min before), found"),
        ({"ready_by": "09:00", "edge": "09:00"}, "ready_by", "another time than the edge"),
        ({"logins_per_10min": 3, "logins_per_day": 2}, "logins_per_10min", "which is 2, found 3"),
    ],
)
def test_a_mistake_in_the_hours_names_its_key_or_its_item(
    renewal: dict[str, object], key: str, words: str
) -> None:
    given = {name: of for name, of in ({"hours": [MON_FRI]} | renewal).items() if of is not None}
    [mistake] = refused(renewal=given)
    assert mistake.startswith(f"account.main.renewal.{key}: ")
    assert words in mistake


def test_what_is_wrong_by_itself_is_not_held_against_other_keys() -> None:
    def keys(**renewal: object) -> list[str]:
        told = (mistake.partition(": ")[0] for mistake in refused(renewal=renewal))
        return [key.removeprefix("account.main.renewal.") for key in told]

    assert keys(hours="Mon", holidays=[], lead=5, ready_by="08:45") == ["hours"]
    assert keys(hours=[MON_FRI, "x"], ready_by="07:00") == ["hours[1]"]
    assert keys(hours=["x", "y"], holidays=["z"]) == ["hours[0]", "hours[1]", "holidays[0]"]
    assert keys(hours=[MON_FRI], lead="x", ready_by="08:25") == ["lead"]
    assert keys(lead=5, holidays=[], ready_by="08:45") == ["holidays", "lead"]
    assert keys(logins_per_10min=3, logins_per_day=0) == ["logins_per_day"]
    assert keys(logins_per_10min=30, logins_per_day=20) == ["logins_per_10min"]


def test_the_budget_of_a_sandbox_must_not_contradict_itself_either() -> None:
    endpoints = dict.fromkeys(("session", "api", "login"), LOOPBACK)
    accepted(endpoints=endpoints, renewal={"logins_per_10min": 1000})
    renewal = {"logins_per_10min": 1000, "logins_per_day": 999}
    [mistake] = refused(endpoints=endpoints, renewal=renewal)
    assert "at most logins_per_day, which is 999, found 1000" in mistake


@pytest.mark.parametrize("key", ["hours", "holidays", "lead", "ready_by", "logins_per_day"])
def test_a_key_of_renewal_in_the_account_is_told_where_it_belongs(key: str) -> None:
    [mistake] = refused(**{key: [MON_FRI]})
    assert f"account.main.{key}: unknown key; it belongs into [account.main.renewal]" in mistake


def test_all_mistakes_are_told_at_once_each_with_its_key(write: Write) -> None:
    error = error_of(
        write(
            """
            [account.main]
            pan = "12345"
            consumer_kye = "x"
            [account.main.renewal]
            margin = "soon"
            [account.other]
            user_id = "x"
            password = "x"
            access_token = "x"
            flow = "totp"
            second_factor = "otp"
            mpin = 123456
            [server]
            grace = false
            """
        )
    )
    told = [line.strip().partition(":")[0] for line in error.splitlines()[1:]]
    assert sorted(told) == [
        "account.main.consumer_key",
        "account.main.consumer_kye",
        "account.main.pan",
        "account.main.password",
        "account.main.renewal.margin",
        "account.other.mobile",
        "account.other.mpin",
        "account.other.mpin",
        "account.other.password",
        "account.other.second_factor",
        "account.other.totp_secret",
        "account.other.ucc",
        "account.other.user_id",
        "server.grace",
    ]
    assert "config.toml: 14 mistakes\n" in error


def test_one_mistake_is_told_in_one_line(write: Write) -> None:
    path = write("[server]\ngrace = false\n")
    assert error_of(path).startswith(f"{path}: server.grace: expected seconds")
    assert "\n" not in error_of(path)


def test_an_account_written_without_its_name_is_one_mistake_a_key_at_most() -> None:
    _, mistakes = read({"account": table()})
    assert len(mistakes) <= len(FAULTLESS)


# Files


def test_an_absent_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    told = error_of(tmp_path / "config.toml")
    assert "there is no such file; `neod setup` writes one, and `neod demo` needs none" in told


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'password = "\xff"')
    assert error_of(path) == f"{path}: is not UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        "[account.main\n",
        "[account.main]\nmobile = 99999 96708\n",
        pytest.param("a = " + "[" * 5000, id="nested too deep"),
        pytest.param("a = " + "1" * 5000, id="a number too long"),
    ],
)
def test_what_is_not_toml_is_told(write: Write, text: str) -> None:
    path = write(text)
    assert error_of(path).startswith(f"{path}: is not TOML: ")


def test_a_syntax_error_is_told_with_its_line(write: Write) -> None:
    assert "line 2, column " in error_of(write("[account.main]\nmobile = 99999 96708\n"))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_secret_in_a_file_that_others_may_touch_is_refused(write: Write, mode: int) -> None:
    path = write(toml({"account": {"main": table()}}), mode)
    error = error_of(path)
    assert "account.main.password, account.main.consumer_secret: in clear" in error
    assert f"mode {mode:04o}" in error
    assert error.endswith(f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"mpin": "123456"}, ["password", "consumer_secret", "mpin"]),
        (TOTP | {"mpin": "123456"}, ["access_token", "mpin", "totp_secret"]),
        (TOTP | {"access_token": {"env": "A"}}, ["totp_secret"]),
        (TOTP | {"access_token": {"env": "A"}, "totp_secret": {"env": "B"}, "mpin": "1"}, ["mpin"]),
        (TOTP | {"totp_secret": {"command": ["x"]}}, ["access_token"]),
    ],
)
def test_every_secret_of_either_flow_in_clear_closes_the_file(
    write: Write, changes: dict[str, object], keys: list[str]
) -> None:
    text = toml({"account": {"main": table(**changes)}})
    assert config.load(write(text)).accounts
    named = ", ".join(f"account.main.{key}" for key in keys)
    assert f": {named}: in clear" in error_of(write(text, 0o644))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_in_a_file_of_ones_own_is_accepted(write: Write, mode: int) -> None:
    assert config.load(write(toml({"account": {"main": table()}}), mode)).accounts


def test_a_file_without_a_secret_may_be_read_by_others(write: Write) -> None:
    main = table(password={"env": "A"}, consumer_secret={"keyring": "neod/b"})
    totp = table(**TOTP | {"access_token": {"file": "c"}, "totp_secret": {"command": ["d"]}})
    text = toml({"account": {"main": main, "totp": totp}})
    assert len(config.load(write(text, 0o644)).accounts) == 2


def test_the_mode_of_the_file_is_told_along_with_other_mistakes(write: Write) -> None:
    error = error_of(write(toml({"account": {"main": table(zzzz=1)}}), 0o644))
    assert "account.main.zzzz: unknown key" in error
    assert "account.main.password" in error
    assert "chmod 600" in error


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_secret_in_another_users_file_is_refused(write: Write) -> None:
    path = write(toml({"account": {"main": table()}}))
    os.chown(path, 12345, -1)
    assert "belongs to uid 12345, not to you" in error_of(path)


def test_a_password_file_that_others_may_read_is_refused(write: Write, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(CANARY)
    password.chmod(0o644)
    error = error_of(write(toml({"account": {"main": table(password={"file": "password"})}})))
    assert "account.main.password: " in error
    assert "mode 0644" in error
    assert error.endswith(f"chmod 600 {password}")
    assert CANARY not in error


def test_a_password_file_that_is_not_there_yet_is_no_mistake(write: Write) -> None:
    main = table(password={"file": "password"}, consumer_secret={"env": "SECRET"})
    assert config.load(write(toml({"account": {"main": main}}))).accounts


def test_a_path_below_the_home_of_nobody_is_left_as_it_is() -> None:
    password = accepted(password={"file": "~no-such-user/password"}).password

    assert password is not None
    assert password.name == os.fspath(FOLDER / "~no-such-user/password")


def test_a_path_with_a_nul_is_a_mistake() -> None:
    _, [mistake] = read({"account": {"main": table(password={"file": "pass\0word"})}})

    assert mistake.startswith("account.main.password: expected a string, or a table")


# Nothing slips


@pytest.mark.parametrize("key", [*config.SECRETS, "consumer_key"])
@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        f"{CANARY}\n",
        [CANARY],
        {CANARY: CANARY},
        {"text": CANARY},
        {"env": [CANARY]},
        {"env": "A", "value": CANARY},
        {"keyring": CANARY},
        {"keyring": f"{CANARY}/"},
        {"keyring": [CANARY]},
        {"command": CANARY},
        {"command": [CANARY, 1]},
        {"command": {CANARY: CANARY}},
        {"file": {"path": CANARY}},
    ],
)
def test_a_secret_never_shows_in_a_message_whatever_its_shape(
    write: Write, key: str, value: object
) -> None:
    raw: dict[str, object] = {"account": {"main": table(**{key: value}, zzzz=1)}, "zzzz": CANARY}
    assert CANARY not in error_of(write(toml(raw), 0o644))


MISPLACED: dict[str, dict[str, object]] = {
    "above all tables": {"password": CANARY},
    "below account": {"account": {"password": CANARY}},
    "as account": {"account": CANARY},
    "as an account": {"account": {"main": CANARY}},
    "below a bad name": {"account": {"Main": table(password=CANARY)}},
    "below server": {"server": {"password": CANARY}},
    "below a misspelt key": {"account": {"main": table(passwrod=CANARY)}},
    "below another flow's keys": {"account": {"main": table(mpin=CANARY, totp_secret=CANARY)}},
    "below keys of no flow": {"account": {"main": table(**TOTP | {"password": CANARY})}},
    "below no second factor": {"account": {"main": table(mpin=CANARY, second_factor="none")}},
    "in a hook": {"account": {"main": table(hooks={"on_event": [CANARY, 1]})}},
    "as a hook": {"account": {"main": table(hooks={"on_event": CANARY})}},
    "below renewal": {"account": {"main": table(renewal={"password": CANARY})}},
    "as renewal": {"account": {"main": table(renewal=CANARY)}},
    "in a proxy": {"account": {"main": table(proxy=f"socks5://user:{CANARY}@proxy")}},
    "in an endpoint": {
        "account": {"main": table(endpoints={"api": f"https://user:{CANARY}@a.example/"})}
    },
}


@pytest.mark.parametrize("where", MISPLACED)
def test_a_secret_never_shows_in_a_message_wherever_it_stands(write: Write, where: str) -> None:
    assert CANARY not in error_of(write(toml(MISPLACED[where])))


@pytest.mark.parametrize(
    "line",
    [
        f"password = {CANARY}",
        f'password = "{CANARY}',
        f'password = "{CANARY}"x',
        f'password "{CANARY}"',
        f'password = "\\q{CANARY}"',
        f'password = "{CANARY}"\npassword = "{CANARY}"',
    ],
)
def test_a_secret_never_shows_in_a_syntax_error(write: Write, line: str) -> None:
    error = error_of(write(f"[account.main]\n{line}\n"))
    assert "is not TOML" in error
    assert CANARY not in error


KEYS = [
    *("flow", "environment", "mobile", "pan", "user_id", "password", "access_token", "proxy"),
    *("consumer_key", "consumer_secret", "second_factor", "source_address", "mpin", "zzzz"),
    *("ucc", "totp_secret", "hooks", "keyring", "command"),
    *("hours", "holidays", "lead", "ready_by"),
    *("session", "api", "login", "margin", "edge", "logins_per_day", "grace", "max_connections"),
    *("max_watchers", "max_head", "max_body", "head_timeout", "idle_timeout"),
    *("file", "env", "credential", "main", "account", "server", "endpoints", "renewal"),
]
ANYTHING = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["password", "totp", "none", "mpin", "otp", "9999996708", "neod/x"])
    | st.sampled_from([MON_FRI, "2026-01-26", "08:45", "10min"])
    | st.dates()
    | st.datetimes()
    | st.times(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
TABLE = st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8)


@settings(max_examples=60)
@given(raw=TABLE, main=TABLE)
def test_whatever_the_file_says_reading_it_ends_in_accounts_or_in_mistakes(
    raw: dict[str, object], main: dict[str, object]
) -> None:
    found, mistakes = read(raw | {"account": {"main": main}})
    assert mistakes or "main" in found.accounts
