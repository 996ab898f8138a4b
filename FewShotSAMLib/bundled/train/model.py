"""The bundled model as one module, and its queries about the slices of an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import CompactEncoder, Pyramid
from FewShotSAMLib.bundled.fusion import FusionDecoder, Queries, Support
from FewShotSAMLib.bundled.queries import foreign_queries, places
from FewShotSAMLib.bundled.train.episodes import Episode
from FewShotSAMLib.sam.registry import PIXEL_MEAN, PIXEL_STD, EncoderSpec, build_sam


class BundledModel(nn.Module):
    """Encoder and decoder together, as they are trained."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        sam = build_sam(spec)
        self.encoder: CompactEncoder = sam.image_encoder
        self.decoder = FusionDecoder(sam.mask_decoder, sam.prompt_encoder, sam.fusion)

    def weights(self) -> dict[str, Tensor]:
        """Return all weights, half precision, by the names that `build_sam` gives them."""
        return {
            f"{part}.{name}": tensor.detach().cpu().half().contiguous()
            for part, module in self._parts().items()
            for name, tensor in module.state_dict().items()
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load what `weights` returned."""
        for part, module in self._parts().items():
            own = {name.removeprefix(f"{part}."): tensor.float() for name, tensor in weights.items()}
            module.load_state_dict({name: own[name] for name in module.state_dict()})

    def _parts(self) -> dict[str, nn.Module]:
        decoder = self.decoder
        return {
            "image_encoder": self.encoder,
            "mask_decoder": decoder.mask_decoder,
            "prompt_encoder": decoder.prompt_encoder,
            "fusion": decoder.layers,
        }

    def features(self, image: Tensor, indices: Sequence[int], flat: bool) -> Pyramid:
        """Encode slices of image (D, S, S) in 0..1, each between its neighbours, or alone (flat)."""
        last = len(image) - 1
        offsets = (0, 0, 0) if flat else (-1, 0, 1)
        stack = torch.stack([image[[min(max(i + o, 0), last) for o in offsets]] for i in indices])
        return self.encoder.pyramid(normalise(stack * 255))


def normalise(images: Tensor) -> Tensor:
    """Apply SAM's normalisation to (B, 3, S, S) in 0..255."""
    mean, deviation = (images.new_tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)


def support_of(model: BundledModel, episode: Episode, flat: bool, foreign: bool = False) -> Support:
    """Return the episode's exemplars; foreign: those of the other body."""
    if foreign:
        shown = episode.other.float()
        features = model.encoder.pyramid(normalise((shown[:, [1, 1, 1]] if flat else shown) * 255))
        return Support(features, episode.other_target.float(), shown.new_zeros(len(shown)))
    known = list(episode.known)
    features = model.features(episode.image.float(), known, flat)
    masks = episode.target[known].float()
    return Support(features, masks, torch.tensor(known, device=masks.device) * episode.slice_step)


def queries_of(
    model: BundledModel,
    episode: Episode,
    indices: Sequence[int],
    flat: bool,
    foreign: bool = False,
    atlas: bool = False,
) -> Queries:
    """Return first-pass queries about some of the episode's slices; foreign: for the other body's exemplars; atlas:
    with the priors of its registered label, rather than none."""
    features = model.features(episode.image.float(), indices, flat)
    if foreign:
        asked = foreign_queries(features)
        return replace(asked, priors=episode.atlas[list(indices)].float()) if atlas else asked
    place, below, above = (part.to(episode.image.device) for part in places(indices, episode.known, episode.slice_step))
    position = torch.tensor(indices, device=place.device) * episode.slice_step
    return Queries(features, episode.priors[list(indices)].float(), place, position, below, above)


def earlier_of(episode: Episode, indices: Sequence[int], probability: Tensor, foreign: bool = False) -> Tensor:
    """Return what the second pass sees (B, 3, S/2, S/2) of the first pass's probabilities (B, S/2, S/2): the slice and
    its neighbours; exemplars as painted, and the slice itself in place of neighbours that were not predicted."""
    found = dict(zip(indices, probability, strict=True))
    if not foreign:
        found |= {known: episode.target[known].float() for known in episode.known}
    rows = [[found.get(index + offset, found[index]) for offset in (-1, 0, 1)] for index in indices]
    return torch.stack([torch.stack(row) for row in rows])
