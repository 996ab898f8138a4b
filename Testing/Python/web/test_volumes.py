"""What can be opened other than one NIfTI file: NRRD, DICOM, colours, several volumes in turn, from other computers."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from web.conftest import WebServer
from web.page import Page

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import read_image, write_image
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.volume import read_volume

CROP = (slice(4, 14), slice(30, 110), slice(40, 130))
BALL, RED = (12, 36, 40), (190, 60, 50)


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    """A served folder with a part of a CT as NRRD and a DICOM series."""
    ct = read_image(shared_data / "ct-spleen" / "image.nii.gz")
    part = ct.voxels[CROP]
    write_image(np.ascontiguousarray(part), Geometry(part.shape[::-1], ct.geometry.spacing), tmp_path / "part.nrrd")
    shutil.copytree(shared_data / "ct-upper-abdomen-dicom" / "dicom", tmp_path / "series")
    return tmp_path


def test_one_volume_after_the_other(start_server: Callable, open_page: Callable, folder: Path) -> None:
    """NRRD, then DICOM while the first has unsaved paint: nothing of the first remains."""
    page: Page = open_page(start_server("--data", folder))
    page.open_volume("part.nrrd", read_volume(folder / "part.nrrd").geometry)
    assert page.state("last_axial") == 9
    page.take("paint", 6)
    page.stroke_on(3, (30, 30), (40, 50))
    page.wait(lambda: page.state("can_undo"))
    page.add_segment()
    page.trigger("set_range", 1, 5)
    page.page.click("#b_open")
    page.page.wait_for_selector("#volumes .warning")
    page.page.locator("#volumes h2 button").click()

    series = read_volume(folder / "series").geometry
    page.open_volume("series", series)
    assert page.state("last_axial") == 19 and page.state("last_sagittal") == 511
    page.wait(lambda: len(page.state("segments")) == 1 and page.state("painted") == [])
    assert not any(page.state(name) for name in ("can_undo", "can_redo", "is_unsaved", "messages"))
    assert not page.state("settings")["is_limited"] and page.state("tool") == ""
    page.picture("dicom")
    page.take("paint", 30)
    page.stroke_on(12, (200, 200), (230, 260))
    assert list(page.painted()) == [12]
    saved = page.save(folder / "series.seg.nrrd")
    assert saved.shape == series.shape and saved[12, 215, 230] and not saved[12, 100, 100]
    assert np.flatnonzero(saved.any(axis=(1, 2))).tolist() == [12]
    image = SimpleITK.ReadImage(str(folder / "series.seg.nrrd"))
    assert np.allclose(image.GetSpacing(), series.spacing) and np.allclose(image.GetOrigin(), series.origin, atol=1e-3)


def test_what_was_understood_is_shown(start_server: Callable, open_page: Callable, folder: Path) -> None:
    """As `inspect` reports it for the same file: in a line, and completely once that is expanded."""
    page: Page = open_page(start_server(folder / "series"), read_volume(folder / "series").geometry)
    page.wait(lambda: page.state("facts")["line"].startswith("CT, 512 x 512 x 20, "))
    assert page.state("facts")["line"].endswith("window -150..250 (abdomen)")
    assert not page.page.locator("#facts dl").is_visible()
    page.page.click("#facts summary")
    shown = page.page.locator("#facts dl").inner_text()
    assert "CT (DICOM modality CT)" in shown and "no painted slices" in shown
    page.take("paint", 30)
    for index, end in ((8, (400, 400)), (10, (202, 202)), (12, (400, 400))):
        page.stroke_on(index, (200, 200), end)
    page.wait(lambda: "is much smaller on slice 10" in page.page.locator("#facts dl").inner_text())


def long_volume(path: Path) -> None:
    """Bright, with a dark edge; its slices are far from square."""
    voxels = np.full((6, 24, 90), 50, np.int16)
    voxels[:, 1:-1, 1:-1] = 100
    write_image(voxels, Geometry((90, 24, 6), (1.0, 1.0, 3.3)), path)


def test_a_long_volume_fills_its_views(start_server: Callable, open_page: Callable, tmp_path: Path) -> None:
    """It is opened before the browser reports its views' sizes, and shown in another layout later."""
    long_volume(tmp_path / "long.nrrd")
    page: Page = open_page(start_server(tmp_path / "long.nrrd"), read_volume(tmp_path / "long.nrrd").geometry)
    page.go_to(4)
    for layout in ("four", "large"):
        if layout == "large":
            page.page.click(".enlarge >> nth=0")
            page.wait(lambda: page.state("layout") != "four")
        page.settle()
        page.picture(f"long-{layout}")
        for row, column in ((12, 3), (12, 87), (3, 45), (21, 45)):
            assert min(page.pixel(row, column)) > 150, (layout, row, column)
        assert max(page.pixel(-6, 45)) < 60, layout
        assert page.state("at_axial") == 4


def test_views_that_somebody_zoomed_stay_so(start_server: Callable, open_page: Callable, tmp_path: Path) -> None:
    """In all sizes of the browser's window; some change the last digits of what a view shows."""
    long_volume(tmp_path / "long.nrrd")
    page: Page = open_page(start_server(tmp_path / "long.nrrd"), read_volume(tmp_path / "long.nrrd").geometry)
    for zoomed in (False, True):
        if zoomed:
            page.page.set_viewport_size({"width": 1440, "height": 900})
            page.settle()
            x, y = page.place(12, 45)
            page.page.mouse.move(x, y)
            page.page.mouse.down(button="right")
            page.page.mouse.move(x, y + 80, steps=8)
            page.page.mouse.up(button="right")
        for width in (1117, 1300, 1157, 1091, 1131, 1023, 1600):
            page.page.set_viewport_size({"width": width, "height": 700 + width % 7})
            page.settle()
        page.picture(f"zoomed-{zoomed}")
        right, above = page.pixel(12, 86), page.pixel(-3, 45)
        assert (min(right) > 150) != zoomed and max(above) < 60, (right, above)


def test_a_colour_volume(start_server: Callable, open_page: Callable, tmp_path: Path) -> None:
    """It is shown in its colours, painted on and propagated."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in BALL), indexing="ij"))
    truth = (grid**2 * np.reshape([1.2, 3.0, 3.0], (3, 1, 1, 1))).sum(axis=0) < 1
    colors = np.where(truth[..., None], RED, (90, 90, 90)) + np.random.default_rng(0).integers(-8, 9, (*BALL, 3))
    image = SimpleITK.GetImageFromArray(colors.astype(np.uint8), isVector=True)
    image.SetSpacing((1.5, 1.5, 3.0))
    SimpleITK.WriteImage(image, str(tmp_path / "colour.nrrd"))
    page: Page = open_page(start_server(tmp_path / "colour.nrrd"), read_volume(tmp_path / "colour.nrrd").geometry)
    page.go_to(6)
    page.settle()
    assert np.allclose(page.pixel(18, 20), RED, atol=25)
    assert np.allclose(page.pixel(2, 2), (90, 90, 90), atol=25)
    painted = (3, 6, 9)
    page.paint_slices(truth, painted, 8)
    page.propagate()
    page.picture("colour")
    page.apply()
    others = [index for index in range(BALL[0]) if index not in painted]
    assert dice(page.save(tmp_path / "colour.seg.nrrd")[others] > 0, truth[others]) > 0.7


def own_address() -> str | None:
    """Return an address of this computer that is not its loopback; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses the address from which it would be sent
        except OSError:
            return None
        found = str(probe.getsockname()[0])
    return None if found.startswith("127.") else found


def test_reachable_from_other_computers(start_server: Callable, browser, tmp_path: Path) -> None:
    """It needs the secret under every address, warns that TLS is missing, and recognises the browser by its cookie."""
    server: WebServer = start_server("--data", tmp_path, "--host", "0.0.0.0")
    assert "<name of this computer>" in server.address
    other = own_address()
    for address in filter(None, (other, "127.0.0.1")):
        base = server.base.replace("<name of this computer>", address)
        context = browser.new_context()
        page = context.new_page()
        assert page.goto(base).status == 401 and not page.locator("#b_open").count()
        assert page.goto(f"{base}?token=guessed-by-somebody").status == 403
        if address == other:  # the only browser that is let in uses the last address
            context.close()
            continue
        page.goto(f"{base}?token={server.token}")
        page.wait_for_selector("#b_open")
        assert "token" not in page.url
        (cookie,) = context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        assert page.goto(base).status == 200
        context.close()
    assert any("plain HTTP" in line and "TLS" in line for line in server.lines)
    assert server.interrupt() == 0
