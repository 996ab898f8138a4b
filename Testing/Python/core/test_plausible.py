"""Implausible paint, windows that show nothing, models applied to other images: refused, or reported in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.facts import facts_lines, file_facts
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import is_ct, parse_normalisation, preset
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.plausibility import check_is_paint, check_two_files, odd_painting
from FewShotSAMLib.core.segmentation import Segment, Segmentation, place_on, write_segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.core.window_fit import IntensityProfile, fitted_normalisation

GRID = Geometry((40, 36, 20), (1.0, 1.0, 3.0))


@pytest.fixture
def ball() -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return ((k - 10) / 8) ** 2 + ((j - 18) / 12) ** 2 + ((i - 20) / 14) ** 2 < 1


def drawn(ball: np.ndarray, *slices: int) -> Segmentation:
    layer = np.zeros(GRID.shape, np.uint8)
    for index in slices:
        layer[index] = ball[index]
    return Segmentation(layer[np.newaxis], GRID, (Segment("a", "organ", (1, 0, 0), 1),))


def painted(ball: np.ndarray, *slices: int) -> Annotation:
    return annotate(drawn(ball, *slices), 0)[0]


def body(ball: np.ndarray, inside: float, outside: float, noise: float = 20.0) -> Volume:
    """A CT of air, a body of 40 HU, within it `outside`, and the ball of `inside`."""
    voxels = np.full(GRID.shape, -990.0)
    voxels[:, 3:33, 3:37] = 40
    voxels[:, 5:31, 5:35] = outside
    voxels[ball] = inside
    voxels += np.random.default_rng(0).normal(0, noise, GRID.shape)
    voxels[:, 2] = -500
    return Volume(voxels.clip(-1024).astype(np.int16), GRID)


def test_the_volume_as_its_own_annotation(tmp_path: Path, ball: np.ndarray) -> None:
    labels = np.arange(ball.size, dtype=np.uint32).reshape(ball.shape) % 200
    volume = Volume(labels.astype(np.uint8), GRID)
    segmentation = replace(drawn(ball, 3), layers=labels.astype(np.uint8)[np.newaxis])
    with pytest.raises(BadInputError, match="volume itself"):
        check_is_paint(segmentation, volume)
    with pytest.raises(BadInputError, match="everywhere"):
        check_is_paint(replace(segmentation, layers=segmentation.layers | 1), volume)
    check_is_paint(drawn(ball, 3, 9), volume)
    write_image(volume.voxels, GRID, tmp_path / "a.nrrd")
    (tmp_path / "b.nrrd").symlink_to(tmp_path / "a.nrrd")
    with pytest.raises(BadInputError, match="both as the volume"):
        check_two_files(tmp_path / "a.nrrd", tmp_path / "b.nrrd")


def test_an_image_as_annotation_is_refused_and_an_atlas_is_not(ball: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(1, 200, ball.shape).astype(np.uint8)
    atlas = np.broadcast_to(np.arange(40) // 4 + 10 * (np.arange(36) // 5)[:, None] + 1, ball.shape)
    for labels, is_image in ((noise, True), (atlas, False)):
        layers = np.where(ball, labels, 0).astype(np.uint8)[np.newaxis]
        segments = tuple(Segment(f"s{n}", f"s{n}", (1, 0, 0), int(n)) for n in np.unique(layers) if n)
        segmentation = Segmentation(layers, GRID, segments)
        if not is_image:
            check_is_paint(segmentation, body(ball, 120, 40))
            continue
        with pytest.raises(BadInputError, match="an image, not labels"):
            check_is_paint(segmentation, body(ball, 120, 40))


def test_a_finished_segmentation_leaves_nothing_to_predict(ball: np.ndarray) -> None:
    everything = np.ones_like(ball)
    everything[:, 0] = False
    with pytest.raises(BadInputError, match="nothing left to predict"):
        odd_painting(annotate(drawn(everything, *range(20)), 0)[0])
    assert "Every slice from 4 to 15" in odd_painting(painted(ball, *range(4, 16)))[0]
    assert odd_painting(painted(ball, 5, 9, 13)) == []


def test_a_slice_half_painted_is_told(ball: np.ndarray) -> None:
    segmentation = drawn(ball, 6, 10, 14)
    segmentation.layers[0, 10, 12:] = 0
    segmentation.layers[0, 10, :, 22:] = 0
    warnings = odd_painting(annotate(segmentation, 0)[0])
    assert len(warnings) == 1 and "“organ”" in warnings[0] and "slice 10" in warnings[0]
    ends = drawn(ball, 3, 10, 17)  # small at both ends, as every organ is
    assert odd_painting(annotate(ends, 0)[0]) == []


@pytest.mark.parametrize("padding", [-1000, -1024, -9999, -3.4e38])
def test_padding_is_no_evidence_of_ct(ball: np.ndarray, padding: float) -> None:
    rng = np.random.default_rng(0)
    mr = (100 + 60 * ball + rng.normal(0, 30, ball.shape)).astype(np.float32)
    mr[:, :4] = padding
    assert not is_ct(Volume(mr, GRID))[0]
    scores = rng.normal(0, 1, ball.shape).astype(np.float32)
    scores[:, :, :6] = padding
    volume = Volume(scores, GRID)
    normalisation = parse_normalisation("auto", volume)
    window = normalisation.resolve(volume)
    assert normalisation.kind == "percentile" and -4 < window.low < window.high < 4
    grey = window.apply(volume.slice_at(0, 3))
    assert np.isfinite(grey).all() and grey[:, 6:].std() > 0.1


def test_ct_is_known_by_its_values_and_by_dicom(ball: np.ndarray) -> None:
    ct = body(ball, 120, 40)
    assert is_ct(ct) == (True, "looks like CT: air and soft tissue in Hounsfield units")
    assert is_ct(replace(ct, modality="MR")) == (False, "DICOM modality MR")
    assert parse_normalisation("auto", replace(ct, modality="PT")).kind == "percentile"
    assert "CT" in parse_normalisation("auto", ct).why


def test_ct_that_was_scaled_is_not_seen_in_hounsfield_units(ball: np.ndarray) -> None:
    scaled = replace(body(ball, 120, 40), modality="CT")
    assert is_ct(scaled)[0]
    scaled = replace(scaled, voxels=(scaled.voxels + 1024) / np.float32(2000))
    assert is_ct(scaled) == (False, "DICOM modality CT, but not in Hounsfield units")
    assert parse_normalisation("auto", scaled).kind == "percentile"


def test_what_is_painted_outside_the_window_gets_another(ball: np.ndarray) -> None:
    annotation = painted(ball, 6, 10, 14)
    nodule = body(ball, -650, -850)
    auto = parse_normalisation("auto", nodule)
    found, warnings = fitted_normalisation(auto, nodule, annotation, is_choice=False)
    assert found == preset("lung") and "“organ” lies outside the window -150 to 250" in warnings[0]
    kept, warnings = fitted_normalisation(auto, nodule, annotation, is_choice=True)
    assert kept == auto and "normalisation lung" in warnings[0]
    assert fitted_normalisation(auto, body(ball, 110, 40), annotation, is_choice=False) == (auto, [])
    implant = body(ball, 900, 40)
    assert fitted_normalisation(parse_normalisation("auto", implant), implant, annotation, is_choice=False)[
        0
    ] == preset("bone")


def test_bright_paint_widens_the_percentiles_of_mr(ball: np.ndarray) -> None:
    voxels = np.random.default_rng(0).normal(300, 30, ball.shape)
    voxels[10, 17:19, 19:21] = 5000
    volume = Volume(voxels.astype(np.int16), GRID)
    bright = annotate(drawn(voxels > 4000, 10), 0)[0]
    found, warnings = fitted_normalisation(parse_normalisation("auto", volume), volume, bright, is_choice=False)
    assert found.kind == "window" and found.high >= 5000 and warnings


def test_a_volume_unlike_the_one_learned_on(ball: np.ndarray) -> None:
    ct = body(ball, 120, 40)
    window = parse_normalisation("auto", ct).resolve(ct)
    look = IntensityProfile.of(ct, window)
    assert look == IntensityProfile.from_json(look.to_json()) and IntensityProfile.from_json(None) is None

    def strange(voxels: np.ndarray) -> str:
        return look.strangeness(IntensityProfile.of(Volume(voxels, GRID), window))

    assert strange(body(ball, 100, 60, noise=25).voxels) == ""
    assert "other than CT" in strange(((ct.voxels.astype(float) + 1000) * 0.6).astype(np.int16))
    assert strange((ct.voxels + 1024).astype(np.uint16))
    assert strange((ct.voxels / 3000).astype(np.float32))
    inside = Volume(np.ascontiguousarray(ct.voxels[4:16, 10:28, 10:32]), Geometry((22, 18, 12)))
    assert look.strangeness(IntensityProfile.of(inside, window)) == "", (
        "the inside of a CT, without air, is no stranger"
    )


@pytest.mark.parametrize(("shift", "told"), [(0.005, False), (0.08, True), (0.2, True), (0.3, None)])
def test_labels_off_by_less_than_a_quarter_of_a_voxel(ball: np.ndarray, shift: float, told: bool | None) -> None:
    scale = 1 + shift / 39  # of the spacing, so that the far corner is off by `shift`
    segmentation = replace(drawn(ball, 5, 9), geometry=replace(GRID, spacing=(scale, 1.0, 3.0)))
    if told is None:
        with pytest.raises(BadInputError, match="another grid"):
            place_on(segmentation, GRID)
        return
    placed, warnings = place_on(segmentation, GRID)
    assert placed.geometry == GRID and np.array_equal(placed.layers, segmentation.layers)
    assert bool(warnings) == told and (not told or f"{shift:.2g} voxels" in warnings[0])


def test_facts_of_files(tmp_path: Path) -> None:
    volume, truth = ct_phantom((12, 40, 48), seed=1)
    write_image(volume.voxels, volume.geometry, tmp_path / "ct.nrrd")
    painted = keep_slices(truth, 0, (3, 4, 8), ("liver", "spleen"))
    write_segmentation(painted, tmp_path / "a.seg.nrrd")
    write_segmentation(painted, tmp_path / "a.nii.gz")
    facts = file_facts(tmp_path / "ct.nrrd")
    assert facts["kind"] == "volume" and facts["size"] == [48, 40, 12] and facts["modality"]["name"] == "CT"
    assert facts["window"]["name"] == "abdomen" and facts["warnings"] == []
    for name in ("a.seg.nrrd", "a.nii.gz"):
        facts = file_facts(tmp_path / name)
        assert facts["kind"] == "segmentation" and facts["axis"] == 0
        assert all(set(segment["painted_slices"]) <= {3, 4, 8} for segment in facts["segments"])
    lines = facts_lines(facts)
    assert any("painted slices: 4, 8" in line for line in lines) and len(lines) < 40
    assert facts_lines(file_facts(tmp_path / "ct.nrrd"))[0] == "ct: volume"
    (tmp_path / "export").mkdir()
    (tmp_path / "a.seg.nrrd").rename(tmp_path / "export" / "a.seg.nrrd")
    assert file_facts(tmp_path / "export")["kind"] == "segmentation"
