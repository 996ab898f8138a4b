"""What the background process keeps from one job to the next: the encoder and the volume last used."""

from pathlib import Path
from typing import cast

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import Volume, read_volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.request import ComputeOptions
from FewShotSAMLib.sam.cache import EmbeddingCache
from FewShotSAMLib.sam.encoder import Encoder, load_encoder, pick_device
from FewShotSAMLib.sam.models import is_downloaded
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

DEFAULT_ENCODER = "tiny"
DEFAULT_ENCODER_ON_GPU = "vit_b"
BYTES_PER_GB = 10**9
MEMORY_ONLY = 0


def choose_encoder(options: ComputeOptions) -> EncoderSpec:
    """The encoder asked for; `auto` is SAM's vit_b where a GPU and its checkpoint are at hand, else the small one."""
    if options.encoder != "auto":
        return get_spec(options.encoder)
    if options.checkpoint is not None:
        raise BadInputError("A checkpoint was given without its encoder.", "Name it too, for example --encoder vit_b.")
    large = get_spec(DEFAULT_ENCODER_ON_GPU)
    on_gpu = pick_device(options.device).type == "cuda"
    return large if on_gpu and is_downloaded(large) else get_spec(DEFAULT_ENCODER)


def warm_encoder(options: ComputeOptions, context: JobContext) -> Encoder:
    """The encoder of an earlier job of this process if it is the same one, else a new one in its place."""
    spec = choose_encoder(options)
    key = (spec.name, options.checkpoint, options.device, options.precision)
    kept = context.state.get("encoder")
    if kept is not None and kept[0] == key:
        return cast(Encoder, kept[1])
    context.state.pop("encoder", None)  # frees the memory of the old one first
    encoder = load_encoder(spec, options.checkpoint, options.device, options.precision, context.warning)
    context.state["encoder"] = (key, encoder)
    return encoder


def warm_volume(path: Path, context: JobContext) -> Volume:
    """The volume of the last job if the file is the same and unchanged, else the one on disk."""
    key = None
    if path.is_file():
        status = path.stat()
        key = (path.absolute(), status.st_size, status.st_mtime_ns)
    kept = context.state.get("volume")
    if key is None or kept is None or kept[0] != key:
        context.state.pop("volume", None)
        kept = (key, read_volume(path))
        context.state["volume"] = kept
    volume = cast(Volume, kept[1])
    for warning in volume.warnings:
        context.warning(warning)
    return volume


def open_cache(options: ComputeOptions, context: JobContext) -> EmbeddingCache:
    """The embedding cache that the options ask for."""
    limit = None if options.cache_limit_gb is None else round(options.cache_limit_gb * BYTES_PER_GB)
    return EmbeddingCache(options.cache, MEMORY_ONLY if options.no_cache else limit, context.warning)
