"""`python -m neod`."""

import sys

from neod.cli import main

sys.exit(main())
