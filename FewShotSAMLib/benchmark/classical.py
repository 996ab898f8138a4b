"""Baselines that do the same job without learning: two of 3D Slicer's tools, and Biomedisa's."""

import contextlib
import io
import os
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.outcome import MethodSettings
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.volume import Volume

_STRUCTURE, _BACKGROUND = 1, 2
STEPS_OF_A_WALK = 100
"""Biomedisa's own default, 4000, loses small structures on volumes of this size."""


def fill_between_slices(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    """ITK's morphological contour interpolation, with its defaults, as Slicer's effect *Fill between slices* uses it.

    D. Zukić, J. Vicory, M. McCormick and others, ND morphological contour interpolation (Insight Journal 2016). It
    sees only the painted shapes, neither the image nor the slices declared empty.
    """
    _use_one_thread()
    import itk
    from itk import itkMorphologicalContourInterpolatorPython  # directly: via `itk` it loads all of ITK, in 20 s

    painted = np.ascontiguousarray(_painted(annotation), np.uint8)
    interpolator = itkMorphologicalContourInterpolatorPython.itkMorphologicalContourInterpolatorIUC3.New()
    interpolator.SetInput(itk.image_view_from_array(painted))
    interpolator.Update()
    return np.asarray(itk.array_from_image(interpolator.GetOutput())) > 0


def fill_between_slices_in_slicer(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    """The same with the filter that Slicer's effect runs; its build of ITK differs and interpolates a bit better."""
    _use_one_thread()
    from slicer import vtkITKMorphologicalContourInterpolator

    interpolator = vtkITKMorphologicalContourInterpolator()
    interpolator.SetInputData(_vtk_image(_painted(annotation).astype(np.uint8), volume.geometry.spacing))
    interpolator.Update()
    return _labels(interpolator, volume) > 0


def _use_one_thread() -> None:
    """Limit ITK to one thread, whatever else has been set; call it before ITK's threads start. With several, the
    interpolator crashes the process at exit (6 of 6 times)."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"


def grow_from_seeds(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    """Slicer's own filter behind *Grow from seeds* (fast GrowCut), seed locality 0 as in the effect.

    L. Zhu, I. Kolesov, Y. Gao and others, An effective interactive medical image segmentation method using fast
    GrowCut (MICCAI workshop on interactive methods 2014). Seeds: the structure on the painted slices, and background
    everywhere else on them and on the slices declared empty. The effect grows within a box around the seeds; here it
    grows in the whole volume, which is in its favour where the volume's end cuts a structure off.
    """
    from slicer import vtkImageGrowCutSegment

    seeds = np.zeros(volume.geometry.shape, np.uint8)
    along = np.moveaxis(seeds, annotation.axis, 0)
    along[list(annotation.exemplars)] = _BACKGROUND
    seeds[_painted(annotation)] = _STRUCTURE
    grower = vtkImageGrowCutSegment()
    grower.SetIntensityVolume(_vtk_image(_grey(volume), volume.geometry.spacing))
    grower.SetSeedLabelVolume(_vtk_image(seeds, volume.geometry.spacing))
    grower.SetDistancePenalty(0.0)
    grower.Update()
    return _labels(grower, volume) == _STRUCTURE


def smart_interpolation(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    """Biomedisa's weighted random walks from the pixels of the painted slices, structure and background alike.

    P. D. Lösel, T. van de Kamp, A. Jayme and others, Introducing Biomedisa as an open-source online platform for
    biomedical image segmentation (Nature Communications 2020). A slice without any label is no seed there, so it
    ignores slices declared empty. Raises RuntimeError with Biomedisa's output if it gives no result.
    """
    from biomedisa.interpolation import smart_interpolation as interpolate

    grey, labels = (np.moveaxis(each, annotation.axis, 0) for each in (_grey(volume), _painted(annotation)))
    labels = np.ascontiguousarray(labels, np.uint8)
    platform = None if settings.device == "cuda" else "opencl_Portable_CPU"  # pocl's name for the processor
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = interpolate(grey.astype(np.float32), labels, sorw=STEPS_OF_A_WALK, platform=platform)
    if found is None:
        raise RuntimeError(f"Biomedisa gave no result: {said.getvalue().strip()}")
    return np.moveaxis(found["regular"] > 0, 0, annotation.axis)


def _painted(annotation: Annotation) -> np.ndarray:
    return annotation.segmentation.mask(annotation.segmentation.segments[0])


def _grey(volume: Volume) -> np.ndarray:
    """Return one number per voxel, in a type that VTK supports."""
    voxels = volume.voxels.mean(axis=3) if volume.is_rgb else volume.voxels
    return voxels.astype(np.float32) if voxels.dtype.itemsize > 4 or voxels.dtype == np.float16 else voxels


def _vtk_image(voxels: np.ndarray, spacing: tuple[float, float, float]) -> Any:
    """Return a vtkImageData with a copy of the voxels (K, J, I)."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(voxels.shape))
    image.SetSpacing(spacing)
    native = np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("="))
    image.GetPointData().SetScalars(numpy_to_vtk(native.ravel(), deep=True))
    return image


def _labels(filter_: Any, volume: Volume) -> np.ndarray:
    """Return a VTK filter's output, (K, J, I)."""
    from vtk.util.numpy_support import vtk_to_numpy

    labels = vtk_to_numpy(filter_.GetOutput().GetPointData().GetScalars()).reshape(volume.geometry.shape)
    return np.array(labels)  # a copy: the filter owns the memory and frees it
