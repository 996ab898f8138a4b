"""The decoder of LoRA and Cheap Lunch: SAM's mask decoder with one mask token per class, all in one sequence."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from FewShotSAMLib.methods.fine_levels import FineLevels, upscale
from FewShotSAMLib.methods.head import Head, HeadMethod
from FewShotSAMLib.methods.interface import Parts
from FewShotSAMLib.methods.promptless import PromptlessHead, fine_levels
from FewShotSAMLib.sam.lora import RANK, LoraFactors, new_factors
from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder


@dataclass(frozen=True)
class ClassTokenSettings:
    """rank: of the LoRA updates in the encoder, 0 for none."""

    rank: int = 0


@dataclass(frozen=True)
class LoraSettings(ClassTokenSettings):
    """Settings with LoRA."""

    rank: int = RANK


class ClassTokenHead(PromptlessHead):
    """One mask token and one hypernetwork per class, background first; the tokens attend to each other.

    Source: SAMed's code (hitachinsk/SAMed), whose recipe we assume for Cheap Lunch: no prompt but SAM's embedding for
    "no mask", which trains along with the decoder; a softmax over the classes. SAMed's tokens and hypernetworks start
    at random; ours all start from SAM's first, the one for unambiguous prompts, the tokens with a random offset that
    distinguishes the classes.

    fine: the encoder's finer levels, if any, are read as well (ours).

    lora: the updates of the encoder's blocks, if any. They train with the head and are saved in the same file, but it
    is the engine that applies them to the encoder.
    """

    positional: Tensor

    def __init__(
        self,
        mask_decoder: MaskDecoder,
        prompt_encoder: PromptEncoder,
        class_count: int,
        lora: LoraFactors | None = None,
        fine: FineLevels | None = None,
    ) -> None:
        super().__init__(fine)
        classes = class_count + 1
        self.transformer = mask_decoder.transformer
        self.output_upscaling = mask_decoder.output_upscaling
        self.iou_token = nn.Parameter(mask_decoder.iou_token.weight.detach().clone())
        first = mask_decoder.mask_tokens.weight.detach()[:1]
        self.mask_tokens = nn.Parameter(first + torch.randn(classes, first.shape[1]))
        network = mask_decoder.output_hypernetworks_mlps[0]
        self.hypernetworks = nn.ModuleList(copy.deepcopy(network) for _ in range(classes))
        self.no_mask = nn.Parameter(prompt_encoder.no_mask_embed.weight.detach().clone().view(1, -1, 1, 1))
        self.register_buffer("positional", prompt_encoder.get_dense_pe().detach().clone())
        self.lora = lora

    @property
    def encoder_updates(self) -> LoraFactors | None:
        return self.lora

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        embeddings, skips = self.split(embeddings)
        size = embeddings.shape[2:]
        tokens = torch.cat([self.iou_token, self.mask_tokens]).expand(len(embeddings), -1, -1)
        positions = self.positional.expand(len(embeddings), -1, -1, -1)
        answers, cells = self.transformer(embeddings + self.no_mask, positions, tokens)
        upscaled = upscale(self.output_upscaling, cells.transpose(1, 2).unflatten(2, size), skips)
        weights = [network(answers[:, 1 + number]) for number, network in enumerate(self.hypernetworks)]
        return torch.einsum("bck,bkhw->bchw", torch.stack(weights, dim=1), upscaled)


class ClassTokens(HeadMethod):
    """SAM's mask decoder with a token per class, on the unchanged encoder or, with LoRA, on one that trains as well."""

    def __init__(self, settings: type[ClassTokenSettings], synthesises: bool, cost: float) -> None:
        self.settings = settings  # type: ignore[misc]
        self.adapts_encoder, self.synthesises, self.learning_cost = settings().rank > 0, synthesises, cost

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head, including the encoder's LoRA updates if there are any."""
        lora = new_factors(parts.architecture, settings.rank) if settings.rank else None
        return ClassTokenHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, lora, fine_levels(parts))


CHEAP_LUNCH = ClassTokens(LoraSettings, synthesises=True, cost=480.0)
LORA = ClassTokens(LoraSettings, synthesises=False, cost=400.0)
SYNTHESIS = ClassTokens(ClassTokenSettings, synthesises=True, cost=140.0)
