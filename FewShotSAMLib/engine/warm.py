"""What the background process keeps from one job to the next: the encoder and the volume last used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.volume import Volume, read_volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.request import ComputeOptions
from FewShotSAMLib.options import AUTO, AUTOMATIC_ENCODER
from FewShotSAMLib.sam.cache import EmbeddingCache
from FewShotSAMLib.sam.encoder import Encoder, load_encoder
from FewShotSAMLib.sam.model_files import model_path
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

BYTES_PER_GB = 10**9
MEMORY_ONLY = 0


def choose_encoder(options: ComputeOptions) -> EncoderSpec:
    """The encoder asked for; see `options.AUTOMATIC_ENCODER` for `auto`."""
    if options.encoder == AUTO and options.checkpoint is not None:
        raise BadInputError("A checkpoint was given without its encoder.", hint("name-encoder"))
    return get_spec(AUTOMATIC_ENCODER if options.encoder == AUTO else options.encoder)


@dataclass(frozen=True)
class _Kept:
    """An encoder, what it was loaded from, and what was said while loading it."""

    source: tuple[Any, ...]
    encoder: Encoder
    warnings: tuple[str, ...]


def warm_encoder(options: ComputeOptions, context: JobContext) -> Encoder:
    """The encoder of an earlier job of this process if it is the same one, else a new one in its place."""
    spec = choose_encoder(options)
    file = options.checkpoint or model_path(spec)
    source = (spec.name, file_identity(file), options.device, options.precision)
    kept = cast(_Kept | None, context.state.get("encoder"))
    if kept is None or kept.source != source:
        context.state.pop("encoder", None)  # frees the memory of the old one first
        del kept
        said: list[str] = []
        encoder = load_encoder(spec, options.checkpoint, options.device, options.precision, said.append)
        kept = _Kept(source, encoder, tuple(said))
        context.state["encoder"] = kept
    for warning in kept.warnings:
        context.warning(warning)
    kept.encoder.listen(context.warning)
    return kept.encoder


def file_identity(path: Path | None) -> tuple[Any, ...] | None:
    """What changes when a file is replaced by another; None where there is no file."""
    if path is None or not path.is_file():
        return None
    status = path.stat()
    return (path.absolute(), status.st_size, status.st_mtime_ns)


def warm_volume(path: Path, context: JobContext) -> Volume:
    """The volume of the last job if the file is the same and unchanged, else the one on disk."""
    key = file_identity(path)
    kept = context.state.get("volume")
    if key is None or kept is None or kept[0] != key:
        context.state.pop("volume", None)
        context.reading(path)
        kept = (key, read_volume(path))
        context.reading(None)
        if len({frame.path for frame in kept[1].source}) > 1:  # one file of a series tells nothing of the others
            kept = (None, kept[1])
        context.state["volume"] = kept
    volume = cast(Volume, kept[1])
    for warning in volume.warnings:
        context.warning(warning)
    return volume


def open_cache(options: ComputeOptions, context: JobContext) -> EmbeddingCache:
    """The embedding cache that the options ask for."""
    limit = None if options.cache_limit_gb is None else round(options.cache_limit_gb * BYTES_PER_GB)
    return EmbeddingCache(options.cache, MEMORY_ONLY if options.no_cache else limit, context.warning)
