"""The registry compared with the official classes, and its facts."""

import importlib
import inspect
import re
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from FewShotSAMLib.bundled.compact import FINE, FOLDED_CHANNELS, SAM_CHANNELS
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS, PIXEL_MEAN, PIXEL_STD, all_specs, build_sam, get_spec


@pytest.fixture(scope="module")
def official() -> ModuleType:
    """segment_anything's builders; the package's attribute of that name is a function that hides the module."""
    return importlib.import_module("segment_anything.build_sam")


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h", "medsam"])
def test_same_network_as_the_official_builder(official: ModuleType, name: str) -> None:
    with torch.device("meta"):
        ours = build_sam(get_spec(name))
        theirs = official.sam_model_registry["vit_b" if name == "medsam" else name]()
    facts = []
    for each in (ours, theirs):
        shapes = {key: value.shape for key, value in each.state_dict().items()}
        windows = [block.window_size for block in each.image_encoder.blocks]
        eps = [module.eps for module in each.modules() if hasattr(module, "eps")]
        facts.append((shapes, windows, each.image_encoder.img_size, eps))
    assert facts[0] == facts[1] and not ours.training


def test_pixel_statistics_are_the_official_ones(official: ModuleType) -> None:
    source = inspect.getsource(official)
    assert str(list(PIXEL_MEAN)) in source and str(list(PIXEL_STD)) in source
    assert build_sam(get_spec("tiny")).pixel_mean.flatten().tolist() == pytest.approx(PIXEL_MEAN)


def test_every_download_is_fully_described() -> None:
    downloads = [spec for spec in all_specs() if spec.is_downloaded]
    assert [spec.name for spec in downloads] == ["vit_b", "vit_l", "vit_h", "medsam"]
    for spec in downloads:
        assert re.fullmatch("[0-9a-f]{64}", spec.sha256)
        assert spec.url.startswith("https://") and spec.filename in spec.url
        assert spec.size_bytes > 3e8 and spec.licence and spec.licence_url and spec.source
    assert len({spec.sha256 for spec in downloads}) == 4


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadInputError, match=r"no encoder called “vit_x”.*tiny, vit_b, vit_l, vit_h, medsam"):
        get_spec("vit_x")


def test_tiny_fits_sam() -> None:
    spec = get_spec("tiny")
    assert spec.embedding_shape == (FOLDED_CHANNELS, 12, 12) and spec.image_size == 192 and not spec.is_downloaded
    sam = build_sam(spec)
    assert sam.mask_decoder.transformer_dim == sam.prompt_encoder.embed_dim == EMBEDDING_CHANNELS == SAM_CHANNELS


def test_listing_needs_neither_torch_nor_h5py() -> None:
    code = (
        "import sys\n"
        "from FewShotSAMLib.sam import cache, model_files\n"
        "model_files.status(); cache.EmbeddingCache().usage()\n"
        "sys.exit(len({'torch', 'h5py', 'segment_anything'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("name", ["tiny", "vit_b"])
def test_what_an_encoder_is_said_to_do_is_what_its_family_does(name: str) -> None:
    architecture = get_spec(name).architecture
    family = family_of(architecture)
    assert architecture.fine_channels == (FINE if name == "tiny" else ())
    assert bool(family.FEW_SHOT) == (family.decoder_layers() is not None) == (not architecture.answers_prompts)
    method = get_method("few-shot").load()
    assert (method.for_encoder(architecture) is method) == (not family.FEW_SHOT)
    assert family.new_factors(architecture, 1).state_dict() and family.bytes_per_slice(architecture, 4) > 0
