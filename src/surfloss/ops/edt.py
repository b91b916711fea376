"""Operators of the distance transform: schema, fake, and the backend that answers.

To add an operator: write its signature and meaning into `Implementation` in `backends/_interface.py`, and
the plain form into `backends/reference.py`; register it here with a fake (shape, dtype, device, nothing else)
and, where its result depends differentiably on an input, an autograd rule; give `tests/ops` an `opcheck` of
it. Operators check nothing: the API in front of them does.

The batch is one axis here. A spacing comes as `spacing` (floats, all items) or `item_spacing` (float64 tensor
of shape `(batch, dims)`, which replaces it). Distances are constants of every gradient, so there is no
autograd rule: callers detach the mask.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surfloss._check import Steps
from surfloss.backends._interface import BackgroundImplementation
from surfloss.ops._schema import Floats
from surfloss.ops._select import select


@torch.library.custom_op("surfloss::edt", mutates_args=())
def edt(
    mask: Tensor,
    spacing: Floats,
    item_spacing: Tensor | None,
    form: str,
    squared: bool,
    backend: str | None,
) -> Tensor:
    """Distance to the nearest voxel of another label: see `Implementation.edt`."""
    return select(backend, mask.device).edt(mask, Steps(list(spacing), item_spacing), form, squared)


@edt.register_fake
def _(mask: Tensor, *_: Any) -> Tensor:
    return torch.empty(mask.shape, dtype=torch.float32, device=mask.device)


@torch.library.custom_op("surfloss::nearest_background", mutates_args=())
def nearest_background(
    mask: Tensor, spacing: Floats, item_spacing: Tensor | None, backend: str | None
) -> Tensor:
    """Index of the zero voxel nearest to every voxel: see `Implementation.nearest_background`."""
    return select(backend, mask.device).nearest_background(mask, Steps(list(spacing), item_spacing))


@nearest_background.register_fake
def _(mask: Tensor, *_: Any) -> Tensor:
    batch, *spatial = mask.shape
    return torch.empty((batch, len(spatial), *spatial), dtype=torch.int32, device=mask.device)


def measure_background(
    mask: Tensor, steps: Steps, indices: bool, backend: str | None
) -> tuple[Tensor, Tensor | None]:
    """Distance to the nearest zero voxel in float64: see `BackgroundImplementation.background_distance`.

    What the operator below does, without the time that PyTorch takes to find it.
    """
    implementation = select(backend, mask.device)
    if isinstance(implementation, BackgroundImplementation):
        return implementation.background_distance(mask, steps, indices)
    nearest = implementation.nearest_background(mask, steps)
    return _distance_to(nearest, steps), nearest


@torch.library.custom_op("surfloss::background_distance", mutates_args=())
def background_distance(
    mask: Tensor, spacing: Floats, item_spacing: Tensor | None, indices: bool, backend: str | None
) -> tuple[Tensor, Tensor]:
    """`measure_background`; the second result is empty without `indices`."""
    distance, nearest = measure_background(mask, Steps(list(spacing), item_spacing), indices, backend)
    return distance, nearest if indices and nearest is not None else _no_indices(mask)


@background_distance.register_fake
def _(mask: Tensor, spacing: Any, item_spacing: Any, indices: bool, *_: Any) -> tuple[Tensor, Tensor]:
    batch, *spatial = mask.shape
    distance = torch.empty(mask.shape, dtype=torch.float64, device=mask.device)
    if not indices:
        return distance, _no_indices(mask)
    return distance, torch.empty((batch, len(spatial), *spatial), dtype=torch.int32, device=mask.device)


def _no_indices(mask: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.int32, device=mask.device)


def _distance_to(nearest: Tensor, steps: Steps) -> Tensor:
    """Length of the ways to `nearest` `(items, dims, *spatial)` in mm; inf where that is -1."""
    squared = torch.zeros(nearest[:, 0].shape, dtype=torch.float64, device=nearest.device)
    for axis, size in enumerate(nearest.shape[2:]):
        shape = [1] * squared.ndim
        shape[1 + axis] = size
        place = torch.arange(size, device=nearest.device).view(shape)
        if steps.per_item is None:
            step: float | Tensor = steps.shared[axis]
        else:
            step = steps.per_item[:, axis].to(nearest.device).view(-1, *[1] * (squared.ndim - 1))
        squared += ((nearest[:, axis] - place).double() * step) ** 2
    # PyTorch's root of doubles on a CPU is not always the nearest one.
    distance = torch.from_numpy(np.sqrt(squared.numpy())) if squared.is_cpu else squared.sqrt_()
    return distance.masked_fill_(nearest[:, 0] < 0, torch.inf)


def two_sided_without(ignore: Tensor, mask: Tensor, one_sided: Callable[[Tensor], Tensor]) -> Tensor:
    """Distance to the opposite label where ignored voxels have neither.

    One transform of two labels cannot say that; here each of two takes them for voxels that are not its goal.
    `one_sided` gives a mask's foreground its distance to the nearest zero voxel.
    """
    return torch.where(mask, one_sided(mask | ignore), one_sided(~mask | ignore))
