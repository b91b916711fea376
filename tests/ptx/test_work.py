"""The work of the compiled kernels, counted in the emulator: it must not depend on the mask."""

import pytest

from benchmarks import executed
from tests.ptx.targets import Target

# Instructions per voxel, summed over the kernels of a two-sided transform with unit steps.
MOST = {
    "cuda": {"blob": 420, "noise": 440, "diagonal": 570},
    "triton": {"blob": 800, "noise": 600, "diagonal": 1000},
}


@pytest.mark.parametrize("mask", ["blob", "noise", "diagonal"])
def test_instructions_per_voxel_are_few(mask: str, target: Target) -> None:
    voxels = executed.masks((8, 96, 160))[mask]
    call = executed.calls(voxels)["two_sided_edt"]
    kernels = executed.counted(target, call, voxels.numel())
    assert 50 < sum(counts["instructions"] for counts in kernels.values()) <= MOST[target.backend][mask]


def test_lanes_of_the_pass_along_x_stay_together(target: Target) -> None:
    """A branch per voxel once made this pass three times as long on noise as on other masks."""
    voxels = executed.masks((8, 96, 160))["noise"]
    kernels = executed.counted(target, executed.calls(voxels)["two_sided_edt"], voxels.numel())
    first = next(counts for name, counts in kernels.items() if name in ("rows_int", "scan_rows"))
    assert first["lanes"] > 0.9 * first["instructions"]
