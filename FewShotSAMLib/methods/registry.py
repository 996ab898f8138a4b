"""All methods that can be chosen: their names, and how each makes its head. Listing them needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from FewShotSAMLib.core.errors import BadInputError

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder

    from FewShotSAMLib.bundled.fusion import FusionLayers
    from FewShotSAMLib.methods.head import Head
    from FewShotSAMLib.sam.registry import Architecture

DEFAULT_METHOD = "few-shot"


@dataclass(frozen=True)
class Parts:
    """What a head is made of: fresh copies of SAM's decoder and prompt encoder, the encoder's numbers, the segments;
    and the decoder layers that the bundled encoder has besides."""

    mask_decoder: MaskDecoder
    prompt_encoder: PromptEncoder
    architecture: Architecture
    class_count: int
    fusion: FusionLayers | None = None


@dataclass(frozen=True)
class Method:
    """One method.

    settings and head name a class of settings (all of it optional, stored in the model file as JSON) and a function of
    `heads.py` that makes the head. needs_tokens: it asks with the exemplars' few-shot tokens. adapts_encoder: it learns
    LoRA in the encoder, so that prediction needs embeddings of its own. synthesises: it learns from synthesised pairs.
    has_published_code: its settings know `code_faithful`. learning_rate: the highest of the schedule, where the
    usual one is too low for the few steps; not with `code_faithful`. compact_learning_rate, compact_steps: instead,
    with the bundled encoder. solved: its head has a `solve` instead of anything that trains in steps. packages: modules
    beyond torch's that its learning imports.
    """

    name: str
    title: str
    settings: str
    head: str
    needs_tokens: bool = False
    adapts_encoder: bool = False
    synthesises: bool = False
    has_published_code: bool = False
    learning_rate: float | None = None
    compact_learning_rate: float | None = None
    compact_steps: int | None = None
    solved: bool = False
    packages: tuple[str, ...] = ()

    def load_packages(self) -> None:
        """Import what learning needs. Raises ModuleNotFoundError, before hours of encoding rather than after them."""
        for package in self.packages:
            import_module(package)

    def new_settings(self, values: Mapping[str, Any] | None = None) -> Any:
        """Settings with these values and defaults for the rest; TypeError for a value that the method does not know."""
        return _named(self.settings)(**(values or {}))

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head as it is before training. Random weights are drawn from torch's global generator."""
        head: Head = _named(self.head)(parts, settings)
        return head


_AUTOSAM = "autosam:AutoSamSettings"
_CLASS_TOKENS, _LORA = "class_tokens:ClassTokenSettings", "class_tokens:LoraSettings"

METHODS = (
    Method("few-shot", "few-shot decoder", "few_shot:FewShotSettings", "heads:few_shot", needs_tokens=True),
    Method("autosam-vit", "AutoSAM, ViT head", _AUTOSAM, "heads:autosam_vit", has_published_code=True),
    Method(
        "autosam-cnn",
        "AutoSAM, CNN head",
        _AUTOSAM,
        "heads:autosam_cnn",
        has_published_code=True,
        compact_learning_rate=2e-3,
        compact_steps=120,
    ),
    Method(
        "autosam-linear",
        "AutoSAM, linear head",
        _AUTOSAM,
        "heads:autosam_linear",
        has_published_code=True,
        learning_rate=5e-3,
    ),
    Method(
        "cheap-lunch",
        "Cheap Lunch: synthesis and LoRA",
        _LORA,
        "heads:adapted",
        adapts_encoder=True,
        synthesises=True,
    ),
    Method("lora", "Cheap Lunch's LoRA alone", _LORA, "heads:adapted", adapts_encoder=True),
    Method("synthesis", "Cheap Lunch's synthesis alone", _CLASS_TOKENS, "heads:adapted", synthesises=True),
    Method(
        "pixel-classifier",
        "Pixel classifier",
        "pixel_classifier:PixelClassifierSettings",
        "heads:pixel_classifier",
        solved=True,
        packages=("sklearn.linear_model",),
    ),
)

METHOD_NAMES = tuple(method.name for method in METHODS)


def get_method(name: str) -> Method:
    """The method called `name`. Raises BadInputError, listing the names, where there is none."""
    for method in METHODS:
        if method.name == name:
            return method
    raise BadInputError(f"There is no method “{name}”.", f"Choose one of: {', '.join(METHOD_NAMES)}.")


def _named(name: str) -> Callable[..., Any]:
    """What `module:name` below this package stands for, imported now."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"FewShotSAMLib.methods.{module}"), attribute)
    return found
