"""The keys of the configuration: what each takes, what it is without, and what it is for.

The reader in neod/config.py says the same in code; a test holds the two against each other, and
neod.toml(5) is made of this table. Imports nothing of neod.
"""

import msgspec


class Key(msgspec.Struct, frozen=True):
    """A key; `default` is TOML, and empty where there is none."""

    name: str
    takes: str
    default: str
    means: str


HIDDEN = "secret"
DURATION = "duration"
NUMBER = "number"
TEXT = "string"

# By table, NAME being an account's.
KEYS: dict[str, tuple[Key, ...]] = {
    "account.NAME": (
        Key(
            "flow",
            TEXT,
            '"password"',
            'How to log in. "totp" is what Kotak runs today: access token, mobile number, client '
            'code and TOTP, then the MPIN. "password" is its older login, by the trading password.',
        ),
        Key("environment", TEXT, '"prod"', 'Which of Kotak\'s: "prod" or "uat".'),
        Key(
            "mobile",
            TEXT,
            "",
            "The mobile number, as registered. The password flow takes pan or user_id in its "
            "place.",
        ),
        Key("pan", TEXT, "", "The PAN, for the password flow."),
        Key("user_id", TEXT, "", "The user id, for the password flow."),
        Key("password", HIDDEN, "", "The trading password. Not for the TOTP flow."),
        Key(
            "consumer_key",
            HIDDEN,
            "",
            "From Kotak's developer portal, for the password flow, with consumer_secret.",
        ),
        Key("consumer_secret", HIDDEN, "", "It belongs to consumer_key."),
        Key(
            "access_token",
            HIDDEN,
            "",
            "The TOTP flow's, from the Neo app. The password flow takes one in place of "
            "consumer_key and consumer_secret.",
        ),
        Key("ucc", TEXT, "", "The client code, for the TOTP flow."),
        Key(
            "totp_secret",
            HIDDEN,
            "",
            "What the codes are made of: it is shown once, when TOTP is registered.",
        ),
        Key("mpin", HIDDEN, "", "With it the session can trade; without a second factor it looks."),
        Key(
            "second_factor",
            TEXT,
            "",
            'How to get from a view session to one that trades: "mpin", "otp" or "none". Without '
            'this key it is "mpin" where there is one, else "none". With "otp", for the password '
            "flow, neod logs in only when neoctl renew says so, and waits for neoctl otp.",
        ),
        Key(
            "source_address",
            TEXT,
            "",
            "The address of this machine to log in from. It has to be the bots' own, since a "
            "session is good for the address that its login came from.",
        ),
        Key(
            "proxy",
            TEXT,
            "",
            "The URL of a proxy to log in through. The environment's proxies are not used.",
        ),
    ),
    "account.NAME.renewal": (
        Key(
            "margin",
            DURATION,
            '"15min"',
            "How long before its end a session is renewed; at most a quarter of its life.",
        ),
        Key(
            "edge",
            TEXT,
            '"auto"',
            'When the broker ends all sessions: "auto" learns it, "HH:MM" is a time in India, and '
            '"none" is never.',
        ),
        Key(
            "logins_per_10min",
            NUMBER,
            "4",
            "At most so many logins, accepted and refused, in ten minutes. More only where every "
            "endpoint is on loopback, and there the default is no limit.",
        ),
        Key("logins_per_day", NUMBER, "24", "As logins_per_10min, in 24 hours."),
        Key(
            "hours",
            "array of strings",
            "",
            'When to log in without being asked, such as ["Mon-Fri 08:30-15:45"], in India. '
            "Without this key it is at any time. A valid session is served all the same.",
        ),
        Key(
            "holidays",
            "array of dates",
            "",
            'Days on which the hours do not open, such as ["2026-01-26"].',
        ),
        Key("lead", DURATION, "", "How long before their start the hours open."),
        Key(
            "ready_by",
            TEXT,
            "",
            'A time in India, "HH:MM", by which a session has to be there. If none is, the event '
            "not_ready_by says so.",
        ),
    ),
    "account.NAME.hooks": (
        Key(
            "on_rotate",
            "array of strings",
            "",
            "A program with its arguments, which gets each new session as JSON on stdin.",
        ),
        Key(
            "on_event",
            "array of strings",
            "",
            "A program with its arguments, which gets what goes wrong, as JSON without secrets on "
            "stdin.",
        ),
    ),
    "account.NAME.endpoints": (
        Key("session", "URL", "", "Where oauth2/token is. For all three: only to point elsewhere."),
        Key("api", "URL", "", "Where the password flow logs in."),
        Key("login", "URL", "", "Where the TOTP flow logs in."),
    ),
    "server": (
        Key("grace", DURATION, '"3s"', "What requests in flight get when neod stops."),
        Key("max_connections", NUMBER, "1024", "So many connections at once."),
        Key("max_watchers", NUMBER, "1024", "So many watches at once."),
        Key("max_head", NUMBER, "8192", "Bytes of a request's head."),
        Key("max_body", NUMBER, "65536", "Bytes of a request's body."),
        Key("head_timeout", DURATION, '"5s"', "In which a head has to arrive."),
        Key("idle_timeout", DURATION, '"75s"', "For which a kept connection may be silent."),
        Key("log", TEXT, "", 'How much is logged: "info" or "debug". $NEOD_LOG has the last word.'),
    ),
}


def names(table: str) -> tuple[str, ...]:
    """The keys of a table."""
    return tuple(key.name for key in KEYS[table])
