"""Distances between the surfaces of two masks, and the metrics made of them.

Definitions: Nikolov et al. 2021, "Clinically Applicable Segmentation of Head and Neck Anatomy for
Radiotherapy" (surface Dice and area-weighted percentiles). Surface elements sit at the corners between
voxels, with sizes from `surface_elements`; what lies outside the image is background.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._masks import BoolArray, FloatArray, Mask
from surfloss.metrics._nearest import Places, to_nearest
from surfloss.metrics.surface_elements import element_sizes, neighborhood_codes

_ROUNDING = 1e-9  # of the total size: far more than summation errs by


@dataclass(frozen=True)
class SurfaceDistances:
    """Every surface element of two masks: its distance to the other surface and its size.

    Distances are in the unit of the spacing: mm, or voxels without one. Sizes are areas (3-D) or lengths
    (2-D) in that unit. Elements are in no particular order. An empty mask has none, and distances to it are
    inf.
    """

    prediction_to_target: FloatArray
    prediction_sizes: FloatArray
    target_to_prediction: FloatArray
    target_sizes: FloatArray

    def hausdorff(self, percentile: float = 100) -> float:
        """The larger of the two directed percentiles; see `hausdorff_distance`."""
        check_percentile(percentile)
        return max(
            _percentile(self.prediction_to_target, self.prediction_sizes, percentile),
            _percentile(self.target_to_prediction, self.target_sizes, percentile),
        )

    def average(self) -> float:
        """Mean over the prediction's surface; see `average_surface_distance`."""
        return _ratio(
            _weighted(self.prediction_to_target, self.prediction_sizes), self.prediction_sizes.sum()
        )

    def average_symmetric(self) -> float:
        """Mean over both surfaces; see `average_symmetric_surface_distance`."""
        total = _weighted(self.prediction_to_target, self.prediction_sizes)
        total += _weighted(self.target_to_prediction, self.target_sizes)
        return _ratio(total, self.prediction_sizes.sum() + self.target_sizes.sum())

    def dice(self, tolerance: float) -> float:
        """Share of both surfaces within `tolerance` of the other; see `surface_dice`."""
        limit = _check.limit("tolerance", tolerance)  # finite: an empty mask is infinitely far
        close = self.prediction_sizes[self.prediction_to_target <= limit].sum()
        close += self.target_sizes[self.target_to_prediction <= limit].sum()
        return _ratio(close, self.prediction_sizes.sum() + self.target_sizes.sum())


def check_percentile(percentile: float) -> None:
    number = _check.plain(percentile)
    if not (_check.is_real(number) and 0 <= number <= 100):
        fail("percentile", repr(number), "a number from 0 to 100")


def surface_distances(prediction: Mask, target: Mask, *, spacing: SpacingLike = None) -> SurfaceDistances:
    """Measure the surfaces of two masks once, for any number of metrics.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.

    Raises:
        TypeError, ValueError: on masks or spacing of another form.
    """
    masks = _masks.pair(prediction, target)
    return between(*masks, _masks.steps(spacing, masks[0].ndim))


def between(prediction: BoolArray, target: BoolArray, steps: FloatArray) -> SurfaceDistances:
    """`surface_distances` of masks and steps in the form of `_masks`."""
    sizes = element_sizes(steps)
    sides = []
    for code, places, distances in _sides(prediction, target, steps):
        sides += [distances, sizes[code.reshape(-1)[places]]]
    return SurfaceDistances(*sides)


def farthest_voxel(prediction: BoolArray, target: BoolArray, steps: FloatArray) -> tuple[int, ...]:
    """A voxel at the surface of one mask where that is farthest from the other's; neither may be empty."""
    sides = zip((prediction, target), _sides(prediction, target, steps), strict=True)
    mask, (code, places, distances) = max(sides, key=lambda side: side[1][2].max())
    corner = np.unravel_index(places[distances.argmax()], code.shape)
    around = tuple(slice(max(0, int(place) - 1), int(place) + 1) for place in corner)
    first = np.argwhere(mask[around])[0]
    return tuple(int(part.start + place) for part, place in zip(around, first, strict=True))


def _sides(
    prediction: BoolArray, target: BoolArray, steps: FloatArray
) -> Iterator[tuple[npt.NDArray[np.uint8], Places, FloatArray]]:
    """For each mask its neighborhoods, the places of its surface, and their distances to the other."""
    codes = [neighborhood_codes(mask) for mask in (prediction, target)]
    borders = [(code != 0) & (code != (1 << 2**code.ndim) - 1) for code in codes]
    for code, here, there in zip(codes, borders, reversed(borders), strict=True):
        places = np.flatnonzero(here)
        yield code, places, to_nearest(places, there, steps)


def _percentile(distances: FloatArray, sizes: FloatArray, percentile: float) -> float:
    """The distance that `percentile` % of the surface does not exceed; inf without a surface."""
    if not len(distances):
        return math.inf
    if percentile == 100:
        return float(distances.max())
    # Bisection over the few distinct distances, on ever fewer elements: quicker than to sort them all.
    values, total = np.unique(distances), sizes.sum()
    wanted, nearer = total * (percentile / 100), 0.0
    low, high = 0, len(values) - 1
    left, left_sizes = distances, sizes
    while low < high:
        middle = (low + high) // 2
        near = left <= values[middle]
        within = nearer + left_sizes[near].sum()
        if abs(within - wanted) <= _ROUNDING * total:
            return _percentile_by_sorting(distances, sizes, percentile)
        if within > wanted:
            high = middle
        else:
            low, nearer, near = middle + 1, within, ~near
        left, left_sizes = left[near], left_sizes[near]
    return float(values[low])


def _percentile_by_sorting(distances: FloatArray, sizes: FloatArray, percentile: float) -> float:
    """In the published code's order of summation, whose last bit decides between two elements."""
    order = np.lexsort((sizes, distances))
    share = np.cumsum(sizes[order]) / sizes[order].sum()
    place = np.searchsorted(share, percentile / 100)
    return float(distances[order[min(int(place), len(order) - 1)]])


def _weighted(distances: FloatArray, sizes: FloatArray) -> float:
    return float((distances * sizes).sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def hausdorff_distance(
    prediction: Mask, target: Mask, *, spacing: SpacingLike = None, percentile: float = 100
) -> float:
    """Robust Hausdorff distance: the larger of the two directed area-weighted percentiles.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.
        percentile: 100 for the maximum, 95 for the usual robust form.

    Returns:
        In the unit of `spacing`; inf where either mask is empty.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    return surface_distances(prediction, target, spacing=spacing).hausdorff(percentile)


def average_surface_distance(prediction: Mask, target: Mask, *, spacing: SpacingLike = None) -> float:
    """Area-weighted mean distance from the prediction's surface to the target's.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.

    Returns:
        In the unit of `spacing`; NaN where the prediction is empty, else inf where the target is.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    return surface_distances(prediction, target, spacing=spacing).average()


def average_symmetric_surface_distance(
    prediction: Mask, target: Mask, *, spacing: SpacingLike = None
) -> float:
    """Area-weighted mean distance over both surfaces taken together (Heimann et al. 2009, ASSD).

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.

    Returns:
        In the unit of `spacing`; inf where one mask is empty, NaN where both are.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    return surface_distances(prediction, target, spacing=spacing).average_symmetric()


def surface_dice(prediction: Mask, target: Mask, *, spacing: SpacingLike = None, tolerance: float) -> float:
    """Share of both surfaces that lies within a tolerance of the other one (Nikolov et al. 2021).

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.
        tolerance: in the unit of `spacing`; a distance equal to it is within, and so is one that exceeds it
            by rounding, up to 5e-7 of it.

    Returns:
        From 0 to 1; 0 where one mask is empty, NaN where both are.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    return surface_distances(prediction, target, spacing=spacing).dice(tolerance)
