"""Few-shot models on disk (`.fewshot`): safetensors with JSON metadata; nothing in them is ever executed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from FewShotSAMLib.core.atlas import Atlas
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.intensity import Normalisation
from FewShotSAMLib.core.region import Box
from FewShotSAMLib.core.segmentation import Segment
from FewShotSAMLib.core.window_fit import IntensityProfile
from FewShotSAMLib.engine.model_check import (
    DIGEST_KEY,
    METADATA_KEY,
    MOST_BYTES,
    check_finite,
    check_header,
    check_shapes,
    digest_of,
    finite,
    header_of,
    region_of,
    settings_of,
)
from FewShotSAMLib.methods.interface import ExemplarFeatures, State
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.methods.tokens import Token
from FewShotSAMLib.sam.finite import require_finite

FORMAT_VERSION = 4
"""4 if the file holds images of several volumes; 3 if it holds what other volumes need; 2 if it holds one volume's
image, or exemplars known for some segments only; else 1. Older versions of FewShotSAM cannot read newer formats."""
MOST_ATLASES = 8
"""Maximum number of volumes whose images are stored; registering each takes time."""
_LONGEST_REASON = 300


@dataclass(frozen=True)
class FewShotModel:
    """The result of fine-tuning, with all that is needed to apply it to another volume.

    plane is "axial", "coronal" or "sagittal"; settings are those of the method; region: the part of the slices that it
    was learned on, if the encoder sees a region; look: intensities of the volume that it was learned on, None in models
    of earlier versions; atlases: the image around the completed segments, if stored, and those of earlier volumes that
    were used, the latest first; digest: SHA-256 of the file that it was read from, "" for none.
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
    look: IntensityProfile | None = None
    atlases: tuple[Atlas, ...] = ()
    digest: str = ""


def model_bytes(model: FewShotModel) -> bytes:
    """The content of a model's file."""
    state = model.state
    header = {
        "has_digest": True,
        "version": _version_of(model),
        "method": model.method,
        "encoder": model.encoder,
        "weights_hash": model.weights_hash,
        "normalisation": model.normalisation.to_json(),
        "plane": model.plane,
        "settings": asdict(model.settings),
        "segments": [{**asdict(segment), "tags": dict(segment.tags)} for segment in model.segments],
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
        if state.shown.known is not None:
            tensors["shown.known"] = state.shown.known.cpu().contiguous()
    for name, atlas in zip(_atlas_names(len(model.atlases)), model.atlases, strict=True):
        header[name] = _atlas_to_json(atlas)
        tensors[f"{name}.grey"] = torch.from_numpy(np.ascontiguousarray(atlas.grey))
        tensors[f"{name}.classes"] = torch.from_numpy(np.ascontiguousarray(atlas.classes))
    for name, tensor in tensors.items():
        require_finite(tensor, f"The part {name} of the few-shot model")
    header = json.loads(json.dumps(header, allow_nan=False))
    header[DIGEST_KEY] = digest_of(save(tensors, metadata={METADATA_KEY: ""}), header)
    return save(tensors, metadata={METADATA_KEY: json.dumps(header)})


def _version_of(model: FewShotModel) -> int:
    """The lowest format version that can represent the model."""
    shown = model.state.shown
    if len(model.atlases) > 1:
        return 4
    if model.state.for_others:
        return 3
    return 2 if model.atlases or (shown is not None and shown.known is not None) else 1


def _atlas_names(count: int) -> list[str]:
    """Names of the atlases in a file; the first is named as in files with only one."""
    return ["atlas", *(f"atlas{number}" for number in range(2, count + 1))][:count]


def save_model(model: FewShotModel, path: Path) -> None:
    """Write the model; if that fails, an earlier file under that name is unchanged, and no new one appears."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(model_bytes(model))  # not save_file, whose files only their owner may read


def load_model(path: Path) -> FewShotModel:
    """Read a model. Raises BadInputError for anything that is not a few-shot model of a supported version."""
    if not path.is_file():
        raise BadInputError(f"There is no few-shot model at {path}.", "Check the path; it should end in .fewshot.")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise BadInputError(f"{path} has {size} bytes: no few-shot model is so large.", "Check the path.")
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}).", "Check its permissions.") from error
    return parse_model(content, str(path))


def parse_model(content: bytes, name: str = "This") -> FewShotModel:
    """Parse a model file's content. Raises BadInputError, naming the file, like `load_model`."""
    try:
        header = header_of(content)
        if header["version"] > FORMAT_VERSION:
            raise BadInputError(f"{name} was saved by a newer FewShotSAM.", "Update FewShotSAM to use this model.")
        try:
            check_header(header)
            return _model_from(header, load(content), hashlib.sha256(content).hexdigest())
        except BadInputError as error:  # an impossible segment or grid
            raise ValueError(error.message) from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(
            f"{name} is not a few-shot model ({_shortened(error)}).", "Choose a .fewshot file that FewShotSAM saved."
        ) from error


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _model_from(header: dict[str, Any], tensors: dict[str, torch.Tensor], digest: str) -> FewShotModel:
    check_finite(tensors)
    vectors = tensors.pop("tokens", torch.empty(0))
    features, masks, known = (tensors.pop(f"shown.{name}", None) for name in ("features", "masks", "known"))
    names = [name for name in _atlas_names(MOST_ATLASES) if name in header]
    atlases = tuple(
        _atlas(header[name], *(tensors.pop(f"{name}.{part}").numpy() for part in ("grey", "classes"))) for name in names
    )
    shown = None if features is None or masks is None else ExemplarFeatures(features, masks, known)
    check_shapes(shown, vectors, len(header["segments"]))
    tokens = tuple(
        Token(vector, entry["label"], entry["slice"], entry["copy"])
        for entry, vector in zip(header["tokens"], vectors, strict=True)
    )
    return FewShotModel(
        method=header["method"],
        encoder=header["encoder"],
        weights_hash=header["weights_hash"],
        normalisation=Normalisation.from_json(header["normalisation"]),
        plane=header["plane"],
        settings=settings_of(get_method(header["method"]).load().settings, header["settings"]),
        segments=tuple(Segment(**{**entry, "color": tuple(entry["color"])}) for entry in header["segments"]),
        state=State({name.removeprefix("head."): tensor for name, tensor in tensors.items()}, tokens, shown),
        region=region_of(header.get("region")),
        look=IntensityProfile.from_json(header.get("look")),
        atlases=atlases,
        digest=digest,
    )


def _atlas(header: Mapping[str, Any], grey: np.ndarray, classes: np.ndarray) -> Atlas:
    x, y, z = (finite(value) for value in header["place"])
    geometry = Geometry.from_json(header["geometry"])
    if not (grey.shape == classes.shape == geometry.shape and grey.dtype == classes.dtype == np.uint8):
        raise ValueError("the atlas does not fit its grid")
    own = header.get("normalisation")
    return Atlas(grey, classes, geometry, (x, y, z), None if own is None else Normalisation.from_json(own))


def _atlas_to_json(atlas: Atlas) -> dict[str, Any]:
    own = {} if atlas.normalisation is None else {"normalisation": atlas.normalisation.to_json()}
    return {"geometry": atlas.geometry.to_json(), "place": atlas.place, **own}
