"""Completion for bash, zsh and fish, made of what the programs know.

Nothing is asked of neod but the names of the accounts. `python -m tests.manual` writes the files.
"""

import argparse
import re
from pathlib import Path

import msgspec

from neoctl.cli import VERBS
from neoctl.options import CHOICES, OPTIONS
from neod.account.session import Session
from neod.cli import _parser

MADE = "made by python -m tests.manual --write"
FIELDS = Session.__struct_fields__
VALUED = [name for name, (value, _) in OPTIONS.items() if value]
# Of an answer of /v1/status: each account begins with its state, and no text can look like that.
_ACCOUNTS = (
    """timeout 2 "$1" status --json 2>/dev/null """
    """| grep -oE '"[a-z0-9_-]+":\\{"state"' | cut -d'"' -f2"""
)


class Option(msgspec.Struct, frozen=True):
    """An option of a command of neod's, or its argument if there are no names."""

    names: tuple[str, ...]
    value: str
    what: str
    file: bool = False


class Command(msgspec.Struct, frozen=True):
    """A command of neod's."""

    name: str
    what: str
    options: tuple[Option, ...]


def commands() -> list[Command]:
    """Those of neod, as argparse has them."""
    [subparsers] = [
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    what = {action.dest: action.help or "" for action in subparsers._choices_actions}
    return [
        Command(name, what[name], tuple(map(_option, _actions(parser))))
        for name, parser in subparsers.choices.items()
    ]


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.nargs != argparse.REMAINDER
    ]


def _option(action: argparse.Action) -> Option:
    value = ""
    if action.nargs != 0:
        value = str(action.metavar or action.dest.upper())
    what = (action.help or "") % {"default": action.default}
    return Option(tuple(action.option_strings), value, what, action.type is Path)


def _of_verb(verb: str) -> list[str]:
    """The options of a verb of neoctl's, as they are typed."""
    return [name for name in OPTIONS if name in VERBS[verb][2]] + (
        ["-a"] if "--account" in VERBS[verb][2] else []
    )


def neoctl_bash() -> str:
    """For bash, with or without the package bash-completion."""
    options = "\n".join(
        f"        {verb}) words='{' '.join(_of_verb(verb))}' ;;" for verb in VERBS if _of_verb(verb)
    )
    values = "\n".join(
        f"        {name}) COMPREPLY=($(compgen -W '{' '.join(choices)}' -- \"$cur\")); return ;;"
        for name, choices in CHOICES.items()
    )
    return f"""\
# bash completion for neoctl; {MADE}

_neoctl_accounts() {{
    {_ACCOUNTS}
}}

_neoctl() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    local verb='' given='' words='' i
    local program=${{COMP_WORDS[0]/#\\~/$HOME}}
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        --)
            if ((i + 1 == COMP_CWORD)); then
                COMPREPLY=($(compgen -c -- "$cur"))
            else
                compopt -o default
            fi
            return
            ;;
        -a | {" | ".join(VALUED)})
            [[ ${{COMP_WORDS[i + 1]}} == = ]] && ((i++)) # = is a word of its own
            ((i++))
            ;;
        -* | =) ;;
        *) if [[ $verb ]]; then given=1; else verb=${{COMP_WORDS[i]}}; fi ;;
        esac
    done
    [[ $cur == = ]] && cur=''
    [[ $prev == = ]] && prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    case $prev in
        -a | --account)
            COMPREPLY=($(compgen -W "$(_neoctl_accounts "$program")" -- "$cur"))
            return
            ;;
{values}
        {" | ".join(name for name in VALUED if name not in (*CHOICES, "--account"))}) return ;;
    esac
    if [[ ! $verb ]]; then
        words='{" ".join([*VERBS, "help"])}'
        [[ $cur == -* ]] && words='-a --account --help --version'
    elif [[ $cur == -* ]]; then
        case $verb in
{options}
        esac
    elif [[ $verb == get && ! $given ]]; then
        words='{" ".join(FIELDS)}'
    elif [[ $verb == exec ]]; then
        words='--'
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}

complete -F _neoctl neoctl
"""


def _zsh(text: str) -> str:
    """Text within single quotes, in a specification or a description of zsh."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def neoctl_zsh() -> str:
    """For zsh."""

    def spec(name: str) -> str:
        value, what = OPTIONS[name]
        if not value:
            return f"'{name}[{_zsh(what)}]'"
        if name == "--account":
            takes = f"[{_zsh(what)}]:account:_neoctl_accounts'"
            return f"'(-a --account)-a{takes} '(-a --account)--account={takes}"
        choices = f"({' '.join(CHOICES[name])})" if name in CHOICES else " "
        return f"'{name}=[{_zsh(what)}]:{value.lower()}:{choices}'"

    verbs = "\n".join(f"        '{verb}:{_zsh(what)}'" for verb, (*_, what) in VERBS.items())
    of_verbs = "\n".join(
        f"        {verb}) specs+=({' '.join(spec(name) for name in OPTIONS if name in allowed)}"
        + (f" '2:field:({' '.join(FIELDS)})'" if verb == "get" else "")
        + ") ;;"
        for verb, (_, _, allowed, _) in VERBS.items()
    )
    usual = (
        f"{spec('--account')} '(- *)'{{-h,--help}}'[all verbs and options]' "
        "'(- *)--version[the versions]'"
    )
    return f"""\
#compdef neoctl
# {MADE}

_neoctl_accounts() {{
    local -a accounts
    accounts=(${{(f)"$(_neoctl_ask ${{(Q)words[1]}})"}})
    (( $#accounts )) && compadd -a accounts
}}

_neoctl_ask() {{
    {_ACCOUNTS}
}}

_neoctl_verbs() {{
    local -a verbs
    verbs=(
{verbs}
        'help:this list'
    )
    _describe verb verbs
}}

_neoctl() {{
    local verb=''
    local -a specs
    integer i
    for (( i = 2; i < CURRENT; i++ )); do
        case $words[i] in
        --)
            # As after sudo or env: a command, and whatever that one takes.
            words=("${{(@)words[i + 1, -1]}}")
            (( CURRENT -= i ))
            _normal
            return
            ;;
        -a|{"|".join(VALUED)}) (( i++ )) ;;
        -*) ;;
        *) [[ -n $verb ]] || verb=$words[i] ;;
        esac
    done
    specs=('1:verb:_neoctl_verbs')
    case $verb in
{of_verbs}
        '') specs+=({usual}) ;;
    esac
    _arguments $specs
}}

_neoctl "$@"
"""


def _fish(text: str) -> str:
    """Text within single quotes of fish's."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def neoctl_fish() -> str:
    """For fish."""
    lines = [
        f"complete -c neoctl -n '__neoctl_verb_is \"\"' -a {verb} -d '{_fish(what)}'"
        for verb, (*_, what) in VERBS.items()
    ]
    for name, (value, what) in OPTIONS.items():
        verbs = " ".join(verb for verb in VERBS if name in VERBS[verb][2])
        short = " -s a" if name == "--account" else ""
        takes = ""
        if name == "--account":
            takes, verbs = " -x -a '(__neoctl_accounts)'", f'"" {verbs}'
        elif name in CHOICES:
            takes = f" -x -a '{' '.join(CHOICES[name])}'"
        elif value:
            takes = " -x"
        lines.append(
            f"complete -c neoctl -n '__neoctl_verb_is {verbs}' -l {name[2:]}{short}{takes} "
            f"-d '{_fish(what)}'"
        )
    lines.append(
        f"complete -c neoctl -n '__neoctl_verb_is get; and not __neoctl_has_argument' "
        f"-a '{' '.join(FIELDS)}'"
    )
    lines += [
        "complete -c neoctl -n __neoctl_runs -a '(complete -C (__neoctl_rest))'",
        "complete -c neoctl -n '__neoctl_verb_is \"\"' -s h -l help -d 'all verbs and options'",
        "complete -c neoctl -n '__neoctl_verb_is \"\"' -l version -d 'the versions'",
    ]
    return f"""\
# fish completion for neoctl; {MADE}

# The words so far that are neither options nor their values; :command in place of what follows --
function __neoctl_words
    set -l value 0
    for word in (commandline -opc)[2..]
        if test $value = 1
            set value 0
        else if contains -- $word -a {" ".join(VALUED)}
            set value 1
        else if test "$word" = --
            echo :command
            return
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

function __neoctl_verb_is
    set -l words (__neoctl_words)
    not contains :command $words; and contains -- "$words[1]" $argv
end

function __neoctl_has_argument
    test (count (__neoctl_words)) -gt 1
end

function __neoctl_runs
    contains :command (__neoctl_words)
end

# What follows --, as a command line of its own.
function __neoctl_rest
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    string join ' ' -- (string escape -- $words[(math $at + 1)..]) (commandline -ct)
end

function __neoctl_accounts
    set -l program (commandline -opc)[1]
    {_ACCOUNTS.replace('"$1"', '(string replace -r "^~" $HOME $program)')}
end

complete -c neoctl -f
{chr(10).join(lines)}
"""


def neod_bash() -> str:
    """For bash."""
    made = commands()
    options = "\n".join(
        f"        {c.name}) words='{' '.join(_typed(c))}' ;;" for c in made if _typed(c)
    )
    files = sorted({name for c in made for o in c.options if o.file for name in o.names})
    others = sorted({n for c in made for o in c.options if o.value and not o.file for n in o.names})
    return f"""\
# bash completion for neod; {MADE}

_neod() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} words=''
    COMPREPLY=()
    [[ $cur == = ]] && cur=''
    [[ $prev == = ]] && prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    case $prev in
        {" | ".join(files)}) compopt -o default; return ;;
        {" | ".join(others)}) return ;;
    esac
    if ((COMP_CWORD == 1)); then
        words='{" ".join(c.name for c in made)} --help --version'
    elif [[ $cur == -* ]]; then
        case ${{COMP_WORDS[1]}} in
{options}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}

complete -F _neod neod
"""


def _typed(command: Command) -> list[str]:
    return [name for option in command.options for name in option.names]


def neod_zsh() -> str:
    """For zsh."""

    def spec(option: Option) -> str:
        [name] = option.names
        equals, value = ("=", f":{option.value.lower()}:") if option.value else ("", "")
        action = "_files" if option.file else " " if value else ""
        return f"'{name}{equals}[{_zsh(option.what or option.value)}]{value}{action}'"

    verbs = "\n".join(f"        '{c.name}:{_zsh(c.what)}'" for c in commands())
    of_commands = "\n".join(
        f"        {c.name}) specs+=({' '.join(spec(o) for o in c.options if o.names)}) ;;"
        for c in commands()
    )
    return f"""\
#compdef neod
# {MADE}

_neod_commands() {{
    local -a commands
    commands=(
{verbs}
    )
    _describe command commands
}}

_neod() {{
    local -a specs
    specs=('1:command:_neod_commands')
    case $words[2] in
{of_commands}
        *) specs+=('(- *)'{{-h,--help}}'[all commands]' '(- *)--version[the version]') ;;
    esac
    _arguments $specs
}}

_neod "$@"
"""


def neod_fish() -> str:
    """For fish."""
    lines = []
    for command in commands():
        lines.append(
            f"complete -c neod -n __fish_use_subcommand -a {command.name} "
            f"-d '{_fish(command.what)}'"
        )
        for option in command.options:
            for name in option.names:
                takes = " -r -F" if option.file else " -x" if option.value else ""
                lines.append(
                    f"complete -c neod -n '__fish_seen_subcommand_from {command.name}' "
                    f"-l {name[2:]}{takes} -d '{_fish(option.what)}'"
                )
    return f"# fish completion for neod; {MADE}\n\ncomplete -c neod -f\n" + "\n".join(lines) + "\n"
