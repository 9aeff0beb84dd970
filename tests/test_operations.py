"""docs/operations.md leaves out no state, code or event of neod's, and names none that is not."""

import re
from collections import Counter
from pathlib import Path
from typing import get_args

from neoctl import wire
from neod.account.policy import State
from neod.ipc.metrics import metrics
from neod.kotak.replies import TABLE

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
SOURCES = [
    path.read_text()
    for path in sorted(ROOT.glob("neod/**/*.py"))
    if path.name != "log.py" and "sandbox" not in path.parts
]
LEVELS = {"event": "info", "debug": "debug", "warning": "warning", "error": "error"}


def rows(heading: str) -> dict[str, list[str]]:
    """A table of the document: what stands in backticks in its first column -> the others."""
    [table] = re.findall(
        rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE
    )
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        names = re.findall(r"`([^`]+)`", first)
        assert names
        found |= dict.fromkeys(names, others)
    return found


def test_every_state_is_there() -> None:
    assert rows("state").keys() == set(get_args(State))


def test_every_problem_is_there_with_its_exit_status() -> None:
    told = {code: int(others[0]) for code, others in rows("`neoctl` says").items()}

    assert told == {code: status for code, (_, status, _) in wire.PROBLEMS.items()}


def test_every_event_of_the_log_is_there_with_its_levels() -> None:
    logged: dict[str, set[str]] = {}
    for source in SOURCES:
        calls = re.findall(r"\blog\.(event|debug|warning|error)\(\s*(?:\"(\w+)\")?", source)
        for call, name in calls:
            assert name, "an event is named where it is logged"
            logged.setdefault(name, set()).add(LEVELS[call])

    logged["request"].discard("info")  # which is the sandbox's own

    told = {name: set(others[0].split(", ")) for name, others in rows("event").items()}
    assert told == logged


def test_what_neod_says_of_a_changed_account_is_quoted_as_it_says_it() -> None:
    signs = re.findall(r"\(?`((?:the|check) [^`]*)`", DOCUMENT)
    says = "\n".join(f"{row.says}\n{row.to_do}" for row in TABLE)

    assert len(signs) >= 4
    assert [sign for sign in signs if sign not in says] == []


def test_a_metric_that_is_worth_an_alert_is_one_of_neods() -> None:
    answer = metrics({}, since=0, connections=0, watchers={}, answered=Counter())
    known = set(re.findall(r"^# TYPE (\w+)", answer.body.decode(), re.MULTILINE))
    told = {name for row in rows("worth an alert") for name in re.findall(r"neod_\w+", row)}

    assert told
    assert told <= known
