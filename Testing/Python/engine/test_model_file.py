"""A few-shot model that is damaged, or contains what none of ours would, is refused before any work."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from brief import be_brief
from engine.conftest import Heard, StopAt
from safetensors import safe_open
from safetensors.torch import load, save

import FewShotSAMLib
from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.jobs import complete_model
from FewShotSAMLib.engine.model_check import DIGEST_KEY, METADATA_KEY, digest_of
from FewShotSAMLib.engine.model_file import load_model, parse_model

Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Of a model's description and tensors, in place."""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model of the bundled encoder, learned on a tiny phantom."""
    volume, truth = ct_phantom((8, 40, 48), seed=3)
    painted = keep_slices(truth, 0, (2, 5), ("liver",))
    with pytest.MonkeyPatch.context() as patch:
        be_brief(patch.setattr)
        result = FewShotSAMLib.propagate(volume, painted, steps=2, no_cache=True, device="cpu")
    return result.model.content


def rebuilt(content: bytes, change: Change, folder: Path) -> bytes:
    """Return the model with its description and tensors changed, and a valid digest again."""
    path = folder / "before.fewshot"
    path.write_bytes(content)
    with safe_open(path, "pt") as opened:
        header = json.loads(opened.metadata()[METADATA_KEY])
    tensors = dict(load(content))
    del header[DIGEST_KEY]
    change(header, tensors)
    if "has_digest" in header:
        header[DIGEST_KEY] = digest_of(save(tensors, metadata={METADATA_KEY: ""}), header)
    return save(tensors, metadata={METADATA_KEY: json.dumps(header)})


def _set(path: str, value: Any) -> Change:
    def change(header: dict[str, Any], tensors: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = header
        for part in way:
            place = place[part]
        place[last] = value

    return change


def _nan(name: str) -> Change:
    def change(header: dict[str, Any], tensors: dict[str, Any]) -> None:
        chosen = next(each for each in tensors if each.startswith(name))
        tensors[chosen] = tensors[chosen].clone()
        tensors[chosen].view(-1)[-1] = math.nan

    return change


def _cut(name: str) -> Change:
    def change(header: dict[str, Any], tensors: dict[str, Any]) -> None:
        chosen = next(each for each in tensors if each.startswith(name) and tensors[each].ndim)
        tensors[chosen] = tensors[chosen][:1].contiguous() if len(tensors[chosen]) > 1 else torch.zeros(7)

    return change


WRONG = {
    "label 1.5": _set("segments.0.label_value", 1.5),
    "label 0": _set("segments.0.label_value", 0),
    "label huge": _set("segments.0.label_value", 10**40),
    "label true": _set("segments.0.label_value", True),
    "no name": _set("segments.0.name", None),
    "long name": _set("segments.0.name", "x" * 256),
    "no id": _set("segments.0.id", ""),
    "two of one id": lambda header, tensors: header.update(segments=header["segments"] * 2),
    "colour": _set("segments.0.color", [2, 0, 0]),
    "colour of two": _set("segments.0.color", [1, 0]),
    "segment of another kind": _set("segments.0", "liver"),
    "no segments": _set("segments", []),
    "unknown field": _set("segments.0.weight", 3),
    "method": _set("method", "astrology"),
    "plane": _set("plane", "oblique"),
    "encoder": _set("encoder", 3),
    "setting of another type": _set("settings.background_tokens", 1.5),
    "setting beyond bounds": _set("settings.background_tokens", 10**9),
    "unknown setting": _set("settings.magic", 1),
    "region": _set("region", [1, 2]),
    "window is no number": _set("normalisation.low", math.nan),
    "window upside down": _set("normalisation.high", -1e9),
    "version": _set("version", "2"),
    "place": _set("atlas.place", [0, 0, math.inf]),
    "grid": _set("atlas.geometry.size", [10**9, 10**9, 10**9]),
    "token": _set("tokens", [{"label": 99, "slice": 0, "copy": 0}]),
    "weights are no numbers": _nan("head."),
    "exemplars are no numbers": _nan("shown.features"),
    "masks cut": _cut("shown.masks"),
    "atlas cut": _cut("atlas.grey"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_model_holds_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    changed = rebuilt(content, WRONG[name], tmp_path)
    with pytest.raises(BadInputError, match="not a few-shot model") as caught:
        parse_model(changed, "m.fewshot")
    assert "m.fewshot" in str(caught.value) and len(str(caught.value)) < 600


def test_a_sound_model_is_read_with_and_without_its_digest(content: bytes, tmp_path: Path) -> None:
    assert parse_model(rebuilt(content, lambda header, tensors: None, tmp_path)).segments[0].name == "liver"
    older = rebuilt(content, lambda header, tensors: header.pop("has_digest") and None, tmp_path)
    assert b"digest" not in older[:9000] and parse_model(older).plane == "axial"


def test_every_damage_is_noticed(content: bytes) -> None:
    rng = random.Random(4)
    for _ in range(150):
        damaged = bytearray(content)
        kind = rng.randrange(3)
        place = rng.randrange(min(len(damaged), rng.choice((8, 3000, len(damaged)))))
        if kind == 0:
            damaged[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[place:]
        else:
            del damaged[place : place + rng.randint(1, 9)]
        with pytest.raises(BadInputError, match="not a few-shot model"):
            parse_model(bytes(damaged))


@pytest.mark.parametrize("part", ["head.decoder", "head.network", "head.foreign"])
def test_weights_of_other_shapes_are_refused_before_a_slice_is_encoded(
    part: str, content: bytes, guided: Any, tmp_path: Path
) -> None:
    if part == "head.foreign":
        FewShotSAMLib.Model(content).save(tmp_path / "complete.fewshot", device="cpu")
        content = (tmp_path / "complete.fewshot").read_bytes()
    (tmp_path / "odd.fewshot").write_bytes(rebuilt(content, _cut(part), tmp_path))
    context = Heard()
    with pytest.raises(BadInputError, match="incomplete or damaged"):
        guided.apply(tmp_path / "odd.fewshot", context)
    assert "load" in context.stages and not {"encode", "register", "predict"} & {*context.stages}
    assert not (tmp_path / "again.seg.nrrd").exists()


def test_what_other_volumes_need_takes_the_place_of_the_decoder(content: bytes, guided: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.fewshot"
    FewShotSAMLib.Model(content).save(path, device="cpu")
    complete, before = load_model(path), parse_model(content)
    assert complete.state.tensors.keys() != before.state.tensors.keys()
    assert len(complete.state.tensors) == len(before.state.tensors) and path.stat().st_size < len(content) + 10_000
    assert b'\\"version\\": 3' in path.read_bytes()[:40_000]
    written = path.read_bytes()
    assert complete_model({"model": str(path), "device": "cpu"}, JobContext()) == {"path": str(path)}
    assert path.read_bytes() == written, "what is there is not learned again"
    liver = guided.painted_as(keep_slices(guided.truth, 0, guided.painted, ("liver",)))
    how = {"warm_start": str(path), "steps": 0, "range": [5, 5], **liver}
    again = guided.run(**how)["slices"]
    path.write_bytes(content)
    assert guided.run(**how)["slices"] == again
    with pytest.raises(CancelledError):
        complete_model({"model": str(path), "device": "cpu"}, StopAt("adapt"))
    assert path.read_bytes() == content
    with pytest.raises(BadInputError, match="model is None"):
        complete_model({}, JobContext())


def test_a_file_that_is_too_large_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.fewshot"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BadInputError, match="no few-shot model is so large"):
        load_model(path)
