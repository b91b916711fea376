"""What is measured: usual and hard masks for a distance transform, from a seed, at any size; and files.

Sizes and spacings are in the order (z, y, x), spacings in mm.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes import Unavailable, read_volume

Size: TypeAlias = tuple[int, ...]
Spacing: TypeAlias = tuple[float, ...]
Mask: TypeAlias = npt.NDArray[np.bool_]

VOXELS = (1.0, 1.0, 1.0)
HEAD_CT = (5.0, 0.42, 0.42)
_SEED = 0


@dataclass(frozen=True, eq=False)
class Case:
    """A mask `(z, y, x)` with its spacing; `mask` names the kind, or the file; `items` of it make a batch."""

    mask: str
    spacing: Spacing
    voxels: Mask
    items: int = 1

    @property
    def size(self) -> Size:
        return self.voxels.shape

    def batch(self) -> tuple[Mask, Spacing]:
        """The mask moved along y and x into `items` masks, `(items, *spatial)`; and the spacing of `spatial`.

        A single mask has no batch axis; masks of one slice are planes, `(items, y, x)`.
        """
        if self.items == 1:
            return self.voxels, self.spacing
        moved = (np.roll(self.voxels, (7 * i, 13 * i), axis=(1, 2)) for i in range(self.items))
        masks = np.stack(list(moved))
        return (masks[:, 0], self.spacing[1:]) if self.size[0] == 1 else (masks, self.spacing)

    def facts(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "items": self.items,
            "spacing": list(self.spacing),
            "mask": self.mask,
            "voxels": self.voxels.size,
            "foreground": float(self.voxels.mean()),
        }


def _blobs(size: Size, rng: np.random.Generator) -> Mask:
    """Ellipsoids as lesions lie in a scan: small and large, apart and merged."""
    mask = np.zeros(size, bool)
    for _ in range(12):
        squared = np.zeros((1,) * len(size), np.float32)
        for axis, (radius, centre) in enumerate(zip(rng.uniform(0.03, 0.2, 3), rng.random(3), strict=True)):
            offset = (np.arange(size[axis]) - centre * (size[axis] - 1)) / max(0.6, radius * size[axis])
            squared = squared + _along(axis, (offset**2).astype(np.float32))
        mask |= squared <= 1
    return mask


def _noise(size: Size, rng: np.random.Generator) -> Mask:
    """Half of the volume, in worm-like pieces a few voxels thick."""
    from scipy import ndimage

    smooth: npt.NDArray[np.float32] = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 3)
    return smooth > np.median(smooth)


def _corner(size: Size, rng: np.random.Generator) -> Mask:
    """One voxel of foreground, so every other one looks for the far corner."""
    mask = np.zeros(size, bool)
    mask[0, 0, 0] = True
    return mask


def _random(size: Size, rng: np.random.Generator) -> Mask:
    """Half of the voxels, each for itself."""
    return rng.random(size, np.float32) < 0.5


def _diagonal(size: Size, rng: np.random.Generator) -> Mask:
    """The half on one side of the plane through the corners: no two rows, columns or slices are alike."""
    position = sum(_along(axis, np.linspace(-1, 1, n, dtype=np.float32)) for axis, n in enumerate(size))
    return np.asarray(position < 0)


def _stripes(size: Size, rng: np.random.Generator) -> Mask:
    """Sheets one row thick along y, sixteen rows apart: rows have one label, slices have both."""
    return np.broadcast_to(_along(1, np.arange(size[1]) % 16 == 0), size).copy()


def _walls(size: Size, rng: np.random.Generator) -> Mask:
    """The six outer faces of the volume around an empty room."""
    mask = np.ones(size, bool)
    mask[tuple(slice(1, -1) for _ in size)] = False
    return mask


def _points(size: Size, rng: np.random.Generator) -> Mask:
    """Lone voxels, one in every 32^3, far from each other."""
    mask = np.zeros(size, bool)
    mask.flat[rng.integers(0, mask.size, 1 + mask.size // 32**3)] = True
    return mask


def _along(axis: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A row of values as an array that broadcasts over the other two axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(3)])


Maker: TypeAlias = Callable[[Size, np.random.Generator], Mask]
USUAL: dict[str, Maker] = {"blobs": _blobs, "noise": _noise, "corner": _corner, "random": _random}
STRUCTURED: dict[str, Maker] = {
    "diagonal": _diagonal,
    "stripes": _stripes,
    "walls": _walls,
    "points": _points,
}
MASKS = USUAL | STRUCTURED


def check(size: Size, mask: str) -> None:
    """Raise ValueError unless such a case can be made."""
    if mask not in MASKS:
        fail("mask", repr(mask), f"one of {', '.join(MASKS)}")
    if len(size) != 3 or min(size) < 1 or not 8 <= math.prod(size) < 2**31:
        fail("size", ",".join(map(str, size)), "three whole numbers z,y,x above 0, and 8 to 2^31 - 1 voxels")


def make(size: Size, mask: str, spacing: Spacing = VOXELS, items: int = 1) -> Case:
    """The case of that name, size and spacing; the same voxels every time."""
    check(size, mask)
    return Case(mask, spacing, np.ascontiguousarray(MASKS[mask](size, np.random.default_rng(_SEED))), items)


def read(path: Path) -> Case:
    """The nonzero voxels of a volume's file, with its spacing in mm.

    Raises:
        ValueError: if it is no readable 3-D volume with foreground and background.
    """
    try:
        volume = read_volume(path)
    except Unavailable as error:
        raise ValueError(str(error)) from error
    if volume.voxels.ndim != 3:
        fail("file", f"{path} of shape {volume.voxels.shape}", "a volume with three axes")
    voxels = np.ascontiguousarray((volume.voxels != 0).T)
    if voxels.all() or not voxels.any():
        fail("file", f"{path} with one label only", "foreground and background")
    return Case(path.name, volume.zooms[::-1], voxels)
