"""`neod install` and `neod uninstall`: neod as a service of the user's systemd, and back.

Says each thing that it writes and runs. A unit that somebody has changed since it was written is
replaced only on that person's word, and kept. What runs systemctl is handed in.
"""

import hashlib
import os
import pwd
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from neod.errors import Unusable
from neod.lock import Lock
from neod.paths import tilde

SERVICE, SOCKET = UNITS = ("neod.service", "neod.socket")
LIMIT = 60.0  # seconds for a command; a start takes at most 30
NOT_FOUND = 127  # as a shell has it
_PLACE = "%h/.local/share/neod/venv/bin"  # where neod is, in the units as they are delivered
_MARK = "# Written by `neod install`, which replaces it as long as nobody has changed it"
_PLAIN = re.compile(r"[A-Za-z0-9/_.+@:,=-]+")
Say = Callable[[str], None]


class Done(msgspec.Struct, frozen=True):
    """What came of a command: its status, and what it printed."""

    status: int
    said: str = ""


class Programs(msgspec.Struct, frozen=True):
    """How systemd is to start this neod, and its neoctl."""

    neod: tuple[str, ...]
    neoctl: tuple[str, ...]


class Site(msgspec.Struct, frozen=True):
    """Where it is installed, for whom, and by what means."""

    folder: Path  # of the user's units
    home: str
    user: str
    run: Callable[[Sequence[str]], Done]
    say: Say
    ask: Callable[[str], bool]  # False where there is nobody to ask

    def shown(self, path: Path) -> str:
        return tilde(os.fspath(path), self.home)

    def do(self, *command: str) -> Done:
        """Run a command, and say so with what it said."""
        self.say(f"ran      {' '.join(command)}")
        done = self.run(command)
        for line in done.said.splitlines():
            self.say(f"         {line}")
        return done


# How neod is started.


def programs(executable: str, argv0: str) -> Programs:
    """The scripts of the neod that runs now, by its interpreter and by how it was called.

    The script that was called comes first: pipx has it where it stays over an upgrade. Without
    scripts it is the interpreter, which does not look into the folder it is started in (-P).
    """
    folders = [Path(executable).parent]
    if Path(argv0).name == "neod":
        folders.insert(0, Path(argv0).absolute().parent)
    for folder in folders:
        neod, neoctl = folder / "neod", folder / "neoctl"
        if neod.is_file() and neoctl.is_file():
            return Programs((os.fspath(neod),), (os.fspath(neoctl),))
    return Programs((executable, "-P", "-m", "neod"), (executable, "-P", "-m", "neoctl"))


def render(unit: str, found: Programs, config: Path | None = None) -> str:
    """A unit as it is written: for these programs, and marked. Raises Unusable."""
    text = (delivered() / unit).read_text(encoding="utf-8")
    run = (*found.neod, "run", *(("--config", os.fspath(config)) if config else ()))
    text = text.replace(f"{_PLACE}/neod run", command_line(run))
    text = text.replace(f"{_PLACE}/neoctl reload", command_line((*found.neoctl, "reload")))
    return f"{_MARK}: {_sum(text)}\n{text}"


def delivered() -> Path:
    """The folder with the units: in an installed neod, or beside it in a checkout."""
    inside = Path(__file__).parent / "units"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "systemd"


def command_line(words: Sequence[str]) -> str:
    """A command as systemd.service(5) takes it. Raises Unusable."""
    return " ".join(_quoted(word, first=number == 0) for number, word in enumerate(words))


def _quoted(word: str, *, first: bool) -> str:
    if not word.isprintable():
        raise Unusable(f"a unit cannot name {word!r}: it has characters that cannot be printed")
    if not first:  # in which systemd looks for no variable
        word = word.replace("$", "$$")
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    return '"{}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_ours(text: str) -> bool:
    """True if it was written here, and is as it was written."""
    head, _, rest = text.partition("\n")
    return head == f"{_MARK}: {_sum(rest)}"


# Putting it there.


def install(
    site: Site,
    found: Programs,
    state: Path,
    config: Path,
    *,
    named: bool = False,
    force: bool = False,
    linger: bool = True,
) -> int:
    """Write the units, start neod, and have it start by itself; returns the exit status.

    `config` is its configuration, which the unit has to name if it is `named`. Raises Unusable
    and AlreadyRunning, with everything as it was.
    """
    _meet_systemd(site)
    _prove(site, found)
    active = site.run(("systemctl", "--user", "is-active", "--quiet", SERVICE)).status == 0
    if not active and (state / "lock").exists():
        try:
            with Lock(state / "lock", instead="stop it first"):
                pass
        except OSError as error:
            raise Unusable(f"{state / 'lock'}: {error.strerror}") from None
    wanted = {unit: render(unit, found, config if named else None) for unit in UNITS}
    stale = [unit for unit, text in wanted.items() if _read(site.folder / unit) != text]
    _may_replace(site, stale, force=force)
    for unit, text in wanted.items():
        if unit in stale:
            _write(site, unit, text)
        else:
            site.say(f"as is    {site.shown(site.folder / unit)}")
    site.do("systemctl", "--user", "daemon-reload")
    if site.do("systemctl", "--user", "enable", SERVICE).status != 0:
        return 1
    start = ("restart", SOCKET, SERVICE) if active and stale else ("start", SERVICE)
    if site.do("systemctl", "--user", *start).status != 0:
        site.say("neod did not start; why, tells: journalctl --user -u neod -n 20")
        return 1
    status = 0 if not linger or _linger(site) else 1
    if not linger:
        site.say("without linger neod ends when you log out")
    if config.exists():
        site.say("neod runs; how it stands, tells: neoctl status")
    else:
        site.say("neod runs, and has no configuration yet: neod setup, then neoctl reload")
    return status


def _meet_systemd(site: Site) -> None:
    """Raises Unusable where the user has no systemd to talk to."""
    done = site.run(("systemctl", "--user", "show", "--property=Version", "--value"))
    if done.status == NOT_FOUND:
        raise Unusable(
            "there is no systemctl here; have whatever starts programs on this machine run "
            "`neod run`, as docs/operations.md tells"
        )
    if done.status != 0:
        raise Unusable(
            f"systemd --user of {site.user} cannot be asked: {_in_one_line(done.said)}; "
            "log in as that user itself, not by su, or have root start it for good: "
            f"loginctl enable-linger {site.user}"
        )


def _prove(site: Site, found: Programs) -> None:
    """Raises Unusable where systemd would start what does not run."""
    done = site.run((*found.neod, "--version"))
    if done.status != 0:
        raise Unusable(
            f"{' '.join(found.neod)} does not run by itself: {_in_one_line(done.said)}; "
            "install neod first: pip install ."
        )


def _read(path: Path) -> str | None:
    """What is there; None if nothing is. Raises Unusable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None


def _may_replace(site: Site, units: Sequence[str], *, force: bool) -> None:
    """Raises Unusable if one of them was changed, and nobody says that it may be replaced."""
    for unit in units:
        path = site.folder / unit
        text = _read(path)
        if (text is None and not path.is_symlink()) or (text is not None and is_ours(text)):
            continue
        shown = site.shown(path)
        if force or site.ask(f"{shown} is not as neod wrote it. Replace it, and keep it as .bak?"):
            continue
        raise Unusable(
            f"{path} is not as neod wrote it, and was left; --force replaces it and keeps it as "
            f".bak; changes that stay go into a file of their own: systemctl --user edit {unit}"
        )


def _write(site: Site, unit: str, text: str) -> None:
    path = site.folder / unit
    before = _read(path)
    new = path.with_name(f".{unit}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (before is not None and not is_ours(before)):
            path.replace(_kept(path))
            site.say(f"kept     {site.shown(_kept(path))}")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise Unusable(f"{error.filename or path}: {error.strerror}") from None
    site.say(f"wrote    {site.shown(path)}")


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _linger(site: Site) -> bool:
    """See to it that neod outlives the login of its user. False if it does not."""
    asked = site.run(("loginctl", "show-user", site.user, "--property=Linger", "--value"))
    if asked.status == 0 and asked.said.strip() == "yes":
        site.say("as is    linger, so that neod runs while you are not logged in")
        return True
    if site.do("loginctl", "enable-linger", site.user).status == 0:
        return True
    site.say(
        "neod ends when you log out, since linger could not be enabled; have root say: "
        f"loginctl enable-linger {site.user}"
    )
    return False


# Taking it away.


def uninstall(site: Site, *, force: bool = False) -> int:
    """Stop neod, and leave the units' folder as it was before `install`; returns the exit status.

    Raises Unusable, with everything as it was.
    """
    there = [unit for unit in UNITS if os.path.lexists(site.folder / unit)]
    if not there:
        site.say(f"nothing to do: neod is not in {site.shown(site.folder)}")
        return 0
    _meet_systemd(site)
    _may_delete(site, there, force=force)
    if site.do("systemctl", "--user", "disable", "--now", *there).status != 0:
        return 1
    try:
        for unit in there:
            _take_away(site, site.folder / unit)
    except OSError as error:
        raise Unusable(f"{error.filename}: {error.strerror}") from None
    site.do("systemctl", "--user", "daemon-reload")
    site.run(("systemctl", "--user", "reset-failed", *there))  # which fails where nothing has
    for folder in (site.folder, site.folder.parent):
        with suppress(OSError):  # others have something there
            folder.rmdir()
    for unit in UNITS:
        if (site.folder / f"{unit}.d").exists():
            site.say(f"left     {site.shown(site.folder / f'{unit}.d')}, which neod did not write")
    site.say(
        "left     the configuration and the ledger: ~/.config/neod and ~/.local/state/neod\n"
        f"left     linger; unless something else needs it: loginctl disable-linger {site.user}"
    )
    return 0


def _may_delete(site: Site, units: Sequence[str], *, force: bool) -> None:
    """Raises Unusable if one of them was changed, and nobody says that it may be deleted."""
    for unit in units:
        path = site.folder / unit
        text = _read(path)
        if text is not None and is_ours(text):
            continue
        if not (force or site.ask(f"{site.shown(path)} is not as neod wrote it. Delete it?")):
            raise Unusable(f"{path} is not as neod wrote it, and was left; --force deletes it")


def _take_away(site: Site, path: Path) -> None:
    path.unlink()
    site.say(f"deleted  {site.shown(path)}")
    if _kept(path).exists():
        _kept(path).replace(path)
        site.say(f"put back {site.shown(path)}")


# The means.


def unit_folder(environ: Mapping[str, str]) -> Path:
    """Where systemd looks for the units that a user wrote."""
    configured = environ.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".config"
    return base / "systemd" / "user"


def runner(environ: Mapping[str, str]) -> Callable[[Sequence[str]], Done]:
    """What runs a command, in an environment in which it finds the user's systemd."""
    environ = dict(environ)
    runtime = f"/run/user/{os.getuid()}"
    if not environ.get("XDG_RUNTIME_DIR") and Path(runtime).is_dir():  # as by sudo -u
        environ["XDG_RUNTIME_DIR"] = runtime
    environ["SYSTEMD_COLORS"] = "0"

    def run(command: Sequence[str]) -> Done:
        try:
            done = subprocess.run(  # noqa: S603 - commands of this module's
                command,
                env=environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=LIMIT,
            )
        except FileNotFoundError:
            return Done(NOT_FOUND, f"{command[0]}: not found")
        except OSError as error:
            return Done(126, f"{command[0]}: {error.strerror}")
        except subprocess.TimeoutExpired:
            return Done(124, f"it did not end within {LIMIT:g} s")
        return Done(done.returncode, done.stdout.strip())

    return run


def user_name(uid: int) -> str:
    """Whom loginctl means; what the environment says may be left over from before an su."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def refuse_root(uid: int) -> None:
    """Raises Unusable for root, who is nobody's bot."""
    if uid == 0:
        raise Unusable(
            "you are root, and neod is a service of the user that the bots run as; so, as root: "
            "loginctl enable-linger NAME; then: sudo -u NAME neod install"
        )


def _in_one_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    return " / ".join(line for line in lines if line) or "it said nothing"
