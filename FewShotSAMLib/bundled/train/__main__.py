"""python -m FewShotSAMLib.bundled.train: makes episodes, trains, and writes weights, recipe and log into a folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from FewShotSAMLib.bundled.train.library import VALIDATION_FIRST, EpisodeLibrary
from FewShotSAMLib.bundled.train.trainer import Recipe, Trainer


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or resume where an earlier run in the same folder stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m FewShotSAMLib.bundled.train", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for episodes, checkpoint, log and weights")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help="episodes per step (default: %(default)s)")
    parser.add_argument("--start", type=Path, help="initial weights, instead of random ones")
    parser.add_argument(
        "--validation", type=int, default=200, help="episodes reserved for validation (default: %(default)s)"
    )
    parser.add_argument(
        "--validate-every", type=int, default=1000, help="steps between validations (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--half", action="store_true", help="compute in bfloat16, on processors that support it")
    parser.add_argument(
        "--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="how many make episodes"
    )
    options = parser.parse_args(arguments)
    recipe = Recipe(seed=options.seed, steps=options.steps, batch=options.batch)
    library = EpisodeLibrary(options.output / "episodes", options.seed)
    trainer = Trainer(recipe, library, options.output, torch.device(options.device), options.start, options.half)
    held_back = range(VALIDATION_FIRST, VALIDATION_FIRST + options.validation)
    makers = library.go_on(recipe.first(trainer.step), recipe.window, options.processes)
    makers += library.fill(held_back, 1)
    try:
        trainer.run(options.validation, options.validate_every)
    finally:
        for maker in makers:
            maker.terminate()
    trainer.export(options.output / "tiny.safetensors")
    (options.output / "tiny.recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
