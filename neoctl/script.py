#!python
"""The command `neoctl`, as it is installed.

A script of our own, since the one that pip writes for an entry point may import `re`, which costs
more than the rest of `neoctl token`. pip puts the interpreter's path into the first line.
"""

import sys

from neoctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
