"""Settings and few-shot models in the page: choices are used, remembered, and refused where they make no sense."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from web.conftest import WebServer
from web.page import RUN_S, Page

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image

SHAPE = (12, 40, 44)
PAINTED, RANGE = (3, 6, 9), (2, 9)


@pytest.fixture
def truth() -> np.ndarray:
    """An ellipsoid, (K, J, I) bool."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    return (grid**2 * np.reshape([1.2, 3.0, 3.0], (3, 1, 1, 1))).sum(axis=0) < 1


@pytest.fixture
def server(start_server: Callable[..., WebServer], truth: np.ndarray, tmp_path: Path) -> WebServer:
    """A server with a small volume in which the ellipsoid is bright."""
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    write_image((truth * 200 + noise).astype(np.int16), GEOMETRY, tmp_path / "egg.nrrd")
    return start_server(tmp_path / "egg.nrrd")


GEOMETRY = Geometry((SHAPE[2], SHAPE[1], SHAPE[0]), (1.5, 1.5, 3.0), (-30.0, -20.0, 10.0))


@pytest.fixture
def page(open_page: Callable[..., Page], server: WebServer) -> Page:
    """The page with this volume."""
    return open_page(server, GEOMETRY)


def unfold(page: Page) -> None:
    for name in ("models", "settings"):
        page.page.locator(f"#{name} summary").click()
    page.page.locator(".panel").evaluate("each => each.scrollTo(0, each.scrollHeight)")


def refused(page: Page, text: str, trigger: str, *values: object) -> None:
    """Request something that the page would not; it is refused with a message that contains `text`."""
    before = page.state("settings") | {"refusals": None}
    page.trigger(trigger, *values)
    page.wait_for_message(text)
    page.page.locator(".message button").last.click()
    page.wait(lambda: not any(text in each["text"] for each in page.state("messages")))
    assert page.state("settings") | {"refusals": None} == before


def test_settings_are_used_kept_and_checked(page: Page, truth: np.ndarray) -> None:
    page.wait(lambda: len(page.state("choices")["encoders"]) > 1)
    unfold(page)
    form = page.page
    assert form.locator("#c_encoder option[value=vit_b]").is_disabled()
    assert "whoever runs it can download them" in form.locator("#missing").inner_text()
    form.select_option("#c_method", "autosam-cnn")
    form.select_option("#c_device", "cpu")
    form.select_option("#c_plane", "coronal")
    form.check("#c_holes")
    form.fill("#c_smooth", "1.5")
    form.press("#c_smooth", "Tab")
    page.wait(lambda: page.state("settings")["smooth_mm"] == 1.5 and page.state("settings")["end"] == SHAPE[1] - 1)
    form.select_option("#c_plane", "axial")
    page.wait(lambda: page.state("settings")["end"] == SHAPE[0] - 1)
    assert f"{SHAPE[0]} slices" in form.locator("#cost").inner_text()
    for place, value in zip(("#c_first", "#c_last"), RANGE, strict=True):
        form.fill(place, str(value))
        form.press(place, "Tab")
    page.wait(lambda: "8 slices" in form.locator("#cost").inner_text())
    page.picture("settings")
    form.reload()
    page.wait_for_views()
    assert page.state("settings") == {
        "method": "autosam-cnn", "encoder": "auto", "device": "cpu", "largest_island": False, "fill_holes": True,
        "smooth_mm": 1.5, "plane": "axial", "first": 2, "last": 9, "end": 11, "is_limited": True, "refusals": 0,
    }  # fmt: skip
    unfold(page)
    assert form.locator("#c_method").input_value() == "autosam-cnn"
    form.fill("#c_last", "40")
    form.press("#c_last", "Tab")
    page.wait_for_message("not a range")
    page.wait(lambda: form.locator("#c_last").input_value() == "9")
    form.locator(".message button").last.click()
    refused(page, "not on this computer", "set_choice", "encoder", "vit_b")
    refused(page, "not possible", "set_choice", "smooth_mm", 99)
    wrong = {"method": "magic", "device": "cuda:7", "fill_holes": "yes", "checkpoint": "/etc/passwd"}
    for choice in wrong.items():
        refused(page, "did not understand", "set_choice", *choice)
    refused(page, "did not understand", "set_plane", "oblique")
    refused(page, "did not understand", "set_range", "0", None)
    page.page.click("#b_all")
    page.wait(lambda: not page.state("settings")["is_limited"])


def apply_to_several(page: Page, folder: Path) -> None:
    """Two volumes of the served folder, one of them broken; the table opens, and a second call does nothing."""
    (folder / "broken.nrrd").write_bytes((folder / "egg.nrrd").read_bytes()[:500])
    page.page.evaluate("""() => window.trame.state.watch(["show_several"], shown => {
        if (shown) window.listed = [window.trame.state.get("several_model"), [...window.trame.state.get("volumes")]];
    })""")
    page.page.locator("#models li button", has_text="Several").click()
    page.page.locator("#b_all_volumes").click()
    listed = page.page.evaluate("window.listed")  # when the dialog opened: "All" ticks these
    assert listed == ["egg ñ", ["broken.nrrd", "egg.nrrd"]]
    page.page.locator("#b_several", has_text="Apply to 2").click()
    page.wait(lambda: page.state("several")["has_table"], RUN_S)
    assert page.state("several")["text"].startswith("1 of 2 volumes segmented, 1 failed.")
    assert (folder / "egg ñ results" / "egg.seg.nrrd").is_file()
    with page.page.context.expect_page() as opened:
        page.page.click("#table")
    table = opened.value
    table.wait_for_selector("tr[data-name=broken]")
    assert table.locator("tbody tr").first.get_attribute("data-name") == "broken"
    assert table.locator("tr[data-name=egg] img").count() == 1
    table.close()
    refused(page, "not volumes of the served folder", "apply_to_several", "egg ñ", ["../x.nrrd"])
    refused(page, "There is no few-shot model", "choose_several", "../egg ñ")


def test_a_few_shot_model_is_saved_applied_and_deleted(page: Page, truth: np.ndarray, tmp_path: Path) -> None:
    unfold(page)
    assert page.page.locator("#model_name").is_disabled()
    page.page.select_option("#c_method", "autosam-linear")  # applying a few-shot model would take a minute
    page.trigger("set_plane", "axial")
    page.trigger("set_range", *RANGE)
    page.paint_slices(truth, PAINTED, 8)
    page.page.click("#b_propagate")
    page.wait(lambda: page.state("busy"))
    assert page.page.locator("#c_method").is_disabled() and not page.page.locator("#cost").count()
    page.wait(lambda: page.state("state") == "preview", RUN_S)
    page.page.fill("#model_name", "egg ñ")
    page.page.click("#b_save_model")
    page.wait(lambda: [each["name"] for each in page.state("models")] == ["egg ñ"])
    assert (tmp_path / "egg ñ.fewshot").is_file()
    assert "autosam-linear" in page.state("models")[0]["details"]
    name = page.page.locator("#models .model b")
    assert name.evaluate("each => each.scrollWidth <= each.clientWidth"), "it is not cut off"
    page.apply()
    result = page.save(tmp_path / "result.seg.nrrd")
    assert {int(k) for k in np.flatnonzero(result.any(axis=(1, 2)))} <= set(range(RANGE[0], RANGE[1] + 1))

    page.page.locator("#models li button", has_text="Apply to this volume").click()
    page.wait(lambda: len(page.state("segments")) == 2, RUN_S)
    page.wait(lambda: page.state("state") == "idle")
    page.wait(lambda: list(page.painted()) == list(PAINTED))
    looks = [(each["name"], each["color"]) for each in page.state("segments")]
    assert looks[0][0] != looks[1][0] and looks[0][1] != looks[1][1]
    page.picture("model-applied", after_ms=800)
    first = page.page.locator(".segments li").nth(0).locator("button").nth(0)
    first.click()
    page.wait(lambda: not page.state("segments")[0]["visible"])
    applied = page.save(tmp_path / "applied.seg.nrrd")
    assert applied.any() and not np.array_equal(applied > 0, result > 0)
    first.click()
    page.wait(lambda: page.state("segments")[0]["visible"])
    page.page.click("#b_undo")
    page.wait(lambda: len(page.state("segments")) == 1)

    apply_to_several(page, tmp_path)
    refused(page, "There is no few-shot model", "apply_model", "../egg ñ")
    page.page.locator("#models li button.icon").click()
    page.page.locator("#models li button", has_text="Delete?").click()
    page.wait(lambda: not page.state("models"))
    assert not (tmp_path / "egg ñ.fewshot").exists()
