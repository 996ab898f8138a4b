"""Synthetic anatomy, episodes, and training that can be stopped and goes on."""

from pathlib import Path

import pytest
import torch

from FewShotSAMLib.bundled.train.anatomy import synthesise
from FewShotSAMLib.bundled.train.episodes import SIDES, make_episode
from FewShotSAMLib.bundled.train.library import VALIDATION_FIRST, EpisodeLibrary
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.bundled.train.trainer import Recipe, Trainer, unknown
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.registry import get_spec

EPISODES = 2
RECIPE = Recipe(seed=3, steps=4, episodes=EPISODES, queries=2)


def dice(seed: int) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> EpisodeLibrary:
    made = EpisodeLibrary(tmp_path_factory.mktemp("episodes"), seed=3)
    for number in (*range(EPISODES), VALIDATION_FIRST):
        made.make(number)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_a_synthetic_volume_holds_a_structure_worth_propagating(seed: int) -> None:
    volume = synthesise(dice(seed))
    assert volume.image.shape == volume.target.shape
    assert float(volume.image.min()) >= 0 and float(volume.image.max()) <= 1 and float(volume.image.std()) > 0.01
    assert int(volume.target.flatten(1).any(1).sum()) >= min(6, len(volume.target) - 1)


def test_an_episode_follows_from_its_seed() -> None:
    first, second, other = make_episode(dice(5)), make_episode(dice(5)), make_episode(dice(6))
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


def test_training_goes_on_as_if_it_had_not_been_stopped(library: EpisodeLibrary, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    through = Trainer(RECIPE, library, tmp_path / "through", cpu)
    through.run(validation=1)
    stopped = Trainer(RECIPE, library, tmp_path / "stopped", cpu)
    for _ in range(2):
        stopped.train_step()
        stopped.step += 1
    stopped.save()
    resumed = Trainer(RECIPE, library, tmp_path / "stopped", cpu)
    assert resumed.step == 2
    resumed.run(validation=1)
    for name, tensor in through.averaged.state_dict().items():
        torch.testing.assert_close(tensor, resumed.averaged.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)
    assert '"second"' in (tmp_path / "through" / "log.jsonl").read_text(encoding="utf-8")


def test_training_changes_what_it_should(library: EpisodeLibrary, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, library, tmp_path, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}
    for _ in range(2):  # the last layer starts at zero: what lies before it moves from the second step on
        trainer.train_step()
        trainer.step += 1
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(before[name], parameter) != parameter.requires_grad, name


def test_exported_weights_load_as_the_registered_encoder(library: EpisodeLibrary, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, library, tmp_path / "run", torch.device("cpu"))
    trainer.export(tmp_path / "own.safetensors")
    sam, _ = load_sam(get_spec("tiny"), tmp_path / "own.safetensors", verify=False)
    mine = dict(trainer.averaged.encoder.named_parameters())
    for name, parameter in sam.image_encoder.named_parameters():
        torch.testing.assert_close(parameter, mine[name], rtol=1e-3, atol=1e-3)
