"""Nothing painted is lost, and no file is replaced, without asking: kills, Ctrl-C, volumes, names."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from web.conftest import WebServer
from web.page import Page, new_page

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.volume import read_volume


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A served folder with two volumes and somebody else's segmentation."""
    served, temporary = tmp_path / "served", tmp_path / "temporary"
    served.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    volume, _ = ct_phantom((12, 60, 64), seed=3)
    for name in ("w", "other"):
        write_image(volume.voxels, volume.geometry, served / f"{name}.nrrd")
    (served / "w.seg.nrrd").write_bytes(b"the work of somebody else")
    return served


def geometry(folder: Path) -> Geometry:
    """Of both volumes."""
    return read_volume(folder / "w.nrrd").geometry


def paint(page: Page) -> None:
    """Paint strokes on two slices, and one of a second segment."""
    page.take("paint", 8)
    page.stroke_on(3, (20, 20), (20, 40))
    page.stroke_on(7, (30, 20), (36, 30))
    page.add_segment()
    before = page.colored("axial")
    page.stroke((45, 40), (45, 50))
    page.wait(lambda: page.colored("axial") != before)
    page.settle()


def records(folder: Path) -> list[Path]:
    """Return the files that store unsaved work."""
    return list((folder.parent / "temporary").glob("fewshotsam-*/autosave/record.json"))


def restored(page: Page) -> None:
    """Restore what is offered."""
    page.page.wait_for_selector("#leftovers")
    page.page.locator("#leftovers button", has_text="Restore").click()
    page.wait(lambda: not page.state("leftovers") and set(page.painted()) == {3, 7})
    assert all(each["level"] != "error" for each in page.state("messages")), page.state("messages")


def test_strokes_survive_a_kill_and_ctrl_c(start_server: Callable, open_page: Callable, folder: Path) -> None:
    server: WebServer = start_server(folder / "w.nrrd")
    page: Page = open_page(server, geometry(folder), is_doomed=True)
    paint(page)
    expected = page.download()
    assert set(np.unique(expected)) == {0, 1, 2}
    page.wait(lambda: bool(records(folder)))
    page.page.wait_for_timeout(2500)  # until the last stroke is saved, too
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()

    server = start_server("--data", folder)  # restoring what is offered opens the volume
    page = open_page(server, is_doomed=True)
    page.geometry = geometry(folder)
    page.picture("offered")
    restored(page)
    page.wait_for_views()
    page.picture("restored")
    np.testing.assert_array_equal(page.download(), expected)
    assert [each["name"] for each in page.state("segments")] == ["Segment_1", "Segment_2"]
    assert page.state("is_unsaved") and page.state("volume_file") == "w.nrrd"
    assert server.interrupt() == 0 and any("not saved is kept" in line for line in server.lines)

    server = start_server(folder / "w.nrrd")
    page = open_page(server, geometry(folder))
    restored(page)
    np.testing.assert_array_equal(page.download(), expected)
    saved = page.save(folder / "mine.seg.nrrd")
    np.testing.assert_array_equal(saved, expected)
    page.wait(lambda: not records(folder))
    assert not any("error" in line.lower() for line in server.lines), server.lines
    kept = [path for path in (folder.parent / "temporary").rglob("*") if path.suffix in (".npy", ".nrrd")]
    assert not [path for path in kept if "autosave" in path.parts]


def test_no_file_and_no_paint_goes_without_being_asked(
    start_server: Callable, open_page: Callable, folder: Path
) -> None:
    page: Page = open_page(start_server(folder / "w.nrrd"), geometry(folder))
    assert page.state("save_name") == "w-2.seg.nrrd", "a free name is offered"
    paint(page)
    page.page.fill("#save_name", "w.seg.nrrd")
    page.page.click("#b_save")
    page.page.wait_for_selector("#replace")
    page.picture("replace")
    assert (folder / "w.seg.nrrd").read_bytes() == b"the work of somebody else"
    page.page.click("#b_free")
    page.wait((folder / "w-2.seg.nrrd").is_file)
    page.wait(lambda: not page.state("is_unsaved"))
    page.page.fill("#save_name", "w.seg.nrrd")
    page.page.click("#b_save")
    page.page.click("#b_replace")
    page.wait(lambda: (folder / "w.seg.nrrd").stat().st_size > 100)
    before = (folder / "w.seg.nrrd").stat().st_mtime_ns
    page.stroke((10, 10), (10, 14))
    page.wait(lambda: page.state("is_unsaved"))
    page.page.click("#b_save")  # this session wrote it
    page.wait(lambda: (folder / "w.seg.nrrd").stat().st_mtime_ns > before and not page.state("is_unsaved"))
    assert page.state("doomed_save") == ""

    page.stroke((12, 10), (12, 14))
    page.wait(lambda: page.state("is_unsaved"))
    slices = page.painted()
    page.choose_volume("other.nrrd")
    page.page.wait_for_selector("#drop")
    page.picture("drop")
    page.page.click("#b_keep")
    page.page.wait_for_timeout(700)
    assert page.state("volume_file") == "w.nrrd" and page.painted() == slices
    page.open_volume("other.nrrd", geometry(folder))
    assert page.painted() == {}
    (folder / "bad.nrrd").write_bytes((folder / "w.nrrd").read_bytes()[:900])
    page.choose_volume("bad.nrrd")
    page.wait_for_message("damaged")
    assert page.state("volume_file") == "other.nrrd" and not page.state("busy")


def test_the_owner_takes_the_work_over_in_another_browser(
    start_server: Callable, open_page: Callable, browser, folder: Path
) -> None:
    server: WebServer = start_server(folder / "w.nrrd")
    first: Page = open_page(server, geometry(folder), is_doomed=True)
    paint(first)
    expected = first.download()
    second = new_page(browser)
    assert second.goto(f"{server.base}?token=guessed").status == 403
    assert second.goto(server.address).status == 409
    second.click("#b_take")
    page = Page(second, geometry(folder), None)
    page.wait_for_views()
    np.testing.assert_array_equal(page.download(), expected)
    first.page.wait_for_function("() => !window.trame || document.querySelector('.lost')")
    second.context.close()


def readers(server: WebServer, path: Path) -> list[int]:
    """Return the server's children that have a file open."""
    found = []
    for child in server.children():
        try:
            if any(each.readlink() == path for each in Path(f"/proc/{child}/fd").iterdir()):
                found.append(child)
        except OSError:
            continue  # ended, or closed meanwhile
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_reader_that_dies_harms_no_painting(start_server: Callable, open_page: Callable, folder: Path) -> None:
    voxels = np.zeros((400, 512, 512), np.int16)
    voxels[0, 0, 0] = 1
    large = (folder / "large.nrrd").resolve()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(large), True)
    server: WebServer = start_server(folder / "w.nrrd")
    page: Page = open_page(server, geometry(folder))
    paint(page)
    expected = page.download()

    def is_told() -> bool:
        return any(each["level"] == "error" and "large.nrrd" in each["text"] for each in page.state("messages"))

    for number in (signal.SIGKILL, signal.SIGSEGV):
        page.choose_volume("large.nrrd")
        page.page.click("#b_drop")
        page.wait(lambda: bool(readers(server, large)))
        for each in readers(server, large):
            os.kill(each, number)
        page.wait(is_told)
        page.page.locator(".message", has_text="large.nrrd").locator("button").last.click()
        page.wait(lambda: not is_told())
        assert page.state("volume_file") == "w.nrrd" and server.process.poll() is None
        np.testing.assert_array_equal(page.download(), expected)
    page.open_volume("other.nrrd", geometry(folder))
    assert not any("Traceback" in line for line in server.lines)
    assert server.interrupt() == 0
