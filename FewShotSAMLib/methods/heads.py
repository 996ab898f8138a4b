"""How each method of the registry makes its head from SAM's parts."""

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.autosam import AutoSamSettings, AutoSamViTHead
from FewShotSAMLib.methods.autosam_convolutions import AutoSamCnnHead, AutoSamLinearHead
from FewShotSAMLib.methods.class_tokens import ClassTokenHead, ClassTokenSettings
from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead, FewShotSettings
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.lora import LoraFactors
from FewShotSAMLib.methods.registry import Parts
from FewShotSAMLib.sam.fusion import FusionDecoder
from FewShotSAMLib.sam.registry import COMPACT


def few_shot(parts: Parts, settings: FewShotSettings) -> Head:
    """The few-shot decoder; on the bundled encoder the one that was trained with it."""
    if parts.fusion is not None:
        return FusionHead(FusionDecoder(parts.mask_decoder, parts.prompt_encoder, parts.fusion), parts.class_count)
    return FewShotHead(TokenDecoder(parts.mask_decoder, parts.prompt_encoder), parts.class_count, settings)


def autosam_vit(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's mask decoder with tokens per class."""
    return AutoSamViTHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, settings)


def autosam_cnn(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's convolutions."""
    return AutoSamCnnHead(parts.class_count, settings)


def autosam_linear(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's linear readout."""
    return AutoSamLinearHead(parts.mask_decoder, parts.class_count, settings)


def adapted(parts: Parts, settings: ClassTokenSettings) -> Head:
    """The decoder of LoRA and Cheap Lunch, with the encoder's updates where there are any."""
    shape = parts.architecture
    if settings.rank and shape.kind == COMPACT:
        raise BadInputError(
            "LoRA changes the attention layers of a transformer, and the bundled encoder has none.",
            "Choose SAM's encoder (--encoder vit_b), or a method without LoRA.",
        )
    lora = LoraFactors(shape.depth, shape.embed_dim, settings.rank) if settings.rank else None
    return ClassTokenHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, lora)
