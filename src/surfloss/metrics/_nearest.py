"""Distances in float64 from the points of one border to the nearest of another.

The operators' float32 distances would not do: they would move points across a tolerance that is a multiple of
the spacing. But with spacing 1 their squares are whole numbers, and exact. So along the axes with equal steps
they give an exact distance within each plane, and the one axis with another step, across the planes, is
searched in float64 for the points of the border alone. Where all steps differ, the operator that finds the
nearest voxel itself, several times slower, is asked.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from surfloss.metrics._masks import BoolArray, FloatArray
from surfloss.ops.edt import edt, nearest_background

Places: TypeAlias = npt.NDArray[np.intp]

_EXACT = 2**24  # float32 holds every whole number up to here


def to_nearest(places: Places, there: BoolArray, steps: FloatArray) -> FloatArray:
    """Distance from every place to the nearest point of `there`.

    Args:
        places: where to measure from, as indices into the flat `there`.
        there: bool, 2-D or 3-D, contiguous.
        steps: `(dims,)`, in mm.

    Returns:
        float64, in mm, the shape of `places`; inf where `there` is empty. A distance along one axis is the
        exact multiple of its step, any other within a few units in the last place.
    """
    if not there.any():
        return np.full(places.shape, np.inf)
    across = _axis_across(steps)
    in_plane = [axis for axis in range(there.ndim) if axis != across]
    farthest_sq = sum((there.shape[axis] - 1) ** 2 for axis in in_plane)
    if len(set(steps[in_plane])) > 1 or farthest_sq > _EXACT:
        return _from_indices(places, there, steps)
    squared = _in_plane_squared(there, across)
    if across is None:
        return _root(squared, places, steps[0])
    return _search(squared, places, across, steps)


def _axis_across(steps: FloatArray) -> int | None:
    """The axis with another step than the others; None where all are equal."""
    for axis, step in enumerate(steps):
        others = {*steps[:axis], *steps[axis + 1 :]}
        if len(others) == 1 and step not in others:
            return axis
    return None


def _in_plane_squared(there: BoolArray, across: int | None) -> npt.NDArray[np.float32]:
    """In steps, the shape of `there`; inf in a plane without a point."""
    planes = there[None] if across is None else np.moveaxis(there, across, 0)
    away = torch.from_numpy(~np.ascontiguousarray(planes))
    squared: Any = edt(away, [1.0] * (planes.ndim - 1), None, "one_sided", True, None).numpy()
    return squared[0] if across is None else np.ascontiguousarray(np.moveaxis(squared, 0, across))


def _search(squared: npt.NDArray[np.float32], places: Places, across: int, steps: FloatArray) -> FloatArray:
    """Look into ever farther planes, as long as the gap alone is smaller than what a point has found."""
    planes, stride = squared.shape[across], math.prod(squared.shape[across + 1 :])
    in_plane_step = steps[across - 1]  # any other axis
    best_mm_sq = _root(squared, places, in_plane_step) ** 2
    active = np.arange(len(places))
    for gap in range(1, planes):
        gap_mm_sq = (gap * steps[across]) ** 2
        active = active[best_mm_sq[active] > gap_mm_sq]
        if not len(active):
            break
        plane = places[active] // stride % planes
        for side in (-gap, gap):
            points = active[(plane + side >= 0) & (plane + side < planes)]
            found = gap_mm_sq + _root(squared, places[points] + side * stride, in_plane_step) ** 2
            best_mm_sq[points] = np.minimum(best_mm_sq[points], found)
    return np.sqrt(best_mm_sq)


def _root(squared: npt.NDArray[np.float32], places: Places, step: float) -> FloatArray:
    """In mm. The root comes first, so that a distance along an axis is the step's exact multiple."""
    distances: FloatArray = np.sqrt(squared.reshape(-1)[places], dtype=np.float64) * step
    return distances


def _from_indices(places: Places, there: BoolArray, steps: FloatArray) -> FloatArray:
    nearest: Any = nearest_background(torch.from_numpy(~there)[None], steps.tolist(), None, None).numpy()
    found = nearest.reshape(there.ndim, -1)[:, places]
    offsets = (found - np.stack(np.unravel_index(places, there.shape))) * steps[:, None]
    distances: FloatArray = np.sqrt((offsets**2).sum(0))
    return distances
