"""What the background process keeps from one job to the next: the most recently used encoder and volume."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.identity import FileIdentity, files_of_volume
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
LAST_RUN = "propagated"
"""Key of the last run in JobContext.state, see `corrections`."""


def choose_encoder(options: ComputeOptions) -> EncoderSpec:
    """The requested encoder; for `auto`, see `options.AUTOMATIC_ENCODER`. Raises BadInputError."""
    if options.encoder == AUTO and options.checkpoint is not None:
        raise BadInputError("A checkpoint was given without its encoder.", hint("name-encoder"))
    return get_spec(AUTOMATIC_ENCODER if options.encoder == AUTO else options.encoder)


@dataclass(frozen=True)
class _Kept:
    """An encoder, what it was loaded from, and the warnings issued while loading it."""

    source: tuple[Any, ...]
    file: FileIdentity
    encoder: Encoder
    warnings: tuple[str, ...]


def warm_encoder(options: ComputeOptions, context: JobContext) -> Encoder:
    """The encoder of an earlier job of this process if it is the same, else a new one, which replaces it."""
    spec = choose_encoder(options)
    source = (spec, options.checkpoint, options.device, options.precision)
    kept = cast(_Kept | None, context.state.get("encoder"))
    if kept is None or kept.source != source or not kept.file.is_same():
        context.state.pop("encoder", None)  # frees the memory of the old one first
        del kept
        warnings: list[str] = []
        file = identity_of([options.checkpoint or model_path(spec)])
        encoder = load_encoder(spec, options.checkpoint, options.device, options.precision, warnings.append)
        if file is None or not file.is_same():
            return _with_warnings(encoder, warnings, context)
        kept = _Kept(source, file, encoder, tuple(warnings))
        context.state["encoder"] = kept
    return _with_warnings(kept.encoder, kept.warnings, context)


def _with_warnings(encoder: Encoder, warnings: Iterable[str], context: JobContext) -> Encoder:
    for warning in warnings:
        context.warning(warning)
    encoder.listen(context.warning)
    return encoder


def identity_of(paths: Sequence[Path] | None) -> FileIdentity | None:
    """The current identity of these files; None if the paths are unknown or the files inaccessible."""
    try:
        return FileIdentity(paths) if paths else None
    except OSError:
        return None


def warm_volume(path: Path, context: JobContext) -> Volume:
    """The volume of the last job if all its files are the same and unchanged, else read from disk."""
    kept = cast(tuple[Path, FileIdentity, Volume] | None, context.state.get("volume"))
    if kept is not None and kept[0] == path and kept[1].is_same():
        volume = kept[2]
    else:
        context.state.pop("volume", None)
        context.state.pop(LAST_RUN, None)  # it holds the volume as well
        identity = identity_of(files_of_volume(path))
        context.reading(path)
        volume = read_volume(path, partial(context.progress, "read"))
        context.reading(None)
        if identity is not None and identity.is_same():  # else a file changed during reading
            context.state["volume"] = (path, identity, volume)
    for warning in volume.warnings:
        context.warning(warning)
    return volume


def open_cache(options: ComputeOptions, context: JobContext) -> EmbeddingCache:
    """The embedding cache that the options specify."""
    limit = None if options.cache_limit_gb is None else round(options.cache_limit_gb * BYTES_PER_GB)
    return EmbeddingCache(options.cache, MEMORY_ONLY if options.no_cache else limit, context.warning)
