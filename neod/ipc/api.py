"""What each route answers. Request x accounts -> Response, and no bytes in between.

Reads have no side effects: none of them ever causes a login.
"""

import errno
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Annotated, TypeVar

import msgspec
import trio

from neoctl.wire import WAIT_MAX
from neod import __version__, config
from neod.account.events import News
from neod.account.history import Word
from neod.account.keeper import LOGIN_TIME, Keeper
from neod.account.logbook import entries as of_ledger
from neod.account.rejection import Answer
from neod.account.session import Board, Session
from neod.account.wishes import Asked, NotUnblocked
from neod.clock import SYSTEM, Clock
from neod.ipc.clients import Client, entries
from neod.ipc.http1 import Problem, Request, Response, Stream
from neod.ipc.metrics import metrics
from neod.ipc.readiness import Wanted, check, held
from neod.ipc.watch import Send, Watchers
from neod.kotak.evidence import read_evidence
from neod.secrets import Secret

T = TypeVar("T")
LOGINS = 100  # entries of the ledger that are shown unless others are asked for
SLACK = 2.0  # seconds that who waits for a login gives it over its own deadline
# The name of a socket, or none: anything that a browser would send for a web page is refused.
_HOST = re.compile(r"(?:(?![0-9]+(?::|$))[A-Za-z0-9_-]+)?(?::[0-9]*)?")
_BROWSER = ("origin", "referer", "sec-fetch-site")


class Files(msgspec.Struct, frozen=True):
    """Where neod has its files, for who looks after it; None is what it has none of."""

    socket: str | None = None
    configuration: str | None = None
    state: str | None = None  # the folder of the ledgers


class Sent(msgspec.Struct, frozen=True):
    """What came with a request's head: its body, and who sent it."""

    body: bytes
    client: Client | None = None

    def word(self, verb: str) -> Word:
        """On whose word it is done, for the ledger."""
        if self.client is None:
            return Word(verb)
        return Word(verb, self.client.peer.pid, self.client.peer.executable)

    def __repr__(self) -> str:
        return f"Sent({len(self.body)} bytes)"


class Api:
    """The routes, over the accounts of a daemon.

    `since` is when it started, in epoch seconds; `clients` are those who are connected. As long as
    `faulty` is set there are no accounts, and whoever asks for one is told where the mistakes are.
    """

    def __init__(
        self,
        accounts: Mapping[str, Keeper],
        since: float,
        *,
        news: News | None = None,
        clients: Collection[Client] = (),
        clock: Clock = SYSTEM,
        reload: Callable[[], Awaitable[str]] | None = None,
        files: Files | None = None,
    ) -> None:
        self.faulty: config.ConfigError | None = None
        self._accounts = accounts
        self._since = since
        self._clients = clients
        self._clock = clock
        self._files = files or Files()
        self.reload = reload  # raises ConfigError, OSError
        self.watchers = Watchers(news or News(), config.Server().max_watchers)
        self.answered: Counter[tuple[str, int]] = Counter()  # requests by route and status

    async def respond(
        self, request: Request, body: bytes, client: Client | None = None
    ) -> Response | Stream:
        """The answer to a request. Never raises for what a client can cause."""
        response = await self._respond(request, Sent(body, client))
        status = response.status if isinstance(response, Response) else 200
        self.answered[request.path if request.path in ROUTES else "other", status] += 1
        return response

    async def _respond(self, request: Request, sent: Sent) -> Response | Stream:
        try:
            refuse_browsers(request)
            methods = ROUTES.get(request.path)
            if methods is None:
                raise Problem(
                    "not_found", f"there is no {request.path}; docs/protocol.md lists all"
                )
            has_head = "GET" in methods and request.path != "/v1/watch"  # which has no end
            method = "GET" if request.method == "HEAD" and has_head else request.method
            if method not in methods:
                allowed = ", ".join([*methods, *(["HEAD"] if has_head else [])])
                raise Problem(
                    "method_not_allowed",
                    f"{request.path} takes {allowed}",
                    headers={"Allow": allowed},
                )
            return await methods[method](self, request, sent)
        except Problem as problem:
            return problem.response()

    def board(self, name: str | None) -> Board:
        """The board of the account that a request means. Raises Problem."""
        return self._named(name).board

    async def read(self, request: Request, sent: Sent) -> Response:
        board = self._account(request).board
        wanted, wait = wanted_of(request)
        found = await held(board, wanted, wait)
        if sent.client is not None:
            sent.client.handed(found)
        return ANSWERS[request.path](found.session)

    async def watch(self, request: Request, sent: Sent) -> Stream:
        after, client = _whole(request, "after"), sent.client
        named = "account" in request.query or not self._accounts
        only = self._account(request).account.name if named else None
        self.watchers.admit()

        def boards() -> list[Board]:
            return [keeper.board for name, keeper in self._accounts.items() if only in (None, name)]

        async def write(send: Send) -> None:
            await self.watchers.watch(boards, after, send, client)

        return Stream(write)

    async def clients(self, _request: Request, _sent: Sent) -> Response:
        return _json({"clients": entries(self._clients, self._clock)})

    async def metrics(self, _request: Request, _sent: Sent) -> Response:
        try:
            return metrics(
                self._accounts,
                since=self._since,
                connections=len(self._clients),
                watchers=self.watchers.of,
                answered=self.answered,
            )
        except OSError as error:  # what writes them may have to be read from the disk first
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            raise Problem("too_many_connections", "neod has no file descriptor left") from None

    async def status(self, _request: Request, _sent: Sent) -> Response:
        accounts = {
            name: {**_standing(keeper), "watchers": self.watchers.of[name]}
            for name, keeper in self._accounts.items()
        }
        return _json(
            {
                "version": __version__,
                "since": self._since,
                "configuration": _mistakes(self.faulty).detail if self.faulty else None,
                "files": self._files,
                "accounts": accounts,
            }
        )

    async def livez(self, _request: Request, _sent: Sent) -> Response:
        # That this line runs is the news: the one loop that does everything is alive.
        return _json({"status": "ok", "why": "the loop answers", "since": self._since})

    async def readyz(self, request: Request, _sent: Sent) -> Response:
        if self.faulty:
            return _mistakes(self.faulty).response(status=503)
        if not self._accounts:
            none = Problem("unknown_account", "no account is configured", action=_CONFIGURE)
            return none.response(status=503)
        boards = (
            [self._account(request).board]
            if "account" in request.query
            else [keeper.board for keeper in self._accounts.values()]
        )
        missing = {}
        for board in boards:
            try:
                check(board, Wanted())
            except Problem as problem:
                missing[board.account] = problem
        if not missing:
            names = ", ".join(board.account for board in boards)
            return _json({"status": "ok", "why": f"{names}: a valid session each"})
        why = "; ".join(f"{name}: {problem.detail}" for name, problem in missing.items())
        first = next(iter(missing.values()))
        worst = Problem(first.code, why, action=first.action, retry_after=first.retry_after)
        return worst.response(status=503)

    async def unblock(self, _request: Request, sent: Sent) -> Response:
        asked = _body(sent.body, _Unblock)
        keeper = self._named(asked.account)
        try:
            detail = await keeper.unblock(sent.word("unblock"), force=asked.force)
        except NotUnblocked as error:
            raise Problem("blocked", str(error), action="neoctl unblock --force") from None
        except OSError as error:
            raise Problem("blocked", f"the ledger cannot be written: {error.strerror}") from None
        return _json({"account": keeper.account.name, "detail": detail})

    async def renew(self, _request: Request, sent: Sent) -> Response:
        keeper = self._named(_body(sent.body, _Which).account)
        wish = partial(_while_open, keeper.board, partial(keeper.renew, sent.word("renew")))
        return _told(keeper, await _done(wish))

    async def otp(self, _request: Request, sent: Sent) -> Response:
        given = _body(sent.body, _Otp)
        keeper = self._named(given.account)
        if not (given.otp.isascii() and given.otp.isdigit() and 4 <= len(given.otp) <= 8):
            raise Problem("bad_request", "an OTP is 4 to 8 digits")
        give = partial(keeper.give_otp, Secret(given.otp), sent.word("otp"))
        told = await _done(partial(_while_open, keeper.board, give))
        if told is None:
            why = f"{keeper.account.name} waits for no OTP: {keeper.board.standing.why}"
            raise Problem("bad_request", why, action="neoctl renew")
        return _told(keeper, told)

    async def reject(self, _request: Request, sent: Sent) -> Response:
        asked = _body(sent.body, _Reject)
        keeper = self._named(asked.account)
        answer: Answer | None = Answer("deferred", "the renewal takes its time; see neoctl status")
        with trio.move_on_after(LOGIN_TIME + SLACK):
            evidence, word = read_evidence(asked.evidence), sent.word("reject")
            wish = partial(keeper.reject, asked.generation, evidence, word)
            answer = await _while_open(keeper.board, wish)
        held = keeper.board.held
        if answer is None or held is None:
            check(keeper.board, Wanted())
            raise AssertionError  # there was no session to reject
        return _json(
            {
                "account": keeper.account.name,
                "outcome": answer.outcome,
                "generation": held.session.generation,
                "detail": answer.detail,
            }
        )

    async def pause(self, _request: Request, sent: Sent) -> Response:
        keeper = self._named(_body(sent.body, _Which).account)
        detail = await keeper.pause(sent.word("pause"))
        return _json({"account": keeper.account.name, "detail": detail})

    async def resume(self, _request: Request, sent: Sent) -> Response:
        keeper = self._named(_body(sent.body, _Which).account)
        detail = await keeper.resume(sent.word("resume"))
        return _json({"account": keeper.account.name, "detail": detail})

    async def take_up(self, _request: Request, _sent: Sent) -> Response:
        if self.reload is None:
            raise Problem("not_found", "there is no configuration here to read anew")
        try:
            return _json({"detail": await self.reload()})
        except config.ConfigError as error:
            why = f"nothing is changed: {error}"
            raise Problem("bad_request", why, action=error.action) from None
        except OSError as error:
            why = f"nothing is changed: {error.filename}: {error.strerror}"
            raise Problem("bad_request", why) from None

    async def logins(self, request: Request, _sent: Sent) -> Response:
        keeper = self._account(request)
        limit = _whole(request, "limit")
        found = of_ledger(
            keeper.ledger.lines,
            since=_seconds(request, "since"),
            limit=LOGINS if limit is None else limit,
        )
        return _json({"account": keeper.account.name, "logins": found})

    def _account(self, request: Request) -> Keeper:
        return self._named(request.query.get("account"))

    def _named(self, name: str | None) -> Keeper:
        """The account of this name; without one `main`, else the only one."""
        if self.faulty:
            raise _mistakes(self.faulty)
        if name is None:
            if not self._accounts:
                raise Problem("unknown_account", "no account is configured", action=_CONFIGURE)
            if "main" in self._accounts:
                return self._accounts["main"]
            if len(self._accounts) > 1:
                names = ", ".join(self._accounts)
                raise Problem("bad_request", f"say which account: account= one of {names}")
            return next(iter(self._accounts.values()))
        if name not in self._accounts:
            known = ", ".join(self._accounts) or "none"
            raise Problem(
                "unknown_account",
                f"there is no account {name!r}; there is: {known}",
                action=_CONFIGURE,
            )
        return self._accounts[name]


_CONFIGURE = "write [account.NAME] into config.toml, then: neoctl reload"


def _mistakes(error: config.ConfigError) -> Problem:
    """That neod runs without its configuration. It takes a person, so it is no `not_ready`."""
    return Problem(
        "blocked",
        f"the configuration {error.path} cannot be used: {error.keys}",
        action=f"{error.action}; then: neoctl reload",
    )


class _Which(msgspec.Struct, frozen=True):
    account: str | None = None


class _Reject(msgspec.Struct, frozen=True):
    generation: Annotated[int, msgspec.Meta(ge=0)]
    account: str | None = None
    evidence: object = None  # any JSON: what the broker said to the bot

    def __repr__(self) -> str:
        return f"_Reject({self.generation})"


class _Unblock(msgspec.Struct, frozen=True):
    account: str | None = None
    force: bool = False


class _Otp(msgspec.Struct, frozen=True):
    otp: str
    account: str | None = None

    def __repr__(self) -> str:
        return "_Otp(***)"


Route = Callable[[Api, Request, Sent], Awaitable[Response | Stream]]
ROUTES: dict[str, dict[str, Route]] = {
    "/v1/token": {"GET": Api.read},
    "/v1/session": {"GET": Api.read},
    "/v1/watch": {"GET": Api.watch},
    "/v1/status": {"GET": Api.status},
    "/v1/clients": {"GET": Api.clients},
    "/v1/logins": {"GET": Api.logins},
    "/v1/renew": {"POST": Api.renew},
    "/v1/otp": {"POST": Api.otp},
    "/v1/reject": {"POST": Api.reject},
    "/v1/pause": {"POST": Api.pause},
    "/v1/resume": {"POST": Api.resume},
    "/v1/unblock": {"POST": Api.unblock},
    "/v1/reload": {"POST": Api.take_up},
    "/metrics": {"GET": Api.metrics},
    "/livez": {"GET": Api.livez},
    "/readyz": {"GET": Api.readyz},
}


def wanted_of(request: Request) -> tuple[Wanted, float]:
    """What a read asks of a session, and how many seconds it would wait for it. Raises Problem."""
    wanted = Wanted(min_valid=_seconds(request, "min_valid"), after=_whole(request, "after"))
    wait = _seconds(request, "wait")
    if wait > WAIT_MAX:
        raise Problem("bad_request", f"wait is at most {WAIT_MAX:.0f} seconds")
    return wanted, wait


def _body(body: bytes, kind: type[T]) -> T:
    """A request's JSON; no body is one without a field. Raises Problem, which repeats nothing."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad_request", f"the body: {error}") from None


async def _done(wish: Callable[[], Awaitable[T]]) -> T:
    """What comes of a wish for a login. Raises Problem where a login's time is over before it."""
    with trio.move_on_after(LOGIN_TIME + SLACK):
        return await wish()
    raise Problem("not_ready", "the login is under way yet; neoctl status tells how it ends")


async def _while_open(board: Board, wish: Callable[[], Awaitable[T]]) -> T:
    """What comes of a wish. Raises Problem if neod stops meanwhile, or has the account no more."""
    came: list[T] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_closed, board, nursery.cancel_scope)
        came.append(await wish())
        nursery.cancel_scope.cancel(reason="it is done")
    if not came:
        raise Problem("shutting_down", board.closed)
    return came[0]


async def _cancel_when_closed(board: Board, waiting: trio.CancelScope) -> None:
    while not board.closed:
        await board.changed.wait()
    waiting.cancel(reason=board.closed)


def _told(keeper: Keeper, asked: Asked) -> Response:
    """What came of a wish for a login."""
    if asked.failed:
        raise _failed(keeper.board, asked)
    session = keeper.board.held.session if keeper.board.held else None
    return _json(
        {
            "account": keeper.account.name,
            "outcome": "otp_needed" if keeper.waits_for_otp else "renewed",
            "generation": session.generation if session else None,
            "detail": asked.detail,
        }
    )


def _failed(board: Board, asked: Asked) -> Problem:
    """Why a login that was asked for was not made, or failed."""
    code = _FAILURE.get(asked.failure.kind) if asked.failure else None
    action = asked.failure.action if asked.failure else ""
    try:
        check(board, Wanted())
    except Problem as problem:
        return Problem(
            code or problem.code,
            asked.detail,
            action=problem.action or action,
            retry_after=problem.retry_after,
        )
    # There is a valid session all the same, so nothing is wrong but the wish.
    code = code or _STATE.get(board.standing.state, "broker_unavailable")
    return Problem(code, asked.detail, action=action)


_FAILURE = {
    "rejected": "credentials_rejected",
    "secret_unavailable": "blocked",
    "ledger": "blocked",
    "otp_needed": "otp_needed",
}
_STATE = {
    "credentials_rejected": "credentials_rejected",
    "blocked": "blocked",
    "login_budget": "login_budget",
    "otp_needed": "otp_needed",
}


def _standing(keeper: Keeper) -> dict[str, object]:
    board, account = keeper.board, keeper.account
    standing, valid = board.standing, board.valid()
    session = board.held.session if board.held else None
    failure = standing.last_failure
    rules = account.rules
    used = dict(zip(("per_10min", "per_day"), standing.logins, strict=True))
    allowed = {"per_10min": rules.logins_per_10min, "per_day": rules.logins_per_day}
    return {
        "state": standing.state,
        "valid": valid is not None,
        "since": standing.since,
        "why": standing.why,
        "next": standing.next,
        "kind": session.kind if session else None,
        "generation": session.generation if session else None,
        "expires_at": session.expires_at if session else None,
        "last_failure": failure,
        "budget": {name: {"used": used[name], "allowed": allowed[name]} for name in used},
        "clock_skew": standing.clock_skew,
        "password_expired": session.password_expired if session else None,
        "environment": "sandbox" if account.endpoints.on_loopback() else account.environment,
        "login_url": account.login_url,
        "source_address": account.source_address,
        "proxy": account.proxy is not None,
    }


def refuse_browsers(request: Request) -> None:
    """Raises Problem for what a browser would send for a web page."""
    for name in _BROWSER:
        if name in request.headers:
            raise Problem("forbidden", f"a request with {name} was made by a browser, for a page")
    if not _HOST.fullmatch(request.headers.get("host", "").strip()):
        raise Problem("forbidden", "the Host has to be one word, such as neod or localhost")


def _seconds(request: Request, name: str) -> float:
    text = request.query.get(name, "0")
    try:
        seconds = float(text.replace("_", "?"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise Problem("bad_request", f"{name} has to be a number of seconds")
    return seconds


def _whole(request: Request, name: str) -> int | None:
    text = request.query.get(name)
    if not text:  # as a shell has it whose variable is empty yet
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("bad_request", f"{name} has to be a whole number")
    return int(text)


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value) + b"\n")


def _token(session: Session) -> Response:
    headers = (
        ("Neod-Generation", str(session.generation)),
        ("Neod-Expires-At", str(session.expires_at)),
    )
    return Response(200, session.token.encode() + b"\n", "text/plain; charset=utf-8", headers)


# How a session is told, by route: nothing but the session decides about it.
ANSWERS: dict[str, Callable[[Session], Response]] = {"/v1/token": _token, "/v1/session": _json}
