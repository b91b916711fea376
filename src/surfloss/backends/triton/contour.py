# ruff: noqa: RUF005 - Triton does not support starred tuples
"""The contour by pooling in one pass, and its gradient in another.

A 3x3x3 window is separable: the minimum of three voxels of a row, then of three rows, then of three planes. A
program processes the planes of a strip of ROWS rows and LANES columns, and keeps in registers what later
planes need. Only the rim of a strip is computed twice: two rows and two columns on every side, since the two
windows in sequence reach two voxels. Neighbors in a row are exchanged within the warp.

The "way" of a voxel tells which of the three each axis selected: BEFORE, AFTER, or 0 for the middle, in two
bits per axis. The bits of (x, y, z) fit in a byte. Of equal values the first in scan order is selected (first
plane, then first row, then first voxel), as in PyTorch's pooling. The gradient follows the ways back, one
axis at a time: each voxel adds up what its three windows along the axis send to it, so there are no atomics.

Planes belong to one volume (DEPTH 3), or each is an item of its own (DEPTH 1).
"""

import triton
import triton.language as tl

BEFORE, AFTER = tl.constexpr(1), tl.constexpr(2)
NO_CONTOUR = tl.constexpr(-128)  # added to the byte of a voxel with contour 0
RIM = tl.constexpr(2)


@triton.jit(do_not_specialize=["Z", "Y", "X", "span"])
def contour_pass(
    x,  # real (items, Z, Y, X)
    ignore,  # uint8 (items, Z, Y, X), or None
    contour,  # real (items, Z, Y, X): output
    highest,  # int8 (items, Z, Y, X): output, the ways to the maximum of the erosion
    lowest,  # int8 (items, Z, Y, X): output, the ways to the minimum of the input
    Z,  # int, voxels
    Y,  # int, voxels
    X,  # int, voxels
    span,  # int: planes per program
    DEPTH: tl.constexpr,  # int, voxels: of the window along z, 1 or 3
    ROWS: tl.constexpr,  # int: rows per program
    LANES: tl.constexpr,  # int: columns per program, including the rim
):
    item, first, last, y, lane, own = _strip(Z, Y, X, span, ROWS, LANES)
    x, contour, highest, lowest = x + item, contour + item, highest + item, lowest + item
    if ignore is not None:
        ignore += item
    reach: tl.constexpr = DEPTH // 2
    nothing = tl.full([LANES], float("inf"), x.dtype.element_ty)
    # For the two planes before, the minimum over x and y: of the input, and of the negated erosion.
    least_1, least_2 = _repeat(nothing, ROWS + 2), _repeat(nothing, ROWS + 2)
    most_1, most_2 = _repeat(nothing, ROWS), _repeat(nothing, ROWS)
    eroded_1 = least_1
    ways_1, back_1 = _repeat(lane * 0, ROWS + 2), _repeat(lane * 0, ROWS)
    begin = tl.maximum(first - 2 * reach, 0)
    for ahead in range(last + 2 * reach - begin):
        z = begin + ahead
        values, x_ways = (), ()
        for row in tl.static_range(ROWS + 4):
            place, exists = _place(z, y + row - 2, lane, Z, Y, X, ignore)
            value, way = _along_x(tl.load(x + place, mask=exists, other=float("inf")), LANES)
            values, x_ways = values + (value,), x_ways + (way,)
        least, ways = _along_y(values, x_ways, ROWS + 2)

        # The erosion: of this plane, or in volumes of the previous one, whose last neighbor is now known.
        eroded, lowest_ways, values, x_ways = (), (), (), ()
        for row in tl.static_range(ROWS + 2):
            value, way = least[row], ways[row]
            if DEPTH == 3:
                value, z_way = _least(least_2[row], least_1[row], least[row])
                way = ways_1[row] + 16 * z_way
            _, exists = _place(z - reach, y + row - 1, lane, Z, Y, X, ignore)
            value = tl.where(exists, -value, float("inf"))
            eroded, lowest_ways = eroded + (value,), lowest_ways + (way,)
            value, way = _along_x(value, LANES)
            values, x_ways = values + (value,), x_ways + (way,)
        most, back = _along_y(values, x_ways, ROWS)

        # The maximum of the erosion, and the contour: of this plane, or in volumes of the one two planes
        # back.
        for row in tl.static_range(ROWS):
            value, way, middle = most[row], back[row], eroded[row + 1]
            if DEPTH == 3:
                value, z_way = _least(most_2[row], most_1[row], most[row])
                way, middle = back_1[row] + 16 * z_way, eroded_1[row + 1]
            difference = middle - value
            none = difference <= 0
            if ignore is not None:
                none |= middle == float("inf")
            way += tl.where(none, NO_CONTOUR, 0)
            place, _ = _place(z - 2 * reach, y + row, lane, Z, Y, X, None)
            is_third = own & (lane < tl.where((y + row < Y) & (z - 2 * reach >= first), X, 0))
            tl.store(contour + place, tl.where(none, 0.0, difference), mask=is_third)
            tl.store(highest + place, way.to(tl.int8), mask=is_third)
            is_second = own & (
                lane < tl.where((y + row < Y) & (z - reach >= first) & (z - reach < last), X, 0)
            )
            tl.store(lowest + place + reach * Y * X, lowest_ways[row + 1].to(tl.int8), mask=is_second)
        if DEPTH == 3:
            least_2, least_1, ways_1 = least_1, least, ways
            most_2, most_1, back_1, eroded_1 = most_1, most, back, eroded


@triton.jit(do_not_specialize=["Z", "Y", "X", "span"])
def contour_gradient_pass(
    grad,  # real (items, Z, Y, X): with respect to the contour
    highest,  # int8 (items, Z, Y, X), from contour_pass
    lowest,  # int8 (items, Z, Y, X), from contour_pass
    grad_input,  # real (items, Z, Y, X): output
    Z,  # int, voxels
    Y,  # int, voxels
    X,  # int, voxels
    span,  # int: planes per program
    DEPTH: tl.constexpr,  # int, voxels: of the window along z, 1 or 3
    ROWS: tl.constexpr,  # int: rows per program
    LANES: tl.constexpr,  # int: columns per program, including the rim
):
    """Send the gradient of the contour back to the input.

    The gradient of a contour voxel goes to the erosion that was its maximum and, negated, to its own erosion;
    from both it goes on to the inputs that were the minimum.
    """
    item, first, last, y, lane, own = _strip(Z, Y, X, span, ROWS, LANES)
    grad, highest, lowest, grad_input = grad + item, highest + item, lowest + item, grad_input + item
    reach: tl.constexpr = DEPTH // 2
    nothing = tl.zeros([LANES], grad.dtype.element_ty)
    # Sums so far of the plane before (_1) and of this plane (_0): from the contour to the erosion (up), and
    # from the erosion to the input (down).
    up_1, up_0 = _repeat(nothing, ROWS + 4), _repeat(nothing, ROWS + 4)
    down_1, down_0 = _repeat(nothing, ROWS + 2), _repeat(nothing, ROWS + 2)
    own_1 = up_1
    back_1, ways_1 = _repeat(lane * 0, ROWS + 4), _repeat(lane * 0, ROWS + 2)
    begin = tl.maximum(first - 2 * reach, 0)
    for ahead in range(last + 2 * reach - begin):
        z = begin + ahead
        values, back = (), ()
        for row in tl.static_range(ROWS + 4):
            place, exists = _place(z, y + row - 2, lane, Z, Y, X, None)
            way = tl.load(highest + place, mask=exists, other=NO_CONTOUR).to(tl.int32)
            value = tl.load(grad + place, mask=exists & (way >= 0), other=0.0)
            values, back = values + (value,), back + (way,)
        ups, up_1, up_0 = _sent_along_z(values, back, up_1, up_0, DEPTH, ROWS + 4)
        ups = _sent_along_y(ups, back_1 if DEPTH == 3 else back, ROWS + 2)

        downs, ways = (), ()
        for row in tl.static_range(ROWS + 2):
            back_way = back_1[row + 1] if DEPTH == 3 else back[row + 1]
            own_value = own_1[row + 1] if DEPTH == 3 else values[row + 1]
            downs = downs + (_sent_along_x(ups[row], back_way, LANES) - own_value,)
            place, exists = _place(z - reach, y + row - 1, lane, Z, Y, X, None)
            ways = ways + (tl.load(lowest + place, mask=exists, other=0).to(tl.int32),)
        downs, down_1, down_0 = _sent_along_z(downs, ways, down_1, down_0, DEPTH, ROWS + 2)
        downs = _sent_along_y(downs, ways_1 if DEPTH == 3 else ways, ROWS)

        for row in tl.static_range(ROWS):
            way = ways_1[row + 1] if DEPTH == 3 else ways[row + 1]
            place, _ = _place(z - 2 * reach, y + row, lane, Z, Y, X, None)
            is_own = own & (lane < tl.where((y + row < Y) & (z - 2 * reach >= first), X, 0))
            tl.store(grad_input + place, _sent_along_x(downs[row], way, LANES), mask=is_own)
        if DEPTH == 3:
            back_1, own_1, ways_1 = back, values, ways


@triton.jit
def _least(before, middle, after):
    """The minimum of three and the way to it. As in PyTorch, the first of equal values, but the last NaN."""
    lower = _lower(before, middle)
    is_after = (after < lower) | (after != after)  # noqa: PLR0124
    is_middle = (middle < before) | (middle != middle)  # noqa: PLR0124
    return _lower(lower, after), tl.where(is_after, AFTER, tl.where(is_middle, 0, BEFORE))


@triton.jit
def _lower(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _along_x(row, LANES: tl.constexpr):
    return _least(_from_before(row, LANES), row, _from_after(row, LANES))


@triton.jit
def _along_y(rows, x_ways, ROWS: tl.constexpr):
    """The minimum of every row but the outer two and its two neighbors, and the ways along x and y."""
    values, ways = (), ()
    for row in tl.static_range(ROWS):
        value, way = _least(rows[row], rows[row + 1], rows[row + 2])
        values, ways = values + (value,), ways + (x_ways[row + 1] + 4 * way,)
    return values, ways


@triton.jit
def _sent_along_x(row, way, LANES: tl.constexpr):
    """The row after every voxel has sent its value along x."""
    before, middle, after = _sent(row, way, 1)
    return middle + (_from_after(before, LANES) + _from_before(after, LANES))


@triton.jit
def _sent_along_y(rows, ways, ROWS: tl.constexpr):
    """The rows, except the outer two, after every voxel has sent its value along y."""
    found = ()
    for row in tl.static_range(ROWS):
        _, _, above = _sent(rows[row], ways[row], 4)
        _, middle, _ = _sent(rows[row + 1], ways[row + 1], 4)
        below, _, _ = _sent(rows[row + 2], ways[row + 2], 4)
        found = found + (middle + (above + below),)
    return found


@triton.jit
def _sent_along_z(rows, ways, before, here, DEPTH: tl.constexpr, ROWS: tl.constexpr):
    """Send the values of a plane along z.

    `before` and `here` are the sums so far of the previous and of this plane. Returns the previous plane, now
    complete, and the sums of this plane and the next, for the next call.
    """
    if DEPTH == 1:
        return rows, before, here
    complete, next_before, next_here = (), (), ()
    for row in tl.static_range(ROWS):
        back, middle, after = _sent(rows[row], ways[row], 16)
        complete = complete + (before[row] + back,)
        next_before, next_here = next_before + (here[row] + middle,), next_here + (after,)
    return complete, next_before, next_here


@triton.jit
def _sent(value, way, AXIS: tl.constexpr):
    """The value split into parts sent before, kept, and sent after, along x (AXIS 1), y (4) or z (16)."""
    before, after = (way & (BEFORE * AXIS)) != 0, (way & (AFTER * AXIS)) != 0
    return tl.where(before, value, 0.0), tl.where(before | after, 0.0, value), tl.where(after, value, 0.0)


@triton.jit
def _from_before(row, LANES: tl.constexpr):
    """Every lane's neighbor. The outermost lane, in the rim, keeps its value."""
    return tl.gather(row, tl.maximum(tl.arange(0, LANES) - 1, 0), 0)


@triton.jit
def _from_after(row, LANES: tl.constexpr):
    return tl.gather(row, tl.minimum(tl.arange(0, LANES) + 1, LANES - 1), 0)


@triton.jit
def _strip(Z, Y, X, span, ROWS: tl.constexpr, LANES: tl.constexpr):
    """A program's strip: offset of the item, planes, first row, columns, and which columns it owns."""
    across, down, spans = tl.cdiv(X, LANES - 2 * RIM), tl.cdiv(Y, ROWS), tl.cdiv(Z, span)
    program = tl.program_id(0)
    strip, program = program % across, program // across
    y, program = program % down * ROWS, program // down
    first, item = program % spans * span, program // spans
    within = tl.arange(0, LANES)
    lane = strip * (LANES - 2 * RIM) + within - RIM
    own = (within >= RIM) & (within < LANES - RIM) & (lane < X)
    return item.to(tl.int64) * Z * Y * X, first, tl.minimum(first + span, Z), y, lane, own


@triton.jit
def _place(z, y, lane, Z, Y, X, ignore):
    """The offset of a row of a strip, and which of its voxels lie in the volume and are not ignored."""
    exists = (lane >= 0) & (lane < tl.where((z >= 0) & (z < Z) & (y >= 0) & (y < Y), X, 0))
    place = (z * Y + y) * X + lane
    if ignore is not None:
        exists &= tl.load(ignore + place, mask=exists, other=1) == 0
    return place, exists


@triton.jit
def _repeat(row, ROWS: tl.constexpr):
    rows = ()
    for _ in tl.static_range(ROWS):
        rows = rows + (row,)
    return rows
