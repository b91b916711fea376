"""Distances by brute force over all pairs of voxels, and SciPy's, both in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 2_000_000


def squared_to(starts: Mask, goals: Mask, spacing: Sequence[float], shrink: float = 0.0) -> Field:
    """Squared distance from each voxel of `starts` to the nearest voxel of `goals`.

    It is 0 outside `starts`, and inf if there are no goals. `shrink=0.5` measures to the nearest point of a
    goal's box instead of its center.
    """
    squared = np.zeros(starts.shape)
    origins, targets = np.argwhere(starts), np.argwhere(goals)
    if not len(targets):
        squared[starts] = np.inf
        return squared
    for part in np.array_split(origins, 1 + len(origins) * len(targets) // _PAIRS_AT_ONCE):
        offsets = np.abs(part[:, None] - targets[None])
        steps = np.maximum(offsets - shrink, 0) * np.asarray(spacing)
        squared[tuple(part.T)] = (steps**2).sum(-1).min(1, initial=np.inf)
    return squared


def squared_edt(mask: Mask, spacing: Sequence[float]) -> Field:
    """One item: from every nonzero voxel to the nearest zero voxel."""
    return squared_to(mask, ~mask, spacing)


def squared_two_sided(mask: Mask, spacing: Sequence[float], shrink: float = 0.0) -> Field:
    """One item: from every voxel to the nearest one of the other label."""
    return squared_to(mask, ~mask, spacing, shrink) + squared_to(~mask, mask, spacing, shrink)


def squared_to_other_labels(labels: npt.NDArray[Any], spacing: Sequence[float], closed: bool) -> Field:
    """One item: from every voxel to the nearest voxel of another label; inf for none.

    If closed, the outside is another label, represented by one layer of voxels around the item.
    """
    _, numbers = np.unique(labels, return_inverse=True)
    numbers = np.pad(numbers.reshape(labels.shape), int(closed), constant_values=-1)
    places = np.stack([axis.ravel() for axis in np.indices(numbers.shape)], -1) * np.asarray(spacing, float)
    numbers, inside = numbers.ravel(), numbers >= 0
    squared = np.full(numbers.shape, np.inf)
    for voxel, place in enumerate(places):
        others = places[numbers != numbers[voxel]]
        squared[voxel] = ((others - place) ** 2).sum(-1).min(initial=np.inf)
    return squared[inside.ravel()].reshape(labels.shape)


def scipy_two_sided(mask: Mask, spacing: Sequence[float]) -> Field:
    """SciPy's `edt(mask) + edt(~mask)`; with a single label, its value for a volume without background."""
    inside, outside = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (mask, ~mask))
    return inside + outside
