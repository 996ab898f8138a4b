"""The inputs of a propagation: the painted slices, and the volume's normalisation."""

from dataclasses import replace

import numpy as np

from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.intensity import Normalisation, parse_normalisation
from FewShotSAMLib.core.plausibility import check_is_paint, odd_painting
from FewShotSAMLib.core.segmentation import Segmentation, place_on
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.core.window_fit import fitted_normalisation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.corrections import kept_normalisation
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.request import PropagateOptions


def annotation_of(painted: Segmentation, volume: Volume, options: PropagateOptions, context: JobContext) -> Annotation:
    """The painted segments on the volume's grid, with warnings about anything odd. Raises BadInputError."""
    placed, placing = place_on(painted, volume.geometry)
    check_is_paint(placed, volume)
    annotation, choosing = annotate(
        placed, options.axis, options.empty_slices, options.painted_slices, options.empty_of
    )
    for warning in (*painted.warnings, *placing, *choosing, *odd_painting(annotation)):
        context.warning(warning)
    _check_segments(annotation, context)
    return annotation


def _check_segments(annotation: Annotation, context: JobContext) -> None:
    """Warn of segments without a visible painted pixel to learn from. Raises BadInputError if none has one."""
    counts = [np.bincount(annotation.classes(index).ravel(), minlength=256) for index in annotation.painted]
    shown = {*np.flatnonzero(np.sum(counts, axis=0)).tolist()}
    silent = [s for label, s in enumerate(annotation.segmentation.segments, start=1) if label not in shown]
    if len(silent) == len(annotation.segmentation.segments):
        raise BadInputError(
            "The painted segments overlap everywhere.", "Paint a part of each without overlap, or run them one by one."
        )
    for segment in silent:
        if annotation.segmentation.mask(segment).any():
            context.warning(
                f"The segment “{segment.name}” is covered by others wherever it is painted, so it stays empty "
                "elsewhere. Paint a part of it without overlap, or run it by itself."
            )
        else:
            context.warning(f"The segment “{segment.name}” is not painted on any slice, so it stays empty.")


def normalisation_for(
    options: PropagateOptions,
    volume: Volume,
    annotation: Annotation,
    warm_start: FewShotModel | None,
    context: JobContext,
) -> Normalisation:
    """The requested normalisation; else that of the model to start from; else one that fits volume and paint."""
    chosen = options.normalisation not in (None, "auto")
    if options.normalisation is None and warm_start is not None:
        normalisation, chosen = replace(warm_start.normalisation, why="as the model learned it"), True
    else:
        normalisation = parse_normalisation(options.normalisation or "auto", volume)
    kept = kept_normalisation(volume, options, context)
    if kept is not None and not fitted_normalisation(kept, volume, annotation, True)[1]:
        return kept
    normalisation, warnings = fitted_normalisation(normalisation, volume, annotation, chosen)
    for warning in warnings:
        context.warning(warning)
    return normalisation
