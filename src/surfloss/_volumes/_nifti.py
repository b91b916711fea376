"""NIfTI files, by nibabel."""

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from surfloss._check import fail
from surfloss._volumes._volume import Fault, Volume, make_volume, millimetres, require_size

_MOST_DEFLATED = 1032  # gzip makes nothing smaller by more than this factor
_MOST_BEHIND = 2**20  # bytes behind the voxels: some writers pad
_NIFTI_2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # the size of its header, in either order of bytes
_UNITS = {1: "m", 3: "um"}  # others are mm, undefined, or no length


def read(path: Path) -> Volume:
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        volume = _read(path, file)
        if len(file.read(_MOST_BEHIND + 1)) > _MOST_BEHIND:  # to the end, where gzip compares checksums
            fail(str(path), f"shape {volume.voxels.shape} and more behind it", "a whole NIfTI volume", Fault)
    return volume


@contextmanager
def _silent() -> Iterator[None]:
    """Without nibabel's log of what it mends in a header, which is looked at here as it is."""
    from nibabel.imageglobals import logger

    def never(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(never)
    try:
        yield
    finally:
        logger.removeFilter(never)


def _read(path: Path, file: IO[bytes] | gzip.GzipFile) -> Volume:
    import nibabel

    format_ = nibabel.Nifti2Image if file.read(4) in _NIFTI_2 else nibabel.Nifti1Image
    file.seek(0)
    header = format_.header_class.from_fileobj(file, check=False)  # as it is, without mending
    if not header["magic"].item().startswith(b"n+"):
        fail(str(path), "no header of a NIfTI file with voxels", "a whole NIfTI volume", Fault)
    with _silent():
        # Not mapped: a file that is cut off meanwhile would end the process.
        image: Any = format_.from_file_map(format_.make_file_map({"image": file}), mmap=False)
    dtype, slope, intercept = image.get_data_dtype(), image.dataobj.slope, image.dataobj.inter
    if dtype.kind not in "biuf":
        fail(str(path), f"values of dtype {dtype}", "a volume of real numbers", Fault)
    # A corrupt header may promise more voxels than the file can hold.
    if math.prod(image.shape) * dtype.itemsize > _MOST_DEFLATED * path.stat().st_size:
        raise EOFError(f"too short for the shape {image.shape} of its header")
    scaled = (slope, intercept) != (1, 0)
    require_size(path, image.shape, 8 if scaled else dtype.itemsize)
    voxels = np.asanyarray(image.dataobj)
    steps = np.abs(header["pixdim"][1 : min(voxels.ndim, 3) + 1])
    mm = millimetres(path, [_UNITS.get(int(header["xyzt_units"]) & 7, "mm")])
    step = abs(slope) if scaled and dtype.kind != "f" else 0.0
    return make_volume(path, voxels, image.affine, steps, mm, step)
