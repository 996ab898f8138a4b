"""Propagation from files to files: nothing painted is lost, all is reported, the same seed gives the same result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.conftest import StopAt
from safetensors.torch import save_file

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import read_image, write_image
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segmentation import Segment, Segmentation, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.engine.context import JobContext


def test_painted_and_empty_slices_come_out_bit_identical(case: Any) -> None:
    case.run(largest_island=True, fill_holes=True, smooth_mm=9.0)
    case.check_known_slices()
    result = case.result()
    assert result.geometry.is_same_as(case.volume.geometry)
    for found, wanted in zip(result.segments, case.drawn.segments, strict=True):
        assert (found.name, found.label_value, found.id) == (wanted.name, wanted.label_value, wanted.id)
        np.testing.assert_allclose(found.color, wanted.color, atol=1e-5)


def test_the_report_tells_of_every_slice(case: Any) -> None:
    report = case.run(confidence=str(case.folder / "confidence.nrrd"))
    assert [row["index"] for row in report["slices"]] == list(range(12))
    origin = {row["index"]: row["origin"] for row in report["slices"]}
    assert {index for index, what in origin.items() if what == "painted"} == set(case.painted)
    assert {index for index, what in origin.items() if what == "empty"} == set(case.empty)
    assert all(0 <= row["confidence"] <= 1 for row in report["slices"])
    assert report["next_slices"] and not {*report["next_slices"]} & {*case.painted, *case.empty}
    assert [row["painted_slices"] for row in report["segments"]] == [[4, 8], [8]]
    assert report["encoder"]["name"] == "small" and report["training"]["steps"] == 3
    confidence = read_volume(case.folder / "confidence.nrrd")
    assert confidence.geometry.is_same_as(case.volume.geometry)
    assert set(np.unique(confidence.voxels[list(case.painted)])) == {100}
    assert 0 < confidence.voxels[5].min() < 100
    assert confidence.voxels[5, 0, 0] == 100, "air outside the body"


def test_learning_fits_what_was_painted_and_the_encoder_stays_frozen(case: Any) -> None:
    context = JobContext()
    case.run(context, steps=0)
    encoder = context.state["encoder"].encoder
    images = torch.rand(1, 3, encoder.image_size, encoder.image_size) * 255
    before = encoder.encode(images)
    first = case.run(context, steps=1)["training"]["loss"]
    last = case.run(context, steps=25)["training"]["loss"]
    assert last < 0.8 * first
    torch.testing.assert_close(encoder.encode(images), before, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["few-shot", "autosam-linear"], ids=["SAM's weights", "random ones"])
def test_the_same_seed_gives_the_same_result_and_another_differs(case: Any, method: str) -> None:
    models = [case.folder / f"{number}.fewshot" for number in range(3)]
    given = zip((5, 5, 6), models, strict=True)
    reports = [case.run(method=method, seed=seed, save_model=str(path)) for seed, path in given]
    rows = [report["slices"] for report in reports]
    assert rows[0] == rows[1] != rows[2]
    contents = [path.read_bytes() for path in models]
    assert contents[0] == contents[1] != contents[2]


def test_a_warm_start_with_one_more_slice_encodes_nothing(case: Any) -> None:
    model = str(case.folder / "organs.fewshot")
    context = JobContext()
    case.run(context, save_model=model, steps=5)
    more = keep_slices(case.truth, 0, (4, 6, 8), ("liver", "spleen"))
    report = case.run(context, **case.painted_as(more), warm_start=model, augmented_copies=None, steps=None)
    assert report["encoder"]["slices_encoded"] == 0
    assert not any("cache" in warning for warning in report["warnings"])
    assert report["training"]["warm"] and report["training"]["steps"] < 200
    result = case.result()
    np.testing.assert_array_equal(result.layers[0, 6], more.layers[0, 6])


@pytest.mark.parametrize("axis", [1, 2])
def test_the_other_axes(case: Any, axis: int) -> None:
    painted = keep_slices(case.truth, axis, (16, 22), ("liver", "spleen"))
    report = case.run(**case.painted_as(painted), empty_slices=[], no_cache=True, range=[15, 23])
    assert report["axis"] == axis, "found by itself"
    result = case.result()
    here = (slice(None),) * (axis + 1) + ([16, 22],)
    np.testing.assert_array_equal(result.layers[here], painted.layers[here])
    assert [row["index"] for row in report["slices"]] == list(range(15, 24))


@pytest.mark.parametrize("method", ["few-shot", "autosam-linear", "lora"])
def test_slices_beyond_an_empty_one_stay_empty_and_are_not_encoded(case: Any, tmp_path: Path, method: str) -> None:
    options = {"method": method, "empty_slices": [2, 10], "augmented_copies": 0, "cache": str(tmp_path / "own")}
    context, shown = JobContext(job_folder=tmp_path), list[int]()
    context.preview = lambda slices, **fields: shown.extend(slices)
    report = case.run(context, **options, confidence=str(case.folder / "sure.nrrd"))
    rows = {row["index"]: row for row in report["slices"]}
    assert sorted(rows) == list(range(12)) and all(rows[index]["confidence"] == 1 for index in (0, 1, 11))
    assert report["encoder"]["slices_encoded"] == (5 if method == "lora" else 9)
    assert sorted(shown) == [0, 1, 3, 5, 6, 7, 9, 11]
    assert not case.result().layers[:, [0, 1, 2, 10, 11]].any()
    sure = read_image(case.folder / "sure.nrrd").voxels
    assert (sure[[0, 1, 11]] == 100).all()


def test_a_segment_is_not_looked_for_where_its_neighbours_lack_it(case: Any) -> None:
    drawn = case.drawn.layers.copy()
    spleen = next(segment for segment in case.drawn.segments if segment.name == "spleen")
    drawn[spleen.layer, 8][drawn[spleen.layer, 8] == spleen.label_value] = 0
    write_segmentation(replace(case.drawn, layers=drawn), case.folder / "painted.seg.nrrd")
    case.run(method="autosam-linear", steps=0)
    result = case.result()
    masks = {segment.name: result.mask(segment) for segment in result.segments}
    assert not masks["spleen"][9:].any(), "slice 8 is painted without a spleen, and nothing is known beyond it"
    assert masks["liver"][9:].any() or masks["spleen"][5:8].any(), "elsewhere the untrained head finds something"


def test_as_published_every_slice_is_asked(case: Any, tmp_path: Path) -> None:
    options = {"empty_slices": [2, 10], "augmented_copies": 0, "cache": str(tmp_path / "own")}
    report = case.run(method="autosam-linear", code_faithful=True, **options)
    assert report["encoder"]["slices_encoded"] == 12


def test_a_range_is_all_that_is_filled(case: Any) -> None:
    report = case.run(range=[3, 9])
    assert [row["index"] for row in report["slices"]] == [0, *range(3, 10)]
    assert not case.result().layers[0, 10:].any()


def test_overlapping_segments_keep_their_overlap(case: Any) -> None:
    drawn = case.drawn
    layers = np.concatenate([drawn.layers, drawn.layers[:, :, ::-1] // 2])
    extra = Segment("extra", "extra", (1.0, 0.0, 0.0), drawn.segments[0].label_value // 2, layer=1)
    both = replace(drawn, layers=layers, segments=(*drawn.segments, extra))
    assert (both.mask(extra) & both.mask(drawn.segments[0])).any()
    annotation = case.painted_as(both)
    stored = read_segmentation(annotation["annotation"])
    case.run(**annotation)
    result = case.result()
    for before, after in zip(stored.segments, result.segments, strict=True):
        for index in case.painted:
            np.testing.assert_array_equal(result.mask(after)[index], stored.mask(before)[index])


def test_a_model_finds_its_plane_in_a_turned_volume(case: Any) -> None:
    model = str(case.folder / "organs.fewshot")
    case.run(save_model=model, method="pixel-classifier", steps=None, augmented_copies=None)
    case.apply(model, output=str(case.folder / "straight.nrrd"))
    turned = np.ascontiguousarray(case.volume.voxels.transpose(2, 0, 1)[::-1])  # axes i, k, j; i runs backward
    i, j, k = case.volume.geometry.spacing
    geometry = Geometry((40, 12, 48), (j, k, i), (0, 0, 0), (0, 0, -1.0, 1.0, 0, 0, 0, 1.0, 0))
    write_image(turned, geometry, case.folder / "turned.nrrd")
    report = case.apply(model, volume=str(case.folder / "turned.nrrd"), output=str(case.folder / "turned.nii.gz"))
    assert (report["axis"], report["plane"]) == (1, "axial")
    readable = {(case.folder / name).stat().st_mode & 0o777 for name in ("organs.fewshot", "straight.nrrd")}
    assert len(readable) == 1, "a model is as open to others as any file that the user writes"
    expected, found = (case.result(name).layers[0] for name in ("straight.nrrd", "turned.nii.gz"))
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1)[::-1])
    assert expected.any()


def test_one_slice_colour_and_float_volumes(case: Any) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (3, 40, 48, 3), dtype=np.uint8)
    drawn = np.zeros((3, 40, 48), np.uint8)
    drawn[1, 10:20, 10:30] = 1
    for name, voxels in {"rgb": rgb, "float": rgb[..., 0] / 7.0, "one": rgb[1:2, ..., 0]}.items():
        geometry = Geometry((48, 40, len(voxels)), (1, 1, 2), (5, 6, 7))
        write_image(voxels, geometry, case.folder / f"{name}.nrrd")
        mask = drawn if len(voxels) == 3 else drawn[1:2]
        annotation = Segmentation(mask[None], geometry, (Segment("a", "größe", (1.0, 0, 0), 1),))
        volume = str(case.folder / f"{name}.nrrd")
        report = case.run(volume=volume, **case.painted_as(annotation), empty_slices=[], axis=0)
        result = case.result()
        assert result.segments[0].name == "größe"
        assert result.geometry.is_same_as(geometry)
        np.testing.assert_array_equal(result.layers[0][mask.any(axis=(1, 2))], mask[mask.any(axis=(1, 2))])
        assert (report["mean_confidence"] is None) == (name == "one")


STAGES = ("encode", "augment", "fine-tune", "predict", "write")


@pytest.mark.parametrize(("kind", "stage"), [*(("case", stage) for stage in STAGES), ("guided", "predict")])
def test_a_cancelled_run_writes_nothing(request: pytest.FixtureRequest, kind: str, stage: str) -> None:
    case = request.getfixturevalue(kind)
    before = sorted(case.folder.iterdir())
    with pytest.raises(CancelledError):
        case.run(StopAt(stage), save_model=str(case.folder / "m.fewshot"), no_cache=True)
    assert sorted(case.folder.iterdir()) == before


def _geometry_of_another_scan(case: Any) -> dict[str, str]:
    return case.painted_as(replace(case.drawn, geometry=replace(case.volume.geometry, spacing=(3.0, 3.0, 3.0))))


def _two_axes(case: Any) -> dict[str, str]:
    keep = np.zeros(case.truth.layers.shape, bool)
    keep[:, [4, 8]] = True
    keep[:, :, 20] = True
    return case.painted_as(replace(case.truth, layers=case.truth.layers * keep))


def _covering_segments(case: Any) -> dict[str, str]:
    layers = np.repeat(case.drawn.layers > 0, 2, axis=0).astype(np.uint8)
    both = tuple(Segment(name, name, (1.0, 0, 0), 1, layer) for layer, name in enumerate("ab"))
    return case.painted_as(Segmentation(layers, case.drawn.geometry, both))


def _no_model(case: Any) -> dict[str, Any]:
    (case.folder / "bad.fewshot").write_bytes(b"not a model")
    return {"warm_start": str(case.folder / "bad.fewshot")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "vit_x"}, "vit_x"),
        ({"encoder": "vit_b", "checkpoint": None}, "models download vit_b"),
        ({"encoder": "vit_b", "checkpoint": "/nowhere.pth"}, "nowhere.pth"),
        ({"encoder": "auto", "checkpoint": "/nowhere.pth"}, "--encoder"),
        ({"device": "cuda"}, "CUDA"),
        ({"device": "abacus"}, "abacus"),
        ({"output": "/nowhere/result.seg.nrrd"}, "/nowhere"),
        ({"output": "result.xyz"}, "result.xyz"),
        ({"save_model": "/nowhere/m.fewshot"}, "/nowhere"),
        (lambda case: {"output": case.parameters["annotation"]}, "overwrite the annotation"),
        (lambda case: {"output": case.parameters["volume"]}, "overwrite the volume"),
        (lambda case: {"confidence": str(case.folder / "a.nrrd"), "output": str(case.folder / "a.nrrd")}, "overwrite"),
        (_covering_segments, "overlap everywhere"),
        ({"confidence": "/nowhere/c.nrrd"}, "/nowhere"),
        ({"empty_slices": [4]}, "4"),
        ({"empty_slices": [99]}, "99"),
        ({"range": [5, 99]}, "99"),
        ({"normalisation": "sepia"}, "sepia"),
        ({"warm_start": "/nowhere.fewshot"}, "nowhere.fewshot"),
        (_geometry_of_another_scan, "3, 3, 3"),
        (_two_axes, "ax"),
        (_no_model, "bad.fewshot"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the message where there is no CUDA")
def test_bad_input_says_what_and_writes_nothing(case: Any, changes: Any, words: str) -> None:
    changes = changes(case) if callable(changes) else changes
    before = sorted(case.folder.iterdir())
    with pytest.raises(BadInputError) as caught:
        case.run(**changes)
    assert words in str(caught.value)
    assert caught.value.hint
    assert sorted(case.folder.iterdir()) == before


def test_a_damaged_cache_changes_nothing_but_time(case: Any, tmp_path: Path) -> None:
    own = tmp_path / "own-cache"
    expected = case.run(cache=str(own))["slices"]
    for file in own.glob("*.h5"):
        data = bytearray(file.read_bytes())
        for position in range(len(data) // 2, len(data), 1 << 16):
            data[position] ^= 255
        file.write_bytes(bytes(data))
    context = JobContext()
    report = case.run(context, cache=str(own))
    assert report["slices"] == expected
    assert report["encoder"]["slices_encoded"] > 0
    assert any("damaged" in warning for warning in context.warnings)


class Helped(JobContext):
    """Lets another process write all slices when the first is about to be encoded."""

    def __init__(self, others: Path, own: Path) -> None:
        super().__init__()
        self.others, self.own = others, own

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage == "encode" and done == 0:
            for file in self.own.glob("*.h5"):
                with file.open("r+b") as stream:
                    stream.write((self.others / file.name).read_bytes())


def test_what_another_process_encodes_meanwhile_is_not_encoded_again(case: Any, tmp_path: Path) -> None:
    others, own = tmp_path / "others", tmp_path / "own"
    expected = case.run(cache=str(others))
    context = Helped(others, own)
    report = case.run(context, cache=str(own))
    assert report["slices"] == expected["slices"] and not any("cache" in warning for warning in context.warnings)
    assert report["encoder"]["slices_encoded"] < expected["encoder"]["slices_encoded"]


def test_a_segment_inside_another_is_told_of(case: Any) -> None:
    inner = case.drawn.layers[0] == case.drawn.segments[0].label_value
    inner[:, :, ::2] = False
    layers = np.concatenate([case.drawn.layers, inner[None].astype(np.uint8)])
    segments = (*case.drawn.segments, Segment("tumour", "tumour", (1.0, 0, 0), 1, 1))
    context = JobContext()
    case.run(context, **case.painted_as(replace(case.drawn, layers=layers, segments=segments)), steps=1)
    assert any("tumour" in warning and "covered" in warning for warning in context.warnings)


def test_another_number_of_copies_finds_the_cache_intact(case: Any, tmp_path: Path) -> None:
    own = str(tmp_path / "own-cache")
    case.run(cache=own, augmented_copies=1)
    context = JobContext()
    report = case.run(context, cache=own, augmented_copies=2)
    assert report["encoder"]["slices_encoded"] == 2 * 3, "only the copies, of two painted and one empty slice"
    assert not any("cache" in warning for warning in context.warnings)


def test_without_a_cache_embeddings_stay_warm_in_the_process(case: Any) -> None:
    context = JobContext()
    first = case.run(context, no_cache=True)
    again = case.run(context, no_cache=True)
    assert first["encoder"]["slices_encoded"] == 12 + 3
    assert again["encoder"]["slices_encoded"] == 0
    assert again["slices"] == first["slices"]


def test_embeddings_of_adapted_encoders_do_not_pile_up(case: Any) -> None:
    context = JobContext()
    case.run(context, no_cache=True)
    original = context.state["encoder"].encoder.cache_key
    for seed in range(3):
        case.run(context, method="lora", steps=1, seed=seed, no_cache=True)
        kept = context.state["embeddings"]
        assert kept.encoder != original and len(kept.stores) == 1
        assert kept.others and all(key.startswith(original) for key in kept.others)
    assert case.run(context, no_cache=True)["encoder"]["slices_encoded"] == 0, "those of the encoder as it is are kept"


def test_a_cache_without_room_costs_a_warning_and_nothing_else(case: Any) -> None:
    expected = case.run()["slices"]
    context = JobContext()
    report = case.run(context, cache=str(case.folder / "small"), cache_limit_gb=1e-6)
    assert report["slices"] == expected
    assert any("cache" in warning for warning in context.warnings)


@pytest.mark.parametrize("header", ["{}", "[]", '{"version": 1}', '{"version": 99}'])
def test_a_strange_model_file_is_bad_input(case: Any, header: str) -> None:
    save_file({"tokens": torch.zeros(1, 256)}, str(case.folder / "odd.fewshot"), metadata={"fewshotsam": header})
    with pytest.raises(BadInputError, match=r"odd\.fewshot"):
        case.run(warm_start=str(case.folder / "odd.fewshot"))
