"""Cheap Lunch in the engine: pairs from the volume, LoRA through the encoder, separate embeddings for prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from engine.conftest import StopAt

from FewShotSAMLib.core.annotation import IGNORE, Annotation
from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.engine import image_training
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.exemplars import collect_exemplars
from FewShotSAMLib.engine.image_training import adapted_run, encoding_draw, mixed_draw, synthesised_exemplars
from FewShotSAMLib.engine.learning import learn
from FewShotSAMLib.engine.predict import predict
from FewShotSAMLib.engine.request import PropagateOptions
from FewShotSAMLib.engine.results import blank_prediction
from FewShotSAMLib.engine.synthesise import PairMaker
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.registry import METHODS, get_method


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_learns_and_predicts_on_the_official_classes(
    run: VolumeRun, annotation: Annotation, method: Any
) -> None:
    images, original = torch.rand(1, 3, 128, 128) * 255, run.encoder
    before = original.encode(images)
    options = PropagateOptions(steps=2, augmented_copies=1, method=method.name)
    with run.embeddings(annotation) as embeddings:
        learned = learn(run, annotation, embeddings, options)
    assert torch.equal(run.encoder.encode(images), before), "embeddings in the cache stay valid"
    assert np.isfinite(learned.training["loss"])
    updates = learned.predictor.encoder_updates
    assert (updates is not None) == method.load().adapts_encoder
    if updates is not None:
        assert all(bool(block.query_b.any()) and bool(block.value_b.any()) for block in updates.blocks)
        run = adapted_run(run, updates)
        assert run.encoder.cache_key != original.cache_key
        assert not torch.equal(run.encoder.encode(images), before)
    prediction = blank_prediction(run.volume.geometry.shape, False)
    with run.embeddings(annotation) as embeddings:
        predict(learned.predictor, embeddings, [5, 6], prediction, JobContext())
    assert sorted(prediction.slices) == [5, 6]


def test_the_adapted_encoder_sees_what_was_trained_on(run: VolumeRun, annotation: Annotation) -> None:
    with run.embeddings(annotation) as embeddings:
        updates = learn(run, annotation, embeddings, PropagateOptions(steps=2, method="lora")).predictor.encoder_updates
        assert updates is not None
        image = embeddings.framing.image(torch.from_numpy(embeddings.grey(5)))
    with torch.no_grad():
        beside = image_training.adaptable_encoder(run, updates)(image)
    torch.testing.assert_close(adapted_run(run, updates).encoder.encode(image[None])[0], beside, rtol=1e-3, atol=1e-4)


def test_pairs_treat_each_host_by_what_is_known_of_it(run: VolumeRun, annotation: Annotation) -> None:
    with run.embeddings(annotation) as embeddings:
        maker = PairMaker(annotation, embeddings, seed=1)
        assert set(np.unique(maker.slice_at(6).classes)) == {IGNORE}, "between painted slices"
        assert set(np.unique(maker.slice_at(9).classes)) == {IGNORE}, "before the empty slice"
        assert set(np.unique(maker.slice_at(1).classes)) == {IGNORE}, "no empty slice at this end"
        assert set(np.unique(maker.slice_at(11).classes)) == {0}, "beyond the empty slice"
        assert 1 in maker.slice_at(4).classes
        pairs = [maker.pair(number) for number in range(12)]
        again = PairMaker(annotation, embeddings, seed=1)
        assert again.key == maker.key != PairMaker(annotation, embeddings, seed=2).key
        for number, pair in enumerate(pairs):
            assert np.array_equal(pair.classes, again.pair(number).classes)
            assert torch.equal(pair.grey, again.pair(number).grey)
    assert {bool((pair.classes == IGNORE).any()) for pair in pairs} == {True, False}


def test_every_batch_holds_a_real_exemplar(run: VolumeRun, annotation: Annotation) -> None:
    generator = torch.Generator().manual_seed(0)
    with run.embeddings(annotation) as embeddings:
        maker = PairMaker(annotation, embeddings, seed=1)
        real = collect_exemplars(annotation, embeddings, 1, 4, JobContext())
        made = synthesised_exemplars(maker, 4, embeddings, 2)
        draws = [mixed_draw(real, made)]
        for pairs in (maker, None):
            draws.append(encoding_draw(annotation, embeddings, lambda image: image.new_zeros(256, 8, 8), pairs))
        for draw, synthesised in zip(draws, (1, 1, 0), strict=True):
            seen = set()
            for _ in range(8):
                slices = [exemplar.slice_index for exemplar in draw(generator)]
                assert len(slices) == len(set(slices)) == 2
                assert slices.count(image_training.SYNTHESISED) == synthesised
                seen |= set(slices) - {image_training.SYNTHESISED}
            assert seen == {4, 8, 10}


def test_long_training_is_told_of_beforehand(run: VolumeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    image_training.warn_of_time(run, lambda image: image, steps=10, cost=4.0)
    assert run.context.warnings == []
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(image_training.time, "perf_counter", lambda: next(clock))
    image_training.warn_of_time(run, lambda image: image, steps=200, cost=3.0)
    assert "7 hours" in run.context.warnings[0] and "cancel" in run.context.warnings[0]


@pytest.mark.parametrize("method", ["cheap-lunch", "synthesis"])
def test_a_saved_model_brings_its_encoder_along(case: Any, method: str, small_vit: dict[str, str]) -> None:
    model, sheet = str(case.folder / "m.fewshot"), case.folder / "pairs.png"
    context = JobContext()
    options = {**small_vit, "method": method, "steps": 1}
    report = case.run(context, **options, range=[4, 7], save_model=model, contact_sheet=str(sheet))
    picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(sheet)))
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.std() > 10
    applied = case.apply(model, context, range=[5, 7])
    assert applied["encoder"]["weights_hash"] == report["encoder"]["weights_hash"]
    assert applied["encoder"]["slices_encoded"] == 0, "the adapted encoder's embeddings have a place in the cache"
    confidence = {row["index"]: row["confidence"] for row in report["slices"]}
    assert {row["index"]: row["confidence"] for row in applied["slices"]} == {i: confidence[i] for i in (5, 6, 7)}
    case.check_known_slices()
    if method == "cheap-lunch":
        warm = case.run(context, **options, range=[5, 5], warm_start=model)
        assert warm["training"]["warm"]


@pytest.mark.parametrize("method", ["few-shot", "autosam-vit", "synthesis"])
def test_copies_can_be_made_and_encoded_at_each_step(run: VolumeRun, annotation: Annotation, method: str) -> None:
    options = PropagateOptions(steps=3, method=method, fresh_augmentation=True)
    with run.embeddings(annotation) as embeddings:
        embeddings.ensure(annotation.exemplars)
        before = run.encoder.slices_encoded
        assert np.isfinite(learn(run, annotation, embeddings, options).training["loss"])
        assert run.encoder.slices_encoded == before + 6


def test_with_the_bundled_encoder_copies_and_pairs_stay_between_their_neighbours(
    tiny_run: VolumeRun, annotation: Annotation
) -> None:
    run, encoder = tiny_run, tiny_run.encoder
    with run.embeddings(annotation) as embeddings:
        shown = embeddings.shown(5)
        assert shown.shape[-1] == 3 and not torch.equal(shown[..., 0], shown[..., 2])
        torch.testing.assert_close(embeddings.framed(shown), embeddings.image(5))
        seen: list[torch.Tensor] = []
        encode, encoder.encode = encoder.encode, lambda images, check: seen.append(images) or encode(images, check)
        embeddings.augmented(5, 1)
        synthesised_exemplars(PairMaker(annotation, embeddings, seed=1), 1, embeddings, 2)
    assert len(seen) == 2
    for images in seen:
        assert not torch.equal(images[0, 0], images[0, 1]) and not torch.equal(images[0, 1], images[0, 2])


def test_pairs_can_be_looked_at_before_the_training(case: Any) -> None:
    sheet = case.folder / "pairs.png"
    with pytest.raises(CancelledError):
        case.run(StopAt("fine-tune"), method="synthesis", contact_sheet=str(sheet))
    assert sheet.is_file() and not Path(case.parameters["output"]).exists()


def test_without_copies_there_are_no_pairs_and_the_user_is_told(case: Any) -> None:
    report = case.run(method="synthesis", augmented_copies=0)
    assert any("No pairs" in warning and "number of augmented copies" in warning for warning in report["warnings"])


def test_a_contact_sheet_is_for_methods_that_synthesise(case: Any) -> None:
    for method, name in (("lora", "sheet.png"), ("synthesis", "sheet.jpg")):
        with pytest.raises(BadInputError, match=r"contact.sheet"):
            case.run(method=method, contact_sheet=str(case.folder / name))
    assert get_method("synthesis").load().synthesises
