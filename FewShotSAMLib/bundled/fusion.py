"""The bundled model's mask decoder: SAM's own, fed with few-shot tokens, shape priors and fine features.

All evidence of where a structure continues is fused here: what the slice looks like (the encoder's pyramid), what the
exemplars look like (few-shot tokens, a memory searched by similarity and proximity, the nearest exemplars' features at
the same place), where its shape suggests the structure (the priors), and what was predicted for the slices on either
side (in the second pass).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import FINE, SAM_CHANNELS, Pyramid, Residual, convolution
from FewShotSAMLib.bundled.memory import Memory

KINDS = ("interpolation", "transport", "geodesic")
"""A query's shape priors, in order."""
PLACE = 6
"""How many numbers describe where a slice lies between the exemplars: see `Queries.place`."""
NEARBY = 3
"""How many slices' earlier predictions the second pass sees: below, itself, above."""
WIDTHS = (32, 64, 96)
STRIDE = 2
"""Pixels of the image per pixel of the logits."""


@dataclass(frozen=True)
class Support:
    """n exemplars: their features, the structure's share (n, S/2, S/2) of each pixel, and their positions (n,) along
    the slice axis in pixels of that grid. names: identify slice and mask; empty for exemplars of another volume."""

    features: Pyramid
    masks: Tensor
    position: Tensor
    names: tuple[int, ...] = ()

    def without(self, number: int) -> Support:
        """Return all exemplars but one."""
        kept = [i for i in range(len(self.masks)) if i != number]
        return Support(self.features[kept], self.masks[kept], self.position[kept])


@dataclass(frozen=True)
class Queries:
    """B slices to predict. priors (B, kinds, S/2, S/2); place (B, PLACE); position (B,) as in Support; below and above
    (B,): the nearest exemplars' numbers, -1 where there is none; earlier (B, NEARBY, S/2, S/2): the first pass's
    probabilities, None in the first pass. foreign: the exemplars are of another volume, so that neither places nor
    slices correspond; priors and place are then 0, below and above -1."""

    features: Pyramid
    priors: Tensor
    place: Tensor
    position: Tensor
    below: Tensor
    above: Tensor
    earlier: Tensor | None = None
    foreign: bool = False

    def again(self, earlier: Tensor) -> Queries:
        """Return the same slices as queries of the second pass."""
        return replace(self, earlier=earlier)

    def select(self, rows: Tensor) -> Queries:
        """Select some of the slices; rows (B,) bool."""
        if bool(rows.all()):
            return self
        earlier = None if self.earlier is None else self.earlier[rows]
        return Queries(
            self.features[rows],
            self.priors[rows],
            self.place[rows],
            self.position[rows],
            self.below[rows],
            self.above[rows],
            earlier,
            self.foreign,
        )


class FusionLayers(nn.Module):
    """The bundled model's weights beyond those of SAM."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.joined_half = nn.Sequential(convolution(FINE[0] + len(KINDS) + PLACE + NEARBY + 1, fine), Residual(fine))
        self.down_quarter = convolution(fine, middle, 4, 2)
        self.joined_quarter = nn.Sequential(convolution(middle + 3 * FINE[1] + 2, middle), Residual(middle))
        self.down_eighth = convolution(middle, coarse, 4, 2)
        self.memory = Memory(FINE[2])
        self.joined_eighth = nn.Sequential(
            convolution(coarse + FINE[2] + self.memory.channels, coarse), Residual(coarse)
        )
        self.down_sixteenth = nn.Conv2d(coarse, SAM_CHANNELS, 2, 2)
        self.skip_eighth = nn.Conv2d(coarse, SAM_CHANNELS // 4, 1)
        self.skip_quarter = nn.Conv2d(middle, SAM_CHANNELS // 8, 1)
        self.last_quarter = Residual(SAM_CHANNELS // 8)
        self.last_half = nn.Sequential(convolution(SAM_CHANNELS // 8 + fine, fine), Residual(fine))
        self.mask = nn.Conv2d(fine, 1, 1)
        self.direct = nn.Conv2d(len(KINDS), 1, 1)
        # Training starts from the mean of the priors.
        nn.init.constant_(self.direct.weight, 0.4)
        nn.init.zeros_(self.mask.weight)


class FusionDecoder(nn.Module):
    """Logits (B, S/2, S/2) of one structure.

    SAM's mask decoder (two-way transformer, upscaling, hypernetwork), with the interpolated shape as its mask prompt,
    is the low-resolution core of a U-Net whose finer levels combine image features and priors.
    """

    def __init__(self, mask_decoder: MaskDecoder, prompt_encoder: PromptEncoder, layers: FusionLayers) -> None:
        super().__init__()
        self.mask_decoder = mask_decoder
        self.prompt_encoder = prompt_encoder
        self.layers = layers
        # SAM's quality head, its masks 1 to 3 and its embeddings of boxes and of "no mask" are not used.
        for unused in (mask_decoder.iou_prediction_head, *mask_decoder.output_hypernetworks_mlps[1:]):
            unused.requires_grad_(False)
        for embedding in (
            *prompt_encoder.point_embeddings[2:],
            prompt_encoder.not_a_point_embed,
            prompt_encoder.no_mask_embed,
        ):
            embedding.requires_grad_(False)

    def forward(self, queries: Queries, support: Support, recalled: Tensor | None = None) -> Tensor:
        """Return logits (B, S/2, S/2). recalled: the memory's output, if already computed for several structures."""
        layers = self.layers
        half = layers.joined_half(_fine_input(queries))
        quarter = _leading(layers.joined_quarter, [layers.down_quarter(half), *_neighbour_features(queries, support)])
        if recalled is None:
            (recalled,) = layers.memory(queries, [support])
        eighth = layers.joined_eighth(
            torch.cat([layers.down_eighth(quarter), queries.features.eighth, recalled], dim=1)
        )
        core, weights = self._core(queries, support, layers.down_sixteenth(eighth))
        first, norm, activation, second, last = self.mask_decoder.output_upscaling
        upscaled = activation(norm(first(core) + layers.skip_eighth(eighth)))
        upscaled = layers.last_quarter(last(second(upscaled) + layers.skip_quarter(quarter)))
        coarse = torch.einsum("bchw,bc->bhw", upscaled, weights).unsqueeze(1)
        finer, coarse = (
            F.interpolate(part, scale_factor=2.0, mode="bilinear", align_corners=False) for part in (upscaled, coarse)
        )
        mask = layers.mask(layers.last_half(torch.cat([finer, half], dim=1)))
        return (mask + coarse + layers.direct(queries.priors))[:, 0]

    def _core(self, queries: Queries, support: Support, joined: Tensor) -> tuple[Tensor, Tensor]:
        """Run SAM's two-way transformer; return the image (B, 256, h, w) and the mask token's weights (B, 32)."""
        decoder, prompts = self.mask_decoder, self.prompt_encoder
        batch, _, height, width = joined.shape
        shape = F.interpolate(queries.priors[:, :1], size=(4 * height, 4 * width), mode="area")
        image = queries.features.embedding + joined + prompts.mask_downscaling(shape)
        placed = prompts.pe_layer((height, width)).unsqueeze(0).expand(batch, -1, -1, -1)
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output, self.tokens(support)]).expand(batch, -1, -1)
        answers, cells = decoder.transformer(image, placed, tokens)
        weights: Tensor = decoder.output_hypernetworks_mlps[0](answers[:, 1])
        return cells.transpose(1, 2).unflatten(2, (height, width)), weights

    def tokens(self, support: Support) -> Tensor:
        """Return few-shot tokens (2 n, 256): the mean embedding of the structure and of the rest on each exemplar, plus
        SAM's own embeddings of a positive and a negative point. What an exemplar does not show yields no token."""
        embedding = support.features.embedding
        share = F.interpolate(support.masks.unsqueeze(1), size=embedding.shape[-2:], mode="area")
        negative, positive = (self.prompt_encoder.point_embeddings[kind].weight for kind in (0, 1))
        parts = []
        for area, kind in ((share, positive), (1 - share, negative)):
            total = area.sum((1, 2, 3))
            mean = (embedding * area).sum((2, 3)) / total.clamp_min(1e-6).unsqueeze(1)
            parts.append((mean + kind)[total > 1e-6])
        return torch.cat(parts)


def _fine_input(queries: Queries) -> Tensor:
    size = queries.priors.shape[-2:]
    place = queries.place.view(*queries.place.shape, 1, 1).expand(-1, -1, *size)
    earlier = queries.earlier
    if earlier is None:
        earlier = queries.priors.new_zeros(len(place), NEARBY, *size)
    second = queries.priors.new_full((len(place), 1, *size), 0.0 if queries.earlier is None else 1.0)
    return torch.cat([queries.features.half, queries.priors, place, earlier, second], dim=1)


def _neighbour_features(queries: Queries, support: Support) -> list[Tensor]:
    """The query's quarter features, and those of the exemplars below and above with their masks; 0 where none."""
    parts = [queries.features.quarter]
    if queries.foreign:
        return parts  # no exemplar lies below or above
    share = F.interpolate(support.masks.unsqueeze(1), size=queries.features.quarter.shape[-2:], mode="area")
    for side in (queries.below, queries.above):
        there = (side >= 0).view(-1, 1, 1, 1).to(share)
        number = side.clamp_min(0)
        parts += [support.features.quarter[number] * there, (2 * share[number] - 1) * there]
    return parts


def _leading(layers: nn.Sequential, parts: list[Tensor]) -> Tensor:
    """Apply a 3×3 convolution and the layers after it, where its input channels after the given ones are 0."""
    given, first = torch.cat(parts, dim=1), layers[0]
    assert isinstance(first, nn.Sequential) and isinstance(first[0], nn.Conv2d)
    kernel = first[0].weight[:, : given.shape[1]]
    found: Tensor = layers[1:](first[1:](F.conv2d(given, kernel, padding=1)))
    return found
