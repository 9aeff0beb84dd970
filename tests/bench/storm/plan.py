"""What is thrown, and when: drawn from the seed, so that a seed repeats the plan of a run."""

from random import Random
from typing import NamedTuple

# Kind -> its weight, and what it is for a reader of the table.
KINDS: dict[str, tuple[float, str]] = {
    "SIGKILL": (5, "neod is killed, and started again at once or a moment later"),
    "restart": (1.5, "SIGTERM, which has to end in status 0, and a start"),
    "SIGSTOP": (3, "neod stands still for up to 4 s"),
    "margin": (2, "another margin, by HUP or `neoctl reload`"),
    "account": (2, "a second account is added or taken away, by either"),
    "faulty file": (1.5, "a configuration with a mistake, by either, and the right one again"),
    "small budget": (1, "3 logins in 10 minutes for some seconds"),
    "wrong password": (0.8, "a password that the broker refuses, and the right one again"),
    "person": (1.5, "renew, USR1, or pause and resume"),
    "full disk": (1.5, "the disk of neod's state is full for up to 6 s"),
    "no files": (1.5, "no file descriptor is left for up to 4 s"),
    "broker stopped": (1.5, "the broker stands still for up to 4 s"),
    "broker killed": (1.2, "the broker is gone with its sessions, and back within 4 s"),
    "sessions ended": (2, "the broker ends all sessions early"),
    "refused": (1, "a login is refused though all is right; a person unblocks it"),
    "unavailable": (3, "503, 500, 502, 504, throttled, or a failed dependency"),
    "hang": (2, "the broker never answers, or late"),
    "garbage": (2, "pages, nothing, half an answer, or another type"),
    "API": (2, "what the API answers: dead, unauthorized, another address, 503"),
    "hostile": (4, "slow heads, halves, garbage, floods, early ends, peers that read nothing"),
}
LONGER = {"small budget": 15.0, "person": 10.0}  # seconds: it shows only once logins are due
DAEMON_DIES = ("SIGKILL", "restart")
QUIET = 3.0  # seconds at the end of the plan in which nothing is thrown
STEPS = ("bearer", "login", "validate")
TIMES = (1, 1, 1, 2, 3)
WORDS = ("HUP", "neoctl reload")
WAYS = {
    "SIGKILL": ("at once", "at once", "later"),
    "margin": ("1s", "3s", "10s", "15min"),
    **dict.fromkeys(("account", "faulty file", "small budget", "wrong password"), WORDS),
    "person": ("renew", "USR1", "pause"),
    "refused": ("credentials@login", "mpin@validate", "totp-wrong@login", "stcode-401@validate"),
    "unavailable": ("503", "500", "502", "502-html", "504", "429", "throttled=2", "passing-424"),
    "hang": ("hang", "slow=2", "slow=5"),
    "garbage": ("html", "empty", "cut", "wrong-type"),
    "API": ("dead-session", "unauthorized-100008", "ip-1037", "503", "bearer-dead", "hang"),
    "hostile": ("10", "20", "40", "60"),
}


class Throw(NamedTuple):
    at: float  # seconds since the begin
    kind: str
    lasts: float  # seconds
    how: str = ""

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind} {self.how} {self.lasts:.1f} s"


def plan(draw: Random, begin: float, end: float, *, disk: bool, deaths: bool) -> list[Throw]:
    """What is thrown between two moments; with `deaths`, neod itself may be ended."""
    kinds = [kind for kind in KINDS if disk or kind != "full disk"]
    weights = [KINDS[kind][0] for kind in kinds]
    thrown, at = [], begin
    while (at := at + draw.expovariate(1 / 1.2)) < end - QUIET:
        [kind] = draw.choices(kinds, weights)
        lasts, how = draw.uniform(0.2, 4.0) + LONGER.get(kind, 0.0), _how(draw, kind)
        if deaths or kind not in DAEMON_DIES:
            thrown.append(Throw(at, kind, min(lasts, end - at), how))
    return thrown


def _how(draw: Random, kind: str) -> str:
    """One way of many; a fault says how many requests meet it."""
    how = draw.choice(WAYS.get(kind, ("",)))
    if kind in ("unavailable", "hang", "garbage"):
        how += f"@{draw.choice(STEPS)}:{draw.choice(TIMES)}"
    elif kind == "API":
        how += f"@api:{draw.choice(TIMES)}"
    elif kind == "margin":
        how += f" {draw.choice(WORDS)}"
    return how
