"""The configuration: TOML -> frozen structs, and every mistake at once, each with its key.

Reads the file and looks at the mode of files that hold secrets; reads no secret that is not in
the file itself. A value that may be a secret is never repeated in a message.
"""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from neoctl.wire import BODY_MAX, HEAD_MAX, HEAD_TIME
from neod import keys, values
from neod.account.edge import daily
from neod.account.hours import (
    Hours,
    parse_time,
    parse_window,
    ready_by_next,
    time_of_day,
)
from neod.account.policy import Rules
from neod.kotak.endpoints import ENVIRONMENTS, Endpoints, Environment
from neod.secrets import Secret, Source, exposed
from neod.table import Table, Wrong

Flow = Literal["password", "totp"]
Factor = Literal["none", "mpin", "otp"]

SECRETS = ("password", "consumer_secret", "access_token", "mpin", "totp_secret")
ACCOUNT_NAME = re.compile(r"[a-z0-9_-]{1,32}")
KEYS_SHOWN = 8  # of those with a mistake, where it is only said which
HEAD_LEAST = 1024  # bytes: what clients send of themselves has to fit


class Hooks(msgspec.Struct, frozen=True):
    """[account.NAME.hooks]: programs with their arguments, empty where there is none."""

    on_rotate: tuple[str, ...] = ()
    on_event: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Hooks(***)"  # an argument may be a secret of theirs


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """[account.NAME]"""

    name: str
    flow: Flow
    environment: Environment
    endpoints: Endpoints
    identity: tuple[str, str]  # the login's field, and what stands in it
    password: Source | None = None
    consumer: tuple[Source, Source] | None = None  # key and secret …
    access_token: Source | None = None  # … or this
    ucc: str = ""
    totp_secret: Source | None = None
    mpin: Source | None = None
    second_factor: Factor = "none"
    source_address: str | None = None
    proxy: Secret | None = None  # its URL may hold a password
    rules: Rules = Rules()
    hooks: Hooks = Hooks()

    @property
    def login_url(self) -> str:
        """Where the credentials go: whoever is reached there sees from where."""
        return self.endpoints.login if self.flow == "totp" else self.endpoints.api

    @property
    def secrets(self) -> tuple[Source, ...]:
        """All secrets of the account, in an order that does not change."""
        sources = (
            self.password,
            *(self.consumer or ()),
            self.access_token,
            self.totp_secret,
            self.mpin,
        )
        return tuple(source for source in sources if source is not None)


class Server(msgspec.Struct, frozen=True):
    """[server]"""

    grace: float = 3.0  # seconds that requests in flight get at the end
    max_connections: int = 1024
    max_watchers: int = 1024
    max_head: int = HEAD_MAX  # bytes
    max_body: int = BODY_MAX  # bytes
    head_timeout: float = HEAD_TIME  # seconds in which a head has to arrive
    idle_timeout: float = 75.0  # seconds that a kept connection may be silent
    log: Literal["info", "debug"] | None = None  # unless $NEOD_LOG says it


class Config(msgspec.Struct, frozen=True):
    """The whole file."""

    accounts: dict[str, Account]
    server: Server

    @property
    def variables(self) -> frozenset[str]:
        """The variables of the environment that hold a secret of any account."""
        sources = [source for account in self.accounts.values() for source in account.secrets]
        return frozenset(source.name for source in sources if source.place == "env")


class ConfigError(Exception):
    """The configuration cannot be used; str() is one message that names every mistake."""

    def __init__(self, path: Path, mistakes: list[str]) -> None:
        self.path = path
        self.mistakes = mistakes
        if len(mistakes) == 1:
            super().__init__(f"{path}: {mistakes[0]}")
        else:
            listed = "".join(f"\n  {mistake}" for mistake in mistakes)
            super().__init__(f"{path}: {len(mistakes)} mistakes{listed}")

    @property
    def action(self) -> str:
        """The command that shows what is wrong."""
        return f"neod check --config {shlex.quote(os.fspath(self.path))}"

    @property
    def keys(self) -> str:
        """Where the mistakes are, and nothing of what stands there."""
        found = list(dict.fromkeys(mistake.partition(": ")[0] for mistake in self.mistakes))
        more = f" and {len(found) - KEYS_SHOWN} more" if len(found) > KEYS_SHOWN else ""
        return ", ".join(found[:KEYS_SHOWN]) + more


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError."""
    try:
        text = path.read_bytes().decode()
        raw = tomllib.loads(text)
    except FileNotFoundError:
        why = "there is no such file; `neod setup` writes one, and `neod demo` needs none"
        raise ConfigError(path, [why]) from None
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError(path, ["is not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [f"is not TOML: {error}"]) from None
    except (ValueError, RecursionError):  # a number, or a nesting, that is beyond Python
        raise ConfigError(
            path, ["is not TOML: a number or a nesting is beyond all reason"]
        ) from None
    mistakes: list[str] = []
    config = read(raw, path.absolute().parent, mistakes)
    clear = list(_in_clear(raw))
    if clear and (found := exposed(path)):
        mistakes.append(f"{', '.join(clear)}: in clear, and {found.why}; {found.action}")
    if mistakes:
        raise ConfigError(path, mistakes)
    return config


def _in_clear(raw: dict[str, object]) -> Iterator[str]:
    """The keys that hold a secret in the file itself, faultless or not."""
    accounts = raw.get("account")
    for name, table in accounts.items() if isinstance(accounts, dict) else ():
        for key in SECRETS if isinstance(table, dict) else ():
            if isinstance(table.get(key), str):
                yield f"account.{name}.{key}"
        if isinstance(table, dict) and "@" in str(table.get("proxy")):
            yield f"account.{name}.proxy"


def read(raw: dict[str, object], folder: Path, mistakes: list[str]) -> Config:
    """The configuration in parsed TOML; mistakes are added to the list given.

    Paths of secrets that are not absolute are taken from `folder`. With mistakes the result
    holds the accounts that have none.
    """
    top = Table("", raw, mistakes)
    accounts: dict[str, Account] = {}
    for name, table in top.tables("account").items():
        if not ACCOUNT_NAME.fullmatch(name):
            mistakes.append(
                f"account.{name}: a name is 1 to 32 of the characters a-z, 0-9, _ and -"
            )
        elif account := _account(name, table, folder):
            accounts[name] = account
    server = _server(top.table("server"))
    top.no_more({})
    return Config(accounts=accounts, server=server)


def _account(name: str, table: Table, folder: Path) -> Account | None:
    table.before = len(table.mistakes)
    flow: Flow = table.take("flow", _flow, "password")
    environment: Environment = table.take("environment", _environment, "prod")
    identity = _identity(table, flow)
    found = {key: _secret(table, key, folder) for key in (*SECRETS, "consumer_key")}
    ucc = table.take("ucc", values.text, "")
    usual: Factor = "mpin" if found["mpin"] else "none"
    second_factor: Factor = table.take("second_factor", _factor, usual)
    for wrong, why in _missing(flow, table.raw, second_factor):
        table.wrong(wrong, why)
    endpoints = _endpoints(table.table("endpoints"), environment)
    key, secret = found["consumer_key"], found["consumer_secret"]
    account = Account(
        name=name,
        flow=flow,
        environment=environment,
        endpoints=endpoints,
        identity=identity or ("", ""),
        password=found["password"],
        consumer=(key, secret) if key and secret else None,
        access_token=found["access_token"],
        ucc=ucc,
        totp_secret=found["totp_secret"],
        mpin=found["mpin"],
        second_factor=second_factor,
        source_address=table.take("source_address", values.address, None),
        proxy=table.take("proxy", values.proxy, None, hidden=True),
        rules=_rules(table.table("renewal"), sandbox=endpoints.on_loopback()),
        hooks=_hooks(table.table("hooks")),
    )
    renewal = keys.names("account.NAME.renewal")
    table.no_more(dict.fromkeys(renewal, f"[{table.key('renewal')}]"))
    return account if table.sound else None


def _secret(table: Table, name: str, folder: Path) -> Source | None:
    """A secret's source, None where it is absent; a source without use where it is wrong."""
    key = table.key(name)
    useless = Source(key=key, place="inline", name="", text=Secret("?"))
    source = table.take(name, partial(values.source, key, folder), useless, hidden=True)
    if name not in table.raw:
        return None
    if source.place == "file" and (found := exposed(Path(source.name))):
        table.wrong(name, f"{found.why}; {found.action}")
    return source


def _hooks(table: Table) -> Hooks:
    hooks = Hooks(
        on_rotate=table.take("on_rotate", values.program, (), hidden=True),
        on_event=table.take("on_event", values.program, (), hidden=True),
    )
    table.no_more({})
    return hooks


def _missing(
    flow: str, given: Mapping[str, object], second_factor: str
) -> Iterator[tuple[str, str]]:
    """What is missing from an account, and what contradicts the rest of it."""
    if flow == "totp":
        wanted = {
            "access_token": "the access token of the Neo app",
            "ucc": "the client code",
            "totp_secret": "the secret that the codes are made of",
        }
        strange: tuple[str, ...] = ("password", "consumer_key", "consumer_secret", "pan", "user_id")
    else:
        wanted = {"password": "the trading password, or where to find it"}
        strange = ("ucc", "totp_secret")
        yield from _access(given)
    for key, what in wanted.items():
        if key not in given:
            yield key, f"missing; it is {what}"
    for key in strange:
        if key in given:
            yield key, f'not for flow = "{flow}"'
    if second_factor == "mpin" and "mpin" not in given:
        yield "mpin", 'missing; second_factor = "mpin" needs it'
    if second_factor != "mpin" and "mpin" in given:
        yield "mpin", f'of no use with second_factor = "{second_factor}"'
    if second_factor == "otp" and flow == "totp":
        yield "second_factor", 'flow = "totp" takes "mpin" or "none"'


def _access(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    key, secret = "consumer_key" in given, "consumer_secret" in given
    if "access_token" in given:
        if key or secret:
            yield "access_token", "give this or consumer_key and consumer_secret, not both"
    elif not key:
        other = (
            "consumer_secret needs it"
            if secret
            else "give it with consumer_secret, or give an access_token"
        )
        yield "consumer_key", f"missing; {other}"
    elif not secret:
        yield "consumer_secret", "missing; consumer_key needs it"


def _identity(table: Table, flow: str) -> tuple[str, str] | None:
    found = [
        (field, value)
        for field, value in (
            ("mobileNumber", table.take("mobile", values.mobile, None)),
            ("pan", table.take("pan", values.pan, None)),
            ("userid", table.take("user_id", values.text, None)),
        )
        if value is not None
    ]
    given = [key for key in ("mobile", "pan", "user_id") if key in table.raw]
    if flow == "totp":
        if "mobile" not in given:
            table.wrong("mobile", "missing")
    elif len(given) > 1:
        table.wrong(" and ".join(given), "only one of mobile, pan and user_id can be given")
    elif not given:
        table.wrong("mobile", "missing; give mobile, or pan, or user_id")
    return found[0] if found else None


def _endpoints(table: Table, environment: Environment) -> Endpoints:
    usual = ENVIRONMENTS[environment]
    endpoints = msgspec.structs.replace(
        usual,
        session=table.take("session", values.url, usual.session, hidden=True),
        api=table.take("api", values.url, usual.api, hidden=True),
        login=table.take("login", values.url, usual.login, hidden=True),
    )
    table.no_more({})
    return endpoints


def _rules(table: Table, *, sandbox: bool) -> Rules:
    # The budget protects an account at Kotak. A sandbox has none, and sessions of seconds.
    usual = Rules(logins_per_10min=None, logins_per_day=None) if sandbox else Rules()
    rules = Rules(
        margin=table.take("margin", values.duration, usual.margin),
        edge=table.take("edge", values.edge, usual.edge),
        logins_per_10min=table.take("logins_per_10min", values.count, usual.logins_per_10min),
        logins_per_day=table.take("logins_per_day", values.count, usual.logins_per_day),
        hours=_hours(table),
    )
    for name in ("logins_per_10min", "logins_per_day"):
        most, asked = getattr(Rules(), name), getattr(rules, name)
        if not sandbox and asked > most:
            table.wrong(name, f"at most {most} unless every endpoint is on loopback, found {asked}")
    for wrong, why in _contradictions(rules, table):
        table.wrong(wrong, why)
    table.no_more({})
    return rules


def _hours(table: Table) -> Hours:
    windows = table.items("hours", values.of_text(parse_window), "Mon-Fri 08:30-15:45")
    holidays = table.items("holidays", values.day, "2026-01-26")
    return Hours(
        windows=tuple(windows),
        holidays=frozenset(holidays),
        lead=table.take("lead", values.lead, 0.0),
        ready_by=table.take("ready_by", values.of_text(parse_time), None),
    )


def _contradictions(rules: Rules, table: Table) -> Iterator[tuple[str, str]]:
    """What is right by itself, and wrong beside other keys of [renewal] that are right."""
    hours, given, bad = rules.hours, table.raw.keys(), table.bad
    if "hours" not in given:
        for key in ("holidays", "lead"):
            if key in given:
                yield key, "of no use without hours"
    elif not hours.windows and "hours" not in bad:
        yield "hours", "an empty array; leave it out if any hour will do"
    if hours.ready_by is not None:
        found = f'found "{time_of_day(hours.ready_by)}"'
        without_holidays = msgspec.structs.replace(hours, holidays=frozenset())
        if not bad & {"hours", "lead"} and ready_by_next(without_holidays, 0.0) is None:
            within = f"after the opening and before the end of the hours ({hours})"
            yield "ready_by", f"expected a time {within}, {found}"
        if rules.edge == daily(hours.ready_by):
            yield "ready_by", f"expected another time than the edge, which ends sessions, {found}"
    often, a_day = rules.logins_per_10min, rules.logins_per_day
    budget = {"logins_per_10min", "logins_per_day"}
    if budget <= given and not bad & budget and (often or 0) > (a_day or 0):
        yield "logins_per_10min", f"at most logins_per_day, which is {a_day}, found {often}"


def _server(table: Table) -> Server:
    usual = Server()
    server = Server(
        grace=table.take("grace", values.duration, usual.grace),
        max_connections=table.take("max_connections", values.count, usual.max_connections),
        max_watchers=table.take("max_watchers", values.count, usual.max_watchers),
        max_head=table.take("max_head", values.count, usual.max_head),
        max_body=table.take("max_body", values.count, usual.max_body),
        head_timeout=table.take("head_timeout", values.patience, usual.head_timeout),
        idle_timeout=table.take("idle_timeout", values.patience, usual.idle_timeout),
        log=table.take("log", _level, None),
    )
    if server.max_head < HEAD_LEAST:
        table.wrong(
            "max_head", f"at least {HEAD_LEAST}, or no client fits, found {server.max_head}"
        )
    table.no_more({})
    return server


def _level(value: object) -> Literal["info", "debug"]:
    if value == "info":
        return "info"
    if value == "debug":
        return "debug"
    raise Wrong('expected "info" or "debug"')


def _flow(value: object) -> Flow:
    if value == "password":
        return "password"
    if value == "totp":
        return "totp"
    raise Wrong('expected "password" or "totp"')


def _factor(value: object) -> Factor:
    if value == "none":
        return "none"
    if value == "mpin":
        return "mpin"
    if value == "otp":
        return "otp"
    raise Wrong('expected "none", "mpin" or "otp"')


def _environment(value: object) -> Environment:
    for name in ENVIRONMENTS:
        if value == name:
            return name
    raise Wrong(f"expected {' or '.join(json.dumps(name) for name in ENVIRONMENTS)}")
