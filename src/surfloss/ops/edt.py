"""Operators of the distance transform: schema, fake, and the backend that answers.

To add an operator: write its signature and meaning into `Implementation` in `backends/_interface.py`, and
the plain form into `backends/reference.py`; register it here with a fake (shape, dtype, device, nothing else)
and, where its result depends differentiably on an input, an autograd rule; give `tests/ops` an `opcheck` of
it. Operators check nothing: the API in front of them does.

The batch is one axis here. A spacing comes as `spacing` (floats, all items) or `item_spacing` (float64 tensor
of shape `(batch, dims)`, which replaces it). Distances are constants of every gradient, so there is no
autograd rule: callers detach the mask.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from surfloss._check import Steps
from surfloss.ops._select import select


@torch.library.custom_op("surfloss::edt", mutates_args=())
def edt(
    mask: Tensor,
    spacing: Sequence[float],
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
    mask: Tensor, spacing: Sequence[float], item_spacing: Tensor | None, backend: str | None
) -> Tensor:
    """Index of the zero voxel nearest to every voxel: see `Implementation.nearest_background`."""
    return select(backend, mask.device).nearest_background(mask, Steps(list(spacing), item_spacing))


@nearest_background.register_fake
def _(mask: Tensor, *_: Any) -> Tensor:
    batch, *spatial = mask.shape
    return torch.empty((batch, len(spatial), *spatial), dtype=torch.int32, device=mask.device)


def two_sided_without(ignore: Tensor, mask: Tensor, one_sided: Callable[[Tensor], Tensor]) -> Tensor:
    """Distance to the opposite label where ignored voxels have neither.

    One transform of two labels cannot say that; here each of two takes them for voxels that are not its goal.
    `one_sided` gives a mask's foreground its distance to the nearest zero voxel.
    """
    return torch.where(mask, one_sided(mask | ignore), one_sided(~mask | ignore))
