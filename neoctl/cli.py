"""neoctl: the verbs.

What a script reads goes to stdout and nothing else does; what went wrong goes to stderr. No
argparse and no json on the way to `neoctl token`: they would cost more than the call itself.
"""

from __future__ import annotations

import os
import sys

from neoctl import __version__, client, wire
from neoctl.options import OPTIONS, Options, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Run = Callable[[Options, Mapping[str, str]], int]

# What may come of an answer that is not of neod's making.
NOT_UNDERSTOOD = ValueError, KeyError, TypeError, AttributeError, AssertionError, OverflowError
RELOAD_TIME = 10.0  # seconds: secrets are read anew, and a command may print them
LOGIN_TIME = 65.0  # seconds: neod answers when a login is done, which may take a minute


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    try:
        if sys.stdout is None:
            raise OSError(9, "stdout is closed")
        # A name in an Indian script, or a path that is no text, goes out as it is in any locale.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        status = _main(sys.argv[1:] if argv is None else argv, os.environ)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # else the reader has gone, and knows why
            sys.stderr.write(f"neoctl: {error.strerror}\n")
        # Keep the interpreter from trying once more at exit, and from saying so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return status


def _main(argv: list[str], environ: Mapping[str, str]) -> int:
    if not argv:
        sys.stderr.write(usage())
        return 2
    try:
        own = argv[: argv.index("--")] if "--" in argv else argv  # what follows is a program's
        if argv[0] == "help" or "-h" in own or "--help" in own:
            sys.stdout.write(usage())
            return 0
        options = Options(["version"] if argv == ["--version"] else argv, environ)
        verb, *words = options.words or [""]
        if verb not in VERBS:
            raise Usage(f"unknown verb {verb!r}" if verb else "which verb?")
        run, takes, allowed, _ = VERBS[verb]
        if takes != "-- CMD..." and (options.command is not None or len(words) != bool(takes)):
            raise Usage(f"neoctl {verb} takes {takes or 'no argument'}")
        if stray := options.given.keys() - allowed:
            raise Usage(f"neoctl {verb} does not take {', '.join(sorted(stray))}")
        return _understood(run, options, environ)
    except Usage as error:
        sys.stderr.write(f"neoctl: {error}\n")
        sys.stderr.write("neoctl: see `neoctl --help`\n")
        return 2
    except client.Problem as problem:
        return _fail(problem)


def _understood(run: Run, options: Options, environ: Mapping[str, str]) -> int:
    """Run a verb; an answer that is not of neod's making is no reason for a traceback."""
    try:
        return run(options, environ)
    except NOT_UNDERSTOOD as error:
        raise client.Problem(
            "internal_error",
            f"the answer cannot be understood ({type(error).__name__})",
            action="neoctl version shows whether neoctl and neod are of one make",
        ) from None


def _fail(problem: client.Problem) -> int:
    sys.stderr.write(f"neoctl: {problem.code}: {problem.detail}\n")
    if problem.retry_after is not None:
        sys.stderr.write(f"neoctl: try again in {problem.retry_after:.0f} s\n")
    if problem.action:
        sys.stderr.write(f"neoctl: {problem.action}\n")
    return wire.exit_status(problem.code)


def _token(options: Options, environ: Mapping[str, str]) -> int:
    reply = client.get(f"/v1/token{options.query()}", environ=environ, wait=options.wait or 0)
    token = reply.body.decode("ascii").rstrip("\n")
    expires, generation = reply.headers["neod-expires-at"], reply.headers["neod-generation"]
    if options.json:
        print(f'{{"token":"{token}","generation":{generation},"expires_at":{expires}}}')
    else:
        print(token)
    return 0


def _session(options: Options, environ: Mapping[str, str]) -> int:
    reply = client.get(f"/v1/session{options.query()}", environ=environ, wait=options.wait or 0)
    sys.stdout.write(reply.body.decode())
    return 0


def _get(options: Options, environ: Mapping[str, str]) -> int:
    import json

    field = options.words[1]
    value: object = _load_session(options, environ)
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            known = ", ".join(value) if isinstance(value, dict) else "nothing further"
            raise Usage(f"the session has no {field!r}; there is: {known}")
        value = value[name]
    if isinstance(value, str) and not options.json:
        print(value)
    elif value is None and not options.json:
        print()
    else:
        print(json.dumps(value, ensure_ascii=False))
    return 0


def _headers(options: Options, environ: Mapping[str, str]) -> int:
    import json

    headers = _load_session(options, environ)["headers"]
    assert isinstance(headers, dict)  # noqa: S101 - the wire says so
    if options.json:
        print(json.dumps(headers, ensure_ascii=False))
    else:
        for name in headers:
            print(f"{name}: {headers[name]}")
    return 0


def _env(options: Options, environ: Mapping[str, str]) -> int:
    from neoctl import env

    found = env.values(_load_session(options, environ))
    if options.json:
        import json

        print(json.dumps(found))
    else:
        sys.stdout.write(env.lines(found, options.choice("--shell")))
    return 0


def _exec(options: Options, environ: Mapping[str, str]) -> int:
    if not options.command:
        raise Usage("neoctl exec takes a command: neoctl exec -- CMD [ARGUMENT...]")
    from contextlib import suppress

    from neoctl import execute

    def told(what: str) -> None:
        if sys.stderr is None:
            return
        # Not through Python, which tries again at exit, and changes the status then.
        with suppress(OSError):
            os.write(2, f"neoctl: {what}\n".encode("utf-8", "backslashreplace"))

    try:
        session = _await_session(options, environ, options.wait)
        return execute.run(
            options.command,
            environ,
            session,
            values="--env" in options.given,
            on_rotate=options.choice("--on-rotate"),
            told=told,
        )
    except client.Problem as problem:
        _fail(problem)
    except (ValueError, KeyError, TypeError) as error:
        told(f"the answer cannot be understood ({error})")
    return execute.FAILED


def _wait(options: Options, environ: Mapping[str, str]) -> int:
    _await_session(options, environ, wire.WAIT_MAX if options.wait is None else options.wait)
    return 0


def _await_session(
    options: Options, environ: Mapping[str, str], seconds: float | None
) -> dict[str, object]:
    """The session, as soon as there is one; waits for neod itself too. For ever if None."""
    import json
    import time

    end = None if seconds is None else time.monotonic() + seconds
    said = ""
    while True:
        left = _TURN if end is None else min(_TURN, max(0.0, end - time.monotonic()))
        try:
            target = f"/v1/session{options.query(round(left, 3))}"
            reply = client.get(target, environ=environ, wait=left)
            return dict(json.loads(reply.body))
        except client.Problem as problem:
            over = end is not None and time.monotonic() >= end
            if over or problem.code not in _AWAITED:
                raise
            if problem.code != said:  # so that who waits knows for what
                said = problem.code
                sys.stderr.write(f"neoctl: waits; {problem.code}: {problem.detail}\n")
                sys.stderr.flush()
            if problem.code not in _HELD:
                time.sleep(0.5)


_TURN = 30.0  # seconds that neod is asked to hold on at a time
_HELD = frozenset({"not_ready", "broker_unavailable", "otp_needed", "min_valid_unreachable"})
_AWAITED = _HELD | {
    *("not_running", "login_budget", "too_many_connections", "shutting_down"),
    *("credentials_rejected", "blocked", "paused"),
}


def _load_session(options: Options, environ: Mapping[str, str]) -> dict[str, object]:
    import json

    target = f"/v1/session{options.query()}"
    session = json.loads(client.get(target, environ=environ, wait=options.wait or 0).body)
    return dict(session)


def _status(options: Options, environ: Mapping[str, str]) -> int:
    import json

    reply = client.get("/v1/status", environ=environ)
    status = json.loads(reply.body)
    accounts, only = status["accounts"], options.account
    if only:
        if only not in accounts:
            known = ", ".join(accounts) or "none"
            raise client.Problem(
                "unknown_account", f"there is no account {only!r}; there is: {known}"
            )
        status["accounts"] = {only: accounts[only]}
    if options.json:
        whole = reply.body.decode().rstrip("\n")
        print(json.dumps(status, ensure_ascii=False) if only else whole)
        return 0
    from neoctl import glance

    if "--line" in options.given:
        sys.stdout.write(glance.line(status))
    else:
        colours = sys.stdout.isatty() and not environ.get("NO_COLOR")
        sys.stdout.write(glance.at(status, colours=colours))
    return 0


def _unblock(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/unblock", {"force": "--force" in options.given}, options, environ, wait=0)


def _renew(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/renew", {}, options, environ, wait=LOGIN_TIME)


def _pause(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/pause", {}, options, environ, wait=0)


def _resume(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/resume", {}, options, environ, wait=0)


def _reload(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/reload", {}, options, environ, wait=RELOAD_TIME)


def _reject(options: Options, environ: Mapping[str, str]) -> int:
    word = options.words[1]
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise Usage(f"neoctl reject takes a generation, not {word!r}: neoctl get generation")
    # From stdin, where it does not stand in an argv: it may be a reply with anything in it.
    evidence = options.given.get("--evidence")
    if evidence == "-":
        evidence = sys.stdin.read()
    fields: dict[str, object] = {"generation": int(word), "evidence": evidence or None}
    return _post("/v1/reject", fields, options, environ, wait=LOGIN_TIME)


def _logins(options: Options, environ: Mapping[str, str]) -> int:
    import json

    parts = [f"limit={options.whole('--limit', 20)}"]
    if options.account:
        parts.append(f"account={client.quote(options.account)}")
    reply = client.get(f"/v1/logins?{'&'.join(parts)}", environ=environ)
    if options.json:
        sys.stdout.write(reply.body.decode())
        return 0
    from neoctl import glance

    sys.stdout.write(glance.logins(json.loads(reply.body)))
    return 0


def _watch(options: Options, environ: Mapping[str, str]) -> int:
    from neoctl import glance, stream

    def told(what: str) -> None:
        sys.stderr.write(f"neoctl: {what}\n")
        sys.stderr.flush()

    for raw, line in stream.events(options.account, environ=environ, told=told):
        if options.json:
            sys.stdout.write(raw.decode() + "\n")
        elif line["event"] != "heartbeat":
            sys.stdout.write(glance.event(line))
        sys.stdout.flush()
    return 0


def _clients(options: Options, environ: Mapping[str, str]) -> int:
    import json

    reply = client.get("/v1/clients", environ=environ)
    if options.json:
        sys.stdout.write(reply.body.decode())
        return 0
    from neoctl import glance

    status = json.loads(client.get("/v1/status", environ=environ).body)
    sys.stdout.write(glance.clients(json.loads(reply.body), status))
    return 0


def _otp(options: Options, environ: Mapping[str, str]) -> int:
    # Not from the command line, which every process of this machine can read.
    if sys.stdin.isatty():
        import getpass

        code = getpass.getpass("OTP: ")
    else:
        code = sys.stdin.readline()
    return _post("/v1/otp", {"otp": code.strip()}, options, environ, wait=LOGIN_TIME)


def _post(
    target: str,
    fields: dict[str, object],
    options: Options,
    environ: Mapping[str, str],
    *,
    wait: float,
) -> int:
    """Have neod do something, and say what came of it."""
    import json

    body = json.dumps({"account": options.account or None, **fields})
    reply = client.post(target, body.encode(), environ=environ, wait=wait)
    if options.json:
        sys.stdout.write(reply.body.decode())
    else:
        told = json.loads(reply.body)
        outcome = f"{told['outcome']}: " if target == "/v1/reject" else ""
        sys.stderr.write(f"neoctl: {outcome}{told['detail']}\n")
    return 0


def _doctor(options: Options, environ: Mapping[str, str]) -> int:
    from neoctl import doctor

    findings = doctor.examine(environ, os.getuid(), options.account)
    if options.json:
        sys.stdout.write(doctor.as_json(findings))
    else:
        colours = sys.stdout.isatty() and not environ.get("NO_COLOR")
        sys.stdout.write(doctor.as_text(findings, colours=colours))
    return 0 if doctor.healthy(findings) else 1


def _socket(_options: Options, environ: Mapping[str, str]) -> int:
    print(wire.socket_path(environ, os.getuid()))
    return 0


def _version(options: Options, environ: Mapping[str, str]) -> int:
    import json

    try:
        daemon = str(json.loads(client.get("/v1/status", environ=environ).body)["version"])
    except client.Problem as problem:
        daemon, why = None, problem.detail
    except (ValueError, KeyError, TypeError):
        daemon, why = None, "its answer cannot be understood"
    if options.json:
        print(json.dumps({"neoctl": __version__, "neod": daemon}))
    else:
        print(f"neoctl {__version__}")
        print(f"neod {daemon}" if daemon else f"neod is not answering: {why}")
    return 0


# verb -> what it does, the argument that it takes, its options, and what it is for
_ASKING = frozenset({"--account", "--json", "--min-valid", "--wait"})
_WISHING = frozenset({"--account", "--json"})
_EXECUTING = frozenset({"--account", "--min-valid", "--wait", "--env", "--on-rotate"})
VERBS: dict[str, tuple[Run, str, frozenset[str], str]] = {
    "token": (_token, "", _ASKING, "the current session's token"),
    "session": (_session, "", _ASKING, "the whole session, as JSON"),
    "get": (_get, "FIELD", _ASKING, "one field of it: sid, expires_at, headers.Auth …"),
    "headers": (_headers, "", _ASKING, "what Kotak's API wants, for: curl -H @-"),
    "env": (_env, "", _ASKING | {"--shell"}, 'lines for a shell: eval "$(neoctl env)"'),
    "exec": (_exec, "-- CMD...", _EXECUTING, "run CMD once there is a session, neod at hand"),
    "watch": (_watch, "", _WISHING, "what happens from now on, a line each"),
    "wait": (
        _wait,
        "",
        frozenset({"--account", "--min-valid", "--wait"}),
        "until there is a session, or --wait (300 s) is over",
    ),
    "status": (_status, "", _WISHING | {"--line"}, "what neod is doing, account by account"),
    "logins": (_logins, "", _WISHING | {"--limit"}, "what went to the broker, and on whose word"),
    "clients": (_clients, "", frozenset({"--json"}), "who is connected, and what each of them has"),
    "renew": (_renew, "", _WISHING, "log in now"),
    "reject": (_reject, "GENERATION", _WISHING | {"--evidence"}, "the broker refused this session"),
    "otp": (_otp, "", _WISHING, "hand over the OTP that neod waits for, from a prompt or stdin"),
    "unblock": (_unblock, "", _WISHING | {"--force"}, "allow one more login after refused ones"),
    "pause": (_pause, "", _WISHING, "no login by itself from now on"),
    "resume": (_resume, "", _WISHING, "logins by itself again"),
    "reload": (_reload, "", frozenset({"--json"}), "have neod read its configuration anew"),
    "doctor": (_doctor, "", _WISHING, "what is not as it has to be, and what mends it"),
    "socket": (_socket, "", frozenset(), "the path of neod's socket"),
    "version": (_version, "", frozenset({"--json"}), "the versions of neoctl and neod"),
}
_EXITS = """\
exit status: 0 done, 2 usage, 3 neod is not running, 4 not ready, 5 a person is needed,
6 the broker cannot be reached, 7 not valid for long enough, 8 forbidden, 1 anything else;
exec: the command's own, 125 neoctl failed, 126 it cannot be run, 127 it is not there
"""


def usage() -> str:
    """All verbs and options, for a person."""
    lines = ["usage: neoctl VERB [options]", ""]
    lines += [f"  {f'{verb} {takes}':19} {what}" for verb, (_, takes, _, what) in VERBS.items()]
    lines += ["", *(f"  {f'{name} {value}':19} {what}" for name, (value, what) in OPTIONS.items())]
    return "\n".join(lines) + "\n\n" + _EXITS
