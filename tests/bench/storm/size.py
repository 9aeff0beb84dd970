"""How large neod is, and whether it has grown."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GROWTH = 10.0  # MB that neod may be larger at the end than at the quiet moment before
THREADS = 8  # that it may have: it has 2 to 5, of what accounts write and of hooks being started
TALKS = 3  # connections to the broker that logins of three accounts may have at a time


class Size(NamedTuple):
    files: list[str]  # what its descriptors are of, but for those to the broker
    talks: int  # descriptors that are connections to the broker
    memory: float  # MB
    threads: int
    zombies: int  # children that have ended and are not waited for
    peers: list[str]  # who is connected, by what neod says; one is who asks

    @property
    def descriptors(self) -> int:
        return len(self.files)

    def __str__(self) -> str:
        return (
            f"{self.memory:.1f} MB, {self.descriptors} descriptors and {self.talks} to the broker, "
            f"{self.threads} threads, {self.zombies} zombies"
        )


def measure(pid: int, peers: list[str]) -> Size:
    talks, files = _descriptors(pid)
    status = Path(f"/proc/{pid}/status").read_text()
    return Size(
        files=files,
        talks=talks,
        memory=_field(status, "VmRSS") / 1000,
        threads=_field(status, "Threads"),
        zombies=_zombies(pid),
        peers=peers,
    )


def grown(before: Size | None, size: Size) -> list[str]:
    """What is more than it should be once nobody asks; `before` is what it was earlier so."""
    found = []
    if len(size.peers) > 1:
        found.append(f"nobody asks, and {len(size.peers)} are connected: {size.peers}")
    if size.talks > TALKS:
        found.append(f"{size.talks} connections to the broker")
    if size.threads > THREADS:
        found.append(f"{size.threads} threads")
    if size.zombies:
        found.append(f"{size.zombies} children were not waited for")
    if before is None:
        return found
    if size.descriptors > before.descriptors:
        found.append(f"descriptors: {before.files} -> {size.files}")
    if size.memory > before.memory + GROWTH:
        found.append(f"MB: {before.memory:.1f} -> {size.memory:.1f}")
    return found


def _field(status: str, name: str) -> int:
    return int(status.partition(f"{name}:")[2].split()[0])


def _descriptors(pid: int) -> tuple[int, list[str]]:
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    tcp = {f"socket:[{line.split()[9]}]" for line in table}
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.fspath(path.readlink()))
    files = sorted(one for one in found if one not in tcp)
    return len(found) - len(files), files


def _zombies(pid: int) -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            count += (state, parent) == ("Z", str(pid))
    return count
