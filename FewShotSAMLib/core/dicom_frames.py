"""DICOM images as frames: each with its own position, slope and phase, whatever kind of file it comes from.

A classic file is one frame; an enhanced multi-frame file describes each frame in its functional groups
(DICOM PS3.3 C.7.6.16), a nuclear medicine file in its detector information.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError, one_line_reason
from FewShotSAMLib.core.files import shown_name
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.packages import import_package
from FewShotSAMLib.core.stored import modality_of

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
MOST_FRAMES = 100_000
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# What can be a volume: CT, MR, PET, their enhanced and converted kinds, nuclear medicine, 3D X-ray, breast and dental
# tomography, ultrasound volumes (PS3.4 B.5). All else in a folder is ignored: doses, plans, reports, screen shots.
IMAGE_CLASSES = frozenset(
    _STORAGE + end
    for end in (
        *("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "128", "130", "128.1", "20", "6.2", "13.1.1", "13.1.2"),
        *("13.1.3", "77.1.5.4", "1.2.1"),
    )
)
_CAPTURE = _STORAGE + "7"
NAMES = {
    SEGMENTATION: "segmentation (SEG)",
    LABEL_MAP: "segmentation (SEG)",
    _STORAGE + "481.2": "dose (RTDOSE)",
    _STORAGE + "481.3": "structure set (RTSTRUCT)",
    _STORAGE + "481.5": "plan (RTPLAN)",
    _CAPTURE: "secondary capture (screen shot)",
    _STORAGE + "104.1": "PDF document",
    "1.2.840.10008.1.3.10": "DICOMDIR",
}
RT_HINT = (
    "In 3D Slicer with the extension SlicerRT, load it with its images, convert it to a segmentation of binary label "
    "maps and save that as .seg.nrrd."
)
_NO_IMAGES = {"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "DOC", "OT", "REG"}
# How images at one position may differ: stack, time, acquisition, echo, diffusion, phase of the heart, kind of image.
PHASE_TAGS = (
    *("ImageType", "AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier", "TriggerTime"),
    *("DiffusionBValue", "StackID", "TemporalPositionIndex", "EffectiveEchoTime", "EchoTime", "FrameType"),
    *("FrameAcquisitionNumber", "NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"),
    *("ActualCardiacTriggerDelayTime", "DiffusionGradientOrientation", "AcquisitionTime", "ContentTime"),
    *("TemporalPositionTimeOffset", "FrameAcquisitionDateTime"),
)
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    **dict.fromkeys(("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"), "PixelMeasuresSequence"),
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept"), "PixelValueTransformationSequence"),
    **dict.fromkeys(("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"), "FrameContentSequence"),
    **dict.fromkeys(("FrameAcquisitionDateTime", "DimensionIndexValues"), "FrameContentSequence"),
    "TemporalPositionTimeOffset": "TemporalPositionSequence",
    "EffectiveEchoTime": "MREchoSequence",
    **dict.fromkeys(("DiffusionBValue", "DiffusionGradientOrientation"), "MRDiffusionSequence"),
    **dict.fromkeys(
        ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"), "CardiacSynchronizationSequence"
    ),
    "ActualCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
}
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")
# By their ImageType; a gamma camera's slices have the type RECON TOMO.
_NUCLEAR_MEDICINE, _PROJECTIONS = _STORAGE + "20", {"STATIC", "DYNAMIC", "GATED", "WHOLE BODY", "TOMO", "GATED TOMO"}
_UID = re.compile(r"[0-9.]{1,64}")
_VECTORS = ("EnergyWindowVector", "DetectorVector", "PhaseVector", "RRIntervalVector", "TimeSlotVector")
"""How nuclear medicine frames at one position may differ, each with a value for every frame."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice of a DICOM file. position: centre of its first pixel, LPS mm; axes: (2, 3) unit vectors along a row
    and down a column; spacing: mm along a row and down a column."""

    path: Path
    number: int
    size: tuple[int, int]
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    thickness: float | None
    gap: float | None
    scale: tuple[float, float]
    series: str
    description: str
    modality: str
    identity: tuple[Any, ...]
    phase: dict[str, str] = field(default_factory=dict)
    segment: int | None = None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        across = np.cross(self.axes[0], self.axes[1])
        return np.asarray(across / np.linalg.norm(across))

    def grid(self, count: int, step: float) -> Geometry:
        """The grid of `count` slices, `step` mm apart, of which this is the first."""
        x, y, z = self.position.tolist()
        direction = np.column_stack([*self.axes, self.normal])
        return Geometry((*self.size, count), (*self.spacing, step), (x, y, z), tuple(direction.ravel().tolist()))


@contextmanager
def lenient_pydicom() -> Iterator[Any]:
    """pydicom, which within the block also reads what violates the standard slightly, as other readers do."""
    pydicom = import_package("pydicom")
    with pydicom.config.disable_value_validation():
        yield pydicom


def read_header(path: Path) -> Any | None:
    """The dataset of a DICOM file without its pixels; None for other files, such as raw data that begins alike."""
    with lenient_pydicom() as pydicom:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            known = "SOPClassUID" in header or "Modality" in header
            is_image(header), object_kind(header)  # pydicom parses an element only when it is accessed
        except Exception as error:
            raise unreadable(path, error) from error
    return header if known else None


def sop_class(header: Any) -> str:
    """The SOP class of a dataset; "" if anonymisation blanked it."""
    meta = getattr(header, "file_meta", None)
    return str(header.get("SOPClassUID", "") or (meta.get("MediaStorageSOPClassUID", "") if meta is not None else ""))


def is_image(header: Any) -> bool:
    """Whether a dataset can be part of a volume: by its class or, if it has none, by its position."""
    if _no_slices(header):
        return False
    if uid := sop_class(header):
        return uid in IMAGE_CLASSES
    return str(header.get("Modality", "")) not in _NO_IMAGES and "ImagePositionPatient" in header


def object_kind(header: Any) -> str:
    """The kind of a DICOM object in words."""
    uid, modality = sop_class(header), modality_of(str(header.get("Modality", ""))) or "object of unknown modality"
    known = _no_slices(header) or NAMES.get(uid)
    named = import_package("pydicom").uid.UID(uid).name if _UID.fullmatch(uid) else ""
    return known or (f"{named} ({modality})" if named else modality)


def wrong_kind_error(path: Path, header: Any | None, wanted: str, hint: str) -> BadInputError:
    """The error for a file that is something other than `wanted`."""
    what = "no DICOM object" if header is None else f"a DICOM {object_kind(header)}, not {wanted}"
    return BadInputError(f"{path} is {what}.", RT_HINT if "RTSTRUCT" in what else hint)


def _no_slices(header: Any) -> str:
    """The kind of an image that does not show slices; "" for others."""
    kinds = header.get("ImageType") or ()
    if "MOSAIC" in kinds:
        return "mosaic of slices (Siemens), which dcm2niix converts"
    is_projection = sop_class(header) == _NUCLEAR_MEDICINE and not _PROJECTIONS.isdisjoint(kinds)
    return "projection of a gamma camera" if is_projection else ""


def frames_of(header: Any, path: Path) -> list[Frame]:
    """The frames of an image or a segmentation; none if it does not state its position, as with a projection.

    Raises BadInputError if what it states makes no sense.
    """
    try:
        count = int(header.get("NumberOfFrames", 1) or 1)
        per_frame = header.get("PerFrameFunctionalGroupsSequence")
        if not 0 < count <= MOST_FRAMES or (per_frame is not None and len(per_frame) != count):
            raise ValueError(f"{count} frames, but {len(per_frame or ())} descriptions of frames")
        if count > 1 and per_frame is None and "DetectorInformationSequence" not in header:
            return []
        frames = [_frame(header, path, number) for number in range(count)]
        found = [frame for frame in frames if frame is not None]
        if found and len(found) < count:
            raise ValueError(f"{count - len(found)} of its frames have no position")
    except Exception as error:
        raise unreadable(path, error) from error
    return found


def _frame(header: Any, path: Path, number: int) -> Frame | None:
    position, orientation = _place(header, number)
    spacing = _value(header, number, "PixelSpacing")
    if position is None or orientation is None or spacing is None:
        return None
    rows = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    numbers = np.concatenate([rows.ravel(), np.asarray(position, dtype=np.float64), np.asarray(spacing, np.float64)])
    if not np.isfinite(numbers).all() or min(map(float, spacing)) <= 0 or np.abs(rows).max() > 1.01:
        raise ValueError(f"its position, orientation or pixel spacing is {numbers.tolist()}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() < 0.9 or np.linalg.norm(np.cross(*rows)) < 0.5:
        raise ValueError(f"its orientation is {rows.tolist()}")
    size = (int(header.Columns), int(header.Rows))
    if min(size) < 1:
        raise ValueError(f"it has {size[0]} columns and {size[1]} rows")
    segment = _value(header, number, "ReferencedSegmentNumber")
    uid = str(header.get("SOPInstanceUID", ""))
    return Frame(
        path=path,
        number=number,
        size=size,
        position=np.array([float(value) for value in position]),
        axes=rows / lengths,
        spacing=(float(spacing[1]), float(spacing[0])),
        thickness=_positive(_value(header, number, "SliceThickness")),
        gap=_positive(_value(header, number, "SpacingBetweenSlices")),
        scale=_scale(header, number),
        series=str(header.get("SeriesInstanceUID", "")),
        description=str(header.get("SeriesDescription", "")),
        modality=str(header.get("Modality", "")),
        identity=(uid, number, *np.round(numbers[6:9], 3).tolist()) if uid else (str(path), number),
        phase=_phase(header, number),
        segment=None if segment is None else int(segment),
    )


def _place(header: Any, number: int) -> tuple[Any, Any]:
    """Position and orientation of a frame."""
    position = _value(header, number, "ImagePositionPatient")
    orientation = _value(header, number, "ImageOrientationPatient")
    if (position is None or orientation is None) and header.get("DetectorInformationSequence"):
        detector = header.DetectorInformationSequence[0]
        position, orientation = detector.get("ImagePositionPatient"), detector.get("ImageOrientationPatient")
        # Below 0 if the slices follow each other against the normal (PS3.3 C.8.4.15).
        step = float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0)
        if position and orientation and step:
            axes = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
            slices = header.get("SliceVector", list(range(1, int(header.NumberOfFrames) + 1)))
            position = np.asarray(position, dtype=np.float64) + np.cross(*axes) * step * (int(slices[number]) - 1)
    return position if position is not None and len(position) == 3 else None, orientation


def _value(header: Any, number: int, name: str) -> Any:
    """An attribute of a frame: its own, one that all frames share, or the file's; None if it is not given."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", number), ("SharedFunctionalGroupsSequence", 0)):
        sequence = header.get(groups)
        if sequence and index < len(sequence):
            item = sequence[index].get(_GROUPS.get(name, ""))
            if item and name in item[0] and item[0].get(name) is not None:
                return item[0].get(name)
    value = header.get(name)
    return None if value is None or value == "" else value


def _scale(header: Any, number: int) -> tuple[float, float]:
    slope, intercept = _value(header, number, "RescaleSlope"), _value(header, number, "RescaleIntercept")
    values = (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept))
    if not np.isfinite(values).all() or values[0] == 0:
        raise ValueError(f"its rescale slope and intercept are {values}")
    return values


def _phase(header: Any, number: int) -> dict[str, str]:
    phase = {name: str(value) for name in PHASE_TAGS if (value := _value(header, number, name)) is not None}
    for groups in _FRAME_TYPES:
        sequence = header.get("PerFrameFunctionalGroupsSequence")
        item = sequence[number].get(groups) if sequence else None
        if item:
            phase |= {name: str(item[0].get(name, "")) for name in ("FrameType", "ComplexImageComponent")}
    # With these, a multi-frame file distinguishes all of its frames, whatever they differ in.
    indices = _value(header, number, "DimensionIndexValues")
    values = [] if indices is None else np.atleast_1d(indices).tolist()
    phase |= {f"DimensionIndexValues {n}": str(value) for n, value in enumerate(values, start=1)}
    return phase | {name: str(np.atleast_1d(header[name].value)[number]) for name in _VECTORS if header.get(name)}


def _positive(value: Any) -> float | None:
    return float(value) if value is not None and value != "" and float(value) > 0 else None


def pixels_of(path: Path) -> np.ndarray:
    """The pixels of a file: (frames, rows, columns) or (frames, rows, columns, 3), not rescaled, but replaced by
    their values in the file's lookup table if it has one.

    Colours become RGB. Compressed pixels are decoded by pydicom's decoders or, where it has none for the compression,
    by GDCM in SimpleITK. Raises BadInputError if neither can, or if the data are damaged.
    """
    with lenient_pydicom() as pydicom:
        try:
            dataset = pydicom.dcmread(path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            pixels = _decoded(dataset)
            samples = int(dataset.get("SamplesPerPixel", 1))
            colours = str(dataset.get("PhotometricInterpretation", ""))
            if samples == 3 and colours.startswith("YBR"):
                pixels = pydicom.pixels.convert_color_space(pixels, colours, "RGB")
            elif colours == "PALETTE COLOR" and sop_class(dataset) != LABEL_MAP:
                pixels = pydicom.pixels.apply_color_lut(pixels, dataset)
                pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype.itemsize > 1 else pixels
                samples = pixels.shape[-1]
            elif dataset.get("ModalityLUTSequence"):
                pixels = pydicom.pixels.apply_modality_lut(pixels, dataset)
            shape = (int(dataset.Rows), int(dataset.Columns), *([samples] if samples > 1 else []))
            return pixels.reshape(-1, *shape)
        except Exception as error:
            raise unreadable(path, error) from error


def _decoded(dataset: Any) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    above = int(dataset.get("HighBit", 0)) + 1 - int(dataset.get("BitsStored", 1))
    if above > 0 and not syntax.is_compressed:  # as the standard allowed until 2006, unless it is an error
        dataset.BitsStored = int(dataset.HighBit) + 1
        pixels = np.asarray(dataset.pixel_array)
        return pixels if (pixels & ((1 << above) - 1)).any() else pixels >> above
    try:
        return np.asarray(dataset.pixel_array)
    except (RuntimeError, NotImplementedError):
        if not syntax.is_compressed:
            raise
    try:
        return _decoded_by_gdcm(dataset)
    except RuntimeError as error:
        raise ValueError(f"the compression is {syntax.name}") from error


def _decoded_by_gdcm(dataset: Any) -> np.ndarray:
    """The pixels as stored: given the file's other elements, GDCM in ITK would invert MONOCHROME1 and rescale."""
    pydicom = import_package("pydicom")
    plain = pydicom.Dataset()
    for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "BitsAllocated"):
        if name in dataset:
            plain[name] = dataset[name]
    for name in ("BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation", "PixelData"):
        plain[name] = dataset[name]
    if plain.PhotometricInterpretation == "MONOCHROME1":
        plain.PhotometricInterpretation = "MONOCHROME2"
    plain.SOPClassUID, plain.SOPInstanceUID = _CAPTURE, pydicom.uid.generate_uid()
    plain.file_meta = dataset.file_meta
    with tempfile.TemporaryDirectory(prefix="fewshotsam-") as folder:
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(Path(folder) / "pixels.dcm"))
        plain.save_as(reader.GetFileName())
        return SimpleITK.GetArrayFromImage(reader.Execute())


def unreadable(path: Path, error: Exception) -> BadInputError:
    """The error for a DICOM file that pydicom cannot make sense of."""
    what = f"it is damaged or truncated, or its compression is not known ({one_line_reason(error)})"
    return BadInputError(
        f"The DICOM file {shown_name(path)} cannot be read: {what}.", "Export the series again, uncompressed."
    )
