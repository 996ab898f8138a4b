"""The jobs that faults are tried on: a phantom with painted slices, all outputs, few steps; and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import painted

from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.jobs import propagate
from FewShotSAMLib.engine.model_file import load_model

APPLIED = {"output": "result.seg.nrrd", "confidence": "confidence.nrrd", "report": "report.json"}
OUTPUTS = {**APPLIED, "save_model": "organs.fewshot"}
Marks = dict[str, tuple[int, int] | None]


@dataclass(frozen=True)
class Job:
    """A request, the folder and names of its outputs, and what the background process holds in memory before it."""

    command: str
    parameters: dict[str, Any]
    out: Path
    outputs: tuple[str, ...]
    state: dict[str, Any]


def prepare(folder: Path) -> dict[str, Any]:
    """Write the inputs; returns the parameters of the job."""
    (folder / "out").mkdir(exist_ok=True)
    return {
        **painted.write(folder, (2, 5), ("liver",), depth=8, seed=3),
        **{name: str(folder / "out" / file) for name, file in OUTPUTS.items()},
        "cache": str(folder / "cache"),
        "device": "cpu",
        "precision": "fp32",
        "steps": 1,
        "model_as_is": True,  # else each run learns for a minute what a cut of no file depends on
    }


def jobs(folder: Path) -> list[Job]:
    """Propagating, applying what that learned to another volume, and saving it; all have been done once."""
    parameters, state = prepare(folder), dict[str, Any]()
    propagate(parameters, JobContext(state=state))
    compute = {"cache": str(folder / "other-cache"), **{name: parameters[name] for name in ("device", "precision")}}
    model = folder / "learned.fewshot"
    model.write_bytes((folder / "out" / OUTPUTS["save_model"]).read_bytes())
    other, _ = ct_phantom((8, 40, 48), seed=4)
    write_image(other.voxels, other.geometry, folder / "other.nrrd")
    for name in ("applied", "saved"):
        (folder / name).mkdir()
    given = {name: str(folder / "applied" / file) for name, file in APPLIED.items()}
    given |= {"model": str(model), "volume": str(folder / "other.nrrd")}
    saved = {"path": str(folder / "saved" / "again.fewshot"), "model_as_is": True}
    return [
        Job("propagate", parameters, folder / "out", tuple(OUTPUTS.values()), {}),
        Job("apply", compute | given, folder / "applied", tuple(APPLIED.values()), {}),
        Job("save_model", saved, folder / "saved", ("again.fewshot",), state),
    ]


def marks(folder: Path, outputs: Sequence[str] = tuple(OUTPUTS.values())) -> Marks:
    """What tells whether an output is still the file that it was."""
    found: Marks = {}
    for file in outputs:
        path = folder / file
        found[file] = (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
    return found


def verdict(before: Marks, folder: Path) -> str:
    """ "old" or "new" where all outputs are those of one run and can be read; else what is wrong."""
    now = marks(folder, tuple(before))
    changed = {name for name in now if now[name] != before[name]}
    if changed and len(changed) < len(now):
        return f"mixed: {', '.join(sorted(changed))} changed"
    left = [path.name for path in folder.iterdir() if path.name not in before]
    if left:
        return f"left behind: {', '.join(left)}"
    for name in (name for name, mark in now.items() if mark is not None):
        path = folder / name
        if name.endswith(".seg.nrrd"):
            read_segmentation(path)
        elif name.endswith(".nrrd"):
            read_volume(path)
        elif name.endswith(".fewshot"):
            load_model(path)
        else:
            json.loads(path.read_text(encoding="utf-8"))
    return "new" if changed else "old"
