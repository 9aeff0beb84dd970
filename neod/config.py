"""The configuration: TOML -> frozen structs, and every mistake at once, each with its key.

Reads the file and looks at the mode of files that hold secrets; reads no secret that is not in
the file itself. A value that may be a secret is never repeated in a message.
"""

import difflib
import ipaddress
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from neoctl.wire import BODY_MAX, HEAD_MAX, HEAD_TIME
from neod import keys
from neod.account.edge import DAY, Edge, daily
from neod.account.hours import (
    Hours,
    parse_day,
    parse_time,
    parse_window,
    ready_by_next,
    time_of_day,
)
from neod.account.policy import Rules
from neod.kotak.endpoints import ENVIRONMENTS, Endpoints, Environment, is_loopback
from neod.secrets import Secret, Source, exposed

T = TypeVar("T")
Flow = Literal["password", "totp"]
Factor = Literal["none", "mpin", "otp"]

SECRETS = ("password", "consumer_secret", "access_token", "mpin", "totp_secret")
ACCOUNT_NAME = re.compile(r"[a-z0-9_-]{1,32}")
KEYS_SHOWN = 8  # of those with a mistake, where it is only said which
HEAD_LEAST = 1024  # bytes: what clients send of themselves has to fit
_PAN = re.compile(r"[A-Z]{5}[0-9]{4}[A-Z]")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


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


class _Wrong(Exception):  # noqa: N818
    """What was expected in place of a value."""


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
    top = _Table("", raw, mistakes)
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


_MISSING = object()


class _Table:
    """A TOML table that is being read: keys are taken out of it, what is left is unknown."""

    def __init__(self, path: str, raw: dict[str, object], mistakes: list[str]) -> None:
        self.path = path
        self.raw = raw
        self.known: list[str] = []
        self.mistakes = mistakes
        self.before = len(mistakes)
        self.bad: set[str] = set()  # the keys with a mistake

    def key(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, why: str, index: int | None = None) -> None:
        """A mistake in the value of a key, or in one item of it."""
        self.bad.add(name)
        item = "" if index is None else f"[{index}]"
        self.mistakes.append(f"{self.key(name)}{item}: {why}")

    def take(
        self, name: str, parse: Callable[[object], T], default: T, *, hidden: bool = False
    ) -> T:
        """The value of a key, or the default where it is absent or wrong."""
        self.known.append(name)
        value = self.raw.get(name, _MISSING)
        if value is _MISSING:
            return default
        try:
            return parse(value)
        except _Wrong as expected:
            self.wrong(name, f"{expected}, found {_kind(value) if hidden else _found(value)}")
            return default

    def items(self, name: str, parse: Callable[[object], T], example: str) -> list[T]:
        """The items of an array, less those that are wrong; none where it is absent."""
        self.known.append(name)
        value = self.raw.get(name, [])
        if not isinstance(value, list):
            self.wrong(name, f'expected an array such as ["{example}"], found {_found(value)}')
            return []
        items = []
        for index, item in enumerate(value):
            try:
                items.append(parse(item))
            except _Wrong as expected:
                self.wrong(name, f"{expected}, found {_found(item)}", index)
        return items

    def secret(self, name: str, folder: Path) -> Source | None:
        """A secret's source; what was found in place of one is not shown."""
        self.known.append(name)
        value = self.raw.get(name, _MISSING)
        if value is _MISSING:
            return None
        try:
            source = _source(self.key(name), value, folder)
        except _Wrong as expected:
            self.wrong(name, f"{expected}, found {_kind(value)}")
            return Source(key=self.key(name), place="inline", name="", text=Secret("?"))
        if source.place == "file" and (found := exposed(Path(source.name))):
            self.wrong(name, f"{found.why}; {found.action}")
        return source

    def tables(self, name: str) -> dict[str, "_Table"]:
        """The tables below [name.*]."""
        table = self.table(name)
        stray = [key for key, value in table.raw.items() if not isinstance(value, dict)]
        if stray:
            table.mistakes.append(
                f"{table.path}: {', '.join(stray)} belong into a table with a name, "
                f"[{table.path}.main]"
            )
        return {key: table.table(key) for key in table.raw if key not in stray}

    def table(self, name: str) -> "_Table":
        self.known.append(name)
        value = self.raw.get(name, {})
        if not isinstance(value, dict):
            self.wrong(name, f"expected a table, found {_kind(value)}")
            value = {}
        return _Table(self.key(name), value, self.mistakes)

    def no_more(self, elsewhere: Mapping[str, str]) -> None:
        """Whatever has not been taken by now is a mistake."""
        for name in self.raw:
            if name in self.known:
                continue
            near = difflib.get_close_matches(name, self.known, 1)
            if name in elsewhere:
                hint = f"; it belongs into {elsewhere[name]}"
            elif near:
                hint = f"; did you mean {near[0]}?"
            else:
                hint = f"; known are {', '.join(sorted(self.known))}" if self.known else ""
            self.wrong(name, f"unknown key{hint}")

    @property
    def sound(self) -> bool:
        """True if no mistake was found since this table was begun."""
        return len(self.mistakes) == self.before


def _account(name: str, table: _Table, folder: Path) -> Account | None:
    table.before = len(table.mistakes)
    flow: Flow = table.take("flow", _flow, "password")
    environment: Environment = table.take("environment", _environment, "prod")
    identity = _identity(table, flow)
    found = {key: table.secret(key, folder) for key in (*SECRETS, "consumer_key")}
    ucc = table.take("ucc", _text, "")
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
        source_address=table.take("source_address", _address, None),
        proxy=table.take("proxy", _proxy, None, hidden=True),
        rules=_rules(table.table("renewal"), sandbox=endpoints.on_loopback()),
        hooks=_hooks(table.table("hooks")),
    )
    renewal = keys.names("account.NAME.renewal")
    table.no_more(dict.fromkeys(renewal, f"[{table.key('renewal')}]"))
    return account if table.sound else None


def _hooks(table: _Table) -> Hooks:
    hooks = Hooks(
        on_rotate=table.take("on_rotate", _program, (), hidden=True),
        on_event=table.take("on_event", _program, (), hidden=True),
    )
    table.no_more({})
    return hooks


def _program(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise _Wrong('expected a program as an array of strings, such as ["/usr/bin/logger", "-t"]')
    if not value[0] or any("\0" in word for word in value):
        raise _Wrong("expected the program's path first, and no NUL in it")
    program: str = os.path.expanduser(value[0])  # noqa: PTH111 - it never raises
    return program, *value[1:]


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


def _identity(table: _Table, flow: str) -> tuple[str, str] | None:
    found = [
        (field, value)
        for field, value in (
            ("mobileNumber", table.take("mobile", _mobile, None)),
            ("pan", table.take("pan", _pan, None)),
            ("userid", table.take("user_id", _text, None)),
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


def _endpoints(table: _Table, environment: Environment) -> Endpoints:
    usual = ENVIRONMENTS[environment]
    endpoints = msgspec.structs.replace(
        usual,
        session=table.take("session", _url, usual.session, hidden=True),
        api=table.take("api", _url, usual.api, hidden=True),
        login=table.take("login", _url, usual.login, hidden=True),
    )
    table.no_more({})
    return endpoints


def _rules(table: _Table, *, sandbox: bool) -> Rules:
    # The budget protects an account at Kotak. A sandbox has none, and sessions of seconds.
    usual = Rules(logins_per_10min=None, logins_per_day=None) if sandbox else Rules()
    rules = Rules(
        margin=table.take("margin", _duration, usual.margin),
        edge=table.take("edge", _edge, usual.edge),
        logins_per_10min=table.take("logins_per_10min", _count, usual.logins_per_10min),
        logins_per_day=table.take("logins_per_day", _count, usual.logins_per_day),
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


def _hours(table: _Table) -> Hours:
    windows = table.items("hours", _read(parse_window), "Mon-Fri 08:30-15:45")
    holidays = table.items("holidays", _day, "2026-01-26")
    return Hours(
        windows=tuple(windows),
        holidays=frozenset(holidays),
        lead=table.take("lead", _lead, 0.0),
        ready_by=table.take("ready_by", _read(parse_time), None),
    )


def _contradictions(rules: Rules, table: _Table) -> Iterator[tuple[str, str]]:
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


def _server(table: _Table) -> Server:
    usual = Server()
    server = Server(
        grace=table.take("grace", _duration, usual.grace),
        max_connections=table.take("max_connections", _count, usual.max_connections),
        max_watchers=table.take("max_watchers", _count, usual.max_watchers),
        max_head=table.take("max_head", _count, usual.max_head),
        max_body=table.take("max_body", _count, usual.max_body),
        head_timeout=table.take("head_timeout", _patience, usual.head_timeout),
        idle_timeout=table.take("idle_timeout", _patience, usual.idle_timeout),
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
    raise _Wrong('expected "info" or "debug"')


def _source(key: str, value: object, folder: Path) -> Source:
    expected = _Wrong(
        "expected a string, or a table with one of credential, keyring, command, file, env"
    )
    if isinstance(value, str):
        if not value or not value.isprintable():
            raise _Wrong("expected a string that is not empty, of printable characters")
        return Source(key=key, place="inline", name="", text=Secret(value))
    if not isinstance(value, dict) or len(value) != 1:
        raise expected
    [(place, name)] = value.items()
    if place == "command":
        return _command(key, name, folder)
    if place not in ("credential", "keyring", "file", "env"):
        raise expected
    if not isinstance(name, str) or not name or "\0" in name:
        raise expected
    if place == "credential" and "/" in name:
        raise _Wrong("expected the name of a credential, which has no slash")
    if place == "keyring" and not all(name.rpartition("/")):
        raise _Wrong('expected an entry of the keyring as "service/username"')
    if place == "file":
        name = os.fspath(folder / os.path.expanduser(name))  # noqa: PTH111 - it never raises
    return Source(key=key, place=place, name=name)


def _command(key: str, value: object, folder: Path) -> Source:
    found = value if isinstance(value, list) else []
    words = [word for word in found if isinstance(word, str) and "\0" not in word]
    if not words or len(words) != len(found) or not words[0]:
        raise _Wrong(
            'expected the command as an array of strings, such as ["pass", "neod/mpin"], '
            "since no shell reads it"
        )
    program, *arguments = words
    if "/" in program:
        program = os.fspath(folder / os.path.expanduser(program))  # noqa: PTH111 - it never raises
    return Source(key=key, place="command", name=program, arguments=tuple(arguments))


def _found(value: object) -> str:
    if isinstance(value, (str, int, float, bool)):
        return json.dumps(value, ensure_ascii=False)
    return _kind(value)


def _kind(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a float"}
    names |= {dict: "a table", list: "an array"}
    names |= {date: "a date", time: "a time", datetime: "a date with a time"}
    return names.get(type(value), type(value).__name__)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("expected a string")
    return value


def _flow(value: object) -> Flow:
    if value == "password":
        return "password"
    if value == "totp":
        return "totp"
    raise _Wrong('expected "password" or "totp"')


def _factor(value: object) -> Factor:
    if value == "none":
        return "none"
    if value == "mpin":
        return "mpin"
    if value == "otp":
        return "otp"
    raise _Wrong('expected "none", "mpin" or "otp"')


def _either(allowed: tuple[str, ...]) -> str:
    return " or ".join(f'"{name}"' for name in allowed)


def _environment(value: object) -> Environment:
    for name in ENVIRONMENTS:
        if value == name:
            return name
    raise _Wrong(f"expected {_either(tuple(ENVIRONMENTS))}")


def _mobile(value: object) -> str | None:
    """A number with its country code, which the SDK puts before ten digits (SDK 1.2.0)."""
    digits = re.sub(r"[ -]", "", value) if isinstance(value, str) else ""
    if re.fullmatch(r"[0-9]{10}", digits):
        return f"+91{digits}"
    if re.fullmatch(r"\+[0-9]{8,15}", digits):
        return digits
    raise _Wrong('expected a string of ten digits, or one such as "+919999996708"')


def _pan(value: object) -> str | None:
    if not isinstance(value, str) or not _PAN.fullmatch(value.upper()):
        raise _Wrong("expected five letters, four digits and a letter")
    return value.upper()


def _duration(value: object) -> float:
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < sys.maxsize else None
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        seconds = float(found[1]) * _UNITS[found[2]]
    if seconds is None or not 0 <= seconds < float("inf"):
        raise _Wrong('expected seconds, or a duration such as "90s", "15min" or "2h"')
    return seconds


def _patience(value: object) -> float:
    seconds = _duration(value)
    if seconds == 0:
        raise _Wrong("expected more than no time at all")
    return seconds


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _Wrong("expected a whole number of at least 1")
    return value


def _edge(value: object) -> Edge | Literal["auto", "none"]:
    if value == "auto":
        return "auto"
    if value == "none":
        return "none"
    try:
        return daily(_read(parse_time)(value))
    except _Wrong:
        raise _Wrong('expected "auto", "none" or a time of day in India such as "00:00"') from None


def _read(parse: Callable[[str], T]) -> Callable[[object], T]:
    """What parses a text, or raises ValueError with what was expected, as what parses a value."""

    def read(value: object) -> T:
        try:
            return parse(value if isinstance(value, str) else "")
        except ValueError as expected:
            raise _Wrong(str(expected)) from None

    return read


def _day(value: object) -> date:
    if type(value) is date:  # TOML has dates of its own, and datetime is one of them in Python
        return value
    return _read(parse_day)(value)


def _lead(value: object) -> float:
    seconds = _duration(value)
    if seconds >= DAY:
        raise _Wrong("expected less than 24 h")
    return seconds


def _url(value: object) -> str:
    expected = _Wrong("expected a URL such as https://host/, or http:// to loopback")
    parts = _split(value, expected)
    url = _text(value)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise expected
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise expected
    return url if url.endswith("/") else f"{url}/"


def _split(value: object, expected: _Wrong) -> SplitResult:
    """The parts of a URL with a host; raises what was expected where it is none."""
    if not isinstance(value, str):
        raise expected
    url = value
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise expected from None
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise expected
    return parts


def _proxy(value: object) -> Secret | None:
    expected = _Wrong("expected a URL such as http://proxy:3128")
    parts = _split(value, expected)
    if parts.scheme not in ("http", "https"):
        raise expected
    return Secret(_text(value))


def _address(value: object) -> str | None:
    try:
        return str(ipaddress.ip_address(_text(value)))
    except (ValueError, _Wrong):
        raise _Wrong("expected an IP address of this machine") from None
