"""When the segmentation's surfaces are updated."""

from types import SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from harness.scene import add_segmentation, add_volume, paint, watched_scene  # noqa: E402

from FewShotSAMLib.core.geometry import Geometry  # noqa: E402
from FewShotSAMLib.web.surfaces import QUIET_S, Surfaces  # noqa: E402
from FewShotSAMLib.workflow import State  # noqa: E402

GRID = Geometry((20, 18, 12), (1, 1, 2))


def test_they_wait_until_the_user_rests() -> None:
    """After a change, and again after each use of a view; not while a run uses the processor."""
    with watched_scene() as scene:
        now = 10.0
        volume = add_volume(scene, np.zeros(GRID.shape, np.int16), GRID)
        node = add_segmentation(scene, volume, ["A"])
        surfaces = Surfaces(scene, SimpleNamespace(state=State.IDLE, preview=None), lambda: now)  # type: ignore[arg-type]
        surfaces.begin(node, volume, 1000)

        def made(is_calm: bool = True) -> int:
            surfaces.poll(is_calm)
            return surfaces.nodes[0].GetSegmentation().GetNumberOfSegments()

        surfaces.postpone()
        now += 10
        assert made() == 0, "nothing had changed"
        box = np.zeros(GRID.shape, bool)
        box[3:9, 4:12, 5:15] = True
        paint(node, "A", box, GRID)
        surfaces.look_soon()
        for _ in range(4):
            now += 0.9 * QUIET_S
            assert made() == 0
            surfaces.postpone()
        now += 1.1 * QUIET_S
        assert made(is_calm=False) == 0
        assert made() == 1
        surfaces.show(False)
        assert made() == 0
