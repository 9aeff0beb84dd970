"""An sshd of its own on loopback, and the ssh that reaches it: one host, seen from another.

It has keys and a configuration of its own, and reads nothing of the machine's.
"""

import getpass
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

PATIENCE = 20.0  # seconds in which a forwarded socket has to be there
_SSHD = Path("/usr/sbin/sshd")  # which insists on being called by its whole path
_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
StreamLocalBindUnlink yes
"""
_CLIENT = """\
Host *
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  BatchMode yes
"""


class Sshd:
    """Lets in who has its key: the user who runs it, and any other if that is root."""

    def __init__(self) -> None:
        if not _SSHD.exists():
            pytest.fail("there is no sshd: apt-get install openssh-server")
        if os.getuid() == 0:  # as the package's unit does
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(prefix="neod-sshd-")
        folder = Path(self._temporary.name)
        folder.chmod(0o755)  # the keys that may log in are read as who logs in
        for name in ("host", "user"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"]
            subprocess.run(keygen, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        kind, key, *_ = (folder / "host.pub").read_text().split()
        (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
        for name, text in (("sshd_config", _SERVER), ("ssh_config", _CLIENT)):
            (folder / name).write_text(text.format(port=port, folder=folder))
        self._client = folder / "ssh_config"
        self._popen = subprocess.Popen(
            [f"{_SSHD}", "-D", "-e", "-f", f"{folder}/sshd_config"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stderr
        said = self._popen.stderr.readline()
        assert "listening on" in said, said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.kill()
        _, said = self._popen.communicate()
        self._temporary.cleanup()
        if error is not None:
            print(said)

    @contextmanager
    def forwarding(
        self, options: Sequence[str], path: Path, user: str = ""
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """`ssh OPTIONS USER@HOST`, once it forwards the socket at `path`."""
        name = user or getpass.getuser()
        command = ["ssh", "-F", os.fspath(self._client), *options, f"{name}@host"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as ssh:
            try:
                until = time.monotonic() + PATIENCE
                while not _listens(path):
                    assert ssh.poll() is None, f"ssh has ended: {ssh.returncode}"
                    assert time.monotonic() < until, f"no {path}"
                    time.sleep(0.02)  # another program's doing, which nothing tells of
                yield ssh
            finally:
                ssh.kill()


def _listens(path: Path) -> bool:
    """True if somebody does; the file alone may be left over from before."""
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(os.fspath(path)) == 0
