"""Synthetic anatomy, episodes, and training that can be stopped and resumed."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
import torch

from FewShotSAMLib.benchmark.protocol import choose_slices
from FewShotSAMLib.benchmark.tasks import read_image_of, read_tasks, read_truth
from FewShotSAMLib.bundled.train.anatomy import KINDS, synthesise
from FewShotSAMLib.bundled.train.episodes import SIDES, make_episode
from FewShotSAMLib.bundled.train.library import VALIDATION_FIRST, EpisodeLibrary
from FewShotSAMLib.bundled.train.model import BundledModel
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.bundled.train.trainer import Recipe, Trainer, unknown
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.registry import get_spec

SYNTHETIC_TASKS = Path(__file__).parents[2] / "Benchmark" / "synthetic_tasks.py"
EPISODES = 2
SEEDS = {"tube": 0, "ring": 1, "solid": 3, "sheet": 15, "organ": 22, "parts": 23}
"""The first that give a structure of each kind."""
RECIPE = Recipe(seed=3, steps=2, warm_up=1, batch=1, window=EPISODES, uses=100, queries=2)


def dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> EpisodeLibrary:
    made = EpisodeLibrary(tmp_path_factory.mktemp("episodes"), seed=3)
    for number in (*range(EPISODES), VALIDATION_FIRST):
        made.make(number)
    return made


def test_synthetic_volumes_of_every_kind_hold_a_structure_worth_propagating() -> None:
    assert SEEDS.keys() == set(KINDS)
    for kind, seed in SEEDS.items():
        volume = synthesise(dice(seed))
        assert volume.kind == kind and volume.image.shape == volume.target.shape
        assert float(volume.image.min()) >= 0 and float(volume.image.max()) <= 1 and float(volume.image.std()) > 0.01
        assert int(volume.target.flatten(1).any(1).sum()) >= min(6, len(volume.target) - 1)


def test_a_pair_shows_the_same_structure_in_two_bodies() -> None:
    volume = synthesise(dice(1), pair=True)
    assert volume.other is not None and volume.atlas is not None
    assert not torch.equal(volume.other.target, volume.target)
    overlap = float((volume.atlas & volume.target).sum()) * 2 / float(volume.atlas.sum() + volume.target.sum())
    assert 0.3 < overlap < 1, "a registered label is near, and not perfect"


def test_a_trainer_lets_go_of_episodes_that_were_used(library: EpisodeLibrary, tmp_path: Path) -> None:
    made = EpisodeLibrary(tmp_path / "episodes", seed=3)
    for number in range(4):
        shutil.copy(library.path(0), made.path(number))
    Trainer(Recipe(seed=3, steps=4, batch=2, window=2, uses=1.0, queries=2), made, tmp_path, torch.device("cpu"))
    made.forget_before(2)
    assert sorted(path.name for path in made.folder.iterdir()) == ["000000002.episode", "000000003.episode"]


def test_exported_weights_load_as_the_encoder_and_can_be_begun_with(library: EpisodeLibrary, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = Trainer(RECIPE, library, tmp_path / "first", torch.device("cpu"))
    first.export(tmp_path / "w.safetensors")
    sam, _ = load_sam(get_spec("tiny"), tmp_path / "w.safetensors", verify=False)
    mine = dict(first.averaged.encoder.named_parameters())
    for name, parameter in sam.image_encoder.named_parameters():
        torch.testing.assert_close(parameter, mine[name], rtol=1e-3, atol=1e-3)
    other = Recipe(seed=4, steps=4, batch=1, window=EPISODES, uses=100, queries=2)
    second = Trainer(other, library, tmp_path / "second", torch.device("cpu"), start=tmp_path / "w.safetensors")
    assert isinstance(second.model, BundledModel)
    for name, parameter in first.model.named_parameters():
        torch.testing.assert_close(dict(second.model.named_parameters())[name], parameter, rtol=1e-3, atol=1e-3)


def test_an_episode_follows_from_its_seed(library: EpisodeLibrary) -> None:
    first, second, other = make_episode(dice(5)), make_episode(dice(5)), library.read(0)
    assert torch.equal(first.image, second.image) and torch.equal(first.priors, second.priors)
    assert first.image.shape != other.image.shape or not torch.equal(first.image, other.image)
    assert first.image.shape[-1] in SIDES and first.target.shape[-1] * 2 == first.image.shape[-1]
    assert any(float(first.target[index].max()) > 0.5 for index in first.known)
    assert not set(unknown(first)) & set(first.known)


def test_an_interrupted_library_goes_on(library: EpisodeLibrary, tmp_path: Path) -> None:
    before = library.path(0).stat().st_mtime_ns
    library.make(0)
    assert library.path(0).stat().st_mtime_ns == before
    with pytest.raises(TimeoutError):
        library.read(EPISODES + 5, patience_s=0)


def test_training_changes_what_it_should_and_goes_on_when_stopped(library: EpisodeLibrary, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    through = Trainer(RECIPE, library, tmp_path / "through", cpu)
    before = {name: tensor.clone() for name, tensor in through.model.named_parameters()}
    through.run(validation=1)
    for name, parameter in through.model.named_parameters():  # two steps, as the last layer starts at zero
        assert torch.equal(before[name], parameter) != parameter.requires_grad, name
    stopped = Trainer(RECIPE, library, tmp_path / "stopped", cpu)
    stopped.train_step()
    stopped.step += 1
    stopped.save()
    resumed = Trainer(RECIPE, library, tmp_path / "stopped", cpu)
    assert resumed.step == 1
    resumed.train_step()
    for name, tensor in through.averaged.state_dict().items():
        torch.testing.assert_close(tensor, resumed.averaged.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)
    told = json.loads((tmp_path / "through" / "log.jsonl").read_text(encoding="utf-8"))
    assert set(told["like"]) <= {"CT", "MR"} and set(told["kind"]) <= set(KINDS) and 0 <= told["second"] <= 1


def test_synthetic_tasks_are_there_for_the_benchmark_the_same_each_time(tmp_path: Path) -> None:
    make_tasks = runpy.run_path(str(SYNTHETIC_TASKS))["make_tasks"]
    tasks = read_tasks(make_tasks(tmp_path / "made", 1), tmp_path / "made")
    assert [task.structure for task in tasks] == ["scattered", "branching", "hollow"]
    for task in tasks:
        volume = read_image_of(task, tmp_path / "made")
        truth = read_truth(task, tmp_path / "made", volume.geometry)
        assert choose_slices(truth.mask(truth.segments[0]), task.axis, 3) is not None
    make_tasks(tmp_path / "again", 1)
    for path in (tmp_path / "made").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
