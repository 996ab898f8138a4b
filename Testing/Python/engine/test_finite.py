"""No NaN or infinity ends up in a result."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import IntensityWindow
from FewShotSAMLib.methods import few_shot, head
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.finite import require_finite


def test_intensities_of_any_size_give_the_same_result(guided: Any) -> None:
    options = {"steps": 0, "normalisation": "percentile:1,99", "no_cache": True, "cache": None}
    guided.run(**options)
    expected = guided.result().layers
    assert expected.any()
    for scale in (1e300, 1e-300):
        write_image(guided.volume.voxels * scale, guided.volume.geometry, guided.folder / "scaled.nrrd")
        report = guided.run(**options, volume=str(guided.folder / "scaled.nrrd"))
        found = guided.result().layers
        assert np.mean(found != expected) < 0.002, scale
        assert all(math.isfinite(row["confidence"]) for row in report["slices"])


def test_windows_beyond_float32() -> None:
    wide = IntensityWindow(-1.7e308, 1.7e308)
    np.testing.assert_allclose(wide.apply(np.array([[-1.7e308, 0, 1.7e308]])), [[0, 0.5, 1]])
    narrow = IntensityWindow(1e9, 1e9 + 1)
    np.testing.assert_allclose(narrow.apply(np.array([[1e9, 1e9 + 0.5, 1e9 + 1]])), [[0, 0.5, 1]])
    for low, high in ((0, math.nan), (0, math.inf), (1, 1), (2, 1)):
        with pytest.raises(BadInputError, match="cannot be told apart"):
            IntensityWindow(low, high)


@pytest.mark.parametrize("where", ["embedding", "prediction", "loss", "part head"])
def test_a_number_that_is_none_ends_the_run(where: str, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"no_cache": True, "cache": None, "save_model": str(case.folder / "m.fewshot")}
    if where == "embedding":
        encode = Encoder.encode
        monkeypatch.setattr(Encoder, "encode", lambda *given: encode(*given).mul_(math.inf))
    elif where == "prediction":
        plain = few_shot.FewShotHead.logits
        monkeypatch.setattr(few_shot.FewShotHead, "logits", lambda *given, **more: plain(*given, **more) * math.nan)
    elif where == "loss":
        monkeypatch.setattr(head.Head, "loss", lambda self, logits, *rest: logits.sum() * math.nan)
    else:
        plain_state = few_shot.FewShotHead.state

        def broken(self: Any) -> Any:
            state = plain_state(self)
            next(iter(state.tensors.values())).view(-1)[0] = math.nan
            return state

        monkeypatch.setattr(few_shot.FewShotHead, "state", broken)
    before = sorted(case.folder.iterdir())
    with pytest.raises(BadInputError, match=rf"The {where}.* is not finite"):
        case.run(**options)
    assert sorted(case.folder.iterdir()) == before


def test_large_numbers_are_numbers() -> None:
    values = torch.full((4,), 3e38)
    assert require_finite(values, "It") is values
    with pytest.raises(BadInputError, match="It is not finite"):
        require_finite(torch.tensor([1.0, math.nan]), "It")
