"""What systemd is told, and what it wants and hands over, as its manuals have it.

These are sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). Does nothing where systemd is
not. Knows nothing of what is in what it sends or is given.
"""

import os
import socket
from collections.abc import Mapping, MutableMapping

from neod import log

FIRST = 3  # the descriptor from which on systemd passes others, by sd_listen_fds(3)
VALUE_MAX = 1000  # characters of a field; systemd ignores a message of more than 4096 bytes
LISTEN = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def notify(environ: Mapping[str, str], **fields: str | int) -> None:
    """Send fields such as READY=1 or STATUS="…" to $NOTIFY_SOCKET, if there is one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    message = "\n".join(f"{name}={_one_line(value)}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode("utf-8", "surrogateescape"), address)
    except OSError as error:  # systemd will say itself that it heard nothing
        log.warning("notify", error=error.strerror)


def _one_line(value: str | int) -> str:
    """What a broker said may stand in it: it must not become a field of its own."""
    return "".join(c if c.isprintable() else " " for c in str(value)[:VALUE_MAX])


def watchdog_time(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which systemd wants to hear WATCHDOG=1 of this process; None if it does not.

    See sd_watchdog_enabled(3).
    """
    told = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (told.isascii() and told.isdigit()):
        return None
    return int(told) / 1e6 or None


def handed_over(environ: MutableMapping[str, str], pid: int) -> list[int]:
    """The descriptors that systemd passed to the process `pid`; no child inherits them.

    The variables are taken out of the environment, or a child would think that they are for it.
    """
    told = {name: environ.pop(name, "") for name in LISTEN}
    count = told["LISTEN_FDS"]
    if told["LISTEN_PID"] != str(pid) or not (count.isascii() and count.isdigit()):
        return []
    passed = list(range(FIRST, FIRST + int(count)))
    for descriptor in passed:
        try:
            os.set_inheritable(descriptor, False)
        except OSError as error:
            log.warning("handed_over", descriptor=descriptor, error=error.strerror)
    return passed
