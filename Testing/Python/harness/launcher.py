"""Slicer's PythonSlicer, a CTKAppLauncher (read at its dcb7a7e): sets up the environment, starts Python as its child.

Standard streams are the child's own. If the child ends normally, its exit code is passed on; any crash, by whatever
signal, becomes exit code 1 with a line on stderr, so that the caller cannot tell a crash from an error. Needs no Qt.
"""

import sys
from pathlib import Path

CRASHED = "exit abnormally - Report the problem."

_SCRIPT = """#!{interpreter}
import os, subprocess, sys
home, python = {home!r}, {python!r}
environment = dict(os.environ, SLICER_HOME=home, PYTHONNOUSERSITE="1")
for name, folder in (("PYTHONPATH", home + "/bin/Python"), ("LD_LIBRARY_PATH", home + "/lib")):
    environment[name] = os.pathsep.join([folder, environment[name]] if environment.get(name) else [folder])
code = subprocess.Popen([python, *sys.argv[1:]], env=environment).wait()
if code < 0:
    print("error: [%s] {crashed}" % python, file=sys.stderr, flush=True)
sys.exit(1 if code < 0 else code)
"""


def makePythonSlicer(home: Path, python: str = sys.executable) -> Path:
    """Install `bin/PythonSlicer` below Slicer's folder `home`; `python` is the Python that it starts."""
    path = home / "bin" / "PythonSlicer"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _SCRIPT.format(interpreter=sys.executable, home=str(home), python=python, crashed=CRASHED)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
