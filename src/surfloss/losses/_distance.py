"""Distances of targets in channels, for the losses that weigh voxels by them."""

from typing import Any, Literal, NoReturn, TypeAlias

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


def boundary_map(mask: Tensor, ignore: Tensor | None, spacing: SpacingLike, backend: str | None) -> Tensor:
    """The signed distance of the boundary loss: see `BoundaryLoss`; +inf or -inf in a mask of one label."""
    distance = squared_two_sided(mask, ignore, spacing, backend).sqrt()
    return torch.where(mask, smallest_step(mask, spacing) - distance, distance)


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


def checked_map(
    value: object,
    target: Tensor,
    validate: bool | None,
    *,
    inside: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """The `target_distance` that the caller gave, as a constant of every gradient.

    `inside` is the target's mask if the distance is signed: a map that was made of another target, or moved
    after it was made, has voxels of the wrong sign.
    """
    _check.tensor("target_distance", value)
    assert isinstance(value, Tensor)
    _check.same_device("target_distance", value, "input", target)
    if value.shape != target.shape:
        fail("target_distance", f"shape {tuple(value.shape)}", f"the target's, {tuple(target.shape)}")
    if _check.can_read(value, validate):
        right = value >= 0 if inside is None else torch.where(inside, value <= 0, value >= 0)
        if ignore is not None:
            right = right | ignore
        if not bool(right.all()):
            _refuse_map(value, right, signed=inside is not None)
    return value.detach().float()


def _refuse_map(value: Tensor, right: Tensor, *, signed: bool) -> NoReturn:
    if not signed:
        fail("target_distance", "NaN or negative values", "distances")
    if bool(value.isnan().any()):
        fail("target_distance", "NaN", "distances")
    wrong = f"the wrong sign at {int((~right).sum())} of {right.numel()} voxels"
    fail("target_distance", wrong, "distances of this target, negative inside of it and positive outside")


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
