"""Which rows a comparison has: the published ones, a quick look, or what the user names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from surfloss.bench import cases
from surfloss.bench.cases import HEAD_CT, VOXELS, Case, Size, Spacing

TASKS = ("edt", "loss")
PATCH, SCAN, PLANE = (16, 320, 320), (64, 512, 512), (1, 1024, 1024)


@dataclass(frozen=True)
class Cell:
    """One row, before its mask is made; `weigh` asks for the peak memory too."""

    task: str
    size: Size
    mask: str
    make: Callable[[], Case]
    weigh: bool = False
    without: tuple[str, ...] = ()  # contestants that would take minutes

    @property
    def label(self) -> str:
        return f"{self.task} {'x'.join(map(str, self.size))} {self.mask}"


def drawn(
    task: str,
    size: Size,
    mask: str,
    spacing: Spacing = VOXELS,
    weigh: bool = False,
    items: int = 1,
    without: tuple[str, ...] = (),
) -> Cell:
    """A mask from `cases.MASKS`. Losses are compared in voxels, since MONAI's knows no spacing.

    Raises:
        ValueError: on a size or mask that cannot be made.
    """
    cases.check(size, mask)
    mm = spacing if task == "edt" else VOXELS
    return Cell(task, size, mask, partial(cases.make, size, mask, mm, items), weigh, without)


def of_case(task: str, case: Case, weigh: bool = False) -> Cell:
    """A mask that is already there, as those of files."""
    if task == "loss":
        case = Case(case.mask, VOXELS, case.voxels)
    return Cell(task, case.size, case.mask, lambda: case, weigh)


def full() -> list[Cell]:
    """Every row of the published tables."""
    plan = [drawn("loss", PATCH, mask, weigh=mask == "blobs") for mask in cases.USUAL]
    plan += [drawn("edt", PATCH, mask, HEAD_CT, weigh=mask == "blobs") for mask in cases.MASKS]
    plan += [drawn("edt", SCAN, mask, HEAD_CT, weigh=mask == "blobs") for mask in cases.USUAL]
    every, usual, one = list(cases.MASKS), list(cases.USUAL), ["blobs"]
    for side, masks in ((64, usual), (96, one), (128, every), (192, one), (256, usual)):
        weighed = ("blobs",) if side in (128, 256) else ()
        plan += [drawn("edt", (side,) * 3, mask, weigh=mask in weighed) for mask in masks]
    return plan


def gpu() -> list[Cell]:
    """Every row of the published GPU tables; the rows of the budgets come first."""
    plan = [drawn("loss", PATCH, mask, weigh=mask == "blobs") for mask in cases.USUAL]
    large = ("scipy",)
    plan += [
        drawn("edt", PATCH, mask, HEAD_CT, items=4, without=() if mask == "blobs" else large)
        for mask in cases.USUAL
    ]
    plan += [drawn("edt", SCAN, mask, HEAD_CT, without=large) for mask in cases.USUAL]
    plan += [drawn("edt", (128,) * 3, mask, items=4, without=large) for mask in cases.USUAL]
    plan += [drawn("edt", PLANE, mask, items=256, without=large) for mask in ("blobs", "random")]
    plan += [drawn("edt", (512,) * 3, mask, without=large, weigh=True) for mask in ("blobs", "noise")]
    plan += [drawn("edt", SCAN, mask, HEAD_CT, items=8, without=large) for mask in ("blobs", "noise")]
    plan += [drawn("edt", (side,) * 3, "blobs", without=large) for side in (64, 128, 256)]
    return [*plan, drawn("contour", PATCH, "blobs", weigh=True)]


def gpu_quick() -> list[Cell]:
    """A first impression of a GPU, and a trial of the whole way without one."""
    plan = [drawn(task, (8, 48, 48), "blobs", weigh=True) for task in ("loss", "contour")]
    plan += [drawn("edt", (8, 48, 48), mask, HEAD_CT, items=2) for mask in ("blobs", "random")]
    return [*plan, drawn("edt", (1, 64, 64), "blobs", items=4)]


def quick() -> list[Cell]:
    """A first impression, in less than a minute."""
    plan = [drawn("loss", (16, 96, 96), mask) for mask in cases.USUAL]
    plan += [drawn("edt", (16, 160, 160), mask, HEAD_CT) for mask in cases.USUAL]
    return plan + [drawn("edt", (side,) * 3, "blobs") for side in (32, 64, 96)]


def named(
    sizes: Sequence[Size], masks: Sequence[str], spacing: Spacing, files: Sequence[Path], weigh: bool
) -> list[Cell]:
    """Every size with every mask, then the files; unsaid, the usual masks, and the size of the paper's patch.

    Raises:
        ValueError: on a size, mask or file that cannot be used; files are read now.
    """
    if masks and not sizes:
        sizes = [PATCH]
    read = [cases.read(path) for path in files]
    plan = []
    for task in TASKS:
        plan += [drawn(task, size, mask, spacing, weigh) for size in sizes for mask in masks or cases.USUAL]
        plan += [of_case(task, case, weigh) for case in read]
    return plan
