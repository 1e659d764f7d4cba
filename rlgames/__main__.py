"""`python -m rlgames` is the command `rlgames`."""

import sys

from rlgames.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
