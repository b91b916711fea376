"""Label images of several formats, in the library's order of axes."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes import read_volume, whole_numbers
from surfloss.metrics._masks import FloatArray


class Image(NamedTuple):
    """A label image and where it lies."""

    voxels: npt.NDArray[Any]  # (z, y, x), or (y, x)
    affine: FloatArray  # (4, 4), from (x, y, z) in voxels to mm: right, anterior, superior
    spacing: tuple[float, ...]  # in mm, in the order of the array's axes
    is_placed: bool = True  # whether the file says where the image lies


def read_image(path: Path) -> Image:
    """Read a 2-D or 3-D image of labels.

    Raises:
        ValueError, Unavailable: as `read_volume`.
    """
    volume = read_volume(path)
    if volume.voxels.ndim not in (2, 3):
        fail(str(path), f"shape {volume.voxels.shape}", "a 2-D or 3-D mask")
    return Image(whole_numbers(volume).T, volume.affine, volume.zooms[::-1], volume.is_placed)
