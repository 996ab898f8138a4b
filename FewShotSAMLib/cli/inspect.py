"""`inspect`: how a volume, an annotation or a few-shot model is understood, before anything is computed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from FewShotSAMLib.cli.propagate import run_job
from FewShotSAMLib.core.facts import facts_lines


def inspect(options: argparse.Namespace) -> int:
    """`fewshotsam inspect FILE`; the file is read in a background process, in case it crashes its reader."""
    report = run_job("describe", {"path": str(Path(options.file).absolute())}, lambda event: None)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print("\n".join(model_lines(report) if report["kind"] == "few-shot model" else facts_lines(report)))
    return 0


def model_lines(facts: Mapping[str, Any]) -> list[str]:
    """A few-shot model in words."""
    window, kept = facts["normalisation"], facts["volumes_kept"]
    return [
        f"{facts['name']}: few-shot model",
        f"  Method:   {facts['method']}, encoder {facts['encoder']}",
        f"  Slices:   {facts['plane']}",
        f"  Window:   {window['kind']} {window['low']:g} to {window['high']:g}"
        + (f" ({window['why']})" if window["why"] else ""),
        *(f"  Segment {segment['label_value']}: {segment['name']}" for segment in facts["segments"]),
        f"  Images:   of {kept} volume{'' if kept == 1 else 's'}" if kept else "  Images:   none kept",
    ]
