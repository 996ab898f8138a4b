"""The memory: sums cached over some exemplars are valid with further ones, but never for one painted differently."""

import pytest
import torch
from torch import Tensor

from FewShotSAMLib.bundled import memory
from FewShotSAMLib.bundled.compact import FINE, FOLDED_CHANNELS
from FewShotSAMLib.bundled.conditioning import VolumeConditioning
from FewShotSAMLib.bundled.memory import AttentionSums, Memory
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.methods.interface import ExemplarFeatures

CELLS = 3
GRID = 8 * CELLS
KNOWN = (2, 5, 8, 11)
ASKED = [3, 7]


class Shown:
    """Four exemplars of two segments, and a slice between every two of them; `scored` counts the exemplars scored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        self.features = torch.randn(len(KNOWN), FOLDED_CHANNELS, CELLS, CELLS)
        self.masks = (torch.rand(len(KNOWN), 2, GRID, GRID) > 0.5).float()
        self.slices = torch.randn(len(ASKED), FOLDED_CHANNELS, CELLS, CELLS)
        self.memory, self.scored, plain = Memory(FINE[2]), 0, torch.addmm

        def scores(*given: Tensor) -> Tensor:
            self.scored += 1
            return plain(*given)

        monkeypatch.setattr(memory.torch, "addmm", scores)

    def recalled(self, numbers: list[int], sums: list[AttentionSums | None] | None) -> Tensor:
        """Return the memory's output for some of the exemplars, (segments, slices, channels, h, w)."""
        self.scored = 0
        known, shown = tuple(KNOWN[n] for n in numbers), ExemplarFeatures(self.features[numbers], self.masks[numbers])
        given = VolumeConditioning(Flows(torch.rand(13, GRID, GRID).__getitem__), 13, known, shown, slice_step=2.0)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            queries, supports = given.queries(self.slices, ASKED), given.support(self.slices)
            return torch.stack(self.memory(queries[0], supports, sums))


def test_what_is_new_among_the_exemplars_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, sums = Shown(monkeypatch), [None, None]
    first = shown.recalled([0, 1, 3], sums)
    assert torch.equal(first, shown.recalled([0, 1, 3], None))
    again = shown.recalled([0, 1, 2, 3], sums)
    assert shown.scored == len(ASKED), "the one that is new, for each slice"
    fresh = shown.recalled([0, 1, 2, 3], None)
    assert shown.scored == len(ASKED) * len(KNOWN)
    apart = [float((each - fresh).abs().max()) for each in (again, first)]
    assert apart[0] < 3e-3 < 0.1 < apart[1], "bfloat16 has three digits"


@pytest.mark.parametrize("change", ["painted otherwise", "no longer painted"])
def test_nothing_is_left_of_an_exemplar_that_is_no_more(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    shown, sums, left = Shown(monkeypatch), [None, None], [0, 1, 2, 3]
    before = shown.recalled(left, sums)
    if change == "painted otherwise":
        shown.masks[1, 1, :, :12] = 0
    else:
        left = [0, 2, 3]
    found = shown.recalled(left, sums)
    assert torch.equal(found, shown.recalled(left, None)) and not torch.allclose(found, before, atol=1e-3)
