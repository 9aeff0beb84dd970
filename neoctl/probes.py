"""What `neoctl doctor` looks at: each probe gets facts and judges nothing.

None of them writes anything, or sends anything but questions to neod. What may hang is run by
together(), which goes on without it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

from neoctl import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
LINGER = "/var/lib/systemd/linger"  # a file for each user who has it
RUNS_SYSTEMD = "/run/systemd/system"  # sd_booted(3)
UNITS = ("neod.service", "neod.socket")


class Runs(Protocol):
    """What can be run."""

    def run(self) -> None:
        """Do it."""


class Place(NamedTuple):
    """A path, and what is there. `kind` is empty where there is nothing."""

    path: str
    kind: str = ""  # socket, folder, file, link, other
    mode: int = 0
    uid: int = 0
    why: str = ""  # it could not be looked at


class Answer(NamedTuple):
    """What came of asking neod how it is."""

    took: float = 0.0  # seconds
    body: bytes = b""
    peer: int | None = None  # the uid at the other end
    problem: client.Problem | None = None


class Done(NamedTuple):
    """What came of a command."""

    status: int
    out: str = ""
    err: str = ""


class Routes(NamedTuple):
    """The local addresses from which a host would be reached; None where it would not."""

    host: str
    v4: str | None = None
    v6: str | None = None
    why: str = ""  # it is not known
    here: bool | None = None  # whether the address that is asked for is one of this machine's


class Space(NamedTuple):
    """What is free where a folder is. None where the filesystem does not count it."""

    path: str
    free: int = 0  # bytes that one may use without being root
    files: int | None = None
    why: str = ""


class Look(Generic[T]):
    """A probe, and what it found; or the exception that it raised, TimeoutError if it hangs."""

    def __init__(self, probe: Callable[[], T]) -> None:
        self._probe = probe
        self.found: T | Exception = TimeoutError("it hangs")

    def run(self) -> None:
        try:
            self.found = self._probe()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            self.found = error


def together(seconds: float, looks: Sequence[Runs]) -> None:
    """Have them run at once, for so long at most.

    One that hangs is left behind; the interpreter does not wait for it.
    """
    threads = [threading.Thread(target=look.run, daemon=True) for look in looks]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def place(path: str, *, follow: bool = False) -> Place:
    """What is at this path."""
    try:
        found = os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Place(path)
    except (OSError, ValueError) as error:
        return Place(path, "other", why=getattr(error, "strerror", None) or str(error))
    kinds = {
        stat.S_IFSOCK: "socket",
        stat.S_IFDIR: "folder",
        stat.S_IFREG: "file",
        stat.S_IFLNK: "link",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return Place(path, kind, stat.S_IMODE(found.st_mode), found.st_uid)


def answer(path: str, environ: Mapping[str, str]) -> Answer:
    """Ask neod for its status, and see whose process it is."""
    began = time.monotonic()
    try:
        body = client.get("/v1/status", environ=environ).body
    except client.Problem as problem:
        return Answer(time.monotonic() - began, peer=_peer(path), problem=problem)
    return Answer(time.monotonic() - began, body, _peer(path))


def _peer(path: str) -> int | None:
    """The uid of who listens."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(path)
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    _, uid, _ = struct.unpack("3i", raw)
    return int(uid)


def run(command: list[str], environ: Mapping[str, str], seconds: float) -> Done | None:
    """Run a command without a terminal; None where there is no such program.

    Raises TimeoutError a second after it was told to end, at most.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no /dev/tty either
        )
    except OSError:
        return None
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have it end what it started in other groups, then end all that is left of its own."""
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def of_systemd(environ: Mapping[str, str], uid: int) -> dict[str, str]:
    """The environment in which systemctl finds the user's manager, as from a login."""
    runtime = f"/run/user/{uid}"
    missing = not environ.get("XDG_RUNTIME_DIR") and os.path.isdir(runtime)
    return {**environ, "XDG_RUNTIME_DIR": runtime} if missing else dict(environ)


def units(environ: Mapping[str, str], uid: int, seconds: float) -> Done | None:
    """What the user's systemd says of neod's units; None where no systemd runs."""
    if not os.path.isdir(RUNS_SYSTEMD):
        return None
    wanted = "Id,LoadState,UnitFileState,ActiveState,Result,NeedDaemonReload"
    return run(
        ["systemctl", "--user", "show", *UNITS, f"--property={wanted}"],
        of_systemd(environ, uid),
        seconds,
    )


def lingers(uid: int) -> bool | None:
    """Whether the user's services go on after a logout; None where no systemd runs."""
    if not os.path.isdir(RUNS_SYSTEMD):
        return None
    return os.path.exists(f"{LINGER}/{user_name(uid)}")


def keeps_time(environ: Mapping[str, str], seconds: float) -> Done | None:
    """What timedatectl says of NTP; None where it is not there."""
    return run(["timedatectl", "show", "-p", "NTP", "-p", "NTPSynchronized"], environ, seconds)


def routes(url: str, source: str | None) -> Routes:
    """From where this machine would reach the host of a URL. Sends no packet to it.

    A UDP socket that is connected has sent nothing, and knows its local address.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    here = None if source is None else _is_here(source)
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_DGRAM)
    except OSError as error:
        return Routes(host, why=error.strerror or str(error), here=here)
    local: dict[int, str | None] = {}
    for family, kind, protocol, _, address in found:
        if local.get(family):
            continue
        try:
            with socket.socket(family, kind, protocol) as unsent:
                unsent.connect(address)
                local[family] = str(unsent.getsockname()[0])
        except OSError:
            local[family] = None
    return Routes(host, local.get(socket.AF_INET), local.get(socket.AF_INET6), here=here)


def _is_here(address: str) -> bool:
    """Whether an address is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((address, 0))
    except OSError:
        return False
    return True


def find_neod(environ: Mapping[str, str]) -> str | None:
    """The program neod: beside neoctl, beside its interpreter, or on PATH."""
    folders = [os.path.dirname(os.path.abspath(sys.argv[0]))] if sys.argv[0] else []
    folders += [os.path.dirname(sys.executable)] if sys.executable else []
    for folder in folders:
        path = os.path.join(folder, "neod")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return shutil.which("neod", path=environ.get("PATH"))


def check(
    neod: str, configuration: str | None, environ: Mapping[str, str], seconds: float
) -> Done | None:
    """`neod check`, without a terminal."""
    which = ["--config", configuration] if configuration else []
    return run([neod, "check", *which], environ, seconds)


def space(path: str) -> Space:
    """What is free where this folder is."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        return Space(path, why=error.strerror or str(error))
    files = found.f_favail if found.f_files else None
    return Space(path, found.f_bavail * found.f_frsize, files)


def may_write(path: str) -> bool:
    """Whether one may make files in this folder."""
    return os.access(path, os.W_OK | os.X_OK)


def user_name(uid: int) -> str:
    """What the user is called; the number where nobody knows."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def now() -> float:
    """Epoch seconds."""
    return time.time()  # noqa: TID251 - a client has no clock to take
