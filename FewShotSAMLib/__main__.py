"""`python -m FewShotSAMLib`: the command line."""

import sys

from FewShotSAMLib.cli import main

if __name__ == "__main__":
    sys.exit(main())
