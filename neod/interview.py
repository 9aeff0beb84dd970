"""The questions of `neod setup`, as a generator: it yields what to ask, and is sent the answers.

Touches nothing, and sees no terminal. Each answer is held against what the configuration's own
reader has to say about it.
"""

import os
import shlex
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import msgspec

from neod import config
from neod.check import misshapen
from neod.paths import tilde
from neod.secrets import Secret

T = TypeVar("T")
Test = Callable[[str], str]  # of an answer: what is wrong with it, or nothing
NAME = "main"  # of the account


class Ask(msgspec.Struct, frozen=True):
    """A question, and what to say before it."""

    prompt: str
    hidden: bool = False
    before: str = ""


Dialogue = Generator[Ask, str, T]


class Plan(msgspec.Struct, frozen=True):
    """What is to be written."""

    table: dict[str, object]  # [account.main]
    files: dict[Path, Secret]
    entries: dict[str, Secret]  # of the keyring, by service/username


def replace_it(shown: str) -> Dialogue[bool]:
    """True if a configuration that is there already may be replaced."""
    answer = yield Ask(
        "Replace it? Type yes, or anything else to leave it: ",
        before=f"{shown} is there already.\n"
        "All of it would be replaced; the old one is kept, as .bak beside it.",
    )
    return answer.strip() == "yes"


def interview(folder: Path, home: str, *, keyring: bool) -> Dialogue[Plan]:
    """All the questions of the flow that is chosen."""
    talk = _Interview(folder, home, keyring=keyring)
    yield from talk.setting(
        "flow",
        "Flow, totp or password",
        usual="totp",
        before="The questions for one account; an answer in [ ] is taken on Enter.\n"
        "Nothing is sent, and nothing is written before the last answer.\n\n"
        "totp is what Kotak runs today; password is its older login.",
    )
    yield from talk.setting("environment", "Environment, prod or uat", usual="prod")
    if talk.table["flow"] == "totp":
        yield from talk.setting("mobile", "Mobile number, as registered")
        yield from talk.setting("ucc", "Client code (UCC)")
        yield from talk.secret("access_token", "access token")
        yield from talk.secret("totp_secret", "TOTP secret")
        factors = "mpin or none"
    else:
        who = yield from talk.choice(
            "Log in by mobile, pan or user_id", ("mobile", "pan", "user_id")
        )
        yield from talk.setting(who, {"mobile": "Mobile number", "pan": "PAN"}.get(who, "User id"))
        yield from talk.secret("password", "trading password")
        access = yield from talk.choice(
            "Access to the API by consumer (key and secret) or token", ("consumer", "token")
        )
        if access == "consumer":
            yield from talk.setting("consumer_key", "Consumer key")
            yield from talk.secret("consumer_secret", "consumer secret")
        else:
            yield from talk.secret("access_token", "access token")
        factors = "mpin, otp or none"
    yield from talk.setting(
        "second_factor",
        f"Second factor, {factors}",
        usual="mpin",
        before="With a second factor the session can trade; with none it can only look.",
    )
    if talk.table["second_factor"] == "mpin":
        yield from talk.secret("mpin", "MPIN")
    return Plan(table=talk.table, files=talk.files, entries=talk.entries)


class _Interview:
    """The answers so far, which the next one must not contradict."""

    def __init__(self, folder: Path, home: str, *, keyring: bool) -> None:
        self.folder = folder
        self.home = home
        self.places = ("file", "keyring", "command") if keyring else ("file", "command")
        self.told = False
        self.table: dict[str, object] = {}
        self.files: dict[Path, Secret] = {}
        self.entries: dict[str, Secret] = {}

    def setting(self, key: str, words: str, *, usual: str = "", before: str = "") -> Dialogue[None]:
        def test(answer: str) -> str:
            return self.wrong(key, answer)

        self.table[key] = yield from _asked(words, test, usual=usual, before=before)

    def choice(self, words: str, choices: tuple[str, ...], before: str = "") -> Dialogue[str]:
        """One of the choices; Enter takes the first."""

        def test(answer: str) -> str:
            return "" if answer in choices else f"expected {_either(choices)}"

        return (yield from _asked(words, test, usual=choices[0], before=before))

    def places_told(self) -> str:
        """What the places are, once."""
        if self.told:
            return ""
        self.told = True
        folder = tilde(os.fspath(self.folder), self.home)
        told = {
            "file": f"file: in {folder}, for you alone",
            "keyring": "keyring: the desktop's, which has to be unlocked when neod asks",
            "command": "command: one that prints the secret, each time that neod needs it",
        }
        return "".join(f"\n  {told[place]}" for place in self.places)

    def secret(self, key: str, what: str) -> Dialogue[None]:
        words = f"Keep the {what} in a {_either(self.places)}"
        where = yield from self.choice(words, self.places, before=self.places_told())
        if where == "command":
            words = f"Command that prints the {what}"
            before = "It is written down and not run; no shell reads it."
            line = yield from _asked(
                words, lambda typed: self.bad_command(key, typed), before=before
            )
            self.table[key] = {"command": shlex.split(line)}
            return
        text = yield from _asked(
            f"{what[0].upper()}{what[1:]}",
            lambda typed: self.wrong(key, typed) or misshapen(key, typed),
            hidden=True,
            exact=key == "password",
        )
        if where == "keyring":
            entry = f"neod/{NAME}/{key}"
            self.entries[entry] = Secret(text)
            self.table[key] = {"keyring": entry}
        else:
            path = self.folder / key.replace("_", "-")
            self.files[path] = Secret(text)
            self.table[key] = {"file": tilde(os.fspath(path), self.home)}

    def bad_command(self, key: str, line: str) -> str:
        try:
            words = shlex.split(line)
        except ValueError as error:  # its message is about quotes, and holds nothing of the line
            return str(error)
        return self.wrong(key, {"command": words})

    def wrong(self, key: str, value: object) -> str:
        """What the configuration's own reader has against a value, given the answers so far.

        Without what it found there: an answer may be a secret that went to the wrong question.
        """
        mistakes: list[str] = []
        config.read({"account": {NAME: {**self.table, key: value}}}, self.folder, mistakes)
        mine = f"account.{NAME}.{key}: "
        found = [mistake.removeprefix(mine) for mistake in mistakes if mistake.startswith(mine)]
        return found[0].partition(", found ")[0] if found else ""


def _asked(
    words: str,
    test: Test,
    *,
    usual: str = "",
    hidden: bool = False,
    exact: bool = False,
    before: str = "",
) -> Dialogue[str]:
    """Ask until the answer passes; with `exact` the spaces around it belong to it."""
    prompt = f"{words} [{usual}]: " if usual else f"{words}: "
    while True:
        answer = yield Ask(prompt, hidden, before)
        answer = (answer if exact else answer.strip()) or usual
        if not answer:
            why = "expected an answer"
        elif not answer.isprintable():
            why = "expected printable characters"
        else:
            why = test(answer)
        if not why:
            return answer
        before = f"  {why}"


def _either(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
