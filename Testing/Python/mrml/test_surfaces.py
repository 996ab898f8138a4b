"""Slicer's own conversion makes closed surfaces as fine as a view can show them."""

import numpy as np
import pytest
import slicer
import vtk

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml.grids import geometryOfImage, imageOfArray, rasMatrix, viewOfImage
from FewShotSAMLib.mrml.segments import LABELMAP
from FewShotSAMLib.mrml.surfaces import SURFACE, forView, makeSurfaces

pytestmark = pytest.mark.usefixtures("scene")  # which makes Slicer's conversions available
GRID = Geometry((600, 520, 40), (0.8, 0.8, 1.5), (-30.0, 12.0, 7.0), (0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0))
FIRST = (2, 3, 5)
"""Index (k, j, i) of the labelmap's first voxel."""


def classes() -> np.ndarray:
    """An ellipsoid, a needle of one voxel's width, and nothing."""
    found = np.zeros(GRID.shape, np.uint8)
    k, j, i = np.ogrid[tuple(map(slice, GRID.shape))]
    found[((k - 18) / 15) ** 2 + ((j - 200) / 90) ** 2 + ((i - 250) / 110) ** 2 < 1] = 1
    found[5:35, 451, 501] = 2
    return found


def segmentation(image: slicer.vtkOrientedImageData) -> slicer.vtkSegmentation:
    made = slicer.vtkSegmentation()
    made.SetSourceRepresentationName(LABELMAP)
    for value in (1, 2, 3):
        segment = slicer.vtkSegment()
        segment.SetLabelValue(value)
        segment.AddRepresentation(LABELMAP, image)
        made.AddSegment(segment, str(value))
    return made


def surfaces(made: slicer.vtkSegmentation) -> list[vtk.vtkPolyData]:
    return [made.GetSegment(str(value)).GetRepresentation(SURFACE) for value in (1, 2, 3)]


def volume(surface: vtk.vtkPolyData) -> float:
    measured = vtk.vtkMassProperties()
    measured.SetInputData(surface)
    measured.Update()
    return float(measured.GetVolume())


def test_a_large_labelmap_has_a_surface_that_suits_the_view() -> None:
    image = imageOfArray(classes(), rasMatrix(GRID), FIRST)
    fine, shown = segmentation(image), segmentation(image)
    fine.CreateRepresentation(SURFACE, True)
    makeSurfaces(shown)
    (liver, needle, nothing), (found, thin, empty) = surfaces(fine), surfaces(shown)
    assert found.GetNumberOfCells() < 0.35 * liver.GetNumberOfCells()
    assert volume(found) == pytest.approx(volume(liver), rel=0.03)
    for mine, own in ((found, liver), (thin, needle)):
        assert mine.GetNumberOfCells()
        assert np.allclose(mine.GetBounds(), own.GetBounds(), atol=1.6)
    assert nothing.GetNumberOfCells() == empty.GetNumberOfCells() == 0


def test_a_voxel_stands_where_those_it_stands_for_did() -> None:
    """At the middle of those it replaces, whatever part of the lattice the labelmap holds; odd ends are kept."""
    labels = np.zeros((3, 601, 401), np.uint8)
    labels[1, 600, 400], labels[1, 0, 0], labels[1, 1, 1] = 1, 2, 3
    image = imageOfArray(labels, rasMatrix(GRID), FIRST)
    joined = forView(image)
    assert viewOfImage(joined).shape == (3, 301, 201)
    assert [viewOfImage(joined)[1, 300, 200], viewOfImage(joined)[1, 0, 0]] == [1, 3]
    before, after = (geometryOfImage(each, np.eye(4)) for each in (image, joined))
    assert np.allclose(after.spacing, (1.6, 1.6, 1.5)) and np.allclose(after.direction, before.direction)
    middle = (before.index_to_physical() @ [0.5, 0.5, 0.0, 1.0])[:3]
    assert np.allclose(after.origin, middle)


def test_a_small_labelmap_keeps_every_voxel() -> None:
    image = imageOfArray(classes()[:, :200, :250], rasMatrix(GRID))
    assert np.array_equal(viewOfImage(forView(image)), classes()[:, :200, :250])
