"""The oracle: slow, obvious, and right. NumPy and SciPy do the search, an item at a time.

Every backend gives these functions with these meanings; the tests compare it with this one.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor


def edt(mask: Tensor, spacing: list[float], item_spacing: Tensor | None, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    distances = np.empty(mask.shape, np.float32)
    for item, (voxels, steps) in enumerate(_items(mask, spacing, item_spacing)):
        distance = _squared_distance(voxels, steps)
        if form != "one_sided":
            # A foreground voxel looks for background and the other way round: one of the two is 0.
            distance = np.where(voxels, distance, _squared_distance(~voxels, steps))
        if not squared:
            distance = np.sqrt(distance)
        distances[item] = np.where(voxels, -distance, distance) if form == "signed" else distance
    return torch.from_numpy(distances).to(mask.device)


def nearest_background(mask: Tensor, spacing: list[float], item_spacing: Tensor | None) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    batch, *spatial = mask.shape
    indices = np.full((batch, len(spatial), *spatial), -1, np.int32)
    for item, (voxels, steps) in enumerate(_items(mask, spacing, item_spacing)):
        if voxels.size and not voxels.all():
            indices[item] = _nearest(voxels, steps)
    return torch.from_numpy(indices).to(mask.device)


def hausdorff_error(
    input: Tensor,
    target: Tensor,
    input_squared: Tensor | None,
    target_squared: Tensor | None,
    ignore: Tensor | None,
    sigmoid: bool,
    alpha: float,
    spacing: list[float],
    item_spacing: Tensor | None,
    empty: str,
) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (p - target)^2` an item, `weight = d_p^alpha + d_target^alpha`, and its gradient.

    p is the input, or its sigmoid. `input_squared` and `target_squared` are None, or squared distances to
    take instead of those of the masks `p > 0.5` and `target > 0.5`, inf where there is none. `ignore` is None
    or marks voxels of weight 0. The gradient is with respect to the input.
    """
    if input_squared is None:
        input_squared = edt(input > (0 if sigmoid else 0.5), spacing, item_spacing, "two_sided", True)
    if target_squared is None:
        target_squared = edt(target > 0.5, spacing, item_spacing, "two_sided", True)
    empty_sq = _empty_squared(input, spacing, item_spacing, empty)
    mine, theirs = (
        torch.where(squared.isinf(), empty_sq, squared) ** (alpha / 2)
        for squared in (input_squared, target_squared)
    )
    weight = mine + theirs
    if ignore is not None:
        weight.masked_fill_(ignore, 0)
    prediction = input.sigmoid() if sigmoid else input
    voxels = max(1, math.prod(input.shape[1:]))
    difference = prediction - target.to(input.dtype)
    gradient = difference * weight * (2 / voxels)
    if sigmoid:
        gradient = gradient * prediction * (1 - prediction)
    return (difference**2 * weight).flatten(1).sum(1) / voxels, gradient


def _empty_squared(input: Tensor, spacing: list[float], item_spacing: Tensor | None, empty: str) -> Tensor:
    """What `empty` gives an item of one label as squared distance; broadcasts to the input."""
    shape = input.shape[1:]
    steps = torch.tensor([spacing]) if item_spacing is None else item_spacing
    steps = steps.to(input.device, torch.float64)
    squared = steps.new_zeros(1, *(1,) * len(shape))
    if empty == "zero":
        return squared.float()
    for axis, size in enumerate(shape):
        if empty == "diagonal":
            positions = steps.new_tensor([size])
        else:
            # SciPy's answer for a volume without background: the distance to a voxel before the first one.
            positions = torch.arange(size, device=steps.device) + (axis == 0)
        along = (steps[:, axis, None] * positions) ** 2
        squared = squared + along.view(len(steps), *(-1 if a == axis else 1 for a in range(len(shape))))
    return squared.float()


def _items(
    mask: Tensor, spacing: list[float], item_spacing: Tensor | None
) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]]:
    """Every item of the batch as an array, with its spacing."""
    masks = mask.bool().cpu().numpy()
    steps = np.tile(spacing, (len(masks), 1)) if item_spacing is None else item_spacing.cpu().numpy()
    return list(zip(masks, steps.astype(np.float64), strict=True))


def _nearest(voxels: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    nearest: npt.NDArray[np.int32] = ndimage.distance_transform_edt(
        voxels, sampling=steps, return_distances=False, return_indices=True
    )
    return nearest


def _squared_distance(
    voxels: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """In double from the indices: SciPy's own distances are rooted, and a root squared is inexact."""
    if not voxels.size or voxels.all():
        return np.full(voxels.shape, np.inf)
    squared = np.zeros(voxels.shape)
    for axis, (index, step) in enumerate(zip(_nearest(voxels, steps), steps, strict=True)):
        position = np.arange(voxels.shape[axis]).reshape([-1 if a == axis else 1 for a in range(voxels.ndim)])
        squared += ((index - position) * step) ** 2
    return squared
