"""A cohort's page in a real browser: what is at the top, sorting, filtering, and that it contacts no server."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.cohort.page import write_page
from FewShotSAMLib.cohort.table import TableEntry, entry_of, ranked
from FewShotSAMLib.core.errors import BadInputError

USED = {"name": "a", "used": True, "why": "", "agreement": {"Liver": 0.9}, "weights": {"Liver": 1.0}}
EARLIER = {"models": [USED], "assumed_slices": [3]}


@pytest.fixture
def entries() -> list[TableEntry]:
    """250 rows: one failed, one without a result, three with warnings; confidence increases with the number."""
    found = []
    for number in range(250):
        report = {
            "mean_confidence": 0.5 + number / 1000,
            "slices": [{"index": 7, "origin": "predicted", "confidence": 0.4}],
            "training": {"registration": {"likeness": 0.9, "used": True}, **(EARLIER if number == 20 else {})},
            "warnings": ["The <b>spacing</b> is odd."] if number in (20, 40, 60) else [],
            "segments": [{"name": "Liver", "volume_ml": 0.0 if number == 90 else 1400.0 + number}],
            "seconds": {"total": 2.0},
            "shown": [5, 7],
        }
        kept = {"Site": "Köln" if number % 2 else "Bonn"}
        error = BadInputError("It is empty.", "Copy it again.") if number == 3 else None
        found.append(entry_of(f"row-{number:03}", None if error else report, error, None, kept))
    return ranked(found)


def test_the_page_of_a_cohort(browser, entries: list[TableEntry], tmp_path: Path) -> None:
    strip = tmp_path / "strip.jpg"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full((112, 226, 3), 90, np.uint8), isVector=True), str(strip))
    write_page(entries, tmp_path / "cohort.html", lambda entry: strip if entry.state == "done" else None)
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    asked, errors = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((tmp_path / "cohort.html").as_uri())

    def names() -> list[str]:
        return page.evaluate("() => [...document.querySelectorAll('tbody tr')].map(each => each.dataset.name)")

    top: Callable[[], list[str]] = lambda: names()[:6]  # noqa: E731
    assert top() == ["row-003", "row-090", "row-020", "row-040", "row-060", "row-000"] and len(names()) == 100
    assert "249 of 250 volumes segmented" in page.inner_text("#summary")
    assert "Copy it again." in page.inner_text("tr[data-name=row-003]")
    assert "The <b>spacing</b> is odd." in page.inner_text("tr[data-name=row-020]"), "shown as text"
    assert "“1” was used; Dice with what is painted: Liver 0.90" in page.inner_text("tr[data-name=row-020]")
    image = page.locator("tr[data-name=row-020] img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 226
    assert "least sure: 7" in page.inner_text("tr[data-name=row-020]")
    page.click("th button:has-text('Liver (ml)')")
    assert top()[0] == "row-090"
    page.click("th button:has-text('Liver (ml)')")
    assert top()[0] == "row-249" and page.get_attribute("th:has-text('Liver')", "aria-sort") == "descending"
    page.click("button:has-text('warnings (3)')")
    assert names() == ["row-060", "row-040", "row-020"]
    page.click("button:has-text('warnings (3)')")
    page.fill("#filter", "bonn odd")
    assert len(names()) == 3 and page.inner_text("#where") == "1 to 3 of 3"
    page.fill("#filter", "")
    page.click("#after")
    page.click("#after")
    assert page.inner_text("#where") == "201 to 250 of 250" and len(names()) == 50 and page.is_disabled("#after")
    page.fill("#filter", "row-17")
    assert page.inner_text("#where") == "1 to 10 of 10"
    assert all(url.startswith(("file:", "data:")) for url in asked) and not errors
    context.close()
