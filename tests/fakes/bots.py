"""The bots that README shows, taken out of it and run."""

import os
import re
import subprocess
import threading
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Self

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
PATIENCE = 20.0  # seconds for a bot to say the next thing


def bot(language: str) -> str:
    """The bot in this language, whole."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if "/v1/watch" in block]
    assert isinstance(found, str)
    return found


class Bot:
    """A bot that runs, and is killed at the end; it is told the socket as README has it."""

    def __init__(self, *words: str | os.PathLike[str], environ: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            [*words, environ["NEOD_SOCKET"]],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said = Queue[str]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout
        for line in self._popen.stdout:
            self._said.put(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.kill()
        self._reader.join()
        assert self._popen.stdout
        assert self._popen.stderr
        if error is not None:
            print(self._popen.stderr.read())
        self._popen.stdout.close()
        self._popen.stderr.close()
        self._popen.wait()

    def generation(self) -> int:
        """The next one that it says."""
        number, until, _ = self._said.get(timeout=PATIENCE).split(" ", 2)
        assert until == "until"
        return int(number)
