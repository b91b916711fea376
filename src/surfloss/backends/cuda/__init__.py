"""CUDA C++ kernels for NVIDIA GPUs: allocates, orders the passes, launches; csrc/cuda does the rest."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surfloss._check import fail
from surfloss.backends.cuda import device
from surfloss.backends.cuda.device import float32, float64, int32, int64, pointer

_FORMS = {"one_sided": 0, "two_sided": 1, "signed": 2}
_EMPTY = {"zero": 0, "diagonal": 1, "reference": 2}
# How a voxel becomes a label: `Kind` of csrc/cuda/common.cuh.
_NONZERO = {
    torch.bool: 0,
    torch.uint8: 0,
    torch.float16: 1,
    torch.bfloat16: 1,
    torch.float32: 2,
    torch.float64: 3,
}
_ABOVE_HALF = {torch.bool: 0, torch.float32: 4, torch.float64: 5}
_ABOVE_ZERO = {torch.float32: 6, torch.float64: 7}

# Of csrc/cuda, too.
_WARP, _ROW_WARPS, _COLUMN_WARPS, _FAN, _THREADS = 32, 8, 8, 8, 256
_INT_INFINITY = 1 << 30
_SEARCHED_ROWS = 16

_LONGEST = 1 << 24  # positions along y and z are floats
_SMALLEST, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max

Labels = tuple[Tensor, int]
"""Values `(batch, *spatial)` and the kind of their labels."""


def edt(mask: Tensor, spacing: list[float], item_spacing: Tensor | None, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    distance = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    _transform("mask", [_nonzero(mask)], [distance], spacing, item_spacing, form, squared)
    return distance


def nearest_background(mask: Tensor, spacing: list[float], item_spacing: Tensor | None) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    batch, *sizes = mask.shape
    nearest = torch.empty((batch, len(sizes), *sizes), dtype=torch.int32, device=mask.device)
    field = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    where: list[Tensor | None] = [torch.empty_like(field, dtype=torch.int32) for _ in sizes]
    for axis in _column_axes(mask.shape, skipped=True):
        where[axis] = None
    _transform("mask", [_nonzero(mask)], [field], spacing, item_spacing, "one_sided", True, where)
    if mask.numel():
        arguments = (
            *map(pointer, [None] * (3 - len(sizes)) + where), pointer(nearest),
            int64(batch), int32(len(sizes)), *map(int32, _in_front(1, sizes)),
        )  # fmt: skip
        device.launch("follow", _parts(mask.numel(), _THREADS), (_THREADS, 1), 0, arguments, mask.device)
    return nearest


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
    """Mean of `weight * (p - target)^2` an item, `weight = d_p^alpha + d_target^alpha`, and its gradient."""
    batch, *sizes = input.shape
    voxels = math.prod(sizes)
    input, target = input.contiguous(), target.contiguous()
    gradient = torch.empty_like(input)
    error = torch.zeros(batch, dtype=input.dtype, device=input.device)
    labels, fields = [], []
    if input_squared is None:
        # The gradient's own memory where that will do: the kernel reads a voxel before it writes it.
        is_single = input.dtype == torch.float32
        input_squared = gradient if is_single else torch.empty_like(input, dtype=torch.float32)
        labels.append((input, (_ABOVE_ZERO if sigmoid else _ABOVE_HALF)[input.dtype]))
        fields.append(input_squared)
    if target_squared is None:
        target_squared = torch.empty_like(input, dtype=torch.float32)
        labels.append((target, _ABOVE_HALF[target.dtype]))
        fields.append(target_squared)
    _transform("input", labels, fields, spacing, item_spacing, "two_sided", True)
    if not input.numel():
        return error, gradient
    blocks = min(1024, _parts(voxels, 4 * _THREADS))
    partial = torch.empty(batch * blocks, dtype=torch.float64, device=input.device)
    given = [t if t is None else t.contiguous() for t in (input_squared, target_squared, ignore, item_spacing)]
    real = "float" if input.dtype == torch.float32 else "double"
    arguments = (
        pointer(input), pointer(target), int32(target.dtype == torch.bool), *map(pointer, given[:3]),
        int32(sigmoid), float32(alpha), int32(_EMPTY[empty]), *map(int32, _in_front(1, sizes)),
        *map(float64, _in_front(1.0, spacing)), pointer(given[3]), int32(len(sizes)), int64(voxels),
        int32(blocks), pointer(gradient), pointer(partial),
    )  # fmt: skip
    sums = _THREADS // _WARP * 8
    device.launch(f"hausdorff_{real}", batch * blocks, (_THREADS, 1), sums, arguments, input.device)
    arguments = (pointer(partial), int32(blocks), int64(voxels), pointer(error))
    device.launch(f"mean_{real}", batch, (_THREADS, 1), sums, arguments, input.device)
    return error, gradient


def _transform(
    argument: str,
    labels: Sequence[Labels],
    fields: Sequence[Tensor],
    spacing: list[float],
    item_spacing: Tensor | None,
    form: str,
    squared: bool,
    where: Sequence[Tensor | None] | None = None,
) -> None:
    """Fill one or two fields with the distances of as many masks of one shape.

    Args:
        argument: what an error calls the masks.
        labels, fields: a mask and its distance, float32, each.
        where: leaves signed squared distances instead, and here for every axis but those of `_column_axes(...,
            skipped=True)` the index of the row that each pass found nearest, int32; of one mask.

    Raises:
        ValueError: where an item is too large, or squared distances leave float32's range.
    """
    if not fields or not fields[0].numel():
        return
    values = [mask.contiguous() for mask, _ in labels]
    item_spacing = None if item_spacing is None else item_spacing.contiguous()
    shape, where_to_run = fields[0].shape, fields[0].device
    batch, *sizes = shape
    _check_range(argument, sizes, spacing if item_spacing is None else None)
    axes = _column_axes(shape)
    limit = device.shared_bytes_limit(where_to_run)
    shared = {axis: (sizes[axis] + _parts(sizes[axis], _FAN)) * _WARP * 4 for axis in axes}
    steps = {spacing[axis] for axis in range(len(sizes)) if sizes[axis] > 1}
    integers = (
        item_spacing is None
        and where is None
        and len(steps) <= 1
        and sum((size - 1) ** 2 for size in sizes) < _INT_INFINITY
        and max(shared.values(), default=0) <= limit
    )
    number = "int" if integers else "float"
    unit = max(steps, default=1.0) ** 2 if integers else 1.0
    first, second = fields[0], fields[-1]

    def ending(last: bool) -> tuple[device.Argument, ...]:
        finished = last and where is None
        return int32(finished), int32(_FORMS[form]), int32(squared), float32(unit)

    rows = math.prod(sizes[:-1])
    arguments = (
        pointer(values[0]), int32(labels[0][1]), pointer(values[-1]), int32(labels[-1][1]),
        pointer(first), pointer(second), int64(batch), pointer(where[-1] if where else None),
        int64(batch * len(fields)), int64(rows), int32(sizes[-1]), float64(spacing[-1]),
        pointer(item_spacing), int32(len(sizes)), *ending(not axes),
    )  # fmt: skip
    blocks = _parts(batch * len(fields) * rows, _ROW_WARPS)
    buffers = _ROW_WARPS * 4 * _WARP * 4
    device.launch(f"rows_{number}", blocks, (_WARP, _ROW_WARPS), buffers, arguments, where_to_run)

    for axis in axes:
        size, voxels = sizes[axis], math.prod(sizes)
        tiles = _parts(voxels // size, _WARP)
        tiled = shared[axis] <= limit
        kernel = ("" if tiled else "long_") + ("nearest" if where else "columns") + f"_{number}"
        warps = max(1, min(_COLUMN_WARPS, _parts(size, 2 * _FAN)))
        # A long axis is read from a copy, a field at a time.
        for together in [fields] if tiled else [[field] for field in fields]:
            blocks = batch * len(together) * tiles
            source = None if tiled else together[0].clone()
            coarse = None if tiled else source.new_empty(blocks * shared[axis] // 4, dtype=torch.int32)
            arguments = (
                pointer(together[0]), pointer(together[-1]), int64(batch), pointer(source), pointer(coarse),
                pointer(where[axis] if where else None), int64(voxels), int64(math.prod(sizes[axis + 1 :])),
                int32(size), int64(tiles), int32(_top(size)), float64(spacing[axis]), pointer(item_spacing),
                int32(len(sizes)), int32(axis), *ending(axis == axes[-1]),
            )  # fmt: skip
            bytes_a_block = shared[axis] if tiled else 0
            device.launch(kernel, blocks, (_WARP, warps), bytes_a_block, arguments, where_to_run)


def _check_range(argument: str, sizes: list[int], spacing: list[float] | None) -> None:
    """Refuse what kernels cannot do; a spacing for each item stays unread, on the device."""
    if math.prod(sizes) >= 1 << 31 or any(size > _LONGEST for size in sizes[:-1]):
        wanted = f"at most {2**31 - 1} voxels an item, and {_LONGEST} along any axis but the last"
        fail(argument, f"items of shape {tuple(sizes)}", wanted)
    if spacing is None:
        return
    extents = [(step * size) ** 2 for step, size in zip(spacing, sizes, strict=True)]
    if any(step**2 < _SMALLEST for step in spacing) or sum(extents) > _LARGEST:
        wanted = "steps whose squares, and that of the whole extent, are within float32's range"
        fail("spacing", spacing, wanted)


def _nonzero(mask: Tensor) -> Labels:
    if mask.dtype not in _NONZERO:
        mask = mask.bool()
    return mask, _NONZERO[mask.dtype]


def _column_axes(shape: torch.Size, skipped: bool = False) -> list[int]:
    """The spatial axes with a pass of columns, in its order: all but the last, and those of size 1."""
    return [axis for axis in range(len(shape) - 3, -1, -1) if (shape[axis + 1] > 1) != skipped]


def _top(size: int) -> int:
    """How far apart are the rows that are searched without bounds."""
    top = _FAN
    while _parts(size, top) > _SEARCHED_ROWS:
        top *= _FAN
    return top


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _in_front(filler: float, values: list[Any]) -> list[Any]:
    """Three values, for (z, y, x)."""
    return [filler] * (3 - len(values)) + values
