"""What is measured: a task on a mask. Sizes and spacings are in the order (z, y, x), spacings in mm."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes import read_volume
from surfloss.ndimage import distance_transform_edt

Size: TypeAlias = tuple[int, ...]
Spacing: TypeAlias = tuple[float, ...]
Mask: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = npt.NDArray[np.uint16]

TASKS = ("edt", "labels", "loss", "contour", "ndimage", "indices")
DISTANCES = ("edt", "labels", "ndimage", "indices")  # are measured in mm
VOXELS = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Workload:
    """One row of a comparison.

    Attributes:
        task: one of `TASKS`.
        mask: its name in `MASKS`, or for the task "labels" in `LABELS`; another if the mask is `given`.
        items: how many masks make a batch.
        without: contestants that would take minutes.
        given: the voxels, if they are not made by name.
    """

    task: str
    size: Size
    mask: str
    spacing: Spacing = VOXELS
    items: int = 1
    without: tuple[str, ...] = ()
    given: Mask | Labels | None = None

    @property
    def label(self) -> str:
        return f"{self.task} {'x'.join(map(str, self.size))} {self.mask}"

    @property
    def voxels(self) -> Any:
        """The mask or the labels `(z, y, x)`."""
        return make(self.mask, self.size) if self.given is None else self.given

    def batch(self) -> tuple[Any, Spacing]:
        """The mask moved along y and x into `items` masks, `(items, *spatial)`; and the spacing of `spatial`.

        A single mask has no batch axis; masks of one slice are planes, `(items, y, x)`.
        """
        if self.items == 1:
            return self.voxels, self.spacing
        moved = np.stack([np.roll(self.voxels, (7 * i, 13 * i), axis=(1, 2)) for i in range(self.items)])
        return (moved[:, 0], self.spacing[1:]) if self.size[0] == 1 else (moved, self.spacing)


def named(
    tasks: Sequence[str], sizes: Sequence[Size], kinds: Sequence[str], spacing: Spacing, files: Sequence[Path]
) -> list[Workload]:
    """Every size with every kind of mask, all kinds if none is named; then the files; for each task.

    Losses are compared in voxels, since MONAI's knows no spacing.

    Raises:
        ValueError, OSError: if a task, size, mask or file cannot be used; files are read now.
    """
    for task in tasks:
        if task not in TASKS:
            fail("task", repr(task), f"some of {', '.join(TASKS)}")
    for task in tasks:
        for kind in kinds:
            if kind not in _made_for(task):
                fail("mask", repr(kind), f"one of {', '.join(_made_for(task))} for {task}")
    for size in sizes:
        if not 8 <= math.prod(size) < 2**31:
            fail("size", ",".join(map(str, size)), "8 to 2^31 - 1 voxels")
    read = [(path.name, *_read(path)) for path in files]
    plan = []
    for task in tasks:
        mm = spacing if task in DISTANCES else VOXELS
        plan += [Workload(task, size, kind, mm) for size in sizes for kind in kinds or _made_for(task)]
        for name, voxels, own_mm in read:
            mm = own_mm if task in DISTANCES else VOXELS
            plan.append(Workload(task, voxels.shape, name, mm, given=voxels))
    return plan


def _read(path: Path) -> tuple[Mask, Spacing]:
    """The nonzero voxels of a volume's file, with its spacing in mm."""
    volume = read_volume(path)
    if volume.voxels.ndim != 3:
        fail("file", f"{path} of shape {volume.voxels.shape}", "a volume with three axes")
    voxels = np.ascontiguousarray((volume.voxels != 0).T)
    if voxels.all() or not voxels.any():
        fail("file", f"{path} with one label only", "foreground and background")
    return voxels, volume.zooms[::-1]


def _made_for(task: str) -> Iterable[str]:
    return LABELS if task == "labels" else MASKS


@lru_cache(1)  # consecutive workloads may share one, and none of 512^3 stays for long
def make(name: str, size: Size) -> Any:
    """The mask of that name in `MASKS`, or the labels in `LABELS`: from a seed, so always the same."""
    rng = np.random.default_rng(0)
    return _cells(size, rng, LABELS[name]) if name in LABELS else MASKS[name](size, rng)


def _blobs(size: Size, rng: np.random.Generator) -> Mask:
    """Ellipsoids as lesions lie in a scan: small and large, apart and merged."""
    mask = np.zeros(size, bool)
    for _ in range(12):
        ellipsoid = zip(size, rng.uniform(0.03, 0.2, 3), rng.random(3), strict=True)
        offsets = [
            (np.arange(n) - centre * (n - 1)) / max(0.6, radius * n) for n, radius, centre in ellipsoid
        ]
        squares = [(offset**2).astype(np.float32) for offset in offsets]
        z, y, x = np.meshgrid(*squares, indexing="ij", sparse=True)
        mask |= z + y + x <= 1
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


def _cells(size: Size, rng: np.random.Generator, count: int) -> Labels:
    """Cells that fill the volume, labels from 1: each voxel belongs to the nearest of so many seeds."""
    seeds = np.ones(size, bool)
    places = rng.choice(seeds.size, min(count, seeds.size), replace=False)
    seeds.flat[places] = False
    names = np.zeros(size, np.uint16)
    names.flat[places] = np.arange(1, len(places) + 1)
    nearest: Any = distance_transform_edt(seeds, return_distances=False, return_indices=True)
    cells: Labels = names[tuple(nearest)]
    return cells


LABELS = {"2 cells": 2, "50 cells": 50, "5000 cells": 5000}
"""Label volumes by name, with their number of labels."""

MASKS: dict[str, Callable[[Size, np.random.Generator], Mask]] = {
    "blobs": _blobs,
    "noise": _noise,
    "corner": _corner,
    "random": _random,
}
