"""Label images of several formats, in the library's order of axes."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._nifti import read_volume
from surfloss.metrics._masks import FloatArray

_NIFTI = (".nii.gz", ".nii")
_ITK = (".nrrd", ".mha")
ENDINGS = _NIFTI + _ITK


class Image(NamedTuple):
    """A volume of real numbers and where it lies."""

    voxels: npt.NDArray[Any]  # (z, y, x), or (y, x)
    affine: FloatArray  # (4, 4), from (x, y, z) in voxels to mm: right, anterior, superior
    spacing: tuple[float, ...]  # in mm, in the order of the array's axes


def ending(path: Path) -> str | None:
    """Which of `ENDINGS` the file's name has."""
    return next((known for known in ENDINGS if path.name.lower().endswith(known)), None)


def needs_itk(path: Path) -> bool:
    """Whether SimpleITK has to read it."""
    return ending(path) in _ITK


def read_image(path: Path) -> Image:
    """Read a 2-D or 3-D image of real numbers.

    Raises:
        ValueError: naming the file and the fault.
    """
    if needs_itk(path):
        image = _read_itk(path)
    else:
        voxels, affine, zooms = read_volume(path)
        image = Image(voxels.T, affine, zooms[::-1])
    if image.voxels.ndim not in (2, 3):
        fail(str(path), f"shape {image.voxels.shape[::-1]}", "a 2-D or 3-D mask")
    return image


def _read_itk(path: Path) -> Image:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        fail(str(path), f"a file that cannot be read ({reason})", f"a whole {path.suffix[1:].upper()} image")
    channels = image.GetNumberOfComponentsPerPixel()
    if channels != 1 or "complex" in image.GetPixelIDTypeAsString():
        got = f"values of {channels} numbers ({image.GetPixelIDTypeAsString()})"
        fail(str(path), got, "a volume of real numbers")
    dims, spacing = image.GetDimension(), np.array(image.GetSpacing())
    affine = np.eye(4)
    if dims <= 3:  # another number of axes is refused by the caller
        affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * spacing
        affine[:dims, 3] = image.GetOrigin()
        affine[:2] *= -1  # ITK's axes lead to the left and to the back
    return Image(SimpleITK.GetArrayFromImage(image), affine, tuple(spacing[::-1].tolist()))
