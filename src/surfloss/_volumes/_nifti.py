"""NIfTI files, by nibabel."""

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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

    class_ = nibabel.Nifti2Header if file.read(4) in _NIFTI_2 else nibabel.Nifti1Header
    file.seek(0)
    # Without the extensions behind it, of whose form nibabel warns.
    block = file.read(class_.template_dtype.itemsize)
    raw = class_(block, check=False)  # as it is, without mending
    if not raw["magic"].item().startswith(b"n+"):
        fail(str(path), "no header of a NIfTI file with voxels", "a whole NIfTI volume", Fault)
    with _silent():
        header = class_(block)
    # Not mapped: a file that is cut off meanwhile would end the process.
    data = nibabel.arrayproxy.ArrayProxy(file, header, mmap=False)
    dtype, slope, intercept = data.dtype, data.slope, data.inter
    if dtype.kind not in "biuf":
        fail(str(path), f"values of dtype {dtype}", "a volume of real numbers", Fault)
    # A corrupt header may promise more voxels than the file can hold.
    if math.prod(data.shape) * dtype.itemsize > _MOST_DEFLATED * path.stat().st_size:
        raise EOFError(f"too short for the shape {data.shape} of its header")
    scaled = (slope, intercept) != (1, 0)
    require_size(path, data.shape, 8 if scaled else dtype.itemsize)
    with np.errstate(all="ignore"):  # of values that overflow when they are scaled
        voxels = np.asanyarray(data)
    steps = np.abs(raw["pixdim"][1 : min(voxels.ndim, 3) + 1])
    mm = millimetres(path, [_UNITS.get(int(raw["xyzt_units"]) & 7, "mm")])
    step = abs(slope) if scaled and dtype.kind != "f" else 0.0
    if header["sform_code"] or header["qform_code"]:
        return make_volume(path, voxels, header.get_best_affine(), steps, mm, step)
    # ITK, and all that writes through it, assumes the first voxel at the origin, and axes that lead to the
    # left, to the back and up.
    affine = np.diag([*(steps * [-1, -1, 1][: len(steps)]), *np.ones(4 - len(steps))])
    return make_volume(path, voxels, affine, steps, mm, step)._replace(is_placed=False)
