"""Small networks and checkpoints made of segment_anything's own classes."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.conftest import SMALL

from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.cache import EmbeddingCache
from FewShotSAMLib.sam.modeling import Sam
from FewShotSAMLib.sam.registry import Architecture, EncoderSpec, build_sam, get_spec


@pytest.fixture
def told() -> list[str]:
    """The warnings of `cache`."""
    return []


@pytest.fixture
def cache(tmp_path: Path, told: list[str]) -> EmbeddingCache:
    """An empty cache of one gigabyte."""
    return EmbeddingCache(tmp_path / "cache", 10**9, told.append)


@pytest.fixture
def small_spec() -> EncoderSpec:
    """A SAM with some hundred thousand image-encoder weights, registered like a downloadable one."""
    architecture = Architecture(
        image_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=2
    )
    own = {"name": "small", "filename": "small.pth", "url": "", "sha256": "", "size_bytes": 1}
    return dataclasses.replace(get_spec("vit_b"), architecture=architecture, **own)


@pytest.fixture
def checkpoint(small_spec: EncoderSpec, tmp_path: Path) -> Path:
    """A checkpoint of the small network as torch saves it."""
    path = tmp_path / "own.pth"
    torch.save(_random_sam(small_spec).state_dict(), path)
    return path


@pytest.fixture
def network() -> Any:
    """An image encoder with vit_b's layout: four blocks, two of them global, and windows that need padding."""
    return _random_sam(SMALL).image_encoder


def _random_sam(spec: EncoderSpec) -> Sam:
    torch.manual_seed(3)
    sam = build_sam(spec)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return sam


@pytest.fixture
def published(small_spec: EncoderSpec, checkpoint: Path) -> EncoderSpec:
    """The small network with its file in the model folder and that file's hash in the registry entry."""
    content = checkpoint.read_bytes()
    path = model_files.model_path(small_spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return dataclasses.replace(small_spec, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
