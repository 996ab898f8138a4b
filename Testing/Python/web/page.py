"""The page as its user operates it: with pointer and keys. Positions are computed as radiologists hang slices."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from scipy import ndimage

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import SlicePlane, axis_of_plane, slice_plane

PATIENCE_S = 120.0
RUN_S = 240
# For every page: the picture of a view, the colour of a place of the axial one, and milliseconds from an event until
# something is so. What begins with the event may take note of how all was before.
IN_THE_PAGE = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const imageOf = view => document.querySelector(`[data-view=${view}]`).closest('.layout-grid-item').querySelector('img');
const colorAt = (x, y) => {
  const img = imageOf('axial'), box = img.getBoundingClientRect(), scale = img.naturalWidth / box.width;
  canvas.drawImage(img, (x - box.left) * scale, (y - box.top) * scale, 1, 1, 0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const measure = (event, begin) => {
  window.measured = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('nothing changed in ten seconds')), 10000);
    window.addEventListener(event, () => {
      const start = performance.now(), isSo = begin();
      const look = () => isSo() ? resolve(performance.now() - start) : setTimeout(look, 4);
      look();
    }, { once: true, capture: true });
  });
};
Object.assign(window, { imageOf, colorAt, measure });
"""
# A pixel with more blue than red is painted: images are grey, the brush is yellow.
_MEASURE = """([x, y]) => {
  const isBlue = () => { const [red, , blue] = colorAt(x, y); return blue > red + 20; };
  if (isBlue()) throw new Error('painted already');
  measure('pointerup', () => isBlue);
}"""
_MEASURE_WHEEL = """() => measure('wheel', () => {
  const before = imageOf('axial').src;
  return () => imageOf('axial').src !== before;
})"""
_COUNT_PICTURES = """() => {
  const image = imageOf('axial');
  window.counted = 0;
  let before = image.src;
  const look = () => { if (image.src !== before) { before = image.src; window.counted += 1; } setTimeout(look, 2); };
  look();
}"""
_PAINTED = """view => {
  const img = imageOf(view), canvas = new OffscreenCanvas(img.naturalWidth, img.naturalHeight);
  const context = canvas.getContext('2d');
  context.drawImage(img, 0, 0);
  const colors = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < colors.length; i += 4) count += Math.abs(colors[i + 2] - colors[i]) > 20;
  return count;
}"""


def new_page(browser: Any) -> Any:
    """Return a page in its own browser; closing its context closes both."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.add_init_script(IN_THE_PAGE)
    return context.new_page()


class Page:
    """An open page; `geometry`: of the volume that is shown."""

    def __init__(self, page: Any, geometry: Geometry | None, pictures: Path | None) -> None:
        self.page, self.geometry = page, geometry
        self._pictures, self._count = pictures, 0

    def picture(self, name: str, after_ms: float = 0) -> None:
        """Save a screenshot if a folder for them is given, once what takes a while is visible."""
        if self._pictures is not None:
            self._count += 1
            self.page.wait_for_timeout(after_ms)
            self.page.screenshot(path=self._pictures / f"{self._count:02d}-{name}.png")

    def state(self, name: str) -> Any:
        """Return a value that the page shows."""
        return self.page.evaluate("name => window.trame.state.get(name)", name)

    def wait(self, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + patience_s
        while not is_so():
            assert time.monotonic() < end, f"not so after {patience_s} s: {self.painted()} {self.state('messages')}"
            self.page.wait_for_timeout(40)

    def wait_for_message(self, text: str) -> None:
        """Wait until a message with this text is shown."""
        self.wait(lambda: any(text in each["text"] for each in self.state("messages")))

    def trigger(self, name: str, *values: object) -> None:
        """Send a request to the server as the page would."""
        self.page.evaluate("([name, values]) => window.trame.trigger(name, values)", [name, list(values)])

    def wait_for_views(self) -> None:
        """Wait until the slice views show something."""
        self.page.wait_for_selector("#t_paint:not([disabled])")
        self.wait(lambda: self._images() >= 3)
        self.page.wait_for_timeout(700)

    def _images(self) -> int:
        script = "() => [...document.querySelectorAll('.views img')].filter(each => each.naturalWidth > 50).length"
        return int(self.page.evaluate(script))

    def painted(self) -> dict[int, bool]:
        """Return the slices in the list, and whether each is declared empty."""
        return {each["index"]: each["empty"] for each in self.state("painted")}

    def place(self, row: float, column: float) -> tuple[float, float]:
        """Return a point of the axial slice, in display orientation, as screen position; the view fits the volume."""
        plane = self._axial()
        box = self.page.locator("[data-view=axial]").bounding_box()
        lengths = [count * spacing for count, spacing in zip(plane.shape, plane.spacing, strict=True)]
        scale = min(box["height"] / lengths[0], box["width"] / lengths[1])
        y = box["y"] + box["height"] / 2 + ((row + 0.5) * plane.spacing[0] - lengths[0] / 2) * scale
        x = box["x"] + box["width"] / 2 + ((column + 0.5) * plane.spacing[1] - lengths[1] / 2) * scale
        return x, y

    def _axial(self) -> SlicePlane:
        assert self.geometry is not None
        return slice_plane(self.geometry, axis_of_plane(self.geometry, "axial"))

    def stroke(self, start: tuple[float, float], end: tuple[float, float], held_ms: float = 60) -> None:
        """Drag from one (row, column) to another, and release the button a little later."""
        mouse = self.page.mouse
        mouse.move(*self.place(*start))
        mouse.down()
        self.page.wait_for_timeout(40)  # moves are throttled: without a pause the last one would be lost
        mouse.move(*self.place(*end), steps=3)
        self.page.wait_for_timeout(held_ms)
        mouse.up()

    def stroke_on(self, index: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Go to a slice, drag over it, and wait until it is in the list."""
        self.go_to(index)
        self.stroke(start, end)
        self.wait(lambda: index in self.painted())

    def add_segment(self) -> None:
        """Add a segment, which is painted from now on."""
        before = len(self.state("segments"))
        self.page.click("#b_add")
        self.wait(lambda: len(self.state("segments")) == before + 1)

    def paint(self, mask: np.ndarray, brush_mm: float) -> None:
        """Paint a structure (rows, columns) as stored, in lines that stay inside by half a brush."""
        plane = self._axial()
        shown = np.pad(plane.orient(mask), 1)
        depth = ndimage.distance_transform_edt(shown, plane.spacing)[1:-1, 1:-1]
        inside = depth >= brush_mm / 2
        step = max(1, round(brush_mm / 2 / plane.spacing[0]))
        for row in range(0, len(inside), step):
            runs, count = ndimage.label(inside[row])
            for number in range(1, count + 1):
                columns = np.flatnonzero(runs == number)
                self.stroke((row, columns[0]), (row, columns[-1]))
        self.settle()

    def choose_volume(self, name: str) -> None:
        """Choose a volume of the served folder in the dialog."""
        self.page.click("#b_open")
        self.page.locator("#volumes li button", has_text=name).click()

    def open_volume(self, name: str, geometry: Geometry) -> None:
        """Open a volume of the served folder, discarding what is not saved."""
        is_unsaved = self.state("is_unsaved")
        self.choose_volume(name)
        if is_unsaved:
            self.page.click("#b_drop")
        self.geometry = geometry
        self.wait(lambda: self.state("volume_file") == name)
        self.wait_for_views()

    def take(self, tool: str, brush_mm: float) -> None:
        """Choose paint or erase, with a brush of about this size; keys go to the view under the pointer."""
        self.page.mouse.move(*self.place(0, 0))
        self.page.keyboard.press(tool[0])
        self.wait(lambda: self.state("tool") == tool)
        self._press_until("]", lambda: self.state("brush_mm") >= brush_mm)
        self._press_until("[", lambda: self.state("brush_mm") <= brush_mm)

    def _press_until(self, key: str, is_so: Callable[[], bool]) -> None:
        while not is_so():
            before = self.state("brush_mm")
            self.page.keyboard.press(key)
            self.wait(lambda before=before: self.state("brush_mm") != before)  # type: ignore[misc]

    def settle(self) -> None:
        """Wait until the server has processed all strokes, so that the picture no longer changes."""
        before, since = None, time.monotonic()
        while time.monotonic() - since < 1.5:
            now = self.page.evaluate("() => imageOf('axial').src")
            if now != before:
                before, since = now, time.monotonic()
            self.page.wait_for_timeout(60)

    def go_to(self, index: int) -> None:
        """Show an axial slice, using its slider."""
        self.page.locator("#slider_axial").fill(str(index))
        self.wait(lambda: self.state("at_axial") == index)
        self.page.wait_for_timeout(150)

    def pixel(self, row: float, column: float) -> tuple[int, int, int]:
        """Return red, green and blue at a point of the axial view."""
        red, green, blue = self.page.evaluate("([x, y]) => colorAt(x, y)", list(self.place(row, column)))
        return red, green, blue

    def colored(self, view: str) -> int:
        """Return how many pixels of a view are not grey: segments, and the brush."""
        return int(self.page.evaluate(_PAINTED, view))

    def paint_slices(self, truth: np.ndarray, indices: Iterable[int], brush_mm: float) -> None:
        """Paint a structure (K, J, I) on axial slices, with a brush of about this size."""
        self.take("paint", brush_mm)
        for index in indices:
            self.go_to(index)
            self.paint(truth[index], self.state("brush_mm"))
            self.wait(lambda index=index: index in self.painted())  # type: ignore[misc]

    def propagate(self) -> None:
        """Propagate, take the first answer, and wait for the preview."""
        self.page.keyboard.press("Escape")
        self.page.click("#b_propagate")
        self.page.click("#b_first_answer", timeout=1000 * RUN_S)
        self.wait(lambda: self.state("state") == "preview", RUN_S)

    def apply(self) -> None:
        """Apply the preview."""
        self.page.click("#b_apply")
        self.wait(lambda: self.state("state") == "idle")

    def save(self, path: Path) -> np.ndarray:
        """Save in the served folder, and return what was saved, (K, J, I)."""
        self.page.fill("#save_name", path.name)
        self.page.click("#b_save")
        self.wait(path.is_file)
        self.page.wait_for_timeout(300)
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))

    def download(self) -> np.ndarray:
        """Return what is painted now, (K, J, I); downloading saves nothing in the folder."""
        with self.page.expect_download() as downloading:
            self.page.click("#download")
        path = str(downloading.value.path())
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path, imageIO="NrrdImageIO"))

    def paint_latency(self, place: tuple[float, float]) -> float:
        """Return the milliseconds from the end of a short stroke until it is in the picture."""
        self.page.mouse.move(*self.place(*place))
        self.page.wait_for_timeout(350)
        self.page.evaluate(_MEASURE, list(self.place(*place)))
        self.stroke(place, (place[0] + 0.5, place[1] + 0.5))
        return float(self.page.evaluate("() => window.measured"))

    def wheel_latency(self, steps: int) -> float:
        """Return the milliseconds from a turn of the wheel until the axial view shows another picture."""
        self.page.mouse.move(*self.place(60, 60))
        self.page.wait_for_timeout(350)  # so that what the move draws is not measured
        self.page.evaluate(_MEASURE_WHEEL)
        self.page.mouse.wheel(0, -120 * steps)
        return float(self.page.evaluate("() => window.measured"))

    def pictures_a_second(self, seconds: float) -> float:
        """Return how many pictures of the axial view are shown while the wheel turns, once per picture."""
        self.page.mouse.move(*self.place(60, 60))
        self.page.wait_for_timeout(350)
        self.page.evaluate(_COUNT_PICTURES)
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            self.page.mouse.wheel(0, -120)
        counted = float(self.page.evaluate("() => window.counted"))
        at = None
        while at != (at := self.state("at_axial")):  # pending turns of the wheel would undo what comes next
            self.page.wait_for_timeout(700)
        return counted / passed
