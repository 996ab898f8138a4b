"""SAM's mask decoder, prompted with few-shot tokens instead of a user's points and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder


@dataclass(frozen=True)
class Prompts:
    """Prompts for one structure: tokens (B, T, 256), pooled embeddings; positive (T,), whether each token shows the
    structure (True) or something else (False)."""

    tokens: Tensor
    positive: Tensor


@dataclass(frozen=True)
class _Image:
    """What all prompts share of the images: flattened embeddings, and their first projections, with positions."""

    keys: Tensor
    key_heads: Tensor
    value_heads: Tensor
    query_heads: Tensor


class TokenDecoder(nn.Module):
    """SAM's mask decoder and the frozen parts of its prompt encoder that it needs.

    Source: Xie et al., SAM Fewshot Finetuning: embeddings of annotated regions replace the prompts and only the mask
    decoder trains. Our reading: they take the place of the sparse prompt tokens, each added to SAM's own embedding of a
    positive or negative point; the dense prompt stays SAM's "no mask"; mask token 0 gives the mask; the predicted IoU
    is not used.

    The arithmetic is SAM's. Its two-way transformer is run step by step here, so that several segments of the same
    image share whatever does not depend on the prompts, and attention is fused.
    """

    positional: Tensor
    no_mask: Tensor
    kinds: Tensor

    def __init__(self, mask_decoder: MaskDecoder, prompt_encoder: PromptEncoder) -> None:
        super().__init__()
        self.mask_decoder = mask_decoder
        # The mask quality head and masks 1-3 are not used: they neither train nor run.
        for unused in (mask_decoder.iou_prediction_head, *mask_decoder.output_hypernetworks_mlps[1:]):
            unused.requires_grad_(False)
        negative, positive = (prompt_encoder.point_embeddings[kind].weight for kind in (0, 1))
        positional = prompt_encoder.get_dense_pe().detach().flatten(2).transpose(1, 2)
        self.register_buffer("positional", positional.contiguous())
        self.register_buffer("no_mask", prompt_encoder.no_mask_embed.weight.detach().clone().view(1, 1, -1))
        self.register_buffer("kinds", torch.cat([negative, positive]).detach().clone())

    def forward(self, embeddings: Tensor, prompts_of: Sequence[Prompts]) -> Tensor:
        """Mask logits (B, segments, 4h, 4w) for embeddings (B, 256, h, w)."""
        image = self._image(embeddings)
        return torch.stack([self._mask_logits(image, asked, embeddings.shape[2:]) for asked in prompts_of], dim=1)

    def _image(self, embeddings: Tensor) -> _Image:
        first = self.mask_decoder.transformer.layers[0]
        keys = embeddings.flatten(2).transpose(1, 2) + self.no_mask
        positioned = keys + self.positional
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        values, queries = _heads(to_image, to_image.v_proj(keys)), _heads(to_tokens, to_tokens.q_proj(positioned))
        return _Image(keys, _heads(to_image, to_image.k_proj(positioned)), values, queries)

    def _mask_logits(self, image: _Image, asked: Prompts, size: Sequence[int]) -> Tensor:
        decoder = self.mask_decoder
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(image.keys), -1, -1)
        prompts = torch.cat([output, asked.tokens + self.kinds[asked.positive.long()]], dim=1)
        answers, keys = self._transform(image, prompts)
        weights = decoder.output_hypernetworks_mlps[0](answers[:, 1])
        return self._mask(keys.unflatten(1, tuple(size)), weights)

    def _mask(self, cells: Tensor, weights: Tensor) -> Tensor:
        """SAM's upscaling of cells (B, h, w, 256) and its product with weights (B, 32): logits (B, 4h, 4w).

        A transposed convolution whose stride is its size is a linear layer from a cell to its 2 x 2 parts. Channels
        stay last until the end, so that only the mask itself has to be rearranged.
        """
        first, norm, activation, second, last_activation = self.mask_decoder.output_upscaling
        halves = F.layer_norm(_split(first, cells), norm.weight.shape, norm.weight, norm.bias, norm.eps)
        quarters = last_activation(_split(second, activation(halves)))  # (B, h, w, 2, 2, 2, 2, 32)
        parts = torch.einsum("bhwrcsdk,bk->bhrswcd", quarters, weights)
        batch, height, width = cells.shape[:3]
        return parts.reshape(batch, 4 * height, 4 * width)

    def _transform(self, image: _Image, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """SAM's two-way transformer: tokens (B, T, 256) and image (B, hw, 256) after attending to each other."""
        transformer = self.mask_decoder.transformer
        queries, keys = prompts, image.keys
        for number, layer in enumerate(transformer.layers):
            positioned = queries if layer.skip_first_layer_pe else queries + prompts
            attended = _attend(layer.self_attn, positioned, positioned, queries)
            queries = layer.norm1(attended if layer.skip_first_layer_pe else queries + attended)
            to_image = layer.cross_attn_token_to_image
            if number == 0:
                heads = _heads(to_image, to_image.q_proj(queries + prompts))
                attended_image = _merge(to_image, heads, image.key_heads, image.value_heads)
            else:
                attended_image = _attend(to_image, queries + prompts, keys + self.positional, keys)
            queries = layer.norm2(queries + attended_image)
            queries = layer.norm3(queries + layer.mlp(queries))
            to_tokens = layer.cross_attn_image_to_token
            heads = image.query_heads if number == 0 else _heads(to_tokens, to_tokens.q_proj(keys + self.positional))
            key_heads = _heads(to_tokens, to_tokens.k_proj(queries + prompts))
            keys = layer.norm4(keys + _merge(to_tokens, heads, key_heads, _heads(to_tokens, to_tokens.v_proj(queries))))
        final = _attend(transformer.final_attn_token_to_image, queries + prompts, keys + self.positional, keys)
        return transformer.norm_final_attn(queries + final), keys


def _split(convolution: nn.ConvTranspose2d, cells: Tensor) -> Tensor:
    """A transposed convolution of size and stride 2 on the last dimension: (..., in) to (..., 2, 2, out)."""
    kernel = convolution.weight.permute(2, 3, 1, 0)
    bias = None if convolution.bias is None else convolution.bias.expand(*kernel.shape[:3]).flatten()
    return F.linear(cells, kernel.flatten(0, 2), bias).unflatten(-1, kernel.shape[:3])


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """(B, n, channels) to (B, heads, n, channels per head)."""
    return projected.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)


def _merge(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention over heads that are already projected, and the output projection."""
    mixed = F.scaled_dot_product_attention(queries, keys, values)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One of SAM's attention layers, fused."""
    return _merge(
        attention,
        _heads(attention, attention.q_proj(queries)),
        _heads(attention, attention.k_proj(keys)),
        _heads(attention, attention.v_proj(values)),
    )
