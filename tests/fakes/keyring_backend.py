"""A keyring that behaves: its entries are in a file, and it can be locked, or hang, or break.

Named by $PYTHON_KEYRING_BACKEND it is loaded into the process that asks; the folder is
$FAKE_KEYRING.
"""

import json
import os
import signal
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import InitError, KeyringLocked


class Keyring(KeyringBackend):
    """The side that Python's keyring sees."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # as of keyring 25
        self._folder = Path(os.environ["FAKE_KEYRING"])

    def get_password(self, service: str, username: str) -> str | None:
        return self._opened().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        entries = self._opened()
        entries[f"{service}/{username}"] = password
        (self._folder / "entries").write_text(json.dumps(entries))

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError

    def _opened(self) -> dict[str, str]:
        os.write(1, b"the keyring is asked\n")  # backends, and what they start, do that
        state = (self._folder / "state").read_text()
        if state == "locked":
            raise KeyringLocked("Failed to unlock the collection!")
        if state == "broken":
            raise InitError("Failed to create the collection: no bus.")
        if state == "hanging":
            os.write(2, b"waiting\n" * 20_000)  # more than a pipe holds: it is up when it is read
            with (self._folder / "lifeline").open("w") as lifeline:
                lifeline.write("up\n")
                lifeline.flush()
                signal.pause()
        entries: dict[str, str] = json.loads((self._folder / "entries").read_text())
        return entries


class KeyringFolder:
    """The test's side of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.fspath(folder),
            "PYTHONPATH": os.fspath(Path(__file__).parents[2]),
            "PYTHON_KEYRING_BACKEND": f"{Keyring.__module__}.{Keyring.__name__}",
            "FAKE_KEYRING": os.fspath(folder),
        }
        self.becomes("open")
        self.holds({})

    def becomes(self, state: str) -> None:
        """`open`, `locked`, `broken`, or `hanging` on the lifeline."""
        (self.folder / "state").write_text(state)

    def holds(self, entries: dict[str, str]) -> None:
        (self.folder / "entries").write_text(json.dumps(entries))
