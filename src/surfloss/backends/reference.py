"""The oracle: slow, simple and correct. NumPy and SciPy search one item at a time.

`_interface.py` specifies the functions. The tests compare every backend with this one.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from surfloss._check import Steps
from surfloss.backends._interface import HausdorffArguments


def edt(mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    distances = np.empty(mask.shape, np.float32)
    for item, (voxels, own_steps) in enumerate(_items(mask, steps)):
        distance = _squared_distance(voxels, own_steps)
        if form != "one_sided":
            # Foreground voxels measure to the background, and background voxels to the foreground.
            distance = np.where(voxels, distance, _squared_distance(~voxels, own_steps))
        if not squared:
            distance = np.sqrt(distance)
        distances[item] = np.where(voxels, -distance, distance) if form == "signed" else distance
    return torch.from_numpy(distances).to(mask.device)


def label_edt(labels: Tensor, steps: Steps, form: str, squared: bool, border: str) -> Tensor:
    """Distance to the nearest voxel of another label."""
    distances = np.empty(labels.shape, np.float32)
    per_item = _per_item(steps).expand(len(labels), -1).numpy()
    for item, (own, own_steps) in enumerate(zip(labels.cpu().numpy(), per_item, strict=True)):
        distance = _squared_to_other_labels(own, own_steps, border == "closed")
        if not squared:
            distance = np.sqrt(distance)
        if form == "one_sided":
            distance[own == 0] = 0
        distances[item] = np.where(own != 0, -distance, distance) if form == "signed" else distance
    return torch.from_numpy(distances).to(labels.device)


def nearest_background(mask: Tensor, steps: Steps) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    items, *spatial = mask.shape
    indices = np.full((items, len(spatial), *spatial), -1, np.int32)
    for item, (voxels, own_steps) in enumerate(_items(mask, steps)):
        if voxels.size and not voxels.all():
            indices[item] = _nearest(voxels, own_steps)
    return torch.from_numpy(indices).to(mask.device)


def hausdorff_error(arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (p - g)^2` over an item's voxels, and its gradient."""
    input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, empty, *_ = arguments
    if input_squared is None:
        input_squared = edt(input > (0 if sigmoid else 0.5), steps, "two_sided", True)
    if target_squared is None:
        target_squared = edt(target > 0.5, steps, "two_sided", True)
    empty_sq = _empty_squared(input.shape[1:], steps, empty).to(input.device, torch.float32)
    mine, theirs = (
        torch.where(squared.isinf(), empty_sq, squared).clamp_max(arguments.max_distance**2) ** (alpha / 2)
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
    square = difference**2
    terms = [square * weight]
    if arguments.with_plain:
        terms.append(square if ignore is None else square.masked_fill(ignore, 0))
    return torch.stack([term.flatten(1).sum(1) / voxels for term in terms]), gradient


def _empty_squared(shape: torch.Size, steps: Steps, empty: str) -> Tensor:
    """The squared distance in an item with one label, `(items or 1, *(size or 1 per axis))`."""
    per_item = _per_item(steps)
    squared = per_item.new_zeros(len(per_item), *(1,) * len(shape))
    for axis, size in enumerate(shape):
        if empty == "zero":
            positions = torch.tensor([0])
        elif empty == "diagonal":
            positions = torch.tensor([size])
        else:
            # SciPy's result for a volume without background: the distance to a voxel before the first one.
            positions = torch.arange(size) + (axis == 0)
        along = (per_item[:, axis, None] * positions) ** 2
        squared = squared + along.view(
            len(squared), *(len(positions) if a == axis else 1 for a in range(len(shape)))
        )
    return squared


def _per_item(steps: Steps) -> Tensor:
    """The steps as float64 on the CPU, `(items, dims)`, or `(1, dims)` if all items share them."""
    return (
        torch.tensor([steps.shared], dtype=torch.float64) if steps.per_item is None else steps.per_item.cpu()
    )


def _items(mask: Tensor, steps: Steps) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]]:
    """Every item of the batch as an array, with its steps."""
    per_item = _per_item(steps).expand(len(mask), -1)
    return list(zip(mask.bool().cpu().numpy(), per_item.numpy(), strict=True))


def _nearest(voxels: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    nearest: npt.NDArray[np.int32] = ndimage.distance_transform_edt(
        voxels, sampling=steps, return_distances=False, return_indices=True
    )
    return nearest


def _squared_distance(
    voxels: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Squared distances in float64, from the indices: squaring SciPy's distances would be inexact."""
    if not voxels.size or voxels.all():
        return np.full(voxels.shape, np.inf)
    squared = np.zeros(voxels.shape)
    for axis, (index, step) in enumerate(zip(_nearest(voxels, steps), steps, strict=True)):
        position = np.arange(voxels.shape[axis]).reshape([-1 if a == axis else 1 for a in range(voxels.ndim)])
        squared += ((index - position) * step) ** 2
    return squared


def _squared_to_other_labels(
    labels: npt.NDArray[Any], steps: npt.NDArray[np.float64], closed: bool
) -> npt.NDArray[np.float64]:
    """One transform per label, of its bounding box plus one voxel: no voxel further out can be nearest."""
    numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + 1
    inside = (slice(None),) * labels.ndim
    if closed:
        numbers = np.pad(numbers, 1)  # with 0, which is not used by any label
        inside = (slice(1, -1),) * labels.ndim
    squared = np.zeros(numbers.shape)
    for number, box in enumerate(ndimage.find_objects(numbers) if labels.size else [], 1):
        around = tuple(slice(max(0, along.start - 1), along.stop + 1) for along in box)
        own = numbers[around] == number
        squared[around][own] = _squared_distance(own, steps)[own]
    return squared[inside]
