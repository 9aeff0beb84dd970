"""`python -m neoctl`."""

import sys

from neoctl.cli import main

sys.exit(main())
