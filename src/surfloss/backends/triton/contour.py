"""Contours by pooling: one pass erodes, the next dilates and subtracts; and their gradient, in as many.

Every pass reads the window of a voxel, at most 3 along each axis, whose places are numbered in scan order: of
equal values the first is taken, as in PyTorch's pooling. One pass for both would read 125 voxels instead of
54 and hold 27 erosions at a time: more work than it saves in memory traffic.
"""

import triton
import triton.language as tl

NOWHERE = tl.constexpr(-1)


@triton.jit(do_not_specialize=["voxels", "Z", "Y", "X"])
def erode(x, ignore, eroded, lowest, voxels, Z, Y, X, DEPTH: tl.constexpr, TILE: tl.constexpr):
    """The least value of every window, and its place there."""
    item, place, inside = _tile(voxels, TILE)
    x, eroded, lowest = x + item * voxels, eroded + item * voxels, lowest + item * voxels
    least = tl.full([TILE], float("inf"), x.dtype.element_ty)
    least_place = tl.full([TILE], NOWHERE, tl.int8)
    for window in tl.static_range(27 if DEPTH == 3 else 9):
        other, exists = _neighbor(place, inside, ignore, item * voxels, window, Z, Y, X, DEPTH)
        value = tl.load(x + other, mask=exists, other=float("inf"))
        found = (value < least) | (value != value)  # noqa: PLR0124 - NaN stays, as in PyTorch
        least, least_place = tl.where(found, value, least), tl.where(found, window, least_place).to(tl.int8)
    tl.store(eroded + place, least, mask=inside)
    tl.store(lowest + place, least_place, mask=inside)


@triton.jit(do_not_specialize=["voxels", "Z", "Y", "X"])
def dilate_and_subtract(
    eroded, ignore, contour, highest, voxels, Z, Y, X, DEPTH: tl.constexpr, TILE: tl.constexpr
):
    """The contour, and the place in the window of the greatest erosion, where there is one."""
    item, place, inside = _tile(voxels, TILE)
    eroded, contour, highest = eroded + item * voxels, contour + item * voxels, highest + item * voxels
    most = tl.full([TILE], -float("inf"), eroded.dtype.element_ty)
    most_place = tl.full([TILE], NOWHERE, tl.int8)
    for window in tl.static_range(27 if DEPTH == 3 else 9):
        other, exists = _neighbor(place, inside, ignore, item * voxels, window, Z, Y, X, DEPTH)
        value = tl.load(eroded + other, mask=exists, other=-float("inf"))
        found = (value > most) | (value != value)  # noqa: PLR0124
        most, most_place = tl.where(found, value, most), tl.where(found, window, most_place).to(tl.int8)
    difference = most - tl.load(eroded + place, mask=inside, other=0.0)
    none = difference <= 0
    if ignore is not None:
        none |= tl.load(ignore + item * voxels + place, mask=inside, other=1) != 0
    tl.store(contour + place, tl.where(none, 0.0, difference), mask=inside)
    tl.store(highest + place, tl.where(none, NOWHERE, most_place).to(tl.int8), mask=inside)


@triton.jit(do_not_specialize=["voxels", "Z", "Y", "X"])
def erosion_gradient(grad, highest, grad_eroded, voxels, Z, Y, X, DEPTH: tl.constexpr, TILE: tl.constexpr):
    """The gradient of the erosion: a contour sends it to the greatest, and negated to the voxel's own."""
    item, place, inside = _tile(voxels, TILE)
    grad, highest, grad_eroded = grad + item * voxels, highest + item * voxels, grad_eroded + item * voxels
    own = tl.load(highest + place, mask=inside, other=-1) != NOWHERE
    total = tl.where(own, -tl.load(grad + place, mask=inside, other=0.0), 0.0)
    total += _gathered(grad, highest, place, inside, Z, Y, X, DEPTH)
    tl.store(grad_eroded + place, total, mask=inside)


@triton.jit(do_not_specialize=["voxels", "Z", "Y", "X"])
def input_gradient(grad_eroded, lowest, grad_input, voxels, Z, Y, X, DEPTH: tl.constexpr, TILE: tl.constexpr):
    """The gradient of the input: what an erosion has goes to the least value of its window."""
    item, place, inside = _tile(voxels, TILE)
    grad_eroded, lowest = grad_eroded + item * voxels, lowest + item * voxels
    total = _gathered(grad_eroded, lowest, place, inside, Z, Y, X, DEPTH)
    tl.store(grad_input + item * voxels + place, total, mask=inside)


@triton.jit
def _gathered(grad, chosen, place, inside, Z, Y, X, DEPTH: tl.constexpr):
    """The sum over the windows that chose this voxel."""
    total = tl.zeros(place.shape, grad.dtype.element_ty)
    windows: tl.constexpr = 27 if DEPTH == 3 else 9
    for window in tl.static_range(windows):
        other, exists = _neighbor(place, inside, None, 0, window, Z, Y, X, DEPTH)
        # Seen from there, this voxel lies on the other side.
        is_chosen = tl.load(chosen + other, mask=exists, other=-1) == windows - 1 - window
        total += tl.load(grad + other, mask=is_chosen, other=0.0)
    return total


@triton.jit
def _tile(voxels, TILE: tl.constexpr):
    tiles = tl.cdiv(voxels, TILE)
    program = tl.program_id(0)
    place = program % tiles * TILE + tl.arange(0, TILE)
    return (program // tiles).to(tl.int64), place, place < voxels


@triton.jit
def _neighbor(place, inside, ignore, offset, window: tl.constexpr, Z, Y, X, DEPTH: tl.constexpr):
    """One of the places of a window, in scan order, and whether it lies in the volume and counts."""
    dz: tl.constexpr = window // 9 - 1 if DEPTH == 3 else 0
    dy: tl.constexpr = window // 3 % 3 - 1
    dx: tl.constexpr = window % 3 - 1
    z, y, x = place // (Y * X) + dz, place // X % Y + dy, place % X + dx
    exists = inside & (z >= 0) & (z < Z) & (y >= 0) & (y < Y) & (x >= 0) & (x < X)
    other = place + dz * Y * X + dy * X + dx
    if ignore is not None:
        exists &= tl.load(ignore + offset + other, mask=exists, other=1) == 0
    return other, exists
