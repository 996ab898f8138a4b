"""DICOM segmentations (SEG): read frame by frame as segments, and written with references to the volume's series.

Names, colours and codes are kept; Slicer keeps the codes of a segment in one text, its terminology entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib import __version__
from FewShotSAMLib.core.dicom_frames import (
    LABEL_MAP,
    SEGMENTATION,
    Frame,
    frames_of,
    lenient_pydicom,
    pixels_of,
    read_header,
    sop_class,
    unreadable,
    wrong_kind_error,
)
from FewShotSAMLib.core.errors import BadInputError, one_line_reason
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.geometry import SLIGHT, Geometry
from FewShotSAMLib.core.packages import import_package
from FewShotSAMLib.core.segment import Segment, Segmentation, default_color, nothing_painted

SEG_SUFFIX = ".dcm"
REFERENCE = "Segmentation_ReferencedSeriesInstanceUID"
"""The field of a segmentation that names the DICOM series it was made on."""
_TERMINOLOGY, _TRACKING_ID, _TRACKING_UID = "TerminologyEntry", "TrackingIdentifier", "TrackingUniqueIdentifier"
_CONTEXT = "Segmentation category and type - DICOM master list"
_TISSUE = ("SCT", "85756007", "Tissue")
_MOST_SLICES, _MOST_VOXELS = 20_000, 1 << 32
_BLANKS = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "Modality"),
)
_AS_NRRD = "Choose an output name that ends in .seg.nrrd."


def read_dicom_seg(path: Path) -> Segmentation:
    """Read a SEG of any storage (binary, fractional, label map) on the grid that its frames span.

    Raises BadInputError for other DICOM objects, damaged files, and frames that lie on no common grid.
    """
    header = read_header(path)
    if header is None or sop_class(header) not in (SEGMENTATION, LABEL_MAP):
        raise wrong_kind_error(path, header, "a segmentation", "Give a .seg.nrrd, SEG or label map.")
    if header.get("NumberOfFrames") == 0:
        raise nothing_painted(path)
    frames = frames_of(header, path)
    if not frames:
        raise BadInputError(
            f"{path}: the frames of this DICOM segmentation have no position in space, as with a microscope slide.",
            "Give a segmentation of a CT, MR or PET.",
        )
    if sop_class(header) != LABEL_MAP and not all(frame.segment for frame in frames):
        raise unreadable(path, ValueError("its frames do not say which segment they show"))
    geometry, indices = _grid(frames, path)
    pixels = pixels_of(path)
    if len(pixels) <= max(frame.number for frame in frames) or pixels.shape[1:] != frames[0].size[::-1]:
        raise unreadable(path, ValueError("it holds fewer frames than its header says"))
    try:
        return _segmentation(header, path, pixels, frames, indices, geometry)
    except BadInputError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def _segmentation(
    header: Any, path: Path, pixels: np.ndarray, frames: Sequence[Frame], indices: Mapping[int, int], geometry: Geometry
) -> Segmentation:
    warnings = []
    if str(header.get("SegmentationType", "")) == "FRACTIONAL":
        pixels = pixels >= 0.5 * float(header.get("MaximumFractionalValue", 255))
        warnings.append(f"{path.name} holds fractions; voxels that are at least half filled count as the segment.")
    items = {int(item.SegmentNumber): item for item in header.get("SegmentSequence", [])}
    layers, placed = _layers(_masks(frames, indices, pixels), geometry)
    segments = tuple(_segment(number, items.get(number), layer) for number, layer in placed.items())
    if not segments:
        raise nothing_painted(path)
    references = header.get("ReferencedSeriesSequence")
    uid = str(references[0].get("SeriesInstanceUID", "")) if references else ""
    return Segmentation(layers, geometry, segments, {REFERENCE: uid} if uid else {}, tuple(warnings))


def _grid(frames: Sequence[Frame], path: Path) -> tuple[Geometry, dict[int, int]]:
    """The grid of the frames, which may be only a few of its slices, and the slice of each frame by its number."""
    first = min(frames, key=lambda frame: float(frame.position @ frames[0].normal))
    offsets = np.array([frame.position - first.position for frame in frames])
    places = offsets @ first.normal
    sideways = offsets - np.outer(places, first.normal)
    turned = max(float(np.abs(frame.axes - first.axes).max()) for frame in frames) * max(first.size)
    step = _step(frames, np.unique(np.round(places, 4)))
    if step is None or np.abs(sideways).max() >= SLIGHT * min(first.spacing) or turned >= SLIGHT:
        raise BadInputError(
            f"The frames of the DICOM segmentation {path} do not lie on one grid of even spacing.",
            "Load it in 3D Slicer with its images and save it as .seg.nrrd.",
        )
    slices = np.rint(places / step).astype(int)
    count = int(slices.max()) + 1
    if count > _MOST_SLICES or count * first.size[0] * first.size[1] > _MOST_VOXELS:
        raise unreadable(path, ValueError(f"{count} slices"))
    return first.grid(count, step), {frame.number: int(index) for frame, index in zip(frames, slices, strict=True)}


def _step(frames: Sequence[Frame], places: np.ndarray) -> float | None:
    """The distance between slices: as stated if all frames lie on such slices, else the largest with which they do."""
    stated = [value for value in (frames[0].gap, frames[0].thickness) if value]
    if len(places) == 1:
        return stated[0] if stated else 1.0
    least = float(np.diff(places).min())
    for step in (*stated, *(least / parts for parts in range(1, 11))):
        if np.abs(places / step - np.rint(places / step)).max() < SLIGHT and step <= least * 1.5:
            return step
    return None


def _masks(
    frames: Sequence[Frame], indices: Mapping[int, int], pixels: np.ndarray
) -> dict[int, list[tuple[int, np.ndarray]]]:
    """For each segment number its slices: (index, bool (rows, columns)); those without a voxel are left out."""
    masks: dict[int, list[tuple[int, np.ndarray]]] = {}
    for frame in frames:
        plane = pixels[frame.number]
        numbers = [frame.segment] if frame.segment else [int(value) for value in np.unique(plane) if value]
        for number in numbers:
            mask = plane != 0 if frame.segment else plane == number
            if mask.any():
                masks.setdefault(number, []).append((indices[frame.number], mask))
    return masks


def _layers(masks: Mapping[int, list[tuple[int, np.ndarray]]], geometry: Geometry) -> tuple[np.ndarray, dict[int, int]]:
    """Layers (L, K, J, I) in which no two segments overlap, and the layer of each segment number."""
    dtype = np.uint8 if max(masks, default=0) < 256 else np.uint16
    layers: list[np.ndarray] = []
    placed: dict[int, int] = {}
    for number in sorted(masks):
        free = (n for n, layer in enumerate(layers) if not any(layer[k][mask].any() for k, mask in masks[number]))
        placed[number] = next(free, len(layers))
        if placed[number] == len(layers):
            layers.append(np.zeros(geometry.shape, dtype))
        for index, mask in masks[number]:
            layers[placed[number]][index][mask] = number
    return np.stack(layers) if layers else np.zeros((1, *geometry.shape), dtype), placed


def _segment(number: int, item: Any, layer: int) -> Segment:
    name, color, tags = f"Segment {number}", default_color(number), {}
    if item is not None:
        name = str(item.get("SegmentLabel", "")) or name
        if len(lab := item.get("RecommendedDisplayCIELabValue") or ()) == 3:
            red, green, blue = import_package("highdicom.color").CIELabColor.from_dicom_value(tuple(lab)).to_rgb()
            color = (red / 255, green / 255, blue / 255)
        tags = {_TERMINOLOGY: entry} if (entry := _terminology(item)) else {}
        for tag, keyword in ((_TRACKING_ID, "TrackingID"), (_TRACKING_UID, "TrackingUID")):
            if item.get(keyword):
                tags[tag] = str(item.get(keyword))
    return Segment(f"Segment_{number}", name, color, number, layer, tags)


def _terminology(item: Any) -> str:
    """Slicer's text for a segment's codes: context, category, type, modifier, context, region, modifier."""
    category, kind = item.get("SegmentedPropertyCategoryCodeSequence"), item.get("SegmentedPropertyTypeCodeSequence")
    if not category or not kind:
        return ""
    region = item.get("AnatomicRegionSequence")
    parts = [
        _code_text(category),
        _code_text(kind),
        _code_text(kind[0].get("SegmentedPropertyTypeModifierCodeSequence")),
        "Anatomic codes - DICOM master list",
        _code_text(region),
        _code_text(region[0].get("AnatomicRegionModifierSequence") if region else None),
    ]
    return "~".join([_CONTEXT, *parts])


def _code_text(sequence: Any) -> str:
    if not sequence:
        return "^^"
    code = sequence[0]
    return "^".join(str(code.get(name, "")) for name in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))


def _codes(entry: str) -> list[tuple[str, ...] | None]:
    """Category, type, type's modifier, region and region's modifier of a terminology entry; None if one is blank."""
    parts = [*entry.split("~"), *[""] * 7]
    codes = [tuple(part.split("^")) for part in (parts[1], parts[2], parts[3], parts[5], parts[6])]
    return [code if len(code) == 3 and code[0] and code[1] else None for code in codes]


def check_source(source: Sequence[Frame], geometry: Geometry) -> None:
    """Raise BadInputError if a DICOM segmentation cannot refer to the volume's source. One of the first slice is made
    as a trial, to find what highdicom may miss in it."""
    import_package("highdicom")
    if len(source) != geometry.size[2]:
        raise BadInputError(
            "A DICOM segmentation refers to the DICOM series that it was made on; this volume does not come from one.",
            f"Give the DICOM folder as the volume, or {_AS_NRRD[0].lower()}{_AS_NRRD[1:]}",
        )
    headers = [read_header(path) for path in dict.fromkeys(frame.path for frame in source)]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if any(header is None or not header.get(name) for header in headers):
            raise BadInputError(
                f"A DICOM segmentation refers to its images by their UIDs; in these the {name} is blank.", _AS_NRRD
            )
    first = replace(geometry, size=(*geometry.size[:2], 1), forms=None)
    segment = Segment("Segment_1", "Segment 1", default_color(1), 1)
    _dataset(Segmentation(np.ones((1, *first.shape), np.uint8), first, (segment,)), (segment,), source[:1])


def with_reference(segmentation: Segmentation, source: Sequence[Frame]) -> Segmentation:
    """The segmentation with a field that names the DICOM series of the volume."""
    if not source or not source[0].series:
        return segmentation
    return replace(segmentation, fields={**segmentation.fields, REFERENCE: source[0].series})


def write_dicom_seg(segmentation: Segmentation, path: Path, source: Sequence[Frame]) -> list[str]:
    """Write a binary SEG whose frames are the slices of `source` that hold a segment; returns warnings.

    Raises BadInputError if the source lacks what a SEG must state, the folder is not writable or the disk is full.
    """
    check_source(source, segmentation.geometry)
    held = [segment for segment in segmentation.segments if segmentation.mask(segment).any()]
    left_out = [segment.name for segment in segmentation.segments if segment not in held]
    warnings = [f"{', '.join(left_out[:5])}: without a voxel, and left out of the DICOM file."] if left_out else []
    if not held:
        raise BadInputError("The result has no voxels, and DICOM does not allow an empty segmentation.", _AS_NRRD)
    with lenient_pydicom(), atomic_path(path) as temporary:
        _dataset(segmentation, held, source).save_as(temporary)
    return warnings


def _dataset(segmentation: Segmentation, held: Sequence[Segment], source: Sequence[Frame]) -> Any:
    """The DICOM object of the segments that hold a voxel."""
    highdicom = import_package("highdicom")
    with lenient_pydicom() as pydicom:
        images = [pydicom.dcmread(file, stop_before_pixels=True) for file in dict.fromkeys(f.path for f in source)]
        for image in images:
            for name in _BLANKS:
                if name not in image:
                    setattr(image, name, "")
        try:
            return highdicom.seg.Segmentation(
                source_images=images if "PerFrameFunctionalGroupsSequence" not in images[0] else images[:1],
                pixel_array=_numbered(segmentation, held),
                segmentation_type="BINARY",
                segment_descriptions=[_description(number, segment) for number, segment in enumerate(held, start=1)],
                series_instance_uid=highdicom.UID(),
                series_number=max(1, int(images[0].get("SeriesNumber") or 0)) + 1000,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="FewShotSAM",
                manufacturer_model_name="FewShotSAM",
                software_versions=__version__,
                device_serial_number="0",
                content_label="SEGMENTATION",
                series_description="FewShotSAM segmentation",
                plane_positions=[highdicom.PlanePositionSequence("PATIENT", frame.position) for frame in source],
                plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", source[0].axes.ravel()),
                pixel_measures=highdicom.PixelMeasuresSequence(
                    pixel_spacing=source[0].spacing[::-1],
                    slice_thickness=source[0].thickness or segmentation.geometry.spacing[2],
                    spacing_between_slices=segmentation.geometry.spacing[2],
                ),
                specific_character_set="ISO_IR 192",
            )
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            message = (
                f"This series lacks what a DICOM segmentation needs, or states it wrongly ({one_line_reason(error)})."
            )
            raise BadInputError(message, _AS_NRRD) from error


def _numbered(segmentation: Segmentation, held: Sequence[Segment]) -> np.ndarray:
    """(K, J, I) segment numbers from 1, or (K, J, I, C) uint8 if segments overlap."""
    numbers = np.zeros(segmentation.geometry.shape, np.min_scalar_type(len(held)))
    for number, segment in enumerate(held, start=1):
        mask = segmentation.mask(segment)
        if numbers[mask].any():
            return np.stack([segmentation.mask(segment) for segment in held], axis=-1).astype(np.uint8)
        numbers[mask] = number
    return numbers


def _description(number: int, segment: Segment) -> Any:
    highdicom = import_package("highdicom")
    category, kind, modifier, region, region_modifier = _codes(segment.tags.get(_TERMINOLOGY, ""))

    def concept(code: tuple[str, ...]) -> Any:
        scheme, value, meaning = code
        return highdicom.sr.CodedConcept(value, scheme, meaning[:64] or value)

    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name.replace("\\", "/")[:64],
        segmented_property_category=concept(category or _TISSUE),
        segmented_property_type=concept(kind or _TISSUE),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="FewShotSAM", family=concept(("DCM", "123109", "Artificial Intelligence")), version=__version__
        ),
        tracking_uid=segment.tags.get(_TRACKING_UID) or highdicom.UID(),
        tracking_id=segment.tags.get(_TRACKING_ID) or segment.id,
        anatomic_regions=[concept(region)] if region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in segment.color)),
    )
    if modifier:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [concept(modifier)]
    if region and region_modifier:
        described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [concept(region_modifier)]
    return described
