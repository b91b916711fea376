"""Distances to the nearest point: whatever the steps, and whichever way they are found."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from surfloss.metrics import _nearest

STEPS = {
    "equal": (0.7, 0.7, 0.7),
    "another across slices": (5.0, 0.42, 0.42),
    "another across rows": (0.42, 5.0, 0.42),
    "another across columns": (0.3, 0.3, 2.0),
    "thin slices": (0.1, 1.0, 1.0),
    "all different": (3.0, 0.5, 0.7),
    "2-D, equal": (0.7, 0.7),
    "2-D, different": (0.7, 1.1),
}


@pytest.mark.parametrize("density", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_distances_are_scipys(steps: Any, density: float) -> None:
    rng = np.random.default_rng(4)
    shape = (11, 14, 9)[: len(steps)]
    here, there = rng.random(shape) < 0.3, rng.random(shape) < density
    there[tuple(size - 1 for size in shape)] = True
    got = _nearest.to_nearest(np.flatnonzero(here), there, np.array(steps))
    wanted = ndimage.distance_transform_edt(~there, sampling=steps)[here]
    np.testing.assert_allclose(got, wanted, rtol=1e-15)


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_distance_along_an_axis_is_a_multiple_of_its_step(steps: Any) -> None:
    """Not off by a rounding, which would take it across a tolerance of that size."""
    for axis, step in enumerate(steps):
        there = np.zeros((12,) * len(steps), bool)
        there[(0,) * len(steps)] = True
        line = [np.arange(12) if a == axis else np.zeros(12, int) for a in range(len(steps))]
        places = np.ravel_multi_index(line, there.shape)
        got = _nearest.to_nearest(places, there, np.array(steps))
        np.testing.assert_array_equal(got, np.sqrt((np.arange(12) * step) ** 2))


def test_squares_beyond_float32_are_exact_too() -> None:
    there = np.zeros((2, 6001), bool)
    there[0, 0] = True
    places = np.array([6000, 6001 + 6000, 6001 + 5999])
    got = _nearest.to_nearest(places, there, np.ones(2))
    np.testing.assert_array_equal(got, np.sqrt([6000.0**2, 6000**2 + 1, 5999**2 + 1]))


def test_everything_is_infinitely_far_from_nothing() -> None:
    got = _nearest.to_nearest(np.array([0, 3]), np.zeros((2, 2), bool), np.ones(2))
    np.testing.assert_array_equal(got, [np.inf, np.inf])


def test_planes_without_a_point_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One point in the first of forty slices, seen from the last; the index operator is not asked."""
    monkeypatch.setattr(_nearest, "nearest_background", None)
    there = np.zeros((40, 3, 3), bool)
    there[0, 1, 1] = True
    got = _nearest.to_nearest(np.array([there.size - 1]), there, np.array([0.5, 2.0, 2.0]))
    assert got == pytest.approx([np.sqrt(19.5**2 + 8)], rel=1e-15)
