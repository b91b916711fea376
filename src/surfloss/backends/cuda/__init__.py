"""CUDA C++ kernels for NVIDIA GPUs. This module allocates, orders the passes and launches them.

The kernels are in csrc/cuda.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from surfloss._check import Steps, fail
from surfloss.backends._interface import EMPTY, FORMS, HausdorffArguments, ceil_div
from surfloss.backends.cuda import device
from surfloss.backends.cuda.device import float32, float64, int32, int64, pointer

# How the value of a voxel becomes a label: `Kind` in csrc/cuda/common.cuh.
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

# Constants of csrc/cuda.
_WARP, _ROW_WARPS, _COLUMN_WARPS, _FAN, _THREADS = 32, 8, 8, 8, 256
_INT_INFINITY = 1 << 30
_SEARCHED_ROWS = 16

_LONGEST = 1 << 24  # voxels along y or z: their positions are float32
_SMALLEST, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max

Labels: TypeAlias = tuple[Tensor, int]
"""Values `(batch, *spatial)`, contiguous, and their `Kind`."""
Arguments: TypeAlias = tuple[device.Argument, ...]


def edt(mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    distance = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    _Transform([_nonzero(mask)], [distance], _dense_steps(steps), form, squared).run("mask")
    return distance


def nearest_background(mask: Tensor, steps: Steps) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    batch, *sizes = mask.shape
    nearest = torch.empty((batch, len(sizes), *sizes), dtype=torch.int32, device=mask.device)
    field = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    where: list[Tensor | None] = [torch.empty_like(field, dtype=torch.int32) for _ in sizes]
    for axis in _column_axes(mask.shape, skipped=True):
        where[axis] = None
    _Transform([_nonzero(mask)], [field], _dense_steps(steps), "one_sided", True, where).run("mask")
    if mask.numel():
        arguments = (
            *map(pointer, [None] * (3 - len(sizes)) + where), pointer(nearest),
            int64(batch), int32(len(sizes)), *map(int32, _in_front(1, sizes)),
        )  # fmt: skip
        device.launch("follow", ceil_div(mask.numel(), _THREADS), (_THREADS, 1), 0, arguments, mask.device)
    return nearest


def hausdorff_error(arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (p - g)^2` over an item's voxels, and its gradient."""
    input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, empty, *_ = arguments
    batch, *sizes = input.shape
    voxels = math.prod(sizes)
    input, target, steps = input.contiguous(), target.contiguous(), _dense_steps(steps)
    ignore, input_squared, target_squared = _dense(ignore), _dense(input_squared), _dense(target_squared)
    gradient = torch.empty_like(input)
    errors = torch.zeros((1 + arguments.with_plain, batch), dtype=input.dtype, device=input.device)
    labels, fields = [], []
    if input_squared is None:
        # Use the gradient's memory if it is float32: the kernel reads a voxel before it writes it.
        is_single = input.dtype == torch.float32
        input_squared = gradient if is_single else torch.empty_like(input, dtype=torch.float32)
        labels.append((input, (_ABOVE_ZERO if sigmoid else _ABOVE_HALF)[input.dtype]))
        fields.append(input_squared)
    if target_squared is None:
        target_squared = torch.empty_like(input, dtype=torch.float32)
        labels.append((target, _ABOVE_HALF[target.dtype]))
        fields.append(target_squared)
    _Transform(labels, fields, steps, "two_sided", True).run("input")
    if not input.numel():
        return errors, gradient
    blocks = min(1024, ceil_div(voxels, 4 * _THREADS))
    partial = torch.empty((len(errors), batch * blocks), dtype=torch.float64, device=input.device)
    real = "float" if input.dtype == torch.float32 else "double"
    of_voxels = (
        pointer(input), pointer(target), int32(target.dtype == torch.bool),
        pointer(input_squared), pointer(target_squared), pointer(ignore), int32(sigmoid), float32(alpha),
        float32(arguments.max_distance**2), int32(EMPTY[empty]),
        *map(int32, _in_front(1, sizes)), *map(float64, _in_front(1.0, steps.shared)),
        pointer(steps.per_item), int32(len(sizes)), int64(voxels), int32(blocks),
        pointer(gradient), pointer(partial[0]), pointer(partial[1] if arguments.with_plain else None),
    )  # fmt: skip
    sums = _THREADS // _WARP * 8
    device.launch(f"hausdorff_{real}", batch * blocks, (_THREADS, 1), sums, of_voxels, input.device)
    for parts, error in zip(partial, errors, strict=True):
        of_blocks = (pointer(parts), int32(blocks), int64(voxels), pointer(error))
        device.launch(f"mean_{real}", batch, (_THREADS, 1), sums, of_blocks, input.device)
    return errors, gradient


@dataclass(frozen=True)
class _Transform:
    """The distance transform of one mask, or of two masks of equal shape in the same launches.

    Each mask has a float32 field for the result. With `where` (one mask only) the result is indices instead:
    for every axis with a pass, `where` holds an int32 tensor for the nearest position along it, and None for
    other axes. The field is then only scratch.
    """

    labels: Sequence[Labels]
    fields: Sequence[Tensor]
    steps: Steps  # contiguous
    form: str
    squared: bool
    where: Sequence[Tensor | None] | None = None

    def run(self, argument: str) -> None:
        """Fill the fields.

        Args:
            argument: the name of the masks in error messages.

        Raises:
            ValueError: if an item is too large, or squared distances leave the range of float32.
        """
        if not self.fields or not self.fields[0].numel():
            return
        field = self.fields[0]
        sizes = list(field.shape[1:])
        shared, per_item = self.steps
        _check_range(argument, sizes, shared if per_item is None else None)
        limit = device.shared_bytes_limit(field.device)
        axes = _column_axes(field.shape)
        tiled = {axis: _tile_bytes(sizes[axis]) <= limit for axis in axes}
        steps = {step for step, size in zip(shared, sizes, strict=True) if size > 1} or {1.0}
        in_steps = (
            per_item is None
            and self.where is None
            and len(steps) == 1
            and sum((size - 1) ** 2 for size in sizes) < _INT_INFINITY
            and all(tiled.values())
        )
        number, unit = ("int", max(steps) ** 2) if in_steps else ("float", 1.0)
        self._rows(number, self._ending(not axes, unit))
        for axis in axes:
            ending = self._ending(axis == axes[-1], unit)
            if tiled[axis]:
                self._columns(axis, number, self.fields, None, ending)
            else:
                for one in self.fields:
                    self._columns(axis, number, [one], one.clone(), ending)

    def _rows(self, number: str, ending: Arguments) -> None:
        """The pass along x, from the labels."""
        first, last = self.fields[0], self.fields[-1]
        batch, *sizes = first.shape
        items, rows = batch * len(self.fields), math.prod(sizes[:-1])
        (values, kind), (last_values, last_kind) = self.labels[0], self.labels[-1]
        arguments = (
            pointer(values), int32(kind), pointer(last_values), int32(last_kind), pointer(first),
            pointer(last), int64(batch), pointer(self.where[-1] if self.where else None), int64(items),
            int64(rows), int32(sizes[-1]), float64(self.steps.shared[-1]), pointer(self.steps.per_item),
            int32(len(sizes)), *ending,
        )  # fmt: skip
        blocks, words = ceil_div(items * rows, _ROW_WARPS), 4 * _WARP * _ROW_WARPS
        device.launch(f"rows_{number}", blocks, (_WARP, _ROW_WARPS), 4 * words, arguments, first.device)

    def _columns(
        self, axis: int, number: str, fields: Sequence[Tensor], source: Tensor | None, ending: Arguments
    ) -> None:
        """The pass along y or z: in place, or from `source` if a column is too long for shared memory."""
        batch, *sizes = fields[0].shape
        size, voxels, inner = sizes[axis], math.prod(sizes), math.prod(sizes[axis + 1 :])
        tiles = ceil_div(voxels // size, _WARP)
        blocks = batch * len(fields) * tiles
        coarse = (
            source if source is None else source.new_empty(blocks * _coarse_rows(size), dtype=torch.int32)
        )
        arguments = (
            pointer(fields[0]), pointer(fields[-1]), int64(batch), pointer(source), pointer(coarse),
            pointer(self.where[axis] if self.where else None), int64(voxels), int64(inner), int32(size),
            int64(tiles), int32(_top(size)), float64(self.steps.shared[axis]), pointer(self.steps.per_item),
            int32(len(sizes)), int32(axis), *ending,
        )  # fmt: skip
        kernel = ("" if source is None else "long_") + ("nearest" if self.where else "columns")
        warps = max(1, min(_COLUMN_WARPS, ceil_div(size, 2 * _FAN)))
        shared_bytes = _tile_bytes(size) if source is None else 0
        device.launch(f"{kernel}_{number}", blocks, (_WARP, warps), shared_bytes, arguments, fields[0].device)

    def _ending(self, last: bool, unit: float) -> Arguments:
        """The arguments of `Finish` in csrc/cuda/common.cuh."""
        finished = last and self.where is None
        return int32(finished), int32(FORMS[self.form]), int32(self.squared), float32(unit)


def _check_range(argument: str, sizes: list[int], spacing: list[float] | None) -> None:
    """Raise if an item is too large or a spacing is out of range. A spacing per sample is not read."""
    if math.prod(sizes) >= 1 << 31 or any(size > _LONGEST for size in sizes[:-1]):
        wanted = f"at most {2**31 - 1} voxels per item, and {_LONGEST} along any axis but the last"
        fail(argument, f"items of shape {tuple(sizes)}", wanted)
    if spacing is None:
        return
    extents = [(step * size) ** 2 for step, size in zip(spacing, sizes, strict=True)]
    if any(step**2 < _SMALLEST for step in spacing) or sum(extents) > _LARGEST:
        wanted = "steps whose squares, and the squared diagonal of an item, are within float32's range"
        fail("spacing", spacing, wanted)


def _nonzero(mask: Tensor) -> Labels:
    if mask.dtype not in _NONZERO:
        mask = mask.bool()
    return mask.contiguous(), _NONZERO[mask.dtype]


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _dense_steps(steps: Steps) -> Steps:
    return Steps(steps.shared, _dense(steps.per_item))


def _column_axes(shape: torch.Size, skipped: bool = False) -> list[int]:
    """The axes with a pass of columns, in this order: all but the last one and those of size 1.

    With `skipped`, the axes of size 1 instead.
    """
    return [axis for axis in range(len(shape) - 3, -1, -1) if (shape[axis + 1] > 1) != skipped]


def _coarse_rows(size: int) -> int:
    """How many integers a tile needs for the nearest rows of every 8th row."""
    return ceil_div(size, _FAN) * _WARP


def _tile_bytes(size: int) -> int:
    """Bytes of shared memory for a tile of 32 columns."""
    return 4 * (size * _WARP + _coarse_rows(size))


def _top(size: int) -> int:
    """The distance between rows that are searched without bounds."""
    top = _FAN
    while ceil_div(size, top) > _SEARCHED_ROWS:
        top *= _FAN
    return top


def _in_front(filler: float, values: list[Any]) -> list[Any]:
    """The values for (z, y, x), padded in front."""
    return [filler] * (3 - len(values)) + values
