"""The contract between neod and those who ask it: where the socket is, and what a failure means.

Both sides import this module, so it imports nothing but `os` and knows nothing of either.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_MAX = 8 * 1024  # bytes of a request's head
BODY_MAX = 64 * 1024  # bytes of a request's body
HEAD_TIME = 5.0  # seconds in which a head has to arrive
WAIT_MAX = 300.0  # seconds: the most that `wait=` may ask for

# What can go wrong: code -> (HTTP status, exit status of neoctl, title).
# `not_running` never crosses the wire; the client says it.
PROBLEMS = {
    "bad_request": (400, 2, "The request cannot be understood"),
    "unknown_account": (404, 2, "No such account"),
    "not_found": (404, 2, "No such route"),
    "method_not_allowed": (405, 2, "The route does not take this method"),
    "not_running": (0, 3, "neod is not running"),
    "not_ready": (503, 4, "There is no such session yet"),
    "login_budget": (503, 4, "The budget of logins is used up"),
    "too_many_connections": (503, 4, "Too many connections"),
    "shutting_down": (503, 4, "neod is stopping"),
    "otp_needed": (409, 5, "A one-time password is needed"),
    "credentials_rejected": (409, 5, "The broker refused the credentials"),
    "blocked": (409, 5, "neod will not log in by itself"),
    "paused": (409, 5, "Logging in is paused"),
    "broker_unavailable": (503, 6, "The broker cannot be reached"),
    "min_valid_unreachable": (409, 7, "The session does not live that long"),
    "forbidden": (403, 8, "Not for you"),
    "internal_error": (500, 1, "A bug in neod"),
}
PASSES_BY_ITSELF = frozenset(
    {"not_ready", "login_budget", "too_many_connections", "shutting_down", "broker_unavailable"}
)


def exit_status(code: str) -> int:
    """Neoctl's exit status for a problem; 1 for a code that this version does not know."""
    return PROBLEMS[code][1] if code in PROBLEMS else 1


def socket_path(environ: Mapping[str, str], uid: int) -> str:
    """Where neod of the user `uid` listens: the same rule for the daemon and for its clients."""
    if environ.get("NEOD_SOCKET"):
        return environ["NEOD_SOCKET"]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/"):  # the XDG specification: a relative one is to be ignored
        runtime = f"/run/user/{uid}"
        if not os.path.isdir(runtime):
            return f"{_fallback(uid)}/neod.sock"
    return f"{runtime}/neod/neod.sock"


def distrust(path: str, uid: int) -> str:
    """Why the folder of this socket cannot be trusted; empty if it can.

    Anybody may make a folder in /tmp, so there it has to be one's own and closed to others.
    Raises FileNotFoundError where there is none: who connects then would find a stranger's.
    """
    folder = os.path.dirname(path)
    if folder != _fallback(uid):
        return ""
    found = os.lstat(folder)
    if found.st_mode & 0o170000 != 0o040000:
        return f"{folder} is not a directory"
    if found.st_uid != uid:
        return f"{folder} belongs to uid {found.st_uid}, not to you (uid {uid})"
    if found.st_mode & 0o077:
        return f"{folder} is open to others (mode {found.st_mode & 0o777:04o}); chmod 700 {folder}"
    return ""


def _fallback(uid: int) -> str:
    return f"/tmp/neod-{uid}"  # noqa: S108 - see distrust()
