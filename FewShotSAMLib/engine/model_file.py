"""Few-shot models on disk (`.fewshot`): safetensors with JSON metadata, nothing in them is ever executed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.intensity import Normalisation
from FewShotSAMLib.core.region import Box
from FewShotSAMLib.core.segmentation import Segment
from FewShotSAMLib.core.window_fit import Look
from FewShotSAMLib.methods.interface import ExemplarFeatures, State
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.methods.tokens import Token

FORMAT_VERSION = 1
METADATA_KEY = "fewshotsam"
LENGTH_BYTES = 8
"""Of the header of a safetensors file, little-endian at its beginning."""


@dataclass(frozen=True)
class FewShotModel:
    """What fine-tuning produced, with all that is needed to apply it to another volume.

    plane is "axial", "coronal" or "sagittal"; settings are those of the method; region: the part of the slices that it
    was learned on, where the encoder sees a region; look: of the volume that it was learned on, None in models of
    earlier versions; digest: SHA-256 of the file that it was read from, "" for none.
    """

    method: str
    encoder: str
    weights_hash: str
    normalisation: Normalisation
    plane: str
    settings: Any
    segments: tuple[Segment, ...]
    state: State
    region: Box | None = None
    look: Look | None = None
    digest: str = ""


def model_bytes(model: FewShotModel) -> bytes:
    """What a model's file holds."""
    state = model.state
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
        "tokens": [{"label": token.label, "slice": token.slice_index, "copy": token.copy} for token in state.tokens],
    }
    tensors = {f"head.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    if state.tokens:
        tensors["tokens"] = torch.stack([token.vector.detach().cpu().float() for token in state.tokens])
    if state.shown is not None:
        tensors["shown.features"] = state.shown.features.cpu().contiguous()
        tensors["shown.masks"] = state.shown.masks.cpu().contiguous()
    return save(tensors, metadata={METADATA_KEY: json.dumps(header)})


def save_model(model: FewShotModel, path: Path) -> None:
    """Write the model; a failure leaves nothing under the final name."""
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(model_bytes(model))  # not save_file, which makes files that nobody else may read
        except (SafetensorError, OSError) as error:
            raise BadInputError(f"{path} could not be written ({error}).", "Check the disk's free space.") from error


def load_model(path: Path) -> FewShotModel:
    """Read a model. Raises BadInputError for anything that is not a few-shot model of a version we know."""
    if not path.is_file():
        raise BadInputError(f"There is no few-shot model at {path}.", "Check the path; models end in .fewshot.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}).", "Check its permissions.") from error
    return parse_model(content, str(path))


def parse_model(content: bytes, name: str = "This") -> FewShotModel:
    """The model of a file's content. Raises BadInputError, with the file's name, as `load_model` does."""
    try:
        length = int.from_bytes(content[:LENGTH_BYTES], "little")
        header = json.loads(json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"][METADATA_KEY])
        if header["version"] > FORMAT_VERSION:
            raise BadInputError(f"{name} was saved by a newer FewShotSAM.", "Update FewShotSAM to use this model.")
        return _model_from(header, load(content), hashlib.sha256(content).hexdigest())
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(
            f"{name} is not a few-shot model ({error}).", "Choose a .fewshot file that FewShotSAM saved."
        ) from error


def _model_from(header: dict[str, Any], tensors: dict[str, torch.Tensor], digest: str) -> FewShotModel:
    vectors = tensors.pop("tokens", torch.empty(0))
    features, masks = tensors.pop("shown.features", None), tensors.pop("shown.masks", None)
    region = header.get("region")
    return FewShotModel(
        method=header["method"],
        encoder=header["encoder"],
        weights_hash=header["weights_hash"],
        normalisation=Normalisation.from_json(header["normalisation"]),
        plane=header["plane"],
        settings=get_method(header["method"]).load().settings(**header["settings"]),
        segments=tuple(_segment_from_json(entry) for entry in header["segments"]),
        state=State(
            {name.removeprefix("head."): tensor for name, tensor in tensors.items()},
            _tokens(header["tokens"], vectors),
            None if features is None or masks is None else ExemplarFeatures(features, masks),
        ),
        region=None if region is None else (region[0], region[1], region[2], region[3]),
        look=Look.from_json(header.get("look")),
        digest=digest,
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
