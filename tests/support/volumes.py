"""The real volumes of `tests/data`, in the axis order of the library."""

from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parents[1] / "data"
LABELS = ("lung2_label", "brain1_label", "i132")


@cache
def load(name: str) -> tuple[npt.NDArray[np.generic], tuple[float, float, float]]:
    """A read-only array `(z, y, x)` in its stored dtype, and the spacing `(z, y, x)` of its header in mm."""
    image = nibabel.load(DATA / f"{name}.nii.gz")
    volume = np.ascontiguousarray(np.asanyarray(image.dataobj).T)
    volume.flags.writeable = False
    z, y, x = (float(step) for step in image.header.get_zooms()[::-1])
    return volume, (z, y, x)


def crop(volume: npt.NDArray[np.generic], margin: int = 2) -> npt.NDArray[np.generic]:
    """The bounding box of the nonzero voxels plus a margin, for oracles too slow for the whole volume."""
    slices = []
    for positions, size in zip(np.nonzero(volume), volume.shape, strict=True):
        slices.append(slice(max(0, positions.min() - margin), min(size, positions.max() + 1 + margin)))
    return volume[tuple(slices)]
