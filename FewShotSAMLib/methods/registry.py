"""All available methods. To add one, write its module and add a line here; listing them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from FewShotSAMLib.core.errors import BadInputError

if TYPE_CHECKING:
    from FewShotSAMLib.methods.interface import Method

DEFAULT_METHOD = "few-shot"


@dataclass(frozen=True)
class Entry:
    """place: `module:name` of the `interface.Method`, relative to this package unless fully qualified; packages:
    modules beyond torch's that it imports only when it learns."""

    name: str
    title: str
    place: str
    packages: tuple[str, ...] = ()

    def load(self) -> Method:
        """Import the method and set its name."""
        module, _, name = self.place.partition(":")
        method: Method = getattr(import_module(module if "." in module else f"{__package__}.{module}"), name)
        method.name = self.name
        return method

    def load_packages(self) -> None:
        """Import what learning needs. Raises ModuleNotFoundError before hours of encoding rather than after them."""
        for package in self.packages:
            import_module(package)


METHODS = (
    Entry("few-shot", "few-shot decoder", "few_shot:METHOD"),
    Entry("autosam-vit", "AutoSAM, ViT head", "autosam:METHOD"),
    Entry("autosam-cnn", "AutoSAM, CNN head", "autosam_convolutions:CNN"),
    Entry("autosam-linear", "AutoSAM, linear head", "autosam_convolutions:LINEAR"),
    Entry("cheap-lunch", "Cheap Lunch: synthesis and LoRA", "class_tokens:CHEAP_LUNCH"),
    Entry("lora", "Cheap Lunch's LoRA alone", "class_tokens:LORA"),
    Entry("synthesis", "Cheap Lunch's synthesis alone", "class_tokens:SYNTHESIS"),
    Entry("pixel-classifier", "Pixel classifier", "pixel_classifier:METHOD", packages=("sklearn.linear_model",)),
)

METHOD_NAMES = tuple(entry.name for entry in METHODS)


def get_method(name: str) -> Entry:
    """The method called `name`. Raises BadInputError, listing the names, if there is none."""
    for entry in METHODS:
        if entry.name == name:
            return entry
    raise BadInputError(f"There is no method “{name}”.", f"Choose one of: {', '.join(METHOD_NAMES)}.")
