"""A job's parameters are checked before anything happens."""

from pathlib import Path
from typing import Any

import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.request import ApplyRequest, PropagateRequest
from FewShotSAMLib.engine.warm import open_cache
from FewShotSAMLib.options import options_of
from FewShotSAMLib.sam.cache import EmbeddingCache

NEEDED = {"volume": "v.nrrd", "annotation": "a.seg.nrrd", "output": "o.seg.nrrd"}


def test_parameters_find_their_place() -> None:
    given = {"axis": "1", "range": [3, 9], "device": "cpu", "smooth_mm": 2, "warm_start": None}
    request = PropagateRequest.from_parameters({**NEEDED, **given})
    assert (request.volume, request.axis, request.range) == (Path("v.nrrd"), 1, (3, 9))
    assert request.compute.device == "cpu"
    assert request.post_processing.smooth_mm == 2.0
    assert PropagateRequest.from_parameters({**NEEDED, "axis": "auto"}).axis is None


WRONG = (
    *(("axis", 3), ("axis", True), ("range", [1]), ("range", [1, 2, 3]), ("volume", ""), ("volume", 3)),
    *(("empty_slices", "3,4"), ("empty_slices", [1.5]), ("empty_of", [3, 4]), ("empty_of", {"liver": 3})),
    *(("method", "magic"), ("steps", -1), ("steps", 10**9), ("seed", -5), ("no_cache", "yes"), ("smooth_mm", "2")),
    ("colour", "red"),
)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        PropagateRequest.from_parameters({**NEEDED, name: value})
    assert name in str(caught.value) or str(value) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["volume", "model", "output"])
def test_what_is_missing_is_named(name: str) -> None:
    parameters = {"volume": "v", "model": "m", "output": "o"}
    del parameters[name]
    with pytest.raises(BadInputError, match=name):
        ApplyRequest.from_parameters(parameters)


def test_an_array_of_classes_may_stand_for_the_segmentation() -> None:
    request = ApplyRequest.from_parameters({"volume": "v", "model": "m", "classes": "c.npy"})
    assert request.output is None and request.classes == Path("c.npy")


EXTREMES = (
    *(float("nan"), float("inf"), -float("inf"), 1e308, -1e308, -0.0, 1e-320, 2**31, 2**63, 2**64, 10**400, -(2**63)),
    *("", "x" * 5000, "9" * 5000, "\0", "\udc80", "a\nb", [], [2**63], [float("nan")], [None], {}, {"a": 1}, {"": []}),
    {"liver": [2**63]},
)


@pytest.mark.parametrize("option", options_of("propagate"), ids=lambda option: option.name)
def test_extremes_are_taken_or_refused_in_a_line(option: Any) -> None:
    for value in EXTREMES:
        try:
            request = PropagateRequest.from_parameters({**NEEDED, option.name: value})
            EmbeddingCache(Path("none"), open_cache(request.compute, JobContext()).limit_bytes)
        except BadInputError as error:
            assert error.hint and "\n" not in str(error) and len(str(error)) < 700, (value, str(error))
