"""`python -m rlgames` is the command `rlgames`."""

import sys

from rlgames.cli import main

if __name__ == "__main__":
    sys.exit(main())
