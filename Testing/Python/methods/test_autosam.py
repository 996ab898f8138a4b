"""AutoSAM's heads have the published structure, and their corrections are those that their docstrings describe."""

import dataclasses

import pytest
import torch
from methods.conftest import SamParts, new_head

from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.loss import segmentation_loss, squared_dice_loss
from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.sam.registry import build_decoder_parts, get_spec

FAITHFUL = {"code_faithful": True}
HEADS = ("autosam-vit", "autosam-cnn", "autosam-linear")
UNUSED = ("mask_decoder.iou_prediction_head.", "mask_decoder.output_hypernetworks_mlps.1.", "pe_layer.")
"""Of SAM's decoder in the ViT head."""


def official_parts() -> SamParts:
    torch.manual_seed(1)
    prompt_encoder, mask_decoder = build_decoder_parts(get_spec("vit_b"))
    return mask_decoder, prompt_encoder


def shapes(head: Head) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix("mask_decoder."): tuple(value.shape) for name, value in head.named_parameters()}


def test_the_faithful_vit_head_has_the_published_parameters() -> None:
    found = shapes(new_head("autosam-vit", official_parts(), 3, **FAITHFUL))
    assert found["iou_token.weight"] == (4, 256)
    assert found["mask_tokens.weight"] == (8, 256)
    assert found["iou_prediction_head.layers.2.weight"] == (2, 256)
    assert found["transformer.layers.1.mlp.lin1.weight"] == (2048, 256)
    assert found["output_upscaling.0.weight"] == (256, 64, 2, 2)
    assert found["output_hypernetworks_mlps.1.layers.2.weight"] == (32, 256)
    assert not any("mlps.2" in name or "no_mask" in name for name in found)
    # SAM's decoder with two hypernetworks fewer, a smaller IoU head, and four classes' tokens.
    sam = sum(parameter.numel() for parameter in official_parts()[0].parameters())
    mlp = 2 * (256 * 256 + 256) + 256 * 32 + 32
    expected = sam - 2 * mlp - 2 * 257 + (4 + 8 - 1 - 4) * 256
    assert sum(torch.Size(shape).numel() for shape in found.values()) == expected


def test_the_faithful_vit_head_starts_as_published() -> None:
    mask_decoder, prompt_encoder = official_parts()
    sam = {name: tensor.clone() for name, tensor in mask_decoder.state_dict().items()}
    head = new_head("autosam-vit", (mask_decoder, prompt_encoder), 3, **FAITHFUL)
    for name, tensor in head.mask_decoder.state_dict().items():
        fresh = "iou" in name or "mask_tokens" in name
        same = name in sam and sam[name].shape == tensor.shape and torch.equal(sam[name], tensor)
        assert same != fresh, name
    tokens = head.mask_decoder.mask_tokens.weight
    assert abs(float(tokens.detach().mean())) < 0.1 and float(tokens.detach().std()) == pytest.approx(1.0, abs=0.1)
    pe = head.pe_layer.positional_encoding_gaussian_matrix
    assert not torch.equal(pe, prompt_encoder.pe_layer.positional_encoding_gaussian_matrix)
    assert not bool(head.no_mask.any())
    trained = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert not any("iou" in name for name in trained) and "mask_decoder.mask_tokens.weight" in trained


def test_the_mended_vit_head_is_sams_decoder_but_for_its_random_tokens(sam_parts: SamParts) -> None:
    mask_decoder, prompt_encoder = sam_parts
    embeddings = torch.randn(2, 256, 8, 8)
    head = new_head("autosam-vit", sam_parts)
    offset = head.mask_decoder.mask_tokens.weight.detach() - mask_decoder.mask_tokens.weight.detach()[:2].repeat(3, 1)
    assert float(offset.std()) == pytest.approx(1.0, abs=0.1)
    tokens = torch.cat([mask_decoder.iou_token.weight, mask_decoder.mask_tokens.weight[:2]])[None]
    with torch.no_grad():
        head.mask_decoder.mask_tokens.weight -= offset
        image = embeddings[1:] + prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        answers, cells = mask_decoder.transformer(image, prompt_encoder.get_dense_pe(), tokens)
        upscaled = mask_decoder.output_upscaling(cells.transpose(1, 2).view(1, 256, 8, 8))
        expected = (mask_decoder.output_hypernetworks_mlps[0](answers[:, 1]) @ upscaled.flatten(2)[0]).view(32, 32)
        logits = head.logits(embeddings)
    assert logits.shape == (2, 3, 32, 32) and head.mask_decoder.iou_token.weight.requires_grad
    for answer in logits[1]:
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("faithful", [True, False])
def test_classes_do_not_see_each_other(sam_parts: SamParts, faithful: bool) -> None:
    head = new_head("autosam-vit", sam_parts, code_faithful=faithful)
    embeddings = torch.randn(1, 256, 8, 8)
    with torch.no_grad():
        before = head.logits(embeddings)
        head.mask_decoder.mask_tokens.weight[2:4] += 1.0
        after = head.logits(embeddings)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]]) and not torch.equal(before[:, 1], after[:, 1])


def test_the_faithful_convolutional_heads_have_the_published_parameters() -> None:
    cnn = new_head("autosam-cnn", official_parts(), 3, **FAITHFUL)
    found = shapes(cnn)
    assert found["input_block.0.weight"] == (1024, 256, 1, 1) and found["input_block.2.weight"] == (1024, 1024, 1, 1)
    assert found["blocks.0.0.weight"] == (1024, 1024, 3, 3) and found["blocks.0.2.weight"] == (512, 1024, 3, 3)
    assert found["blocks.1.2.weight"] == (256, 512, 3, 3)
    assert found["blocks.2.4.weight"] == (256, 128, 2, 2) and found["blocks.3.4.weight"] == (128, 64, 2, 2)
    assert found["final.0.weight"] == (64, 64, 3, 3) and found["final.1.weight"] == (4, 64, 1, 1)
    assert sum(parameter.numel() for parameter in cnn.parameters()) == pytest.approx(20.7e6, rel=0.01)
    parts = official_parts()
    upscaling = {name: tensor.clone() for name, tensor in parts[0].output_upscaling.state_dict().items()}
    linear = new_head("autosam-linear", parts, 3, **FAITHFUL)
    assert sum(parameter.numel() for parameter in linear.parameters()) == pytest.approx(75e3, rel=0.01)
    for name, tensor in linear.mask_decoder.output_upscaling.state_dict().items():
        assert torch.equal(tensor, upscaling[name]), "starts from SAM"
    with torch.no_grad():
        embeddings = torch.randn(1, 256, 8, 8)
        assert float(linear.logits(embeddings).min()) >= 0, "published with ReLU on the logits"
        assert float(new_head("autosam-linear", parts, 3).logits(embeddings).min()) < 0


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("faithful", [True, False])
def test_a_head_learns_and_what_is_frozen_has_no_gradients(sam_parts: SamParts, name: str, faithful: bool) -> None:
    head = new_head(name, sam_parts, code_faithful=faithful)
    frozen = UNUSED if name == "autosam-vit" else ()
    frozen = (*frozen, "mask_decoder.iou_token.") if name == "autosam-vit" and faithful else frozen
    embeddings = torch.randn(1, 256, 4, 4)
    target = torch.zeros(1, 3, 16, 16)
    target[:, 1, :8], target[:, 2, 8:, :8], target[:, 0, 8:, 8:] = 1, 1, 1
    weight = torch.ones(1, 16, 16)
    optimiser = torch.optim.AdamW(head.trainable(), lr=1e-3)
    losses = []
    for _ in range(2 if name == "autosam-cnn" and faithful else 12):
        logits = head.training_logits(embeddings, [0], torch.Generator())
        assert logits.shape == (1, 3, 16, 16)
        loss = head.loss(logits, target, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for key, parameter in head.named_parameters():
        assert (parameter.grad is None) == key.startswith(frozen), key


def test_the_published_loss_is_chosen_by_the_setting(sam_parts: SamParts) -> None:
    logits, weight = torch.randn(2, 2, 4, 4), torch.ones(2, 4, 4)
    target = torch.nn.functional.one_hot(torch.randint(0, 2, (2, 4, 4)), 2).movedim(-1, 1).float()
    for settings, loss in (({}, segmentation_loss), (FAITHFUL, squared_dice_loss)):
        found = new_head("autosam-linear", sam_parts, 1, **settings).loss(logits, target, weight)
        assert torch.equal(found, loss(logits, target, weight))
    probability, wanted = logits.softmax(dim=1)[:, 1], target[:, 1]
    dice = (2 * (probability * wanted).sum() + 1) / (probability.square().sum() + wanted.square().sum() + 1)
    expected = torch.nn.functional.cross_entropy(logits, target.argmax(dim=1)) + 1 - dice
    torch.testing.assert_close(squared_dice_loss(logits, target, weight), expected)


def test_every_method_has_settings_that_survive_json() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)
    for method in [entry.load() for entry in METHODS]:
        values = dataclasses.asdict(method.settings())
        assert method.settings(**values) == method.settings()
        with pytest.raises(TypeError):
            method.settings(colour="red")
