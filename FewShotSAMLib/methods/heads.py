"""How each method of the registry makes its head from SAM's parts."""

from FewShotSAMLib.methods.autosam import AutoSamSettings, AutoSamViTHead
from FewShotSAMLib.methods.autosam_convolutions import AutoSamCnnHead, AutoSamLinearHead
from FewShotSAMLib.methods.class_tokens import ClassTokenHead, ClassTokenSettings
from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead, FewShotSettings
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.lora import LoraFactors
from FewShotSAMLib.methods.registry import Parts


def few_shot(parts: Parts, settings: FewShotSettings) -> Head:
    """The few-shot decoder."""
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
    lora = LoraFactors(shape.depth, shape.embed_dim, settings.rank) if settings.rank else None
    return ClassTokenHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, lora)
