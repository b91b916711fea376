"""The search of the distance transform along y and z, and the last step to indices.

The passes exchange one signed field s. Its magnitude is the distance to the other label found so far. It is
positive in the foreground and negative in the background. A foreground voxel reads it as max(s, 0), since
background is at distance 0; a background voxel reads max(-s, 0). A search along an axis with step h computes

    g(y) = min over k of f(k) + h^2 (y - k)^2

over blocks of BLOCK candidates, nearest block first. It reads only blocks that could still improve a voxel of
its tile. The summary of a block bounds what it could give: the value of smallest magnitude if all values have
the same sign, otherwise 0. docs/gpu-transform.md explains why this is exact, and what it costs.

Axes are always (z, y, x). "Stride" is the offset between neighbors along the axis of the search; the voxels
at one position of that axis are its columns. A squared step is a pair of floats, the nearest float and the
remainder; otherwise tables and long distances would lose a bit.

Columns past the end are clamped to the last one, but still declared contiguous. Without this hint some
versions of Triton lay a tile out across its rows. The hint is false in the last tile of an axis. That is
harmless as long as sizes are not specialized, since no vector loads are then generated.
"""

import triton
import triton.language as tl

from surfloss.backends.triton.scan import holder_of

LOOK_AHEAD = tl.constexpr(8)  # blocks on either side whose summaries are read together


@triton.jit(do_not_specialize=["items", "Z", "Y", "X", "start", "width"])
def middle_pass(
    rows,  # distance (masks, Z, Y, X), from scan_rows; layout in place_in_row
    row_summaries,  # distance (masks, Z, blocks of Y, X), from scan_rows
    field,  # float32 (masks, Z, Y, width), mm^2, signed: output
    summaries,  # float32 (masks, blocks of Z, Y, width), mm^2, signed: output
    nearest,  # int32 (masks, Z, Y, width): output with WITH_INDEX, y of the nearest voxel
    item_steps,  # float64 (items, DIMS), mm; None if all items have the steps below
    items,  # int
    Z,  # int, voxels
    Y,  # int, voxels
    X,  # int, voxels
    start,  # int, voxels: where the strip of the rows begins
    width,  # int, voxels: of the strip
    y_sq,  # float, mm^2: the squared step along y
    y_rest,  # float, mm^2: its remainder
    x_sq,  # float, mm^2
    x_rest,  # float, mm^2
    PAIR: tl.constexpr,  # int: distances that fit into one value of the result, see place_in_row
    DIMS: tl.constexpr,  # int: spatial axes
    ONE_SIDED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    LONG: tl.constexpr,  # bool: whether squares of distances along an axis may be inexact in float32
    BLOCK: tl.constexpr,  # int: rows per tile, and slices per program
    LANES: tl.constexpr,  # int: columns per tile
):
    """The search along y. A program solves a tile in BLOCK slices, and writes their summary along z."""
    across, blocks, z_blocks = tl.cdiv(width, LANES), tl.cdiv(Y, BLOCK), tl.cdiv(Z, BLOCK)
    program = tl.program_id(0)
    lane_block, program = program % across, program // across
    block, program = program % blocks, program // blocks
    z_block, mask = program % z_blocks, program // z_blocks
    y_step_sq = squared_step(item_steps, mask % items, (y_sq, y_rest), 1, DIMS)
    x_step_sq = squared_step(item_steps, mask % items, (x_sq, x_rest), 2, DIMS)
    x = lane_block * LANES + tl.arange(0, LANES)
    column = tl.max_contiguous(tl.minimum(x, width - 1), LANES)
    y = block * BLOCK + tl.arange(0, BLOCK)
    inside = (y < Y)[:, None] & (x < width)[None, :]
    place = (tl.minimum(y, Y - 1) * width)[:, None] + column[None, :]
    holder, side = holder_of(mask, items, PAIR)
    mask = mask.to(tl.int64)
    rows += holder.to(tl.int64) * Z * Y * X * PAIR + start * PAIR + side * width
    row_summaries += mask * Z * blocks * X + start
    first = z_block * BLOCK
    summary = tl.zeros([BLOCK, LANES], tl.float32)
    for z in range(first, tl.minimum(first + BLOCK, Z)):
        offset = (mask * Z + z) * Y * width
        sign, squared, index = search(
            rows + z * Y * X * PAIR, row_summaries + z * blocks * X, block, column, Y, X * PAIR, X, y_step_sq,
            x_step_sq, ONE_SIDED, WITH_INDEX, 0 if WITH_INDEX else LOOK_AHEAD, LONG, BLOCK, LANES,
        )  # fmt: skip
        signed = sign * squared
        tl.store(field + offset + place, signed, mask=inside)
        if WITH_INDEX:
            tl.store(nearest + offset + place, index, mask=inside)
        both = tl.where(
            signed > 0,
            tl.maximum(tl.minimum(summary, signed), 0.0),
            tl.minimum(tl.maximum(summary, signed), 0.0),
        )
        summary = tl.where(z == first, signed, both)
    summaries += (mask * z_blocks + z_block) * Y * width
    tl.store(summaries + place, summary, mask=inside)


@triton.jit(do_not_specialize=["size", "stride"])
def last_pass(
    field,  # (items, size, stride): distance, from scan_rows; with z float32 in mm^2, from middle_pass
    summaries,  # same dtype and unit, (items, blocks of size, stride)
    distance,  # output, (items, size, stride): float32, mm or mm^2; with WITH_INDEX int32, nearest position
    item_steps,  # float64 (items, DIMS), mm; None if all items have the steps below
    size,  # int, voxels: Z, or without z, Y
    stride,  # int, voxels: Y * X, or without z, X
    step_sq,  # float, mm^2: the squared step along the axis
    step_rest,  # float, mm^2: its remainder
    x_sq,  # float, mm^2
    x_rest,  # float, mm^2
    DIMS: tl.constexpr,  # int: spatial axes
    AXIS: tl.constexpr,  # int: 0 for z, 1 for y
    FORM: tl.constexpr,  # str
    SQUARED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    LONG: tl.constexpr,  # bool: whether squares of distances along an axis may be inexact in float32
    BLOCK: tl.constexpr,  # int: rows per tile
    LANES: tl.constexpr,  # int: columns per tile
):
    """The search of the last pass, with root and sign."""
    across, blocks = tl.cdiv(stride, LANES), tl.cdiv(size, BLOCK)
    program = tl.program_id(0)
    lane_block, program = program % across, program // across
    block, item = program % blocks, program // blocks
    axis_step_sq = squared_step(item_steps, item, (step_sq, step_rest), AXIS, DIMS)
    x_step_sq = squared_step(item_steps, item, (x_sq, x_rest), 2, DIMS)
    lane = lane_block * LANES + tl.arange(0, LANES)
    column = tl.max_contiguous(tl.minimum(lane, stride - 1), LANES)
    item = item.to(tl.int64)
    sign, squared, index = search(
        field + item * size * stride, summaries + item * blocks * stride, block, column, size, stride, stride,
        axis_step_sq, x_step_sq, FORM == "one_sided", WITH_INDEX,
        LOOK_AHEAD if AXIS == 1 and not WITH_INDEX else 0, LONG, BLOCK, LANES,
    )  # fmt: skip
    value = squared
    if WITH_INDEX:
        value = index
    elif not SQUARED:
        value = tl.sqrt_rn(squared)
    if FORM == "signed":
        value = -sign * value
    row = block * BLOCK + tl.arange(0, BLOCK)
    place = (tl.minimum(row, size - 1) * stride)[:, None] + column[None, :]
    tl.store(
        distance + item * size * stride + place, value, mask=(row < size)[:, None] & (lane < stride)[None, :]
    )


@triton.jit
def search(
    field,  # distance, or float32 in mm^2, (size, stride): one item or slice
    summaries,  # same dtype and unit, (blocks of size, summary_stride)
    block,  # int: position of the tile along the axis, in blocks
    column,  # int32 (LANES,): columns of the tile, all within the field
    size,  # int, voxels
    stride,  # int: offset between rows of the field
    summary_stride,  # int: offset between summaries of blocks
    step_sq,  # pair of float, mm^2
    x_step_sq,  # pair of float, mm^2: for row distances
    ONE_SIDED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    AHEAD: tl.constexpr,  # int: summaries on either side to read together while nothing is found
    LONG: tl.constexpr,  # bool
    BLOCK: tl.constexpr,  # int
    LANES: tl.constexpr,  # int
):
    """Sign, squared distance in mm^2 and nearest position along the axis of one tile, each `(BLOCK, LANES)`.

    With ONE_SIDED the background has distance 0. Rows past the end have -inf.
    """
    within = tl.arange(0, BLOCK)
    row = block * BLOCK + within
    place = (tl.minimum(row, size - 1) * stride)[:, None] + column[None, :]
    own = _squared(tl.load(field + place), x_step_sq)
    sign = tl.where(own > 0, 1.0, -1.0)
    best = tl.abs(own)
    if ONE_SIDED:
        best = tl.where(own > 0, best, 0.0)
    best = tl.where((row < size)[:, None], best, -float("inf"))
    index = tl.broadcast_to(row[:, None], [BLOCK, LANES])
    # A column may have both signs; the worst distance of each side bounds which blocks can help it.
    worst_inside = tl.max(tl.where(sign > 0, best, -float("inf")), axis=0)
    worst_outside = tl.max(tl.where(sign < 0, best, -float("inf")), axis=0)
    worst = tl.max(tl.maximum(worst_inside, worst_outside), axis=0)
    apart = (within[:, None] - within[None, :]).to(tl.float32)

    blocks = tl.cdiv(size, BLOCK)
    last_turn = 2 * tl.maximum(block, blocks - 1 - block)
    turn = 0
    gap = 0.0
    while (turn <= last_turn) & (gap < worst):
        # The tile's own block, then alternately the next block below and above.
        ring = (turn + 1) // 2
        turns = 1
        if AHEAD > 0 and worst == float("inf"):
            worst_of_lane = tl.maximum(worst_inside, worst_outside)
            turns = _turns_for_nothing(
                field + block * BLOCK * stride + column, summaries, turn, last_turn, block, blocks,
                summary_stride, column, worst_of_lane, AHEAD,
            )  # fmt: skip
        other = block + tl.where(turn % 2 == 0, ring, -ring)
        exists = (other >= 0) & (other < blocks) & (turns == 1)
        summary = tl.load(summaries + tl.minimum(tl.maximum(other, 0), blocks - 1) * summary_stride + column)
        least = _squared(summary, x_step_sq)
        promising = (tl.maximum(least, 0.0) + gap < worst_inside) | (
            tl.maximum(-least, 0.0) + gap < worst_outside
        )
        if tl.max((promising & exists).to(tl.int32), axis=0) > 0:
            # Rows past the end repeat the last row, further away; such a candidate never wins.
            candidate = other * BLOCK + within
            place = (tl.minimum(candidate, size - 1) * stride)[:, None] + column[None, :]
            values = _squared(tl.load(field + place), x_step_sq)
            distance = apart + ((block - other) * BLOCK).to(tl.float32)
            along = times_squared(distance, step_sq, LONG)[:, :, None]
            # max(sign * value, 0) + along in two instructions.
            offers = tl.maximum(tl.fma(sign[:, None, :], values[None, :, :], along), along)
            if WITH_INDEX:
                offer, which = tl.min(offers, axis=1, return_indices=True)
                index = tl.where(offer < best, tl.minimum(other * BLOCK + which, size - 1), index)
            else:
                offer = tl.min(offers, axis=1)
            best = tl.minimum(best, offer)
            worst_inside = tl.max(tl.where(sign > 0, best, -float("inf")), axis=0)
            worst_outside = tl.max(tl.where(sign < 0, best, -float("inf")), axis=0)
            worst = tl.max(tl.maximum(worst_inside, worst_outside), axis=0)
        turn += turns
        nearest_row = tl.maximum((turn + 1) // 2 * BLOCK - (BLOCK - 1), 0)
        gap = times_squared(nearest_row.to(tl.float32), step_sq, LONG)
    return sign, best, index


@triton.jit
def _turns_for_nothing(
    own, summaries, turn, last_turn, block, blocks, stride, column, worst, AHEAD: tl.constexpr
):
    """2 AHEAD turns if the next AHEAD blocks on either side are as empty as the tile, else 1."""
    turns = 1
    if (turn % (2 * AHEAD) == 1) & (turn + 2 * AHEAD <= last_turn + 1):
        beside = (turn + 1) // 2 + tl.arange(0, AHEAD)[None, :, None]
        other = block + tl.where(tl.arange(0, 2)[:, None, None] == 0, beside, -beside)
        place = tl.minimum(tl.maximum(other, 0), blocks - 1) * stride + column[None, None, :]
        differ = tl.load(summaries + place) != tl.load(own)[None, None, :]
        differ = tl.max(tl.max(differ.to(tl.int32), axis=1), axis=0) | (worst < float("inf")).to(tl.int32)
        turns = tl.where(tl.max(differ, axis=0) == 0, 2 * AHEAD, 1)
    return turns


@triton.jit(do_not_specialize=["voxels", "Y", "X"])
def trace_indices(
    rows,  # distance (items, Z, Y, X), from scan_rows
    nearest_y,  # int32 (items, Z, Y, X): y of the nearest voxel in the slice
    nearest_z,  # int32 (items, Z, Y, X): z of the nearest voxel; read with DEEP
    indices,  # int32 (items, DIMS, Z, Y, X): output
    voxels,  # int: per item
    Y,  # int, voxels
    X,  # int, voxels
    DIMS: tl.constexpr,  # int: spatial axes
    DEEP: tl.constexpr,  # bool: whether there is more than one slice
    TILE: tl.constexpr,  # int: voxels per program
):
    """Combine nearest positions per axis into indices of the nearest background; -1 if there is none."""
    tiles = tl.cdiv(voxels, TILE)
    program = tl.program_id(0)
    item, tile = (program // tiles).to(tl.int64), program % tiles
    place = tile * TILE + tl.arange(0, TILE)
    inside = place < voxels
    place = tl.minimum(place, voxels - 1)
    rows += item * voxels
    y, x = place // X % Y, place % X
    z = place // (Y * X)
    if DEEP:
        z = tl.load(nearest_z + item * voxels + place)
    y = tl.load(nearest_y + item * voxels + (z * Y + y) * X + x)
    row = (z * Y + y) * X
    NONE: tl.constexpr = 32767 if rows.dtype.element_ty == tl.int16 else 2147483647
    distance = tl.load(rows + row + x).to(tl.int32)
    none = distance == NONE
    distance = tl.where(none, 0, tl.maximum(distance, 0))
    left = x - distance
    is_left = (left >= 0) & (tl.load(rows + row + tl.maximum(left, 0)) < 0)
    x = tl.where(is_left, left, x + distance)
    indices += item * DIMS * voxels + place
    tl.store(indices + (DIMS - 1) * voxels.to(tl.int64), tl.where(none, -1, x), mask=inside)
    if DIMS > 1:
        tl.store(indices + (DIMS - 2) * voxels.to(tl.int64), tl.where(none, -1, y), mask=inside)
    if DIMS > 2:
        tl.store(indices, tl.where(none, -1, z), mask=inside)


@triton.jit
def squared_step(item_steps, item, shared, AXIS: tl.constexpr, DIMS: tl.constexpr):
    """The squared step of an axis of (z, y, x) as a pair: the shared one, or that of this item."""
    step_sq, rest = shared
    if item_steps is not None and AXIS >= 3 - DIMS:
        own = tl.load(item_steps + item * DIMS + AXIS - (3 - DIMS))
        squared = own * own
        step_sq = squared.to(tl.float32)
        rest = (squared - step_sq.to(tl.float64)).to(tl.float32)
    return step_sq, rest


@triton.jit
def _squared(value, x_step_sq):
    """A field's value as a signed square in mm^2; row distances are in voxels and not yet squared."""
    if value.dtype != tl.float32:
        NONE: tl.constexpr = 32767 if value.dtype == tl.int16 else 2147483647
        distance = value.to(tl.int32)
        squared = times_squared(distance.to(tl.float32), x_step_sq, value.dtype == tl.int32)
        squared = tl.where(tl.abs(distance) == NONE, float("inf"), squared)
        value = tl.where(distance < 0, -squared, squared)
    return value


@triton.jit
def times_squared(distance, step_sq, LONG: tl.constexpr):
    """distance^2 times the sum of a pair, rounded once. With LONG, distance^2 may be inexact in float32."""
    near, rest = step_sq
    squared = distance * distance
    small = squared * rest
    if LONG:
        small += tl.fma(distance, distance, -squared) * near
    return tl.fma(squared, near, small)
