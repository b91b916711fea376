"""The published rows, and what the names of the structured masks say."""

import numpy as np
import pytest

from benchmarks import plans
from benchmarks.plans import STRUCTURED
from surfloss.bench.workloads import MASKS


@pytest.mark.parametrize("mask", STRUCTURED)
@pytest.mark.parametrize("size", [(16, 40, 48), (5, 7, 11)])
def test_masks_have_both_labels_and_never_change(mask: str, size: tuple[int, int, int]) -> None:
    voxels = STRUCTURED[mask](size)
    assert voxels.shape == size
    assert voxels.dtype == bool
    assert 0 < voxels.mean() < 1
    np.testing.assert_array_equal(voxels, STRUCTURED[mask](size))


def test_masks_are_what_their_names_say() -> None:
    size = (32, 48, 64)
    made = {name: mask(size) for name, mask in STRUCTURED.items()}
    assert made["diagonal"].mean() == pytest.approx(0.5, abs=0.02)
    assert (made["stripes"] == made["stripes"][:1, :, :1]).all()
    assert not made["walls"][1:-1, 1:-1, 1:-1].any()
    assert made["walls"].sum() == 32 * 48 * 64 - 30 * 46 * 62
    assert 0 < made["points"].sum() <= 1 + made["points"].size // 32**3
    steps = np.indices(size) / (np.reshape(size, (3, 1, 1, 1)) - 1)
    assert made["diagonal"][steps.sum(0) < 1.49].all()
    assert not made["diagonal"][steps.sum(0) > 1.51].any()


def test_the_full_plan_has_every_published_row() -> None:
    rows = {workload.label for workload in plans.full()}
    assert len({(workload.label, workload.spacing) for workload in plans.full()}) == len(plans.full())
    for size in ("16x320x320", "64x512x512", "128x128x128", "256x256x256"):
        assert {f"edt {size} {mask}" for mask in MASKS} <= rows
    for task, size in (("edt", "128x128x128"), ("edt", "16x320x320")):
        assert {f"{task} {size} {mask}" for mask in (*MASKS, *STRUCTURED)} <= rows
    assert {f"loss 16x320x320 {mask}" for mask in MASKS} <= rows
    assert {f"edt {n}x{n}x{n} blobs" for n in (64, 96, 192)} <= rows
