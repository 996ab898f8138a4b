"""A segmentation with the predicted slices filled in: painted slices stay, and their voxels are counted beforehand."""

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segmentation import Segment, Segmentation
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.results import Filled

SHAPE = (5, 6, 7)
SEGMENTS = (
    Segment("a", "a", (1, 0, 0), 2, 0),
    Segment("b", "b", (0, 1, 0), 7, 0),
    Segment("c", "c", (0, 0, 1), 2, 1),
)


@pytest.mark.parametrize("is_painted", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice_by_slice_and_segment_by_segment(axis: int, dtype: type, is_painted: bool) -> None:
    """Segments overlap, one is painted on different slices, and a slice that is not ticked has paint."""
    random = np.random.default_rng(axis)
    layers = np.zeros((2, *SHAPE), dtype)
    along = np.moveaxis(layers, axis + 1, 1)
    along[0, 1] = random.choice([0, 2, 7], along.shape[2:])
    along[1, [1, 2, 4]] = random.choice([0, 2], (3, *along.shape[2:]))
    before = Segmentation(layers, Geometry(SHAPE[::-1]), SEGMENTS)
    classes = random.integers(0, 4, SHAPE, np.uint8)
    annotation = Annotation(before, axis, (1, 2), (), given=((1,), (1,), (1, 2))) if is_painted else None
    indices = [0, 2, 3]
    filled = Filled(before, Prediction(classes, None, {}), axis, indices, annotation)
    expected = along.copy()
    for index in indices:
        unknown = {1, 2, 3} if annotation is None else annotation.unknown(index)
        assert annotation is None or len(unknown) == (2 if index == 2 else 3)
        for label in unknown:
            segment = SEGMENTS[label - 1]
            expected[segment.layer, index][np.moveaxis(classes, axis, 0)[index] == label] = segment.label_value
    whole = filled.whole()
    assert np.array_equal(np.moveaxis(whole.layers, axis + 1, 1), expected)
    assert filled.voxel_counts() == [np.count_nonzero(whole.mask(segment)) for segment in SEGMENTS]
    assert not np.shares_memory(whole.layers, layers) and not np.moveaxis(layers, axis + 1, 1)[:, 3].any()
