"""The session across restarts: files on a real disk, odd ones too, and when not to use one.

Threads write here, so no test has a clock of trio's that jumps, but for those without a file.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import config
from neod.account import store as store_module
from neod.account.session import Board, Held
from neod.account.snapshot import from_login, with_bearer
from neod.account.store import (
    GENERATION_MAX,
    SIZE_MAX,
    FileStore,
    Kept,
    Store,
    boot_id,
    login_of,
    unusable,
    whose_of,
)
from neod.account.token import FAR_FUTURE, read_claims
from neod.clock import rfc3339
from neod.kotak.flows import Bearer, Login
from neod.kotak.replies import SessionReply
from neod.sandbox.broker import Credentials, Settings
from neod.secrets import Secret
from tests.fakes.clock import START, FrozenClock
from tests.fakes.disk import disk_full
from tests.fakes.store import MemoryStore
from tests.fakes.world import World, account
from tests.test_ledger import content
from tests.test_paths import mode, umask
from tests.test_token import token_of

BOOT = "6f2c1f0e-boot"
LIFE = 3600
HOUR = 3600.0
SOMEBODY_ELSE = 65534
WHO = Credentials()
ACCOUNT = account()
CONSUMER = Bearer(token=Secret("canary-bearer"), expires_in=1800.0)
READY = Bearer(token=Secret("canary-access"), ready=True)
CANARIES = ("canary", "eyJ", "X6Nk8", "fingerprint")
ONLY_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
WHATEVER: dict[str, object] = {
    "a list": [1, 2.5, -0.0, 1e300, 2**70, None, True],
    "nested": {"x": {"y": [{"z": 'ü \N{SNOWMAN}\x00\n"\\ \N{PILE OF POO}'}]}},
    "\N{SNOWMAN}": None,
    "": "",
}


def hold(
    time: FrozenClock | None = None,
    *,
    bearer: Bearer = CONSUMER,
    generation: int = 7,
    extra: dict[str, object] | None = None,
    ahead: float | None = None,
    of: config.Account = ACCOUNT,
) -> Held:
    """A session that came just now, and that lives for LIFE."""
    time = time or FrozenClock()
    now = int(time.wall())
    token = token_of({"exp": now + LIFE, "iat": now, "scope": ["View"], "sub": f"{generation}"})
    reply = SessionReply(
        token=token,
        sid="canary-sid",
        base_url="https://canary.example/",
        greeting_name="Cänary",
        extra=WHATEVER if extra is None else extra,
    )
    headers = {
        "Authorization": f"Bearer {bearer.token.reveal()}",
        "Auth": token,
        "Sid": reply.sid,
        "neo-fin-key": ACCOUNT.endpoints.fin_key,
    }
    login = Login(
        kind="view", reply=reply, claims=read_claims(token), bearer=bearer, headers=headers
    )
    sent = time.wall(), time.boot()
    return from_login(of, login, generation, sent=sent, clock=time.clock, ahead=ahead)


def keep(held: Held | None = None, *, of: config.Account = ACCOUNT) -> Kept:
    return Kept(held=held or hold(), secrets="fingerprint", login=login_of(of), whose=whose_of(of))


def numbered(generation: int) -> Kept:
    return keep(hold(generation=generation))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "neod" / "main.session"


@pytest.fixture
def store(path: Path) -> FileStore:
    return FileStore(path, BOOT)


@pytest.fixture
def saved(path: Path) -> Path:
    """The path of a file that can be loaded."""
    begin(path, store_module._encode(keep(), BOOT))
    return path


def begin(path: Path, raw: bytes) -> None:
    """Write a private file of this content, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o600)
    path.write_bytes(raw)


def load(path: Path, boot: str = BOOT) -> Kept | None:
    """What a new process finds; nothing was odd about it."""
    store = FileStore(path, boot)
    kept = store.load()
    assert store.oddity == ""
    return kept


def oddity(path: Path, boot: str = BOOT) -> str:
    """Why nothing is found there, in words that hold nothing of it."""
    store = FileStore(path, boot)
    assert store.load() is None
    assert store.oddity
    assert str(path) in store.oddity
    assert not shown(store.oddity)
    return store.oddity.replace(str(path), "PATH")


def shown(text: str) -> list[str]:
    """The canaries that a text holds."""
    return [canary for canary in CANARIES if canary.lower() in text.lower()]


def entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def saved_as(held: bytes, **more: object) -> bytes:
    """A whole file that holds this, with a digest that is right."""
    head = {"store": 1, "boot": BOOT, "sha256": sha256(held).hexdigest(), **more}
    return json.dumps(head)[:-1].encode() + b',"kept":' + held + b"}\n"


def forge(path: Path, change: Callable[[dict[str, object]], object], **more: object) -> None:
    """Change what a file holds, and the digest with it: a file that was saved like that."""
    kept = json.loads(path.read_bytes())["kept"]
    change(kept)
    begin(path, saved_as(json.dumps(kept).encode(), **more))


class SlowDisk:
    """The first write waits for `release`; others pass it by, if they are let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.begun: list[bytes] = []
        self._replace = store_module._replace
        monkeypatch.setattr(store_module, "_replace", self.replace)

    def replace(self, path: Path, raw: bytes) -> None:
        self.begun.append(raw)
        if len(self.begun) == 1:
            assert self.release.wait(10)
        self._replace(path, raw)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.release.set()


Fresh = Callable[[], Path]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A path for each example of a property."""
    folder = tmp_path_factory.mktemp("sessions")
    numbers = count()
    return lambda: folder / f"{next(numbers)}.session"


# What every store does


@pytest.fixture(params=[MemoryStore, FileStore])
def any_store(request: pytest.FixtureRequest, path: Path) -> Store:
    made: Store = MemoryStore() if request.param is MemoryStore else FileStore(path, BOOT)
    return made


async def test_a_store_gives_what_was_saved_last_until_it_is_dropped(any_store: Store) -> None:
    assert (any_store.load(), any_store.oddity) == (None, "")
    for generation in (1, 2):
        await any_store.save(numbered(generation))
        assert (any_store.load(), any_store.oddity) == (numbered(generation), "")
    for _ in range(2):
        await any_store.drop()
        assert (any_store.load(), any_store.oddity) == (None, "")
    await any_store.save(numbered(3))
    assert any_store.load() == numbered(3)


async def test_what_a_store_was_told_is_done_though_the_caller_is_cancelled(
    any_store: Store,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await any_store.save(keep())
    assert any_store.load() == keep()
    with trio.CancelScope() as scope:
        scope.cancel()
        await any_store.drop()
    assert any_store.load() is None


async def test_a_store_in_memory_can_be_full_and_is_lost_at_a_reboot() -> None:
    store = MemoryStore(numbered(1))
    store.full = True
    with pytest.raises(OSError, match="space"):
        await store.save(numbered(2))
    assert MemoryStore(store.kept).load() == numbered(1)
    store.reboot()
    assert store.load() is None


# Writing


async def test_what_is_kept_is_a_private_file_in_a_private_folder(
    store: FileStore, path: Path
) -> None:
    for mask in (0o000, 0o077):
        with umask(mask):
            await store.save(keep())
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
        assert entries(path) == ["main.session"]


async def test_the_file_is_json_with_a_version(store: FileStore, path: Path) -> None:
    await store.save(keep())
    whole = json.loads(content(path))
    assert content(path).endswith(b"}\n")
    assert whole.keys() == {"store", "boot", "sha256", "kept"}
    assert (whole["store"], whole["boot"]) == (1, BOOT)
    assert whole["kept"].keys() == {"held", "secrets", "login", "whose"}
    assert whole["kept"]["held"]["session"]["token"] == keep().held.session.token


@settings(max_examples=30)
@given(extra=st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=3))
async def test_a_session_comes_back_exactly_whatever_the_broker_added(
    fresh: Fresh, extra: dict[str, object]
) -> None:
    path, kept = fresh(), keep(hold(extra=extra))
    await FileStore(path, BOOT).save(kept)
    assert load(path) == kept
    assert msgspec.json.encode(load(path)) == msgspec.json.encode(kept)


@pytest.mark.parametrize(
    "kept",
    [
        keep(hold(bearer=READY)),
        keep(hold(bearer=Bearer(token=Secret("x")))),
        keep(hold(FrozenClock(START + 1 / 3), ahead=-12.3)),
        keep(msgspec.structs.replace(hold(), stuck=True, bearer_stuck=True)),
    ],
)
async def test_deadlines_come_back_exactly(store: FileStore, path: Path, kept: Kept) -> None:
    await store.save(kept)
    assert load(path) == kept


async def test_a_file_that_a_killed_write_left_does_not_stop_the_next_one(
    store: FileStore, path: Path, tmp_path: Path
) -> None:
    new, elsewhere = path.with_name("main.session.new"), tmp_path / "elsewhere"
    await store.save(numbered(1))
    begin(new, b'{"store":1,"bo')
    new.chmod(0o644)
    assert load(path) == numbered(1)
    await store.save(numbered(2))
    assert load(path) == numbered(2)
    assert mode(path) == 0o600

    begin(elsewhere, b"as it was")
    new.symlink_to(elsewhere)
    await store.save(numbered(3))
    assert load(path) == numbered(3)
    assert content(elsewhere) == b"as it was"
    assert entries(path) == ["main.session"]


async def test_dropping_takes_away_what_a_killed_write_left(saved: Path, store: FileStore) -> None:
    begin(saved.with_name("main.session.new"), content(saved))
    await store.drop()
    assert entries(saved) == []


@pytest.mark.parametrize("room", [0, 10, 1000])
async def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    saved: Path, store: FileStore, room: int
) -> None:
    whole = content(saved)
    with disk_full(saved, room - len(whole)), pytest.raises(OSError, match=r"space|large"):
        await store.save(numbered(8))
    assert content(saved) == whole
    assert entries(saved) == ["main.session"]
    await store.save(numbered(8))
    assert load(saved) == numbered(8)


def nested(depth: int) -> dict[str, object]:
    inner: dict[str, object] = {}
    for _ in range(depth):
        inner = {"x": inner}
    return inner


@pytest.mark.parametrize(
    "extra", [{"x": "canary" * SIZE_MAX}, nested(50_000)], ids=["long", "nested"]
)
async def test_what_could_not_be_loaded_again_is_not_saved(
    saved: Path, store: FileStore, extra: dict[str, object]
) -> None:
    whole = content(saved)
    with pytest.raises(OSError, match="large") as raised:
        await store.save(keep(hold(extra=extra)))
    assert not shown(str(raised.value))
    assert content(saved) == whole


async def test_what_can_just_be_loaded_again_is_saved(store: FileStore, path: Path) -> None:
    await store.save(keep(hold(extra={"x": ""})))
    most = "x" * (SIZE_MAX - len(content(path)))
    kept = keep(hold(extra={"x": most}))
    await store.save(kept)
    assert len(content(path)) == SIZE_MAX
    assert load(path) == kept


async def test_a_folder_in_the_place_of_a_file_is_an_error_and_is_left_alone(
    path: Path, store: FileStore
) -> None:
    begin(path / "x", b"")
    with pytest.raises(IsADirectoryError):
        await store.save(keep())
    with pytest.raises(OSError, match="directory"):
        await store.drop()
    assert entries(path) == ["main.session"]
    assert entries(path / "x") == ["x"]


def make_link(path: Path, to: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(to)


async def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(
    path: Path, store: FileStore, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    begin(elsewhere, b"as it was")
    make_link(path, elsewhere)
    await store.save(keep())
    assert load(path) == keep()
    assert content(elsewhere) == b"as it was"


@ONLY_ROOT
async def test_a_folder_that_may_not_be_written_is_an_error(saved: Path, store: FileStore) -> None:
    os.seteuid(SOMEBODY_ELSE)
    try:
        with pytest.raises(PermissionError):
            await store.save(numbered(8))
        with pytest.raises(PermissionError):
            await store.drop()
    finally:
        os.seteuid(0)
    assert load(saved) == keep()


# Several at once


async def test_a_later_save_is_not_overtaken_by_an_earlier_one(
    store: FileStore, path: Path, slow_disk: SlowDisk
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.save, numbered(1))
        await wait_all_tasks_blocked()
        nursery.start_soon(store.save, numbered(2))
        await wait_all_tasks_blocked(0.01)
        assert len(slow_disk.begun) <= 1  # its thread may be late
        slow_disk.release.set()
    assert load(path) == numbered(2)


async def test_a_session_that_is_dropped_while_it_is_saved_stays_dropped(
    store: FileStore, path: Path, slow_disk: SlowDisk
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.save, numbered(1))
        await wait_all_tasks_blocked()
        nursery.start_soon(store.drop)
        await wait_all_tasks_blocked(0.01)
        slow_disk.release.set()
    assert load(path) is None
    assert entries(path) == []


async def test_a_save_is_not_abandoned_half_way(
    store: FileStore, path: Path, slow_disk: SlowDisk
) -> None:
    async with trio.open_nursery() as nursery:
        for generation in (1, 2):  # one is being written, the other waits for its turn
            nursery.start_soon(store.save, numbered(generation))
            await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        slow_disk.release.set()
    assert load(path) == numbered(2)


async def test_many_saves_at_once_leave_the_last_one_whole(store: FileStore, path: Path) -> None:
    asked: list[int] = []

    async def save(generation: int) -> None:
        asked.append(generation)
        await store.save(numbered(generation))
        found = load(path)
        assert found
        assert found.held.session.generation in asked

    async with trio.open_nursery() as nursery:
        for generation in range(1, 21):
            nursery.start_soon(save, generation)
    assert load(path) == numbered(asked[-1])
    assert entries(path) == ["main.session"]


# Reading what should not be there


def test_a_file_that_is_not_there_is_not_odd(path: Path) -> None:
    assert load(path) is None
    path.parent.mkdir()
    assert load(path) is None


def test_what_was_odd_is_forgotten_once_it_is_right(saved: Path) -> None:
    store = FileStore(saved, BOOT)
    saved.chmod(0o644)
    assert store.load() is None
    assert store.oddity
    saved.chmod(0o600)
    assert store.load() == keep()
    assert store.oddity == ""


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777])
def test_a_file_that_others_may_use_is_not_used(saved: Path, bits: int) -> None:
    saved.chmod(bits)
    assert oddity(saved) == f"PATH is not used: others may use it (mode {bits:04o})"


@ONLY_ROOT
def test_a_file_of_somebody_else_is_not_used(saved: Path) -> None:
    os.chown(saved, SOMEBODY_ELSE, -1)
    assert "it belongs to uid 65534, not to you (uid 0)" in oddity(saved)


@ONLY_ROOT
def test_a_file_that_may_not_be_read_is_odd(saved: Path) -> None:
    os.seteuid(SOMEBODY_ELSE)
    try:
        assert oddity(saved) == "PATH cannot be read: Permission denied"
    finally:
        os.seteuid(0)


def test_a_link_is_not_followed(saved: Path) -> None:
    real = saved.with_name("real")
    saved.rename(real)
    saved.symlink_to(real)
    assert "PATH cannot be read" in oddity(saved)
    real.unlink()
    assert "PATH cannot be read" in oddity(saved)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket"])
def test_what_is_no_file_is_odd_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path, before = Path("main.session"), open_files()
    with umask(0o077), socket.socket(socket.AF_UNIX) as listening:
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            listening.bind(os.fspath(path))
        assert "no regular file" in oddity(path) or "cannot be read" in oddity(path)
    assert open_files() == before


@pytest.mark.parametrize("path", ["/dev/null/x", "/tmp/x\0y", f"/tmp/{'x' * 300}"])
def test_a_path_that_cannot_be_is_odd(path: str) -> None:
    assert oddity(Path(path))


def test_a_file_of_another_boot_is_not_used(saved: Path) -> None:
    assert oddity(saved, "another") == "PATH is not used: it is of another boot"


async def test_nothing_is_loaded_where_the_boot_cannot_be_told(path: Path) -> None:
    await FileStore(path, "").save(keep())
    assert "boot_id does not tell which boot this is" in oddity(path, "")
    assert "of another boot" in oddity(path)


def test_a_boot_has_an_id_if_the_kernel_tells(tmp_path: Path) -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert len(boot_id()) == 36
    assert boot_id(tmp_path / "nowhere") == ""
    assert boot_id(tmp_path) == ""
    (tmp_path / "odd").write_bytes(b"\xff\n")
    assert boot_id(tmp_path / "odd") == ""


@pytest.mark.parametrize("size", [SIZE_MAX + 1, 100 * SIZE_MAX])
def test_a_file_that_is_too_long_is_not_read(saved: Path, size: int) -> None:
    os.truncate(saved, size)
    assert "longer than 262144 bytes" in oddity(saved)


def test_a_file_is_read_up_to_the_limit(saved: Path) -> None:
    begin(saved, saved.read_bytes().ljust(SIZE_MAX))
    assert load(saved) == keep()


@pytest.mark.parametrize("version", [0, 2, -1, 10**30])
def test_a_file_of_another_version_is_not_used(saved: Path, version: int) -> None:
    forge(saved, lambda kept: None, store=version)
    assert "another version of neod wrote it" in oddity(saved)
    begin(saved, b'{"store":%d,"canary":[]}' % version)
    assert "another version of neod wrote it" in oddity(saved)


def test_fields_that_a_later_version_writes_are_passed_over(saved: Path) -> None:
    def change(kept: dict[str, object]) -> None:
        for table in (kept, inner(kept, "held"), inner(kept, "held", "session")):
            table["later"] = {"x": [None, 1]}

    forge(saved, change, later=[1])
    assert b'"later"' in saved.read_bytes()
    assert load(saved) == keep()


def test_a_field_that_is_missing_is_told_from_one_that_has_a_default(saved: Path) -> None:
    forge(saved, lambda kept: inner(kept, "held").pop("stuck"))
    assert load(saved) == keep()
    forge(saved, lambda kept: inner(kept, "held", "session").pop("ucc"))
    assert "holds is no session" in oddity(saved)


def inner(table: dict[str, object], *keys: str) -> dict[str, object]:
    """The table that is in tables."""
    for key in keys:
        found = table[key]
        assert isinstance(found, dict)
        table = found
    return table


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("held", "session", "token"), None),
        (("held", "session", "token"), 1),
        (("held", "session", "kind"), "canary"),
        (("held", "session", "expires_at"), "canary"),
        (("held", "session", "expires_at"), 1.5),
        (("held", "session", "headers"), {"canary": 1}),
        (("held", "session", "headers"), [["canary", "x"]]),
        (("held", "session", "scope"), "canary"),
        (("held", "session", "extra"), None),
        (("held", "session"), []),
        (("held", "token_boot"), None),
        (("held", "token_boot"), "1"),
        (("held", "bearer_renewable"), 1),
        (("held",), "canary"),
        (("secrets",), None),
        (("login",), {"canary": 1}),
    ],
)
def test_values_of_another_type_are_no_session(
    saved: Path, where: tuple[str, ...], value: object
) -> None:
    def change(kept: dict[str, object]) -> None:
        inner(kept, *where[:-1])[where[-1]] = value

    forge(saved, change)
    assert oddity(saved) == "PATH is not used: what it holds is no session"


@pytest.mark.parametrize("generation", [0, -1, GENERATION_MAX, 10**30])
def test_a_generation_that_neod_never_gives_is_not_loaded(saved: Path, generation: int) -> None:
    forge(saved, lambda kept: inner(kept, "held", "session").update(generation=generation))
    assert "generation" in oddity(saved)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b'{"store":"1"}',
        b'{"store":true}',
        b'{"store":1.5}',
        b'{"store":1e999}',
        b'{"store":' + b"1" * 10_000 + b"}",
        b'{"store":1',
        b'\xef\xbb\xbf{"store":1}',
        b'{"store":1,"boot":"\xff"}',
        b'{"store":1,"boot":"\\ud800"}',
        b'{"store":1,"kept":' + b"[" * 100_000,
        b'{"store":1,"later":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b"[" * SIZE_MAX,
        bytes(4096),
        b"eyJ.canary.x",
    ],
)
def test_a_file_that_is_none_of_neods_is_odd(saved: Path, raw: bytes) -> None:
    begin(saved, raw)
    assert "it is no session's" in oddity(saved)


def test_an_extra_of_any_depth_crashes_nothing(path: Path) -> None:
    found = set()
    for depth in (*range(800, 1100), 50_000):  # the limit is Python's and the caller's affair
        held = msgspec.json.encode(keep(hold(extra={"x": "HERE"})))
        begin(path, saved_as(held.replace(b'"HERE"', b"[" * depth + b"]" * depth)))
        store = FileStore(path, BOOT)
        found.add((store.load() is None, store.oddity.removeprefix(f"{path} is not used: ")))
    assert found >= {(False, ""), (True, "it is no session's")}


@settings(max_examples=50)
@given(raw=st.binary(max_size=300))
def test_whatever_the_file_holds_nothing_crashes(fresh: Fresh, raw: bytes) -> None:
    path = fresh()
    begin(path, raw)
    oddity(path)


@settings(max_examples=50)
@given(raw=st.binary(max_size=40), value=JSON)
def test_whatever_is_held_under_a_right_digest_nothing_crashes(
    fresh: Fresh, raw: bytes, value: object
) -> None:
    path = fresh()
    for held in (raw, json.dumps(value).encode()):
        begin(path, saved_as(held))
        oddity(path)


WHOLE = store_module._encode(keep(), BOOT)


@settings(max_examples=150)
@given(data=st.data())
def test_p2_a_damaged_file_never_gives_another_session(fresh: Fresh, data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    start = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "lose", "put", "swap"])):
        case "cut":
            del raw[start:]
        case "flip":
            raw[start] ^= 1 << data.draw(st.integers(0, 7))
        case "lose":
            del raw[start : start + data.draw(st.integers(1, 40))]
        case "put":
            raw[start:start] = data.draw(st.binary(min_size=1, max_size=8))
        case "swap":
            raw[start : start + 8] = raw[start : start + 8][::-1]
    path = fresh()
    begin(path, bytes(raw))
    store = FileStore(path, BOOT)
    assert store.load() in (None, keep())
    assert not shown(store.oddity)


def test_p2_no_single_bit_makes_another_session_of_a_file(saved: Path) -> None:
    for position in range(0, len(WHOLE), 11):
        raw = bytearray(WHOLE)
        raw[position] ^= 1 << position % 8
        saved.write_bytes(raw)
        assert FileStore(saved, BOOT).load() in (None, keep())


def test_p6_what_is_kept_does_not_show_its_secrets() -> None:
    kept = keep()
    for text in (repr(kept), str(kept), f"{kept}", repr([kept]), repr(kept.held)):
        assert not shown(text)
    assert repr(kept) == "Kept(Session(account='main', generation=7, token=***))"


# Whose it is


def test_a_login_is_told_by_who_logs_in_where_and_how() -> None:
    elsewhere = "http://127.0.0.1:2/"
    urls = dict.fromkeys(("session", "api", "login"), "http://127.0.0.1:1/")
    same_session = [
        account(mobile="+919999996709"),
        account(mobile=None, pan="ABCDE1234F"),
        account(mobile=None, user_id="client1"),
        account(source_address="127.0.0.1"),
        msgspec.structs.replace(ACCOUNT, identity=("userId", ACCOUNT.identity[1])),
    ]
    another = [
        account(mpin="123456"),
        account(second_factor="otp"),
        account(environment="uat"),
        *(account(endpoints=urls | {name: elsewhere}) for name in urls),
        msgspec.structs.replace(ACCOUNT, ucc="X"),
        msgspec.structs.replace(ACCOUNT, flow="totp"),
    ]
    everybody = [ACCOUNT, *same_session, *another]
    assert len({login_of(one) for one in everybody}) == len(everybody)
    clock = FrozenClock().clock
    assert all("changed" in unusable(keep(), other, clock) for other in another)
    assert not any(unusable(keep(), other, clock) for other in same_session)


def test_what_an_older_version_kept_is_of_the_login_that_it_was_got_by() -> None:
    kept = msgspec.structs.replace(keep(), whose="")
    assert unusable(kept, ACCOUNT, FrozenClock().clock) == ""
    other = account(mobile="+919999996709")
    assert "changed" in unusable(kept, other, FrozenClock().clock)


def test_a_login_is_the_same_whatever_else_is_configured() -> None:
    for same in (
        account(),
        account(password="another", consumer_key="another"),  # the fingerprint tells
        account(proxy="http://canary:3128"),
        account(renewal={"margin": "1min"}),
    ):
        assert login_of(same) == login_of(ACCOUNT)
        assert unusable(keep(), same, FrozenClock().clock) == ""


def test_a_digest_of_a_login_holds_nothing_of_it() -> None:
    for digest in (login_of(ACCOUNT), whose_of(ACCOUNT)):
        assert len(digest) == 64
        assert "9999996708" not in digest


def test_a_session_of_another_account_is_not_used() -> None:
    other = msgspec.structs.replace(ACCOUNT, name="other")
    assert "another account" in unusable(keep(), other, FrozenClock().clock)


def test_a_view_session_is_not_used_where_a_trade_session_is_wanted() -> None:
    trade = account(mpin="123456")
    held = hold()
    assert "kind" in unusable(keep(held, of=trade), trade, FrozenClock().clock)
    other = msgspec.structs.replace(
        held, session=msgspec.structs.replace(held.session, kind="trade")
    )
    assert "kind" in unusable(keep(other), ACCOUNT, FrozenClock().clock)
    assert unusable(keep(other, of=trade), trade, FrozenClock().clock) == ""


# Whether it lives


def test_p1_p2_a_session_is_usable_to_its_last_second() -> None:
    time = FrozenClock()
    for bearer in (READY, Bearer(token=Secret("x")), Bearer(token=Secret("x"), expires_in=LIFE)):
        time = FrozenClock()
        kept = keep(hold(time, bearer=bearer))
        assert unusable(kept, ACCOUNT, time.clock) == ""
        time.advance(LIFE - 0.001)
        assert unusable(kept, ACCOUNT, time.clock) == ""
        time.advance(0.001)
        assert unusable(kept, ACCOUNT, time.clock) == "it has lapsed"


def test_p1_a_clock_that_was_set_back_withholds_no_session() -> None:
    time = FrozenClock()
    kept = keep(hold(time))
    time.now -= 24 * HOUR
    assert unusable(kept, ACCOUNT, time.clock) == ""


def test_p2_a_clock_that_was_set_back_lengthens_no_life_over_a_restart() -> None:
    time = FrozenClock()
    kept = keep(hold(time))
    time.now -= HOUR
    time.advance(LIFE)
    assert unusable(kept, ACCOUNT, time.clock) == "it has lapsed"


def test_p2_a_clock_that_was_set_forward_makes_it_lapse() -> None:
    time = FrozenClock()
    kept = keep(hold(time))
    time.now += LIFE
    assert unusable(kept, ACCOUNT, time.clock) == "it has lapsed"


def test_p2_a_clock_that_was_behind_the_brokers_is_still_thought_of() -> None:
    time = FrozenClock()
    kept = keep(hold(time, ahead=-602.0))
    assert unusable(kept, ACCOUNT, time.clock) == ""
    time.advance(LIFE - 600.0)
    assert unusable(kept, ACCOUNT, time.clock) == "it has lapsed"


def test_a_session_whose_bearer_alone_ended_is_put_up_for_a_new_one_and_not_served() -> None:
    time = FrozenClock()
    kept = keep(hold(time))
    time.advance(1800)
    assert unusable(kept, ACCOUNT, time.clock) == ""
    board = Board("main", time.clock)
    board.publish(kept.held)
    assert board.valid() is None
    life = board.life()
    assert life
    assert life.alive


def test_p1_a_session_is_usable_to_the_last_second_of_its_ready_access_token() -> None:
    time = FrozenClock()
    ends = Bearer(token=Secret(token_of({"exp": int(START) + 60})), ready=True)
    kept = keep(hold(time, bearer=ends))
    assert unusable(kept, ACCOUNT, time.clock) == ""
    time.advance(59.999)
    assert unusable(kept, ACCOUNT, time.clock) == ""
    time.advance(0.001)
    assert unusable(kept, ACCOUNT, time.clock) == "it has lapsed by its access token"


@settings(max_examples=50)
@given(
    steps=st.lists(
        st.tuples(st.floats(-2 * LIFE, 2 * LIFE), st.floats(0, LIFE / 2)), min_size=1, max_size=4
    ),
    expires_in=st.none() | st.floats(1, 2 * LIFE),
)
def test_p2_what_is_usable_is_what_a_board_would_serve(
    steps: list[tuple[float, float]], expires_in: float | None
) -> None:
    time = FrozenClock()
    kept = keep(hold(time, bearer=Bearer(token=Secret("x"), expires_in=expires_in)))
    for stepped, passed in steps:
        time.now += stepped
        time.advance(passed)
    board = Board("main", time.clock)
    board.publish(kept.held)
    life = board.life()
    assert life
    assert (unusable(kept, ACCOUNT, time.clock) == "") == (kept.held.token_left(time.clock) > 0)
    if board.valid():
        assert unusable(kept, ACCOUNT, time.clock) == ""


# Whether it can be true


SESSION = keep().held.session
NOW = int(START)
END = NOW + LIFE


def times(**moments: int | None) -> dict[str, object]:
    """Fields of a session, each with its twin."""
    twins = {
        f"{name}_rfc3339": None if moment is None else rfc3339(moment)
        for name, moment in moments.items()
    }
    return {**moments, **twins}


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {other: value for other, value in headers.items() if other != name}


ODD: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("text for a header", {"token": ""}, {}),
    ("text for a header", {"token": f"{SESSION.token}\n"}, {}),
    ("text for a header", {"token": f"{SESSION.token}\x1b[2J"}, {}),
    ("text for a header", {"sid": "a b"}, {}),
    ("text for a header", {"sid": "ü"}, {}),
    ("no headers", {"headers": SESSION.headers | {"X": "a\r\nY: b"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X": "\x1b]0;x\x07"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X": "\u202e"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X": "ü"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X: y\nZ": "a"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X:": "a"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"": "a"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"X\n": "a"}}, {}),
    ("no headers", {"headers": SESSION.headers | {"auth": SESSION.token}}, {}),
    ("not the session's", {"headers": {}}, {}),
    ("not the session's", {"headers": without(SESSION.headers, "Authorization")}, {}),
    ("not the session's", {"headers": SESSION.headers | {"Auth": "other"}}, {}),
    ("not the session's", {"headers": SESSION.headers | {"Sid": "other"}}, {}),
    ("not the session's", {"headers": SESSION.headers | {"Authorization": ""}}, {}),
    ("not the session's", {"headers": SESSION.headers | {"Authorization": "Bearer "}}, {}),
    ("not the session's", {"token": token_of({"exp": END})}, {}),
    ("not the session's", {"sid": "other"}, {}),
    ("token says another end", times(token_expires_at=END + 1), {}),
    ("token says another end", times(token_expires_at=END - 1), {}),
    ("access token says another end", {}, {"bearer_renewable": False}),
    ("out of range", {"issued_at": -1}, {}),
    ("out of range", {"issued_at": 10**30}, {}),
    ("out of range", {"expires_at": FAR_FUTURE + 1}, {}),
    ("out of range", {"bearer_expires_at": -(10**30)}, {}),
    ("out of range", {}, {"received_at": -1.0}),
    ("out of range", {}, {"received_at": 1e300}),
    ("out of range", {}, {"received_at": float("nan")}),
    ("out of range", {}, {"token_boot": float("inf")}),
    ("out of range", {}, {"bearer_received_at": -1e300}),
    ("out of range", {}, {"bearer_boot": 1e300}),
    ("as they are written", {"issued_at": NOW - 1}, {}),
    ("as they are written", {"issued_at_rfc3339": "\x1b[2J"}, {}),
    ("as they are written", {"expires_at_rfc3339": rfc3339(END + 1)}, {}),
    ("as they are written", {"token_expires_at_rfc3339": ""}, {}),
    ("as they are written", {"bearer_expires_at_rfc3339": None}, {}),
    ("as they are written", {"bearer_expires_at": None}, {}),
    ("half an end", times(bearer_expires_at=None), {}),
    ("half an end", {}, {"bearer_boot": None}),
    ("not the earliest", times(expires_at=END), {}),
    ("not the earliest", times(expires_at=NOW), {}),
    ("not the earliest", times(bearer_expires_at=END + 1), {}),
    ("further away", {}, {"token_boot": 1000.0 + LIFE + 2}),
    ("further away", {}, {"token_boot": 1e9}),
    ("further away", {}, {"received_at": START + 2}),
    ("further away", {}, {"received_at": START + 2 * LIFE}),
    ("further away", {}, {"bearer_boot": 1000.0 + 1802}),
    ("further away", {}, {"bearer_received_at": START + 2}),
]


@pytest.mark.parametrize(("why", "session", "held"), ODD)
def test_a_session_that_contradicts_itself_is_not_used(
    why: str, session: dict[str, object], held: dict[str, object]
) -> None:
    good = hold()
    odd = msgspec.structs.replace(
        good, session=msgspec.structs.replace(good.session, **session), **held
    )
    found = unusable(keep(odd), ACCOUNT, FrozenClock().clock)
    assert why in found
    assert not shown(found)


def test_a_token_without_an_end_is_not_used() -> None:
    held = hold()
    token = token_of({"iat": NOW})
    headers = held.session.headers | {"Auth": token}
    session = msgspec.structs.replace(held.session, token=token, headers=headers)
    odd = keep(msgspec.structs.replace(held, session=session))
    assert "token says another end" in unusable(odd, ACCOUNT, FrozenClock().clock)


FIELDS: list[tuple[str, ...]] = [
    *(("held", name) for name in Held.__struct_fields__ if name != "session"),
    *(("held", "session", name) for name in SESSION.__struct_fields__),
]
EXTREME = (
    JSON
    | st.sampled_from([0, -1, 2**63, 10**400, 1e308, -1e308, FAR_FUTURE, FAR_FUTURE + 1])
    | st.dictionaries(st.sampled_from([*SESSION.headers, "X"]), st.text(max_size=3))
)


@settings(max_examples=80)
@given(changes=st.lists(st.tuples(st.sampled_from(FIELDS), EXTREME), min_size=1, max_size=3))
def test_whatever_a_session_holds_it_is_judged_and_what_is_served_is_coherent(
    changes: list[tuple[tuple[str, ...], object]],
) -> None:
    table = msgspec.to_builtins(keep())
    for where, value in changes:
        inner(table, *where[:-1])[where[-1]] = value
    try:
        kept = msgspec.json.decode(msgspec.json.encode(table), type=Kept)
    except ValueError:
        return
    clock = FrozenClock().clock
    if unusable(kept, ACCOUNT, clock) == "":
        held, session = kept.held, kept.held.session
        assert (session.token, session.sid) == (SESSION.token, SESSION.sid)
        assert session.token_expires_at == END
        assert session.expires_at <= END
        assert held.left(clock) <= LIFE + 1
        assert "".join(session.headers.values()).isprintable()
        assert rfc3339(session.expires_at) == session.expires_at_rfc3339


# What real logins bring


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mpin": WHO.mpin},
        {"consumer_key": None, "consumer_secret": None, "access_token": WHO.access_token},
        {
            "flow": "totp",
            "ucc": WHO.ucc,
            "access_token": WHO.access_token,
            "totp_secret": WHO.totp_secret,
            "mpin": WHO.mpin,
            **dict.fromkeys(("password", "consumer_key", "consumer_secret")),
        },
    ],
    ids=["consumer", "mpin", "access token", "totp"],
)
async def test_p1_whatever_a_login_brings_is_usable_as_long_as_it_is_valid(
    autojump_clock: MockClock, changes: dict[str, object]
) -> None:
    world = World(Settings(life=HOUR, bearer_life=HOUR / 2))
    world.boot(**changes)
    await world.run_for(10)
    held = world.board.held
    assert held
    kept = keep(held, of=world.account)
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Kept) == kept
    while held.token_left(world.clock) > 0:
        assert unusable(kept, world.account, world.clock) == ""
        await trio.sleep(97)
    assert unusable(kept, world.account, world.clock) == "it has lapsed"


def test_a_session_with_a_new_bearer_is_usable() -> None:
    time = FrozenClock()
    held = hold(time)
    time.advance(1700)
    sent = time.wall(), time.boot()
    time.advance(3)
    held = with_bearer(held, Bearer(token=Secret("new"), expires_in=1e9), 8, sent)
    assert unusable(keep(held), ACCOUNT, time.clock) == ""
