"""A machine of its own with a user's systemd and a journal, within a quarter of a second.

systemd wants more than to be started: a cgroup that is its own to divide, a /run in which systemd
seems to have booted, a journal, a user. All of it is made in namespaces, so nothing outside
changes, and the kernel ends it when the test run ends, however that ends. The network is the one
outside, and so the sandbox can be there. It takes root, and a kernel with cgroup2.

Run as a program, this is what makes the namespaces (`outside`) and what is process 1 in them
(`inside`). It knows nothing of neod.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

UID = 4711  # a regular user, by journald's reckoning, and nobody's on a machine of tests
USER = "neod-test"
HOME = Path("/run/neod-test")
RUNTIME = Path(f"/run/user/{UID}")
CGROUPS = Path("/sys/fs/cgroup")
STARTS = 20.0  # seconds in which the machine has to be up
SYSTEMD = Path("/lib/systemd/systemd")
JOURNALD = Path("/lib/systemd/systemd-journald")
ENVIRON = {
    "HOME": os.fspath(HOME),
    "USER": USER,
    "LOGNAME": USER,
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "XDG_RUNTIME_DIR": os.fspath(RUNTIME),
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}


class Impossible(Exception):  # noqa: N818
    """This machine cannot have such a machine in it; str() says why."""


def why_not() -> str:
    """What this machine lacks for it; empty if nothing is missing."""
    if os.getuid() != 0:
        return "it takes root"
    for path in (SYSTEMD, JOURNALD):
        if not path.exists():
            return f"{path} is missing: apt-get install systemd"
    for program in ("unshare", "nsenter", "setpriv", "mount"):
        if shutil.which(program) is None:
            return f"{program} is missing: apt-get install util-linux mount"
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--ipc", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"namespaces cannot be made: {done.stderr.strip()}" if done.returncode else ""


class Machine:
    """The machine, and what can be done as its user."""

    def __init__(self, trees: Sequence[Path]) -> None:
        """`trees` are folders that the user has to be able to read."""
        apart = ("unshare", "--mount", "--propagation", "private", "--")
        self._outside = subprocess.Popen(
            [*apart, sys.executable, __file__, "outside", *map(os.fspath, trees)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._outside.stdout
        told = self._outside.stdout.readline().split()
        if told[:1] != ["up"]:
            self._end()
            raise Impossible(" ".join(told) or "it ended at once; see above")
        space = f"/proc/{told[1]}/ns"
        self._enter = (
            "nsenter",
            f"--mount={space}/mnt",
            f"--ipc={space}/ipc",
            f"--cgroup={space}/cgroup",
            f"--pid={space}/pid_for_children",
            "--",
            *as_user(ENVIRON),
        )

    def close(self) -> None:
        assert self._end() == 0, "something is left of it"

    def _end(self) -> int:
        assert self._outside.stdin
        assert self._outside.stdout
        self._outside.stdin.close()
        self._outside.stdout.close()
        return self._outside.wait(STARTS)

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as the user, to its end."""
        return subprocess.run(
            [*self._enter, *command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def lines(self, *command: str) -> Iterator[IO[str]]:
        """What a command of the user's prints, line by line, as long as it is wanted."""
        popen = subprocess.Popen([*self._enter, *command], stdout=subprocess.PIPE, text=True)
        assert popen.stdout
        with popen:
            try:
                yield popen.stdout
            finally:
                popen.kill()

    def do(self, *command: str, given: str = "") -> str:
        """Run a command as the user that has to succeed; returns what it printed."""
        done = self.run(*command, given=given)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def systemctl(self, *words: str) -> str:
        return self.do("systemctl", "--user", *words)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd says of a unit."""
        wanted = [f"--property={name}" for name in properties]
        lines = self.systemctl("show", unit, *wanted).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def write(self, path: Path, text: str) -> None:
        """A file of the user's, for that user alone."""
        there = 'umask 077; mkdir -p "$(dirname "$0")" && cat >"$0"'
        self.do("sh", "-c", there, os.fspath(path), given=text)


@contextmanager
def machine(trees: Sequence[Path]) -> Iterator[Machine]:
    """A machine, up. Raises Impossible."""
    if why := why_not():
        raise Impossible(why)
    made = Machine(trees)
    try:
        yield made
    finally:
        made.close()


def as_user(environ: Mapping[str, str]) -> tuple[str, ...]:
    become = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
    return (*become, "env", "-i", *(f"{name}={value}" for name, value in environ.items()))


# Outside: a cgroup for the machine, and its end.


def outside(trees: Sequence[str]) -> None:
    """Start the machine, and end it when stdin does: with whoever wanted it, or before."""
    before = next(
        line[3:] for line in Path("/proc/self/cgroup").read_text().split() if line[:3] == "0::"
    )
    mount_cgroups()
    group = CGROUPS / f"neod-test-{os.getpid()}"
    group.mkdir()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    spaces = ("--cgroup", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child")
    with subprocess.Popen(
        ["unshare", *spaces, "--", sys.executable, __file__, "inside", *trees],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as inner:
        assert inner.stdout
        first = inner.stdout.readline().strip()
        print(f"up {inner.pid}" if first == "up" else first, flush=True)
        sys.stdin.read()
        inner.kill()  # and with it all that is inside
    (CGROUPS / before.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
    until = time.monotonic() + STARTS
    while group.exists():  # the kernel takes its time with who has been killed
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        assert time.monotonic() < until, f"{group} is not empty"
        time.sleep(0.01)


def mount_cgroups() -> None:
    # The tmpfs between keeps the kernel from saying that it is mounted there already.
    mount("-t", "tmpfs", "tmpfs", CGROUPS)
    mount("-t", "cgroup2", "cgroup2", CGROUPS)


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


# Inside: process 1.


def inside(trees: Sequence[str]) -> None:
    """Make the machine what systemd takes for one, start what belongs to it, and say so."""
    mount_cgroups()  # of which the machine's own is now the root
    mine = CGROUPS / f"user.slice/user-{UID}.slice/user@{UID}.service"  # journald goes by the names
    journal = CGROUPS / "system.slice/systemd-journald.service"
    init = CGROUPS / "init.scope"
    for folder in (mine, journal, init):
        folder.mkdir(parents=True)
    for path in (mine, *(mine / f"cgroup.{n}" for n in ("procs", "threads", "subtree_control"))):
        os.chown(path, UID, UID)
    (init / "cgroup.procs").write_text(str(os.getpid()))
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for name in ("system", "unit-root", "mount-rootfs", "journal", "journald.conf.d", "propagate"):
        Path("/run/systemd", name).mkdir(parents=True)
    for folder in (Path("/run/credentials"), Path("/run/lock")):
        folder.mkdir()
    for folder in (RUNTIME, HOME):
        folder.mkdir(parents=True)
        mount("-t", "tmpfs", "-o", f"mode=0700,uid={UID},gid={UID}", "tmpfs", folder)
    expose(trees)
    for table, line in (("passwd", f"{HOME}:/bin/sh"), ("group", "")):
        own = Path("/run", table)
        entry = f"{USER}:x:{UID}:{f'{UID}::{line}' if line else ''}\n"
        own.write_text(Path("/etc", table).read_text() + entry)
        mount("--bind", own, Path("/etc", table))
    (Path("/run/machine-id")).write_text("4711" * 8 + "\n")
    mount("--bind", "/run/machine-id", "/etc/machine-id")
    mount("-t", "tmpfs", "tmpfs", "/var/log")
    Path("/var/log/journal").mkdir()
    Path("/run/systemd/journal/flushed").touch()  # or there is no journal for each user
    Path("/run/systemd/journald.conf.d/test.conf").write_text(
        "[Journal]\nStorage=persistent\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\n"
        "ForwardToWall=no\nRateLimitBurst=0\n"
    )
    begin([os.fspath(JOURNALD)], journal, {"SYSTEMD_LOG_TARGET": "console"})
    words = [os.fspath(SYSTEMD), "--user", "--log-target=journal"]
    begin(words, mine, ENVIRON, user=True)
    print("up", flush=True)
    while True:  # whoever has lost its parent is this one's to bury
        try:
            os.wait()
        except ChildProcessError:
            signal.pause()


def begin(
    command: Sequence[str], group: Path, environ: Mapping[str, str], *, user: bool = False
) -> None:
    """Start a service, and wait until it says READY."""
    address = f"/run/ready-{group.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(address)
        Path(address).chmod(0o666)
        ready.settimeout(STARTS)
        told = {**environ, "NOTIFY_SOCKET": address}
        become = as_user(told) if user else ()
        join = f'echo $$ >{group}/cgroup.procs && exec "$@"'
        quiet = subprocess.DEVNULL  # what they have to say is in the journal
        subprocess.Popen(
            ["sh", "-c", join, "-", *become, *command],
            env=told,
            cwd="/",
            stdout=quiet,
            stderr=quiet,
        )
        while b"READY=1" not in ready.recv(4096).split(b"\n"):
            pass


def expose(trees: Sequence[str]) -> None:
    """Let the user read these folders, though one above them may be closed, as /root is."""
    closed: dict[Path, list[Path]] = {}
    for tree in map(Path, trees):
        above = [one for one in reversed(tree.parents) if not one.stat().st_mode & 0o001]
        if above:
            closed.setdefault(above[0], []).append(tree)
    for folder, below in closed.items():
        kept = []
        for number, tree in enumerate(below):
            place = Path(f"/run/exposed/{folder.name}-{number}")
            place.mkdir(parents=True)
            mount("--rbind", tree, place)
            kept.append((place, tree))
        mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder)
        for place, tree in kept:
            tree.mkdir(parents=True, exist_ok=True)
            mount("--move", place, tree)


if __name__ == "__main__":
    {"outside": outside, "inside": inside}[sys.argv[1]](sys.argv[2:])
