"""`python -m corekit` is the command `corekit`."""

import sys

from corekit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
