"""Reads a folder of DICOM files as one volume, sorted by position along the slice normal."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import StoredImage, pixels, read_image

MOST_FILES = 20_000
_PIXEL_DATA = b"\xe0\x7f\x10\x00"  # tag (7fe0,0010), little-endian
_SERIES_UID, _DESCRIPTION = "0020|000e", "0008|103e"
# Tags by which scanners tell apart images at the same position in one series: image type, acquisition, echo, time
# point, trigger time, diffusion b-value (DICOM PS3.6).
_PHASE_TAGS = ("0008|0008", "0020|0012", "0018|0086", "0020|0100", "0018|1060", "0018|9087")


@dataclass(frozen=True)
class _Header:
    path: Path
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: tuple[float, ...]
    tags: dict[str, str]

    @property
    def normal(self) -> np.ndarray:
        return np.reshape(self.direction, (3, 3))[:, 2]

    @property
    def position(self) -> float:
        """Place along the slice normal in mm."""
        return float(self.origin @ self.normal)


def read_dicom_folder(folder: Path) -> StoredImage:
    """Read the series in a folder and its subfolders; of several the one with most slices, with a warning.

    Files without a series UID count as one series. Raises BadInputError where there is no series, the pixel data are
    damaged, or several slices lie at one position and nothing in the headers tells them apart.
    """
    headers = _read_headers(folder)
    series = _largest(headers, lambda header: (header.tags[_SERIES_UID], *_grid_key(header)))
    warnings = []
    if len(series) < len(headers):
        what = series[0].tags[_DESCRIPTION] or "the largest"
        warnings.append(
            f"{folder.name} holds several DICOM series; used {what!r} with {len(series)} of {len(headers)} files."
        )
    if len(series) == 1 and series[0].size[2] > 1:  # an enhanced, multi-frame file knows its geometry
        stored = read_image(series[0].path)
        return StoredImage(stored.voxels, stored.geometry, {}, tuple(warnings))
    series, phase_warnings = _one_phase(series, folder)
    geometry, gap_warnings = _stacked_geometry(series)
    return StoredImage(_read_pixels(series, folder), geometry, {}, (*warnings, *phase_warnings, *gap_warnings))


def _read_headers(folder: Path) -> list[_Header]:
    files = list(islice((file for file in sorted(folder.rglob("*")) if file.is_file()), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise BadInputError(f"{folder} holds more than {MOST_FILES} files.", "Give the folder of one DICOM series.")
    headers = [header for file in files if (header := _read_header(file)) is not None]
    if not headers:
        raise BadInputError(f"{folder} holds no DICOM image.", "Give the folder of one DICOM series or a volume file.")
    return headers


def _read_header(file: Path) -> _Header | None:
    """Geometry and tags of a DICOM image; None for any other file, such as a DICOMDIR or a report.

    Raises BadInputError for an image that cannot be read: left out silently, it would make a gap in the volume.
    """
    if not _is_dicom(file):
        return None
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if _PIXEL_DATA in file.read_bytes():
            raise _unreadable(file) from error
        return None
    if reader.GetDimension() != 3:
        return None
    tags = {
        tag: reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""
        for tag in (_SERIES_UID, _DESCRIPTION, *_PHASE_TAGS)
    }
    return _Header(
        file, reader.GetSize(), reader.GetSpacing(), np.array(reader.GetOrigin()), reader.GetDirection(), tags
    )


def _is_dicom(file: Path) -> bool:
    """Whether the file has the DICOM mark after its preamble (PS3.10 7.1) or starts with a group 2 or 8 element."""
    try:
        with file.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00")


def _grid_key(header: _Header) -> tuple[Hashable, ...]:
    """What slices must share to be stacked: a localiser in the same series differs in it."""
    return (header.size, *np.round(header.direction, 3).tolist(), *np.round(header.spacing[:2], 4).tolist())


def _largest(headers: Iterable[_Header], key: Callable[[_Header], Hashable]) -> list[_Header]:
    groups: dict[Hashable, list[_Header]] = defaultdict(list)
    for header in headers:
        groups[key(header)].append(header)
    return max(groups.values(), key=lambda group: sum(header.size[2] for header in group))


def _one_phase(series: list[_Header], folder: Path) -> tuple[list[_Header], list[str]]:
    """Slices sorted by position; where several share a position, those of one phase, echo or time point."""
    if not _has_doubles(series):
        return _sorted(series), []
    for tag in _PHASE_TAGS:
        phase = _largest(series, lambda header, tag=tag: header.tags[tag])  # type: ignore[misc]
        if not _has_doubles(phase):
            warning = (
                f"{folder.name} holds several images per position (phases, echoes or time points); "
                f"used those with DICOM tag ({tag.replace('|', ',')}) = {phase[0].tags[tag]}, {len(phase)} slices."
            )
            return _sorted(phase), [warning]
    raise BadInputError(
        f"{folder} holds several slices at the same position.",
        "Keep the files of one phase, or load and export it in 3D Slicer.",
    )


def _sorted(series: list[_Header]) -> list[_Header]:
    return sorted(series, key=lambda header: header.position)


def _has_doubles(series: list[_Header]) -> bool:
    gaps = np.diff([header.position for header in _sorted(series)])
    return bool((gaps < 1e-3).any())


def _stacked_geometry(series: list[_Header]) -> tuple[Geometry, list[str]]:
    first, last = series[0], series[-1]
    count, warnings = len(series), []
    thickness = first.spacing[2]
    if count > 1:
        gaps = np.diff([header.position for header in series])
        thickness = float((last.position - first.position) / (count - 1))
        if np.abs(gaps - thickness).max() > max(0.01, 0.05 * thickness):
            warnings.append(
                f"The slices are not evenly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm apart; a slice may be "
                f"missing); distances are taken as {thickness:.4g} mm throughout."
            )
        drift = last.origin - first.origin - first.normal * (last.position - first.position)
        if np.abs(drift).max() > 0.5 * min(first.spacing[:2]):
            warnings.append(
                f"The slices are shifted against each other by up to {np.abs(drift).max():.3g} mm (tilted gantry); "
                "positions are those of the first slice. Load and harden the volume in 3D Slicer to correct it."
            )
    size = (first.size[0], first.size[1], count)
    x, y, z = (float(value) for value in first.origin)
    return Geometry(size, (first.spacing[0], first.spacing[1], thickness), (x, y, z), first.direction), warnings


def _read_pixels(series: list[_Header], folder: Path) -> np.ndarray:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(header.path) for header in series])
    try:
        return pixels(reader.Execute(), folder)
    except RuntimeError as error:
        raise _unreadable(folder) from error


def _unreadable(path: Path) -> BadInputError:
    return BadInputError(
        f"The DICOM image {path} cannot be read: it is damaged or truncated, or its compression is not supported.",
        "Export the series again, uncompressed.",
    )
