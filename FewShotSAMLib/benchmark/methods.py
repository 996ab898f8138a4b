"""The methods that a benchmark can compare. To add one, write its function and add a line to METHODS.

A method's function takes (volume, annotation, settings) and returns the mask of the whole volume, (K, J, I) bool or
uint8, or an `Outcome` if it has details to report. It imports heavy packages inside, so that listing methods is fast.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.baselines import sam, u_net
from FewShotSAMLib.benchmark.classical import (
    fill_between_slices,
    fill_between_slices_in_slicer,
    grow_from_seeds,
    smart_interpolation,
)
from FewShotSAMLib.benchmark.few_shot import few_shot, few_shot_without
from FewShotSAMLib.benchmark.outcome import Outcome
from FewShotSAMLib.bundled.components import COMPONENTS, OF_FIRST_ANSWER
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods import registry

ContenderFunction = Callable[..., np.ndarray | Outcome]
"""Takes a volume, an annotation and settings; if `sees_truth`, also the ground truth's mask as keyword `given`."""
ENGINE = ("torch", "torchvision", "segment_anything", "h5py", "safetensors")
U_NET = ("torch", "segment_anything", "monai")
ITK_INTERPOLATION = ("itk", "itk.itkMorphologicalContourInterpolatorPython")
SLICER = ("vtk", "slicer")
INSTANT = {"steps": 0, "augmented_copies": 0}
BIOMEDISA = ("biomedisa", "mpi4py", "pyopencl", "numba", "cv2", "medpy")


@dataclass(frozen=True)
class Contender:
    """A way to segment a volume from painted slices.

    title: for tables and figures. packages: modules imported before the clock starts; if one is missing, the error
    names `extra`, which installs it. needs_encoder: whether it runs once per encoder. needs_prompts: whether the
    encoder's decoder must answer points and boxes. sees_truth: whether it is prompted on every slice from the truth, as
    a person would do, so that the comparison is unfair. options: job parameters of one of the engine's own methods;
    only these leave a few-shot model that can be applied to another volume. within_only: why such a method is still not
    measured there, unless slices are painted there, too. transfers: whether it can use a model of another volume
    together with painted slices.
    """

    name: str
    title: str
    run: ContenderFunction
    needs_encoder: bool = False
    packages: tuple[str, ...] = field(default=())
    extra: str = "benchmark"
    needs_prompts: bool = False
    sees_truth: bool = False
    options: Mapping[str, Any] | None = None
    within_only: str = ""
    transfers: bool = False


def _of_engine(name: str, title: str, **options: Any) -> Contender:
    """Return a method of FewShotSAM itself, given its job's parameters."""
    return Contender(name, title, partial(few_shot, **options), True, ENGINE, "engine", options=options)


def _without(component: str) -> Contender:
    """Return the method without a component; those of the first answer without training, too, as that would make up for
    some of the loss."""
    options: dict[str, Any] = INSTANT if component in OF_FIRST_ANSWER else {}
    title = f"FewShotSAM{', no training steps,' if options else ''} without {component}"
    run = partial(few_shot_without, component, **options)
    return Contender(f"few-shot-without-{component}", title, run, True, ENGINE, "engine")


def _zero_shot(name: str, title: str, given: bool = False, **prompt: Any) -> Contender:
    run = partial(sam, **prompt)
    return Contender(name, title, run, True, ENGINE, "engine", needs_prompts=True, sees_truth=given)


METHODS: dict[str, Contender] = {
    method.name: method
    for method in (
        replace(_of_engine("few-shot", "FewShotSAM"), transfers=True),
        replace(
            _of_engine("few-shot-instant", "FewShotSAM, no training steps", **INSTANT),
            transfers=True,
            within_only="on another volume there is no shape to go by, so that even this one has to be trained there",
        ),
        *(
            replace(_of_engine(each.name, each.title, method=each.name), packages=(*ENGINE, *each.packages))
            for each in registry.METHODS
            if each.name != registry.DEFAULT_METHOD
        ),
        *map(_without, COMPONENTS),
        _zero_shot("sam-1-point", "SAM, 1 point", points=1),
        _zero_shot("sam-5-points", "SAM, 5 points", points=5),
        _zero_shot("sam-box", "SAM, box", box=True),
        _zero_shot("sam-1-point-given", "SAM, 1 point given on every slice", given=True, points=1),
        _zero_shot("sam-5-points-given", "SAM, 5 points given on every slice", given=True, points=5),
        _zero_shot("sam-box-given", "SAM, box given on every slice", given=True, box=True),
        Contender("u-net", "U-Net from scratch", u_net, False, U_NET, "engine,baselines"),
        Contender("fill-between-slices", "Fill between slices (ITK)", fill_between_slices, False, ITK_INTERPOLATION),
        Contender("fill-in-slicer", "Fill between slices (3D Slicer)", fill_between_slices_in_slicer, False, SLICER),
        Contender("grow-from-seeds", "Grow from seeds (3D Slicer)", grow_from_seeds, False, SLICER),
        Contender("biomedisa", "Smart interpolation (Biomedisa)", smart_interpolation, False, BIOMEDISA, "biomedisa"),
    )
}


def get_methods(names: Iterable[str], known: Mapping[str, Contender] | None = None) -> list[Contender]:
    """Return the methods with these names. Raises BadInputError, listing the known names, if one does not exist."""
    known = METHODS if known is None else known
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise BadInputError(f"There is no method “{name}”.", f"Choose one of: {', '.join(known)}.")
        chosen.append(known[name])
    return chosen


def missing_package(name: str, extra: str = "benchmark") -> str:
    """Return how to install a package that is missing; "" if it is installed. Looks it up without importing it."""
    try:
        found = importlib.util.find_spec(name.partition(".")[0]) is not None
        if found and "." in name:  # a submodule that comes with a separate package
            found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    return "" if found else f"Run: pip install 'fewshotsam[{extra}]'"


def load_packages(method: Contender) -> None:
    """Import what a method needs. Raises BadInputError, with the command that installs it, if a package is missing."""
    for package in method.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise BadInputError(
                f"The method {method.name} needs the package {package.partition('.')[0]} ({error}).",
                f"Run: pip install 'fewshotsam[{method.extra}]'",
            ) from error
