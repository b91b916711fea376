import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial import ConvexHull

from surfloss import metrics
from tests.metrics import official
from tests.support import volumes


def ellipsoid(axes: Any, spacing: Any) -> np.ndarray:
    """Voxels whose centers lie in an ellipsoid with half axes in mm, around the middle of the array."""
    grids = np.indices([math.ceil(2 * axis / step) + 4 for axis, step in zip(axes, spacing, strict=True)])
    offsets = grids - (np.array(grids.shape[1:]) / 2 - 0.5).reshape(-1, 1, 1, 1)
    scale = (np.array(spacing) / axes).reshape(-1, 1, 1, 1)
    return ((offsets * scale) ** 2).sum(0) <= 1


def test_volume_counts_voxels() -> None:
    mask = np.zeros((3, 4, 5))
    mask[1, :2, :3] = 1
    assert metrics.volume_ml(mask, spacing=(5, 0.5, 0.5)) == pytest.approx(6 * 1.25 / 1000)
    volume, spacing = volumes.load("lung2_label")
    assert metrics.volume_ml(volume, spacing=spacing) == pytest.approx(24644 * math.prod(spacing) / 1000)


@given(hnp.arrays(bool, (2, 3, 4, 5)))
def test_relative_volume_difference_is_the_official_one(masks: Any) -> None:
    prediction, target = masks
    if target.any():
        wanted = official.relative_volume_difference(prediction, target)
        assert metrics.relative_volume_difference(prediction, target) == wanted


@pytest.mark.parametrize("function", [metrics.volume_ml, metrics.abc2_volume_ml])
def test_an_area_has_no_volume(function: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"mask: got shape \(4, 5\), wanted a 3-D mask"):
        function(np.ones((4, 5)), spacing=1)


AXES = (15.0, 25.0, 18.0)
TRUE_ML = 4 / 3 * math.pi * math.prod(AXES) / 1000


def test_abc2_of_an_ellipsoid_tends_to_three_over_pi_of_its_volume() -> None:
    errors = []
    for step in (2.0, 1.0, 0.25):
        mask = ellipsoid(AXES, (0.5, step, step))
        got = metrics.abc2_volume_ml(mask, spacing=(0.5, step, step), slice_weights=False)
        errors.append(abs(got / TRUE_ML - 3 / math.pi))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


def test_slice_weights_take_a_third_from_a_finely_cut_ellipsoid() -> None:
    """Areas fall as 1 - z^2: half of the length is above 75 %, another 37 % above 25 % and counts half."""
    mask = ellipsoid(AXES, (0.25, 0.5, 0.5))
    got = metrics.abc2_volume_ml(mask, spacing=(0.25, 0.5, 0.5))
    plain = metrics.abc2_volume_ml(mask, spacing=(0.25, 0.5, 0.5), slice_weights=False)
    assert got / plain == pytest.approx((0.5 + math.sqrt(0.75)) / 2, abs=0.01)


def test_slices_count_whole_half_or_not_at_all() -> None:
    """Areas of 100, 76, 75, 25 and 24 of 100 pixels: 1 + 1 + 1/2 + 1/2 + 0 slices of 5 mm."""
    mask = np.zeros((5, 10, 10), bool)
    for voxels, area in zip(mask, (24, 75, 100, 76, 25), strict=True):
        voxels.reshape(-1)[:area] = True
    one = metrics.abc2_volume_ml(mask[2:3], spacing=(5, 1, 1))
    assert metrics.abc2_volume_ml(mask, spacing=(5, 1, 1)) == pytest.approx(3 * one)
    assert metrics.abc2_volume_ml(mask, spacing=(5, 1, 1), slice_weights=False) == pytest.approx(5 * one)


def test_a_row_of_voxels_is_as_long_as_it_is() -> None:
    mask = np.zeros((1, 3, 12), bool)
    mask[0, 1, 2:10] = True
    assert metrics.abc2_volume_ml(mask, spacing=(5, 2, 1)) == pytest.approx(8 * 2 * 5 / 2 / 1000)


def test_lesions_are_measured_one_by_one_and_the_slice_axis_is_free() -> None:
    small, large = np.zeros((2, 12, 30, 30), bool)
    small[1:3, 2:6, 3:9] = True
    large[5:11, 10:25, 12:20] = True
    sum_of_both = metrics.abc2_volume_ml(small, spacing=1) + metrics.abc2_volume_ml(large, spacing=1)
    assert metrics.abc2_volume_ml(small | large, spacing=1) == pytest.approx(sum_of_both)
    wanted = metrics.abc2_volume_ml(large, spacing=(5.0, 0.4, 0.7))
    for axis in (1, 2, -1):
        steps = [0.4, 0.7]
        steps.insert(axis % 3, 5.0)
        moved = np.moveaxis(large, 0, axis)
        assert metrics.abc2_volume_ml(moved, spacing=steps, slice_axis=axis) == pytest.approx(wanted)
    for bad in (True, 1.0, None, "z"):
        with pytest.raises(ValueError, match=r"^slice_axis: got .*, wanted an axis of the mask, 0 to 2"):
            metrics.abc2_volume_ml(np.ones((2, 2, 2)), spacing=1, slice_axis=bad)
    with pytest.raises(ValueError, match="slice_axis: got 3"):
        metrics.abc2_volume_ml(large, spacing=1, slice_axis=3)


def longest_chord(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Of the convex hull, at right angles to the line from start to end; by trying 2001 places."""
    a = np.linalg.norm(end - start)
    normal = np.array([start[1] - end[1], end[0] - start[0]]) / a
    sides = ConvexHull(points).equations
    speed = sides[:, :2] @ normal
    chords = []
    for share in np.linspace(1e-6, 1 - 1e-6, 2001):
        room = -(sides[:, :2] @ (start + share * (end - start)) + sides[:, 2])
        ahead = (room[speed > 0] / speed[speed > 0]).min()
        behind = (room[speed < 0] / speed[speed < 0]).max()
        chords.append(ahead - behind)
    return max(chords)


@given(hnp.arrays(bool, (6, 7)), st.sampled_from([0.4, 1.0, 1.9]))
def test_diameters_by_looking_at_every_pair_and_many_chords(area: np.ndarray, step: Any) -> None:
    area[2:4, 3] = True
    labels, _ = ndimage.label(area, np.ones((3, 3)))
    lesion = labels == labels[2, 3]
    sides = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])
    points = (np.argwhere(lesion)[:, None] + sides).reshape(-1, 2) * (step, 0.7)
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    a = apart.max()
    pairs = [(points[i], points[j]) for i, j in np.argwhere(apart > a - 1e-9) if i < j]
    wanted = {round(a * longest_chord(points, *pair), 9) for pair in pairs}  # one for each longest diameter
    got = metrics.abc2_volume_ml(lesion[None], spacing=(2, step, 0.7)) * 1000
    assert min(abs(got / value - 1) for value in wanted) < 2e-3
