"""The encoders FewShotSAM knows (`Resources/encoders.json`) and how to build each from segment_anything's own classes.

Listing the encoders does not need torch: it is imported only when a network is built.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.resources import resource_path

if TYPE_CHECKING:
    from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder, Sam

EMBEDDING_CHANNELS = 256
"""Channels of every embedding; SAM's prompt encoder and mask decoder are built for it."""
FAMILIES = {"vit": "FewShotSAMLib.sam.vit_family", "compact": "FewShotSAMLib.bundled.family"}
"""The module that builds and runs each kind of image encoder; see `family.EncoderFamily`."""
PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of each colour channel (0..255) with which SAM's image encoder was trained."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of each colour channel (0..255) with which SAM's image encoder was trained."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one image encoder; all sizes in pixels, tokens or channels as in segment_anything.

    kind: one of FAMILIES; "vit" is segment_anything's ImageEncoderViT, "compact" a convolutional encoder, which needs
    none of the transformer's numbers. channels: those of the embedding, of which SAM's decoder reads the first 256.
    decoder_mlp_dim: channels of the decoder's feed-forward layers.

    Capabilities and inputs: fine_channels: channels of the finer levels (a half, a quarter, an eighth of the image's
    side) that are folded into its embedding, () for none. sees_region: its input is the region around what is painted,
    with the window stretched to it, instead of the whole body. sees_neighbours: its image's three channels are a slice
    between its two neighbours. answers_prompts: its decoder was trained with points and boxes. has_int8: it can run in
    8-bit integers.
    """

    image_size: int
    patch_size: int
    embed_dim: int = 0
    depth: int = 0
    num_heads: int = 0
    global_attn_indexes: tuple[int, ...] = ()
    window_size: int = 0
    kind: str = "vit"
    channels: int = EMBEDDING_CHANNELS
    decoder_mlp_dim: int = 2048
    fine_channels: tuple[int, ...] = ()
    sees_region: bool = False
    sees_neighbours: bool = False
    answers_prompts: bool = True
    has_int8: bool = True

    @property
    def embedding_size(self) -> int:
        """Rows (and columns) of the embedding: image size / patch size."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder of the registry.

    `weights` is "download" (a published file: filename, url, size_bytes and its sha256) or "bundled" (a file shipped
    with FewShotSAM: filename in Resources/Models, and its sha256).
    """

    name: str
    title: str
    architecture: Architecture
    weights: str
    licence: str
    licence_url: str
    source: str
    filename: str = ""
    url: str = ""
    size_bytes: int = 0
    sha256: str = ""

    @property
    def image_size(self) -> int:
        """Side of the square input image in pixels."""
        return self.architecture.image_size

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of one slice's embedding."""
        return (self.architecture.channels, self.architecture.embedding_size, self.architecture.embedding_size)

    @property
    def is_downloaded(self) -> bool:
        """Whether the weights are a file to download (rather than a bundled one)."""
        return self.weights == "download"

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> EncoderSpec:
        """The spec of one entry of encoders.json."""
        numbers = dict(entry["architecture"])
        for name in ("global_attn_indexes", "fine_channels"):
            numbers[name] = tuple(numbers.get(name, ()))
        return cls(**{**entry, "architecture": Architecture(**numbers)})


@cache
def all_specs() -> tuple[EncoderSpec, ...]:
    """All encoders of the registry, in its order (smallest first)."""
    entries = json.loads(resource_path("encoders.json").read_text(encoding="utf-8"))["encoders"]
    return tuple(EncoderSpec.from_json(entry) for entry in entries)


def get_spec(name: str) -> EncoderSpec:
    """The encoder called `name`. Raises BadInputError, listing the names, if there is none."""
    for spec in all_specs():
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in all_specs())
    raise BadInputError(f"There is no encoder called “{name}”.", f"Choose one of: {names}.")


def build_sam(spec: EncoderSpec) -> Sam:
    """SAM with the image encoder that `spec` describes, with torch's initial weights, in eval mode, float32.

    The state dict has the layout of the official checkpoints; if an encoder has decoder layers of its own, their
    weights are in `fusion`.
    """
    import torch

    from FewShotSAMLib.sam.family import family_of
    from FewShotSAMLib.sam.modeling import Sam

    family = family_of(spec.architecture)
    with torch.device("cpu"):  # small; on "meta", torch would load its compiler to fill them, which takes two seconds
        prompt_encoder, mask_decoder = build_decoder_parts(spec)
    sam = Sam(
        image_encoder=family.image_encoder(spec.architecture),
        prompt_encoder=prompt_encoder,
        mask_decoder=mask_decoder,
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    if (layers := family.decoder_layers()) is not None:
        sam.fusion = layers
    return sam.eval()


def build_decoder_parts(spec: EncoderSpec) -> tuple[PromptEncoder, MaskDecoder]:
    """SAM's prompt encoder and mask decoder for embeddings of this encoder, with torch's initial weights."""
    from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    size, mlp_dim = spec.architecture.embedding_size, spec.architecture.decoder_mlp_dim
    prompt_encoder = PromptEncoder(
        embed_dim=EMBEDDING_CHANNELS,
        image_embedding_size=(size, size),
        input_image_size=(spec.image_size, spec.image_size),
        mask_in_chans=16,
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=EMBEDDING_CHANNELS, mlp_dim=mlp_dim, num_heads=8),
        transformer_dim=EMBEDDING_CHANNELS,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    return prompt_encoder, mask_decoder
