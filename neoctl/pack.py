"""neoctl as one file, which any Python from 3.9 on runs: python3 -m neoctl.pack [neoctl.pyz]

The file is a program, and a place to import from: PYTHONPATH=neoctl.pyz python3 bot.py
"""

from __future__ import annotations

import os
import sys
import zipfile

MAIN = "import sys\n\nfrom neoctl.cli import main\n\nsys.exit(main())\n"


def pack(path: str) -> None:
    """Write the file. Raises OSError."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(path, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "__main__.py", MAIN.encode())
            for name in sorted(os.listdir(folder)):
                if name.endswith(".py") or name == "py.typed":
                    with open(os.path.join(folder, name), "rb") as source:
                        _add(archive, f"neoctl/{name}", source.read())
    os.chmod(path, 0o755)  # noqa: S103 - there is nothing secret in it


def _add(archive: zipfile.ZipFile, name: str, text: bytes) -> None:
    """At a time that is always the same, so that the same source gives the same file."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, text)


def main(argv: list[str]) -> int:
    """Write it to where the command line says; returns the exit status."""
    path = argv[0] if argv else "neoctl.pyz"
    try:
        pack(path)
    except OSError as error:
        sys.stderr.write(f"neoctl.pack: {path}: {error.strerror}\n")
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
