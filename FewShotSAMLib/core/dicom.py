"""Reads a DICOM series as one volume: its frames of one phase, sorted by position, each with its own slope."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from FewShotSAMLib.core.dicom_frames import (
    Frame,
    frames_of,
    is_image,
    object_kind,
    pixels_of,
    read_header,
    unreadable,
    wrong_kind_error,
)
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import file_kind, head_of, is_dicom_head
from FewShotSAMLib.core.files import compound_suffix, files_below, shown_name
from FewShotSAMLib.core.geometry import Geometry, perpendicular
from FewShotSAMLib.core.hints import Hint
from FewShotSAMLib.core.integrity import MOST_EXPANSION
from FewShotSAMLib.core.packages import import_package
from FewShotSAMLib.core.stored import StoredImage

MOST_FILES = 20_000
_ALIKE = 0.1
"""Voxels by which the grids of two slices of a stack may differ at their corners."""
_SAME_PLACE = 0.01
"""Share of the distance between slices below which two of them count as being at one position."""
_UNEVEN, _FAR = 0.05, 5
"""In usual distances between slices: beyond this deviation they are uneven, beyond this gap they are two slabs."""
_SMALL_CLAIM = 64 << 20
"""Pixels of a file; so many are harmless, however few bytes they come from."""
_COVERED = 0.9
"""A phase has a slice at nearly all of the positions, at least at this share of them."""
_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".bmp")
_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_OF_OTHER_KIND = "Give the CT, MR or PET series; or load it in 3D Slicer, check its voxel size and save it as .nrrd."
_ZARR = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


Step = Callable[[int, int], None]
"""Called with the number of steps done and their total number; may raise to end the reading."""


def ignore_progress(done: int, total: int) -> None:
    """Do nothing."""


def read_dicom_folder(folder: Path, step: Step = ignore_progress) -> StoredImage:
    """Read the images in a folder and its subfolders; of several series the one with most slices, with a warning.

    Only images can be the volume. Files without a series UID count as one series. Raises BadInputError if there is
    no series, the pixel data are damaged, or several slices lie at one position and nothing tells them apart.
    """
    found = _found_in(sorted(islice(files_below(folder), MOST_FILES * 2)), folder, step)
    if not found.frames:
        raise _nothing_there(folder, found)
    return _volume(found, folder, step)


def read_dicom_file(path: Path, step: Step = ignore_progress) -> StoredImage:
    """Read the series that a file belongs to, from its folder, as 3D Slicer does; with a warning if that is more.

    Raises BadInputError for a file that is not an image, and as `read_dicom_folder` does.
    """
    found = _found_in([path, *(file for file in sorted(path.parent.iterdir()) if file != path)], path.parent, step)
    own = [frame for frame in found.frames if frame.path == path]
    if not own:
        wanted = "an image with a position"
        raise wrong_kind_error(path, read_header(path), wanted, "Give the folder of a CT, MR or PET series.")
    series = [frame for frame in found.frames if frame.series == own[0].series]
    stored = _volume(replace(found, frames=[frame for frame in series if _is_alike(frame, own[0])]), path, step)
    count, across, warnings = len(stored.voxels), sum(not _is_alike(frame, own[0]) for frame in own), []
    if across:
        warnings = [f"{across} slices of {path.name} differ from its first in their grid and were left out."]
    if len(series) > len(own):
        warnings += [f"{path.name} is one file of a DICOM series; {count} slices of it were read from its folder."]
    elif count == 1:
        warnings += ["It is a single slice of a DICOM series; its folder contains no other slice of it."]
    return replace(stored, warnings=(*stored.warnings, *warnings))


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM."""
    try:
        head, packed = head_of(path)
        return not packed and is_dicom_head(head)
    except OSError:
        return False


@dataclass(frozen=True)
class _Found:
    """What is in a folder: the frames of its images, how many images of each series do not state their position, other
    DICOM objects by their kinds, files that are unreadable or should be DICOM and are not, and all files."""

    frames: list[Frame]
    nowhere: Counter[str]
    others: Counter[str]
    damaged: list[Path]
    files: list[Path]


def _found_in(files: Iterable[Path], folder: Path, step: Step) -> _Found:
    listed = list(islice((file for file in files if file.is_file()), MOST_FILES + 1))
    if len(listed) > MOST_FILES:
        raise BadInputError(f"{folder} holds more than {MOST_FILES} files.", "Give the folder of one DICOM series.")
    found = _Found([], Counter(), Counter(), [], listed)
    for number, file in enumerate(listed):
        step(number, 2 * len(listed))
        begins = is_dicom(file)
        header = read_header(file) if begins else None
        if header is None:  # macOS adds small files of its own whose names begin with "._"
            named = compound_suffix(file) in _DICOM_SUFFIXES and not file.name.startswith("._")
            found.damaged.extend([file] if begins or named or not os.access(file, os.R_OK) else [])
        elif not is_image(header):
            found.others[object_kind(header)] += 1
        elif own := frames_of(header, file):
            found.frames.extend(own)
        else:
            found.nowhere[str(header.get("SeriesInstanceUID", ""))] += 1
    return found


def _nothing_there(folder: Path, found: _Found) -> BadInputError:
    if count := found.nowhere.total():
        return BadInputError(
            f"{folder} holds {count} DICOM images that do not state their position or pixel size.",
            "Load them in 3D Slicer, check the voxel size, and save the volume as .nrrd.",
        )
    if found.others:
        what = ", ".join(f"{count} x {name}" for name, count in found.others.most_common(4))
        return BadInputError(f"{folder} holds no DICOM image that can be a volume, only {what}.", _OF_OTHER_KIND)
    if any(file.name in _ZARR for file in found.files):
        return BadInputError(f"{folder} is a Zarr store.", "Save one of its levels with its voxel size as .nrrd.")
    visible = [file for file in found.files if not file.name.startswith(".")]
    if not visible:
        return BadInputError(f"{folder} holds no DICOM image: it is empty.", "Give the folder of one DICOM series.")
    if locked := [file for file in visible if not os.access(file, os.R_OK)]:
        text = (
            f"{folder} holds no DICOM image that can be read: the permissions of {len(locked)} files do not allow it."
        )
        return BadInputError(text, "Check the permissions of the files.")
    suffix, count = Counter(map(compound_suffix, visible)).most_common(1)[0]
    if suffix in _PICTURES:
        return BadInputError(
            f"{folder} holds {count} {suffix} pictures, no DICOM images; they do not state their voxel size.",
            "In 3D Slicer, load them with ImageStacks (extension SlicerMorph), give the voxel size and save as .nrrd.",
        )
    hint: Hint | str = "Give one of them, or a DICOM folder."
    try:
        file_kind(next(file for file in visible if compound_suffix(file) == suffix))
    except BadInputError as error:
        hint = error.hint
    return BadInputError(f"{folder} holds no DICOM image, but {len(visible)} other files ({suffix}).", hint)


def _volume(found: _Found, where: Path, step: Step) -> StoredImage:
    """The largest stack of the frames as a volume."""
    every = {frame.identity: frame for frame in reversed(found.frames)}.values()  # of two the first: the named file's
    single = list(reversed(every))
    by_series = _grouped(single, lambda frame: frame.series)
    stack = max((stack for series in by_series for stack in _stacks(series)), key=len)
    warnings: list[str] = []
    if len(stack) < len(single):
        text = f"{where.name} holds several DICOM series"
        if len(by_series) == 1:
            text = f"The slices of {where.name} differ in size, direction or pixels"
        used = repr(stack[0].description) if stack[0].description else "the largest group"
        text += f"; used {used} with {len(stack)} of {len(single)} slices. To use another one, give one of its files."
        warnings.append(text)
    if lost := found.nowhere[stack[0].series]:
        warnings.append(f"Images of the series without a position were left out: {lost}.")
    if found.damaged:
        text = f"Files next to the slices are damaged, unreadable or not DICOM: {len(found.damaged)}, such as "
        warnings.append(f"{text}{shown_name(Path(found.damaged[0].name))}. Slices may be missing.")
    stack, more = _one_phase(_sorted(stack), where)
    stack, apart = _one_slab(stack)
    geometry, uneven = _stacked_geometry(stack)
    _check_claims(stack)
    voxels = _pixels(stack, where, step)
    return StoredImage(voxels, geometry, {}, (*warnings, *more, *apart, *uneven), stack[0].modality, tuple(stack))


def _grouped(frames: Iterable[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return list(groups.values())


def _stacks(series: list[Frame]) -> list[list[Frame]]:
    """The frames of a series grouped by their in-plane grids: a localiser in the same series is a stack of its own."""
    stacks: list[list[Frame]] = []
    for frame in series:
        stack = next((stack for stack in stacks if _is_alike(frame, stack[0])), None)
        if stack is None:
            stacks.append([frame])
        else:
            stack.append(frame)
    return stacks


def _is_alike(frame: Frame, other: Frame) -> bool:
    """Whether two slices have the same size, direction and pixels, to a tenth of a pixel at the corner."""
    if frame.size != other.size:
        return False
    extent = np.array(frame.size)
    ours, theirs = (each.axes.T * each.spacing * extent for each in (frame, other))
    return bool(np.abs(ours - theirs).max() <= _ALIKE * min(frame.spacing))


def _sorted(stack: list[Frame]) -> list[Frame]:
    normal = stack[0].normal
    return sorted(stack, key=lambda frame: (float(frame.position @ normal), frame.path.name, frame.number))


def _places(stack: Sequence[Frame]) -> np.ndarray:
    """The position of each frame along the slice normal in mm."""
    normal = stack[0].normal
    return np.array([float(frame.position @ normal) for frame in stack])


def _is_new_place(stack: Sequence[Frame]) -> np.ndarray:
    """For each frame of a sorted stack but the first, whether its position differs from that of the one before."""
    gaps = np.diff(_places(stack))
    nominal = stack[0].gap or stack[0].thickness or (float(np.median(gaps)) if len(gaps) else 1.0)
    usual = min(nominal, float(gaps.max(initial=0.0))) if len(gaps) else nominal
    return np.asarray(gaps > max(_SAME_PLACE * usual, 1e-9))


def _one_phase(stack: list[Frame], where: Path) -> tuple[list[Frame], list[str]]:
    """The frames, or those of one phase, echo or time point if several share a position; and warnings."""
    used: dict[str, str] = {}
    positions = 1 + int(_is_new_place(stack).sum())
    while len(stack) > positions:
        tag, phase = _narrower(stack, positions, set(used))
        if not tag:
            raise BadInputError(
                f"{where} holds several slices at the same position.",
                "Keep the files of one phase, or load and export it in 3D Slicer.",
            )
        used[tag] = phase[0].phase.get(tag, "")
        stack = phase
    if not used:
        return stack, []
    tags = " and ".join(f"DICOM tag {_tag(name)} = {value}" for name, value in used.items())
    return stack, [
        f"{where.name} holds several images per position (phases, echoes or time points); "
        f"used those with {tags}, {len(stack)} slices."
    ]


def _narrower(stack: list[Frame], positions: int, used: set[str]) -> tuple[str, list[Frame]]:
    """A tag that divides the frames into phases, and the largest phase; "" if there is none."""
    names = [name for name in dict.fromkeys(key for frame in stack for key in frame.phase) if name not in used]
    choices = []
    for name in names:
        phase = max(_grouped(stack, lambda frame, name=name: frame.phase.get(name)), key=len)  # type: ignore[misc]
        held = 1 + int(_is_new_place(phase).sum())
        if len(phase) < len(stack) and held >= _COVERED * positions:
            if len(phase) == held:
                return name, phase
            choices.append((name, phase))
    return min(choices, key=lambda choice: len(choice[1]), default=("", []))


def _one_slab(stack: list[Frame]) -> tuple[list[Frame], list[str]]:
    """The most slices of a sorted stack without a gap as wide as several slices between them; and warnings."""
    gaps = np.diff(_places(stack))
    far = gaps > _FAR * np.median(gaps) if len(gaps) else gaps > 0
    slabs = np.split(np.array(stack, dtype=object), np.flatnonzero(far) + 1)
    most = max(slabs, key=len)
    message = (
        f"{len(slabs)} groups of slices lie up to {gaps.max(initial=0):.3g} mm apart; used the largest, {len(most)} of"
    )
    return most.tolist(), [f"{message} {len(stack)}."] if len(slabs) > 1 else []


def _tag(name: str) -> str:
    """A tag's number, and which of its values if the name ends with that."""
    keyword, *which = name.split()
    number = import_package("pydicom.datadict").tag_for_keyword(keyword) or 0
    return " value ".join([f"({number >> 16:04x},{number & 0xFFFF:04x})", *which])


def _stacked_geometry(stack: list[Frame]) -> tuple[Geometry, list[str]]:
    """The grid of a sorted stack, evenly spaced from first to last slice, and warnings if slices do not fit it."""
    first, last = stack[0], stack[-1]
    count, warnings = len(stack), []
    step = first.gap or first.thickness
    if count > 1:
        places = _places(stack)
        step = float(places[-1] - places[0]) / (count - 1)
        gaps, off = np.diff(places), np.abs(places - places[0] - step * np.arange(count)).max()
        if np.abs(gaps - step).max() > _UNEVEN * step:
            warnings.append(
                f"The slices are not evenly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm apart; a slice may be "
                f"missing); a distance of {step:.4g} mm was assumed throughout, so that slices are up to {off:.3g} mm "
                "off their position."
            )
        drift = last.position - first.position - first.normal * (places[-1] - places[0])
        if np.abs(drift).max() > 0.5 * min(first.spacing):
            warnings.append(
                f"The slices are shifted against each other by up to {np.abs(drift).max():.3g} mm (tilted gantry); "
                "positions are those of the first slice. Load and harden the volume in 3D Slicer to correct it."
            )
    elif step is None:
        step = 1.0
        warnings.append("The slice does not state its thickness; 1 mm was assumed.")
    geometry, slanted = perpendicular(first.grid(count, float(step or 1.0)), first.path)
    return geometry, [*warnings, *slanted]


def _check_claims(stack: Sequence[Frame]) -> None:
    """Raise BadInputError for a file that says it holds far more pixels than can be packed into its bytes."""
    for path, count in Counter(frame.path for frame in stack).items():
        claimed = count * math.prod(stack[0].size)
        if claimed > max(_SMALL_CLAIM, path.stat().st_size * MOST_EXPANSION):
            raise unreadable(path, ValueError(f"it is too short for {claimed} pixels"))


def _pixels(stack: Sequence[Frame], where: Path, step: Step) -> np.ndarray:
    """The rescaled voxels, (K, J, I) or (K, J, I, 3): whole numbers if all slopes and intercepts are."""
    whole = all(value == round(value) and abs(value) < 1 << 15 for frame in stack for value in frame.scale)
    rows = stack[0].size[::-1]
    voxels: np.ndarray | None = None
    open_path, content = None, np.empty(0)
    order = sorted(range(len(stack)), key=lambda index: (str(stack[index].path), stack[index].number))
    for done, index in enumerate(order):
        frame = stack[index]
        step(len(order) + done, 2 * len(order))
        if frame.path != open_path:
            open_path, content = frame.path, pixels_of(frame.path)
        if frame.number >= len(content) or content.shape[1:3] != rows:
            raise unreadable(frame.path, ValueError("it holds fewer frames than its header says"))
        plane = content[frame.number]
        if voxels is None:
            colour = plane.ndim == 3
            fits = whole and plane.dtype.kind in "iub" and plane.dtype.itemsize <= 2
            dtype = plane.dtype if colour else np.dtype(np.int32 if fits else np.float32)
            voxels = np.empty((len(stack), *plane.shape), dtype)
        if plane.shape != voxels.shape[1:]:
            raise unreadable(frame.path, ValueError("its colours are not those of the other slices"))
        slope, intercept = frame.scale
        voxels[index] = plane if plane.ndim == 3 or (slope, intercept) == (1, 0) else plane * slope + intercept
    assert voxels is not None
    return _smallest(voxels, where)


def _smallest(voxels: np.ndarray, where: Path) -> np.ndarray:
    """Convert to 16 bits, signed or else unsigned, if these hold the values."""
    if voxels.dtype != np.int32:
        return voxels
    low, high = int(voxels.min()), int(voxels.max())
    for kind in (np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return voxels.astype(kind)
    return voxels
