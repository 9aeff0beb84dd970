"""The table of docs/clients.md: which clients there are, how each is run, how long it is."""

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parents[1] / "docs" / "clients.md"

_ROW = re.compile(
    r"^\| (?P<language>[^|]+) \| \[(?P<file>[\w.]+)\]\(\.\./tests/clients/(?P=file)\) "
    r"\| (?P<lines>\d+) \| `(?P<command>[^`]+)` \| (?P<shows>[^|]+) \|$",
    re.MULTILINE,
)
# What a language has for comments, of those that the clients use.
_BLOCKS = re.compile(r'^[ ]*(?:"""[^"]*"""|/\*(?:(?!\*/).)*\*/)\n', re.MULTILINE | re.DOTALL)
_MARKS = {".sh": "#", ".py": "#"}  # the others: //


class Row(NamedTuple):
    """A client, as the document has it."""

    language: str
    file: str
    lines: int
    command: str
    shows: str

    @property
    def build(self) -> str:
        """What makes it, if anything has to."""
        return self.command.rpartition(" && ")[0]

    @property
    def run(self) -> str:
        return self.command.rpartition(" && ")[2]


ROWS = [
    Row(language, file, int(lines), command, shows)
    for language, file, lines, command, shows in _ROW.findall(DOCUMENT.read_text())
]


def lines_of_code(file: str) -> int:
    """Its lines without comments and empty ones."""
    lines = _BLOCKS.sub("", (FOLDER / file).read_text()).splitlines()
    mark = _MARKS.get(Path(file).suffix, "//")
    return sum(bool(line.strip()) and not line.lstrip().startswith(mark) for line in lines)
