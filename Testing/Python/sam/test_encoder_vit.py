"""The fast forward pass computes what segment_anything's own image encoder computes."""

from functools import partial

import pytest
import torch

from FewShotSAMLib.bundled.components import is_enabled, omitting
from FewShotSAMLib.sam.fast.attention import RelativePositions, attend, attend_folded
from FewShotSAMLib.sam.fast.calibration import cosine
from FewShotSAMLib.sam.fast.parallel import one_thread_each
from FewShotSAMLib.sam.fast.vit import FastViT
from FewShotSAMLib.sam.modeling import ImageEncoderViT

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def official() -> ImageEncoderViT:
    """A small encoder whose 10×10 grid needs padding for its windows of 4, with relative positions that matter."""
    torch.manual_seed(1)
    encoder = ImageEncoderViT(
        img_size=160, embed_dim=48, depth=3, num_heads=3, window_size=4, global_attn_indexes=(1,), use_rel_pos=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), out_chans=256,
    )  # fmt: skip
    for name, parameter in encoder.named_parameters():
        if "pos" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(2))


def test_float32_equals_the_official_encoder(official: ImageEncoderViT, images: torch.Tensor) -> None:
    torch.testing.assert_close(FastViT(official, CPU)(images), official(images), atol=2e-5, rtol=1e-4)


def test_the_form_for_gpus_equals_the_official_encoder(official: ImageEncoderViT, images: torch.Tensor) -> None:
    vit = FastViT(official, CPU)
    for block in vit.blocks:
        block.on_cpu = False
    torch.testing.assert_close(vit(images), official(images), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_half_precision_stays_close(
    official: ImageEncoderViT, images: torch.Tensor, dtype: torch.dtype, on_cpu: bool
) -> None:
    vit = FastViT(official, CPU, dtype)
    for block in vit.blocks:
        block.on_cpu = on_cpu
    out = vit(images[:1])
    assert out.dtype == torch.float32
    assert cosine(out, official(images[:1])) > 0.999


def test_bits_do_not_depend_on_the_batch_or_the_run(official: ImageEncoderViT, images: torch.Tensor) -> None:
    vit = FastViT(official, CPU)
    together = vit(images)
    assert torch.equal(together, vit(images))
    assert torch.equal(together, torch.cat([vit(image.unsqueeze(0)) for image in images]))


@pytest.mark.parametrize(("height", "width", "size"), [(5, 7, 1.0), (8, 8, 1.0), (4, 6, 30.0), (4, 6, 1e3)])
def test_attention_in_parts_and_folded(height: int, width: int, size: float) -> None:
    """Both forms against the plain formula, with query rows from the middle of the grid, and with huge scores too."""
    generator = torch.Generator().manual_seed(3)
    depth, heads = 12, 2
    q, k, v = torch.randn(3, 4, height * width, depth, generator=generator)
    k *= size
    table_h = torch.randn(2 * height - 1, depth, generator=generator)
    table_w = torch.randn(2 * width - 1, depth, generator=generator)
    rows, columns = torch.arange(height), torch.arange(width)
    by_row = table_h[rows[:, None] - rows[None, :] + height - 1]
    by_column = table_w[columns[:, None] - columns[None, :] + width - 1]
    grid = q.view(4, height, width, depth)
    bias = torch.einsum("nhwc,hkc->nhwk", grid, by_row)[..., None]
    bias = bias + torch.einsum("nhwc,wkc->nhwk", grid, by_column)[..., None, :]
    scores = q @ k.transpose(1, 2) * depth**-0.5 + bias.reshape(4, height * width, -1)
    expected = scores.softmax(-1) @ v

    positions = RelativePositions(table_h, table_w)
    torch.testing.assert_close(attend_folded(q, k, v, positions, heads), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attend(q, k.transpose(1, 2), v, positions), expected, atol=1e-5, rtol=1e-5)
    part = slice(2 * width, 4 * width)
    middle = attend(q[:, part], k.transpose(1, 2), v, positions, first_row=2)
    torch.testing.assert_close(middle, expected[:, part], atol=1e-5, rtol=1e-5)


def test_small_scratch_memory_changes_nothing(official: ImageEncoderViT, images: torch.Tensor, monkeypatch) -> None:
    expected = FastViT(official, CPU)(images[:1])
    monkeypatch.setattr("FewShotSAMLib.sam.fast.attention.SCRATCH_BYTES", 10_000)
    torch.testing.assert_close(FastViT(official, CPU)(images[:1]), expected, atol=1e-5, rtol=1e-5)


def test_errors_in_the_work_come_through_and_threads_are_given_back() -> None:
    threads = torch.get_num_threads()

    def fail() -> None:
        assert torch.get_num_threads() == 1
        raise ValueError("from a thread")

    with pytest.raises(ValueError, match="from a thread"), one_thread_each() as run:
        run(fail, [(), ()])
    assert torch.get_num_threads() == threads


def test_what_holds_for_the_caller_holds_in_the_threads() -> None:
    heard: list[bool] = []
    with omitting("doubt"), one_thread_each() as run:
        run(lambda: heard.append(is_enabled("doubt")), [()])
    assert heard == [False]


def test_check_stops_work_under_way(official: ImageEncoderViT, images: torch.Tensor) -> None:
    def stop() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError):
        FastViT(official, CPU)(images, stop)
