"""The picture of the browser app for README and docs/web.md: the phantom, painted and propagated with the pointer.

FEWSHOTSAM_WEB_PICTURE names the file that it is written to; without it there is nothing to do.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from web.page import RUN_S, Page

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.painting import empty_neighbours
from FewShotSAMLib.core.phantom import ct_phantom

NAMES = ("liver", "spleen")
PAINTED, SHOWN = (38, 51, 65), 56
BRUSH_MM, OPACITY = 7, 60
PLACES = {"coronal": 82, "sagittal": 58}
MOST_BYTES = 400_000
KEPT_BITS = 0xF8
"""Of each colour; the others, noise of a CT, are dropped to save space."""


@pytest.fixture
def picture() -> Path:
    """Where the picture goes."""
    path = os.environ.get("FEWSHOTSAM_WEB_PICTURE")
    if not path:
        pytest.skip("no picture is wanted (FEWSHOTSAM_WEB_PICTURE)")
    return Path(path)


def paint_organ(page: Page, number: int, mask: np.ndarray) -> None:
    """Paint an organ (K, J, I) into a segment of its own."""
    if number:
        page.add_segment()
    name = page.page.locator(".segments .name").nth(number)
    name.fill(NAMES[number])
    name.press("Enter")
    page.paint_slices(mask, PAINTED, BRUSH_MM)
    page.picture(f"painted-{NAMES[number]}")
    page.page.keyboard.press("Escape")
    page.wait(lambda: page.state("tool") == "")


def test_picture(start_server: Callable, open_page: Callable, picture: Path, tmp_path: Path) -> None:
    volume, labels = ct_phantom()
    organs = [labels.mask(each) for name in NAMES for each in labels.segments if each.name == name]
    write_image(volume.voxels, volume.geometry, tmp_path / "abdomen.nrrd")
    page: Page = open_page(start_server(tmp_path / "abdomen.nrrd"), volume.geometry)
    page.page.get_by_role("button", name="Fit", exact=True).first.click()
    page.page.wait_for_timeout(800)
    for number, organ in enumerate(organs):
        paint_organ(page, number, organ)
    for index in empty_neighbours(organs[0] | organs[1], 0):
        page.go_to(index)
        page.page.click("#b_empty")
        page.wait(lambda index=index: page.painted().get(index) is True)
    page.page.click("#b_propagate")
    page.wait(lambda: page.state("state") == "preview", RUN_S)
    page.go_to(SHOWN)
    for plane, index in PLACES.items():
        page.page.locator(f"#slider_{plane}").fill(str(index))
    page.page.locator("#opacity").fill(str(OPACITY))
    page.page.mouse.move(700, 20)
    page.page.wait_for_timeout(5000)
    page.page.screenshot(path=picture)
    pixels = SimpleITK.ReadImage(str(picture))
    kept = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(pixels)[..., :3] & KEPT_BITS, isVector=True)
    SimpleITK.WriteImage(kept, str(picture), useCompression=True, compressionLevel=9)
    assert picture.stat().st_size <= MOST_BYTES
