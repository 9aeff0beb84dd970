"""`neod check`: what a configuration comes to, and whether each secret can be had now.

No login, no network, no terminal. Secrets are read as the daemon reads them, and not shown.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import trio

from neod import config
from neod.account import totp
from neod.account.edge import Edge
from neod.account.hours import Hours, span, time_of_day
from neod.account.policy import Rules
from neod.account.snapshot import ready_until
from neod.clock import SYSTEM, clock_time, rfc3339
from neod.config import Account, Config
from neod.kotak.replies import header_safe
from neod.paths import tilde
from neod.process import harden
from neod.secrets import Secret, SecretUnavailable, Source, read

WELL, UNAVAILABLE = 0, 1  # exit statuses
_FIELDS = {"mobileNumber": "mobile", "pan": "pan", "userid": "user_id"}
_LABEL = 17  # columns
Say = Callable[[str], None]


class Finding(msgspec.Struct, frozen=True):
    """What became of a secret: a word or two where it is well, else why not and what mends it."""

    note: str = ""
    why: str = ""
    action: str = ""


def run(path: Path, environ: Mapping[str, str], say: Say) -> int:
    """Check, and say so line by line; returns the exit status. Raises ConfigError."""
    harden(environ)
    settings = config.load(path)
    if not settings.accounts:
        raise config.ConfigError(path, ["there is no account; expected a table [account.main]"])
    home = environ.get("HOME", "")
    say(line("configuration", tilde(os.fspath(path.absolute()), home), indent=""))
    bad = trio.run(_check, settings, environ, home, say)
    say("all is well" if not bad else f"not well: {bad} of the secrets")
    return UNAVAILABLE if bad else WELL


async def _check(settings: Config, environ: Mapping[str, str], home: str, say: Say) -> int:
    """Say what each account comes to; returns how many secrets are not well."""
    await trio.lowlevel.checkpoint()
    hide, bad = settings.variables, 0
    for account in settings.accounts.values():
        say(line("account", account.name, indent=""))
        for label, words in describe(account):
            say(line(label, words))
        for source in account.secrets:
            try:
                finding = judge(source, await read(source, environ, hide=hide), SYSTEM.wall())
            except SecretUnavailable as error:
                finding = Finding(why=error.detail.removeprefix(f"{source}: "), action=error.action)
            bad += bool(finding.why)
            for text in secret_lines(source, finding, home):
                say(text)
    for text in twins(settings):
        say(line("note", text, indent=""))
    return bad


def describe(account: Account) -> Iterator[tuple[str, str]]:
    """An account in words: label and text, one a line."""
    yield "flow", account.flow
    sandbox = account.endpoints.on_loopback()
    yield "environment", "sandbox, on loopback" if sandbox else account.environment
    field, who = account.identity
    yield "logs in", f"{_FIELDS[field]} {masked(who)}"
    yield "session", _session(account)
    if account.source_address:
        yield "from", account.source_address
    if account.proxy:
        yield "through", "a proxy"
    yield "renewal", _margin(account.rules)
    yield "edge", _edge(account.rules)
    yield "logins", _budget(account.rules)
    yield from _hours(account.rules.hours)


def _session(account: Account) -> str:
    match account.second_factor:
        case "mpin":
            return "trade, by the MPIN"
        case "otp":
            return "trade, by an OTP: neoctl renew, then neoctl otp"
    return "view: it cannot trade, since there is no second factor"


def _margin(rules: Rules) -> str:
    return f"{span(rules.margin)} before the end, or a quarter of its life if less"


def _edge(rules: Rules) -> str:
    match rules.edge:
        case Edge() as edge:
            return f"all sessions end at {clock_time(edge.at)}"
        case "none":
            return "none: no time of day ends all sessions"
    return "learnt: when the broker ends all sessions"


def _budget(rules: Rules) -> str:
    limits = [
        f"{most} in {span_of_time}"
        for most, span_of_time in (
            (rules.logins_per_10min, "10 minutes"),
            (rules.logins_per_day, "a day"),
        )
        if most is not None
    ]
    return f"at most {' and '.join(limits)}" if limits else "without a limit"


def _hours(hours: Hours) -> Iterator[tuple[str, str]]:
    if hours.windows:
        yield "hours", str(hours)
    if days := sorted(hours.holidays):
        # A list that ends in the past is out of date, and the eye sees that here.
        first, last = f"{days[0]}", f"{days[-1]}"
        yield "holidays", first if len(days) == 1 else f"{len(days)}, from {first} to {last}"
    if hours.ready_by is not None:
        yield "ready by", f"{time_of_day(hours.ready_by)} IST"


def judge(source: Source, secret: Secret, now: float) -> Finding:
    """Whether a secret that was read can be what its key says."""
    key = source.key.rpartition(".")[2]
    text = secret.reveal()
    if why := misshapen(key, text):
        return Finding(why=why, action=_ANEW[key])
    if key == "totp_secret":
        return Finding(note="makes codes")
    if key == "access_token" and (end := ready_until(text)) is not None:
        if end <= now:
            return Finding(why=f"it ended at {rfc3339(end)}", action="get a new one from Kotak")
        return Finding(note=f"ends at {rfc3339(end)}")
    return Finding()


_ANEW = {
    "access_token": "copy it anew",
    "totp_secret": "copy it anew from where TOTP is registered",
}


def misshapen(key: str, text: str) -> str:
    """What a login would find wrong with a secret before it is sent; empty if nothing."""
    if key == "access_token" and not header_safe(text):
        return "it holds what cannot stand in a header"
    if key == "totp_secret":
        try:
            totp.code(text, 0)
        except totp.BadTotpSecret as error:
            return str(error)
    return ""


def secret_lines(source: Source, finding: Finding, home: str) -> list[str]:
    """The lines that say what became of a secret: one if it is well."""
    key = source.key.rpartition(".")[2]
    place = f"{source.place} {tilde(source.name, home)}" if source.name else "in this file"
    if not finding.why:
        return [line(key, f"{place}: ok{f', {finding.note}' if finding.note else ''}")]
    more = (finding.why, finding.action)
    return [
        line(key, f"{place}: not ok"),
        *(line("", text.replace(f"{home}/", "~/") if home else text) for text in more),
    ]


def twins(settings: Config) -> Iterator[str]:
    """Accounts that are one login at the broker, each of which logs in for itself."""
    seen: dict[object, str] = {}
    for account in settings.accounts.values():
        login = (account.flow, account.identity, account.ucc, account.endpoints)
        if login in seen:
            yield f"{seen[login]} and {account.name} are the same login at the broker"
        seen.setdefault(login, account.name)


def line(label: str, text: str, indent: str = "  ") -> str:
    """One line; what could move a terminal's cursor is left out."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return f"{indent}{label:<{_LABEL - len(indent)}}{shown}"


def masked(who: str) -> str:
    """The end of a number or a name: enough to know it again."""
    return f"ending in {who[-4:]}" if len(who) >= 8 else "(too short to show)"
