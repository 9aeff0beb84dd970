"""neoctl's command line, taken apart: verb, arguments, options. Knows no verb, and does nothing.

By hand, since argparse costs more than `neoctl token` does.
"""

from __future__ import annotations

from neoctl import client, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Option -> what its value is called, empty for one that has none, and what it is for.
OPTIONS = {
    "--account": ("NAME", "which account (or -a, or $NEOD_ACCOUNT)"),
    "--json": ("", "JSON in place of text"),
    "--min-valid": ("SECONDS", "fail unless the session lives that long yet"),
    "--wait": ("SECONDS", "how long to wait for a session (default 0, at most 300)"),
    "--line": ("", "one short line, for a status bar"),
    "--limit": ("N", "how many logins to show (default 20)"),
    "--shell": ("SHELL", "sh (default) or fish"),
    "--env": ("", "give CMD the session's values too, as `env` names them"),
    "--on-rotate": ("ACTION", "none (default), restart or SIGHUP, at each new session"),
    "--evidence": ("TEXT", "why: a code, or the broker's reply; - reads it from stdin"),
    "--force": ("", "though the broker refused credentials twice within a day"),
}
CHOICES = {"--shell": ("sh", "fish"), "--on-rotate": ("none", "restart", "SIGHUP")}


class Usage(Exception):  # noqa: N818 - it says how to use it
    """The command line cannot be understood."""


class Options:
    """A command line, taken apart. Raises Usage."""

    def __init__(self, argv: list[str], environ: Mapping[str, str]) -> None:
        self.words: list[str] = []
        self.command: list[str] | None = None  # what follows --
        self.given: dict[str, str] = {}
        rest = iter(argv)
        for word in rest:
            if word == "--":
                self.command = list(rest)
            elif word.startswith("-"):
                self._take(word, rest)
            else:
                self.words.append(word)
        self.account = self.given.get("--account") or environ.get("NEOD_ACCOUNT", "")
        self.json = "--json" in self.given
        self.min_valid = _seconds("--min-valid", self.given)
        self.wait = _seconds("--wait", self.given)
        if (self.wait or 0.0) > wire.WAIT_MAX:
            raise Usage(f"--wait takes at most {wire.WAIT_MAX:.0f} seconds")
        for name, choices in CHOICES.items():
            if self.given.get(name, choices[0]) not in choices:
                raise Usage(f"{name} takes {' or '.join(choices)}, not {self.given[name]!r}")

    def _take(self, word: str, rest: object) -> None:
        name, equals, value = word.partition("=")
        name = "--account" if name == "-a" else name
        if name not in OPTIONS or (equals and not OPTIONS[name][0]):
            raise Usage(f"unknown option {word}")
        if OPTIONS[name][0]:
            if not equals:
                value = next(rest, "")  # type: ignore[call-overload]
            if not value or (value.startswith("--") and not equals):
                raise Usage(f"{name} needs a value")
        self.given[name] = value

    def choice(self, name: str) -> str:
        """The value of an option that has few; the first if it was not given."""
        return self.given.get(name, CHOICES[name][0])

    def whole(self, name: str, default: int) -> int:
        """A number of at least 1."""
        value = self.given.get(name, str(default))
        if not (value.isascii() and value.isdigit() and 0 < len(value) < 7 and int(value)):
            raise Usage(f"{name} takes a whole number, not {value!r}")
        return int(value)

    def query(self, wait: float | None = None) -> str:
        """The options as a query string; `wait` in place of the one that was given."""
        wait = (self.wait or 0.0) if wait is None else wait
        parts = []
        if self.account:
            parts.append(f"account={client.quote(self.account)}")
        if self.min_valid is not None:
            parts.append(f"min_valid={_number(self.min_valid)}")
        if wait:
            parts.append(f"wait={_number(wait)}")
        return "?" + "&".join(parts) if parts else ""


def _seconds(name: str, given: Mapping[str, str]) -> float | None:
    if name not in given:
        return None
    try:
        seconds = float(given[name])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Usage(f"{name} takes a number of seconds, not {given[name]!r}")
    return seconds


def _number(seconds: float) -> str:
    """The number as it was typed: rounded, it would ask for something else."""
    return str(int(seconds)) if seconds.is_integer() else client.quote(repr(seconds))
