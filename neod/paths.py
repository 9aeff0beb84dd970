"""Where neod's files are, and what can be said of a path. Makes folders, reads no file."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def config_file(environ: Mapping[str, str]) -> Path:
    """The configuration: $NEOD_CONFIG, else ~/.config/neod/config.toml."""
    if environ.get("NEOD_CONFIG"):
        return Path(os.path.expanduser(environ["NEOD_CONFIG"]))  # noqa: PTH111 - it never raises
    return platformdirs.user_config_path("neod") / "config.toml"


def state_folder() -> Path:
    """Ledgers and the lock over them: $XDG_STATE_HOME/neod, else ~/.local/state/neod."""
    return platformdirs.user_state_path("neod")


def open_to_others(folder: Path) -> str:
    """Why others could put files of theirs in the place of one's own; empty if they cannot.

    Raises OSError.
    """
    found = folder.stat()
    if found.st_uid not in (os.getuid(), 0):
        return f"{folder} belongs to uid {found.st_uid}, not to you (uid {os.getuid()})"
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(found.st_mode)
        return f"{folder} may be written by others (mode {mode:04o}); chmod go-w {folder}"
    return ""


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter, with what is missing above it.

    Raises OSError. A folder that is there already keeps its mode.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        os.chmod(folder, 0o700)  # noqa: PTH101 - whatever the umask made of it


def which_file(of: Path | int) -> tuple[int, int] | None:
    """Which file it is; None if there is none."""
    try:
        found = os.fstat(of) if isinstance(of, int) else os.lstat(of)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def tilde(path: str, home: str) -> str:
    """A path as a person writes it: below one's home it begins with a tilde."""
    home = home.rstrip("/")
    return f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path
