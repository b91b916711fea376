"""Overlap of two masks."""

import math
from typing import cast

import numpy as np

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._masks import BoolArray, FloatArray, Mask
from surfloss.ndimage import distance_transform_edt

_SMOOTH = 1e-5  # of the INSTANCE2022 evaluation


def dice(prediction: Mask, target: Mask, *, spacing: SpacingLike = None) -> float:
    """Dice coefficient, `(2 |P and T| + 1e-5) / (|P| + |T| + 1e-5)`, as INSTANCE2022 computes it.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: checked only, since it cancels; every metric takes it.

    Returns:
        From 0 to 1; 1 where both masks are empty, near 0 where one is.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    p, t = _masks.pair(prediction, target)
    _masks.steps(spacing, p.ndim)
    shared, total = int(np.count_nonzero(p & t)), int(np.count_nonzero(p) + np.count_nonzero(t))
    return (2 * shared + _SMOOTH) / (total + _SMOOTH)


def boundary_iou(
    prediction: Mask, target: Mask, *, spacing: SpacingLike = None, width: float | None = None
) -> float:
    """Intersection over union of the two inner boundary regions (Cheng et al. 2021, "Boundary IoU").

    The region of a mask holds its voxels at most `width` from the nearest voxel outside; what lies outside
    the image is outside the mask. Distances are Euclidean, in the unit of `spacing`, where the authors'
    code erodes by pixels.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for distances in voxels.
        width: in the unit of `spacing`; None for 2 % of the image's diagonal, the paper's choice, and at
            least one voxel.

    Returns:
        From 0 to 1; 0 where one mask is empty, NaN where both are.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    masks = _masks.pair(prediction, target)
    steps = _masks.steps(spacing, masks[0].ndim)
    if width is None:
        width = max(0.02 * float(np.linalg.norm(steps * target.shape)), steps.min())
    elif not (_check.is_real(_check.plain(width)) and 0 < width < math.inf):
        fail("width", repr(width), "a positive finite distance")
    p, t = (_boundary_region(mask, steps, width) for mask in masks)
    shared, union = int(np.count_nonzero(p & t)), int(np.count_nonzero(p | t))
    return shared / union if union else math.nan


def _boundary_region(mask: BoolArray, steps: FloatArray, width: float) -> BoolArray:
    distances = cast(FloatArray, distance_transform_edt(np.pad(mask, 1), sampling=steps.tolist()))
    inner = (slice(1, -1),) * mask.ndim
    return mask & (distances[inner] <= _check.limit("width", width))
