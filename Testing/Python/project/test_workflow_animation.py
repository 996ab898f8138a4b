"""README begins with an animation of the whole workflow: from current pictures, and small enough for a page."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence
from project import workflow_animation

ROOT = Path(__file__).resolve().parents[3]


def test_animation_shows_the_pictures_there_are(tmp_path: Path) -> None:
    shown = ROOT / "Resources/Screenshots/workflow.gif"
    assert "(Resources/Screenshots/workflow.gif)" in (ROOT / "README.md").read_text("utf-8")
    assert shown.stat().st_size < 2_000_000
    workflow_animation.write(tmp_path / "again.gif")
    for path in (shown, tmp_path / "again.gif"):
        with Image.open(path) as animation:
            for frame, picture in zip(ImageSequence.Iterator(animation), workflow_animation.frames(), strict=True):
                apart = np.asarray(frame.convert("RGB"), float) - np.asarray(picture, float)
                assert np.abs(apart).mean() < 4
