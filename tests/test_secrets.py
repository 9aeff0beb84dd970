"""Secrets: where they are read from, and that they do not slip."""

import copy
import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neod.secrets import SIZE_MAX, Secret, SecretUnavailable, Source, exposed, read

CANARY = "c4nary-s3cret"
SECRET = Secret(CANARY)
INLINE = Source("account.main.password", "inline", "", SECRET)


def in_file(path: Path) -> Source:
    return Source("account.main.password", "file", os.fspath(path))


def unavailable(source: Source, environ: dict[str, str] | None = None) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        read(source, environ or {})
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret, as it should be."""
    path = tmp_path / "password"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o600)
    return path


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
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_shows_as_stars(way: str) -> None:
    assert SHOWN[way](SECRET) == "***"


def test_a_secret_is_padded_as_stars() -> None:
    assert f"{SECRET:>6}" == "   ***"


def test_a_source_shows_the_place_and_not_the_secret() -> None:
    assert CANARY not in f"{INLINE!r} {INLINE}"
    assert str(INLINE) == "account.main.password"
    assert str(Source("a.b", "env", "PASSWORD")) == "a.b (env PASSWORD)"


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
        ("\npassword", "\npassword"),
        ("x" * SIZE_MAX, "x" * SIZE_MAX),
    ],
    ids=["bare", "newline", "crlf", "two newlines", "spaces", "newline before", "longest"],
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
        (CANARY.encode() + b"\xff", "not text in UTF-8"),
        (CANARY.encode() * SIZE_MAX, f"it is longer than {SIZE_MAX} bytes"),
        ("é".encode() * SIZE_MAX, f"it is longer than {SIZE_MAX} bytes"),
    ],
    ids=["empty", "newlines", "binary", "too long", "too long, cut within a character"],
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
    assert "Is a directory" in unavailable(in_file(tmp_path)).detail


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
    assert "UTF-8" in unavailable(Source("a.b", "env", "PASSWORD"), environ).detail


def test_a_credential_without_systemd_is_told() -> None:
    failure = unavailable(Source("a.b", "credential", "kotak-password"))
    assert "not started by systemd with credentials" in failure.detail
    assert "LoadCredential=kotak-password:" in failure.action


def test_an_absent_credential_is_told(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": os.fspath(tmp_path)}
    failure = unavailable(Source("a.b", "credential", "kotak-password"), environ)
    assert "No such file" in failure.detail
