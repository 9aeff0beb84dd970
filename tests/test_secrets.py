"""Secrets: where they are read from, and that they do not slip."""

import copy
import json
import logging
import os
import pickle
import pprint
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from neod import secrets
from neod.child import SAID_MAX
from neod.log import FIELDS, _Lines
from neod.secrets import LIMIT, SIZE_MAX, Secret, SecretUnavailable, Source, exposed
from tests.fakes.keyring_backend import KeyringFolder

CANARY = "c4nary-s3cret"
SECRET = Secret(CANARY)
INLINE = Source("account.main.password", "inline", "", SECRET)
ENVIRON = {"PATH": os.environ["PATH"]}


def in_file(path: Path) -> Source:
    return Source("account.main.password", "file", os.fspath(path))


def command(program: str, *arguments: str) -> Source:
    return Source("a.b", "command", program, arguments=arguments)


def in_keyring(name: str = "neod/main/password") -> Source:
    return Source("a.b", "keyring", name)


def read(source: Source, environ: dict[str, str], hide: tuple[str, ...] = ()) -> Secret:
    return trio.run(partial(secrets.read, source, environ, hide=hide))


def unavailable(source: Source, environ: dict[str, str] | None = None) -> SecretUnavailable:
    return trio.run(told, source, environ or {})


async def told(source: Source, environ: dict[str, str]) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        await secrets.read(source, environ)
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert CANARY not in shown.replace(repr(environ), "")
    assert caught.value.action
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret, as it should be."""
    path = tmp_path / "password"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def keyring(tmp_path: Path) -> KeyringFolder:
    return KeyringFolder(tmp_path)


class Lifeline:
    """A FIFO that programs hold open: it tells when they are up, and when none of them is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def up(self) -> None:
        await trio.lowlevel.wait_readable(self.fd)
        assert os.read(self.fd, 100) == b"up\n"

    async def gone(self) -> None:
        await trio.lowlevel.wait_readable(self.fd)
        assert os.read(self.fd, 100) == b""


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    lifeline = Lifeline(tmp_path / "lifeline")
    yield lifeline
    os.close(lifeline.fd)


# The type


SHOWN: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "f-string": lambda it: f"{it}",
    "f-string's repr": lambda it: f"{it!r}",
    "str.format": "{}".format,
    "%s": "%s".__mod__,
    "%r": "%r".__mod__,
    "pprint": pprint.pformat,
    "an exception": lambda it: str(ValueError(it)),
    "logging": lambda it: logging.LogRecord("neod", 20, "", 0, "%s", (it,), None).getMessage(),
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_shows_as_stars(way: str) -> None:
    assert SHOWN[way](SECRET) == "***"


def test_a_secret_is_padded_as_stars() -> None:
    assert f"{SECRET:>6}" == "   ***"
    assert "%6s" % SECRET == "   ***"  # noqa: UP031 - that is what is tested


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_line_with_a_secret_and_its_traceback_shows_stars(as_json: bool) -> None:  # noqa: FBT001
    try:
        raise ValueError(SECRET, INLINE)
    except ValueError:
        record = logging.LogRecord("neod", 40, "", 0, "failed", (), sys.exc_info())
    setattr(record, FIELDS, {"secret": SECRET, "source": INLINE, "both": [SECRET, INLINE]})
    line = _Lines(as_json=as_json, journal=False).format(record)
    assert "***" in line
    assert "Traceback" in line
    assert CANARY not in line


@pytest.mark.parametrize("spec", ["d", "x", ".2f"])
def test_a_secret_formatted_as_something_else_fails_without_showing(spec: str) -> None:
    with pytest.raises(ValueError, match="code") as caught:
        format(SECRET, spec)
    assert CANARY not in str(caught.value)


def test_a_source_shows_the_place_and_not_the_secret() -> None:
    assert CANARY not in f"{INLINE!r} {INLINE}"
    assert str(INLINE) == "account.main.password"
    assert str(Source("a.b", "env", "PASSWORD")) == "a.b (env PASSWORD)"


def test_a_source_shows_which_program_is_asked_and_not_its_arguments() -> None:
    source = command("sh", "-c", f"echo {CANARY}")
    assert str(source) == "a.b (command sh)"
    assert CANARY not in f"{source!r}"


def test_a_secret_shows_itself_when_asked_by_name() -> None:
    assert SECRET.reveal() == CANARY


@given(st.text(), st.text())
def test_secrets_are_equal_where_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) != one
    assert hash(Secret(one)) == hash(Secret(one))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("what", [SECRET, INLINE, [SECRET]], ids=["secret", "source", "list"])
def test_a_secret_is_not_pickled(what: object, protocol: int) -> None:
    with pytest.raises(TypeError, match="not to be copied out of the process"):
        pickle.dumps(what, protocol)


@pytest.mark.parametrize("out", [copy.copy, copy.deepcopy, vars, msgspec.json.encode, json.dumps])
def test_a_secret_is_not_taken_apart(out: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as caught:
        out(SECRET)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "encode",
    [msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins],
    ids=["json", "msgpack", "builtins"],
)
def test_msgspec_does_not_encode_a_source_with_a_secret(
    encode: Callable[[object], object],
) -> None:
    with pytest.raises(TypeError) as caught:
        encode(INLINE)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("into", [str, int, dict[str, str], Source])
def test_msgspec_does_not_convert_a_secret(into: type) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(SECRET, into)
    assert CANARY not in str(caught.value)


def test_a_traceback_with_its_variables_does_not_show_a_secret() -> None:
    def fail(secret: Secret, source: Source) -> None:
        raise ValueError(f"{secret} of {source}")

    with pytest.raises(ValueError, match="of account") as caught:
        fail(SECRET, INLINE)
    told = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "secret = ***" in told
    assert CANARY not in told


# Reading


def test_an_inline_secret_is_there() -> None:
    assert read(INLINE, {}) == SECRET


def test_a_secret_is_read_from_the_environment_given() -> None:
    assert read(Source("a.b", "env", "PASSWORD"), {"PASSWORD": CANARY}) == SECRET


def test_a_secret_is_read_from_a_file(file: Path) -> None:
    assert read(in_file(file), {}) == SECRET


def test_a_secret_is_read_from_systemds_credentials(file: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": os.fspath(file.parent)}
    assert read(Source("a.b", "credential", file.name), environ) == SECRET


def test_a_secret_is_read_afresh_each_time(file: Path) -> None:
    assert read(in_file(file), {}) == SECRET
    file.write_text("another")
    assert read(in_file(file), {}) == Secret("another")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("pässword", "pässword"),
        ("password\n", "password"),
        ("password\r\n", "password"),
        ("password\n\n", "password"),
        (" pass word ", " pass word "),
        ("x" * SIZE_MAX, "x" * SIZE_MAX),
    ],
    ids=["bare", "newline", "crlf", "two newlines", "spaces", "longest"],
)
def test_only_newlines_at_the_end_of_a_file_are_not_the_secret(
    file: Path, content: str, text: str
) -> None:
    file.write_bytes(content.encode())
    assert read(in_file(file), {}).reveal() == text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (f"{CANARY}\nnote: of 2024\n".encode(), "it is more than one line"),
        (f"\n{CANARY}".encode(), "it is more than one line"),
        (f"\N{BYTE ORDER MARK}{CANARY}".encode(), "it is not printable throughout"),
        (f"{CANARY}\0".encode(), "it is not printable throughout"),
        (CANARY.encode() + b"\xff", "it is not text in UTF-8"),
        (CANARY.encode() * SIZE_MAX, f"it is longer than {SIZE_MAX} bytes"),
        ("é".encode() * SIZE_MAX, f"it is longer than {SIZE_MAX} bytes"),
    ],
    ids=[
        *("empty", "newlines", "two lines", "newline before", "byte order mark", "NUL", "binary"),
        *("too long", "too long, cut within a character"),
    ],
)
def test_a_file_without_a_usable_secret_is_told_with_its_key_and_path(
    file: Path, content: bytes, why: str
) -> None:
    file.write_bytes(content)
    failure = unavailable(in_file(file))
    assert failure.detail == f"account.main.password (file {file}): {why}"
    assert os.fspath(file) in failure.action


def test_an_absent_file_is_told_with_its_key_and_path(tmp_path: Path) -> None:
    failure = unavailable(in_file(tmp_path / "none"))
    assert "No such file" in failure.detail
    assert failure.action == f"put the secret into {tmp_path / 'none'}, mode 0600"


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    assert "it is no regular file" in unavailable(in_file(tmp_path)).detail
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_pipe_in_place_of_a_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "it is no regular file" in unavailable(in_file(tmp_path / "pipe")).detail


def test_a_path_that_cannot_be_one_is_told() -> None:
    assert unavailable(in_file(Path("/nowhere/pass\0word"))).detail


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_may_touch_is_not_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    failure = unavailable(in_file(file))
    assert f"mode {mode:04o}" in failure.detail
    assert failure.action == f"chmod 600 {file}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_ones_own_is_not_exposed(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert exposed(file) is None


def test_the_mode_of_what_a_link_leads_to_counts(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert exposed(link) is None
    file.chmod(0o644)
    assert "mode 0644" in str(exposed(link))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_not_read_and_chmod_is_not_the_remedy(file: Path) -> None:
    os.chown(file, 12345, -1)
    failure = unavailable(in_file(file))
    assert "belongs to uid 12345, not to you" in failure.detail
    assert "chmod" not in failure.action


@pytest.mark.parametrize("environ", [{}, {"PASSWORD": ""}])
def test_a_variable_that_is_not_set_is_told(environ: dict[str, str]) -> None:
    failure = unavailable(Source("a.b", "env", "PASSWORD"), environ)
    assert failure.detail == "a.b (env PASSWORD): the variable is not set"
    assert "PASSWORD" in failure.action


def test_a_variable_that_is_not_utf8_is_told() -> None:
    # What os.environ makes of a byte that is no UTF-8. It could not be sent, nor fingerprinted.
    environ = {"PASSWORD": os.fsdecode(CANARY.encode() + b"\xff")}
    failure = unavailable(Source("a.b", "env", "PASSWORD"), environ)
    assert failure.detail == "a.b (env PASSWORD): it is not text in UTF-8"


def test_a_credential_without_systemd_is_told() -> None:
    failure = unavailable(Source("a.b", "credential", "kotak-password"))
    assert "not started by systemd with credentials" in failure.detail
    assert "LoadCredential=kotak-password:" in failure.action


def test_an_absent_credential_is_told(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": os.fspath(tmp_path)}
    failure = unavailable(Source("a.b", "credential", "kotak-password"), environ)
    assert "No such file" in failure.detail


# Programs


@pytest.mark.parametrize("end", ["", "\\n", "\\r\\n"])
def test_a_secret_is_what_a_command_prints(end: str) -> None:
    assert read(command("printf", f" pässword {end}"), ENVIRON) == Secret(" pässword ")


def test_no_shell_reads_a_command() -> None:
    assert read(command("printf", "%s", "$HOME; *"), ENVIRON) == Secret("$HOME; *")


def test_a_command_is_given_by_its_path_or_found_on_the_path_given(tmp_path: Path) -> None:
    program = tmp_path / "get-secret"
    program.write_text(f"#!/bin/sh\necho {CANARY}\n")
    program.chmod(0o700)
    assert read(command(os.fspath(program)), {}) == SECRET
    assert read(command("get-secret"), {"PATH": os.fspath(tmp_path)}) == SECRET


def test_what_a_command_says_beside_its_secret_is_its_own_business() -> None:
    assert read(command("sh", "-c", f"echo warning >&2; echo {CANARY}"), ENVIRON) == SECRET


def test_a_command_sees_no_variable_of_neods_and_none_that_holds_another_secret() -> None:
    script = "echo ${NEOD_SOCKET-gone} ${PASSWORD-gone} ${GNUPGHOME-gone}"
    environ = {**ENVIRON, "NEOD_SOCKET": "/x", "PASSWORD": CANARY, "GNUPGHOME": "/gpg"}
    found = read(command("sh", "-c", script), environ, hide=("PASSWORD",))
    assert found == Secret("gone gone /gpg")


def test_a_command_has_no_terminal_and_nothing_to_read() -> None:
    script = "import os; print(os.getsid(0) == os.getpid(), os.readlink('/proc/self/fd/0'))"
    stdin, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)
    try:
        found = read(command(sys.executable, "-c", script), ENVIRON)
    finally:
        os.dup2(stdin, 0)
        for descriptor in (stdin, reading, writing):
            os.close(descriptor)
    assert found == Secret("True /dev/null")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "it ended with status 3"),
        (f"echo {CANARY}; exit 3", "it ended with status 3"),
        (f"echo {CANARY}; exec >&- 2>&-; for i in 1 2 3; do (:); done; exit 3", "status 3"),
        (f"echo {CANARY}; echo 'gpg: decryption failed' >&2; exit 2", "gpg: decryption failed"),
        ("kill -9 $$", "it was ended by signal 9"),
        ("", "what it printed is empty"),
        ("echo", "what it printed is empty"),
        ("echo 'not unlocked' >&2", "what it printed is empty: not unlocked"),
        (f"printf '{CANARY}\\377'", "what it printed is not text in UTF-8"),
        (f"echo {CANARY}; echo {CANARY}", "what it printed is more than one line"),
        (f"exec yes {CANARY}", f"what it printed is longer than {SIZE_MAX} bytes"),
        (f"yes {CANARY} | cat", f"what it printed is longer than {SIZE_MAX} bytes"),
    ],
)
def test_a_command_without_a_usable_secret_is_told_without_what_it_printed(
    script: str, why: str
) -> None:
    failure = unavailable(command("sh", "-c", script), ENVIRON)
    assert failure.detail.startswith("a.b (command sh): ")
    assert why in failure.detail
    assert failure.action == "run what stands at a.b by hand, with </dev/null, and see"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"gpg: failed\n\n", "gpg: failed"),
        (r"one\ntwo\nthree\nfour\n", "two / three / four"),
        (r"\033[1;31mError:\033[0m no\a", "Error: no"),
        (r"50 %%\r100 %%\n", "50 % / 100 %"),
        (r"caf\351", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_of_what_a_command_says_the_last_lines_are_shown(said: str, shown: str) -> None:
    failure = unavailable(command("sh", "-c", f"printf '{said}' >&2; exit 1"), ENVIRON)
    assert failure.detail == f"a.b (command sh): it ended with status 1: {shown}"


def test_of_a_long_complaint_the_end_is_shown() -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1"
    failure = unavailable(command("sh", "-c", script), ENVIRON)
    _, _, said = failure.detail.partition("status 1: ")
    assert len(said) == SAID_MAX
    assert said.startswith("…x")
    assert said.endswith("xend")


def test_a_command_that_is_not_there_is_told_with_the_path_searched() -> None:
    failure = unavailable(command("no-such-program"), {"PATH": "/no/where"})
    why = "it cannot be started: No such file or directory"
    assert failure.detail == f"a.b (command no-such-program): {why}"
    assert failure.action == "give the path of a program; neod's PATH is /no/where"


@pytest.mark.parametrize(
    ("mode", "why"), [(0o600, "Permission denied"), (0o700, "Exec format error")]
)
def test_a_command_that_is_no_program_is_told(file: Path, mode: int, why: str) -> None:
    file.chmod(mode)
    failure = unavailable(command(os.fspath(file)), ENVIRON)
    assert failure.detail == f"a.b (command {file}): it cannot be started: {why}"


# More than a pipe holds, so that a program is up when it is read, and its time has begun.
UP = "yes waiting | head -n 20000 >&2; echo Enter PIN: >&2; exec 3>{}; echo up >&3;"
HANGING = {
    "a command": f"{UP} exec sleep 1000",
    "what it started": f"{UP} sleep 1000 & wait",
    "what it left behind with its output": f"{UP} sleep 1000 & echo {CANARY}",
    "a command that will not be ended": f"trap '' TERM HUP INT; {UP} sleep 1000",
}


@pytest.mark.parametrize("what", HANGING)
async def test_at_its_limit_a_command_and_all_that_it_started_is_killed(
    what: str, lifeline: Lifeline, mock_clock: MockClock
) -> None:
    async def let_the_time_pass() -> None:
        await lifeline.up()
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMIT)

    source = command("sh", "-c", HANGING[what].format(lifeline.path))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_the_time_pass)
        failure = await told(source, ENVIRON)

    await lifeline.gone()
    said = "waiting / waiting / Enter PIN:"
    assert failure.detail == f"a.b (command sh): it did not end within 30 s: {said}"
    assert failure.action == "see whether it waits for a person; here it has no terminal"


@pytest.mark.parametrize("what", HANGING)
async def test_a_command_and_all_that_it_started_does_not_survive_a_cancel(
    what: str, lifeline: Lifeline
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            secrets.read, command("sh", "-c", HANGING[what].format(lifeline.path)), ENVIRON
        )
        await lifeline.up()
        nursery.cancel_scope.cancel()
    await lifeline.gone()


# The keyring


@pytest.mark.parametrize("name", ["neod/main/password", "neod/-v", "-x/main", "a b/$HOME"])
def test_a_secret_is_read_from_the_keyring(keyring: KeyringFolder, name: str) -> None:
    keyring.holds({name: f" {CANARY}ä "})
    assert read(in_keyring(name), keyring.environ) == Secret(f" {CANARY}ä ")


def test_a_keyring_without_the_entry_is_told_with_the_command_that_adds_it(
    keyring: KeyringFolder,
) -> None:
    keyring.holds({"neod/main/mpin": CANARY})
    failure = unavailable(in_keyring(), keyring.environ)
    assert failure.detail == "a.b (keyring neod/main/password): the keyring has no such entry"

    subprocess.run(
        shlex.split(failure.action), env=keyring.environ, input=CANARY, text=True, check=True
    )
    assert read(in_keyring(), keyring.environ) == SECRET


@pytest.mark.parametrize(
    ("state", "why", "action"),
    [
        (
            "locked",
            "the keyring is locked",
            "unlock it; neod asks again by itself",
        ),
        (
            "broken",
            "the keyring cannot be asked: InitError: Failed to create the collection: no bus.",
            f"see what is wrong: {sys.executable} -m keyring diagnose",
        ),
    ],
)
def test_a_keyring_that_does_not_open_is_told(
    keyring: KeyringFolder, state: str, why: str, action: str
) -> None:
    keyring.becomes(state)
    failure = unavailable(in_keyring(), keyring.environ)
    said = "the keyring is asked / "  # the fake's print, which was not taken for the secret
    assert failure.detail.replace(said, "") == f"a.b (keyring neod/main/password): {why}"
    assert failure.action == action


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "it is empty"),
        (f"{CANARY}\n{CANARY}", "it is more than one line"),
        (f"{CANARY}\ud800", "it is not text in UTF-8"),
    ],
)
def test_an_entry_that_is_no_usable_secret_is_told(
    keyring: KeyringFolder, secret: str, why: str
) -> None:
    keyring.holds({"neod/main/password": secret})
    assert unavailable(in_keyring(), keyring.environ).detail.endswith(f": {why}")


def test_where_no_keyring_is_it_is_told(keyring: KeyringFolder) -> None:
    environ = keyring.environ | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    failure = unavailable(in_keyring(), environ)
    assert failure.detail.endswith(": there is no keyring here")
    assert "keep the secret elsewhere" in failure.action


@pytest.mark.parametrize("module", ["nowhere", "keyring_child"])
def test_a_backend_that_is_not_there_nor_a_module_of_neods_is_told(
    keyring: KeyringFolder, module: str
) -> None:
    environ = keyring.environ | {"PYTHON_KEYRING_BACKEND": f"{module}.Keyring"}
    failure = unavailable(in_keyring(), environ)
    assert failure.detail.endswith(f"ModuleNotFoundError: No module named '{module}'")


def test_where_pythons_keyring_is_not_installed_the_command_that_installs_it_is_told(
    keyring: KeyringFolder, tmp_path: Path
) -> None:
    (tmp_path / "keyring.py").write_text("raise ModuleNotFoundError('No module named keyring')")
    failure = unavailable(in_keyring(), keyring.environ | {"PYTHONPATH": os.fspath(tmp_path)})
    why = "Python's keyring is not installed: No module named keyring"
    assert failure.detail == f"a.b (keyring neod/main/password): {why}"
    assert failure.action == f"{sys.executable} -m pip install keyring"


def test_the_keyring_is_not_looked_for_where_neod_was_started(
    keyring: KeyringFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keyring.py").write_text(f"def get_password(*_): return {CANARY!r}")
    monkeypatch.chdir(tmp_path)
    keyring.holds({"neod/main/password": "the right one"})
    assert read(in_keyring(), keyring.environ) == Secret("the right one")


def test_a_backend_sees_no_variable_that_holds_another_secret(keyring: KeyringFolder) -> None:
    keyring.holds({"neod/main/password": CANARY})
    environ = keyring.environ | {"PASSWORD": "x"}
    hide = ("PASSWORD", "FAKE_KEYRING")  # without which the fake breaks
    with pytest.raises(SecretUnavailable, match="KeyError: 'FAKE_KEYRING'"):
        read(in_keyring(), environ, hide=hide)


async def test_a_keyring_that_does_not_answer_is_killed_at_the_limit(
    keyring: KeyringFolder, lifeline: Lifeline, mock_clock: MockClock
) -> None:
    async def let_the_time_pass() -> None:
        await lifeline.up()
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMIT)

    keyring.becomes("hanging")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_the_time_pass)
        failure = await told(in_keyring(), keyring.environ)

    await lifeline.gone()
    assert ": the keyring did not answer within 30 s: waiting / " in failure.detail
    assert failure.action == "unlock it if it is locked; neod asks again by itself"


async def test_the_asking_of_a_keyring_does_not_survive_a_cancel(
    keyring: KeyringFolder, lifeline: Lifeline
) -> None:
    keyring.becomes("hanging")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secrets.read, in_keyring(), keyring.environ)
        await lifeline.up()
        nursery.cancel_scope.cancel()
    await lifeline.gone()
