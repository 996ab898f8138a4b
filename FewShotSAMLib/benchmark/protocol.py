"""The protocol: which slices a method gets to see, and how its result is measured on the others.

k slices evenly spaced over the extent of the structure (the outer two inset by 5 %) are painted from the ground truth,
and the first slice beyond each end is declared empty. All other slices of the volume are **counted**: a method is
judged on them alone, and every method gets the same slices.

- Dice: over the voxels of the counted slices.
- HD95 and ASSD, in mm: between the surfaces in the whole volume, after the painted and the declared-empty slices have
  been set to the truth in the result. Only surface voxels *on counted slices* enter the percentile and the mean; the
  nearest point of the other surface may lie on any slice. So leaving slices out cuts no artificial surface into either
  mask, and the given slices add no zeros.
"""

from dataclasses import dataclass

import numpy as np

from FewShotSAMLib.benchmark.tasks import SEGMENT
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.metrics import assd, dice, hd95
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_of, slices_to_paint
from FewShotSAMLib.core.segmentation import Segmentation

ALL = "all"
"""Instead of a number of painted slices: every slice that shows the structure."""
Count = int | str


@dataclass(frozen=True)
class Painting:
    """Which slices are painted and declared empty; indices along the task's axis."""

    painted: tuple[int, ...]
    empty: tuple[int, ...]

    @property
    def known(self) -> tuple[int, ...]:
        """Slices on which every pixel is given."""
        return tuple(sorted((*self.painted, *self.empty)))


@dataclass(frozen=True)
class Scores:
    """Agreement with the truth on the counted slices; distances in mm."""

    dice: float
    hd95_mm: float
    assd_mm: float
    counted_slices: int


def choose_slices(truth: np.ndarray, axis: int, count: Count, ends: bool = True) -> Painting | None:
    """Choose the slices to give for a truth (K, J, I), with the empty ones at its ends if `ends`; None if `count`
    slices would be all that show the structure."""
    held = slices_of(truth, axis)
    painted = slices_to_paint(truth, axis, len(held) if isinstance(count, str) else count)
    if count != ALL and len(painted) == len(held):
        return None
    return Painting(tuple(painted), tuple(empty_neighbours(truth, axis)) if ends else ())


def paint(truth: Segmentation, axis: int, painting: Painting) -> Annotation:
    """Return what a user would provide: the painted slices of the truth, nothing elsewhere."""
    drawn = keep_slices(truth, axis, painting.painted, [SEGMENT.name])
    return Annotation(drawn, axis, painting.painted, painting.empty)


def score(result: np.ndarray, truth: np.ndarray, axis: int, painting: Painting, spacing: tuple[float, ...]) -> Scores:
    """Measure a result against the truth, both masks (K, J, I); spacing in mm in the arrays' order."""
    counted = np.ones(truth.shape[axis], bool)
    counted[list(painting.known)] = False
    result, truth = np.moveaxis(np.asarray(result, bool), axis, 0), np.moveaxis(np.asarray(truth, bool), axis, 0)
    along = (spacing[axis], *(length for other, length in enumerate(spacing) if other != axis))
    completed = np.where(counted[:, np.newaxis, np.newaxis], result, truth)
    where = counted[:, np.newaxis, np.newaxis]
    return Scores(
        dice(result[counted], truth[counted]),
        hd95(completed, truth, along, where),
        assd(completed, truth, along, where),
        int(counted.sum()),
    )
