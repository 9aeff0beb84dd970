"""neoctl: the verbs.

What a script reads goes to stdout and nothing else does; what went wrong goes to stderr. No
argparse and no json on the way to `neoctl token`: they would cost more than the call itself.
"""

from __future__ import annotations

import os
import sys

from neoctl import __version__, client, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Run = Callable[["Options", Mapping[str, str]], int]

USAGE = """\
usage: neoctl VERB [options]

  token               the current session's token
  session             the whole session, as JSON
  get FIELD           one field of it: sid, ucc, expires_at, headers.Auth, extra.caches …
  headers             the headers that Kotak's API wants, for: curl -H @-
  status              what neod is doing, account by account
  renew               log in now
  otp                 hand neod the one-time password it waits for, from a prompt or stdin
  reject GENERATION   say that the broker refused this session; --evidence TEXT is why
  unblock [--force]   allow one more login after refused or unanswered ones
  pause, resume       no login by itself from now on; logins again
  reload              have neod read its configuration anew
  watch               what happens, a line each, from now on
  clients             who is connected, and which session each of them got
  logins              what was sent to the broker, why, on whose word; what came of it
  socket              the path of neod's socket
  version             the versions of neoctl and neod

  -a, --account NAME  which account (or $NEOD_ACCOUNT)
  --json              JSON in place of text
  --min-valid SECONDS fail unless the session lives that long yet
  --wait SECONDS      how long to wait for a session (default 0, at most 300)
  --limit N           how many logins to show (default 20)

exit status: 0 done, 2 usage, 3 neod is not running, 4 not ready, 5 a person is needed,
6 the broker cannot be reached, 7 not valid for long enough, 8 forbidden, 1 anything else
"""
RELOAD_TIME = 10.0  # seconds: secrets are read anew, and a command may print them
LOGIN_TIME = 65.0  # seconds: neod answers when a login is done, which may take a minute
# Verbs that the design names and this version does not have.
LATER = frozenset(
    {
        *("env", "exec", "wait", "doctor"),
    }
)


class Usage(Exception):  # noqa: N818 - it says how to use it
    """The command line cannot be understood."""


class Options:
    """A command line, taken apart."""

    def __init__(self, argv: list[str], environ: Mapping[str, str]) -> None:
        self.words: list[str] = []
        self.given: set[str] = set()
        self.account = environ.get("NEOD_ACCOUNT", "")
        self.json = False
        self.force = False
        self.min_valid: float | None = None
        self.wait = 0.0
        self.limit = 20
        self.evidence = ""
        rest = iter(argv)
        for word in rest:
            name, equals, value = word.partition("=")
            if name in ("-a", "--account", "--min-valid", "--wait", "--limit", "--evidence"):
                if not equals:
                    value = next(rest, "")
                if not value or (value.startswith("--") and not equals):
                    raise Usage(f"{name} needs a value")
                name = "--account" if name == "-a" else name
                self.given.add(name)
                self._set(name, value)
            elif word in ("--json", "--force"):
                self.given.add(word)
                self.json |= word == "--json"
                self.force |= word == "--force"
            elif word.startswith("-"):
                raise Usage(f"unknown option {word}")
            else:
                self.words.append(word)

    def _set(self, name: str, value: str) -> None:
        if name == "--account":
            self.account = value
            return
        if name == "--evidence":
            self.evidence = value
            return
        if name == "--limit":
            if not (value.isascii() and value.isdigit() and 0 < len(value) < 7):
                raise Usage(f"--limit takes a whole number, not {value!r}")
            self.limit = int(value)
            return
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise Usage(f"{name} takes a number of seconds, not {value!r}")
        if name == "--wait":
            if seconds > wire.WAIT_MAX:
                raise Usage(f"--wait takes at most {wire.WAIT_MAX:.0f} seconds")
            self.wait = seconds
        else:
            self.min_valid = seconds

    def query(self) -> str:
        """The options as a query string."""
        parts = []
        if self.account:
            parts.append(f"account={client.quote(self.account)}")
        if self.min_valid is not None:
            parts.append(f"min_valid={_number(self.min_valid)}")
        if self.wait:
            parts.append(f"wait={_number(self.wait)}")
        return "?" + "&".join(parts) if parts else ""


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
        sys.stderr.write(USAGE)
        return 2
    try:
        if argv[0] in LATER:
            raise Usage(f"{argv[0]!r} is not part of this version ({__version__})")
        if argv[0] == "help" or "-h" in argv or "--help" in argv:
            sys.stdout.write(USAGE)
            return 0
        options = Options(["version"] if argv == ["--version"] else argv, environ)
        verb, *words = options.words or [""]
        if verb not in VERBS:
            raise Usage(f"unknown verb {verb!r}" if verb else "which verb?")
        run, takes, allowed = VERBS[verb]
        if len(words) != takes:
            raise Usage(f"neoctl {verb} takes {takes or 'no'} argument(s)")
        if stray := options.given - allowed:
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
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
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


def _number(seconds: float) -> str:
    """The number as it was typed: rounded, it would ask for something else."""
    return str(int(seconds)) if seconds.is_integer() else client.quote(repr(seconds))


def _token(options: Options, environ: Mapping[str, str]) -> int:
    reply = client.get(f"/v1/token{options.query()}", environ=environ, wait=options.wait)
    token = reply.body.decode("ascii").rstrip("\n")
    expires, generation = reply.headers["neod-expires-at"], reply.headers["neod-generation"]
    if options.json:
        print(f'{{"token":"{token}","generation":{generation},"expires_at":{expires}}}')
    else:
        print(token)
    return 0


def _session(options: Options, environ: Mapping[str, str]) -> int:
    reply = client.get(f"/v1/session{options.query()}", environ=environ, wait=options.wait)
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


def _load_session(options: Options, environ: Mapping[str, str]) -> dict[str, object]:
    import json

    target = f"/v1/session{options.query()}"
    session = json.loads(client.get(target, environ=environ, wait=options.wait).body)
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

    sys.stdout.write(glance.at(status))
    return 0


def _unblock(options: Options, environ: Mapping[str, str]) -> int:
    return _post("/v1/unblock", {"force": options.force}, options, environ, wait=0)


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
    evidence = sys.stdin.read() if options.evidence == "-" else options.evidence
    fields: dict[str, object] = {"generation": int(word), "evidence": evidence or None}
    return _post("/v1/reject", fields, options, environ, wait=LOGIN_TIME)


def _logins(options: Options, environ: Mapping[str, str]) -> int:
    import json

    parts = [f"limit={options.limit}"]
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
    from neoctl import glance, watch

    def told(what: str) -> None:
        sys.stderr.write(f"neoctl: {what}\n")
        sys.stderr.flush()

    for raw, line in watch.events(options.account, environ=environ, told=told):
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


# verb -> (what it does, how many arguments it takes, which options)
_ASKING = frozenset({"--account", "--json", "--min-valid", "--wait"})
VERBS: dict[str, tuple[Run, int, frozenset[str]]] = {
    "token": (_token, 0, _ASKING),
    "session": (_session, 0, _ASKING),
    "get": (_get, 1, _ASKING),
    "headers": (_headers, 0, _ASKING),
    "status": (_status, 0, frozenset({"--account", "--json"})),
    "renew": (_renew, 0, frozenset({"--account", "--json"})),
    "reject": (_reject, 1, frozenset({"--account", "--json", "--evidence"})),
    "pause": (_pause, 0, frozenset({"--account", "--json"})),
    "resume": (_resume, 0, frozenset({"--account", "--json"})),
    "logins": (_logins, 0, frozenset({"--account", "--json", "--limit"})),
    "reload": (_reload, 0, frozenset({"--json"})),
    "watch": (_watch, 0, frozenset({"--account", "--json"})),
    "clients": (_clients, 0, frozenset({"--json"})),
    "otp": (_otp, 0, frozenset({"--account", "--json"})),
    "unblock": (_unblock, 0, frozenset({"--account", "--json", "--force"})),
    "socket": (_socket, 0, frozenset()),
    "version": (_version, 0, frozenset({"--json"})),
}
