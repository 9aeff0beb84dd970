"""neod, whose loop stands still from SIGUSR2 on; the pipe that is named says when it does."""

import signal
import sys
import time
from pathlib import Path

from neod.cli import main


def stand_still(_number: int, _frame: object) -> None:
    with Path(sys.argv[-1]).open("w"):  # which waits until somebody reads
        pass
    while True:
        time.sleep(60)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, stand_still)
    sys.exit(main(sys.argv[1:-1]))
