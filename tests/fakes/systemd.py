"""A user's systemd, as far as `neod install` meets it: units in a folder, links, what runs."""

from collections.abc import Sequence
from pathlib import Path

from neod.install import NOT_FOUND, Done

WANTS = {"neod.service": "default.target", "neod.socket": "sockets.target"}


class Systemd:
    """What answers systemctl and loginctl. It knows the units that it has loaded, not the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: dict[str, str] = {}
        self.active: dict[str, str] = {}  # unit -> its text when it was started
        self.linger = False
        self.ran: list[str] = []
        self.broken: dict[str, Done] = {}  # the begin of a command -> what comes of it
        self.load()

    def run(self, command: Sequence[str]) -> Done:
        line = " ".join(command)
        self.ran.append(line)
        for begin, done in self.broken.items():
            if line.startswith(begin):
                return done
        words = [word for word in command if not word.startswith("--") or word == "--version"]
        match words:
            case ["systemctl", verb, *units]:
                return self.systemctl(verb, units)
            case ["loginctl", "show-user", _]:
                return Done(0, "yes" if self.linger else "no")
            case ["loginctl", "enable-linger", _]:
                self.linger = True
                return Done(0)
            case [_, "--version"]:
                return Done(0, "neod 0.1.0")
        return Done(NOT_FOUND, f"{command[0]}: not found")

    def systemctl(self, verb: str, units: Sequence[str]) -> Done:
        match verb:
            case "show":
                return Done(0, "252")
            case "is-active":
                return Done(0 if units[0] in self.active else 3)
            case "enable":
                return self.enable(units[0])
            case "disable":
                return self.disable(units)
            case "start" | "restart":
                return self.start(units, again=verb == "restart")
            case "daemon-reload":
                self.load()
                return Done(0)
        return Done(1, f"Failed to {verb}.")

    def load(self) -> None:
        self.loaded = {path.name: path.read_text() for path in self.folder.glob("neod.*[et]")}

    def enable(self, unit: str) -> Done:
        """As systemd does it: [Install] of the file on the disk, with its Also=."""
        said = []
        text = (self.folder / unit).read_text()
        for name in [unit, *(["neod.socket"] if "Also=neod.socket" in text else [])]:
            link = self.folder / f"{WANTS[name]}.wants" / name
            if not link.is_symlink():
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(self.folder / name)
                said.append(f"Created symlink {link} → {self.folder / name}.")
        return Done(0, "\n".join(said))

    def disable(self, units: Sequence[str]) -> Done:
        for unit in units:
            link = self.folder / f"{WANTS[unit]}.wants" / unit
            if link.is_symlink():
                link.unlink()
                if not list(link.parent.iterdir()):
                    link.parent.rmdir()
            self.active.pop(unit, None)
        return Done(0)

    def start(self, units: Sequence[str], *, again: bool) -> Done:
        for unit in units:
            if unit not in self.loaded:
                return Done(5, f"Failed to start {unit}: Unit {unit} not found.")
            needed = ["neod.socket"] if "Requires=neod.socket" in self.loaded[unit] else []
            for name in [*needed, unit]:
                if again or name not in self.active:
                    self.active[name] = self.loaded[name]
        return Done(0)
