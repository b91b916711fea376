"""Which rows a comparison has: the published ones, a quick look, or what the user names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from surfloss.bench import cases
from surfloss.bench.cases import HEAD_CT, VOXELS, Case, Size, Spacing

TASKS = ("edt", "loss")
PATCH, SCAN = (16, 320, 320), (64, 512, 512)


@dataclass(frozen=True)
class Cell:
    """One row, before its mask is made; `weigh` asks for the peak memory too."""

    task: str
    size: Size
    mask: str
    make: Callable[[], Case]
    weigh: bool = False

    @property
    def label(self) -> str:
        return f"{self.task} {'x'.join(map(str, self.size))} {self.mask}"


def drawn(task: str, size: Size, mask: str, spacing: Spacing = VOXELS, weigh: bool = False) -> Cell:
    """A mask from `cases.MASKS`. Losses are compared in voxels, since MONAI's knows no spacing.

    Raises:
        ValueError: on a size or mask that cannot be made.
    """
    cases.check(size, mask)
    mm = VOXELS if task == "loss" else spacing
    return Cell(task, size, mask, partial(cases.make, size, mask, mm), weigh)


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
