"""Grids: where voxels are, and how one grid maps to another."""

import json
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry, labelled_rows, sparse_copy


def sub_grid(geometry: Geometry, axes: tuple[int, ...], signs: tuple[int, ...], start: tuple[int, ...]) -> Geometry:
    """A grid of 3 × 4 × 2 voxels whose axis b runs along axis axes[b] of the other, from voxel `start` on."""
    matrix = geometry.index_to_physical()
    columns = np.reshape(geometry.direction, (3, 3))[:, list(axes)] * np.array(signs)
    origin = (matrix @ [*start, 1])[:3]
    spacing = tuple(geometry.spacing[axis] for axis in axes)
    return Geometry((3, 4, 2), spacing, tuple(origin.tolist()), tuple(columns.ravel().tolist()))


def test_shapes_and_spacings() -> None:
    geometry = Geometry((9, 7, 5), (0.7, 1.1, 4.0))
    assert geometry.shape == (5, 7, 9) and geometry.spacing_kji == (4.0, 1.1, 0.7)
    assert [geometry.slice_shape(axis) for axis in range(3)] == [(7, 9), (5, 9), (5, 7)]


def test_json_and_same_as(geometry: Geometry) -> None:
    again = Geometry.from_json(json.loads(json.dumps(geometry.to_json())))
    assert again == geometry and again.is_same_as(geometry)
    rounded = replace(geometry, direction=tuple(np.float32(geometry.direction).tolist()))
    assert rounded.is_same_as(geometry)
    assert not replace(geometry, spacing=(0.7, 1.1, 4.01)).is_same_as(geometry)
    assert not replace(geometry, origin=(-12.5, 30.25, -801.0)).is_same_as(geometry)
    assert not replace(geometry, size=(9, 7, 6)).is_same_as(geometry)
    with pytest.raises(BadInputError):
        Geometry.from_json({"size": [1, 2, 3]})


def test_flat_geometry_is_refused() -> None:
    with pytest.raises(BadInputError):
        Geometry((2, 2, 2), (1.0, 0.0, 1.0))
    with pytest.raises(BadInputError):
        Geometry((2, 2, 2), direction=(1.0, 0, 0, 1.0, 0, 0, 0, 0, 1.0))


def test_lattice_map_follows_every_permutation_and_flip(geometry: Geometry) -> None:
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        other = sub_grid(geometry, axes, signs, (4, 5, 2))
        lattice = geometry.lattice_map(other)
        assert lattice is not None
        for index in ((0, 0, 0), (2, 3, 1), (1, 2, 0)):
            place = other.index_to_physical() @ [*index, 1]
            mapped = [lattice.signs[a] * index[lattice.axes[a]] + lattice.offset[a] for a in range(3)]
            assert np.allclose(geometry.index_to_physical() @ [*mapped, 1], place)
        labels = np.arange(24).reshape(other.shape)
        turned, first = lattice.turn(labels), lattice.first_index(other.size)
        mapped_kji = np.array([lattice.signs[a] * (0, 1, 1)[lattice.axes[a]] + lattice.offset[a] for a in (2, 1, 0)])
        assert turned[tuple(mapped_kji - first)] == labels[1, 1, 0]


def test_other_lattices_have_no_map(geometry: Geometry) -> None:
    assert geometry.lattice_map(replace(geometry, spacing=(0.7, 1.1, 2.0))) is None
    shifted = tuple((geometry.index_to_physical() @ [0, 0.3, 0, 1])[:3].tolist())
    assert geometry.lattice_map(replace(geometry, origin=shifted)) is None
    turned = np.reshape(geometry.direction, (3, 3)) @ [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    assert geometry.lattice_map(replace(geometry, direction=tuple(turned.ravel().tolist()))) is None


def test_spacing_across_a_single_slice_does_not_matter(geometry: Geometry) -> None:
    origin = tuple((geometry.index_to_physical() @ [0, 0, 3, 1])[:3].tolist())
    lattice = geometry.lattice_map(replace(geometry, size=(9, 7, 1), spacing=(0.7, 1.1, 1.3), origin=origin))
    assert lattice is not None and lattice.offset == (0, 0, 3) and lattice.axes == (0, 1, 2)


def test_a_copy_of_labels_and_the_rows_they_hold() -> None:
    labels = np.zeros((2, 4, 5, 6), np.uint16)
    labels[1, 2, 1:4, 3] = 700
    copy = sparse_copy(labels)
    assert copy.dtype == labels.dtype and np.array_equal(copy, labels) and not np.shares_memory(copy, labels)
    assert labelled_rows(labels[1, 2]) == slice(1, 4) and labelled_rows(labels[1, 2].T) == slice(3, 4)
    assert not labels[0, 0][labelled_rows(labels[0, 0])].size
