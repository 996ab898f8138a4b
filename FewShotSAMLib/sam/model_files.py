"""The folder of model files: which encoders are present, and whether each file is identical to the published one.

Nothing here needs torch. Downloading a file is in `download.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.identity import FileIdentity
from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.sam.registry import EncoderSpec, all_specs

HOME_VARIABLE = "FEWSHOTSAM_HOME"
_HASH_FILE = "hashes.json"
_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class ModelStatus:
    """What is known about one encoder's file without reading its content.

    `state` is "built-in" (needs no file), "absent", "partial" (an interrupted download that can be resumed), "wrong
    size" or "present".
    """

    spec: EncoderSpec
    path: Path
    state: str


def data_folder() -> Path:
    """Where FewShotSAM stores downloads: FEWSHOTSAM_HOME, or the platform's folder for user data."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("FewShotSAM", appauthor=False))


def model_folder() -> Path:
    """The folder of downloaded checkpoints. It need not exist yet."""
    return data_folder() / "models"


def model_path(spec: EncoderSpec, folder: Path | None = None) -> Path:
    """The path of an encoder's file, whether or not it is downloaded yet."""
    if not spec.is_downloaded:
        return resource_path("Models", spec.filename)
    return (folder or model_folder()) / spec.filename


def partial_path(spec: EncoderSpec, folder: Path | None = None) -> Path:
    """The unfinished download of an encoder's file."""
    return model_path(spec, folder).with_name(spec.filename + ".part")


def status() -> list[ModelStatus]:
    """The status of each encoder in the registry, by file size only; `verify` reads the files."""
    return [_status_of(spec) for spec in all_specs()]


def is_downloaded(spec: EncoderSpec, folder: Path | None = None) -> bool:
    """Whether the encoder can be used without a download, judged by the file's size alone."""
    return _status_of(spec, folder).state in ("built-in", "present")


def _status_of(spec: EncoderSpec, folder: Path | None = None) -> ModelStatus:
    path = model_path(spec, folder)
    if not spec.is_downloaded:
        state = "built-in"
    elif path.is_file():
        state = "present" if path.stat().st_size == spec.size_bytes else "wrong size"
    else:
        state = "partial" if partial_path(spec, folder).is_file() else "absent"
    return ModelStatus(spec, path, state)


def verify(spec: EncoderSpec) -> Path:
    """Read the encoder's file and compare it with the published SHA-256. Returns its path. Raises BadInputError if it
    is missing or differs."""
    path = model_path(spec)
    if not path.is_file():
        raise missing_model(spec, path)
    check_published(spec, path, sha256_of(path))
    return path


def check_published(spec: EncoderSpec, path: Path, digest: str) -> None:
    """Raise BadInputError unless `digest` is the SHA-256 that was published for this encoder's file."""
    size = path.stat().st_size
    if digest == spec.sha256:
        return
    problem = "differs from the published file"
    if size != spec.size_bytes:
        problem = f"has {size} bytes instead of {spec.size_bytes}"
    raise BadInputError(
        f"The model file {path} is damaged: it {problem}.",
        hint("replace-model", encoder=spec.name) if spec.is_downloaded else "Install FewShotSAM again.",
    )


def missing_model(spec: EncoderSpec, path: Path) -> BadInputError:
    """The error for an encoder whose file was never downloaded."""
    return BadInputError(
        f"The model file of the encoder “{spec.name}” is not at {path}.",
        hint("get-model", encoder=spec.name),
    )


def sha256_of(path: Path, check: Callable[[], None] | None = None) -> str:
    """SHA-256 of a file's bytes (hex). `check` is called between chunks and may raise to stop. Raises BadInputError if
    the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                if check is not None:
                    check()
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be read ({error.strerror}).", "Check the file and its permissions."
        ) from error
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file, taken from an earlier run if the file's identity (see `FileIdentity`) is unchanged.

    Hashing vit_h takes seconds. The hashes are stored in a small file in the data folder, if it is writable.
    """
    identity = FileIdentity([path])
    memory = _read_hashes(data_folder() / _HASH_FILE)
    if not identity.is_certain or identity.key not in memory:
        digest = sha256_of(path)
        if not (identity.is_same() and identity.is_certain):  # changed too recently for its timestamps to be reliable
            return digest
        memory[identity.key] = digest
        with suppress(OSError, FewShotSAMError):
            data_folder().mkdir(parents=True, exist_ok=True)
            with atomic_path(data_folder() / _HASH_FILE) as temporary:
                temporary.write_text(json.dumps(memory, indent=1), encoding="utf-8")
    return memory[identity.key]


def _read_hashes(path: Path) -> dict[str, str]:
    """The hashes that earlier runs stored; empty if there are none or the file is invalid."""
    try:
        memory = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(memory, dict):
        return {}
    return {key: value for key, value in memory.items() if isinstance(value, str) and len(value) == 64}
