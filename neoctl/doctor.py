"""`neoctl doctor`: is everything as it has to be, and if not, what mends it.

What judges is given facts and returns findings; neoctl/probes.py gets the facts.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import NamedTuple, TypeVar

from neoctl import __version__, glance, probes, wire
from neoctl.probes import Answer, Done, Look, Place, Routes, Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
OK, WARNING, FAILED = "ok", "warning", "failed"
COLOURS = {OK: "32", WARNING: "33", FAILED: "31"}
COLUMNS = 80
# Seconds. Each round goes on without what hangs, so that all of it takes less than 15.
FIRST, SECOND = 5.0, 8.5
COMMAND, CHECK = 3.5, 7.0
SLOW = 1.0  # seconds after which an answer of neod's is late
SKEW, BAD_SKEW = 5.0, 60.0  # seconds that a clock may be off
LITTLE, NONE_LEFT = 50 * 2**20, 2**20  # bytes
PATH_MAX = 107  # bytes of a socket's path: sun_path of Linux, less its NUL
RELOAD = "; then: neoctl reload"


class Finding(NamedTuple):
    """What came of one check; `action` is what mends it."""

    check: str
    level: str
    detail: str
    action: str = ""
    account: str | None = None


# The socket, and who is behind it.


def judge_socket(here: Place, uid: int) -> Iterator[Finding]:
    """Whether the socket is one's own, and closed to others."""
    if len(os.fsencode(here.path)) > PATH_MAX:
        why = f"its path has more than {PATH_MAX} bytes: {here.path}"
        yield Finding("socket", FAILED, why, "set NEOD_SOCKET to a shorter one, for neod too")
    elif here.why:
        yield Finding("socket", FAILED, f"{here.path}: {here.why}", _as_its_owner(here, uid))
    elif not here.kind:
        start = "systemctl --user start neod, or: neod run"
        yield Finding("socket", FAILED, f"there is none at {here.path}", start)
    elif here.kind != "socket":
        why = f"{here.path} is no socket"
        yield Finding("socket", FAILED, why, f"see what it is: ls -l {here.path}")
    elif here.uid != uid:
        why = f"{here.path} belongs to {_user(here.uid)}, and you are {_user(uid)}"
        yield Finding("socket", FAILED, why, _as_its_owner(here, uid))
    elif here.mode & 0o077:
        why = f"{here.path} is open to others (mode {here.mode:04o}), whom neod turns away"
        yield Finding("socket", WARNING, why, f"chmod 600 {here.path}")
    else:
        yield Finding("socket", OK, f"{here.path}, mode {here.mode:04o}")


def judge_folder(folder: Place, uid: int) -> Iterator[Finding]:
    """Whether nobody else can put another socket in its place."""
    if folder.kind != "folder":
        return  # then there is no socket either, which has been said
    shown = f"{folder.path}, mode {folder.mode:04o}"
    if folder.uid not in (uid, 0):
        why = f"{folder.path} belongs to {_user(folder.uid)}, who may replace the socket"
        yield Finding("folder", FAILED, why, _as_its_owner(folder, uid))
    elif folder.mode & 0o022 and not folder.mode & 0o1000:
        why = f"{shown}: others may replace the socket"
        yield Finding("folder", FAILED, why, f"chmod 700 {folder.path}")
    elif folder.mode & 0o077:
        mend = f"chmod 700 {folder.path}" if folder.uid == uid else "leave NEOD_SOCKET unset"
        yield Finding("folder", WARNING, f"{shown}: others may look into it", mend)
    else:
        yield Finding("folder", OK, shown)


def _as_its_owner(place: Place, uid: int) -> str:
    if not place.kind or place.uid in (uid, 0):
        return "ask as the user who runs neod: sudo -u NAME neoctl doctor"
    return f"sudo -u {_user(place.uid)} neoctl doctor"


def judge_answer(answer: Answer, uid: int) -> Finding:
    """Whether neod answers, in time, and is one's own."""
    if answer.peer not in (None, uid):
        why = f"{_user(answer.peer)} listens there, and you are {_user(uid)}"
        return Finding("answer", FAILED, why, f"sudo -u {_user(answer.peer)} neoctl doctor")
    if answer.problem:
        action = answer.problem.action.replace("start it: ", "", 1)
        return Finding("answer", FAILED, answer.problem.detail, action)
    if read_status(answer) is None:
        why = "what answers there cannot be understood"
        return Finding("answer", FAILED, why, "neoctl version says what neod is of")
    took = f"neod answers within {answer.took * 1000:.0f} ms"
    if answer.took > SLOW:
        return Finding("answer", WARNING, took, "see what else this machine does: top")
    return Finding("answer", OK, took)


def read_status(answer: Answer) -> dict[str, object] | None:
    """The status object that neod answered with; None where it is none."""
    if answer.problem:
        return None
    try:
        told = json.loads(answer.body)
    except ValueError:
        return None
    return told if isinstance(told, dict) and isinstance(told.get("accounts"), dict) else None


def judge_versions(ours: str, theirs: object) -> Finding:
    """Whether neoctl and neod are of one make."""
    if theirs == ours:
        return Finding("version", OK, f"neoctl and neod are {ours}")
    why = f"neoctl is {ours}, and the neod that runs is {theirs}"
    mend = "start neod anew: systemctl --user restart neod; or install neoctl anew"
    return Finding("version", WARNING, why, mend)


# What keeps neod running.


def judge_units(done: Done | None, *, answers: bool) -> Iterator[Finding]:
    """Whether systemd starts neod by itself, and has done so."""
    if done is None:
        why = "no systemd runs here; what else starts neod cannot be told"
        yield Finding("unit", OK, why)
        return
    if done.status:
        said = (done.err or done.out).strip().split("\n")[0]
        mend = "log in as the user, not by su; or: sudo -iu NAME"
        yield Finding("unit", WARNING, f"the user's systemd cannot be asked: {said}", mend)
        return
    told = _units(done.out)
    service, listening = told.get("neod.service", {}), told.get("neod.socket", {})
    if service.get("LoadState") != "loaded":
        state = service.get("LoadState", "not-found")
        why = f"neod.service is {state}: nothing starts neod with this machine"
        yield Finding("unit", WARNING, why, "neod install")
        return
    if "yes" in (service.get("NeedDaemonReload"), listening.get("NeedDaemonReload")):
        why = "the units were changed, and systemd has not read them since"
        yield Finding("unit", WARNING, why, "systemctl --user daemon-reload")
    yield _active(service, listening, answers=answers)
    enabled = [
        unit["Id"]
        for unit in (service, listening)
        if unit.get("UnitFileState", "").startswith("enabled")
    ]
    if enabled:
        yield Finding("enabled", OK, f"{' and '.join(enabled)}, with each start of the machine")
    else:
        why = "nothing starts neod with this machine"
        yield Finding("enabled", WARNING, why, "systemctl --user enable neod.service")


def _active(service: dict[str, str], listening: dict[str, str], *, answers: bool) -> Finding:
    state = service.get("ActiveState", "unknown")
    start = "systemctl --user start neod"
    if state == "active":
        return Finding("unit", OK, "neod.service is active")
    if state in ("activating", "reloading", "deactivating"):
        return Finding("unit", WARNING, f"neod.service is {state}", "systemctl --user status neod")
    if state == "failed":
        why = f"neod.service has failed ({service.get('Result')}); see: journalctl --user -u neod"
        both = "neod.service neod.socket"
        return Finding("unit", FAILED, why, f"systemctl --user reset-failed {both}; {start}")
    if answers:
        why = f"neod runs, and not as neod.service, which is {state}"
        return Finding("unit", WARNING, why, f"stop that neod; then: {start}")
    if listening.get("ActiveState") == "active":
        return Finding("unit", OK, "neod.socket listens, and starts neod for who asks")
    return Finding("unit", FAILED, f"neod.service is {state}", start)


def _units(text: str) -> dict[str, dict[str, str]]:
    """What `systemctl show` says, by the unit's name."""
    units = {}
    for block in text.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        units[unit.get("Id", "")] = unit
    return units


def judge_linger(user: str, *, lingers: bool | None) -> Finding:
    """Whether neod goes on after a logout: on a server that decides."""
    if lingers is None:
        return Finding("linger", OK, "no systemd runs here; nothing ends neod at logout")
    if lingers:
        return Finding("linger", OK, "on: neod goes on when you log out")
    why = "off: neod and its session go when you log out, and nothing starts it at boot"
    return Finding("linger", WARNING, why, f"loginctl enable-linger {user}")


# The clock.


def judge_ntp(done: Done | None) -> Finding:
    """Whether something keeps this machine's clock right."""
    if done is None or done.status:
        return Finding("ntp", OK, "timedatectl is not there, or cannot tell")
    told = dict(line.split("=", 1) for line in done.out.splitlines() if "=" in line)
    if told.get("NTPSynchronized") == "yes":
        return Finding("ntp", OK, "the clock is kept by NTP")
    if told.get("NTP") == "yes":
        why = "NTP is on, and has not set the clock yet"
        return Finding("ntp", WARNING, why, "see: timedatectl timesync-status")
    why = "nothing keeps this machine's clock right; sessions and codes go by it"
    return Finding("ntp", WARNING, why, "sudo timedatectl set-ntp true")


def judge_clock(name: str, skew: object) -> Finding:
    """How far this machine's clock is from the broker's."""
    if not isinstance(skew, (int, float)):
        return Finding("clock", OK, "not compared with the broker's yet", account=name)
    side = "ahead of" if skew > 0 else "behind"
    off = f"{abs(skew):.0f} s {side} the broker's" if abs(skew) >= 1 else "as the broker's"
    level = OK if abs(skew) <= SKEW else WARNING if abs(skew) <= BAD_SKEW else FAILED
    mend = "" if level == OK else "sudo timedatectl set-ntp true"
    return Finding("clock", level, off, mend, name)


# The address.


def judge_address(
    name: str, standing: Mapping[str, object], routes: Routes | None
) -> Iterator[Finding]:
    """From where the broker is asked: it ties a session to the address of its login."""
    if routes is not None:  # else this neod is too old to say where it logs in
        source = standing.get("source_address")
        yield _judge_routes(
            name,
            source if isinstance(source, str) else None,
            routes,
            proxy=bool(standing.get("proxy")),
            sandbox=standing.get("environment") == "sandbox",
        )


def _judge_routes(
    name: str, source: str | None, routes: Routes, *, proxy: bool, sandbox: bool
) -> Finding:
    found = partial(Finding, "address", account=name)
    own = f"under [account.{name}] of the configuration"
    if proxy:
        why = f"by a proxy to {routes.host}: the broker sees the proxy's, as it has to for the bots"
        return found(OK, why)
    if source is not None and routes.here is False:
        why = f"source_address {source} is none of this machine's: no login can leave from it"
        return found(FAILED, why, f"correct source_address {own}{RELOAD}; see: ip address")
    if routes.why:
        why = f"{routes.host}: {routes.why}"
        return found(WARNING, why, f"see: getent ahosts {routes.host}")
    usual = [address for address in (routes.v4, routes.v6) if address]
    if not usual:
        why = f"there is no way from this machine to {routes.host}"
        return found(FAILED, why, "see: ip route; ip -6 route")
    if sandbox:
        return found(OK, f"{usual[0]} to {routes.host}, which is a sandbox")
    if source is not None:
        return _of_source(name, source, routes, usual)
    if len(usual) == 2:
        why = (
            f"{usual[0]} (v4) or {usual[1]} (v6) to {routes.host}, whichever answers first; a "
            "session is good for the address that its login came from"
        )
        return found(WARNING, why, f'source_address = "{usual[0]}" {own}{RELOAD}')
    return found(OK, f"{usual[0]} to {routes.host}; {_UNSEEN}")


_UNSEEN = "what the broker sees behind NAT cannot be told from here"


def _of_source(name: str, source: str, routes: Routes, usual: list[str]) -> Finding:
    found = partial(Finding, "address", account=name)
    same_family = routes.v6 if ":" in source else routes.v4
    if same_family is None:
        why = f"there is no way from source_address {source} to {routes.host}"
        return found(FAILED, why, "see: ip route; ip -6 route")
    if usual == [source]:
        return found(OK, f"{source} to {routes.host}, as configured; {_UNSEEN}")
    other = next(address for address in usual if address != source)
    why = (
        f"logins leave from {source}, as configured; a bot that binds no address may leave from "
        f"{other}, where the session is not good"
    )
    return found(WARNING, why, f"have the bots bind {source}, or take source_address away{RELOAD}")


# The configuration.


def configuration_path(status: Mapping[str, object] | None, environ: Mapping[str, str]) -> str:
    """The file that neod reads, by its own word or else by its rule; empty for the demo."""
    files = (status or {}).get("files")
    if isinstance(files, dict):
        return str(files.get("configuration") or "")
    if environ.get("NEOD_CONFIG"):
        return os.path.expanduser(environ["NEOD_CONFIG"])
    folder = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{folder}/neod/config.toml"


def judge_configuration(here: Place, uid: int) -> Finding:
    """Whether the file is one's own, and closed to others."""
    found = partial(Finding, "config")
    if here.why:
        return found(FAILED, f"{here.path}: {here.why}", f"ls -l {here.path}")
    if not here.kind:
        return found(FAILED, f"there is no {here.path}", "neod setup")
    if here.kind != "file":
        return found(FAILED, f"{here.path} is no file", "neod setup")
    shown = f"{here.path}, mode {here.mode:04o}"
    if here.uid not in (uid, 0):
        why = f"{here.path} belongs to {_user(here.uid)}, who says what neod runs"
        return found(FAILED, why, f"sudo chown {_user(uid)} {here.path}")
    if here.mode & 0o002:
        return found(FAILED, f"{shown}: anybody may change it", f"chmod 600 {here.path}")
    if here.mode & 0o077:
        return found(WARNING, f"{shown}: others may read it", f"chmod 600 {here.path}")
    return found(OK, shown)


def judge_check(done: Done | None) -> Iterator[Finding]:
    """Whether `neod check`, without a terminal, gets all that neod needs."""
    if done is None:
        why = "there is no neod beside neoctl or on PATH, so secrets were not looked at"
        yield Finding("secrets", WARNING, why, "neod check, where neod is installed")
        return
    if done.status == 0:
        yield Finding("secrets", OK, "all can be read without a terminal")
        return
    bad = list(_bad_secrets(done.out))
    for account, label, why, action in bad:
        # Only the unit that it is loaded for has it, so a neod that runs may well have it.
        level = WARNING if " credential " in f" {label} " else FAILED
        yield Finding("secrets", level, f"{label}: {why}", action or "neod check", account)
    if not bad:
        lines = [line.strip() for line in (done.err or done.out).strip().splitlines()]
        first = lines[0].replace("neod: ", "", 1) if lines else f"it ended with {done.status}"
        why = "; ".join([first, *lines[1:4]])
        yield Finding("secrets", FAILED, f"neod check: {why}", "neod check, and correct the file")


def _bad_secrets(text: str) -> Iterator[tuple[str | None, str, str, str]]:
    """Account, place, reason and remedy of each secret that is `not ok`, as neod check has it."""
    account, lines = None, text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("account "):
            account = line.split(maxsplit=1)[1]
        if line.startswith("  ") and line.endswith(": not ok"):
            label = " ".join(line.removesuffix(": not ok").split())
            below = lines[number + 1 : number + 3]
            more = [after.strip() for after in below if after.startswith(" " * 10)]
            why, action = [*more, "", ""][:2]
            yield account, label, why, action


# The accounts.

# What a state without a session means, and what mends it where the last failure does not say.
_STATES = {
    "starting": (WARNING, "neoctl wait"),
    "ok": (WARNING, "neoctl wait"),
    "renewing": (WARNING, "neoctl wait"),
    "outside_hours": (OK, ""),
    "paused": (WARNING, "neoctl resume"),
    "backing_off": (FAILED, "neoctl logins says what was tried"),
    "login_budget": (FAILED, "neoctl logins says what used it up"),
    "otp_needed": (FAILED, "neoctl renew; then: neoctl otp"),
    "credentials_rejected": (FAILED, "correct them; then: neoctl renew"),
    "blocked": (FAILED, "neoctl unblock"),
}


def judge_session(name: str, standing: Mapping[str, object], now: float) -> Iterator[Finding]:
    """Whether there is a session, how long yet, and whether it will be renewed."""
    found = partial(Finding, "session", account=name)
    state, why = str(standing.get("state")), standing.get("why")
    level, action = _STATES.get(state, (WARNING, f"neoctl status -a {name}"))
    failure = standing.get("last_failure")
    if isinstance(failure, dict) and failure.get("action") and level == FAILED:
        action = str(failure["action"])
    if standing.get("valid"):
        until = glance.moment(standing.get("expires_at"), now)
        told = f"{standing.get('kind')}, until {until}"
        if level == FAILED or state == "paused":
            yield found(WARNING, f"{told}; {state}: {why}", action)
        else:
            yield found(OK, told)
    else:
        yield found(level, f"none; {state}: {why}", action)
    if standing.get("password_expired"):
        yield found(WARNING, "the password has expired", "change it at Kotak, then in its place")


def judge_failure(name: str, standing: Mapping[str, object], now: float) -> Finding:
    """The last attempt that failed, if any did."""
    failure = standing.get("last_failure")
    if not isinstance(failure, dict):
        return Finding("failure", OK, "none", account=name)
    when = glance.moment(failure.get("at"), now)
    why = f"{failure.get('kind')}, {when}: {failure.get('detail')}"
    if standing.get("valid") and standing.get("state") in ("ok", "renewing", "outside_hours"):
        return Finding("failure", OK, f"{why}; it has passed", account=name)
    action = str(failure.get("action") or "neoctl logins says what was tried")
    return Finding("failure", WARNING, why, action, name)


def judge_budget(name: str, budget: object) -> Iterator[Finding]:
    """How many logins are left."""
    if not isinstance(budget, dict):
        return
    shown = glance.budget_left(budget)
    for window in budget.values():
        used, allowed = window.get("used"), window.get("allowed")
        if isinstance(allowed, int) and isinstance(used, int) and used >= 0.75 * allowed:
            action = "neoctl logins says what they were for"
            yield Finding("budget", WARNING, shown, action, name)
            return
    yield Finding("budget", OK, shown, account=name)


# Disk, and where everybody looks.


def judge_state(state: tuple[Place, bool] | None, uid: int) -> Iterator[Finding]:
    """Whether the ledgers' folder is one's own: what is not written down is not sent."""
    if state is not None:  # else neod does not say where it is
        yield _judge_state(state[0], uid, writable=state[1])


def _judge_state(folder: Place, uid: int, *, writable: bool) -> Finding:
    found = partial(Finding, "ledger")
    if folder.why or folder.kind != "folder":
        why = f"{folder.path}: {folder.why or 'is no folder'}"
        return found(FAILED, why, "systemctl --user restart neod")
    if folder.uid != uid:
        why = f"{folder.path} belongs to {_user(folder.uid)}"
        return found(FAILED, why, f"sudo chown -R {_user(uid)} {folder.path}")
    if not writable:
        return found(FAILED, f"{folder.path} cannot be written to", f"chmod 700 {folder.path}")
    if folder.mode & 0o077:
        why = f"{folder.path}, mode {folder.mode:04o}: others may look into it"
        return found(WARNING, why, f"chmod 700 {folder.path}")
    return found(OK, f"{folder.path}, mode {folder.mode:04o}")


def judge_space(space: Space) -> Finding:
    """Whether there is room for what neod writes."""
    if space.why:
        return Finding("disk", WARNING, f"{space.path}: {space.why}", f"df -h {space.path}")
    free = f"{space.path}: {_size(space.free)} free"
    if space.files is not None and space.files < 100:
        level = FAILED if space.files < 4 else WARNING
        return Finding("disk", level, f"{space.path}: {space.files} files more at most", "df -i")
    level = FAILED if space.free < NONE_LEFT else WARNING if space.free < LITTLE else OK
    mend = "" if level == OK else f"make room: df -h {space.path}"
    return Finding("disk", level, free, mend)


def judge_runtime(path: str, environ: Mapping[str, str], uid: int, user: str) -> Iterator[Finding]:
    """Whether a process with less in its environment finds the same socket."""
    if uid == 0 and environ.get("SUDO_USER") not in (None, "", "root"):
        why = f"you are root, by sudo: neod is looked for at {path}, root's own"
        yield Finding("runtime", WARNING, why, f"sudo -u {environ['SUDO_USER']} neoctl doctor")
        return
    bare = wire.socket_path({}, uid)
    if bare == path:
        yield Finding("runtime", OK, "a job of cron finds this socket too")
    else:
        why = f"a job of cron, without your environment, looks at {bare}"
        yield Finding("runtime", WARNING, why, f"a line of the crontab: NEOD_SOCKET={path}")
    if uid:
        why = f"root is turned away; through sudo: sudo -u {user} neoctl token"
        if bare != path:
            why = f"root is turned away; through sudo: sudo -u {user} NEOD_SOCKET={path} neoctl …"
        yield Finding("sudo", OK, why)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _user(uid: int) -> str:
    return probes.user_name(uid)


# All of it.


def examine(environ: Mapping[str, str], uid: int, only: str = "") -> list[Finding]:
    """Look at everything; at the account `only`, or at all of them. Ends within 15 seconds."""
    path = wire.socket_path(environ, uid)
    here = Look(partial(probes.place, path))
    folder = Look(partial(probes.place, os.path.dirname(path), follow=True))
    answer = Look(partial(probes.answer, path, environ))
    units = Look(partial(probes.units, environ, uid, COMMAND))
    lingers = Look(partial(probes.lingers, uid))
    ntp = Look(partial(probes.keeps_time, environ, COMMAND))
    name = Look(partial(probes.user_name, uid))
    probes.together(FIRST, [here, folder, answer, units, lingers, ntp, name])
    user = str(uid) if isinstance(name.found, Exception) else name.found
    status = None if isinstance(answer.found, Exception) else read_status(answer.found)

    findings = _told("socket", here, lambda found: judge_socket(found, uid))
    findings += _told("folder", folder, lambda found: judge_folder(found, uid))
    if not (isinstance(here.found, Place) and _is_missing(here.found)):
        findings += _told("answer", answer, lambda found: judge_answer(found, uid))
    if status is not None:
        findings.append(judge_versions(__version__, status.get("version")))
    findings += _told("unit", units, lambda found: judge_units(found, answers=status is not None))
    findings += _told("linger", lingers, lambda found: judge_linger(user, lingers=found))
    findings += _told("ntp", ntp, judge_ntp)
    findings += _second(environ, uid, path, status, only)
    findings += judge_runtime(path, environ, uid, user)
    return findings


def _second(
    environ: Mapping[str, str],
    uid: int,
    path: str,
    status: Mapping[str, object] | None,
    only: str,
) -> Iterator[Finding]:
    """What depends on neod's own word."""
    configuration = configuration_path(status, environ)
    files = (status or {}).get("files")
    known = files.get("state") if isinstance(files, dict) else None
    accounts = _accounts(status, only)
    file = Look(partial(probes.place, configuration, follow=True))
    checked = Look(partial(_check, configuration, environ))
    looks = {name: Look(partial(_routes, one)) for name, one in accounts.items()}
    state = Look(partial(_state, str(known) if known else ""))
    folders = [str(known)] if known else []
    folders += [os.path.dirname(path)] if status is not None else []
    spaces = [Look(partial(probes.space, folder)) for folder in dict.fromkeys(folders)]
    probes.together(SECOND, [file, checked, state, *looks.values(), *spaces])

    if configuration:
        yield from _told("config", file, lambda found: judge_configuration(found, uid))
        if not (isinstance(file.found, Place) and _is_missing(file.found)):
            action = "neod check says which one takes so long"
            yield from _told("secrets", checked, judge_check, action)
    else:
        yield Finding("config", OK, "neod made it up itself, and all that is in it: a demo")
    if status is not None:
        yield from _judge_accounts(status, accounts, only, looks)
    yield from _told("ledger", state, lambda found: judge_state(found, uid))
    for space in spaces:
        yield from _told("disk", space, judge_space)


def _judge_accounts(
    status: Mapping[str, object],
    accounts: Mapping[str, Mapping[str, object]],
    only: str,
    looks: Mapping[str, Look[Routes | None]],
) -> Iterator[Finding]:
    if status.get("configuration"):
        yield Finding("account", FAILED, str(status["configuration"]), f"neod check{RELOAD}")
    elif not accounts:
        which = f"there is no account {only!r}" if only else "no account is configured"
        yield Finding("account", FAILED, which, "neod setup; then: neoctl reload")
    now = probes.now()
    for name, standing in accounts.items():
        yield from judge_session(name, standing, now)
        yield judge_failure(name, standing, now)
        yield from judge_budget(name, standing.get("budget"))
        yield judge_clock(name, standing.get("clock_skew"))
        told = _told("address", looks[name], partial(judge_address, name, standing))
        yield from (one._replace(account=name) for one in told)


def _told(
    check: str,
    look: Look[T],
    judge: Callable[[T], Finding | Iterator[Finding]],
    action: str = "neoctl doctor, once more",
) -> list[Finding]:
    """What is judged of what was found; or that nothing was."""
    if isinstance(look.found, Exception):
        return [Finding(check, WARNING, f"cannot be told: {look.found}", action)]
    judged = judge(look.found)
    return [judged] if isinstance(judged, Finding) else list(judged)


def _is_missing(here: Place) -> bool:
    return not here.kind


def _accounts(status: Mapping[str, object] | None, only: str) -> dict[str, Mapping[str, object]]:
    accounts = (status or {}).get("accounts")
    found = accounts if isinstance(accounts, dict) else {}
    return {
        name: one for name, one in found.items() if isinstance(one, dict) and only in ("", name)
    }


def _routes(standing: Mapping[str, object]) -> Routes | None:
    """None of a neod that does not say where it logs in."""
    url, source = standing.get("login_url"), standing.get("source_address")
    if not isinstance(url, str):
        return None
    return probes.routes(url, source if isinstance(source, str) else None)


def _check(configuration: str, environ: Mapping[str, str]) -> Done | None:
    neod = probes.find_neod(environ)
    return probes.check(neod, configuration, environ, CHECK) if neod and configuration else None


def _state(path: str) -> tuple[Place, bool] | None:
    return (probes.place(path, follow=True), probes.may_write(path)) if path else None


# How it is told.


def healthy(findings: list[Finding]) -> bool:
    """True unless something failed."""
    return all(one.level != FAILED for one in findings)


def as_json(findings: list[Finding]) -> str:
    """The findings for a program."""
    told = {"ok": healthy(findings), "findings": [one._asdict() for one in findings]}
    return json.dumps(told, ensure_ascii=False) + "\n"


def as_text(findings: list[Finding], *, colours: bool = False) -> str:
    """The findings for a person, a line each, with what mends them below."""
    lines = [line for one in findings for line in _lines(one, colours=colours)]
    counts = {level: sum(one.level == level for one in findings) for level in (FAILED, WARNING)}
    words = [
        f"{count} {'warnings' if level == WARNING and count > 1 else level}"
        for level, count in counts.items()
        if count
    ]
    return "\n".join([*lines, ", ".join(words) or "all is well"]) + "\n"


def _lines(one: Finding, *, colours: bool) -> Iterator[str]:
    import textwrap

    who = f"{one.account}: " if one.account else ""
    fold = partial(
        textwrap.wrap,
        width=COLUMNS - _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    level = f"{one.level:8}"
    level = f"\x1b[{COLOURS[one.level]}m{level}\x1b[0m" if colours else level
    first, *rest = fold(glance.harmless(f"{who}{one.detail}"))
    yield f"{level} {one.check:8} {first}"
    if one.level != OK and one.action:
        rest += fold(glance.harmless(f"mend it: {one.action}"), subsequent_indent="  ")
    yield from (f"{'':{_INDENT}}{line}" for line in rest)


_INDENT = 18  # columns: of a level, a check's name, and what is between
