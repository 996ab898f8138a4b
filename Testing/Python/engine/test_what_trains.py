"""What a method's training uses and what it changes: pairs in every batch, and frozen means bit-identical."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.engine import image_training, task
from FewShotSAMLib.engine.fine_tune import fine_tune
from FewShotSAMLib.engine.learning import Learned, learn
from FewShotSAMLib.engine.request import PropagateOptions
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Schedule

SAM_UNUSED = ("iou_prediction_head.", "output_hypernetworks_mlps.1.")
OTHER_MASKS = ("output_hypernetworks_mlps.2.", "output_hypernetworks_mlps.3.")
MOMENTS = tuple(f"fine.{moment}_{level}" for moment in ("mean", "deviation") for level in ("eighth", "quarter"))
NO_GRADIENT = "k_proj.bias"
"""What is added to all keys alike adds the same to all scores, which a softmax takes away: nothing reaches it."""
SAM_FEW_SHOT = (
    *(f"decoder.mask_decoder.{name}" for name in (*SAM_UNUSED, *OTHER_MASKS)),
    *(f"decoder.{buffer}" for buffer in ("positional", "no_mask", "kinds")),
)
VIT_HEAD = (*(f"mask_decoder.{name}" for name in SAM_UNUSED), "pe_layer.")
FROZEN: list[tuple[str, bool, tuple[str, ...], tuple[str, ...]]] = [
    ("few-shot", False, SAM_FEW_SHOT, ("decoder.",)),
    ("autosam-vit", False, VIT_HEAD, (*VIT_HEAD, *MOMENTS)),
    ("autosam-vit", True, (*VIT_HEAD, "mask_decoder.iou_token."), (*VIT_HEAD, "mask_decoder.iou_token.")),
    ("autosam-cnn", False, (), MOMENTS),
    ("autosam-cnn", True, (), ()),
    ("autosam-linear", False, (), MOMENTS),
    ("autosam-linear", True, (), ()),
    ("synthesis", False, ("positional",), ("positional", *MOMENTS)),
    ("lora", False, ("positional",), ("positional", *MOMENTS)),
    ("cheap-lunch", False, ("positional",), ("positional", *MOMENTS)),
]
"""Method, `code_faithful`, and what its head keeps on SAM's encoders and on the bundled one. All the rest trains."""


@pytest.fixture(params=["run", "tiny_run"], ids=["small", "tiny"])
def any_run(request: pytest.FixtureRequest) -> VolumeRun:
    """A run of the phantom through the small ViT, or through the bundled encoder."""
    found: VolumeRun = request.getfixturevalue(request.param)
    return found


def teach(run: VolumeRun, annotation: Annotation, method: str, steps: int = 4, **options: Any) -> Learned:
    """Train with the engine, in both phases if the method has two."""
    with run.embeddings(annotation) as embeddings:
        return learn(
            run, annotation, embeddings, PropagateOptions(steps=steps, augmented_copies=1, method=method, **options)
        )


@pytest.mark.parametrize(("method", "pairs"), [("synthesis", 1), ("cheap-lunch", 1), ("lora", 0)])
def test_each_batch_that_is_learned_from_holds_a_pair(
    any_run: VolumeRun, annotation: Annotation, monkeypatch: pytest.MonkeyPatch, method: str, pairs: int
) -> None:
    batches: list[list[int]] = []

    def spy(head: Head, exemplars: Sequence[Any], schedule: Schedule, seed: int, context: Any, draw: Any, part: Any):
        def recorded(generator: torch.Generator) -> list[Any]:
            batch = draw(generator)
            batches.append([exemplar.slice_index for exemplar in batch])
            return batch

        return fine_tune(head, exemplars, schedule, seed, context, recorded if draw else None, part)

    monkeypatch.setattr(task, "fine_tune", spy)
    teach(any_run, annotation, method, steps=8)
    begins_with_views = method == "lora" and any_run.encoder.spec.architecture.fine_channels  # views of exemplars alone
    assert len(batches) == (2 if begins_with_views else 8)
    for batch in batches:
        real = [index for index in batch if index != image_training.SYNTHESISED]
        assert len(batch) - len(real) == pairs
        assert real and set(real) <= {4, 8, 10}


@pytest.mark.parametrize(("method", "faithful", "with_sam", "with_tiny"), FROZEN)
def test_training_changes_what_is_meant_to_train_and_nothing_else(
    any_run: VolumeRun,
    annotation: Annotation,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    faithful: bool,
    with_sam: tuple[str, ...],
    with_tiny: tuple[str, ...],
) -> None:
    before: dict[str, torch.Tensor] = {}

    def spy(head: Head, *rest: Any) -> float:
        if not before:
            before.update({name: tensor.clone() for name, tensor in head.state_dict().items()})
        return fine_tune(head, *rest)

    monkeypatch.setattr(task, "fine_tune", spy)
    steps = 8 if method in ("lora", "cheap-lunch") else 4  # a quarter of these goes through the bundled encoder
    learned = teach(any_run, annotation, method, steps, code_faithful=faithful)
    after = learned.predictor.state_dict()
    if not before:  # the bundled decoder is not trained; the volume's own networks learn afterwards
        before = {name: tensor.clone() for name, tensor in after.items()}
        assert learned.more()
        after = learned.predictor.state_dict()
        assert any(name.startswith("network.") for name in after.keys() - before.keys())
        after = {name: after[name] for name in before}
    frozen = with_tiny if any_run.encoder.spec.architecture.fine_channels else with_sam
    assert after.keys() == before.keys()
    for prefix in frozen:
        assert any(name.startswith(prefix) for name in after), prefix
    for name, tensor in after.items():
        if name.startswith(frozen):
            assert torch.equal(tensor, before[name]), f"{name} has changed"
        elif not name.endswith(NO_GRADIENT):
            assert not torch.equal(tensor, before[name]), f"{name} has not learned"


@pytest.mark.parametrize("method", ["lora", "cheap-lunch"])
def test_beneath_the_updates_the_encoder_that_is_trained_through_stays(
    any_run: VolumeRun, annotation: Annotation, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    networks: list[tuple[Any, dict[str, torch.Tensor]]] = []
    load = image_training.load_sam

    def spy(*arguments: Any, **options: Any) -> Any:
        sam, digest = load(*arguments, **options)
        weights = sam.image_encoder.state_dict()
        networks.append((sam.image_encoder, {name: tensor.clone() for name, tensor in weights.items()}))
        return sam, digest

    monkeypatch.setattr(image_training, "load_sam", spy)
    teach(any_run, annotation, method)
    ((network, before),) = networks
    after, seen = network.state_dict(), set()
    for name, tensor in after.items():
        if ".update." in name or ".parametrizations.weight.0." in name:
            continue
        original = name.replace("parametrizations.weight.original", "weight").replace(".qkv.qkv.", ".qkv.")
        assert torch.equal(tensor, before[original]), name
        seen.add(original)
    assert seen == before.keys() and len(after) > len(seen)
