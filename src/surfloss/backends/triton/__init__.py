"""Triton kernels for GPU tensors. This file allocates and launches; the other files are the kernels.

With `TRITON_INTERPRET=1`, set before import, the code runs on CPU tensors (slowly, for tests).
Nothing here waits for the device, so every call can be captured in a CUDA graph.

A comment on each kernel parameter gives its meaning. `float32 (items, Z, Y, X), mm^2` is the address of a
contiguous array with dtype, shape and unit. As a dtype, `number` is any, `real` is that of the input (float32
or float64), and `distance` is int16, or int32 for long rows: signed, in voxels. `blocks of Y` is ceil(Y /
BLOCK). `int`, `float` (float32), `bool` and `str` are scalars. `items` is the batch size, `masks` one or two
per item. `tl.constexpr` parameters in capitals are compiled into the kernel.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from surfloss._check import Steps, fail
from surfloss.backends._interface import HausdorffArguments, ceil_div
from surfloss.backends.triton import contour as contour_kernels
from surfloss.backends.triton import edt as kernels
from surfloss.backends.triton.hausdorff import hausdorff_pass
from surfloss.backends.triton.labels import turn_signs
from surfloss.backends.triton.scan import scan_rows

BLOCK = 8  # rows per tile, and per block with a summary
LANES = 32  # columns per tile: one warp, one column per thread
CHUNK = 512  # voxels of a row that are scanned together
TRACED = 256  # voxels per program of `trace_indices`
CONTOUR_ROWS = 4  # per program
CONTOUR_PLANES = 32  # per program, at most
ROUND = 2**22  # Hausdorff error: voxels per round, which shares scratch memory; at least one item
SMALL = 2**19  # Hausdorff error: up to so many voxels, saving scratch memory does not pay for more launches
LONGEST = 4096  # beyond this distance, its square may not be exact in float32
MOST_VOXELS = 2**31 - CHUNK  # offsets up to a chunk or tile past the end must fit in 32 bits
ROW_LIMIT = 2**15 - 1  # longest rows with int16 distances
# Register caps of the search, without and with indices: the fewest that do not spill. More would leave fewer
# warps per multiprocessor.
REGISTERS = (112, 128)
SCAN_REGISTERS = 128  # except for doubles

_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # dtype of labels, by bytes

Field = tuple[Tensor, Tensor]  # the result of a pass, and its summaries


class Rows(NamedTuple):
    """The result of the scan. `place_in_row` in scan.py defines the layout."""

    distances: Tensor
    summaries: Tensor
    width: int
    pair: int


def edt(mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    layout = _Layout("mask", mask, steps)
    distance = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    if mask.numel():
        with torch.cuda.device(mask.get_device()):
            rows = layout.scan((_bool_as_bytes(mask), None), spare=distance)
            field = layout.first_passes(rows, form == "one_sided")
            layout.last_pass(field, distance, form, squared)
    return distance


def label_edt(labels: Tensor, steps: Steps, form: str, squared: bool, border: str) -> Tensor:
    """Distance to the nearest voxel of another label."""
    layout = _Layout("labels", labels, steps)
    labels = labels.view(_OF_SIZE[labels.element_size()])  # only their equality counts
    distance = torch.empty(labels.shape, dtype=torch.float32, device=labels.device)
    if labels.numel():
        with torch.cuda.device(labels.get_device()):
            rows = layout.scan((labels, "label"), spare=distance)
            zero = form == "one_sided"
            layout.turn_signs(labels, (rows.distances, rows.summaries), layout.y, layout.x, zero)
            field = layout.first_passes(rows, False)
            if layout.is_deep:
                layout.turn_signs(labels, field, layout.z, layout.y * layout.x, zero)
            layout.last_pass(field, distance, "two_sided", squared)
    if border == "closed":
        for axis in range(layout.dims):
            torch.minimum(distance, _to_border(distance, steps, axis, squared), out=distance)
    return torch.where(labels != 0, -distance, distance) if form == "signed" else distance


def _to_border(distance: Tensor, steps: Steps, axis: int, squared: bool) -> Tensor:
    """Distance along a spatial axis to the first voxel outside, in a shape that broadcasts to `distance`."""
    size = distance.shape[axis + 1]
    place = torch.arange(size, device=distance.device, dtype=torch.float64)
    count = torch.minimum(place + 1, size - place)
    step = steps.shared[axis] if steps.per_item is None else steps.per_item[:, axis, None]
    along = ((count * step) ** 2).float()  # rounded as in the search
    if not squared:
        along = along.double().sqrt().float()
    shape = [1] * distance.ndim
    shape[0], shape[axis + 1] = (along.numel() // size if size else 1), size
    return along.view(shape)


def nearest_background(mask: Tensor, steps: Steps) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    layout = _Layout("mask", mask, steps)
    batch, *spatial = mask.shape
    indices = torch.empty((batch, len(spatial), *spatial), dtype=torch.int32, device=mask.device)
    if mask.numel():
        with torch.cuda.device(mask.get_device()):
            rows = layout.scan((_bool_as_bytes(mask), None))
            nearest_y = nearest = torch.empty(mask.shape, dtype=torch.int32, device=mask.device)
            field = layout.first_passes(rows, True, nearest_y)
            if layout.is_deep:
                nearest = torch.empty_like(nearest_y)
            layout.last_pass(field, nearest, "one_sided", True, with_index=True)
            kernels.trace_indices[(batch * ceil_div(layout.voxels, TRACED),)](
                rows.distances, nearest_y, nearest, indices, layout.voxels, layout.y, layout.x,
                DIMS=layout.dims, DEEP=layout.is_deep, TILE=TRACED, **_options(4, None),
            )  # fmt: skip
    return indices


def hausdorff_error(arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (p - g)^2` over an item's voxels, and its gradient."""
    input, target, input_squared, target_squared, ignore, *_ = arguments
    for name, other in (("target", target), ("target_distance", target_squared), ("ignore", ignore)):
        _check_device(name, other, input)
    whole = _Layout("input", input, arguments.steps)
    gradient = torch.empty_like(input)
    at_once = whole.items_at_once()
    width = whole.strip_width(
        at_once, (input_squared is None) + (target_squared is None), input.element_size()
    )
    strips = [slice(x, min(x + width, whole.x)) for x in range(0, whole.x, max(1, width))]
    parts = (1 + arguments.with_plain, len(strips), whole.items, whole.tiles(width))
    errors = torch.zeros(parts, dtype=input.dtype, device=input.device)
    with torch.cuda.device(input.get_device()):
        for start in range(0, whole.items if whole.voxels else 0, at_once):
            part = slice(start, start + at_once)
            _hausdorff_round(_of_items(arguments, part), gradient[part], errors[:, :, part], strips)
    return errors.sum((1, 3)), gradient


def _hausdorff_round(
    arguments: HausdorffArguments, gradient: Tensor, errors: Tensor, strips: list[slice]
) -> None:
    """The passes over one round of items. All passes but the scan process one strip at a time.

    Args:
        gradient: output, `(items, *spatial)`.
        errors: output, `(1 or 2, strips, items, tiles)`: the share of each program in the means of the
            weighted errors and of the plain errors.
        strips: slices of the last axis.
    """
    input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, empty, most, *_ = arguments
    layout = _Layout("input", input, steps)
    is_bool = target.dtype == torch.bool
    # Per side, the field and its summaries, or the given squared distances and None.
    sides: list[tuple[Tensor | None, Tensor | None]] = [(input_squared, None), (target_squared, None)]
    computed = [side for side, (given, _) in enumerate(sides) if given is None]
    if computed:
        values = ((input, 0.0 if sigmoid else 0.5), (_bool_as_bytes(target), None if is_bool else 0.5))
        # The gradient's memory is free until the last pass over a strip.
        rows = layout.scan(*(values[side] for side in computed), spare=gradient, width=strips[0].stop)
    for number, strip in enumerate(strips):
        width = strip.stop - strip.start
        if computed:
            sides = [(input_squared, None), (target_squared, None)]
            field, summaries = layout.first_passes(rows, False, strip=strip)
            for part, side in enumerate(computed):
                items = slice(part * layout.items, (part + 1) * layout.items)
                sides[side] = (field[items], summaries[items])
            del field, summaries
        hausdorff_pass[(layout.items * layout.tiles(width),)](
            input, _bool_as_bytes(target), *sides[0], *sides[1],
            None if ignore is None else _bool_as_bytes(ignore),
            gradient, errors[0, number], errors[1, number] if len(errors) > 1 else None, layout.item_steps,
            layout.size, layout.stride(width), layout.x, strip.start, width, errors.shape[3],
            *layout.squared_steps, most**2, layout.voxels,
            DIMS=layout.dims, AXIS=layout.axis, SIGMOID=sigmoid, ALPHA=alpha, EMPTY=empty,
            BOOL_TARGET=is_bool, LONG=layout.is_long, BLOCK=BLOCK, LANES=LANES, **_options(1, REGISTERS[0]),
        )  # fmt: skip


def _of_items(arguments: HausdorffArguments, part: slice) -> HausdorffArguments:
    """The arguments for some of the items."""
    parts: list[Any] = [value[part] if isinstance(value, Tensor) else value for value in arguments]
    shared, per_item = arguments.steps
    steps = Steps(shared, None if per_item is None else per_item[part])
    return HausdorffArguments(*parts)._replace(steps=steps)


def contour_map(x: Tensor, ignore: Tensor | None, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """relu(maxpool(minpool(x)) - minpool(x)), and the selected voxels of each window for the gradient."""
    _check_device("ignore", ignore, x)
    contour = torch.empty_like(x)
    highest, lowest = (torch.empty_like(x, dtype=torch.int8) for _ in range(2))
    if x.numel():
        skipped = None if ignore is None else _bool_as_bytes(ignore)
        grid, sizes, options = _contour_grid("x", x, depth)
        with torch.cuda.device(x.get_device()):
            contour_kernels.contour_pass[grid](x, skipped, contour, highest, lowest, *sizes, **options)
    return contour, highest, lowest


def contour_map_gradient(grad: Tensor, highest: Tensor, lowest: Tensor, depth: int) -> Tensor:
    """Gradient with respect to the input of `contour_map`."""
    grad_input = torch.empty_like(grad)
    if grad.numel():
        grid, sizes, options = _contour_grid("grad", grad, depth)
        with torch.cuda.device(grad.get_device()):
            contour_kernels.contour_gradient_pass[grid](grad, highest, lowest, grad_input, *sizes, **options)
    return grad_input


class _Layout:
    """The items of a call as (z, y, x), their division among programs, and the passes over them."""

    def __init__(self, name: str, values: Tensor, steps: Steps) -> None:
        self.items, *spatial = values.shape
        self.dims, self.voxels = len(spatial), math.prod(spatial)
        _check_size(name, spatial)
        _check_device("spacing", steps.per_item, values)
        self.z, self.y, self.x = (1,) * (3 - self.dims) + tuple(spatial)
        self.device = values.device
        self.item_steps = None if steps.per_item is None else steps.per_item.contiguous()
        self.squared_steps = (
            [0.0] * 6 if steps.per_item is not None else _squared_steps(steps.shared, spatial)
        )
        self.is_deep = self.z > 1
        self.is_long = max(self.z, self.y) > LONGEST
        # The last pass is along z, or along y if there is no z.
        self.axis = 0 if self.is_deep else 1
        self.size = self.z if self.is_deep else self.y

    def stride(self, width: int) -> int:
        """Columns of the last pass over a strip of `width` voxels."""
        return self.y * width if self.is_deep else width

    def tiles(self, width: int) -> int:
        """Programs of the last pass per item."""
        return ceil_div(self.size, BLOCK) * ceil_div(self.stride(width), LANES)

    def items_at_once(self) -> int:
        """Items per round of the Hausdorff error, which shares scratch memory."""
        # For planes, scratch memory is 9/8 of the gradient's.
        most = self.items if self.is_deep or self.items * self.voxels <= SMALL else self.items * 8 // 9
        return max(1, min(most, ROUND // max(1, self.voxels)))

    def strip_width(self, items: int, masks: int, size: int) -> int:
        """The width of the strips of the rows that the passes after the scan process.

        Row distances are stored in the result, with `size` bytes per voxel. The width is chosen such that
        `items` items with `masks` masks each need at most as much further scratch memory as a float32 tensor
        of all items. If y has size 1 they need a quarter more, since summaries then are as large as rows and
        already fill this memory.
        """
        if not (self.is_deep and masks and self.x <= ROW_LIMIT and items * self.voxels > SMALL):
            return self.x
        if self.voxels * size // 2 > MOST_VOXELS:  # offsets within an item have 32 bits
            return self.x
        summaries = 2 * masks * ceil_div(self.y, BLOCK) / self.y
        fields = 4 * masks * (1 + ceil_div(self.z, BLOCK) / self.z)
        room = max(1.0, 4 * self.items / items - summaries)
        return ceil_div(self.x, math.ceil(fields / room))

    def scan(
        self, *masks: tuple[Tensor, float | str | None], spare: Tensor | None = None, width: int | None = None
    ) -> Rows:
        """Row distances of every mask.

        Args:
            masks: values, with the threshold above which they are foreground; None if foreground is nonzero;
                "label" to measure to another label.
            spare: a result that only the last pass writes, whose memory may hold the row distances.
            width: the width of its strips, in voxels.
        """
        count, width = self.items * len(masks), self.x if width is None else width
        fits, pair = self.x <= ROW_LIMIT, 1
        if spare is not None and fits and self.is_deep:
            rows = spare.view(-1).view(torch.int16)
            pair = 1 if width == self.x else spare.element_size() // rows.element_size()
        else:
            rows = self._empty(count, self.z, self.y, self.x, dtype=torch.int16 if fits else torch.int32)
        summaries = self._empty(count, self.z, ceil_div(self.y, BLOCK), self.x, dtype=rows.dtype)
        (first, first_above), (second, second_above) = masks[0], masks[-1]
        chunk = min(CHUNK, 2 ** (self.x - 1).bit_length())
        scan_rows[(count * self.z * ceil_div(self.y, BLOCK),)](
            first, second, rows, summaries, self.items, self.z, self.y, self.x, width,
            PAIR=pair, FIRST_ABOVE=first_above, SECOND_ABOVE=second_above, SEVERAL=self.x > chunk,
            BLOCK=BLOCK, CHUNK=chunk, **_options(
                max(1, min(8, BLOCK * chunk // 512)), SCAN_REGISTERS if first.element_size() < 8 else None
            ),
        )  # fmt: skip
        return Rows(rows, summaries, width, pair)

    def first_passes(
        self, rows: Rows, one_sided: bool, nearest_y: Tensor | None = None, strip: slice | None = None
    ) -> Field:
        """The input of the last pass: the rows, or if there is z, the result of the search along y."""
        if not self.is_deep:
            return rows.distances, rows.summaries
        count, start, width = len(rows.summaries), 0, self.x
        if strip is not None:
            start, width = strip.start, strip.stop - strip.start
        field = self._empty(count, self.z, self.y, width, dtype=torch.float32)
        summaries = self._empty(count, ceil_div(self.z, BLOCK), self.y, width, dtype=torch.float32)
        tiles = ceil_div(self.z, BLOCK) * ceil_div(self.y, BLOCK) * ceil_div(width, LANES)
        kernels.middle_pass[(count * tiles,)](
            rows.distances, rows.summaries, field, summaries, nearest_y, self.item_steps,
            self.items, self.z, self.y, self.x, start, width, *self.squared_steps[2:],
            PAIR=rows.pair, DIMS=self.dims, ONE_SIDED=one_sided, WITH_INDEX=nearest_y is not None,
            LONG=self.is_long, BLOCK=BLOCK, LANES=LANES, **_options(1, REGISTERS[nearest_y is not None]),
        )  # fmt: skip
        return field, summaries

    def turn_signs(self, labels: Tensor, field: Field, size: int, inner: int, zero: bool) -> None:
        """Set signs and summaries of a field `(groups, size, inner)` for the search along `size`."""
        groups = self.items * self.voxels // (size * inner)
        turn_signs[(groups * ceil_div(inner, LANES),)](
            labels, *field, size, inner, ZERO=zero, BLOCK=BLOCK, LANES=LANES, **_options(1, None)
        )

    def last_pass(
        self, field: Field, out: Tensor, form: str, squared: bool, with_index: bool = False
    ) -> None:
        kernels.last_pass[(self.items * self.tiles(self.x),)](
            *field, out, self.item_steps, self.size, self.stride(self.x),
            *self.squared_steps[2 * self.axis :][:2], *self.squared_steps[4:],
            DIMS=self.dims, AXIS=self.axis, FORM=form, SQUARED=squared, WITH_INDEX=with_index,
            LONG=self.is_long, BLOCK=BLOCK, LANES=LANES, **_options(1, REGISTERS[with_index]),
        )  # fmt: skip

    def _empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)


def _squared_steps(spacing: list[float], spatial: list[int]) -> list[float]:
    """The squared steps of (z, y, x), each as the nearest float32 and the remainder.

    Raises:
        ValueError: if squared distances leave the range of float32.
    """
    squares = [step * step for step in spacing]
    extent = sum(square * max(1, size) ** 2 for square, size in zip(squares, spatial, strict=True))
    limits = np.finfo(np.float32)
    if min(squares) < float(limits.tiny) or extent > float(limits.max):
        wanted = "steps whose squares, and the squared diagonal of an item, are within float32's range"
        fail("spacing", spacing, wanted)
    nearest = [float(np.float32(square)) for square in squares]
    pairs = [part for near, square in zip(nearest, squares, strict=True) for part in (near, square - near)]
    return [1.0, 0.0] * (3 - len(spacing)) + pairs


def _options(warps: int, registers: int | None) -> dict[str, int]:
    # Set fusion explicitly, since its default differs between versions of Triton. Its effect on rounding is
    # within the limits of the tests.
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return options if registers is None or torch.version.hip else options | {"maxnreg": registers}


def _contour_grid(
    name: str, values: Tensor, depth: int
) -> tuple[tuple[int], tuple[int, ...], dict[str, int]]:
    """Grid, size arguments and options of the contour passes."""
    items, z, y, x = values.shape
    _check_size(name, [z, y, x])
    if depth == 1:
        items, z = items * z, 1
    span = ceil_div(z, ceil_div(z, CONTOUR_PLANES))
    grid = (
        items
        * ceil_div(z, span)
        * ceil_div(y, CONTOUR_ROWS)
        * ceil_div(x, LANES - 2 * contour_kernels.RIM.value)
    )
    options = {"DEPTH": depth, "ROWS": CONTOUR_ROWS, "LANES": LANES, **_options(1, None)}
    return (grid,), (z, y, x, span), options


def _check_size(name: str, spatial: list[int]) -> None:
    if math.prod(spatial) > MOST_VOXELS:
        fail(name, f"items of shape {tuple(spatial)}", f"at most {MOST_VOXELS} voxels per item")


def _bool_as_bytes(values: Tensor) -> Tensor:
    """A view of bools as bytes, since Triton would compile its `int1` as a separate type."""
    return values.view(torch.uint8) if values.dtype == torch.bool else values


def _check_device(name: str, value: Tensor | None, reference: Tensor) -> None:
    if value is not None and value.device != reference.device:
        fail(name, f"a tensor on {value.device}", f"one on {reference.device}, like the others")
