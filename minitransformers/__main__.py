"""`python -m minitransformers`: see cli.py."""

import sys

from minitransformers.cli import main

if __name__ == "__main__":
    sys.exit(main())
