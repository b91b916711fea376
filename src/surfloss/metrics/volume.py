"""Volumes, and their difference."""

import math
from typing import cast

import numpy as np

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._components import Labels, boxes, components
from surfloss.metrics._masks import BoolArray, FloatArray, Mask


def volume_ml(mask: Mask, *, spacing: SpacingLike) -> float:
    """Volume of the foreground in ml: voxels times the volume of one.

    Args:
        mask: binary, 3-D, array or tensor on any device.
        spacing: mm along each axis in array order, or one number. Required, since ml need mm.

    Returns:
        0 for an empty mask.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    voxels = _volume(mask)
    return float(np.count_nonzero(voxels) * np.prod(_masks.steps_in_mm(spacing, 3)) / 1000)


def relative_volume_difference(prediction: Mask, target: Mask, *, spacing: SpacingLike = None) -> float:
    """`| |P| - |T| | / |T|`.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: checked only, since it cancels; every metric takes it.

    Returns:
        0 or more, 1 where the prediction is empty; NaN where the target is.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    p, t = _masks.pair(prediction, target)
    _masks.steps(spacing, p.ndim)
    got, wanted = int(np.count_nonzero(p)), int(np.count_nonzero(t))
    return abs(got - wanted) / wanted if wanted else math.nan


def abc2_volume_ml(
    mask: Mask, *, spacing: SpacingLike, slice_axis: int = 0, slice_weights: bool = True
) -> float:
    """Bedside estimate of a hemorrhage's volume in ml, ABC/2 (Kothari et al. 1996, Stroke 27:1304).

    On the slice where a lesion is largest, A is its longest diameter and B the longest one at right angles to
    A; C is the slice thickness times the number of slices. The formula is for one lesion: 26-connected
    lesions are measured one by one and added up. Diameters are those of the convex hull, whose outline passes
    midway between voxels inside and outside, so that a row of n voxels is n voxels long.

    Args:
        mask: binary, 3-D, array or tensor on any device.
        spacing: mm along each axis in array order, or one number. Required, since ml need mm.
        slice_axis: the axis across the slices.
        slice_weights: count a slice half where its area is 25 to 75 % of the largest one's, and not at all
            below, as the method says; False counts every slice with hemorrhage once.

    Returns:
        0 for an empty mask. For an ellipsoid cut into ever thinner slices, 0.652 of the true volume with
        weights and 0.955 without (`docs/metrics.md`).

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    voxels = _volume(mask)
    check_slice_axis(slice_axis)
    return abc2_of(components(voxels, 3), _masks.steps_in_mm(spacing, 3), slice_axis, slice_weights)


def check_slice_axis(slice_axis: int) -> None:
    if not (_check.is_whole(slice_axis) and -3 <= slice_axis < 3):
        fail("slice_axis", repr(slice_axis), "an axis of the mask, 0 to 2")


def abc2_of(labels: Labels, steps: FloatArray, slice_axis: int = 0, slice_weights: bool = True) -> float:
    """`abc2_volume_ml` of a mask whose components are known."""
    thickness, in_plane = steps[slice_axis], np.delete(steps, slice_axis)
    volumes = []
    known: dict[tuple[tuple[int, ...], bytes], tuple[float, float]] = {}  # specks come in few shapes
    for label, box in enumerate(boxes(labels), start=1):
        lesion = np.moveaxis(labels[box] == label, slice_axis, 0)
        areas = lesion.sum(axis=(1, 2))
        largest = lesion[areas.argmax()]
        shape = (largest.shape, largest.tobytes())
        if shape not in known:
            known[shape] = _diameters(largest, in_plane)
        a, b = known[shape]
        share = areas / areas.max()
        weights = np.where(share > 0.75, 1, np.where(share >= 0.25, 0.5, 0)) if slice_weights else share > 0
        volumes.append(a * b * float(thickness * weights.sum()) / 2)
    return math.fsum(volumes) / 1000


def _volume(mask: Mask) -> BoolArray:
    voxels = _masks.single("mask", mask)
    if voxels.ndim != 3:
        fail("mask", f"shape {tuple(mask.shape)}", "a 3-D mask: an area has no volume")
    return voxels


def _diameters(area: BoolArray, steps: FloatArray) -> tuple[float, float]:
    """Longest diameter of a 2-D shape, and the longest at right angles to it, in mm."""
    from scipy.spatial import ConvexHull

    sides = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])
    rows = np.flatnonzero(area.any(axis=1))  # the hull is that of the rows' ends
    ends = np.concatenate([area[rows].argmax(axis=1), area.shape[1] - 1 - area[rows, ::-1].argmax(axis=1)])
    centers = np.stack([np.tile(rows, 2), ends], axis=1)
    points = ((centers[:, None] + sides) * steps).reshape(-1, 2)
    hull = cast(FloatArray, points[ConvexHull(points).vertices])  # counterclockwise
    apart = np.linalg.norm(hull[:, None] - hull, axis=-1)
    first, last = sorted(np.unravel_index(apart.argmax(), apart.shape))
    direction = (hull[last] - hull[first]) / apart[first, last]
    along, across = hull @ direction, hull @ np.array([-direction[1], direction[0]])
    # Between the ends of A the hull has two chains; the width between them is largest at a vertex.
    chain, back = np.arange(first, last + 1), np.arange(last, first + len(hull) + 1)[::-1] % len(hull)
    width = np.interp(along, along[back], across[back]) - np.interp(along, along[chain], across[chain])
    return float(apart[first, last]), float(np.abs(width).max())
