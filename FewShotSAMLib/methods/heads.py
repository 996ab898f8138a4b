"""How each method of the registry makes its head from SAM's parts."""

from FewShotSAMLib.bundled.fusion import FusionDecoder
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.methods.autosam import AutoSamSettings, AutoSamViTHead
from FewShotSAMLib.methods.autosam_convolutions import AutoSamCnnHead, AutoSamLinearHead
from FewShotSAMLib.methods.class_tokens import ClassTokenHead, ClassTokenSettings
from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead, FewShotSettings
from FewShotSAMLib.methods.fine_levels import FineLevels
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.pixel_classifier import PixelClassifierHead, PixelClassifierSettings
from FewShotSAMLib.methods.registry import Parts
from FewShotSAMLib.sam.lora import new_factors
from FewShotSAMLib.sam.registry import COMPACT

UPSCALED = (64, 32)
"""Channels of SAM's upscaling at twice and at four times the embedding's grid."""
CNN_CHANNELS = (128, 64)
"""Those of the CNN head."""


def few_shot(parts: Parts, settings: FewShotSettings) -> Head:
    """The few-shot decoder; the bundled encoder's own where there is one."""
    if parts.fusion is not None:
        decoder = FusionDecoder(parts.mask_decoder, parts.prompt_encoder, parts.fusion)
        return FusionHead(decoder, parts.class_count).eval()
    return FewShotHead(TokenDecoder(parts.mask_decoder, parts.prompt_encoder), parts.class_count, settings)


def autosam_vit(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's mask decoder with tokens per class."""
    return AutoSamViTHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, settings, _fine(parts, settings))


def autosam_cnn(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's convolutions."""
    return AutoSamCnnHead(parts.class_count, settings, _fine(parts, settings, CNN_CHANNELS))


def autosam_linear(parts: Parts, settings: AutoSamSettings) -> Head:
    """AutoSAM's linear readout."""
    return AutoSamLinearHead(parts.mask_decoder, parts.class_count, settings, _fine(parts, settings))


def adapted(parts: Parts, settings: ClassTokenSettings) -> Head:
    """The decoder of LoRA and Cheap Lunch, with the encoder's updates where there are any."""
    lora = new_factors(parts.architecture, settings.rank) if settings.rank else None
    return ClassTokenHead(parts.mask_decoder, parts.prompt_encoder, parts.class_count, lora, _fine(parts))


def pixel_classifier(parts: Parts, settings: PixelClassifierSettings) -> Head:
    """Logistic regression, which needs nothing of SAM's decoder."""
    return PixelClassifierHead(parts.class_count, settings, with_fine=parts.architecture.kind == COMPACT)


def _fine(
    parts: Parts, settings: AutoSamSettings | None = None, channels: tuple[int, int] = UPSCALED
) -> FineLevels | None:
    """The bundled encoder's finer levels; not with `code_faithful`."""
    faithful = settings is not None and settings.code_faithful
    return None if faithful or parts.architecture.kind != COMPACT else FineLevels(*channels)
