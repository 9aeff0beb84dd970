"""What docs/clients.md says of the clients is true of them."""

import pytest

from tests.clients.table import DOCUMENT, FOLDER, ROWS, Row, lines_of_code

OURS = {"__init__.py", "table.py", "test_table.py", "test_clients.py"}


def test_every_client_is_in_the_table() -> None:
    there = {path.name for path in FOLDER.iterdir() if path.is_file()} - OURS

    assert {row.file for row in ROWS} == there


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_a_client_has_as_many_lines_of_code_as_are_told(row: Row) -> None:
    assert row.lines == lines_of_code(row.file), f"{DOCUMENT.name} has to say so"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_a_client_is_written_to_be_read(row: Row) -> None:
    text = (FOLDER / row.file).read_text()

    assert max(map(len, text.splitlines())) <= 110
    assert "a bot that lives on neod's session" in "".join(text.splitlines()[:3]).lower()
