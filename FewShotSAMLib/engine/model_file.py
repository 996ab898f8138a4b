"""Few-shot models on disk (`.fewshot`): safetensors with JSON metadata, nothing in them is ever executed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.intensity import Normalisation
from FewShotSAMLib.core.region import Box
from FewShotSAMLib.core.segmentation import Segment
from FewShotSAMLib.core.window_fit import Look
from FewShotSAMLib.methods.guide import Shown
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.methods.tokens import Token

FORMAT_VERSION = 1
METADATA_KEY = "fewshotsam"


@dataclass(frozen=True)
class FewShotModel:
    """What fine-tuning produced, with all that is needed to apply it to another volume.

    plane is "axial", "coronal" or "sagittal"; settings are those of the method; tensors are the head's state, tokens
    its few-shot collection (none for methods without). For the bundled encoder: region, the part of the slices that it
    was learned on; shown, the exemplars as the body's box shows them (few-shot only).
    """

    method: str
    encoder: str
    weights_hash: str
    normalisation: Normalisation
    plane: str
    settings: Any
    segments: tuple[Segment, ...]
    tokens: tuple[Token, ...]
    tensors: dict[str, torch.Tensor]
    region: Box | None = None
    shown: Shown | None = None
    look: Look | None = None

    def load_into(self, head: Head) -> None:
        """Give the head these weights and its support. Raises BadInputError where they do not fit."""
        try:
            head.load_state_dict(self.tensors)
        except RuntimeError as error:
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it anew.") from error
        head.set_support(self.tokens)


def save_model(model: FewShotModel, path: Path) -> None:
    """Write the model; a failure leaves nothing under the final name."""
    header = {
        "version": FORMAT_VERSION,
        "method": model.method,
        "encoder": model.encoder,
        "weights_hash": model.weights_hash,
        "normalisation": model.normalisation.to_json(),
        "plane": model.plane,
        "settings": asdict(model.settings),
        "segments": [_segment_to_json(segment) for segment in model.segments],
        "region": model.region,
        "look": None if model.look is None else model.look.to_json(),
        "tokens": [{"label": token.label, "slice": token.slice_index, "copy": token.copy} for token in model.tokens],
    }
    tensors = {f"head.{name}": tensor.detach().cpu().contiguous() for name, tensor in model.tensors.items()}
    if model.tokens:
        tensors["tokens"] = torch.stack([token.vector.detach().cpu().float() for token in model.tokens])
    if model.shown is not None:
        tensors["shown.features"] = model.shown.features.cpu().contiguous()
        tensors["shown.masks"] = model.shown.masks.cpu().contiguous()
    with atomic_path(path) as temporary:
        try:
            # Not save_file, which makes files that nobody else may read.
            temporary.write_bytes(save(tensors, metadata={METADATA_KEY: json.dumps(header)}))
        except (SafetensorError, OSError) as error:
            raise BadInputError(f"{path} could not be written ({error}).", "Check the disk's free space.") from error


def load_model(path: Path) -> FewShotModel:
    """Read a model. Raises BadInputError for anything that is not a few-shot model of a version we know."""
    if not path.is_file():
        raise BadInputError(f"There is no few-shot model at {path}.", "Check the path; models end in .fewshot.")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if header["version"] > FORMAT_VERSION:
            raise BadInputError(f"{path} was saved by a newer FewShotSAM.", "Update FewShotSAM to use this model.")
        return _model_from(header, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise BadInputError(
            f"{path} is not a few-shot model ({error}).", "Choose a .fewshot file that FewShotSAM saved."
        ) from error


def _model_from(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> FewShotModel:
    vectors = tensors.pop("tokens", torch.empty(0))
    features, masks = tensors.pop("shown.features", None), tensors.pop("shown.masks", None)
    region = header.get("region")
    return FewShotModel(
        method=header["method"],
        encoder=header["encoder"],
        weights_hash=header["weights_hash"],
        normalisation=Normalisation.from_json(header["normalisation"]),
        plane=header["plane"],
        settings=get_method(header["method"]).new_settings(header["settings"]),
        segments=tuple(_segment_from_json(entry) for entry in header["segments"]),
        tokens=_tokens(header["tokens"], vectors),
        tensors={name.removeprefix("head."): tensor for name, tensor in tensors.items()},
        region=None if region is None else (region[0], region[1], region[2], region[3]),
        shown=None if features is None or masks is None else Shown(features, masks),
        look=Look.from_json(header.get("look")),
    )


def _tokens(entries: Sequence[dict[str, int]], vectors: torch.Tensor) -> tuple[Token, ...]:
    return tuple(
        Token(vector, entry["label"], entry["slice"], entry["copy"])
        for entry, vector in zip(entries, vectors, strict=True)
    )


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {**asdict(segment), "tags": dict(segment.tags)}


def _segment_from_json(entry: dict[str, Any]) -> Segment:
    return Segment(**{**entry, "color": tuple(entry["color"])})
