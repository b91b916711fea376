"""Distances of targets in channels, for the losses that weigh voxels by them."""

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.edt import distance_transform_edt, two_sided_edt
from surfloss.ops.edt import two_sided_without

Normalize: TypeAlias = Literal["diagonal", None]


def spatial(value: Tensor) -> tuple[int, ...]:
    """The axes of space of `(batch, channels, *spatial)`."""
    return tuple(range(2, value.ndim))


def squared_two_sided(
    mask: Tensor, ignore: Tensor | None, spacing: SpacingLike, backend: str | None
) -> Tensor:
    """Squared distance from every voxel to the nearest one of the other label, none of which is ignored.

    Of a bool mask `(batch, channels, *spatial)`; float32 in mm^2, inf where there is no such voxel.
    """
    options: Any = {"spatial_dims": mask.ndim - 2, "spacing": spacing, "squared": True, "backend": backend}
    if ignore is None:
        return two_sided_edt(mask, **options)
    return two_sided_without(ignore, mask, lambda side: distance_transform_edt(side, **options))


def smallest_step(mask: Tensor, spacing: SpacingLike) -> float | Tensor:
    """The voxel's smallest size: a number, or with a spacing an item `(batch, channels, 1, ...)`."""
    steps = _steps(mask, spacing)
    return steps.amin(0) if isinstance(steps, Tensor) else min(steps)


def diagonal(mask: Tensor, spacing: SpacingLike) -> float | Tensor:
    """The physical diagonal of an item, in the form of `smallest_step`."""
    steps = _steps(mask, spacing)
    squares = [(step * size) ** 2 for step, size in zip(steps, mask.shape[2:], strict=True)]
    length: float | Tensor = sum(squares) ** 0.5
    return length


def _steps(mask: Tensor, spacing: SpacingLike) -> list[float] | Tensor:
    """The voxel's size along each axis: numbers, or a tensor `(dims, batch, channels, 1, ...)`."""
    lead, dims = mask.shape[:2], mask.ndim - 2
    shared, per_item = _check.spacing(spacing, dims, lead, mask.device)
    return shared if per_item is None else per_item.float().T.reshape(dims, *lead, *(1,) * dims)


def checked_map(value: object, target: Tensor, validate: bool | None, *, signed: bool) -> Tensor:
    """The `target_distance` that the caller gave, as a constant of every gradient."""
    _check.tensor("target_distance", value)
    assert isinstance(value, Tensor)
    _check.same_device("target_distance", value, "input", target)
    if value.shape != target.shape:
        fail("target_distance", f"shape {tuple(value.shape)}", f"the target's, {tuple(target.shape)}")
    if _check.can_read(value, validate):
        wrong = value.isnan() if signed else ~(value >= 0)
        if bool(wrong.any()):
            fail("target_distance", "NaN" if signed else "NaN or negative values", "distances")
    return value.detach().float()


def refuse_uniform(argument: str, mask: Tensor, ignore: Tensor | None) -> None:
    """Raise where, among the voxels that count, a mask is empty or full."""
    if torch.compiler.is_compiling():
        fail("empty", "'raise' in a compiled graph", "an option that reads no values", RuntimeError)
    counted = torch.ones_like(mask) if ignore is None else (~ignore).expand_as(mask)
    inside = (mask & counted).flatten(2).sum(2)
    uniform = (inside == 0) | (inside == counted.flatten(2).sum(2))
    if bool(uniform.any()):
        where = [tuple(place) for place in uniform.nonzero().tolist()]
        fail(argument, f"an empty or full mask at (item, channel) {where}", "both labels (empty='raise')")
