"""Earlier patients' models in the page: listed, ticked, used together with one painted slice, and reported."""

from collections.abc import Callable
from pathlib import Path

import column
import numpy as np
from web.page import RUN_S, Page

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.metrics import dice

GEOMETRY = Geometry((column.SHAPE[2], column.SHAPE[1], column.SHAPE[0]), (1.5, 1.5, 3.0), (-30.0, -20.0, 10.0))


def run(page: Page, is_first_enough: bool = True) -> None:
    """Propagate; take the first answer if that is enough and a better one would follow."""
    page.page.click("#b_propagate")
    page.wait(lambda: page.state("busy"))

    def is_answered() -> bool:
        if is_first_enough:
            page.page.evaluate("() => document.querySelector('#b_first_answer')?.click()")
        return page.state("state") == "preview"

    page.wait(is_answered, RUN_S)


def quality(page: Page, truth: np.ndarray, path: Path) -> float:
    page.apply()
    found = dice(*map(column.unpainted, (page.save(path) > 0, truth)))
    page.page.click("#b_undo")
    page.wait(lambda: page.state("can_redo"))
    return found


def test_a_patient_is_saved_and_stands_beside_one_slice_of_the_next(
    start_server: Callable, open_page: Callable, tmp_path: Path
) -> None:
    for name, shift in (("first", 0), ("next", column.SHIFT)):
        write_image(column.patient(shift)[0], GEOMETRY, tmp_path / f"{name}.nrrd")
    page: Page = open_page(start_server(tmp_path / "first.nrrd"), GEOMETRY)
    assert not page.page.locator("#earlier").count()
    page.paint_slices(column.patient()[1], column.PAINTED, 4)
    for index in column.EMPTY:
        page.go_to(index)
        page.page.click("#b_empty")
    page.wait(lambda: len(page.painted()) == len((*column.PAINTED, *column.EMPTY)))
    run(page)
    page.page.locator("#models summary").click()
    page.page.fill("#model_name", "first patient")
    page.page.click("#b_save_model")
    page.wait(lambda: [each["name"] for each in page.state("earlier")] == ["first patient"])
    page.page.click("#b_discard")
    page.open_volume("next.nrrd", GEOMETRY)

    truth = column.patient(column.SHIFT)[1]
    page.paint_slices(truth, [column.ONLY], 4)
    run(page)
    alone = quality(page, truth, tmp_path / "alone.seg.nrrd")
    assert not page.state("earlier")[0]["chosen"] and page.page.locator("#earlier input").is_enabled()
    page.page.check("#earlier input")
    page.wait(lambda: "earlier patients" in page.state("cost")["text"])
    run(page, is_first_enough=False)
    page.picture("earlier")
    assert "“first patient” was used" in page.page.locator(".contributed").inner_text()
    assert not page.page.locator("#b_whole").count()
    assert quality(page, truth, tmp_path / "beside.seg.nrrd") > alone + 0.1

    (tmp_path / "first patient.fewshot").unlink()
    page.page.click("#b_add")  # anything that makes the page look again
    page.wait(lambda: "“first patient” is no longer there" in page.state("why_not"))
    assert page.page.locator("#b_propagate").is_disabled() and "restore its file" in page.state("earlier")[0]["details"]
    page.picture("gone")
    page.page.uncheck("#earlier input")
    page.wait(lambda: page.state("earlier") == [] and page.state("why_not") == "")
    page.trigger("use_model", "../first patient", True)
    page.wait_for_message("There is no few-shot model")
    assert page.state("earlier") == []
