"""Checkpoints: the right ones load unchanged, every kind of wrong one is refused with a reason."""

import dataclasses
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from FewShotSAMLib.core import identity
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.registry import EncoderSpec, build_sam, get_spec


def test_official_file_loads_unchanged(published: EncoderSpec, checkpoint: Path, told: list[str]) -> None:
    sam, weights_hash = load_sam(published, warn=told.append)
    official = build_sam(published)
    official.load_state_dict(torch.load(checkpoint, weights_only=True))
    image = torch.randint(0, 255, (1, 3, 64, 64)).float()
    with torch.no_grad():
        found, expected = (each.image_encoder(each.preprocess(image[0])[None]) for each in (sam, official))
    assert torch.equal(found, expected)
    assert weights_hash == published.sha256 and not told
    assert not sam.training and sam.pixel_std.device.type == "cpu"
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in sam.parameters())


def test_damaged_file_in_the_model_folder_is_refused(published: EncoderSpec) -> None:
    path = model_files.model_path(published)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"damaged.*models download small"):
        load_sam(published)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInputError, match="instead of"):
        load_sam(published)


def test_missing_file_names_both_ways_out(small_spec: EncoderSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"fewshotsam models download small.*--checkpoint FILE"):
        load_sam(small_spec)
    with pytest.raises(BadInputError, match="does not exist"):
        load_sam(small_spec, tmp_path / "nowhere.pth")
    with pytest.raises(BadInputError, match="is a folder"):
        load_sam(small_spec, tmp_path)


def test_fine_tuned_file_is_accepted_with_a_warning(
    published: EncoderSpec, checkpoint: Path, tmp_path: Path, told: list[str]
) -> None:
    _, digest = load_sam(published, checkpoint, warn=told.append)
    assert digest == published.sha256 and not told
    state = torch.load(checkpoint, weights_only=True)
    state["mask_decoder.iou_token.weight"] += 1
    tuned = tmp_path / "tuned.pth"
    torch.save({"model": state, "optimizer": {"lr": 0.1}, "epoch": 7}, tuned)
    sam, digest = load_sam(published, tuned, warn=told.append)
    assert torch.equal(sam.mask_decoder.iou_token.weight, state["mask_decoder.iou_token.weight"])
    assert digest == hashlib.sha256(tuned.read_bytes()).hexdigest()
    assert len(told) == 1 and "not the published file" in told[0]


def test_half_precision_safetensors_becomes_float32(small_spec: EncoderSpec, checkpoint: Path, tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in torch.load(checkpoint, weights_only=True).items()}
    path = tmp_path / "own.safetensors"
    safetensors.torch.save_file(state, path)
    sam, _ = load_sam(small_spec, path, warn=lambda text: None)
    assert {parameter.dtype for parameter in sam.parameters()} == {torch.float32}
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInputError, match="truncated, or not a safetensors"):
        load_sam(small_spec, path)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil-was-here"),))


def _wrong_files(checkpoint: Path) -> dict[str, tuple[bytes, str]]:
    content = checkpoint.read_bytes()
    return {
        "page.pth": (b"\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
        "empty.pth": (b"", "it is empty"),
        "cut.pth": (content[: len(content) // 2], "truncated"),
        "noise.pth": (bytes(range(1, 255)) * 40, "not a readable checkpoint"),
        "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        "evil.pth": (pickle.dumps({"model": _Evil()}, protocol=2), "could run code"),
        "list.pth": (pickle.dumps([1, 2], protocol=2), "not a readable checkpoint|contains no network"),
    }


@pytest.mark.parametrize("name", ["page", "empty", "cut", "noise", "pointer", "evil", "list"])
def test_wrong_kind_of_file(
    name: str, small_spec: EncoderSpec, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = _wrong_files(checkpoint)[f"{name}.pth"]
    path = tmp_path / f"{name}.pth"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        load_sam(small_spec, path)
    assert not (tmp_path / "evil-was-here").exists()


def test_other_networks_are_named(small_spec: EncoderSpec, checkpoint: Path, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.pth"
    torch.save(build_sam(get_spec("tiny")).state_dict(), tiny)
    with pytest.raises(BadInputError, match=r"network of “tiny”, not of “vit_b”.*--encoder tiny"):
        load_sam(get_spec("vit_b"), tiny)
    with pytest.raises(BadInputError, match=r"a network other than “vit_b”.*missing, such as image_encoder.blocks.10"):
        load_sam(get_spec("vit_b"), checkpoint)
    other = dataclasses.replace(small_spec, architecture=dataclasses.replace(small_spec.architecture, window_size=3))
    with pytest.raises(BadInputError, match=r"rel_pos_h has shape \(3, 16\) instead of \(5, 16\)"):
        load_sam(other, checkpoint)


def test_numbers_that_are_none(small_spec: EncoderSpec, checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["image_encoder.neck.0.weight"][3, 2] = float("nan")
    torch.save(state, checkpoint)
    with pytest.raises(BadInputError, match=r"not finite \(in image_encoder.neck.0.weight\)"):
        load_sam(small_spec, checkpoint)


def test_a_bit_flipped_in_fine_tuned_weights_is_noticed(small_spec: EncoderSpec, checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    weights = torch.load(checkpoint, weights_only=True)["image_encoder.neck.0.weight"].numpy().tobytes()
    place = content.index(weights[:64])
    content[place] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(BadInputError, match=r"damaged: the checksum of .* in it is wrong"):
        load_sam(small_spec, checkpoint)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed."""
    found, original = list[Path](), model_files.sha256_of
    monkeypatch.setattr(model_files, "sha256_of", lambda path: found.append(path) or original(path))
    return found


def test_hash_is_remembered_until_the_file_changes(
    checkpoint: Path, calls: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "YOUNG_NS", -(10**18))  # as if the file were old enough
    first = model_files.remembered_sha256(checkpoint)
    assert model_files.remembered_sha256(checkpoint) == first and len(calls) == 1
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    assert (second := model_files.remembered_sha256(checkpoint)) != first and len(calls) == 2
    facts = checkpoint.stat()
    with checkpoint.open("r+b") as stream:
        stream.write(b"another content at the same size and time")
    os.utime(checkpoint, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert model_files.remembered_sha256(checkpoint) not in (first, second) and len(calls) == 3


def test_the_hash_of_a_file_changed_just_now_is_not_remembered(
    checkpoint: Path, calls: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "YOUNG_NS", 10**18)
    assert model_files.remembered_sha256(checkpoint) == model_files.remembered_sha256(checkpoint) and len(calls) == 2


def test_tiny_comes_along_and_loading_leaves_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    spec = get_spec("tiny")
    sam, weights_hash = load_sam(spec)
    assert torch.equal(torch.rand(3), expected)
    assert weights_hash == spec.sha256
    with torch.inference_mode():
        one, other = sam.image_encoder(torch.rand(2, 3, spec.image_size, spec.image_size))
    assert torch.isfinite(one).all() and (one - other).abs().mean() > 0.01
