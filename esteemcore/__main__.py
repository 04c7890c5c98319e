"""``python -m esteemcore``: the same as the console command ``esteem``."""

import sys

from esteemcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
