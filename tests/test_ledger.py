"""Ledgers on a real disk, and what becomes of damaged ones."""

import errno
import json
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from neod.account import policy
from neod.account.edge import DAY, Edge
from neod.account.history import (
    ANY_SECRETS,
    Attempt,
    Carried,
    EdgeKnown,
    History,
    Line,
    Outcome,
    Published,
    Stamp,
    Suspect,
    Unblocked,
)
from neod.account.ledger import LINES_KEPT, LINES_MAX, FileLedger, open_ledger
from neod.clock import rfc3339
from tests.fakes.clock import START, FrozenClock
from tests.fakes.disk import disk_full
from tests.test_history import LINES, fold

CLOCK = FrozenClock().clock
HEADER = b'{"ledger":1,"account":"main","salt":"0123456789abcdef"}\n'
STAMP: Stamp = {"at": START, "time": rfc3339(START)}
LATER = b'{"event":"mothballed","at":1,"time":"","until":{"of":[1,2]}}\n'


def attempt(number: int = 1) -> Attempt:
    return Attempt(id=number, step="login", secrets="a", why="test", **STAMP)


def outcome(number: int = 1, result: str = "rejected") -> Outcome:
    return Outcome(id=number, result=result, **STAMP)


def published(generation: int = 7) -> Published:
    return Published(generation=generation, expires_at=0, **STAMP)


UNBLOCKED = Unblocked(**STAMP)
EDGE = EdgeKnown(edge=Edge(at=START, every=DAY), **STAMP)


def encoded(lines: list[Line]) -> list[bytes]:
    return [msgspec.json.encode(line) + b"\n" for line in lines]


def begin(path: Path, *lines: bytes) -> None:
    """Write a file of these lines, and its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(lines))


def content(path: Path) -> bytes:
    return path.read_bytes()


def reopened(path: Path) -> FileLedger:
    """Opened, and nothing was wrong with it."""
    ledger, damage = open_ledger(path, "main", CLOCK)
    assert damage == ""
    return ledger


def assert_set_aside(path: Path, whole: bytes) -> None:
    """Opening keeps the file elsewhere, and starts as if the secrets had just been refused."""
    ledger, damage = open_ledger(path, "main", CLOCK)
    [aside] = path.parent.glob("main.ledger.damaged-*")
    assert aside.read_bytes() == whole
    assert aside.name in damage
    suspect = ledger.history.suspect("whatever the secrets are")
    assert ledger.history.suspects == (suspect,)
    assert (suspect.secrets, suspect.refusals, suspect.refused_at) == (ANY_SECRETS, 1, START)
    assert "damaged" in suspect.detail
    decision = policy.decide(START, None, ledger.history, "a", None, policy.Rules(), 0.5)
    assert (decision.do, decision.state) == ("wait", "credentials_rejected")
    assert reopened(path).history == ledger.history


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "neod" / "main.ledger"


@pytest.fixture
def written(path: Path) -> Path:
    """A ledger of an attempt, its outcome, and a line of a later version."""
    begin(path, HEADER, *encoded([attempt(), outcome()]), LATER)
    return path


Fresh = Callable[[], Path]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A path for each example of a property."""
    folder = tmp_path_factory.mktemp("ledgers")
    numbers = count()

    def make() -> Path:
        made = folder / str(next(numbers))
        made.mkdir()
        return made / "main.ledger"

    return make


# Writing


def test_nothing_of_what_a_killed_write_left_is_in_a_new_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("main.ledger.new").write_bytes(b"garbage\n" * 1000)
    reopened(path)
    assert reopened(path).lines == []


def test_a_new_ledger_is_a_private_file_in_a_private_folder(path: Path) -> None:
    ledger = reopened(path)
    assert ledger.history == History()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["main.ledger"]


async def test_a_line_is_json_on_the_disk_when_append_returns(path: Path) -> None:
    ledger = reopened(path)
    await ledger.append(attempt())
    header, line = map(json.loads, content(path).splitlines())
    assert (header["ledger"], header["account"]) == (1, "main")
    assert line == {"event": "attempt", "id": 1, "step": "login", "secrets": "a", "why": "test"} | {
        "at": START,
        "time": "2023-11-15T03:43:20+05:30",
    }
    assert content(path).endswith(b"\n")


async def test_the_history_is_that_of_the_lines_after_each_of_them(path: Path) -> None:
    ledger = reopened(path)
    lines: list[Line] = [attempt(), outcome(), UNBLOCKED, attempt(2)]
    for number, line in enumerate(lines, 1):
        await ledger.append(line)
        assert ledger.history == fold(lines[:number]) == reopened(path).history


@settings(max_examples=30)
@given(lines=st.lists(LINES, max_size=8))
async def test_whatever_was_appended_is_there_after_a_restart(
    fresh: Fresh, lines: list[Line]
) -> None:
    path = fresh()
    ledger = reopened(path)
    for line in lines:
        await ledger.append(line)
    assert reopened(path).history == ledger.history == fold(lines)


async def test_lines_from_many_tasks_do_not_mix(path: Path) -> None:
    ledger = reopened(path)
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ledger.append, attempt(number))
            nursery.start_soon(ledger.append, outcome(number))
    assert len(content(path).splitlines()) == 101
    assert reopened(path).history == ledger.history


async def test_five_at_once_keep_their_order_and_lose_nothing(path: Path) -> None:
    ledger = reopened(path)
    lines: list[Line] = [attempt(), outcome(), published(), EDGE, UNBLOCKED]
    asked: list[Line] = []
    done: list[Line] = []

    async def append(line: Line) -> None:
        asked.append(line)
        await ledger.append(line)
        assert len(asked) == len(lines)  # they were at once
        assert encoded([line])[0] in content(path)
        done.append(line)

    async with trio.open_nursery() as nursery:
        for line in lines:
            nursery.start_soon(append, line)
    assert len(asked) == 5
    assert all(line in asked for line in lines)
    assert done == asked
    assert content(path).splitlines(keepends=True)[1:] == encoded(asked)
    assert reopened(path).history == ledger.history == fold(asked)


async def test_an_attempt_that_was_cancelled_is_nowhere(path: Path) -> None:
    ledger = reopened(path)
    before = content(path)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ledger.append(attempt())
    assert ledger.history == History()
    assert content(path) == before


async def test_a_line_that_is_cancelled_when_it_has_its_turn_is_on_the_disk(path: Path) -> None:
    ledger = reopened(path)
    scopes: list[trio.CancelScope] = []

    async def append(line: Line) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await ledger.append(line)
            for each in scopes:  # the other one has been given its turn by now
                each.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, published())
        nursery.start_soon(append, EDGE)

    assert len(ledger.lines) == 2
    assert content(path).splitlines(keepends=True)[1:] == encoded(list(ledger.lines))


# A disk that is full


async def test_a_ledger_of_a_full_disk_is_begun_with_its_first_line(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    (path.parent / "something").touch()
    with disk_full(path.parent / "something"):
        ledger, why = open_ledger(path, "main", CLOCK)
        assert "cannot be begun yet" in why
        with pytest.raises(OSError, match=r"space|large"):
            await ledger.append(attempt())
    assert ledger.history == fold([])

    await ledger.append(attempt())
    await ledger.append(outcome())

    assert reopened(path).history == ledger.history == fold([attempt(), outcome()])
    assert await reopened(path).fingerprint(["a"]) == await ledger.fingerprint(["a"])


AHEAD = pytest.mark.parametrize(
    "line", [pytest.param(attempt(2), id="attempt"), pytest.param(UNBLOCKED, id="unblocked")]
)


@AHEAD
@pytest.mark.parametrize("room", [0, 10])
async def test_an_attempt_or_a_pardon_that_cannot_be_written_is_not_added(
    written: Path, room: int, line: Line
) -> None:
    ledger = reopened(written)
    before, whole = ledger.history, content(written)
    with disk_full(written, room), pytest.raises(OSError, match=r"space|large"):
        await ledger.append(line)
    assert ledger.history == before
    assert not ledger.history.pardoned
    assert content(written) == whole
    assert reopened(written).history == before
    await ledger.append(line)
    assert content(written) == whole + encoded([line])[0]
    assert reopened(written).history == ledger.history == fold([attempt(), outcome(), line])


@AHEAD
@pytest.mark.parametrize("room", [0, 10])
async def test_an_attempt_or_a_pardon_that_was_not_added_is_not_written_later(
    written: Path, room: int, line: Line
) -> None:
    ledger = reopened(written)
    whole = content(written)
    with disk_full(written, room), pytest.raises(OSError, match=r"space|large"):
        await ledger.append(line)
    await ledger.append(published())
    assert content(written) == whole + encoded([published()])[0]
    assert reopened(written).history == ledger.history == fold([attempt(), outcome(), published()])


@pytest.mark.parametrize("room", [0, 10])
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(attempt(2), id="attempt"),
        pytest.param(UNBLOCKED, id="unblocked"),
        pytest.param(published(8), id="published"),
    ],
)
async def test_what_has_happened_counts_at_once_and_is_written_ahead_of_the_next_line(
    path: Path, room: int, line: Line
) -> None:
    ledger = reopened(path)
    await ledger.append(attempt())
    whole = content(path)
    happened: list[Line] = [outcome(), published(), EDGE]
    with disk_full(path, room):
        for number, each in enumerate(happened, 1):
            with pytest.raises(OSError, match=r"space|large"):
                await ledger.append(each)
            assert ledger.history == fold([attempt(), *happened[:number]])
        for refused in (attempt(2), UNBLOCKED):
            with pytest.raises(OSError, match=r"space|large"):
                await ledger.append(refused)
    assert ledger.history == fold([attempt(), *happened])
    assert ledger.history.suspect("a") == Suspect("a", refusals=1, refused_at=START)
    assert ledger.history.generation == 7
    assert content(path) == whole
    await ledger.append(line)
    assert content(path) == whole + b"".join(encoded([*happened, line]))
    assert reopened(path).history == ledger.history == fold([attempt(), *happened, line])


async def test_what_was_not_written_is_when_it_catches_up(path: Path) -> None:
    ledger = reopened(path)
    await ledger.append(attempt())
    with disk_full(path):
        with pytest.raises(OSError, match=r"space|large"):
            await ledger.append(outcome())
        with pytest.raises(OSError, match=r"space|large"):
            await ledger.catch_up()

    await ledger.catch_up()
    await ledger.catch_up()  # once is enough

    assert reopened(path).lines == [attempt(), outcome()]


async def test_what_is_owed_is_written_though_who_catches_up_is_cancelled_at_its_turn(
    path: Path,
) -> None:
    ledger = reopened(path)
    with disk_full(path), pytest.raises(OSError, match=r"space|large"):
        await ledger.append(outcome())
    scope = trio.CancelScope()

    async def catch_up() -> None:
        with scope:
            await ledger.catch_up()

    async with trio.open_nursery() as nursery:
        await ledger._writing.acquire()
        nursery.start_soon(catch_up)
        await trio.testing.wait_all_tasks_blocked()
        ledger._writing.release()
        scope.cancel()

    assert reopened(path).lines == [outcome()]


async def test_an_attempt_is_added_unless_append_raises_even_if_shortening_fails(
    path: Path,
) -> None:
    begin(path, HEADER, *encoded([attempt(), outcome()]) * (LINES_MAX // 2))
    ledger = reopened(path)
    path.with_name("main.ledger.new").mkdir()  # so that the file cannot be shortened
    try:
        await ledger.append(attempt(2))
        added = True
    except OSError:
        added = False
    assert (ledger.history.pending is not None) == added
    assert (reopened(path).history.pending is not None) == added


# Shortening


@settings(max_examples=8)
@given(lines=st.lists(LINES, min_size=1, max_size=40), last=LINES)
async def test_shortening_the_file_keeps_its_history(
    fresh: Fresh, lines: list[Line], last: Line
) -> None:
    many = (lines * LINES_MAX)[:LINES_MAX]
    path = fresh()
    begin(path, HEADER, *encoded(many))
    ledger = reopened(path)
    await ledger.append(last)
    header, carried, *kept = content(path).splitlines(keepends=True)
    assert header == HEADER
    assert msgspec.json.decode(carried, type=Carried).history == fold(many[: -LINES_KEPT + 1])
    assert kept == encoded([*many, last])[-LINES_KEPT:]
    assert reopened(path).history == ledger.history == fold([*many, last])


def begun(path: Path) -> FileLedger:
    return reopened(path)


def begun_with_room(path: Path) -> FileLedger:
    path.parent.mkdir(mode=0o700)
    (path.parent / "something").touch()
    with disk_full(path.parent / "something"):
        ledger, why = open_ledger(path, "main", CLOCK)
    assert "cannot be begun yet" in why
    return ledger


def begun_after_damage(path: Path) -> FileLedger:
    begin(path, HEADER, b"garbage\n")
    ledger, why = open_ledger(path, "main", CLOCK)
    assert "damaged" in why
    return ledger


@pytest.mark.parametrize("new", [begun, begun_with_room, begun_after_damage])
async def test_a_new_file_is_shortened_as_one_that_was_there_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, new: Callable[[Path], FileLedger]
) -> None:
    monkeypatch.setattr("neod.account.ledger.LINES_MAX", 4)
    monkeypatch.setattr("neod.account.ledger.LINES_KEPT", 2)
    ledger = new(path)
    for number in range(len(ledger.lines), 5):
        await ledger.append(attempt(number))
    assert len(content(path).splitlines()) == 1 + 1 + 2
    assert reopened(path).history == ledger.history


async def test_a_file_is_shortened_only_when_it_is_long_and_goes_on_after(path: Path) -> None:
    begin(path, HEADER, *encoded([outcome()]) * (LINES_MAX - 1))
    ledger = reopened(path)
    counts = []
    for number in range(4):
        await ledger.append(attempt(number))
        counts.append(len(content(path).splitlines()) - 1)
    assert counts == [LINES_MAX, LINES_KEPT + 1, LINES_KEPT + 2, LINES_KEPT + 3]
    assert reopened(path).history == ledger.history
    assert [entry.name for entry in path.parent.iterdir()] == ["main.ledger"]


# Reading what a crash left


@settings(max_examples=30)
@given(lines=st.lists(LINES, max_size=6), data=st.data())
def test_a_file_cut_anywhere_after_its_first_line_is_read_up_to_its_last_whole_line(
    fresh: Fresh, lines: list[Line], data: st.DataObject
) -> None:
    whole = b"".join(encoded(lines))
    left = whole[: data.draw(st.integers(0, len(whole)))]
    survivors = lines[: left.count(b"\n")]
    path = fresh()
    begin(path, HEADER, left)
    assert reopened(path).history == fold(survivors)
    assert content(path) == b"".join([HEADER, *encoded(survivors)])


async def test_a_line_after_a_torn_one_stands_on_its_own(written: Path) -> None:
    begin(written, content(written) + encoded([attempt(2)])[0][:-9])
    ledger = reopened(written)
    await ledger.append(attempt(2))
    assert reopened(written).history == ledger.history == fold([attempt(), outcome(), attempt(2)])


def test_a_torn_line_may_be_anything(written: Path) -> None:
    history = reopened(written).history
    begin(written, content(written) + bytes(4096))
    assert reopened(written).history == history


# Damage


@settings(max_examples=30)
@given(
    lines=st.lists(LINES, max_size=4),
    garbage=st.binary(min_size=1, max_size=40).filter(lambda raw: raw.strip() != b""),
    data=st.data(),
)
def test_a_file_with_garbage_in_its_middle_is_set_aside(
    fresh: Fresh, lines: list[Line], garbage: bytes, data: st.DataObject
) -> None:
    good = [HEADER, *encoded(lines)]
    good.insert(data.draw(st.integers(0, len(good))), garbage + b"\n")
    path = fresh()
    begin(path, *good)
    assert_set_aside(path, b"".join(good))


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b"null",
        b'{"event":1,"at":1,"time":""}',
        b'{"event":"attempt","at":1,"time":""}',
        b'{"event":"attempt","at":"1","time":"","id":1,"step":"login","secrets":"a","why":""}',
        b'{"event":"edge","at":1e999,"time":"","edge":null}',
        b'{"event":"outcome","at":1,"time":"","id":1,"result":"rej',
        b'{"at":1,"time":"","event":"zzz"',
        b"\xff\xfe",
        b"\x00" * 100,
        pytest.param(b'{"event":"zzz","x":' + b"[" * 10_000, id="nested too deep"),
        pytest.param(b'{"event":"attempt","x":' + b"[" * 10_000, id="an attempt nested too deep"),
    ],
)
def test_a_line_that_cannot_be_read_sets_the_file_aside(written: Path, line: bytes) -> None:
    whole = content(written) + line + b"\n" + encoded([attempt(2)])[0]
    begin(written, whole)
    assert_set_aside(written, whole)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"ledger":1,"account":"main","salt":"no hex"}\n',
        b'{"ledger":"1","account":"main","salt":""}\n',
        b'{"ledger":1,"account":"other","salt":"00"}\n',
        HEADER[:-1],
        HEADER[:-9] + b"\n",
        pytest.param(b"[" * 20_000 + b"\n", id="deep"),
    ],
)
def test_a_file_without_its_first_line_is_set_aside(path: Path, header: bytes) -> None:
    whole = header + (encoded([attempt()])[0] if header.endswith(b"\n") else b"")
    begin(path, whole)
    assert_set_aside(path, whole)


def test_what_is_said_of_damage_holds_nothing_of_the_file(written: Path) -> None:
    begin(written, content(written) + b'"c4nary"\n')
    _, damage = open_ledger(written, "main", CLOCK)
    assert "line 5 cannot be read" in damage
    assert "c4nary" not in damage


@pytest.mark.parametrize("cause", ["a folder in its place", "no room"])
def test_damage_is_found_again_until_a_new_file_is_written(written: Path, cause: str) -> None:
    whole = content(written) + b"?\n"
    begin(written, whole)
    new = written.with_name("main.ledger.new")
    for _ in range(2):  # two starts in vain
        if cause == "no room":
            with disk_full(written, -len(whole)), pytest.raises(OSError, match=r"space|large"):
                open_ledger(written, "main", CLOCK)
        else:
            new.mkdir()
            with pytest.raises(IsADirectoryError):
                open_ledger(written, "main", CLOCK)
            new.rmdir()
        assert content(written) == whole
    assert_set_aside(written, whole)


def test_each_damage_is_kept(written: Path) -> None:
    wholes = []
    for number in range(3):
        begin(written, content(written) + b"?\n")
        wholes.append(content(written))
        _, damage = open_ledger(written, "main", FrozenClock(START + number).clock)
        assert damage
    asides = sorted(written.parent.glob("main.ledger.damaged-*"))
    assert [content(aside) for aside in asides] == wholes
    assert {entry.name for entry in written.parent.iterdir()} == {
        "main.ledger",
        *(aside.name for aside in asides),
    }


SEVEN = encoded([published(7)])[0]
NINE = encoded([published(9)])[0]
CARRIED_EIGHT = encoded([Carried(history=History(generation=8), **STAMP)])[0]


@pytest.mark.parametrize(
    ("lines", "generation"),
    [
        ([HEADER, b"?\n"], 0),
        ([HEADER, SEVEN, b"?\n"], 7),
        ([HEADER, b"?\n", SEVEN], 7),
        ([HEADER, SEVEN, b"?\n", NINE], 9),
        ([HEADER, CARRIED_EIGHT, b"?\n"], 8),
        ([HEADER, CARRIED_EIGHT, SEVEN, NINE, b"\xff\x00\n", *encoded([attempt()])], 9),
        ([SEVEN], 7),
        ([b"?\n", SEVEN], 7),
        ([HEADER.replace(b"main", b"other"), SEVEN], 7),
        ([HEADER, SEVEN, b"?\n", b'{"event":"publ'], 7),
        ([HEADER, SEVEN, b'{"event":"published","generation":"x"}\n'], 7),
    ],
)
async def test_the_generation_outlives_damage(
    path: Path, lines: list[bytes], generation: int
) -> None:
    begin(path, *lines)
    assert_set_aside(path, b"".join(lines))
    ledger = reopened(path)
    assert ledger.history.generation == generation
    await ledger.append(published(generation + 1))
    assert reopened(path).history.generation == generation + 1


async def test_an_account_with_a_damaged_ledger_can_be_unblocked(written: Path) -> None:
    begin(written, content(written) + b"?\n")
    ledger, _ = open_ledger(written, "main", CLOCK)
    await ledger.append(UNBLOCKED)
    decision = policy.decide(START, None, ledger.history, "a", None, policy.Rules(), 0.5)
    assert decision.do == "login"
    await ledger.append(attempt(1))
    await ledger.append(outcome(1, "accepted"))
    assert reopened(written).history.suspects == ()


def test_a_folder_in_place_of_the_file_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        open_ledger(path, "main", CLOCK)


# Lines of later versions


@settings(max_examples=30)
@given(lines=st.lists(LINES, max_size=6), data=st.data())
def test_lines_of_a_kind_that_a_later_version_writes_are_passed_over(
    fresh: Fresh, lines: list[Line], data: st.DataObject
) -> None:
    all_lines = encoded(lines)
    for position in data.draw(st.lists(st.integers(0, len(lines)), max_size=4)):
        all_lines.insert(position, LATER)
    path = fresh()
    begin(path, HEADER, *all_lines)
    assert reopened(path).history == fold(lines)


def test_fields_that_a_later_version_writes_are_passed_over(written: Path) -> None:
    history = reopened(written).history
    begin(written, content(written).replace(b'"at":', b'"later":{"x":[1]},"at":'))
    assert reopened(written).history == history


@pytest.mark.parametrize("step", ["totp", "mpin", "otp"])
def test_an_attempt_at_a_step_of_a_later_version_does_not_damage_the_ledger(
    written: Path, step: str
) -> None:
    begin(written, content(written).replace(b'"login"', f'"{step}"'.encode()))
    assert reopened(written).history.last_id == 1


async def test_lines_of_a_later_version_are_still_there_after_an_append(written: Path) -> None:
    before = content(written)
    ledger = reopened(written)
    await ledger.append(attempt(2))
    assert content(written) == before + encoded([attempt(2)])[0]


def test_lines_of_a_later_version_outlive_a_torn_line(written: Path) -> None:
    before = content(written)
    begin(written, before + b'{"event":')
    reopened(written)
    assert content(written) == before


# Fingerprints


async def test_a_fingerprint_tells_whether_secrets_changed(path: Path) -> None:
    ledger = reopened(path)
    found = [
        await ledger.fingerprint(texts)
        for texts in (["a", "bc"], ["ab", "c"], ["abc"], ["a", "b", "c"], ["bc", "a"])
    ]
    assert len(set(found)) == len(found)
    assert await ledger.fingerprint(["a", "bc"]) == found[0]
    assert await reopened(path).fingerprint(["a", "bc"]) == found[0]


async def test_a_fingerprint_is_of_no_use_in_another_ledger(tmp_path: Path) -> None:
    one, other = (reopened(tmp_path / name / "main.ledger") for name in "ab")
    assert await one.fingerprint(["a"]) != await other.fingerprint(["a"])


async def test_a_fingerprint_outlives_the_shortening_of_the_file(path: Path) -> None:
    begin(path, HEADER, *encoded([outcome()]) * LINES_MAX)
    ledger = reopened(path)
    before = await ledger.fingerprint(["a"])
    await ledger.append(attempt())
    assert await reopened(path).fingerprint(["a"]) == before


async def test_a_fingerprint_is_the_same_in_every_version(path: Path) -> None:
    begin(path, HEADER)

    # Were it another, each account's secrets would count as changed, and never accepted.
    assert await reopened(path).fingerprint(["a", "bc"]) == "3629de55e1743ac7269def7317234eba"


@pytest.mark.parametrize("after", [b"", LATER])
async def test_a_fingerprint_outlives_damage_to_the_lines(written: Path, after: bytes) -> None:
    before = await reopened(written).fingerprint(["a"])
    begin(written, content(written), b"garbage\n", after)

    ledger, damage = open_ledger(written, "main", CLOCK)

    assert "it is kept as main.ledger.damaged-1" in damage
    assert await ledger.fingerprint(["a"]) == before


# What reaches the disk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What is synced: the name of each file by then, and what is in it."""
    found: list[tuple[str, bytes]] = []
    fsync = os.fsync

    def seen(fd: int) -> None:
        at = Path(f"/proc/self/fd/{fd}").readlink()
        found.append((at.name, b"" if at.is_dir() else at.read_bytes()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", seen)
    return found


async def test_each_line_is_synced_when_append_returns(
    written: Path, synced: list[tuple[str, bytes]]
) -> None:
    ledger = reopened(written)
    for line in (attempt(2), outcome(2)):
        await ledger.append(line)

        assert synced.pop() == (written.name, content(written))
        assert content(written).endswith(encoded([line])[0])
    assert not synced


def test_a_new_file_is_synced_and_so_is_its_name(
    path: Path, synced: list[tuple[str, bytes]]
) -> None:
    reopened(path)

    assert synced == [(f"{path.name}.new", content(path)), (path.parent.name, b"")]


async def test_no_descriptor_is_left_open(written: Path) -> None:
    def open_now() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    ledger = reopened(written)
    await ledger.append(attempt(2))
    before = open_now()
    for number in range(3, 6):
        await ledger.append(attempt(number))
        reopened(written.with_name(f"{number}.ledger"))

    assert open_now() == before


async def test_a_line_that_cannot_be_written_down_is_not_owed(written: Path) -> None:
    ledger = reopened(written)
    with pytest.raises(UnicodeEncodeError):
        await ledger.append(msgspec.structs.replace(outcome(2), detail="\ud800"))

    await ledger.append(outcome(3))

    assert list(ledger.lines) == [attempt(), outcome(), outcome(3)]
    assert reopened(written).history == ledger.history


async def test_a_line_of_which_only_a_part_was_written_means_a_disk_that_is_full(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, whole, write = reopened(written), content(written), os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, line: write(fd, line[:9]))
        with pytest.raises(OSError, match="space") as full:
            await ledger.append(attempt(2))

    assert full.value.errno == errno.ENOSPC
    assert content(written) == whole


@pytest.mark.parametrize(
    ("number", "begins"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EFBIG, True),
        (errno.EIO, False),
        (errno.EROFS, False),
    ],
)
def test_only_a_disk_that_is_full_lets_a_ledger_begin_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, begins: bool
) -> None:
    def failing(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    if begins:
        assert "cannot be begun yet" in open_ledger(path, "main", CLOCK)[1]
        return
    with pytest.raises(OSError, match=os.strerror(number)):
        open_ledger(path, "main", CLOCK)
