"""How each method of the registry makes its head from SAM's parts."""

from FewShotSAMLib.methods.autosam import AutoSamSettings, AutoSamViTHead
from FewShotSAMLib.methods.autosam_convolutions import AutoSamCnnHead, AutoSamLinearHead
from FewShotSAMLib.methods.class_tokens import ClassTokenHead, ClassTokenSettings
from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead, FewShotSettings
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.lora import new_factors
from FewShotSAMLib.methods.registry import Parts
from FewShotSAMLib.sam.fusion import FusionDecoder


def few_shot(parts: Parts, settings: FewShotSettings) -> Head:
    """The few-shot decoder; the bundled encoder's own where there is one."""
    if parts.fusion is not None:
        decoder = FusionDecoder(parts.mask_decoder, parts.prompt_encoder, parts.fusion)
        return FusionHead(decoder, parts.class_count).eval()
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
    lora = new_factors(parts.architecture, settings.rank) if settings.rank else None
    return ClassTokenHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, lora)
