"""Files of our own, mutated: none of them may do worse than be refused in one line."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from core.mutations import mutated
from safetensors.torch import save_file

from FewShotSAMLib.cohort.plan import Row
from FewShotSAMLib.cohort.state import DONE, CohortPaths, row_status
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.plain_json import dumps_with_digest
from FewShotSAMLib.engine.model_file import parse_model
from FewShotSAMLib.engine.pace import measured, remembered
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.cache import EmbeddingCache
from FewShotSAMLib.sam.checkpoint import _check_finite, _check_sums, read_state_dict
from FewShotSAMLib.worker.protocol import Request as Message
from FewShotSAMLib.worker.protocol import encode_message, parse_event, parse_message
from FewShotSAMLib.workflow.autosave import leftovers
from FewShotSAMLib.workflow.job_folder import AUTOSAVE, JobFolder
from FewShotSAMLib.workflow.model_library import read_entry
from FewShotSAMLib.workflow.notes import Notes

GOOD = {"refused", "unchanged", "made again", "read", "passed over"}
SHAPE = (4, 3, 3)


def model(content: bytes, seed: int) -> str:
    """A few-shot model: refused, whatever was changed."""
    changed = mutated(content, seed)
    try:
        parse_model(changed, "m.fewshot")
    except BadInputError as error:
        return "refused" if error.hint and len(str(error)) < 600 else f"long: {error}"
    return "unchanged" if changed == content else "read"


def attempt(one: Callable[[int], str], seed: int) -> str:
    """What came of one mutation; an exception that a user would see as a bug by its name."""
    try:
        return one(seed)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"{type(error).__name__}: {error}"[:200]


def small_files(folder: Path) -> dict[str, Callable[[int], str]]:
    """What tries mutations of each kind of file of ours, by its name; given a seed it says what came of one."""
    found: dict[str, Callable[[int], str]] = {}
    makers = {
        "files of the cache": cache,
        "records of unsaved work": record,
        "checkpoints (.pth)": lambda place: checkpoint(place / "a.pth"),
        "checkpoints (.safetensors)": lambda place: checkpoint(place / "a.safetensors"),
        "reports of cohorts": cohort_record,
        "times of earlier runs": pace,
        "remembered digests": digests,
        "heads of few-shot models": model_head,
    }
    for name, make in makers.items():
        place = folder / name.replace(" ", "-").replace("(", "").replace(")", "")
        place.mkdir()
        found[name] = make(place)
    return found | {"notes in scenes": notes, "lines of the protocol": line}


def checkpoint(path: Path) -> Callable[[int], str]:
    """Weights of a user's own: refused where they are not whole; .safetensors has no checksums, so that numbers may be
    others, but finite ones."""
    stored = {"a": torch.arange(48.0).reshape(6, 8), "b": torch.ones(3)}
    if path.suffix == ".pth":
        torch.save(stored, path)
    else:
        save_file(stored, path)
    content = path.read_bytes()

    def one(seed: int) -> str:
        path.write_bytes(mutated(content, seed))
        try:
            found = read_state_dict(path)
            _check_sums(path)
            _check_finite(path, found)
        except BadInputError:
            return "refused"
        is_same = found.keys() == stored.keys() and all(torch.equal(found[name], stored[name]) for name in stored)
        return "unchanged" if is_same else "read" if path.suffix == ".safetensors" else "trusted"

    return one


def cohort_record(folder: Path) -> Callable[[int], str]:
    """A row's report: done only where it is as it was written."""
    paths, row = CohortPaths(folder), Row("a", folder / "v.nrrd")
    paths.rows.mkdir()
    row.output(folder).write_bytes(b"result")
    report: dict[str, Any] = {"slices": [{"confidence": 0.5, "index": 1, "origin": "predicted"}], "training": {}}
    report |= {"segments": [{"name": "a", "volume_ml": 2.5}], "warnings": [], "seconds": {"total": 1.5}}
    report |= {"mean_confidence": 0.5, "made_of": "key"}
    report |= {"written": {"bytes": 6, "modified_ns": row.output(folder).stat().st_mtime_ns}}
    content = dumps_with_digest(report).encode()

    def one(seed: int) -> str:
        paths.record(row).write_bytes(mutated(content, seed))
        state, found = row_status(row, "key", paths)
        if state != DONE:
            return "passed over"
        return "unchanged" if found == report else "trusted"

    return one


def pace(folder: Path) -> Callable[[int], str]:
    """How long runs took: times that can be, or none."""
    content = json.dumps([{"method": "few-shot", "encoder": "tiny", "device": "cpu", "learning": 3.5}]).encode()

    def one(seed: int) -> str:
        (folder / "pace.json").write_bytes(mutated(content, seed))
        found = remembered(folder)
        good = all(math.isfinite(value) and value >= 0 for each in found for value in measured(each).values())
        return ("read" if found else "passed over") if good else "trusted"

    return one


def digests(folder: Path) -> Callable[[int], str]:
    """Digests of weights: whatever it holds, there is one, or the file is hashed again."""
    path = folder / "model-hashes.json"
    content = json.dumps({str((("a", 1, 2, 3, 4, 5),)): "0" * 64}).encode()

    def one(seed: int) -> str:
        path.write_bytes(mutated(content, seed))
        found = model_files._read_hashes(path)
        return "read" if found else "passed over"

    return one


def model_head(folder: Path) -> Callable[[int], str]:
    """What a list of models shows."""
    path, segments = folder / "m.fewshot", [{"id": "a", "name": "a", "color": [1, 0, 0], "label_value": 1}]
    header = {"method": "few-shot", "encoder": "tiny", "plane": "axial", "segments": segments}
    text = json.dumps({"__metadata__": {"fewshotsam": json.dumps(header)}}).encode()
    content = struct.pack("<Q", len(text)) + text

    def one(seed: int) -> str:
        path.write_bytes(mutated(content, seed))
        try:
            read_entry(path)
        except BadInputError:
            return "refused"
        return "read"

    return one


def notes(seed: int) -> str:
    """What a scene keeps beside the painting."""
    kept = Notes(axis=0, applied_axis=0, applied={3: ({"a": 5},)}, unticked={2}, empty={7}, absent={"a": {1}})
    Notes.from_text(mutated(kept.to_text().encode(), seed).decode("utf-8", "replace"))
    return "read"


def cache(folder: Path) -> Callable[[int], str]:
    """A file of the embedding cache: what it gives is what was stored, or it is asked to be made again."""
    stored = np.arange(2 * np.prod(SHAPE), dtype=np.float16).reshape(2, *SHAPE)
    with_store = EmbeddingCache(folder, 10**9)
    store = with_store.open("v", "k", 2, SHAPE)
    for index in range(2):
        store.write(index, stored[index])
    store.close()
    (path,) = folder.glob("*.h5")
    content = path.read_bytes()

    def one(seed: int) -> str:
        path.write_bytes(mutated(content, seed))
        opened = EmbeddingCache(folder, 10**9).open("v", "k", 2, SHAPE)
        missing = opened.missing([0, 1])
        good = [index for index in range(2) if index not in missing]
        same = not good or np.array_equal(opened.read(good), stored[good])
        opened.close()
        for damaged in folder.glob("*.damaged-*"):
            damaged.unlink()
        return ("read" if not missing else "made again") if same else "trusted"

    return one


def line(seed: int) -> str:
    """A line of the protocol, both ways."""
    parameters: dict[str, Any] = {"volume": "a.nrrd", "steps": 3, "smooth_mm": 1e30, "range": [1, 2]}
    changed = mutated(encode_message(Message("r1", "propagate", parameters)), seed)
    parse_event(changed)
    try:
        parse_message(changed)
    except BadInputError:
        return "refused"
    return "read"


def record(folder: Path) -> Callable[[int], str]:
    """What is kept of unsaved work."""
    job = JobFolder(folder)
    place = job.path / AUTOSAVE
    place.mkdir()
    files = {"painting": {"name": "painting-1.seg.nrrd", "sha256": "0" * 64}}
    known = {"place": "here", "source": "", "volume": "v", "note": "", "saved": 1.0, "files": files}
    content = json.dumps(known).encode()
    (place / "record.json").write_bytes(content)
    job._stream.close()

    def one(seed: int) -> str:
        (place / "record.json").write_bytes(mutated(content, seed))
        for each in leftovers(folder, "here"):
            try:
                each.read()
                return "trusted"
            except BadInputError:
                return "refused"
            finally:
                each.abandoned.release()
        return "passed over"

    return one
