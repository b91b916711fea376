"""What is measured: a task on a mask, and which of them make a comparison.

Sizes and spacings are in the order (z, y, x), spacings in mm.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from surfloss._check import fail
from surfloss._volumes import read_volume
from surfloss.bench import masks
from surfloss.bench.masks import MASKS, USUAL, Mask, Size

Spacing: TypeAlias = tuple[float, ...]

TASKS = ("edt", "loss")
VOXELS = (1.0, 1.0, 1.0)
HEAD_CT = (5.0, 0.42, 0.42)
PATCH, SCAN, PLANE = (16, 320, 320), (64, 512, 512), (1, 1024, 1024)


@dataclass(frozen=True, eq=False)
class Workload:
    """One row of a comparison.

    Attributes:
        task: "edt", "loss" or "contour".
        mask: its name in `MASKS`, or that of the file it was read from.
        items: how many masks make a batch.
        without: contestants that would take minutes.
        given: the voxels where they were read.
    """

    task: str
    size: Size
    mask: str
    spacing: Spacing = VOXELS
    items: int = 1
    without: tuple[str, ...] = ()
    given: Mask | None = None

    @property
    def label(self) -> str:
        return f"{self.task} {'x'.join(map(str, self.size))} {self.mask}"

    @property
    def voxels(self) -> Mask:
        """The mask `(z, y, x)`."""
        return masks.make(self.mask, self.size) if self.given is None else self.given

    def batch(self) -> tuple[Mask, Spacing]:
        """The mask moved along y and x into `items` masks, `(items, *spatial)`; and the spacing of `spatial`.

        A single mask has no batch axis; masks of one slice are planes, `(items, y, x)`.
        """
        if self.items == 1:
            return self.voxels, self.spacing
        moved = np.stack([np.roll(self.voxels, (7 * i, 13 * i), axis=(1, 2)) for i in range(self.items)])
        return (moved[:, 0], self.spacing[1:]) if self.size[0] == 1 else (moved, self.spacing)


def named(
    sizes: Sequence[Size], kinds: Sequence[str], spacing: Spacing, files: Sequence[Path]
) -> list[Workload]:
    """Every size with every kind of mask, then the files, for each task.

    Without kinds the usual masks are taken, and without sizes that of the paper's patch. Losses are compared
    in voxels, since MONAI's knows no spacing.

    Raises:
        ValueError, OSError: if a size, mask or file cannot be used; files are read now.
    """
    if kinds and not sizes:
        sizes = [PATCH]
    for kind in kinds:
        if kind not in MASKS:
            fail("mask", repr(kind), f"one of {', '.join(MASKS)}")
    for size in sizes:
        if not 8 <= math.prod(size) < 2**31:
            fail("size", ",".join(map(str, size)), "8 to 2^31 - 1 voxels")
    chosen: list[tuple[Size, str, Spacing, Mask | None]]
    chosen = [(size, kind, spacing, None) for size in sizes for kind in kinds or USUAL]
    for path in files:
        voxels, mm = _read(path)
        chosen.append((voxels.shape, path.name, mm, voxels))
    return [
        Workload(task, size, mask, mm if task == "edt" else VOXELS, given=voxels)
        for task in TASKS
        for size, mask, mm, voxels in chosen
    ]


def full() -> list[Workload]:
    """Every row of the published tables."""
    plan = _rows("loss", PATCH, USUAL)
    plan += _rows("edt", PATCH, MASKS, HEAD_CT) + _rows("edt", SCAN, USUAL, HEAD_CT)
    for side, kinds in ((64, USUAL), (96, ["blobs"]), (128, MASKS), (192, ["blobs"]), (256, USUAL)):
        plan += _rows("edt", (side,) * 3, kinds)
    return plan


def quick() -> list[Workload]:
    """A first impression, in less than a minute."""
    plan = _rows("loss", (16, 96, 96), USUAL) + _rows("edt", (16, 160, 160), USUAL, HEAD_CT)
    return plan + [Workload("edt", (side,) * 3, "blobs") for side in (32, 64, 96)]


def gpu() -> list[Workload]:
    """Every row of the published GPU tables. SciPy has one; it would take minutes for all."""
    two, without = ("blobs", "noise"), ("scipy",)
    return [
        *_rows("loss", PATCH, USUAL),
        Workload("edt", PATCH, "blobs", HEAD_CT, 4),
        *_rows("edt", PATCH, USUAL[1:], HEAD_CT, 4, without),
        *_rows("edt", SCAN, USUAL, HEAD_CT, 1, without),
        *_rows("edt", (128,) * 3, USUAL, VOXELS, 4, without),
        *_rows("edt", PLANE, ("blobs", "random"), VOXELS, 256, without),
        *_rows("edt", (512,) * 3, two, VOXELS, 1, without),
        *_rows("edt", SCAN, two, HEAD_CT, 8, without),
        *(Workload("edt", (side,) * 3, "blobs", without=without) for side in (64, 128, 256)),
        Workload("contour", PATCH, "blobs"),
    ]


def gpu_quick() -> list[Workload]:
    """A first impression of a GPU."""
    plan = [Workload(task, (8, 48, 48), "blobs") for task in ("loss", "contour")]
    plan += _rows("edt", (8, 48, 48), ("blobs", "random"), HEAD_CT, 2)
    return [*plan, Workload("edt", (1, 64, 64), "blobs", items=4)]


def _rows(task: str, size: Size, kinds: Iterable[str], *rest: Any) -> list[Workload]:
    """One row for each kind of mask."""
    return [Workload(task, size, kind, *rest) for kind in kinds]


def _read(path: Path) -> tuple[Mask, Spacing]:
    """The nonzero voxels of a volume's file, with its spacing in mm.

    Raises:
        ValueError, OSError: if it is no readable 3-D volume with foreground and background.
    """
    volume = read_volume(path)
    if volume.voxels.ndim != 3:
        fail("file", f"{path} of shape {volume.voxels.shape}", "a volume with three axes")
    voxels = np.ascontiguousarray((volume.voxels != 0).T)
    if voxels.all() or not voxels.any():
        fail("file", f"{path} with one label only", "foreground and background")
    return voxels, volume.zooms[::-1]
