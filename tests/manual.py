"""The man pages, made of what the programs know; and the completion, of tests/completion.py.

Verbs and options come from neoctl, commands and options of neod from its argparse, keys from
neod/keys.py, exit statuses from the wire. Only prose is written here.

    python -m tests.manual           # says which files are stale
    python -m tests.manual --write   # makes them anew
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from neoctl import wire
from neoctl.cli import VERBS
from neoctl.options import OPTIONS
from neod.keys import KEYS
from tests import completion, made
from tests.completion import MADE, Command, commands

DOCS = Path(__file__).parent.parent / "docs"
STATUSES = {
    0: "done",
    1: "anything else",
    2: "the command line, or no such account",
    3: "neod is not running",
    4: "not ready; it passes by itself",
    5: "a person is needed",
    6: "the broker cannot be reached, and no valid session is left",
    7: "valid, but not for --min-valid seconds",
    8: "not your neod",
}


# Man pages.


def roff(text: str) -> str:
    """Text as it stands in a page: nothing in it is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    escaped = escaped.replace("'", "\\(aq").replace("`", "\\(ga").replace('"', "\\(dq")
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "\\(aq")) else line for line in escaped.split("\n")
    )


def bold(text: str) -> str:
    return f"\\fB{roff(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{roff(text)}\\fR"


def item(head: str, *body: str) -> str:
    """A term, and what is said of it."""
    return f".TP\n{head}\n" + "".join(f"{line}\n" for line in body)


def section(title: str, *parts: str) -> str:
    return f".SH {title}\n" + "".join(
        part if part.endswith("\n") else f"{part}\n" for part in parts
    )


def page(name: str, number: int, what: str, *sections: str) -> str:
    """A page of the manual."""
    head = f'.\\" {MADE}\n.TH {name.upper()} {number} "" "neod" "neod"\n.nh\n.ad l\n'
    return head + section("NAME", f"{name} \\- {roff(what)}") + "".join(sections)


def example(*lines: str) -> str:
    return ".PP\n.RS 4\n.nf\n" + "".join(f"{roff(line)}\n" for line in lines) + ".fi\n.RE\n"


def of_option(name: str) -> str:
    """An option of neoctl's as it is typed."""
    value = OPTIONS[name][0]
    both = f"{bold('-a')}, {bold(name)}" if name == "--account" else bold(name)
    return f"{both} {italic(value)}" if value else both


def neoctl_1() -> str:
    """neoctl(1)"""
    verbs = []
    for verb, (_, takes, allowed, what) in VERBS.items():
        head = " ".join([bold(verb), *([italic(takes)] if takes else [])])
        has = [bold(name) for name in OPTIONS if name in allowed]
        verbs.append(item(head, f"{roff(_sentence(what))}", *_takes(has)))
    return page(
        "neoctl",
        1,
        "the session that neod keeps, for scripts",
        section("SYNOPSIS", f"{bold('neoctl')} {italic('VERB')} [{italic('options')}]"),
        section(
            "DESCRIPTION",
            f"{bold('neoctl')} asks neod(8), over its Unix socket, for the current Kotak Neo",
            "session, and has it log in, pause or reload. What a script reads goes to the standard",
            "output and nothing else does; what a person reads goes to the standard error.",
        ),
        section("VERBS", *verbs),
        section("OPTIONS", *(item(of_option(n), roff(_sentence(w))) for n, (_, w) in _options())),
        section(
            "EXIT STATUS",
            *(item(bold(f"{status}"), roff(_sentence(told))) for status, told in _statuses()),
            item(
                f"{bold('125')}, {bold('126')}, {bold('127')}",
                f"Of {bold('exec')}, as of env(1): neoctl failed, the program cannot be run,",
                f"it is not there. Else {bold('exec')} ends as its program does.",
            ),
            ".PP",
            f"{bold('status')} is 0 whenever neod answered; {bold('doctor')} is 1 if something",
            "failed.",
        ),
        section(
            "ENVIRONMENT",
            item(bold("NEOD_ACCOUNT"), "As \\-\\-account."),
            item(bold("NEOD_SOCKET"), "The path of the socket, if it is not the usual one."),
            item(bold("NO_COLOR"), "If it is set, nothing is shown in colour."),
        ),
        section(
            "FILES",
            item(
                italic("$XDG_RUNTIME_DIR/neod/neod.sock"),
                f"The socket; else {italic('/run/user/UID/neod/neod.sock')}, else",
                f"{italic('/tmp/neod-UID/neod.sock')}.",
            ),
        ),
        section(
            "EXAMPLES",
            "A request with the session, without a token in a command line:",
            example(
                "headers=$(neoctl headers --wait 10) || exit",
                'printf \'%s\\n\' "$headers" | curl -fsS -H @- "$url"',
            ),
            "A bot that is started anew at each new session:",
            example("neoctl exec --on-rotate restart --env -- ./bot"),
        ),
        section("SEE ALSO", "neod(8), neod.toml(5)"),
    )


def _takes(options: list[str]) -> Iterator[str]:
    if options:
        yield f"Takes {', '.join(options)}."


def _options() -> list[tuple[str, tuple[str, str]]]:
    return list(OPTIONS.items())


def _statuses() -> list[tuple[int, str]]:
    assert {0, *(status for _, status, _ in wire.PROBLEMS.values())} == STATUSES.keys()
    return list(STATUSES.items())


def _sentence(text: str) -> str:
    """What a table says in a few words, as a sentence."""
    whole = text[0].upper() + text[1:]
    return whole if whole.endswith((".", "…")) else f"{whole}."


def neod_8() -> str:
    """neod(8)"""
    parts = []
    for command in commands():
        head = " ".join([bold(command.name), *_arguments(command)])
        parts.append(item(head, roff(_sentence(command.what))))
        if command.options:
            parts.append(".RS\n")
            for option in command.options:
                names = ", ".join(map(bold, option.names))
                value = italic(option.value) if option.value else ""
                head = " ".join(part for part in (names, value) if part)
                parts.append(item(head, roff(_sentence(option.what)) if option.what else "\\&"))
            parts.append(".RE\n")
    return page(
        "neod",
        8,
        "keeps a Kotak Neo session alive, and hands it to programs",
        section("SYNOPSIS", f"{bold('neod')} {italic('COMMAND')} [{italic('options')}]"),
        section(
            "DESCRIPTION",
            f"{bold('neod')} is one process, per user, that holds the credentials of Kotak Neo",
            "accounts, logs in, reads the expiry out of the token, renews it in time, and gives",
            "the current session to any local process of the same user that asks over a Unix",
            "socket: by neoctl(1), or by HTTP.",
            ".PP",
            "It never tries refused credentials again by itself, never serves a session that has",
            "lapsed, and never withholds one that is valid.",
        ),
        section("COMMANDS", *parts),
        section(
            "EXIT STATUS",
            item(bold("0"), "Done, or stopped by a signal."),
            item(bold("1"), f"Of {bold('check')}, {bold('login')}: not well. Else a bug."),
            item(bold("2"), "The command line, or the configuration."),
            item(bold("23"), "Another neod is running."),
        ),
        section(
            "ENVIRONMENT",
            item(bold("NEOD_CONFIG"), "The configuration, if it is not the usual file."),
            item(bold("NEOD_SOCKET"), "The socket, if it is not the usual one."),
            item(
                bold("NEOD_LOG"),
                f"{bold('info')} or {bold('debug')}, with {bold(',json')} after it for JSON lines.",
            ),
        ),
        section(
            "SIGNALS",
            item(bold("SIGTERM"), "Stop; what is in flight gets its answer within [server] grace."),
            item(bold("SIGHUP"), f"Read the configuration anew, as {bold('neoctl reload')} does."),
            item(bold("SIGUSR1"), "Renew every session."),
        ),
        section(
            "FILES",
            item(italic("~/.config/neod/config.toml"), "The configuration: neod.toml(5)."),
            item(italic("~/.local/state/neod/"), "What was sent to the broker, and when."),
            item(italic("$XDG_RUNTIME_DIR/neod/neod.sock"), "The socket."),
        ),
        section("SEE ALSO", "neoctl(1), neod.toml(5)"),
    )


def _arguments(command: Command) -> Iterator[str]:
    for option in command.options:
        if not option.names:
            yield f"[{italic(option.value)}]"


def neod_toml_5() -> str:
    """neod.toml(5)"""
    tables = {
        "account.NAME": "An account. A name has 1 to 32 of the characters a\\-z, 0\\-9, _ and \\-.",
        "account.NAME.renewal": "When the account's session is renewed.",
        "account.NAME.hooks": "Programs of yours that neod runs.",
        "account.NAME.endpoints": "Where the broker is, if it is neither of Kotak's.",
        "server": "What neod allows those who ask.",
    }
    parts = []
    for table, said in tables.items():
        parts.append(f".SS [{roff(table)}]\n{said}\n")
        for key in KEYS[table]:
            default = f" Default: {roff(key.default)}." if key.default else ""
            head = f"{bold(key.name)} ({roff(key.takes)})"
            parts.append(item(head, f"{roff(key.means)}{default}"))
    return page(
        "neod.toml",
        5,
        "the configuration of neod",
        section("SYNOPSIS", italic("~/.config/neod/config.toml")),
        section(
            "DESCRIPTION",
            f"The file is TOML. neod(8) reads it when it starts and at {bold('neoctl reload')}; a",
            "file with a mistake changes nothing, and all mistakes are told at once, each with its",
            "key.",
            f"{bold('neod setup')} writes the file, and {bold('neod check')} says what is in it.",
            ".PP",
            "A duration is a number of seconds, or a string with a unit: ms, s, min, h or d.",
            ".PP",
            "A secret is a string, or a table with one of",
            item(bold("file"), "a path, from the configuration's folder on; closed to others;"),
            item(bold("env"), "the name of a variable;"),
            item(bold("credential"), "the name of one of systemd's;"),
            item(bold("command"), "an array: the program that prints it, and its arguments;"),
            item(bold("keyring"), "service/username, for the desktop's."),
            ".PP",
            "A file that holds a secret, this one included, has to be yours and closed to others.",
        ),
        section("TABLES", *parts),
        section(
            "EXAMPLES",
            example(
                "[account.main]",
                'flow = "totp"',
                'mobile = "+919999996708"',
                'ucc = "AB123"',
                'access_token = { file = "access-token" }',
                'totp_secret = { file = "totp-secret" }',
                'mpin = { keyring = "neod/mpin" }',
            ),
        ),
        section("SEE ALSO", "neod(8), neoctl(1)"),
    )


def files() -> dict[Path, str]:
    """What each file has to say."""
    man, shells = DOCS / "man", DOCS / "completion"
    return {
        man / "neoctl.1": neoctl_1(),
        man / "neod.8": neod_8(),
        man / "neod.toml.5": neod_toml_5(),
        shells / "neoctl.bash": completion.neoctl_bash(),
        shells / "_neoctl": completion.neoctl_zsh(),
        shells / "neoctl.fish": completion.neoctl_fish(),
        shells / "neod.bash": completion.neod_bash(),
        shells / "_neod": completion.neod_zsh(),
        shells / "neod.fish": completion.neod_fish(),
    }


def main(arguments: list[str]) -> int:
    return made.main(files(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
