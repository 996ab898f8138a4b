"""Damages files as disks, networks and careless programs do; for tests and, in bulk, by hand:

python -m core.mutations 500 [a.nii ...] (in Testing/Python): reads that many of each format, each in a limited process.
"""

import io
import json
import os
import random
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import SimpleITK

MOST_SECONDS, MOST_BYTES = 60, 4 << 30
NOBODY = 65534
SIDE = 24
PAIRS = ("pair.nhdr", "pair.mhd", "pair.hdr")
"""Headers whose voxels lie in a file beside them."""
PICTURES = ("a.png", "a.tif", "a.jpg", "a.bmp")
HDF5 = ("a.h5", "a.mnc")
OTHERS = ("a.vtk", "a.gipl", "a.mrc", *HDF5)
"""What is left to SimpleITK as a whole."""


def originals(folder: Path) -> dict[str, Path]:
    """Write a small volume in every format that can be read."""
    import nibabel
    from core import dicom_files

    from FewShotSAMLib.core.segmentation import Segment, Segmentation, write_segmentation
    from FewShotSAMLib.core.volume import read_volume

    voxels = np.random.default_rng(0).integers(-900, 900, (6, SIDE, SIDE), dtype=np.int16)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.5, 4.0))
    names = ["a.nrrd", "a.nii", "a.nii.gz", "a.mha", "raw.mha", "raw.nrrd"]
    for name in names:
        SimpleITK.WriteImage(image, str(folder / name), not name.startswith("raw"))
    nibabel.save(nibabel.Nifti2Image(voxels.T, np.diag([1.5, 1.5, 4, 1])), folder / "two.nii")
    nibabel.save(nibabel.MGHImage(voxels.T, np.diag([1.5, 1.5, 4, 1])), folder / "a.mgz")
    dicom_files.write_slice(folder / "slice.dcm", voxels[0], 0)
    dicom_files.write_multiframe(folder / "frames.dcm", voxels, range(6))
    dicom_files.write_series(folder / "series", voxels)
    volume = read_volume(folder / "series")
    layers = (voxels[np.newaxis] > 700).astype(np.uint8)
    drawn = Segmentation(layers, volume.geometry, (Segment("a", "a", (1, 0, 0), 1),))
    write_segmentation(drawn, folder / "a.seg.nrrd")
    write_segmentation(drawn, folder / "seg.dcm", volume.source)
    names += ["two.nii", "a.mgz", "slice.dcm", "frames.dcm", "a.seg.nrrd", "seg.dcm", *compressed(folder)]
    for name in ("pair.nhdr", "pair.mhd", "pair.hdr", "pair.img", *OTHERS):
        SimpleITK.WriteImage(image, str(folder / name), False)
    picture = SimpleITK.GetImageFromArray(((voxels[0] + 900) // 8).astype(np.uint8))
    for name in PICTURES:
        SimpleITK.WriteImage(picture, str(folder / name))
    return {name: folder / name for name in (*names, *PAIRS, *OTHERS, *PICTURES)}


def compressed(folder: Path) -> list[str]:
    """Write the DICOM slice with each kind of compression whose decoder is a separate library."""
    import pydicom
    from PIL import Image
    from pydicom.encaps import encapsulate

    syntaxes = {"rle.dcm": "RLELossless", "jls.dcm": "JPEGLSLossless", "j2k.dcm": "JPEG2000Lossless"}
    for name, syntax in syntaxes.items():
        dataset, uid = pydicom.dcmread(folder / "slice.dcm"), getattr(pydicom.uid, syntax)
        if name == "j2k.dcm":
            stream = io.BytesIO()
            Image.fromarray(dataset.pixel_array.astype(np.uint16)).save(stream, "JPEG2000", no_jp2=True)
            dataset.PixelData, dataset.PixelRepresentation = encapsulate([stream.getvalue()]), 0
            dataset["PixelData"].VR, dataset.file_meta.TransferSyntaxUID = "OB", uid
        else:
            dataset.compress(uid)
        dataset.save_as(folder / name)
    return list(syntaxes)


def mutated(content: bytes, seed: int) -> bytes:
    """Apply one kind of damage: bits flipped, truncated, header bytes set, header numbers changed, a piece doubled."""
    rng = random.Random(seed)
    data = bytearray(content)
    head = min(len(data), rng.choice((64, 400, 2000)))
    kind = rng.randrange(7)
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(head)] = rng.randrange(256)
    elif kind == 3:
        numbers = (0, 1, -1, 0x7FFF, 0x7FFFFFFF, -(2**31), 40000)
        struct.pack_into("<i", data, rng.randrange(max(1, head - 4)), rng.choice(numbers))
    elif kind == 4:
        _change_digits(data, head, rng)
    elif kind == 5:
        start = rng.randrange(head)
        data[start:start] = data[start : start + rng.randint(1, 40)]
    else:
        start = rng.randrange(head)
        del data[start : start + rng.randint(1, 12)]
    return bytes(data)


def placed(original: Path, folder: Path, content: bytes, seed: int) -> Path:
    """Write a mutation as a file, with its voxels next to it if it is a header that finds them by its own name; a DICOM
    file goes into a separate folder, as others would be taken for slices of its series."""
    path = folder / ("alone" if original.suffix == ".dcm" else "") / f"m-{original.name}"
    path.parent.mkdir(exist_ok=True)
    for other in path.parent.glob("*.dcm") if path.parent != folder else ():
        other.unlink()
    path.write_bytes(mutated(content, seed))
    if original.suffix == ".hdr":
        path.with_suffix(".img").write_bytes(original.with_suffix(".img").read_bytes())
    return path


def _change_digits(data: bytearray, head: int, rng: random.Random) -> None:
    digits = [place for place in range(head) if chr(data[place]).isdigit()]
    for place in rng.sample(digits, min(len(digits), rng.randint(1, 3))):
        data[place] = ord(rng.choice("0123456789-. eEnai"))


def outcome(path: Path, read: Callable[[Path], object]) -> str:
    """Return "read" or "refused"; anything else is an exception that a user would see as a bug."""
    from FewShotSAMLib.core.errors import BadInputError

    try:
        read(path)
    except BadInputError as error:
        text = str(error)
        assert error.hint and "\n" not in text and len(text) < 1500, text
        return "refused"
    return "read"


def reader_of(name: str) -> Callable[[Path], object]:
    """Return the function that reads a file of this name."""
    from FewShotSAMLib.core.segmentation import read_segmentation
    from FewShotSAMLib.core.volume import read_volume

    return read_segmentation if "seg" in name else read_volume


def _children(folder: Path, original: Path, count: int) -> Iterator[tuple[int, int, float]]:
    """Return, for each mutation, its seed, the exit status of a resource-limited child, and the seconds it took."""
    content = original.read_bytes()
    for seed in range(count):
        path = placed(original, folder, content, seed)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:  # a reader must not be able to change other files
                os.setgid(NOBODY), os.setuid(NOBODY)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                code = {"read": 10, "refused": 12}[outcome(path, reader_of(original.name))]
            except MemoryError:
                code = 13
            except BaseException as error:  # noqa: BLE001 - what a user would see as a bug is what is looked for
                Path(folder / f"bug-{original.name}-{seed}.txt").write_text(f"{type(error).__name__}: {error}")
                code = 11
            os._exit(code)
        yield seed, os.waitpid(child, 0)[1], time.monotonic() - started


def main(count: int, folder: Path, names: Sequence[str]) -> bool:
    """Print how many mutations per format, or of those named, were read, refused, and worse; whether none was."""
    good = True
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    for name, original in originals(folder).items():
        if names and name not in names:
            continue
        told: dict[str, list[int]] = {}
        slowest = 0.0
        for seed, status, seconds in _children(folder, original, count):
            code = os.waitstatus_to_exitcode(status)
            what = {10: "read", 12: "refused", 13: "memory"}.get(code, f"bug ({code})")
            told.setdefault(what, []).append(seed)
            slowest = max(slowest, seconds)
        summary = {what: len(seeds) if what in ("read", "refused") else seeds for what, seeds in told.items()}
        sys.stdout.write(f"{name:12} {json.dumps(summary)} slowest {slowest:.1f} s\n")
        sys.stdout.flush()
        good = good and not told.keys() - {"read", "refused"}
    return good


if __name__ == "__main__":
    import tempfile

    sys.exit(0 if main(int(sys.argv[1]), Path(tempfile.mkdtemp(prefix="mutations-")), sys.argv[2:]) else 1)
