"""The workloads of the published comparison, and masks that are hard for a transform."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.checkout import ROOT
from surfloss.bench.workloads import LABELS, MASKS, VOXELS, Mask, Size, Workload, named

HEAD_CT = (5.0, 0.42, 0.42)
PATCH, SCAN, PLANE = (16, 320, 320), (64, 512, 512), (1, 1024, 1024)
DATA = ROOT / "tests" / "data"
REAL = ("brain1_label", "lung2_label", "ms_lesions_label", "hippocampus_label")
Made: TypeAlias = Callable[[Size], Mask]


def _diagonal(size: Size) -> Mask:
    """One side of a diagonal plane; no two rows, columns or slices are equal."""
    rows = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    z, y, x = np.meshgrid(*rows, indexing="ij", sparse=True)
    return z + y + x < 0


def _stripes(size: Size) -> Mask:
    """Sheets one row thick along y, sixteen rows apart; rows have one label, slices have both."""
    mask = np.zeros(size, bool)
    mask[:, ::16] = True
    return mask


def _walls(size: Size) -> Mask:
    """The six outer faces of the volume; the interior is empty."""
    mask = np.ones(size, bool)
    mask[1:-1, 1:-1, 1:-1] = False
    return mask


def _points(size: Size) -> Mask:
    """Single voxels at random places, one per 32^3."""
    mask = np.zeros(size, bool)
    mask.flat[np.random.default_rng(0).integers(0, mask.size, 1 + mask.size // 32**3)] = True
    return mask


STRUCTURED: dict[str, Made] = {
    "diagonal": _diagonal,
    "stripes": _stripes,
    "walls": _walls,
    "points": _points,
}


def full() -> list[Workload]:
    """Every row of the published tables."""
    plan = _rows("loss", PATCH, MASKS)
    plan += _rows("edt", PATCH, MASKS, HEAD_CT) + _structured(PATCH, HEAD_CT)
    plan += _rows("edt", SCAN, MASKS, HEAD_CT)
    for side in (64, 96, 128, 192, 256):
        plan += _rows("edt", (side,) * 3, ["blobs"] if side in (96, 192) else MASKS)
        plan += _structured((side,) * 3, VOXELS) if side == 128 else []
    plan += _real("edt")
    plan += [*_rows("labels", (128,) * 3, LABELS), *_rows("labels", SCAN, LABELS, HEAD_CT)]
    for task in ("ndimage", "indices"):
        plan += _rows(task, PATCH, MASKS, HEAD_CT) + _rows(task, PATCH, MASKS) + _real(task)
        plan += [*_rows(task, (1, 512, 512), MASKS), *_rows(task, (128,) * 3, MASKS)]
        plan.append(Workload(task, SCAN, "blobs", HEAD_CT))
    return plan


def gpu() -> list[Workload]:
    """Every row of the published GPU tables. SciPy runs on one only, since all would take minutes."""
    masks, two, without = list(MASKS), ("blobs", "noise"), ("scipy",)
    return [
        *_rows("loss", PATCH, masks),
        Workload("edt", PATCH, "blobs", HEAD_CT, 4),
        *_rows("edt", PATCH, masks[1:], HEAD_CT, 4, without),
        *_rows("edt", SCAN, masks, HEAD_CT, 1, without),
        *_rows("edt", (128,) * 3, masks, VOXELS, 4, without),
        *_rows("edt", PLANE, ("blobs", "random"), VOXELS, 256, without),
        *_rows("edt", (512,) * 3, two, VOXELS, 1, without),
        *_rows("edt", SCAN, two, HEAD_CT, 8, without),
        *(Workload("edt", (side,) * 3, "blobs", without=without) for side in (64, 128, 256)),
        Workload("contour", PATCH, "blobs"),
    ]


def gpu_quick() -> list[Workload]:
    """A few small rows for a first impression of a GPU."""
    plan = [Workload(task, (8, 48, 48), "blobs") for task in ("loss", "contour")]
    plan += _rows("edt", (8, 48, 48), ("blobs", "random"), HEAD_CT, 2)
    return [*plan, Workload("edt", (1, 64, 64), "blobs", items=4)]


def _rows(task: str, size: Size, kinds: Iterable[str], *rest: Any) -> list[Workload]:
    """One row per kind of mask."""
    return [Workload(task, size, kind, *rest) for kind in kinds]


def _real(task: str) -> list[Workload]:
    """Masks of patients, at their own spacing."""
    return named([task], (), (), VOXELS, [DATA / f"{name}.nii.gz" for name in REAL])


def _structured(size: Size, spacing: Sequence[float]) -> list[Workload]:
    made = partial(Workload, "edt", size, spacing=tuple(spacing))
    return [made(name, given=mask(size)) for name, mask in STRUCTURED.items()]
