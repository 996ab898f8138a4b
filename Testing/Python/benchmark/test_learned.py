"""Every learning method can be compared: on the painted slices, and from one volume to another."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from FewShotSAMLib.benchmark import (
    METHODS,
    Contender,
    MethodSettings,
    Plan,
    RowFile,
    Task,
    make_plan,
    read_tasks,
    run_plan,
)
from FewShotSAMLib.benchmark import across as across_module
from FewShotSAMLib.benchmark.across import make_plan_across
from FewShotSAMLib.benchmark.baselines import sam, u_net
from FewShotSAMLib.benchmark.baselines.zero_shot import ZeroShotSam
from FewShotSAMLib.benchmark.few_shot import STATE, few_shot
from FewShotSAMLib.benchmark.forecast import long_training
from FewShotSAMLib.benchmark.measure import compute_row
from FewShotSAMLib.benchmark.methods import INSTANT
from FewShotSAMLib.benchmark.outcome import Outcome
from FewShotSAMLib.benchmark.plan import content_hash
from FewShotSAMLib.benchmark.results import summarise_across
from FewShotSAMLib.benchmark.runner import IN_THIS_PROCESS
from FewShotSAMLib.benchmark.tasks import read_image_of, read_truth
from FewShotSAMLib.bundled.components import COMPONENTS, OF_FIRST_ANSWER, omitting
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.cli import main
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.image_io import read_image, write_image
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.methods.registry import METHOD_NAMES

PAINTED, EMPTY, COUNTED = (3, 6), (0, 7), (1, 2, 4, 5)
TASK = """
[[task]]
name = "{name}"
image = "{name}.nrrd"
labels = "{name}-labels.nrrd"
values = [1]
axis = 0
modality = "CT"
structure = "liver"
"""
Case = tuple[Volume, Annotation, np.ndarray, MethodSettings]
QUICK = {"steps": 2, "augmented_copies": 1}


@pytest.fixture(autouse=True)
def cold(brief: None) -> Iterator[None]:
    """Give each test its own model folder, so that nothing stays warm between tests."""
    yield
    STATE.clear()
    across_module._learned.cache_clear()


def liver(seed: int, depth: int = 8) -> tuple[Volume, Segmentation]:
    volume, truth = ct_phantom((depth, 40, 48), seed=seed)
    return volume, replace(truth, segments=tuple(each for each in truth.segments if each.name == "liver"))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A volume, its painted slices, the truth, and settings with a cache that all tests share."""
    volume, truth = liver(3)
    annotation = Annotation(keep_slices(truth, 0, PAINTED, ["liver"]), 0, PAINTED, EMPTY)
    settings = MethodSettings("tiny", device="cpu", cache=tmp_path_factory.mktemp("cache"))
    return volume, annotation, truth.mask(truth.segments[0]), settings


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A tasks file of two volumes with the same structure, and a third that shows another one."""
    for name, seed in (("a", 3), ("b", 5), ("c", 3)):
        volume, truth = liver(seed, depth=6)
        write_image(volume.voxels, volume.geometry, tmp_path / f"{name}.nrrd")
        write_image(truth.mask(truth.segments[0]).astype(np.uint8), volume.geometry, tmp_path / f"{name}-labels.nrrd")
    text = "".join(TASK.format(name=name) for name in "ab") + TASK.format(name="c").replace("liver", "spleen")
    (tmp_path / "tasks.toml").write_text(text, encoding="utf-8")
    return tmp_path / "tasks.toml"


def check(outcome: Outcome | np.ndarray, annotation: Annotation, truth: np.ndarray) -> float:
    """Return Dice on the slices that were not given; check that the given ones come out unchanged."""
    assert isinstance(outcome, Outcome) and outcome.mask.shape == truth.shape
    given = [*PAINTED, *EMPTY]
    painted = annotation.segmentation.mask(annotation.segmentation.segments[0])
    np.testing.assert_array_equal(outcome.mask.astype(bool)[given], painted[given])
    found, wanted = outcome.mask.astype(bool)[list(COUNTED)], truth[list(COUNTED)]
    return 2 * np.count_nonzero(found & wanted) / (np.count_nonzero(found) + np.count_nonzero(wanted))


def test_every_method_can_be_compared() -> None:
    assert set(METHOD_NAMES) < METHODS.keys()
    assert {"pixel-classifier", "sam-1-point", "sam-5-points", "sam-box", "u-net"} < METHODS.keys()
    assert {METHODS[name].options["method"] for name in METHOD_NAMES[1:]} == set(METHOD_NAMES[1:])  # type: ignore[index]


@pytest.mark.parametrize("name", ["few-shot", "autosam-linear", "synthesis", "lora"])
def test_methods_of_the_engine(name: str, case: Case) -> None:
    volume, annotation, truth, settings = case
    options = {**(METHODS[name].options or {}), **QUICK}
    check(few_shot(volume, annotation, settings, **options), annotation, truth)


@pytest.fixture(scope="module")
def all_heard() -> dict[bool, list[float]]:
    """Sums of the answers with all components: at once, and after learning."""
    return {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_can_be_left_out(component: str, case: Case, all_heard: dict[bool, list[float]]) -> None:
    """Nothing is declared empty and the painted slices get smaller, so that there are ends to predict."""
    volume, annotation, truth, settings = case
    ending = Annotation(keep_slices(liver(3)[1], 0, (2, 4), ["liver"]), 0, (2, 4))
    is_instant, missed = component in OF_FIRST_ANSWER, list[float]()
    contexts = [(missed, omitting(component))]
    if is_instant not in all_heard:
        contexts.append((all_heard.setdefault(is_instant, []), nullcontext()))
    for answers, context in contexts:
        keep = partial(_keep_sums, answers, FusionHead.logits)
        with context, pytest.MonkeyPatch.context() as patch:
            patch.setattr(FusionHead, "logits", lambda head, *given, keep=keep: keep(head, *given))
            few_shot(volume, ending, settings, **(INSTANT if is_instant else QUICK))
    assert len(all_heard[is_instant]) == len(missed) and all_heard[is_instant] != missed
    run = METHODS[f"few-shot-without-{component}"].run
    check(run(volume, annotation, settings, **({} if is_instant else QUICK)), annotation, truth)
    with pytest.raises(KeyError), omitting("nobody"):
        pass


def _keep_sums(kept: list[float], ask: Callable[..., torch.Tensor], *given: Any) -> torch.Tensor:
    answer = ask(*given)
    kept.append(float(answer.double().softmax(1).square().sum()))
    return answer


def test_the_pixel_classifier_shares_the_embeddings(case: Case) -> None:
    volume, annotation, truth, settings = case
    few_shot(volume, annotation, settings, **QUICK)
    outcome = METHODS["pixel-classifier"].run(volume, annotation, settings)
    assert check(outcome, annotation, truth) > 0.2  # low, as there are few and coarse slices
    assert outcome.details["slices_encoded"] == 0 and "sklearn.linear_model" in METHODS["pixel-classifier"].packages


@pytest.mark.parametrize("axis", [0, 2])
def test_the_u_net_sees_the_region(axis: int, case: Case) -> None:
    volume, annotation, truth, settings = case
    if axis == 0:
        check(u_net(volume, annotation, settings, steps=2, channels=4), annotation, truth)
        return
    whole = liver(3)[1]
    painted = tuple(np.flatnonzero(truth.any(axis=(0, 1)))[[2, 8]].tolist())
    sideways = Annotation(keep_slices(whole, axis, painted, ["liver"]), axis, painted)
    mask = u_net(volume, sideways, settings, steps=2, channels=4).mask
    np.testing.assert_array_equal(mask[:, :, list(painted)], truth[:, :, list(painted)])


def test_sam_is_not_asked_where_it_cannot_answer(case: Case, cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, annotation, truth, settings = case
    with pytest.raises(BadInputError, match="was not trained with points or boxes"):
        METHODS["sam-box"].run(volume, annotation, settings)
    tasks = read_tasks(cohort, cohort.parent)
    plan = make_plan(tasks, cohort.parent, [METHODS["sam-box"]], ["tiny", "vit_b"], [2], settings)
    assert {job.settings.encoder for job in plan.jobs} == {"vit_b"}
    assert "sam-box on tiny" in plan.left_out[0]
    monkeypatch.setattr("FewShotSAMLib.benchmark.baselines.no_prompts", lambda encoder: "")
    for prompt in ({"points": 1}, {"box": True}, {"points": 2, "given": truth}):
        check(sam(volume, annotation, settings, **prompt), annotation, truth)


def test_sam_can_be_given_its_prompts_on_every_slice(cohort: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the truth, which no other method sees."""
    args = read_tasks(cohort, cohort.parent, ["a"]), cohort.parent
    asked: list[set[int]] = []

    def answer(self: ZeroShotSam, grey: np.ndarray, painted: Mapping[int, np.ndarray], axis: int) -> np.ndarray:
        shapes = self._given if self._given is not None else np.zeros(grey.shape, bool)
        asked.append(set(np.flatnonzero(shapes.any(axis=(1, 2))).tolist()))
        return shapes.astype(np.uint8)

    monkeypatch.setattr(ZeroShotSam, "__call__", answer)
    monkeypatch.setattr("FewShotSAMLib.benchmark.baselines.no_prompts", lambda encoder: "")
    monkeypatch.setattr("FewShotSAMLib.benchmark.plan.no_prompts", lambda encoder: "")
    methods = [METHODS["sam-box-given"], METHODS["sam-box"]]
    given, inferred = (compute_row(job) for job in make_plan(*args, methods, ["tiny"], [2], case[3]).jobs)
    truth = read_truth(args[0][0], cohort.parent, read_image_of(args[0][0], cohort.parent).geometry).layers[0]
    assert asked == [set(np.flatnonzero(truth.any(axis=(1, 2))).tolist()), set()]
    assert (given["dice"], inferred["dice"]) == (1.0, 0.0)


def plan_across(cohort: Path, *methods: Contender, settings: MethodSettings) -> Plan:
    return make_plan_across(read_tasks(cohort, cohort.parent), cohort.parent, methods, ["tiny"], [2], settings)


def test_who_belongs_together(cohort: Path, case: Case) -> None:
    tasks, settings = read_tasks(cohort, cohort.parent), case[3]
    plan = plan_across(cohort, METHODS["few-shot"], METHODS["u-net"], settings=settings)
    found = [(job.source.name, job.task.name, job.k) for job in plan.jobs if job.source]
    assert found == [("a", "b", 2), ("a", "b", "all"), ("b", "a", 2), ("b", "a", "all")]
    assert len({job.key for job in plan.jobs}) == 4 and "u-net" in plan.left_out[-1]
    quick = plan_across(cohort, METHODS["few-shot"], METHODS["few-shot-instant"], settings=settings)
    assert len(quick.jobs) == 4 and "few-shot-instant: on another volume" in quick.left_out[-1]
    grouped = [replace(task, group="abdomen") for task in tasks]
    args = cohort.parent, [METHODS["few-shot"]], ["tiny"], [2], settings
    assert len(make_plan_across(grouped, *args).jobs) == 3 * 2 * 2
    with pytest.raises(BadInputError, match="No two of these tasks"):
        make_plan_across([tasks[0], tasks[2]], *args)
    with pytest.raises(BadInputError, match="No two of these tasks"):  # two structures of one volume
        make_plan_across([tasks[0], replace(tasks[0], name="twin")], *args)
    assert Task(**{**asdict(tasks[0]), "structure": ""}).similarity_key == ()


def test_rows_know_what_the_files_held(cohort: Path, case: Case) -> None:
    def keys() -> list[str]:
        content_hash.cache_clear()
        plan = make_plan(tasks, cohort.parent, [METHODS["few-shot"]], ["tiny"], [2], case[3])
        return [job.key for job in plan.jobs]

    tasks = read_tasks(cohort, cohort.parent)
    before = keys()
    assert before == keys() and len(set(before)) == len(before)
    path = cohort.parent / tasks[0].labels
    labels = read_image(path)
    corrected = labels.voxels.copy()
    corrected[0, 0, 0] = 77
    write_image(corrected, labels.geometry, path)
    changed = [old != new for old, new in zip(before, keys(), strict=True)]
    assert changed == [task.labels == tasks[0].labels for task in tasks]


def test_from_one_volume_to_another(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = replace(METHODS["few-shot"], options=QUICK)
    monkeypatch.setitem(METHODS, "few-shot", quick)
    monkeypatch.setattr("FewShotSAMLib.cli.benchmark.run_plan", in_this_process)
    out = tmp_path / "out"
    command = ["benchmark", "--tasks", str(cohort), "--methods", "few-shot", "--across", "--k", "1", "--device", "cpu"]
    assert main([*command, "--output", str(out), "--keep-segmentations"]) == 0
    assert "across volumes, liver, CT, k = all" in capsys.readouterr().out
    rows = RowFile(out).read()
    assert [(row["source"], row["task"], row["k"]) for row in rows][:2] == [("a", "b", 1), ("a", "b", "all")]
    assert all(row["status"] == "done" and row["counted_slices"] == 6 for row in rows)
    assert all(row["details"]["learning_seconds"] > 0 and 0 <= row["dice"] <= 1 for row in rows)
    assert (out / "segmentations" / "few-shot-tiny" / "across-kall" / "a-to-b.seg.nrrd").is_file()
    assert all((out / f"across.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "| a to b | FewShotSAM, tiny | all |" in text and "## Means" not in text
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["summary"] == [] and [each["k"] for each in results["across"]] == [1, "all"]


def test_with_slices_painted_on_the_other_volume_too(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("FewShotSAMLib.cli.benchmark.run_plan", in_this_process)
    command = ["benchmark", "--tasks", str(cohort), "--methods", "few-shot-instant,pixel-classifier", "--device", "cpu"]
    command += ["--k", "2", "--painted-here", "1", "--output", str(tmp_path / "out"), "--keep-segmentations"]
    assert main(command) == 2 and "Give --across" in capsys.readouterr().err
    assert main([*command, "--across"]) == 0
    told = capsys.readouterr().out
    assert "no training steps, tiny, 1 painted here  across volumes" in told
    assert "pixel-classifier: it cannot combine painted slices with a model" in told
    rows = RowFile(tmp_path / "out").read()
    assert [(row["source"], row["task"], row["k"]) for row in rows] == [("a", "b", 2), ("b", "a", 2)]
    for row in rows:
        assert row["status"] == "done" and row["counted_slices"] == 5 and len(row["painted_here"]) == 1, row
        assert row["details"]["models"][0]["name"] == "1"
        kept = tmp_path / "out" / "segmentations" / "few-shot-instant-tiny" / "across-k2-and-1"
        found = read_image(kept / f"{row['source']}-to-{row['task']}.seg.nrrd").voxels
        truth = read_image(cohort.parent / f"{row['task']}-labels.nrrd").voxels
        np.testing.assert_array_equal(found[row["painted_here"]] > 0, truth[row["painted_here"]] > 0)
    tasks = read_tasks(cohort, cohort.parent)
    plain = make_plan_across(tasks, cohort.parent, [METHODS["few-shot"]], ["tiny"], [2], MethodSettings("tiny"))
    assert not {row["key"] for row in rows} & {job.key for job in plain.jobs}


def test_long_training_is_told_of_beforehand(cohort: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.engine.estimates.multiplications_per_second", lambda device: 1e11)
    methods = [METHODS[name] for name in ("few-shot", "lora", "cheap-lunch", "u-net")]
    tasks, folder, settings = read_tasks(cohort, cohort.parent), cohort.parent, replace(case[3], device="cpu")
    jobs = make_plan(tasks, folder, methods, ["tiny", "vit_b"], [2], settings).jobs
    told = long_training(jobs)
    assert [text.partition(":")[0] for text in told] == ["lora on vit_b", "cheap-lunch on vit_b"]
    assert all("hours" in text and "each of 3 rows" in text for text in told)
    monkeypatch.setattr("FewShotSAMLib.engine.estimates.multiplications_per_second", lambda device: 1e14)
    assert long_training(jobs) == []


def test_warnings_are_kept_with_the_row_without_folders(cohort: Path, case: Case) -> None:
    volume, annotation, _, settings = case
    outcome = few_shot(volume, annotation, settings, method="synthesis", steps=1, augmented_copies=0)
    assert any("No pairs" in text for text in outcome.details["warnings"])

    def warns(volume: Volume, annotation: Annotation, settings: MethodSettings) -> Outcome:
        return Outcome(volume.voxels > 100, {"warnings": ["The cache /home/someone/cache is full."]})

    args = read_tasks(cohort, cohort.parent, ["a"]), cohort.parent
    for run, expected in ((warns, ["The cache cache is full."]), (lambda *_: Outcome(volume.voxels[:6] > 100), None)):
        row = compute_row(make_plan(*args, [Contender("m", "M", run)], [], [2], settings).jobs[0])
        assert row["details"].get("warnings") == expected, row


def in_this_process(plan: Plan, rows: RowFile, processes: int, *rest: object) -> object:
    return run_plan(plan, rows, IN_THIS_PROCESS, *rest)  # type: ignore[arg-type]


def test_an_empty_result_has_no_distance() -> None:
    place = {"status": "done", "group": "liver", "method": "m", "title": "M", "encoder": "tiny", "k": 3, "seconds": 1.0}
    place |= {"details": {"learning_seconds": 2.0}, "peak_memory_bytes": None}
    good, empty = {"dice": 0.8, "hd95_mm": 4.0, "assd_mm": 1.0}, {"dice": 0.0, "hd95_mm": None, "assd_mm": None}
    (both,) = summarise_across([{**place, **good}, {**place, **empty}])
    assert (both["dice"], both["hd95_mm"], both["empty_results"]) == (0.4, 4.0, 1)
    (none,) = summarise_across([{**place, **empty}])
    assert none["hd95_mm"] is None
