"""The wire's objects as lines for a person. Knows nothing of sockets."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IST = 5.5 * 3600  # seconds that India is ahead of UTC, the year round


# What a state means for who looks: all is well, it passes by itself, or a person is needed.
COLOURS = {
    **dict.fromkeys(("ok",), "32"),
    **dict.fromkeys(("starting", "renewing", "backing_off", "login_budget", "outside_hours"), "33"),
    **dict.fromkeys(("otp_needed", "credentials_rejected", "blocked", "paused"), "31"),
}


def at(status: Mapping[str, object], *, colours: bool = False) -> str:
    """The status object as text, an account a paragraph."""
    accounts = status["accounts"]
    assert isinstance(accounts, dict)  # noqa: S101 - the wire says so
    now = time.time()  # noqa: TID251 - a client has no clock to take
    paragraphs = [
        _account(name, standing, now, colours=colours) for name, standing in accounts.items()
    ]
    if status.get("configuration"):
        paragraphs = [f"neod {status['version']}: {status['configuration']}\n", *paragraphs]
    elif not paragraphs:
        return f"neod {status['version']} runs, and no account is configured\n"
    return "\n".join(paragraphs)


def line(status: Mapping[str, object]) -> str:
    """The status object as one short line, for a status bar: main trade 6h12m."""
    accounts = status["accounts"]
    assert isinstance(accounts, dict)  # noqa: S101 - the wire says so
    now = time.time()  # noqa: TID251 - as above
    parts = []
    for name, standing in accounts.items():
        expires = standing.get("expires_at")
        if standing.get("valid") and isinstance(expires, (int, float)):
            left = max(0, int(expires - now))
            state = "" if standing["state"] == "ok" else f" {standing['state']}"
            parts.append(
                f"{name} {standing.get('kind')} {left // 3600}h{left % 3600 // 60:02}m{state}"
            )
        else:
            parts.append(f"{name} {standing['state']}")
    none = "faulty configuration" if status.get("configuration") else "no account"
    return (" | ".join(parts) or none) + "\n"


def logins(answer: Mapping[str, object]) -> str:
    """The ledger's entries as text, one a line, newest first."""
    found = answer["logins"]
    assert isinstance(found, list)  # noqa: S101 - the wire says so
    return "".join(f"{_entry(entry)}\n" for entry in found) or "nothing yet\n"


def _entry(entry: Mapping[str, object]) -> str:
    at, word, generation = entry["at"], entry.get("word"), entry.get("generation")
    assert isinstance(at, (int, float))  # noqa: S101 - as above
    day = time.strftime("%d %b %H:%M:%S", time.gmtime(at + IST))
    parts = [] if generation is None else [f"generation {generation}"]
    parts += [str(entry[name]) for name in ("why", "detail") if entry.get(name)]
    if isinstance(word, dict):
        who = f"{word.get('executable') or '?'}, pid {word['pid']}" if word.get("pid") else "neod"
        parts.append(f"asked for: {word['verb']}, by {who}")
    outcome = entry.get("outcome") or "-"
    return harmless(f"{day}  {entry['event']:12} {outcome:14} {'; '.join(parts)}".rstrip())


def event(line: Mapping[str, object]) -> str:
    """A line of the watch as text."""
    at, generation = line["at"], line.get("generation")
    assert isinstance(at, (int, float))  # noqa: S101 - as above
    clock = time.strftime("%H:%M:%S", time.gmtime(at + IST))
    which = "" if generation is None else f", generation {generation}"
    detail = f": {line['detail']}" if line.get("detail") else ""
    what = f"{line['account']}: {line['event']} ({line['state']}{which}){detail}"
    return f"{clock} IST  {harmless(what)}\n"


def clients(answer: Mapping[str, object], status: Mapping[str, object]) -> str:
    """Who is connected as text, one a line; and whose session is not the newest any more."""
    found, accounts = answer["clients"], status["accounts"]
    assert isinstance(found, list)  # noqa: S101 - the wire says so
    assert isinstance(accounts, dict)  # noqa: S101 - as above
    return "".join(f"{_client(one, accounts)}\n" for one in found) or "nobody\n"


def _client(one: Mapping[str, object], accounts: dict[str, Mapping[str, object]]) -> str:
    since, account, generation = one["since"], one.get("account"), one.get("generation")
    assert isinstance(since, (int, float))  # noqa: S101 - the wire says so
    day = time.strftime("%d %b %H:%M:%S", time.gmtime(since + IST))
    what = "watches" if one.get("watches") else f"{one['requests']} requests"
    parts = [str(one["unit"])] if one.get("unit") else []
    if generation is not None:
        newest = accounts.get(str(account), {}).get("generation")
        old = "" if newest in (None, generation) else f", and {newest} is the newest"
        parts.append(f"{account}: generation {generation}{old}")
    who = f"pid {one['pid']:<7} {one.get('executable') or '?'}"
    return harmless(f"{day}  {who}  {'; '.join([what, *parts])}")


def harmless(text: str) -> str:
    """A path may hold anything, and a terminal does what it is told."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _account(name: str, standing: Mapping[str, object], now: float, *, colours: bool) -> str:
    environment = standing.get("environment")
    place = f" ({environment})" if environment else ""
    since, state = standing.get("since"), str(standing["state"])
    shown = f"\x1b[1;{COLOURS.get(state, '0')}m{state}\x1b[0m" if colours else state
    lines = [f"{name}{place}: {shown}{_ago(since, now)}"]
    if standing.get("valid"):
        expires = standing["expires_at"]
        lines.append(f"session   {standing.get('kind')}, generation {standing['generation']}")
        lines.append(f"expires   {moment(expires, now)}{_here(expires)}")
    else:
        lines.append("session   none that is valid")
    lines.append(f"why       {standing['why']}")
    if standing.get("next") is not None:
        lines.append(f"next      {moment(standing['next'], now)}")
    failure = standing.get("last_failure")
    if isinstance(failure, dict):
        lines.append(f"failure   {failure['kind']}, {moment(failure['at'], now)}")
        lines.append(f"          {failure['detail']}")
        if failure.get("action"):
            lines.append(f"          mend it: {failure['action']}")
    budget = standing.get("budget")
    if isinstance(budget, dict):
        lines.append(f"logins    {budget_left(budget)}")
    if standing.get("watchers"):
        lines.append(f"watchers  {standing['watchers']}")
    first, *rest = map(harmless, lines) if not colours else [lines[0], *map(harmless, lines[1:])]
    return "\n  ".join([first, *rest]) + "\n"


def budget_left(budget: dict[str, Mapping[str, object]]) -> str:
    """How many logins are left; where there is no limit, how many there were."""
    words = []
    for window, name in (("per_10min", "10 minutes"), ("per_day", "24 hours")):
        if window in budget:
            allowed = budget[window]["allowed"]
            of = "" if allowed is None else f" of {allowed}"
            words.append(f"{budget[window]['used']}{of} within {name}")
    return ", ".join(words)


def _here(when: object) -> str:
    """The same moment by the clock of this machine, where that is not India's."""
    if not isinstance(when, (int, float)) or time.localtime(when).tm_gmtoff == IST:
        return ""
    return time.strftime(", here %H:%M:%S %Z", time.localtime(when))


def _ago(since: object, now: float) -> str:
    return f", for {_span(max(0.0, now - since))}" if isinstance(since, (int, float)) else ""


def moment(when: object, now: float) -> str:
    """A time in India, and how far away it is."""
    if not isinstance(when, (int, float)):
        return "at an unknown time"
    clock = time.strftime("%H:%M:%S", time.gmtime(when + IST))
    away = _span(abs(when - now))
    return f"{clock} IST ({'in ' + away if when >= now else away + ' ago'})"


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d"
