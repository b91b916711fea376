"""NIfTI files, read whole and with a header that makes sense, or refused."""

import math
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from surfloss._check import decimals, fail

_TOLERANCE = 1e-3  # relative: headers hold float32, and some writers round
_MOST_DEFLATED = 1032  # gzip makes nothing smaller by more than this factor


class Volume(NamedTuple):
    """What a file holds, in its own order of axes."""

    voxels: npt.NDArray[Any]  # (x, y, z), or with fewer or more axes; real numbers, scaled as the header says
    affine: npt.NDArray[np.float64]  # (4, 4), from voxels to mm
    zooms: tuple[float, ...]  # mm along x, y, z, as many as the volume has


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file (`.nii`, `.nii.gz`) of real numbers on a rectangular grid.

    Raises:
        ValueError: naming the file and the fault: it is unreadable, cut off or larger than memory, holds
            something else than real numbers, or its affine is not finite, not rectangular, or of other steps
            than the header's voxel size.
    """
    import nibabel
    from nibabel.imageglobals import LoggingOutputSuppressor

    try:
        with LoggingOutputSuppressor():  # it logs what it mends in a header, which is looked at below
            image: Any = nibabel.load(path)
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            header = image.header_class.from_fileobj(file, check=False)  # as it is, without mending
        dtype = image.get_data_dtype()
        if dtype.kind in "biuf":
            # Before memory is asked for: a corrupt header may promise more voxels than the file can hold.
            if math.prod(image.shape) * dtype.itemsize > _MOST_DEFLATED * path.stat().st_size:
                raise EOFError(f"too short for the shape {image.shape} of its header")
            voxels = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel, zlib and the file system each have their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        fail(str(path), f"a file that cannot be read ({reason})", "a whole NIfTI volume")
    if dtype.kind not in "biuf":
        fail(str(path), f"values of dtype {dtype}", "a volume of real numbers")
    dims = min(voxels.ndim, 3)
    steps = np.abs(header["pixdim"][1 : dims + 1])  # float32, in NIfTI-2 float64
    zooms = tuple(decimals(torch.from_numpy(steps)).tolist())
    _check_grid(path, image.affine, zooms)
    return Volume(voxels, image.affine, zooms)


def _check_grid(path: Path, affine: npt.NDArray[np.float64], zooms: tuple[float, ...]) -> None:
    columns = affine[:3, : len(zooms)]
    if not np.isfinite(affine).all():
        fail(str(path), f"the affine {affine.tolist()}", "finite numbers")
    steps = np.linalg.norm(columns, axis=0)
    if not (np.all(steps > 0) and np.allclose(steps, zooms, rtol=_TOLERANCE, atol=0)):
        wanted = "positive, finite and the same"
        fail(str(path), f"an affine with steps of {_mm(steps)} beside a voxel size of {_mm(zooms)}", wanted)
    for one, other in combinations((columns / steps).T, 2):
        if abs(one @ other) > _TOLERANCE:
            fail(str(path), f"an affine with the sheared axes {columns.T.tolist()}", "axes at right angles")


def _mm(steps: Any) -> str:
    return f"{' x '.join(f'{step:.4g}' for step in steps)} mm"
