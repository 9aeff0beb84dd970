"""Promise 6: secrets that can be recognised are looked for in all that neod lets out.

The daemon and neoctl are real processes. The broker is the sandbox's, in a thread of this
process, because only then it can know the canaries, and tell what it gave out.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import msgspec
import pytest
import trio

from neoctl import client
from neod import config
from neod.account.dialogue import Dialogue
from neod.account.history import Word
from neod.account.keeper import Keeper
from neod.account.session import Board
from neod.account.snapshot import from_login
from neod.account.store import Kept
from neod.account.token import Claims
from neod.account.wishes import Asked, OtpWanted
from neod.clock import SYSTEM
from neod.ipc import api, http1
from neod.ipc.http1 import Response
from neod.kotak.client import Send, connected
from neod.kotak.flows import (
    VIEW,
    Bearer,
    Consumer,
    Login,
    Password,
    Request,
    Totp,
    bearer_flow,
    password_flow,
    totp_flow,
)
from neod.kotak.replies import BearerReply, Reply, SessionReply, classify
from neod.sandbox import faults
from neod.sandbox.broker import Broker, Credentials, Fields, Headers, Settings
from neod.sandbox.serve import listen, serve, url_of
from neod.secrets import Secret
from tests.fakes.ledger import MemoryLedger
from tests.fakes.process import Home, Neod
from tests.fakes.store import MemoryStore
from tests.fakes.world import account

pytestmark = pytest.mark.outer

WHO = Credentials(
    consumer_key="Key-Canary-consumer-5501",
    consumer_secret="Secret-Canary-consumer-5502",
    access_token="Access-Canary-token-5503",
    password="Word-Canary-password-5504",
    mpin="Mpin-Canary-5505",
    totp_secret="CANARYBIRDCANARYBIRDCANARYBIRD23",
)
OTP = "55065506"
WRONG_OTP = "55075507"
SECRETS = {
    "consumer key": WHO.consumer_key,
    "consumer secret": WHO.consumer_secret,
    "access token": WHO.access_token,
    "password": WHO.password,
    "MPIN": WHO.mpin,
    "TOTP secret": WHO.totp_secret,
    "OTP": OTP,
    "wrong OTP": WRONG_OTP,
}
PART = 12  # characters of a secret that give it away


# Looking


def disguises(secret: str) -> set[str]:
    """What a secret looks like where it was leaked: in part, or encoded."""
    pieces = {secret, secret[:PART], secret[-PART:]}
    # base64 of it, wherever in the groups of three it begins: what does not depend on the rest.
    raw = secret.encode()
    for skip in range(3):
        whole = raw[skip : len(raw) - (len(raw) - skip) % 3]
        pieces.add(base64.b64encode(whole).decode())
    return pieces | {quote(secret, safe=""), raw.hex(), secret[::-1]}


def leaks(text: str, secrets: Mapping[str, str]) -> list[str]:
    """Which of the secrets are in a text, by name."""
    return [
        name
        for name, secret in secrets.items()
        if any(piece in text for piece in disguises(secret))
    ]


JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")


def found_in(places: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, list[str]]:
    """Place -> the secrets that are there; no place where none is."""
    found = {where: leaks(text, secrets) for where, text in places.items()}
    for where, text in places.items():
        if JWT.search(text):
            found[where].append("something like a JWT")
    return {where: names for where, names in found.items() if names}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    "leak",
    [
        "{}",
        'level=debug headers={{"Authorization": "{}"}}',
        "{0[0]}{0[1]}{0[2]}{0[3]}{0[4]}{0[5]}{0[6]}{0[7]}{0[8]}{0[9]}{0[10]}{0[11]}…",
    ],
)
def test_a_leak_that_is_planted_is_found(name: str, leak: str) -> None:
    secret = SECRETS[name]
    text = leak.format(secret.ljust(PART)).rstrip()
    assert found_in({"the log": f"info start\n{text}\n"}, SECRETS)["the log"] == [name]


def test_a_leak_that_is_encoded_is_found() -> None:
    pair = base64.b64encode(f"{WHO.consumer_key}:{WHO.consumer_secret}".encode()).decode()
    assert leaks(f"Basic {pair}", SECRETS) == ["consumer key", "consumer secret"]
    assert leaks(WHO.password.encode().hex(), SECRETS) == ["password"]
    token = Recorder(Settings(credentials=WHO)).token_for_a_look()
    assert found_in({"status": f'"{token[:20]}"'}, {}) == {"status": ["something like a JWT"]}
    assert found_in({"status": "nothing of that kind"}, SECRETS) == {}


# The processes


class Recorder(Broker):
    """The sandbox's broker, with an OTP that can be recognised, and a memory of what it gave."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.given: dict[str, str] = {}

    def handle(self, method: str, path: str, headers: Headers, body: bytes, now: float) -> Response:
        answer = super().handle(method, path, headers, body, now)
        fields = json.loads(answer.body or b"{}")
        data = fields.get("data") if isinstance(fields.get("data"), dict) else fields
        for name in ("token", "sid", "rid", "access_token"):
            if name in data:
                self.given[f"{name} {len(self.given)}"] = data[name]
        return answer

    def _send_otp(self, headers: Headers, fields: Fields, now: float) -> Response:
        answer = super()._send_otp(headers, fields, now)
        self.otp = self.otp and OTP
        return answer

    def token_for_a_look(self) -> str:
        return str(json.loads(self._begin("view", "password", 0).body)["data"]["token"])


class Birdcage:
    """The sandbox in a thread of its own."""

    def __init__(self) -> None:
        self.broker = Recorder(Settings(life=7200, credentials=WHO))
        self.faults = faults.Faults()
        self.url = ""
        self.hangs = Event()  # a request has met this fault
        self._up = Event()
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = Thread(target=trio.run, args=(self._serve,))

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        listener = await listen(0)
        self.url = url_of(listener)
        self._up.set()
        with self._scope:
            await serve(self.broker, listener, SYSTEM, faults=self.faults, told=self._told)

    def _told(self, _path: str, status: int) -> None:
        if status == 0:
            self.hangs.set()

    def queue(self, text: str) -> None:
        self.faults.add(faults.parse(text))

    @contextmanager
    def open(self) -> Iterator["Birdcage"]:
        self._thread.start()
        self._up.wait(10)
        try:
            yield self
        finally:
            trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
            self._thread.join(10)


ENDS = """
[account.NAME.endpoints]
session = "URL"
api = "URL"
login = "URL"
[account.NAME.renewal]
logins_per_10min = 100000
logins_per_day = 100000
"""
CONSUMER = """
mobile = "9999996708"
consumer_key = { file = "secrets/consumer_key" }
consumer_secret = { file = "secrets/consumer_secret" }
"""
TABLES = {
    "view": f"{CONSUMER}password = '{WHO.password}'",  # inline
    "mpin": f"{CONSUMER}password = {{ file = 'secrets/password' }}\nmpin = '{WHO.mpin}'",
    "otp": f"{CONSUMER}password = {{ command = ['cat', 'FOLDER/secrets/password'] }}\n"
    "second_factor = 'otp'",
    "totp": """
flow = "totp"
mobile = "9999996708"
ucc = "D2014"
access_token = { file = "secrets/access_token" }
totp_secret = { file = "secrets/totp_secret" }
mpin = { file = "secrets/mpin" }
""",
}


def furnish(home: Home, url: str) -> None:
    """Write the configuration, and the files that its secrets are in."""
    folder = home.folder / "secrets"
    folder.mkdir(mode=0o700)
    for name in ("consumer_key", "consumer_secret", "access_token", "password", "mpin"):
        (folder / name).write_text(getattr(WHO, name))
    (folder / "totp_secret").write_text(WHO.totp_secret)
    for path in folder.iterdir():
        path.chmod(0o600)
    text = "".join(
        f"[account.{name}]\n{TABLES[name]}{ENDS}".replace("NAME", name) for name in TABLES
    )
    text += "[server]\ngrace = 0.2\n"  # for the one request that is in flight at the end
    home.configure(url, text=text.replace("FOLDER", os.fspath(home.folder)))
    home.password.unlink()


class Watched:
    """A daemon, what is asked of it, and all that it said."""

    def __init__(self, home: Home, cage: Birdcage) -> None:
        self.home = home
        self.cage = cage
        self.said: dict[str, str] = {}
        self._step = 0  # of the TOTP, as the broker's clock has it

    def post(self, target: str, **fields: object) -> None:
        name = f"{target} {fields} #{len(self.said)}"
        try:
            body = json.dumps(fields).encode()
            reply = client.post(target, body, environ=self.home.environ, wait=30)
            self.said[name] = f"{reply.headers} {reply.body.decode()}"
        except client.Problem as problem:
            assert problem.code not in ("not_running", "internal_error"), problem.detail
            self.said[name] = f"{problem.code} {problem.detail} {problem.action}"

    def get(self, target: str) -> str:
        try:
            body = client.get(target, environ=self.home.environ).body.decode()
        except client.Problem as problem:
            body = f"{problem.code} {problem.detail} {problem.action}"
        return body

    def get_problem(self, name: str) -> str:
        """What stands in the place of a token, if none is there."""
        body = self.get(f"/v1/token?account={name}")
        return "" if body.strip() in self.cage.broker.given.values() else body

    def neoctl(self, *words: str, typed: str = "", may_show: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "neoctl", *words],
            env=self.home.environ,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        name = f"neoctl {' '.join(words)} #{len(self.said)}"
        self.said[f"{name} stderr"] = done.stderr
        if not may_show:
            self.said[f"{name} stdout"] = done.stdout
        return done.stdout

    def provoke(self, name: str) -> None:
        """Have an account log in now, whatever befell it before."""
        if name == "totp":
            self._next_code()
        self.post("/v1/unblock", account=name, force=True)
        self.post("/v1/renew", account=name)
        if name == "otp":
            self.post("/v1/otp", account=name, otp=OTP)

    def _next_code(self) -> None:
        """Put the broker's clock five seconds into the next step: no code is sent twice."""
        now = SYSTEM.wall()
        self._step = max(self._step, int(now // 30)) + 1
        self.cage.queue(f"skew={self._step * 30 + 5 - now:.1f}")


STAGES = [
    *(("view", "bearer"), ("view", "login"), ("mpin", "login"), ("mpin", "validate")),
    *(("otp", "otp"), ("otp", "validate"), ("totp", "login"), ("totp", "validate")),
]
AT_ONCE = [*faults.REPLIES, "cut", "wrong-type", "slow=0.01"]


@pytest.mark.parametrize(("form", "turn"), [("debug", 0), ("debug,json", 3)])
def test_p6_no_secret_is_anywhere_but_where_it_belongs(home: Home, form: str, turn: int) -> None:
    home.environ["NEOD_LOG"] = form
    with Birdcage().open() as cage:
        furnish(home, cage.url)
        cage.queue("credentials@login")  # whoever comes first
        with Neod(home) as neod:
            watched = Watched(home, cage)
            use(watched, turn)
            process = {
                f"/proc/PID/{name}": text
                for name in ("cmdline", "environ")
                if (text := read(Path(f"/proc/{neod.popen.pid}/{name}"))) is not None
            }
            assert "/proc/PID/cmdline" in process
            cage.queue("hang@bearer")  # for a stop in the middle of a login
            client_gone = subprocess.Popen(
                [sys.executable, "-m", "neoctl", "renew", "-a", "mpin"],
                env=home.environ,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert cage.hangs.wait(20)
            code, out, err = neod.stop()
            _, gone = client_gone.communicate(timeout=30)
    assert code == 0
    places = {
        **watched.said,
        **process,
        **files_of(home),
        "neod's stdout": out,
        "neod's stderr": err,
        "neoctl renew, whose daemon stopped": gone,
    }
    assert "debug" in err
    assert cage.broker.trades >= 3
    assert any("state" in where for where in places)
    # The session that is kept over a restart is the session itself, with its access token.
    kept = {where: places.pop(where) for where in list(places) if where.endswith(".session")}
    assert found_in(places, {**SECRETS, **cage.broker.given}) == {}
    own = {name: value for name, value in SECRETS.items() if name != "access token"}
    assert kept
    leaked = {name for names in found_in(kept, own).values() for name in names}
    assert leaked <= {"something like a JWT"}


def use(watched: Watched, turn: int) -> None:
    """Everything that a person and a bot do, with every fault in turn."""
    for name in TABLES:
        if name != "otp":
            watched.post("/v1/renew", account=name)  # joins the login of the start
        watched.said[f"/v1/token of {name} at the start"] = watched.get_problem(name)
        watched.provoke(name)  # so that from here on no login is made that nobody asked for
    for number, fault in enumerate(AT_ONCE):
        name, step = STAGES[(number + turn) % len(STAGES)]
        watched.cage.queue(f"{fault}@{step}")
        watched.provoke(name)
        assert not watched.cage.faults.waiting, "nothing met the fault"
        watched.said[f"/v1/status after {fault}@{step} of {name}"] = watched.get("/v1/status")
        if not number % 8:
            watched.said[f"/readyz after {fault}"] = watched.get("/readyz")
    for name in TABLES:
        watched.provoke(name)  # and now all is well
    assert {"view", "mpin", "otp", "totp"} == set(json.loads(watched.get("/v1/status"))["accounts"])
    tokens = [watched.neoctl("token", "-a", name, may_show=True) for name in TABLES]
    assert all(token.strip() in watched.cage.broker.given.values() for token in tokens)
    headers = watched.neoctl("headers", "-a", "totp", may_show=True)
    assert WHO.access_token in headers  # what is looked for can be found
    watched.neoctl("session", "-a", "mpin", may_show=True)
    watched.neoctl("get", "headers.Auth", "-a", "view", may_show=True)
    watched.neoctl("get", "no_such_field", "-a", "view")
    watched.neoctl("status")
    watched.neoctl("status", "--json")
    watched.neoctl("renew", "-a", "otp")
    watched.neoctl("otp", "-a", "otp", typed=f"{WRONG_OTP}\n")
    watched.neoctl("otp", "-a", "otp", typed=f"{WRONG_OTP}\n")
    watched.neoctl("otp", "-a", "otp", typed=f"{WRONG_OTP} {WHO.password}\n")
    watched.neoctl("unblock", "-a", "otp", "--force")
    watched.neoctl("unblock", "-a", "mpin")
    for body in ({"otp": int(OTP)}, {"otp": [OTP]}, {"otp": f"{OTP}x"}, {"account": "otp"}):
        watched.post("/v1/otp", **body)


def read(path: Path) -> str | None:
    """A file's text, a byte a character; None where it is not for us to read."""
    with suppress(PermissionError):
        return path.read_bytes().decode("latin-1")
    return None


def files_of(home: Home) -> dict[str, str]:
    """All files of the user but those in which the secrets are."""
    theirs = {home.config, *(home.folder / "secrets").iterdir()}
    files = [path for path in home.folder.rglob("*") if path.is_file() and path not in theirs]
    return {os.fspath(path.relative_to(home.folder)): read(path) or "" for path in files}


# What shows a struct


def session_reply() -> SessionReply:
    return SessionReply(token=WHO.password, sid=WHO.mpin, extra={"kId": WHO.consumer_secret})


def the_structs() -> dict[str, object]:
    """One of each kind that holds a secret, with canaries wherever one fits."""
    owner = account(password=WHO.password, mpin=WHO.mpin, consumer_secret=WHO.consumer_secret)
    of_totp = account(
        flow="totp",
        ucc="D2014",
        access_token=WHO.access_token,
        totp_secret=WHO.totp_secret,
        mpin={"command": ["echo", WHO.mpin]},
        proxy=f"http://neod:{WHO.password}@127.0.0.1:3128",
        password=None,
        consumer_key=None,
        consumer_secret=None,
    )
    consumer = Consumer(Secret(WHO.consumer_key), Secret(WHO.consumer_secret))
    password = Password(("userid", "D"), Secret(WHO.password), consumer, "mpin", Secret(WHO.mpin))
    of_codes = Totp(
        "+91", "D2014", Secret(WHO.access_token), Secret(WHO.totp_secret), Secret(WHO.mpin)
    )
    ends = owner.endpoints
    ready = Password(("userid", "D"), Secret(WHO.password), Secret(WHO.access_token))
    second = totp_flow(of_codes, ends)
    next(second)
    login = Login(
        kind="trade",
        reply=session_reply(),
        claims=Claims(expires_at=2_000_000_000, issued_at=None, subject="", scope=()),
        bearer=Bearer(Secret(WHO.access_token)),
        headers={"Authorization": WHO.access_token},
    )
    held = from_login(owner, login, 1, sent=(0.0, 0.0), clock=SYSTEM)
    body = json.dumps({"token": WHO.password, "error": WHO.mpin}).encode()
    reply = Reply(400, {"set-cookie": WHO.access_token}, body)
    keeper = Keeper(
        owner,
        Board("main", SYSTEM),
        MemoryLedger(),
        MemoryStore(),
        clock=SYSTEM,
        connect=lambda _account: connected(),
        environ={"PASSWORD": WHO.password},
        draw=lambda: 0.5,
    )

    async def send(_request: Request) -> Reply:
        raise AssertionError("nothing is sent here")

    async def ask() -> Secret:
        raise AssertionError("nobody is asked here")

    async def never() -> bool:
        return False

    sender: Send = send
    head = f"POST /v1/otp HTTP/1.1\r\nX-Token: {WHO.access_token}\r\n\r\n".encode()
    return {
        "Secret": Secret(WHO.password),
        "Source": owner.secrets,
        "Account": owner,
        "Account of the TOTP flow": of_totp,
        "Config": config.Config(accounts={"main": owner, "totp": of_totp}, server=config.Server()),
        "Consumer": consumer,
        "Password": password,
        "Totp": of_codes,
        "Bearer": Bearer(Secret(WHO.access_token)),
        "the request for a bearer": next(bearer_flow(consumer, ends)),
        "the first request": next(password_flow(ready, ends)),
        "the request with a code": second.send(Secret(OTP)),
        "a flow": second,
        "Reply": reply,
        "LoginFailed": classify(reply, VIEW),
        "BearerReply": BearerReply(WHO.access_token),
        "SessionReply": session_reply(),
        "Login": login,
        "Session": held.session,
        "Held": held,
        "Asked": Asked(trio.Event(), Word("renew")),
        "Kept": Kept(held=held, secrets="fingerprint", login="digest"),
        "OtpWanted": OtpWanted(trio.Event(), Secret(OTP)),
        "Keeper": keeper,
        "Board": keeper.board,
        "Dialogue": Dialogue(
            account="main",
            ledger=MemoryLedger(),
            clock=SYSTEM,
            send=sender,
            secrets="fingerprint",
            why="",
            word=None,
            endpoints=ends,
            totp_secret=Secret(WHO.totp_secret),
            ask_for_otp=ask,
            called_off=never,
        ),
        "http1.Response": http1.Response(200, WHO.password.encode()),
        "http1.Request": http1.parse(head),
        "the body of /v1/otp": msgspec.convert({"otp": OTP}, api._Otp),
        "neoctl's Reply": client.Reply(200, {"x": WHO.access_token}, WHO.password.encode()),
    }


@pytest.mark.parametrize("name", the_structs())
def test_p6_what_holds_a_secret_does_not_show_it(name: str) -> None:
    it = the_structs()[name]
    shown = {"repr": repr(it), "str": str(it), "a list": f"{[it]}", "format": f"{it!s:>9}"}
    assert found_in(shown, SECRETS) == {}


@pytest.mark.parametrize(
    "key",
    ["password", "consumer_secret", "access_token", "mpin", "totp_secret", "proxy", "pasword"],
)
@pytest.mark.parametrize("wrap", ["text", "list", "table", "place", "lines"])
def test_p6_no_mistake_in_the_configuration_repeats_a_secret(key: str, wrap: str) -> None:
    value: object = {
        "text": WHO.password,
        "list": [WHO.password],
        "table": {"fil": WHO.password},
        "place": {"file": [WHO.password]},
        "lines": f"{WHO.password}\n{WHO.password}",
    }[wrap]
    mistakes: list[str] = []
    config.read({"account": {"main": {key: value}}}, Path("/nowhere"), mistakes)
    assert mistakes
    assert found_in({"the mistakes": "\n".join(mistakes)}, SECRETS) == {}
