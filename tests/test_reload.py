"""A changed configuration is taken up while neod runs: whole, or not at all."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import config
from neod.account.history import Unblocked
from neod.accounts import goes_on
from neod.config import ConfigError
from neod.ipc.api import Api
from neod.ipc.http1 import Request
from neod.kotak.client import Send
from neod.kotak.evidence import read_evidence
from neod.reload import Reload
from neod.sandbox.broker import Settings
from tests.fakes.asking import answer_of
from tests.fakes.desk import code, post, told
from tests.fakes.kotak import Canned, Hang, Seen
from tests.fakes.world import PASSWORD, SOMEBODY, TOTP, World, account, accounts_of, world_of_totp
from tests.test_watch import watching

HOUR = 3600.0
DAY = Settings(life=8 * HOUR, bearer_life=24 * HOUR)


class Life:
    """A daemon's accounts, and the file that they are in."""

    def __init__(self, *worlds: World) -> None:
        self.worlds = {world.name: world for world in worlds}
        news = worlds[0].board.news
        for world in worlds[1:]:
            world.board.news = world.board.events._news = news
        self.file = {world.name: world.account for world in worlds}
        self.wrong: list[str] = []
        self.server: list[config.Server] = []
        self.accounts = accounts_of(self.worlds, news)
        self.reload = Reload(self._load, self.accounts, self.server.append)
        self.api = Api(self.accounts, 0, news=news, reload=self.reload)

    def _load(self) -> config.Config:
        if self.wrong:
            raise ConfigError(Path("config.toml"), self.wrong)
        return config.Config(accounts=dict(self.file), server=config.Server(max_head=4096))

    def write(self, name: str = "main", /, **changes: object) -> None:
        self.file[name] = account(name, **changes)


@asynccontextmanager
async def living(*worlds: World) -> AsyncIterator[Life]:
    life = Life(*worlds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.accounts.run)
        await trio.sleep(10)
        yield life
        nursery.cancel_scope.cancel()


def token_of(world: World) -> str:
    assert world.board.held
    return world.board.held.session.token


def let_in(world: World, password: str) -> None:
    """Have the broker take another password from now on."""
    broker = world.kotak.broker
    who = msgspec.structs.replace(broker.settings.credentials, password=password)
    broker.settings = msgspec.structs.replace(broker.settings, credentials=who)


async def test_what_did_not_change_is_not_touched(autojump_clock: MockClock) -> None:
    world = World(DAY)
    async with living(world) as life:
        keeper, seen = life.accounts["main"], len(world.kotak.seen)

        assert await life.reload() == "main: unchanged"
        await trio.sleep(HOUR)

        assert life.accounts["main"] is keeper
        assert len(world.kotak.seen) == seen
        assert world.generation == 1


async def test_a_faulty_file_changes_nothing_and_says_what_is_wrong(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        life.write(password="other")
        life.wrong = ["account.main.mpin: is no secret"]

        answer = await post(life.api, "/v1/reload", b"{}")

        assert (code(answer), answer.status) == ("bad_request", 400)
        assert "nothing is changed" in str(told(answer)["detail"])
        assert "account.main.mpin: is no secret" in str(told(answer)["detail"])
        assert told(answer)["action"] == "neod check --config config.toml"
        assert life.accounts["main"].account == world.account
        assert life.server == []
        assert world.board.valid()


async def test_with_a_new_password_the_session_is_served_until_its_login_succeeds(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        let_in(world, "changed")
        life.write(password="changed")
        world.kotak.always = lambda _: Canned(503)

        answer = await post(life.api, "/v1/reload", b"{}")
        assert told(answer) == {"detail": "main: changed; logs in with what is new"}
        await trio.sleep(5 * 60)
        assert world.board.valid()
        assert world.generation == 1

        world.kotak.always = None
        await trio.sleep(5 * 60)
        assert world.generation == 2
        logins = len(world.kotak.logins)
        await trio.sleep(HOUR)
        assert len(world.kotak.logins) == logins


async def test_with_a_new_password_that_is_refused_the_session_is_served_to_its_end(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        life.write(password="wrong")
        await life.reload()
        await trio.sleep(HOUR)

        assert world.board.valid()
        assert world.state == "credentials_rejected"
        assert sum(b"wrong" in seen.body for seen in world.kotak.logins) == 1


async def test_a_change_of_the_secrets_unblocks_by_itself(autojump_clock: MockClock) -> None:
    world = World(DAY, environ={"PASSWORD": "wrong"})
    world.boot(password={"env": "PASSWORD"})
    async with living(world) as life:
        assert world.state == "credentials_rejected"
        assert (await life.reload()) == "main: unchanged"
        await trio.sleep(HOUR)
        assert len(world.kotak.logins) == 1

        assert isinstance(world.environ, dict)
        world.environ["PASSWORD"] = "sandbox-password"
        await life.reload()
        await trio.sleep(10)

        assert world.board.valid()
        assert not any(isinstance(line, Unblocked) for line in world.ledger.lines)


async def test_a_change_of_secrets_that_take_their_time_unblocks_too(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY, environ={"PASSWORD": "wrong"})
    world.boot(password={"env": "PASSWORD"})
    world.ledger.slow_secrets = 5
    async with living(world) as life:
        await trio.sleep(60)
        assert world.state == "credentials_rejected"
        await life.reload()
        await trio.sleep(HOUR)
        assert world.state == "credentials_rejected"
        assert len(world.kotak.logins) == 1

        assert isinstance(world.environ, dict)
        world.environ["PASSWORD"] = "sandbox-password"
        assert await life.reload() == "main: unchanged; its secrets take their time"
        await trio.sleep(60)
        assert world.board.valid()


@pytest.mark.parametrize(("takes", "had"), [(1.5, True), (2.5, False)])
async def test_secrets_are_waited_for_for_two_seconds_and_are_unchanged_once_they_are_there(
    autojump_clock: MockClock, takes: float, *, had: bool
) -> None:
    world = World(DAY)
    async with living(world) as life:
        world.ledger.slow_secrets = takes
        began = trio.current_time()
        said = "main: unchanged" if had else "main: unchanged; its secrets take their time"
        assert await life.reload() == said
        assert trio.current_time() - began == pytest.approx(min(takes, 2))

        world.ledger.slow_secrets = 0
        assert await life.reload() == "main: unchanged"
        assert world.generation == 1


async def test_secrets_that_are_others_are_logged_in_with_though_the_file_is_the_same(
    autojump_clock: MockClock,
) -> None:
    environ = {"PASSWORD": "sandbox-password"}
    world = World(DAY, environ=environ, password={"env": "PASSWORD"})
    async with living(world) as life:
        environ["PASSWORD"] = "changed"
        let_in(world, "changed")

        assert await life.reload() == "main: changed; logs in with what is new"
        await trio.sleep(10)

        assert world.generation == 2


async def test_secrets_that_are_others_are_tried_at_once_though_the_last_were_backed_off(
    autojump_clock: MockClock,
) -> None:
    environ = {"PASSWORD": "of before"}
    world = World(DAY, environ=environ, password={"env": "PASSWORD"})
    world.kotak.always = lambda _: Canned(429, headers={"Retry-After": "600"})
    async with living(world) as life:
        world.kotak.always = None
        environ["PASSWORD"] = "sandbox-password"

        assert await life.reload() == "main: changed"
        await trio.sleep(10)

        assert world.board.valid()


async def test_secrets_that_cannot_be_had_are_no_reason_to_drop_a_session(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        life.write(password={"env": "NOT_THERE"})

        assert await life.reload() == "main: changed; its secrets cannot be had now"
        await trio.sleep(HOUR)

        assert world.board.valid()
        assert world.state == "ok"


async def test_a_bearer_does_not_make_a_session_one_of_the_new_credentials(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=8 * HOUR, bearer_life=2 * HOUR))
    async with living(world) as life:
        await world.keeper.pause(SOMEBODY)
        token = token_of(world)
        life.write(password="changed")
        let_in(world, "changed")
        await life.reload()
        await trio.sleep(2 * HOUR)  # the bearer is renewed, and nobody logs in
        assert (token_of(world), world.generation) == (token, 2)

        life.write(password="changed", hooks={"on_event": ["true"]})
        await life.reload()
        await world.keeper.resume(SOMEBODY)
        await trio.sleep(10)

        assert token_of(world) != token


async def test_a_session_of_another_login_is_still_known_to_be_one_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    world = World(
        Settings(life=8 * HOUR, bearer_life=2 * HOUR),
        environ={"PASSWORD": "sandbox-password"},
        password={"env": "PASSWORD"},
    )
    async with living(world) as life:
        await world.keeper.pause(SOMEBODY)
        life.write(password={"env": "PASSWORD"}, mobile="+919999990000")
        await life.reload()
        await trio.sleep(2 * HOUR)
        assert world.generation == 2

    assert isinstance(world.environ, dict)
    del world.environ["PASSWORD"]  # so that only the login tells
    world.boot(password={"env": "PASSWORD"}, mobile="+919999990000")
    await world.run_for(10)
    assert world.board.valid()
    assert world.state == "paused"  # and not ok: a login is wanted


async def test_another_address_is_logged_in_from_though_a_reload_follows(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        await world.keeper.pause(SOMEBODY)
        life.write(source_address="127.0.0.2")
        await life.reload()
        life.write(source_address="127.0.0.2", hooks={"on_event": ["true"]})
        await life.reload()
        await world.keeper.resume(SOMEBODY)
        await trio.sleep(10)
        assert world.generation == 2

        await world.keeper.pause(SOMEBODY)
        life.write()
        await life.reload()
        life.write(source_address="127.0.0.2")
        await life.reload()  # as it was when the session was got
        await world.keeper.resume(SOMEBODY)
        await trio.sleep(10)
        assert world.generation == 2


async def test_rules_are_taken_up_without_a_login(autojump_clock: MockClock) -> None:
    world = World(DAY)
    async with living(world) as life:
        held = world.board.held
        assert held
        life.write(renewal={"margin": "1min"})

        assert await life.reload() == "main: changed"
        await trio.sleep(1)

        assert world.generation == 1
        due = world.board.standing.next
        assert due
        assert 60 <= held.session.expires_at - due <= 75

        world.kotak.always = lambda _: Hang()
        async with trio.open_nursery() as nursery:
            watcher = await watching(nursery, life.api)
            await trio.sleep(8 * HOUR)
            nursery.cancel_scope.cancel()
        at = watcher.last("expiring")["at"]
        assert at == pytest.approx(held.session.expires_at - 60, abs=1.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"flow": "totp", "ucc": "OTHER", "access_token": "a", "totp_secret": "A" * 32}
        | {"mpin": "123456", "password": None, "consumer_key": None, "consumer_secret": None},
        {"mpin": "123456"},
        {"environment": "uat"},
    ],
    ids=["ucc and flow", "second factor", "environment"],
)
async def test_anothers_session_is_dropped_at_once(
    autojump_clock: MockClock, changes: dict[str, object]
) -> None:
    world = World(DAY)
    async with living(world) as life, trio.open_nursery() as nursery:
        watcher = await watching(nursery, life.api)
        board, keeper = world.board, life.accounts["main"]
        world.kotak.always = lambda _: Hang()
        life.write(**changes)

        async with trio.open_nursery() as reloading:
            reloading.start_soon(life.reload)
            await wait_all_tasks_blocked()

        assert life.accounts["main"] is not keeper
        assert board.valid() is None
        assert (await answer_of(life.api, _get("/v1/token"))).status == 503
        assert watcher.events == ["session", "expired", "state"]
        assert world.store.kept is None
        nursery.cancel_scope.cancel()


async def test_an_account_that_is_taken_out_is_gone_with_its_session(
    autojump_clock: MockClock,
) -> None:
    first, second = World(DAY), World(DAY, name="second")
    async with living(first, second) as life, trio.open_nursery() as nursery:
        of_all = await watching(nursery, life.api)
        of_it = await watching(nursery, life.api, "?account=second")
        answers: list[object] = []

        async def wait() -> None:
            found = await answer_of(
                life.api, _get("/v1/token", account="second", after="1", wait="300")
            )
            answers.append(code(found))

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        del life.file["second"]

        assert await life.reload() == "main: unchanged; second: taken out of the configuration"
        await wait_all_tasks_blocked()

        assert answers == ["shutting_down"]
        assert (
            code(await answer_of(life.api, _get("/v1/token", account="second")))
            == "unknown_account"
        )
        assert second.store.kept is None
        assert of_it.events == ["session", "expired", "bye"]
        assert of_it.ended
        assert [line["event"] for line in of_all.lines if line["account"] == "second"] == [
            "session",
            "expired",
        ]
        assert not of_all.ended
        seen = len(second.kotak.seen)
        await trio.sleep(24 * HOUR)
        assert len(second.kotak.seen) == seen
        nursery.cancel_scope.cancel()


async def test_an_account_that_is_new_logs_in_and_is_watched(autojump_clock: MockClock) -> None:
    async with living(World(DAY)) as life, trio.open_nursery() as nursery:
        watcher = await watching(nursery, life.api)
        life.write("second")

        assert await life.reload() == "main: unchanged; second: new"
        await trio.sleep(10)

        assert life.accounts["second"].board.valid()
        assert [line["event"] for line in watcher.lines if line["account"] == "second"] == [
            "state",
            "session",
        ]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("out", [True, False], ids=["taken out", "another login"])
async def test_a_reload_whose_client_goes_is_made_all_the_same(
    autojump_clock: MockClock, *, out: bool
) -> None:
    world = World(DAY)
    async with living(world) as life:
        if out:
            del life.file["main"]
        else:
            life.write(environment="uat")
        keeper = life.accounts["main"]
        async with trio.open_nursery() as client:
            client.start_soon(life.reload)
            while life.accounts.get("main") is keeper:  # noqa: ASYNC110 - a step at a time
                await trio.lowlevel.checkpoint()
            client.cancel_scope.cancel()
        await trio.sleep(10)

        assert len(life.server) == 1
        assert ("main" in life.accounts) is not out
        if out:
            assert world.store.kept is None
        else:
            assert life.accounts["main"].board.valid()


async def test_the_broker_is_reached_as_the_account_has_it_by_now(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    asked_as: list[str | None] = []
    connect = world.keeper._connect

    def as_it_is(account: config.Account) -> AbstractAsyncContextManager[Send]:
        asked_as.append(account.source_address)
        return connect(account)

    world.keeper._connect = as_it_is
    async with living(world) as life:
        life.write(source_address="127.0.0.2")
        await life.reload()
        await trio.sleep(60)
        await world.keeper.renew(SOMEBODY)

    assert (asked_as[0], asked_as[-1]) == (None, "127.0.0.2")


async def test_a_bearer_makes_no_session_one_of_the_new_credentials(
    autojump_clock: MockClock,
) -> None:
    world = World(Settings(life=24 * HOUR, bearer_life=HOUR), environ={"PASSWORD": PASSWORD})
    world.boot(password={"env": "PASSWORD"})
    async with living(world) as life:
        world.kotak.always = lambda seen: Canned(503) if "validate" in seen.path else None
        assert isinstance(world.environ, dict)
        world.environ["PASSWORD"] = "new"
        let_in(world, "new")
        await life.reload()
        await trio.sleep(2 * HOUR)
        assert world.generation > 1  # by its bearer
        world.kotak.always = None
        before = len(world.kotak.logins)
        await trio.sleep(15 * 60)

        assert len(world.kotak.logins) == before + 1
        assert world.state == "ok"


async def test_what_another_logins_session_was_rejected_for_holds_up_no_first_login(
    autojump_clock: MockClock,
) -> None:
    world = world_of_totp(DAY)
    async with living(world) as life:
        for _ in range(2):
            await trio.sleep(120)
            world.kotak.broker.kill()
            await world.keeper.reject(world.generation, read_evidence(100022), SOMEBODY)
        assert "contended" in world.board.standing.why

        life.write(**{**TOTP, "ucc": "OTHER"})
        assert "another login by now" in await life.reload()
        before = len(world.kotak.seen)
        await trio.sleep(60)

        assert len(world.kotak.seen) > before
        assert world.state == "credentials_rejected"  # the sandbox knows no such client


async def test_who_waits_for_a_login_of_an_account_that_is_taken_out_is_told(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    async with living(world) as life:
        world.kotak.always = lambda _: Hang()
        answers: list[tuple[object, float]] = []

        async def ask(route: str, body: bytes) -> None:
            answer = told(await post(life.api, route, body))
            answers.append((answer.get("outcome", answer.get("code")), trio.current_time()))

        async with trio.open_nursery() as nursery:
            await trio.sleep(120)  # or it is too young to be rejected
            nursery.start_soon(ask, "/v1/renew", b"{}")
            await trio.sleep(1)
            nursery.start_soon(ask, "/v1/reject", b'{"generation": 1}')
            nursery.start_soon(world.keeper.renew, SOMEBODY)  # as a signal does
            await trio.sleep(1)
            del life.file["main"]
            await life.reload()
            ended = trio.current_time()

        assert answers == [("shutting_down", ended)] * 2


async def test_a_reload_of_other_things_does_not_cut_short_what_the_broker_asked_for(
    autojump_clock: MockClock,
) -> None:
    world = World(DAY)
    world.kotak.always = lambda _: Canned(429, headers={"Retry-After": "600"})
    async with living(world) as life:
        seen = len(world.kotak.seen)
        life.write(hooks={"on_event": ["true"]})
        assert await life.reload() == "main: changed"
        await trio.sleep(300)
        assert len(world.kotak.seen) == seen

        life.write(hooks={"on_event": ["true"]}, source_address="127.0.0.2")
        await life.reload()
        await trio.sleep(10)
        assert len(world.kotak.seen) > seen


async def test_a_reload_waits_for_no_login_that_hangs(autojump_clock: MockClock) -> None:
    world = World(DAY)
    world.kotak.always = lambda _: Hang()
    async with living(world) as life:
        life.write(password="changed")
        let_in(world, "changed")
        asked = trio.Event()

        def hang(_: Seen) -> Hang:
            asked.set()
            return Hang()

        world.kotak.always = hang
        await asked.wait()
        began = trio.current_time()

        what = await life.reload()

        assert trio.current_time() - began == pytest.approx(3)
        assert what == "main: taken up when the login that is under way has ended"
        world.kotak.always = None
        await trio.sleep(3 * 60)
        assert world.board.valid()


async def test_reloads_at_once_are_made_one_after_another(autojump_clock: MockClock) -> None:
    world = World(DAY)
    async with living(world) as life:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(life.reload)

        assert len(life.server) == 10
        assert world.generation == 1


def test_only_whose_it_is_and_where_it_is_good_decide_whether_a_session_goes_on() -> None:
    usual = account()
    for goes, changes in (
        (True, {"password": "other"}),
        (True, {"mobile": "+919999990000"}),
        (True, {"source_address": "127.0.0.2"}),
        (True, {"renewal": {"margin": "1min"}}),
        (False, {"environment": "uat"}),
        (False, {"second_factor": "otp"}),
    ):
        assert goes_on(usual, account(**changes)) is goes, changes


def _get(path: str, **query: str) -> Request:
    return Request("GET", path, query, {}, 0, keep_alive=True)
