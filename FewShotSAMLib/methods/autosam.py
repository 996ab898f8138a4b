"""AutoSAM's ViT head: SAM's mask decoder without prompts, with a set of tokens per class, all classes in one pass.

Source: Hu, Xu, Shi, How to Efficiently Adapt Large Segmentation Model (SAM) to Medical Images, arXiv 2306.13731, and
its published code (xhu248/AutoSAM). The other two heads are in `autosam_convolutions.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from FewShotSAMLib.methods.fine_levels import FineLevels, upscale
from FewShotSAMLib.methods.head import Head, HeadMethod
from FewShotSAMLib.methods.interface import Parts
from FewShotSAMLib.methods.loss import squared_dice_loss
from FewShotSAMLib.methods.promptless import PromptlessHead, fine_levels
from FewShotSAMLib.sam.modeling import MaskDecoder, PositionEmbeddingRandom, PromptEncoder

TOKENS_PER_CLASS = 2
"""Mask tokens of each class in the published structure; only the first one's mask is used."""


@dataclass(frozen=True)
class AutoSamSettings:
    """code_faithful: structure, initial weights and loss exactly as published; else with its errors corrected."""

    code_faithful: bool = False


class AutoSamHead(PromptlessHead):
    """What the three heads share: the loss, and reading the encoder's finer levels as well, if any (ours; not with
    `code_faithful`).

    Published: cross-entropy and a Dice loss with squared denominators. The default is the loss of all our methods, so
    that they are comparable.
    """

    def __init__(self, settings: AutoSamSettings, fine: FineLevels | None = None) -> None:
        super().__init__(fine)
        self.settings = settings

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if self.settings.code_faithful:
            return squared_dice_loss(logits, target, weight)
        return super().loss(logits, target, weight)


class AutoSamViTHead(AutoSamHead):
    """Classes (including background) are folded into the batch: each queries the image with its own tokens, and
    transformer, upscaling and hypernetwork are shared. Classes do not attend to each other; a softmax combines them.

    Names and shapes of parameters are the published ones. The transformer, the upscaling and the hypernetworks start
    from SAM's decoder. Errors of the published code, corrected unless `code_faithful`:

    - Its positional encoding is a new random matrix, because SAM's is stored under a name that the code does not look
      for. SAM's decoder was only ever trained with its own encoding, which is used here.
    - IoU and mask tokens start at random because the checkpoint's have another shape; the IoU tokens stay so, frozen,
      yet are attended to. Here each class starts with SAM's own IoU token, and with SAM's first two mask tokens plus
      the random ones (without these all classes start alike and learn to differ only slowly); all are trained.
    - Without a prompt encoder it omits the embedding for "no mask", which SAM adds to every image; it is added here.
    """

    no_mask: Tensor

    def __init__(
        self,
        mask_decoder: MaskDecoder,
        prompt_encoder: PromptEncoder,
        class_count: int,
        settings: AutoSamSettings,
        fine: FineLevels | None = None,
    ) -> None:
        super().__init__(settings, fine)
        self.mask_decoder = _class_decoder(mask_decoder, class_count + 1)
        self.pe_layer = PositionEmbeddingRandom(mask_decoder.transformer_dim // 2)
        no_mask = torch.zeros(1, mask_decoder.transformer_dim, 1, 1)
        if not settings.code_faithful:
            self.pe_layer.load_state_dict(prompt_encoder.pe_layer.state_dict())
            no_mask = prompt_encoder.no_mask_embed.weight.detach().clone().view(1, -1, 1, 1)
            with torch.no_grad():
                self.mask_decoder.iou_token.weight.copy_(mask_decoder.iou_token.weight)
                first = mask_decoder.mask_tokens.weight[:TOKENS_PER_CLASS]
                self.mask_decoder.mask_tokens.weight.add_(first.repeat(class_count + 1, 1))
        self.register_buffer("no_mask", no_mask, persistent=False)
        frozen = [self.mask_decoder.iou_prediction_head, *self.mask_decoder.output_hypernetworks_mlps[1:]]
        for module in [*frozen, self.mask_decoder.iou_token] if settings.code_faithful else frozen:
            module.requires_grad_(False)

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        decoder = self.mask_decoder
        embeddings, skips = self.split(embeddings)
        classes = len(decoder.iou_token.weight)
        own = decoder.mask_tokens.weight.unflatten(0, (classes, TOKENS_PER_CLASS))
        tokens = torch.cat([decoder.iou_token.weight[:, None], own], dim=1).repeat(len(embeddings), 1, 1)
        images = (embeddings + self.no_mask).repeat_interleave(classes, dim=0)
        size = embeddings.shape[2:]
        positions = self.pe_layer(tuple(size))[None].expand(len(images), -1, -1, -1)
        answers, cells = decoder.transformer(images, positions, tokens)
        if skips is not None:
            skips = skips.for_each(classes)
        upscaled = upscale(decoder.output_upscaling, cells.transpose(1, 2).unflatten(2, size), skips)
        weights = decoder.output_hypernetworks_mlps[0](answers[:, 1])
        return torch.einsum("bk,bkhw->bhw", weights, upscaled).unflatten(0, (len(embeddings), classes))


def _class_decoder(sam: MaskDecoder, classes: int) -> MaskDecoder:
    """The published decoder: SAM's parts where they fit, except the IoU head and the tokens, which start at random."""
    decoder = MaskDecoder(
        num_multimask_outputs=TOKENS_PER_CLASS - 1, transformer=sam.transformer, transformer_dim=sam.transformer_dim
    )
    decoder.iou_token = nn.Embedding(classes, sam.transformer_dim)
    decoder.mask_tokens = nn.Embedding(TOKENS_PER_CLASS * classes, sam.transformer_dim)
    wanted = decoder.state_dict().keys()
    learned = {
        name: tensor
        for name, tensor in sam.state_dict().items()
        if name in wanted and "iou" not in name and "mask_tokens" not in name
    }
    decoder.load_state_dict(learned, strict=False)
    return decoder


class AutoSam(HeadMethod):
    """What the three methods share."""

    settings = AutoSamSettings
    has_published_code = True


class AutoSamViT(AutoSam):
    """AutoSAM's mask decoder with tokens per class."""

    learning_cost = 160.0

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head that starts from SAM's decoder."""
        fine = fine_levels(parts, settings.code_faithful)
        return AutoSamViTHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, settings, fine)


METHOD = AutoSamViT()
