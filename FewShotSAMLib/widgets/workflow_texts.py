"""Texts of the workflow and the scene adapter in the user's language.

Both contain plain English without translation, as the browser app uses them as well. Slicer's tools find translatable
texts only as literals in `_("...")`, so all of them are repeated here; a test compares them.
"""

from __future__ import annotations

import functools
import re
from string import Formatter

from FewShotSAMLib.core.facts import Fact
from FewShotSAMLib.widgets import translation


def _(text: str) -> str:
    """Mark a text for Slicer's tools. It is translated when it is shown. {0}, {1}: values, in order."""
    return text


TEXTS = (
    # Costs, progress, models.
    _("{0} min"),
    _("{0} h {1} min"),
    _("No GPU is used: about {0} for {1} slices on the CPU."),
    _("No GPU is used; computing on the CPU is slower."),
    _("About {0} for {1} slices on {2}."),
    _("Memory: needs {0}, {1} free."),
    _("{0} Close other programs, or choose a smaller encoder."),
    _("{0} Registering earlier patients to this volume takes extra time."),
    _("Convert it to a numeric type."),
    _("The temporary folder {0} cannot be written ({1})."),
    _("Free some space on its disk, or choose another temporary folder."),
    _("The volume “{0}” has voxels of type {1}."),
    _("{0} cannot be written ({1})."),
    _("Free some space on the disk or choose another folder."),
    _("Choose another folder, or close the program that has the file open."),
    _("Preparing the volume"),
    _("Reading the volume"),
    _("Loading the encoder"),
    _("Encoding slices"),
    _("Encoding augmented copies"),
    _("Learning from the painted slices"),
    _("Improving the first answer"),
    _("Registering to the volume that was learned from"),
    _("Predicting slices"),
    _("Writing the result"),
    _("Inspecting this computer"),
    _("{0}, {1} of {2} MB"),
    _("Try again. If that does not help, save your work, restart, and report this with the text of the log."),
    _("An unexpected error stopped what was running: {0}."),
    _("Choose a .fewshot file that FewShotSAM saved."),
    _("{0} is not a few-shot model ({1})."),
    _("A few-shot model cannot be named “{0}”."),
    _("Use letters, digits and spaces."),
    _("Choose another name."),
    _("A few-shot model “{0}” already exists."),
    _("Check the folder and the free disk space."),
    _("{0} could not be {1} ({2})."),
    _(
        "Axis {0} is chosen, but results were applied along axis {1}. Choose {2} or automatic; to paint "
        "along {3}, undo the results or create a new segmentation."
    ),
    _("continued from the last run"),
    _("The model was saved without the image around the segments."),
    _("To use it for the next patients, propagate all slices with the few-shot decoder and save it again."),
    # Models of earlier patients.
    _("The model was saved with the images around the segments, of this patient and of earlier patients."),
    _("Share it only as you would share those volumes."),
    _("It is missing or damaged. Untick it, or restore its file."),
    _("It was saved without the image around its segments, so other volumes cannot be registered to it."),
    _("None of its segments ({0}) has the same name as one here ({1})."),
    _("The few-shot model “{0}” is no longer there. Untick it under Earlier patients, or restore its file."),
    _("The few-shot model “{0}” was used; Dice with what is painted: {1}."),
    _("So much is painted here that few-shot models of earlier volumes added nothing."),
    _("The few-shot model “{0}” was not used: {1}."),
    _("it was saved without the image around its segments, or this volume is in colour or too thin to be registered"),
    _("none of its segments has the name of a painted one"),
    _("another model already contains its volumes"),
    _("for a volume of this size, the labels of so many volumes do not fit into memory"),
    _("this volume does not resemble the one that it was learned on (correlation {0})"),
    _("its labels agree too poorly with the painted slices (Dice {0}, {1} is needed)"),
    # Painting, propagating and applying.
    _("from the start"),
    _("the first answer"),
    _("Mean confidence {0}\u00a0%."),
    _("with the encoder {0} on {1}"),
    _("{0} slices in {1} s {2}, {3}.{4}"),
    _("{0} slices were predicted again in {1}; all others are unchanged."),
    _("No visible segment is painted on the ticked slices."),
    _("Paint one, or tick its slices."),
    _("No voxel of {0} was found on {1} slices."),
    _("Paint one or two more slices between the painted ones."),
    _("Nothing was changed."),
    _("The run was cancelled."),
    _("The model was saved with the image around the segments."),
    _("Share it only as you would share the volume."),
    _("A run is under way. Wait until it ends, or cancel it."),
    _("Choose a volume and a segmentation first."),
    _("Looking for painted slices."),
    _("Choose a volume and a segmentation, and propagate again."),
    _("Undo reverts them."),
    _("{0} slices were written."),
    _("The segments painted on “{0}” were restored."),
    _("The result that was not applied was added as separate segments."),
    _("Painted segments cannot be backed up. {0}"),
    _("Save them soon."),
    _("{0} cannot be read ({1})."),
    _("{0} is damaged."),
    _("There is no other copy."),
    _("Propagate first."),
    _("There is no few-shot model yet."),
    _("There is no result to keep."),
    _("The preview was removed, and with it the result."),
    _("There is nothing to export."),
    _("Exported to {0}."),
    _("The segments of “{0}” were added."),
    _("the preview"),
    _("the run"),
    _("The {0} was removed, so {1} was discarded."),
    _("The inputs changed, so {0} was discarded."),
    _("{0} slices with applied results were changed at once. They still count as predicted, not painted."),
    _("The next result replaces them. To add slices to learn from, correct only a few at a time."),
    _("{0} slices with applied results now count as painted, because a hidden segment was shown."),
    _("Hide it again, or untick slices on which the other segments are not complete."),
    _("Slices are now painted along another axis than that of the result ({0})."),
    _("The result was not applied: {0}"),
    _("Undo the latest painting, choose axis {0}, or discard the result."),
    _("Paint the structure on a few slices first; three spread over its extent are a good start."),
    _("All painted slices are unticked. Tick those that are complete."),
    _("The slice range ends before it begins. Correct it."),
    _("Propagate again."),
    _("The result contains no segments."),
    # Messages of the scene adapter about nodes.
    _("Choose at least one segment to export."),
    _("No segment is chosen."),
    _(
        "{0} has the position of the file of volume '{1}', without the transform '{2}'. To include it, harden "
        "the transform of the volume and export again."
    ),
    _("The axes of the volume are not at right angles to each other."),
    _("Resample it, in 3D Slicer with the Resample Scalar Volume module, or choose another volume."),
    _("Choose another volume, or load it again."),
    _("The volume is no longer in the scene."),
    _("Choose another one, or create a new one."),
    _("The segmentation is no longer in the scene."),
    _(
        "Press Harden transform in the panel, or open the Data module, right-click the transform next to "
        "it and choose Harden transform; then choose the volume again."
    ),
    _("Correct it."),
    _(
        "'{0}' is under the nonlinear transform '{1}', such as Slicer adds to DICOM series with gantry tilt "
        "or irregular slice spacing. Nothing can be painted there."
    ),
    _("The transform '{0}' makes the volume flat."),
    _("{0} of the segments are no longer in the segmentation."),
    _("Undo their removal, or choose the segments again."),
    _("Segmentation '{0}' is stored as '{1}', not as voxels."),
    _(
        "Select it in the Segment Editor and accept its conversion, or make Binary labelmap the source "
        "representation in the Segmentations module."
    ),
    _("Their axes are sheared relative to each other."),
    _("Segmentation: {0}. Volume: {1}."),
    _("Segmentation '{0}' is on another grid than the volume. {1}"),
    _(
        "Create a new segmentation for this volume, or choose the volume that the segmentation was made "
        "for. To keep what is painted, open the Segment Editor module, press Specify geometry (the grid "
        "icon next to the source volume) and select this volume as source geometry."
    ),
    _("Load it again, or choose another volume."),
    _("Volume '{0}' has no voxels."),
    _("Volume '{0}' has {1} values per voxel and is not a colour volume."),
    _("Choose a volume with one value per voxel; from a time series, extract one volume first."),
    # Reasons for a volume's modality and window.
    _("DICOM modality {0}"),
    _("DICOM modality CT, but not in Hounsfield units"),
    _("looks like CT: air and soft tissue in Hounsfield units"),
    _("does not look like CT in Hounsfield units"),
    _("colour volume"),
    _("MR or other"),
    _("Segment {0}"),
)
FACT_TEXTS = (
    *(_("Size"), _("Spacing"), _("Origin"), _("Orientation"), _("Values"), _("Modality"), _("Window")),
    *(_("Segments"), _("Painted"), _("Warning")),
    _("{0} voxels (i, j, k)"),
    _("{0} mm"),
    _("{0} mm (LPS)"),
    _("{0}, oblique"),
    _("{0}, {1} to {2}"),
    _("{0} ({1})"),
    _("{0} to {1}, {2} ({3})"),
    *(_("{0}, {1} painted slice: {2}"), _("{0}, {1} painted slices: {2}")),
    _("{0}, {1} painted slice: {2}; unknown on {3}, painted for others"),
    _("{0}, {1} painted slices: {2}; unknown on {3}, painted for others"),
    _("{0}, {1} voxels"),
    _("{0}, no painted slices"),
    _("and {0} more"),
    _("along axis {0} ({1}), {2} slices"),
    _("{0}, {1}, {2} mm, window {3}..{4} ({5})"),
)
"""Labels and texts of the facts, which are looked up literally: as patterns, most of them would match anything."""


def translated(text: str) -> str:
    """A text of the workflow in the user's language, with its inserted values (such as a reason) translated as well."""
    for pattern, template in _translations():
        found = pattern.fullmatch(text)
        if found is not None:
            return template.format(*(translated(value) for value in found.groups()))
    return text


def factWords(row: Fact) -> tuple[str, str]:
    """Label and text of a fact, in the user's language."""
    text = translation._(row.text) if row.text in FACT_TEXTS else row.text
    label = translation._(row.label) if row.label in FACT_TEXTS else translated(row.label)
    return label, text.format(*(translated(value) for value in row.values))


@functools.cache
def _translations() -> list[tuple[re.Pattern[str], str]]:
    """Patterns to look for, the longest text first, and their translations; none if Slicer is in English."""
    pairs = [(text, translation._(text)) for text in sorted(TEXTS, key=len, reverse=True)]
    if all(text == other for text, other in pairs):
        return []
    return [(_pattern(text), other) for text, other in pairs]


def _pattern(template: str) -> re.Pattern[str]:
    parts = ((re.escape(text), name is not None) for text, name, _format, _conversion in Formatter().parse(template))
    return re.compile("".join(text + "(.*?)" * hasValue for text, hasValue in parts), re.DOTALL)
