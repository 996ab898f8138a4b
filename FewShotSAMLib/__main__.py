"""`python -m FewShotSAMLib`: the command line."""

import sys

from FewShotSAMLib.start import main

if __name__ == "__main__":
    sys.exit(main())
