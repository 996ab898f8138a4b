"""A model applied to a volume unlike the one it was learned on: a warning, and half the confidence."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from FewShotSAMLib.core.intensity import parse_normalisation
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.core.window_fit import IntensityProfile
from FewShotSAMLib.engine.confidence import SliceConfidence
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.results import lower_confidence_if_unfamiliar


@pytest.mark.parametrize("kind", ["another patient", "MR", "HU + 1024", "older model"])
def test_confidence_is_halved_and_the_reason_said(kind: str) -> None:
    learned, _ = ct_phantom((8, 40, 48), seed=1)
    other, _ = ct_phantom((8, 40, 48), seed=2)
    window = parse_normalisation("auto", learned).resolve(learned)
    voxels = {"MR": (other.voxels + 1000.0) * 0.6, "HU + 1024": other.voxels + 1024.0}.get(kind, other.voxels)
    volume = Volume(np.asarray(voxels).astype(np.int16), other.geometry)
    look = None if kind == "older model" else IntensityProfile.of(learned, window)
    context = JobContext()
    model, run = SimpleNamespace(look=look), SimpleNamespace(volume=volume, window=window, context=context)
    confidence = np.full(volume.voxels.shape, 80, np.uint8)
    prediction = Prediction(np.zeros_like(confidence), confidence, {3: SliceConfidence(0.8, 5.0)})
    lower_confidence_if_unfamiliar(cast(Any, model), cast(Any, run), prediction)
    is_strange = kind in ("MR", "HU + 1024")
    assert prediction.slices[3].confidence == (0.4 if is_strange else 0.8)
    assert prediction.confidence is not None and (prediction.confidence == (40 if is_strange else 80)).all()
    assert any("-150 to 250" in warning for warning in context.warnings) == is_strange
