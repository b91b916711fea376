from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from surfloss import metrics
from tests.metrics import official
from tests.support import oracles, volumes


@given(hnp.arrays(bool, (2, 3, 4, 5)))
def test_dice_is_the_official_one(masks: Any) -> None:
    assert metrics.dice(*masks) == official.dice(*masks)


def test_dice_of_real_volumes_is_the_official_one() -> None:
    for name in volumes.LABELS:
        target = volumes.load(name)[0] > 0
        prediction = np.roll(target, 2, axis=2)
        assert metrics.dice(prediction, target, spacing=(5, 0.42, 0.42)) == official.dice(prediction, target)


def test_boundary_iou_of_squares() -> None:
    """Rings of one pixel around 6 x 6 squares (20 pixels), one a pixel to the right: they share 2 x 5."""
    prediction, target = np.zeros((2, 12, 12), bool)
    target[3:9, 3:9], prediction[3:9, 4:10] = True, True
    assert metrics.boundary_iou(prediction, target, width=1) == 10 / 30
    # Where the image ends the mask does, so the full image has a ring too.
    assert metrics.boundary_iou(np.ones((6, 6)), np.ones((6, 6)), width=1) == 1
    assert metrics.boundary_iou(np.ones((6, 6)), np.pad(np.zeros((4, 4)), 1, constant_values=1), width=1) == 1


@given(
    hnp.arrays(bool, st.tuples(st.just(2), *(st.integers(1, 6) for _ in range(3)))),
    st.sampled_from([1.0, 1.7, 2.4]),
)
def test_boundary_iou_by_looking_at_every_pair_of_voxels(masks: Any, width: Any) -> None:
    spacing = (2.0, 0.7, 1.1)
    regions = []
    for mask in masks:
        squared = oracles.squared_edt(np.pad(mask, 1), spacing)[1:-1, 1:-1, 1:-1]
        regions.append(mask & (squared <= width**2))
    union = (regions[0] | regions[1]).sum()
    wanted = (regions[0] & regions[1]).sum() / union if union else np.nan
    got = metrics.boundary_iou(*masks, spacing=spacing, width=width)
    assert got == pytest.approx(wanted, nan_ok=True)


def test_boundary_iou_takes_two_percent_of_the_diagonal() -> None:
    rng = np.random.default_rng(7)
    masks = rng.random((2, 90, 120)) < 0.98
    assert metrics.boundary_iou(*masks) == metrics.boundary_iou(*masks, width=3)
    small = masks[:, :9, :12]  # 2 % are 0.3 pixels
    assert metrics.boundary_iou(*small) == metrics.boundary_iou(*small, width=1)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf"), "1", True, (1, 2)])
def test_a_wrong_width_is_named(width: Any) -> None:
    with pytest.raises(ValueError, match=r"^width: got .*, wanted a positive finite distance"):
        metrics.boundary_iou(np.ones((2, 2)), np.ones((2, 2)), width=width)
