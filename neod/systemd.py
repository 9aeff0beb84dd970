"""What systemd is told: sd_notify(3), nothing else. Does nothing where systemd is not."""

import os
import socket
from collections.abc import Mapping

from neod import log


def notify(environ: Mapping[str, str], **fields: str | int) -> None:
    """Send fields such as READY=1 or STATUS="…" to $NOTIFY_SOCKET, if there is one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(os.fsencode(message), address)
    except OSError as error:  # systemd will say itself that it heard nothing
        log.warning("notify", error=error.strerror)
