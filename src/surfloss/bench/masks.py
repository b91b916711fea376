"""Usual and hard masks `(z, y, x)` for a distance transform, at any size: from a seed, so always the same."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Size: TypeAlias = tuple[int, ...]
Mask: TypeAlias = npt.NDArray[np.bool_]
_SEED = 0


@lru_cache(1)  # consecutive workloads may share one, and none of 512^3 stays for long
def make(name: str, size: Size) -> Mask:
    """The mask of that name, one of `MASKS`."""
    return np.ascontiguousarray(MASKS[name](size, np.random.default_rng(_SEED)))


def _blobs(size: Size, rng: np.random.Generator) -> Mask:
    """Ellipsoids as lesions lie in a scan: small and large, apart and merged."""
    mask = np.zeros(size, bool)
    for _ in range(12):
        ellipsoid = zip(size, rng.uniform(0.03, 0.2, 3), rng.random(3), strict=True)
        offsets = [
            (np.arange(n) - centre * (n - 1)) / max(0.6, radius * n) for n, radius, centre in ellipsoid
        ]
        mask |= _summed([(offset**2).astype(np.float32) for offset in offsets]) <= 1
    return mask


def _noise(size: Size, rng: np.random.Generator) -> Mask:
    """Half of the volume, in worm-like pieces a few voxels thick."""
    from scipy import ndimage

    smooth: npt.NDArray[np.float32] = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 3)
    return smooth > np.median(smooth)


def _corner(size: Size, rng: np.random.Generator) -> Mask:
    """One voxel of foreground: every other one looks for the far corner."""
    mask = np.zeros(size, bool)
    mask[0, 0, 0] = True
    return mask


def _random(size: Size, rng: np.random.Generator) -> Mask:
    """Half of the voxels, each drawn on its own."""
    return rng.random(size, np.float32) < 0.5


def _diagonal(size: Size, rng: np.random.Generator) -> Mask:
    """One side of the plane through the corners: no two rows, columns or slices are alike."""
    return _summed([np.linspace(-1, 1, n, dtype=np.float32) for n in size]) < 0


def _stripes(size: Size, rng: np.random.Generator) -> Mask:
    """Sheets one row thick along y, sixteen rows apart: rows have one label, slices have both."""
    mask = np.zeros(size, bool)
    mask[:, ::16] = True
    return mask


def _walls(size: Size, rng: np.random.Generator) -> Mask:
    """The six outer faces of the volume around an empty room."""
    mask = np.ones(size, bool)
    mask[1:-1, 1:-1, 1:-1] = False
    return mask


def _points(size: Size, rng: np.random.Generator) -> Mask:
    """Lone voxels, one in every 32^3, far from each other."""
    mask = np.zeros(size, bool)
    mask.flat[rng.integers(0, mask.size, 1 + mask.size // 32**3)] = True
    return mask


def _summed(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The sum of a value for each z, each y and each x at every voxel."""
    z, y, x = np.meshgrid(*rows, indexing="ij", sparse=True)
    return z + y + x


MASKS: dict[str, Callable[[Size, np.random.Generator], Mask]] = {
    "blobs": _blobs,
    "noise": _noise,
    "corner": _corner,
    "random": _random,
    "diagonal": _diagonal,
    "stripes": _stripes,
    "walls": _walls,
    "points": _points,
}
USUAL = ("blobs", "noise", "corner", "random")
