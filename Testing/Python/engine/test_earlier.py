"""Earlier volumes' models combined with the slices painted here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import FewShotSAMLib as fss  # noqa: N813 - as users have it
from FewShotSAMLib.core import atlas, registered_labels
from FewShotSAMLib.core.annotation import annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import parse_normalisation
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices, slices_to_paint
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.engine import transfer
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.earlier import Earlier, assume
from FewShotSAMLib.engine.model_file import load_model, parse_model, save_model
from FewShotSAMLib.engine.request import ComputeOptions
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.engine.warm import warm_encoder
from FewShotSAMLib.sam.registry import get_spec

PAINTED = 6
SHIFT = 3
MODELS: dict[int, bytes] = {}
"""The earlier patient's, by the side at which slices are seen: each is made once."""


@pytest.fixture
def next_patient(guided: Any) -> Any:
    """The phantom's organs on another grid, shifted, with other noise, painted on one slice; and an earlier patient's
    model `organs.fewshot`, of the phantom as it was, with the truth for a result."""
    geometry, path, side = guided.volume.geometry, guided.folder / "organs.fewshot", get_spec("tiny").image_size
    if side not in MODELS:
        guided.run(save_model=str(path), steps=0, model_as_is=True)
        MODELS[side] = path.read_bytes()
    known = parse_model(MODELS[side])
    masks = [guided.truth.mask(each).astype(np.uint8) for each in guided.truth.segments]
    classes = sum(label * mask for label, mask in enumerate(masks, start=1))
    assert known.atlases
    window = known.normalisation.resolve(guided.volume)
    grey = (window.apply(guided.volume.voxels) * 255).round().astype(np.uint8)
    save_model(replace(known, atlases=(atlas.Atlas.of(grey, classes, geometry),)), path)
    moved = Geometry(geometry.size, geometry.spacing, (40.0, -10.0, 300.0), geometry.direction)
    noise = np.random.default_rng(7).normal(0, 12, geometry.shape)
    voxels = (np.roll(guided.volume.voxels, SHIFT, axis=2) + noise).astype(np.int16)
    truth = replace(guided.truth, layers=np.roll(guided.truth.layers, SHIFT, axis=3), geometry=moved)
    drawn = keep_slices(truth, 0, (PAINTED,), [each.name for each in truth.segments])
    write_image(voxels, moved, guided.folder / "next.nrrd")
    write_segmentation(drawn, guided.folder / "next-painted.seg.nrrd")
    files = {"volume": "next.nrrd", "annotation": "next-painted.seg.nrrd"}
    parameters = guided.parameters | {name: str(guided.folder / file) for name, file in files.items()}
    parameters |= {"empty_slices": [], "steps": 0}
    return replace(guided, truth=truth, drawn=drawn, painted=(PAINTED,), parameters=parameters)


def model(case: Any, *names: str) -> dict[str, Any]:
    return {"models": [str(case.folder / f"{name}.fewshot") for name in names or ("organs",)]}


def mean_dice(case: Any) -> float:
    found, rest = case.result(), [index for index in range(12) if index != PAINTED]
    masks = zip(found.segments, case.truth.segments, strict=True)
    return float(np.mean([dice(found.mask(ours)[rest], case.truth.mask(truth)[rest]) for ours, truth in masks]))


@pytest.mark.usefixtures("full_size")
def test_an_earlier_patient_and_a_painted_slice_are_better_than_the_slice_alone(next_patient: Any) -> None:
    next_patient.run()
    alone = mean_dice(next_patient)
    report = next_patient.run(**model(next_patient))
    assert mean_dice(next_patient) > alone + 0.05 and mean_dice(next_patient) > 0.93
    np.testing.assert_array_equal(next_patient.result().layers[:, PAINTED], next_patient.drawn.layers[:, PAINTED])
    (told,) = report["training"]["models"]
    assert told["used"] and told["name"] == "organs" and not report["warnings"]
    assert told["weights"] == dict.fromkeys(told["agreement"], 1.0) and min(told["agreement"].values()) > 0.5
    assert report["can_be_corrected"] is False and len(report["training"]["assumed_slices"]) > 2
    origin = {row["index"]: row["origin"] for row in report["slices"]}
    assert [index for index, what in origin.items() if what == "painted"] == [PAINTED]


def test_where_enough_is_painted_nothing_is_added(next_patient: Any) -> None:
    (liver,) = [each for each in next_patient.truth.segments if each.name == "liver"]
    slices = slices_to_paint(next_patient.truth.mask(liver), 0, 3)
    more = next_patient.painted_as(keep_slices(next_patient.truth, 0, slices, ["liver"]))
    next_patient.run(**more)
    expected = next_patient.result().layers
    told = next_patient.run(**more, **model(next_patient))["training"]
    assert told["models"][0]["used"] and told["assumed_slices"] == []
    np.testing.assert_array_equal(next_patient.result().layers, expected)


def test_models_count_by_how_they_agree_with_what_is_painted(next_patient: Any) -> None:
    known = load_model(next_patient.folder / "organs.fewshot")
    (image,) = known.atlases
    smaller = np.where(np.roll(image.classes, 4, axis=1) == image.classes, image.classes, 0).astype(np.uint8)
    worse = replace(known, atlases=(replace(image, classes=smaller),))
    save_model(worse, next_patient.folder / "worse.fewshot")
    bad, good = next_patient.run(**model(next_patient, "worse", "organs"))["training"]["models"]
    for name in good["weights"]:
        assert good["weights"][name] > bad["weights"].get(name, 0.0)
        assert good["weights"][name] + bad["weights"].get(name, 0.0) == pytest.approx(1.0, abs=0.002)


def test_a_model_of_no_use_changes_nothing_and_is_told(next_patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    next_patient.run()
    expected, known = next_patient.result().layers, load_model(next_patient.folder / "organs.fewshot")
    (image,) = known.atlases
    elsewhere = np.roll(image.classes, image.classes.shape[2] // 2, axis=2)
    for words, useless in {
        "agree too poorly": replace(known, atlases=(replace(image, classes=elsewhere),)),
        "name of": replace(known, segments=tuple(replace(each, name=f"new {each.name}") for each in known.segments)),
        "image": replace(known, atlases=()),
        "resemble": known,
    }.items():
        if useless is known:
            monkeypatch.setattr(atlas, "ALIKE", 1.1)
        save_model(useless, next_patient.folder / "useless.fewshot")
        report = next_patient.run(**model(next_patient, "useless"))
        np.testing.assert_array_equal(next_patient.result().layers, expected, words)
        (warning,) = [text for text in report["warnings"] if "was not used" in text]
        assert words in warning and "useless" in warning and not report["training"]["models"][0]["used"]


def test_a_model_is_extended_by_one_more_patient(next_patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file holds both patients' images: labels for the next volume come from both, also next to painted slices."""
    both = next_patient.folder / "both.fewshot"
    next_patient.run(**model(next_patient), save_model=str(both), model_as_is=True)
    kept = load_model(both)
    own, first = kept.atlases
    assert own.normalisation is None and first.normalisation is not None, "through the window that it was saved with"
    assert set(np.unique(first.classes)) == {0, 1, 2}
    entries = next_patient.run(**model(next_patient, "both"))["training"]["models"]
    assert [each["name"] for each in entries] == ["both (1 of 2)", "both (2 of 2)"]
    assert all(each["used"] for each in entries)
    assert sum(each["weights"]["liver"] for each in entries) == pytest.approx(1)
    again = next_patient.run(**model(next_patient, "both", "organs"))
    assert again["training"]["models"][:2] == entries, "a volume counts once"
    assert again["training"]["models"][2]["why"] == "another model already contains its volumes"
    third = next_patient.folder / "third.fewshot"
    next_patient.run(**model(next_patient, "both"), save_model=str(third), model_as_is=True)
    assert len(load_model(third).atlases) == 2, "this volume, segmented again, takes its own place"
    with monkeypatch.context() as small:
        small.setattr(transfer, "MOST_BYTES", 3 * next_patient.volume.voxels.size)
        few = next_patient.run(**model(next_patient, "organs", "both"))
    assert [each["used"] for each in few["training"]["models"]] == [True, False]
    assert "do not fit into memory" in few["training"]["models"][1]["why"]
    save_model(replace(kept, atlases=(own, replace(first, classes=first.classes * (first.classes != 1)))), both)
    found = next_patient.apply(both, output=next_patient.parameters["output"])["training"]["registration"]
    assert found["used"] and (found["volumes"], found["alike"]) == (2, 2)
    assert mean_dice(next_patient) > 0.9, "on a segment only those vote that know of it"
    next_patient.run(**model(next_patient), save_model=str(both), model_as_is=True, leave_out_image=True)
    assert load_model(both).atlases == ()


def test_other_methods_have_no_use_for_models(next_patient: Any) -> None:
    with pytest.raises(BadInputError, match="painted slices alone"):
        next_patient.run(**model(next_patient), method="pixel-classifier", steps=None)


def test_no_result_goes_over_a_model(next_patient: Any) -> None:
    with pytest.raises(BadInputError, match="overwrite the few-shot model"):
        next_patient.run(**model(next_patient), save_model=str(next_patient.folder / "organs.fewshot"))
    with pytest.raises(BadInputError, match="a list of paths"):
        next_patient.run(models="organs.fewshot")


def test_segments_with_slices_of_their_own_get_labels_of_their_own(
    next_patient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is painted for one segment stays unknown for the other, and painted slices are left alone; here, labels
    may stand for paint next to it."""
    monkeypatch.setattr(registered_labels, "LEAST_GAP", 0.0)
    monkeypatch.setattr(registered_labels, "_is_far", lambda index, known, way: index not in known.masks)
    apart = keep_slices(next_patient.truth, 0, (5, 9), ["liver"])
    spleen = keep_slices(next_patient.truth, 0, (7,), ["spleen"])
    both = replace(apart, layers=np.maximum(apart.layers, spleen.layers), segments=next_patient.truth.segments)
    annotation, _ = annotate(both, 0, empty_of={"spleen": [0]})
    volume, compute = read_volume(next_patient.folder / "next.nrrd"), ComputeOptions("tiny", device="cpu")
    encoder, context = warm_encoder(compute, JobContext()), JobContext()
    here = VolumeRun(volume, 0, parse_normalisation("auto", volume), encoder, compute, context, StageTimer())
    earlier = Earlier("a", load_model(next_patient.folder / "organs.fewshot"))
    got = assume(here, annotation, [earlier], "few-shot").annotation
    assert got.assumed and not {*got.assumed} & {*annotation.exemplars}
    for label in (1, 2):
        assert {*annotation.known[label - 1]} <= {*got.known[label - 1]}
    for index in annotation.exemplars:
        np.testing.assert_array_equal(got.classes(index), annotation.classes(index))
        assert got.unknown(index) == annotation.unknown(index)
    assert 0 in got.absent[1]
    drawn = {**next_patient.painted_as(both), "empty_of": {"spleen": [0]}}
    next_patient.run(**model(next_patient), **drawn)
    assert mean_dice(next_patient) > 0.8
    found, shown = next_patient.result(), [(label, i) for label in (1, 2) for i in got.assumed if got.shows(label, i)]
    assert shown and all(found.mask(found.segments[label - 1])[i].any() for label, i in shown)


@pytest.mark.usefixtures("full_size")
def test_from_python_in_either_process(next_patient: Any) -> None:
    options = {"device": "cpu", "no_cache": True, "steps": 0, "range": (8, 9)}
    volume, painted = next_patient.folder / "next.nrrd", next_patient.folder / "next-painted.seg.nrrd"
    path = next_patient.folder / "organs.fewshot"
    here = fss.propagate(volume, painted, models=[path], **options)
    there = fss.propagate(volume, painted, models=[fss.Model.load(path)], background=True, **options)
    np.testing.assert_array_equal(here.segmentation.layers, there.segmentation.layers)
    names = [each.report["training"]["models"][0]["name"] for each in (here, there)]
    assert names == ["1 organs", "1"] and Path(path).is_file()
