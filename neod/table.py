"""Reading a TOML table so that every mistake in it is told at once, each with its key.

Knows no key of its own, and no file.
"""

import difflib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import TypeVar

T = TypeVar("T")
_MISSING = object()


class Wrong(Exception):  # noqa: N818 - it is the value that is
    """What was expected in place of a value."""


class Table:
    """A TOML table that is being read: keys are taken out of it, what is left is unknown."""

    def __init__(self, path: str, raw: dict[str, object], mistakes: list[str]) -> None:
        self.path = path
        self.raw = raw
        self.known: list[str] = []
        self.mistakes = mistakes
        self.before = len(mistakes)
        self.bad: set[str] = set()  # the keys with a mistake

    def key(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, why: str, index: int | None = None) -> None:
        """A mistake in the value of a key, or in one item of it."""
        self.bad.add(name)
        item = "" if index is None else f"[{index}]"
        self.mistakes.append(f"{self.key(name)}{item}: {why}")

    def take(
        self, name: str, parse: Callable[[object], T], default: T, *, hidden: bool = False
    ) -> T:
        """The value of a key, or the default where it is absent or wrong."""
        self.known.append(name)
        value = self.raw.get(name, _MISSING)
        if value is _MISSING:
            return default
        try:
            return parse(value)
        except Wrong as expected:
            self.wrong(name, f"{expected}, found {_kind(value) if hidden else _found(value)}")
            return default

    def items(self, name: str, parse: Callable[[object], T], example: str) -> list[T]:
        """The items of an array, less those that are wrong; none where it is absent."""
        self.known.append(name)
        value = self.raw.get(name, [])
        if not isinstance(value, list):
            self.wrong(name, f'expected an array such as ["{example}"], found {_found(value)}')
            return []
        items = []
        for index, item in enumerate(value):
            try:
                items.append(parse(item))
            except Wrong as expected:
                self.wrong(name, f"{expected}, found {_found(item)}", index)
        return items

    def tables(self, name: str) -> dict[str, "Table"]:
        """The tables below [name.*]."""
        table = self.table(name)
        stray = [key for key, value in table.raw.items() if not isinstance(value, dict)]
        if stray:
            table.mistakes.append(
                f"{table.path}: {', '.join(stray)} belong into a table with a name, "
                f"[{table.path}.main]"
            )
        return {key: table.table(key) for key in table.raw if key not in stray}

    def table(self, name: str) -> "Table":
        self.known.append(name)
        value = self.raw.get(name, {})
        if not isinstance(value, dict):
            self.wrong(name, f"expected a table, found {_kind(value)}")
            value = {}
        return Table(self.key(name), value, self.mistakes)

    def no_more(self, elsewhere: Mapping[str, str]) -> None:
        """Whatever has not been taken by now is a mistake."""
        for name in self.raw:
            if name in self.known:
                continue
            near = difflib.get_close_matches(name, self.known, 1)
            if name in elsewhere:
                hint = f"; it belongs into {elsewhere[name]}"
            elif near:
                hint = f"; did you mean {near[0]}?"
            else:
                hint = f"; known are {', '.join(sorted(self.known))}" if self.known else ""
            self.wrong(name, f"unknown key{hint}")

    @property
    def sound(self) -> bool:
        """True if no mistake was found since this table was begun."""
        return len(self.mistakes) == self.before


def _found(value: object) -> str:
    if isinstance(value, (str, int, float, bool)):
        return json.dumps(value, ensure_ascii=False)
    return _kind(value)


def _kind(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a float"}
    names |= {dict: "a table", list: "an array"}
    names |= {date: "a date", time: "a time", datetime: "a date with a time"}
    return names.get(type(value), type(value).__name__)
