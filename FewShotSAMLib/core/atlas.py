"""What a model keeps of the volume that it was learned on, and how registration transfers its labels to another volume.

Anatomy is similar from one body to the next, so that labels that follow the deformation between two images are a better
guess than a network that knows only one body. Source of the registration: affine by mutual information (Mattes et al.,
2003), then diffeomorphic demons (Vercauteren et al., 2009), both from ITK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import product
from typing import Self

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from FewShotSAMLib.core.geometry import Geometry, slices_of
from FewShotSAMLib.core.image_io import geometry_of, itk_image
from FewShotSAMLib.core.intensity import Normalisation

MARGIN_MM = 30.0
"""Margin around the segments within which the image is kept."""
MOST_VOXELS = 1_500_000
"""Maximum number of voxels of that image; a larger one is kept at a coarser resolution."""
MOST_DEFORMED = 600_000
"""Maximum number of voxels of the grid on which the deformation is found."""
TISSUE = 25
"""Grey value, of 255, above which a voxel is part of the body."""
ALIKE = 0.58
"""Correlation of both images in and around the labels, before the deformable registration, from which they count
as the same anatomy. For three hippocampi it is 0.65 to 0.80, for two sarcomas 0.17 and 0.52. After the deformable
registration it says nothing: then it is 0.7 for the sarcomas, too."""
MOST_SCALED = 1.7
"""Ratio of both volumes, either way, beyond which they do not count as the same anatomy."""
OFFSETS_MM = (0.0, -40.0, 40.0, -80.0, 80.0)
"""Where along the body the region is looked for, relative to where it lay in the first one."""
MOST_SAMPLES = 60_000
"""Voxels at which the affine registration compares both images."""
LEVELS = ((4, 60), (2, 40), (1, 20))
"""Coarsening and iterations of the demons."""
AT_ONCE = 5
"""Iterations between two checks whether the user has cancelled."""
AROUND = 5
"""Voxels around the labels in which the images are compared."""


@dataclass(frozen=True)
class Atlas:
    """The image around finished segments: grey (K, J, I) uint8 through a window; classes (K, J, I) uint8, 1 to C;
    place: where its centre lies in the body, as shares of its extent along LPS; normalisation: how that window is
    found, None for the model's own."""

    grey: np.ndarray
    classes: np.ndarray
    geometry: Geometry
    place: tuple[float, float, float]
    normalisation: Normalisation | None = None

    @classmethod
    def of(cls, grey: np.ndarray, classes: np.ndarray, geometry: Geometry) -> Self | None:
        """The atlas of a volume (K, J, I), uint8, with these classes; None if they are empty or the volume is too thin
        to be registered."""
        if not classes.any() or min(grey.shape) < 4:
            return None
        box = _around(classes > 0, [MARGIN_MM / mm for mm in geometry.spacing_kji])
        cut, labels = (
            sitk.RegionOfInterest(itk_image(part, geometry), *_corner_and_size(box)) for part in (grey, classes)
        )
        grid = _coarser(cut, MOST_VOXELS)
        kept = sitk.Resample(cut, grid, sitk.Transform(), sitk.sitkLinear)
        found = sitk.Resample(labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
        low, high = _body(itk_image(grey, geometry))
        place = (_centre(kept) - low) / np.maximum(high - low, 1.0)
        return cls(
            sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(found), geometry_of(kept), tuple(place.tolist())
        )


def by_image(atlases: Iterable[Atlas]) -> dict[bytes, Atlas]:
    """The first atlas of each image, by the image's digest; given newest first, that is the last result for it."""
    found: dict[bytes, Atlas] = {}
    for atlas in atlases:
        found.setdefault(sha256(atlas.grey.tobytes()).digest(), atlas)
    return found


@dataclass(frozen=True)
class Transferred:
    """An atlas's labels on another volume: shares (C, K, J, I) uint8, how much of each voxel, of 255, is a segment;
    likeness: correlation of both images around them, -1 to 1; scale: ratio of the volume found to the atlas's;
    grey: the atlas's image there, (K, J, I) uint8, if it was asked for."""

    shares: np.ndarray
    likeness: float
    scale: float = 1.0
    grey: np.ndarray | None = None

    @property
    def is_alike(self) -> bool:
        """Whether the volume shows the same anatomy, so that the labels mean something."""
        return self.likeness >= ALIKE and 1 / MOST_SCALED <= self.scale <= MOST_SCALED


class _Progress:
    """Reports the steps done of all; each call may raise, because the user wants to stop."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report, self._done = report, 0
        self._total = len(OFFSETS_MM) + 1 + sum(-(-iterations // AT_ONCE) for _, iterations in LEVELS)

    def check(self) -> None:
        """Report the same again."""
        self._report(min(self._done, self._total - 1), self._total)

    def step(self) -> None:
        """Report, and count one step more."""
        self.check()
        self._done += 1

    def end(self) -> None:
        """Report that all steps are done."""
        self._report(self._total, self._total)


def transfer(
    atlas: Atlas,
    count: int,
    grey: np.ndarray,
    geometry: Geometry,
    progress: Callable[[int, int], None],
    with_image: bool = False,
) -> Transferred:
    """Transfer the labels 1 to `count` of an atlas to another volume, grey (K, J, I) uint8 through the same window.

    progress(done, total) is called several times a second, and may raise to stop.
    """
    steps, volume = _Progress(progress), itk_image(grey, geometry)
    image, labels = (itk_image(part, atlas.geometry) for part in (atlas.grey, (atlas.classes > 0).astype(np.uint8)))
    affine = _affine(_unit(image), volume, atlas.place, steps)
    back = affine.GetInverse()
    inside = sitk.GetArrayFromImage(sitk.Resample(labels, volume, back)) > 0
    if not inside.any():
        return Transferred(np.zeros((count, *grey.shape), np.uint8), -1.0)
    box = _around(inside, [MARGIN_MM / 2 / mm for mm in geometry.spacing_kji])
    grid = _coarser(sitk.RegionOfInterest(volume, *_corner_and_size(box)), MOST_DEFORMED)
    fixed = _unit(sitk.Resample(volume, grid))
    moving = _unit(sitk.Resample(image, grid, back))
    moving = sitk.Cast(sitk.HistogramMatching(moving, fixed, 256, 15, False), sitk.sitkFloat32)
    deformation = _demons(fixed, moving, steps)
    whole = sitk.CompositeTransform([back, deformation])
    found = sitk.GetArrayFromImage(sitk.Resample(labels, grid, back, sitk.sitkNearestNeighbor)) > 0
    likeness = _correlation(fixed, moving, found)
    there = partial(_there, atlas.geometry, whole=whole, grid=grid, volume=volume)
    shares = np.stack([there(255.0 * (atlas.classes == label)) for label in range(1, count + 1)])
    grey_there = there(atlas.grey) if with_image else None
    steps.end()
    return Transferred(shares, likeness, abs(float(np.linalg.det(np.reshape(affine.GetMatrix(), (3, 3))))), grey_there)


def _affine(
    fixed: sitk.Image, volume: sitk.Image, place: tuple[float, float, float], steps: _Progress
) -> sitk.AffineTransform:
    """From the atlas's points to those of the volume; several positions are tried first, and the best is refined."""
    factors = [max(1, int(own / its)) for own, its in zip(fixed.GetSpacing(), volume.GetSpacing(), strict=True)]
    moving = _unit(sitk.Shrink(volume, factors))
    tried = []
    for start in _starts(fixed, volume, place):
        steps.step()
        tried.append(_optimised(fixed, moving, start, (4, 2), steps))
    steps.step()
    rigid = sitk.Euler3DTransform(min(tried, key=lambda each: each[0])[1])
    affine = sitk.AffineTransform(rigid.GetMatrix(), rigid.GetTranslation(), rigid.GetCenter())
    return sitk.AffineTransform(_optimised(fixed, moving, affine, (2, 1), steps)[1])


def _starts(
    fixed: sitk.Image, volume: sitk.Image, place: tuple[float, float, float]
) -> Iterator[sitk.Euler3DTransform]:
    """Translations that move the atlas's centre to about the same place in the body, or to others along it."""
    low, high = _body(volume)
    centre, aim = _centre(fixed), low + np.asarray(place) * (high - low)
    first, last = low[2] - 1.0, high[2] + 1.0
    for offset in OFFSETS_MM:
        there = aim + np.array([0.0, 0.0, offset])
        if offset and not first + 20 < there[2] < last - 20:
            continue
        start = sitk.Euler3DTransform()
        start.SetCenter(centre.tolist())
        start.SetTranslation((there - centre).tolist())
        yield start


def _optimised(
    fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, shrinks: tuple[int, ...], steps: _Progress
) -> tuple[float, sitk.Transform]:
    """Mutual information, the lower the better, and the transform; the start if there is nothing to optimise."""
    found = type(start)(start)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    # Samples are jittered, by default seeded by the clock.
    method.SetMetricSamplingPercentage(min(1.0, MOST_SAMPLES / fixed.GetNumberOfPixels()), seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrinks)
    method.SetSmoothingSigmasPerLevel([factor // 2 for factor in shrinks])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(found, inPlace=True)
    stopped: list[BaseException] = []

    def step() -> None:
        """Called by ITK's loop, out of which nothing may be raised."""
        try:
            steps.check()
        except BaseException as error:  # noqa: BLE001 - raised again below
            stopped.append(error)
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, step)
    try:
        with _one_thread():
            method.Execute(fixed, moving)
    except RuntimeError:  # all that ITK says of images that do not overlap or have no contrast
        return np.inf, start
    if stopped:
        raise stopped[0]
    return float(method.GetMetricValue()), found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run ITK with one thread, as several sum in an order that changes from run to run.

    The registration method's own number of threads does not reach the filters inside it; the process-wide default does.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _demons(fixed: sitk.Image, moving: sitk.Image, steps: _Progress) -> sitk.DisplacementFieldTransform:
    field: sitk.Image | None = None
    for coarsening, iterations in LEVELS:
        factors = [max(1, min(coarsening, size // 8)) for size in fixed.GetSize()]
        sigmas = [coarsening / 2 * mm for mm in fixed.GetSpacing()]
        smooth = (
            fixed if coarsening == 1 else sitk.Cast(sitk.SmoothingRecursiveGaussian(fixed, sigmas), sitk.sitkFloat32)
        )
        target = sitk.Shrink(smooth, factors)
        source = sitk.Resample(moving, target)
        for done in range(0, iterations, AT_ONCE):
            steps.step()
            demons = sitk.DiffeomorphicDemonsRegistrationFilter()
            demons.SetNumberOfIterations(min(AT_ONCE, iterations - done))
            demons.SetStandardDeviations(1.5)
            demons.SetSmoothDisplacementField(True)
            if field is None:
                field = demons.Execute(target, source)
            else:
                field = demons.Execute(target, source, _field_on(field, target))
    assert field is not None
    return sitk.DisplacementFieldTransform(_field_on(field, fixed))


def _field_on(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    return sitk.Resample(field, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64)


def _there(
    geometry: Geometry, values: np.ndarray, whole: sitk.Transform, grid: sitk.Image, volume: sitk.Image
) -> np.ndarray:
    """Values 0 to 255 of an atlas on the volume's grid, uint8."""
    there = sitk.Resample(itk_image(values.astype(np.float32), geometry), grid, whole, sitk.sitkLinear, 0.0)
    found = sitk.GetArrayFromImage(sitk.Resample(there, volume, sitk.Transform(), sitk.sitkLinear, 0.0))
    return np.rint(found).astype(np.uint8)


def _correlation(first: sitk.Image, second: sitk.Image, labels: np.ndarray) -> float:
    if not labels.any():
        return -1.0
    near = ndimage.binary_dilation(labels, iterations=AROUND)
    ours, theirs = (sitk.GetArrayViewFromImage(image)[near].astype(np.float64) for image in (first, second))
    if ours.std() < 1e-6 or theirs.std() < 1e-6:
        return -1.0
    return float(np.corrcoef(ours, theirs)[0, 1])


def _unit(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(sitk.Cast(image, sitk.sitkFloat32) / 255.0, sitk.sitkFloat32)


def _around(mask: np.ndarray, margins: list[float]) -> list[tuple[int, int]]:
    """First and end index along (k, j, i) of a mask's box with margins in voxels."""
    box = []
    for axis, margin in enumerate(margins):
        held = slices_of(mask, axis)
        box.append((max(0, int(held[0] - margin)), min(mask.shape[axis], int(held[-1] + margin) + 1)))
    return box


def _corner_and_size(box: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [end - first for first, end in box[::-1]], [first for first, _ in box[::-1]]


def _coarser(image: sitk.Image, most: int) -> sitk.Image:
    """A grid over the same extent with at most `most` voxels, as fine as the image if that is allowed."""
    size, spacing = np.asarray(image.GetSize()), np.asarray(image.GetSpacing())
    voxels = float(np.prod(size))
    if voxels <= most:
        return image
    wanted = max(float(spacing.min()), (float(np.prod(size * spacing)) / most) ** (1 / 3))
    finest = np.maximum(spacing, wanted)
    while np.prod(np.ceil(size * spacing / finest)) > most:
        finest = np.maximum(spacing, finest * 1.05)
    count = np.maximum(1, np.floor(size * spacing / finest)).astype(int)
    grid = sitk.Image(count.tolist(), image.GetPixelID())
    grid.SetSpacing((size * spacing / count).tolist())
    grid.SetDirection(image.GetDirection())
    shift = np.asarray(image.GetDirection()).reshape(3, 3) @ ((size * spacing / count - spacing) / 2)
    grid.SetOrigin((np.asarray(image.GetOrigin()) + shift).tolist())
    return grid


def _centre(image: sitk.Image) -> np.ndarray:
    return np.asarray(image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()]))


def _body(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest LPS coordinates of the box around all tissue; around everything if there is none."""
    tissue = sitk.GetArrayViewFromImage(image) > TISSUE
    box = _around(tissue if tissue.any() else np.ones_like(tissue), [0.0, 0.0, 0.0])
    corners = [
        image.TransformContinuousIndexToPhysicalPoint([float(index) for index in reversed(corner)])
        for corner in product(*((first, end - 1) for first, end in box))
    ]
    return np.min(corners, axis=0), np.max(corners, axis=0)
