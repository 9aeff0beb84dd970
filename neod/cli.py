"""neod: the commands. Turns what went wrong into one message and an exit status."""

import argparse
import faulthandler
import logging
import math
import os
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from neoctl.wire import socket_path
from neod import __version__, check, config, daemon, install, log, login, paths, setup
from neod.clock import SYSTEM
from neod.errors import AlreadyRunning, Unusable
from neod.ipc.listener import adoptable
from neod.process import harden
from neod.sandbox import demo
from neod.sandbox.broker import Broker, Settings
from neod.sandbox.faults import Fault, Faults, UnknownFault, about, parse
from neod.sandbox.serve import (
    CONTROLS,
    listen,
    serve,
    settings_to_paste,
    totp_settings_to_paste,
    url_of,
)
from neod.systemd import handed_over

USAGE, ALREADY_RUNNING = 2, 23  # exit statuses


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(argv)
    quiet = options.command in ("demo", "login")  # which show what happens themselves
    log_trouble = log.set_up(os.environ, logging.WARNING if quiet else logging.INFO)
    try:
        if log_trouble:
            _complain_of_log(log_trouble)
        match options.command:
            case "run":
                _run(options)
            case "sandbox":
                trio.run(_sandbox, options)
            case "login":
                return _login(options)
            case "demo":
                demo.run(os.environ, options.seconds)
            case "check" | "setup":
                return _check_or_setup(options)
            case _:
                return _install_or_uninstall(options)
    except (config.ConfigError, Unusable) as error:
        _complain(error)
        return USAGE
    except AlreadyRunning as error:
        _complain(error)
        return ALREADY_RUNNING
    except KeyboardInterrupt:
        return 130
    return 0


def _complain_of_log(trouble: str) -> None:
    """Raises Unusable, unless systemd would start it again at once for whoever connects."""
    if "LISTEN_FDS" not in os.environ:
        raise Unusable(trouble)
    log.warning("log", why=trouble)


def _complain(error: Exception) -> None:
    text = f"neod: {error}"
    if log.to_journal(os.environ):
        text = "\n".join(log.with_priority(line, logging.ERROR) for line in text.splitlines())
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neod", description="Keeps a Kotak Neo session alive, and serves it over a socket."
    )
    parser.add_argument("--version", action="version", version=f"neod {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="the daemon, in the foreground")
    run.add_argument("--config", type=Path, help="default: $NEOD_CONFIG, else the user's own")
    _add_sandbox(commands.add_parser("sandbox", help="a Kotak Neo on loopback"))
    shown = commands.add_parser("demo", help="the daemon against a sandbox; nothing to configure")
    shown.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        default=math.inf,
        help="how long it runs (default: to Ctrl-C)",
    )
    once = commands.add_parser("login", help="one login, shown without its secrets")
    once.add_argument("account", nargs="?", help="default: main, else the only one")
    once.add_argument("--config", type=Path, help="default: $NEOD_CONFIG, else the user's own")
    for name, what in (
        ("check", "the configuration and the secrets, without a login"),
        ("setup", "asks, and writes the configuration"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--config", type=Path, help="default: as of `neod run`")
    put = commands.add_parser("install", help="a service of your systemd, enabled and started")
    put.add_argument("--config", type=Path, help="default: $NEOD_CONFIG, else the user's own")
    put.add_argument("--no-linger", dest="linger", action="store_false", help="end at logout")
    away = commands.add_parser("uninstall", help="the service stopped and taken away")
    for command in (put, away):
        command.add_argument("--force", action="store_true", help="units that were changed, too")
    return parser


def _add_sandbox(sandbox: argparse.ArgumentParser) -> None:
    sandbox.add_argument("--port", type=int, default=8080, help="0 is any (default %(default)s)")
    sandbox.add_argument(
        "--life", type=_seconds, metavar="SECONDS", help="of a session (default: to midnight)"
    )
    sandbox.add_argument(
        "--edge", type=_seconds, metavar="SECONDS", help="all sessions end so far apart"
    )
    sandbox.add_argument(
        "--bearer-life",
        type=_seconds,
        metavar="SECONDS",
        default=Settings().bearer_life,
        help="of a bearer (default: %(default)s)",
    )
    sandbox.add_argument(
        "--fault",
        dest="faults",
        type=_fault,
        metavar="FAULT",
        action="append",
        default=[],
        help="what goes wrong: NAME, NAME:N for the next N requests, NAME@STEP for those of one "
        "step; may be given more than once",
    )
    sandbox.formatter_class = argparse.RawDescriptionHelpFormatter
    sandbox.epilog = f"{about()}\n\n{CONTROLS}"


def _fault(text: str) -> Fault:
    try:
        return parse(text)
    except UnknownFault as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("has to be more than 0")
    return seconds


def _run(options: argparse.Namespace) -> None:
    # The watchdog's SIGABRT then leaves the stack of a neod that stands still.
    faulthandler.enable()
    for number in (signal.SIGHUP, signal.SIGUSR1):  # the daemon heeds them as long as it can
        signal.signal(number, signal.SIG_IGN)
    path = options.config or paths.config_file(os.environ)
    adopted = adoptable(handed_over(os.environ, os.getpid()))
    trio.run(
        lambda: daemon.main(
            partial(config.load, path),
            os.environ,
            Path(socket_path(os.environ, os.getuid())),
            paths.state_folder(),
            shutdown=daemon.wait_for_stop,
            adopted=adopted,
            configuration=path.absolute(),
        )
    )


def _check_or_setup(options: argparse.Namespace) -> int:
    path = options.config or paths.config_file(os.environ)
    if options.command == "check":
        return check.run(path, os.environ, partial(print, flush=True))
    named = f"--config {shlex.quote(str(options.config))}" if options.config else ""
    setup.run(path, os.environ, named)
    return 0


def _install_or_uninstall(options: argparse.Namespace) -> int:
    install.refuse_root(os.getuid())
    site = install.Site(
        folder=install.unit_folder(os.environ),
        home=os.environ.get("HOME", ""),
        user=install.user_name(os.getuid()),
        run=install.runner(os.environ),
        say=partial(print, flush=True),
        ask=_ask,
    )
    if options.command == "uninstall":
        return install.uninstall(site, force=options.force)
    path = options.config or paths.config_file(os.environ)
    return install.install(
        site,
        install.programs(sys.executable, sys.argv[0]),
        paths.state_folder(),
        path.absolute(),
        named=path.absolute() != Path.home() / ".config" / "neod" / "config.toml",
        force=options.force,
        linger=options.linger,
    )


def _ask(question: str) -> bool:
    """True if there is somebody who says yes."""
    try:
        return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _login(options: argparse.Namespace) -> int:
    harden(os.environ)  # before the first secret is read
    settings = config.load(options.config or paths.config_file(os.environ))
    name = login.account_asked_for(settings, options.account)
    socket = Path(socket_path(os.environ, os.getuid()))
    return trio.run(login.log_in, settings, name, os.environ, paths.state_folder(), socket)


async def _sandbox(options: argparse.Namespace) -> None:
    broker = Broker(Settings(life=options.life, edge=options.edge, bearer_life=options.bearer_life))
    try:
        listener = await listen(options.port)
    except OSError as error:
        raise Unusable(f"port {options.port}: {error.strerror}; try --port 0") from None
    url, faults = url_of(listener), Faults(options.faults)
    print(f"# the sandbox listens at {url}; a configuration for it, of one account or both:\n")
    print(settings_to_paste(url, broker))
    print(totp_settings_to_paste(url, broker), flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(broker, listener, SYSTEM, faults=faults, told=_tell))
        await daemon.wait_for_stop(hup_stops=True)
        nursery.cancel_scope.cancel(reason="stopped")


def _tell(path: str, status: int) -> None:
    log.event("request", path=path, status=status)
