"""The encoder as the engine uses it: right embeddings, verified precision, memory shortages, cancelling."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from FewShotSAMLib.core.errors import CancelledError, MemoryShortageError
from FewShotSAMLib.sam import encoder as encoder_module
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.encoder import Encoder, load_encoder
from FewShotSAMLib.sam.family import FastNetwork
from FewShotSAMLib.sam.fast.calibration import REQUIRED_COSINE, cosine, synthetic_slice
from FewShotSAMLib.sam.fast.linear import FLOAT, INT8, INT8_SPLIT, integer_products_work
from FewShotSAMLib.sam.modeling import Sam
from FewShotSAMLib.sam.registry import EncoderSpec, build_sam, get_spec

CPU = torch.device("cpu")
needs_integers = pytest.mark.skipif(not integer_products_work(), reason="this torch has no usable 8-bit products")


def _small_spec() -> EncoderSpec:
    spec = get_spec("vit_b")
    small = dataclasses.replace(
        spec.architecture, image_size=128, embed_dim=64, depth=3, num_heads=2, global_attn_indexes=(1,), window_size=3
    )
    return dataclasses.replace(spec, architecture=small)


def _small_sam(outlier: float = 1.0) -> Sam:
    """Seeded weights; the norms' channel 7 is `outlier` times larger than the rest, the weights after it smaller."""
    sam = build_sam(_small_spec())
    _draw_weights(sam)
    with torch.no_grad():
        for block in sam.image_encoder.blocks:
            for norm, layer in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.lin1)):
                norm.weight[7] *= outlier
                layer.weight[:, 7] /= outlier
    return sam


def _draw_weights(sam: Sam) -> None:
    """Norms as identity, no biases, all others uniform: variance 1 / fan-in, so that signals keep their size."""
    generator = torch.Generator().manual_seed(3)
    norms = {name for name, module in sam.named_modules() if type(module).__name__ in ("LayerNorm", "LayerNorm2d")}
    with torch.no_grad():
        for name, parameter in sorted(sam.named_parameters()):
            if name.removesuffix(".weight") in norms or name.endswith("bias"):
                parameter.fill_(float(not name.endswith("bias")))
                continue
            deviation = 0.02 if "pos" in name else 1 / math.sqrt(parameter[0].numel())
            parameter.copy_((torch.rand(parameter.shape, generator=generator) - 0.5) * deviation * math.sqrt(12))


def _encoder(precision: str, outlier: float = 1.0, **options: object) -> Encoder:
    return Encoder(_small_spec(), _small_sam(outlier), "0" * 64, CPU, precision, **options)


def _images(count: int) -> torch.Tensor:
    base = synthetic_slice(128)
    return torch.stack([base.roll(9 * index, 1) for index in range(count)])


def _official(images: torch.Tensor, outlier: float = 1.0) -> torch.Tensor:
    sam = _small_sam(outlier)
    with torch.no_grad():
        return sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)


def test_it_agrees_with_the_official_encoder() -> None:
    encoder = _encoder("fp32")
    embedding = encoder.encode(_images(1))
    assert embedding.shape == (1, *encoder.embedding_shape) == (1, 256, 8, 8)
    assert (encoder.image_size, encoder.slices_encoded) == (128, 1)
    assert cosine(embedding, _official(_images(1))) >= REQUIRED_COSINE


def test_tiny_agrees_with_its_network() -> None:
    encoder = load_encoder(get_spec("tiny"), device="cpu")
    image = synthetic_slice(encoder.image_size).unsqueeze(0)
    sam, _ = load_sam(get_spec("tiny"))
    with torch.no_grad():
        expected = sam.image_encoder((image - sam.pixel_mean) / sam.pixel_std)
    assert cosine(encoder.encode(image), expected) >= REQUIRED_COSINE


def test_embeddings_can_be_trained_on_and_parts_are_fresh_copies() -> None:
    encoder = _encoder("fp32")
    decoder, prompts = encoder.sam_parts()
    embedding = encoder.encode(_images(1))
    weight = torch.ones(1, requires_grad=True)
    (embedding * weight).sum().backward()
    assert weight.grad is not None
    for parameter in [*decoder.parameters(), *prompts.parameters()]:
        torch.nn.init.zeros_(parameter)
    decoder, prompts = encoder.sam_parts()
    assert bool(decoder.mask_tokens.weight.any()) and bool(prompts.no_mask_embed.weight.any())


@needs_integers
def test_int8_is_used_where_it_is_good_enough(told: list[str]) -> None:
    encoder = _encoder("int8", warn=told.append)
    images = _images(2)
    embeddings = encoder.encode(images)
    assert {layer.mode for layer in encoder._network.linears} <= {INT8, INT8_SPLIT}
    assert all(cosine(a, b) >= REQUIRED_COSINE for a, b in zip(embeddings, _official(images), strict=True))
    assert encoder.precision == "int8" and not told
    assert torch.equal(embeddings[1], _encoder("int8").encode(images[1:])[0])


@needs_integers
def test_outlier_channels_get_layers_that_bear_them() -> None:
    encoder = _encoder("int8", outlier=400.0)
    images = _images(1)
    embedding = encoder.encode(images)
    sensitive = [mode for layer in encoder._network.linears[::2] if (mode := layer.mode) != INT8]
    assert len(sensitive) == len(encoder._network.linears[::2])  # qkv and the MLP's first layer, after the norms
    assert cosine(embedding, _official(images, 400.0)) >= REQUIRED_COSINE


@needs_integers
@pytest.mark.parametrize("automatic", [True, False])
def test_int8_that_fails_on_a_real_slice(told: list[str], automatic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calibration saw no outliers: the check on the first real slice must notice them."""

    def careless(vit: FastNetwork, *_: object) -> None:
        for layer in vit.linears:
            layer.quantise()
            layer.mode = INT8

    monkeypatch.setattr(encoder_module, "calibrate", careless)
    encoder = _encoder("int8", outlier=3000.0, automatic=automatic, warn=told.append)
    images = _images(2)
    embeddings = encoder.encode(images)
    assert len(told) == 1
    if automatic:
        assert encoder.precision == "fp32" and "float32 is used instead" in told[0]
        torch.testing.assert_close(embeddings, _official(images, 3000.0), atol=1e-3, rtol=1e-3)
    else:
        assert encoder.precision == "int8" and "as you asked" in told[0]


@needs_integers
def test_weights_that_no_integers_suit_stay_in_float32(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.sam.fast.calibration._CALIBRATED_COSINE", 1.1)
    encoder = _encoder("int8", warn=told.append)
    encoder.encode(_images(1))
    assert {layer.mode for layer in encoder._network.linears} == {FLOAT}
    assert encoder.precision == "fp32" and len(told) == 1


def test_half_precision_that_overflows_falls_back(told: list[str]) -> None:
    encoder = _encoder("fp16", outlier=1e6, warn=told.append)
    images = _images(1)
    torch.testing.assert_close(encoder.encode(images), _official(images, 1e6), atol=1e-3, rtol=1e-3)
    assert encoder.precision == "fp32" and len(told) == 1


class _Shortage:
    """Stands in for the network: memory suffices for `most` slices only."""

    def __init__(self, vit: FastNetwork, most: int, error: Callable[[], BaseException]) -> None:
        self._network, self._most, self._error = vit, most, error
        self.dtype = vit.dtype

    def __call__(self, images: torch.Tensor, check: object = None) -> torch.Tensor:
        if len(images) > self._most:
            raise self._error()
        return self._network(images)


_ERRORS = [
    MemoryError,
    lambda: torch.cuda.OutOfMemoryError("CUDA out of memory."),
    lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
]


@pytest.mark.parametrize("error", _ERRORS)
def test_batches_are_halved_when_memory_runs_out(told: list[str], error: Callable[[], BaseException]) -> None:
    encoder = _encoder("fp32", warn=told.append)
    images = _images(7)
    expected = encoder.encode(images)
    encoder._network = _Shortage(encoder._network, 1, error)
    encoder._batch_limit = 6
    assert torch.equal(encoder.encode(images), expected)
    assert ["3" in told[0], "1" in told[1], len(told)] == [True, True, 2]
    assert (encoder.batch_size, encoder.slices_encoded) == (1, 14)


def test_a_slice_that_does_not_fit_and_other_errors() -> None:
    encoder = _encoder("fp32")
    vit = encoder._network
    encoder._network = _Shortage(vit, 0, MemoryError)
    with pytest.raises(MemoryShortageError, match="smaller encoder"):
        encoder.encode(_images(2))
    encoder._network = _Shortage(vit, 0, lambda: RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        encoder.encode(_images(1))


def test_cancelling_within_a_slice() -> None:
    encoder = _encoder("fp32")
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise CancelledError("The job was stopped.")

    with pytest.raises(CancelledError):
        encoder.encode(_images(1), check)
    assert encoder.slices_encoded == 0
    assert encoder.encode(_images(1)).isfinite().all()


def test_images_of_another_kind_are_refused() -> None:
    for wrong in (torch.zeros(3, 128, 128), torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128).int()):
        with pytest.raises(ValueError, match="images are"):
            _encoder("fp32").encode(wrong)
