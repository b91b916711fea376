"""Overlap of two masks."""

import numpy as np

from surfloss._check import SpacingLike
from surfloss.metrics import _masks
from surfloss.metrics._masks import Mask

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
    shared, total = np.count_nonzero(p & t), np.count_nonzero(p) + np.count_nonzero(t)
    return (2 * shared + _SMOOTH) / (total + _SMOOTH)
