"""When memory is short, even while libraries are loading: one line with advice and exit code 3."""

import os
import subprocess
import sys
from pathlib import Path

import painted
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited as Linux does it")
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)) << 20,) * 2)
from FewShotSAMLib.start import main
sys.exit(main())
"""


@pytest.mark.parametrize("megabytes", [60, 75, 110, 250, 300, 700, 2000, 3500])
def test_too_little_memory(megabytes: int, tmp_path: Path) -> None:
    files = painted.write(tmp_path, (2, 5), ("liver",), depth=8, seed=3)
    arguments = ["propagate", *files.values(), "-o", "o.seg.nrrd", "--steps", "0", "--device", "cpu", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FEWSHOTSAM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", LIMITED, str(megabytes), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    line = done.stderr
    assert line.startswith("error: ") and "memory" in line and "Close other programs" in line
    assert not (tmp_path / "o.seg.nrrd").exists()
