"""Documents that are made by a program: written anew, or said to be stale."""

from collections.abc import Mapping
from pathlib import Path


def main(documents: Mapping[Path, str], arguments: list[str]) -> int:
    """With --write those that are stale are written; returns the exit status, 1 if one stays so."""
    write = "--write" in arguments
    stale = {
        path: text
        for path, text in documents.items()
        if not path.is_file() or path.read_text() != text
    }
    for path, text in stale.items():
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        print(f"{path}: {'written' if write else 'stale'}")
    return int(bool(stale) and not write)
