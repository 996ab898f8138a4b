"""`python -m FewShotSAMLib.worker`: the background process itself."""

import sys

from FewShotSAMLib.worker.server import Server

if __name__ == "__main__":
    sys.exit(Server().run())
