"""`python -m turnout.cli`, for where the command is not on the PATH."""

import sys

from turnout.cli import main

if __name__ == "__main__":
    sys.exit(main())
