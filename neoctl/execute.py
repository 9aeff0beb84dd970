"""neoctl exec: a program with neod at hand, for as long as it runs.

The program is given where the socket is and which account to ask for, and asks for the token
itself whenever it needs one; `--env` gives it the values too, which are those of its start. What
this process is signalled is passed on, and the program's status is its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from neoctl import client, env, stream, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # as env(1) has them
GRACE = 10.0  # seconds that a program that is to be restarted has to end
PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # after one, nothing is started anew
SI_KERNEL = 0x80  # a terminal's: it has gone to the whole group, so to the program too

Session = dict[str, object]


class Program:
    """The program, which may be started anew."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        values: bool,
        on_rotate: str,
        told: Callable[[str], None],
    ) -> None:
        self._argv = argv
        self._environ = environ
        self._values = values
        self._on_rotate = on_rotate
        self._told = told
        self._mine = threading.Lock()  # held while the pid is used, so that it is the program's
        self._pid = 0
        self._gone = threading.Event()  # the program that had this pid last
        self._session: Session = {}
        self._again = False
        self._stopping = False

    def run(self, session: Session) -> int:
        """Run it to its end; returns its status. Raises OSError where it cannot be started."""
        self._session = session
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or else its status is lost
        signal.pthread_sigmask(signal.SIG_BLOCK, [*PASSED_ON, signal.SIGCHLD])
        self._start()
        if self._on_rotate != "none":
            threading.Thread(target=self._follow, daemon=True).start()
        while True:
            came = signal.sigwaitinfo([*PASSED_ON, signal.SIGCHLD])
            if came.si_signo != signal.SIGCHLD:
                self._stopping |= came.si_signo in STOPS
                if came.si_code != SI_KERNEL:
                    self._signal(came.si_signo)
                continue
            status = self._ended()
            if status is None:
                continue
            if not self._again or self._stopping:
                return status
            self._again = False
            self._start()

    def _start(self) -> None:
        given = dict(self._environ)
        if self._values:
            found = env.values(self._session)
            given |= {name: value for name, value in found.items() if value is not None}
        with self._mine:
            self._gone = threading.Event()
            self._pid = os.posix_spawnp(
                self._argv[0],
                list(self._argv),
                given,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
            )

    def _ended(self) -> int | None:
        with self._mine:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid == 0:
                return None
            self._pid = 0
            self._gone.set()
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _signal(self, number: int) -> None:
        with self._mine:
            if self._pid:
                os.kill(self._pid, number)

    # In a thread of its own: what sessions there are.

    def _follow(self) -> None:
        said, pause = "", stream.PAUSE
        while True:
            try:
                for _, line in self._events():
                    said, pause = "", stream.PAUSE
                    session = line.get("session")
                    mine = line.get("account") == self._session.get("account")
                    if isinstance(session, dict) and mine:
                        self._rotate(session)
            except client.Problem as problem:
                if problem.code != said:
                    said = problem.code
                    self._told(f"{said}: {problem}; no rotation is seen until that is over")
            time.sleep(pause)
            pause = min(2 * pause, stream.LONGEST_PAUSE)

    def _events(self) -> Iterator[tuple[bytes, Session]]:
        have = self._session.get("generation")
        return stream.events(
            self._environ.get("NEOD_ACCOUNT", ""),
            after=have if isinstance(have, int) else None,
            environ=self._environ,
            told=self._told,
        )

    def _rotate(self, session: Session) -> None:
        if session.get("generation") == self._session.get("generation"):
            return
        self._session = session
        if self._on_rotate == "SIGHUP":
            self._signal(signal.SIGHUP)
            return
        if self._stopping:
            return
        self._told(f"generation {session.get('generation')}: restarts {self._argv[0]}")
        with self._mine:
            pid, gone = self._pid, self._gone
            if not pid:
                return
            self._again = True
            os.kill(pid, signal.SIGTERM)
        gone.wait(GRACE)
        with self._mine:
            if not gone.is_set():
                os.kill(pid, signal.SIGKILL)


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    session: Session,
    *,
    values: bool,
    on_rotate: str,
    told: Callable[[str], None],
) -> int:
    """Run a program with a session at hand; returns the status to exit with."""
    given = {
        **environ,
        "NEOD_SOCKET": wire.socket_path(environ, os.getuid()),
        "NEOD_ACCOUNT": str(session["account"]),
    }
    program = Program(argv, given, values=values, on_rotate=on_rotate, told=told)
    try:
        return program.run(session)
    except FileNotFoundError:
        sys.stderr.write(f"neoctl: {argv[0]}: there is no such program\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"neoctl: {argv[0]}: {error.strerror}\n")
        return NOT_EXECUTABLE
