"""Volumes, and their difference."""

import numpy as np

from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._masks import Mask


def volume_ml(mask: Mask, *, spacing: SpacingLike = None) -> float:
    """Volume of the foreground in ml: voxels times the volume of one.

    Args:
        mask: binary, 3-D, array or tensor on any device.
        spacing: mm along each axis in array order, or one number; None for 1.

    Returns:
        0 for an empty mask.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    voxels = _masks.binary("mask", mask)
    if voxels.ndim != 3:
        fail("mask", f"shape {voxels.shape}", "a 3-D mask: an area has no volume")
    return float(np.count_nonzero(voxels) * np.prod(_masks.steps(spacing, 3)) / 1000)


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
    wanted = np.count_nonzero(t)
    return abs(np.count_nonzero(p) - wanted) / wanted if wanted else float("nan")
