"""The distance transform's search along each axis but the rows', and the way back to indices.

Between the passes, from the scan on, lies one signed field, positive in the foreground and negative in the
background, whose magnitude is the distance to the other label found so far. A foreground voxel reads it as
max(s, 0), since background is at distance 0; a background voxel as max(-s, 0). A search along an axis of step
h then takes

    g(y) = min over k of f(k) + h^2 (y - k)^2

over blocks of BLOCK candidates, nearest block first, and reads only those that could still improve a voxel of
its tile. What a block could give is in its summary: the value of smallest magnitude where all have one sign,
otherwise 0. docs/gpu-transform.md tells why this is exact, and what it costs.

Axes are always (z, y, x); "stride" is the distance between neighbors along the axis of the search, and the
places at one position of that axis are its columns. A squared step is a pair of floats, the nearest one and
what is left: tables and long distances would otherwise lose a bit.

Columns past the end are brought back to the last one, and called contiguous all the same: without that word
some versions of Triton lay a tile out across its rows. It is untrue in the last tile of an axis, and harmless
as long as sizes are not specialized, since vectors are then never loaded.
"""

import triton
import triton.language as tl

from surfloss.backends.triton.scan import holder_of

LOOK_AHEAD = tl.constexpr(8)  # blocks on either side whose summaries are looked at together


@triton.jit(do_not_specialize=["items", "Z", "Y", "X", "start", "width"])
def middle_pass(
    rows,  # distance (masks, Z, Y, X), from scan_rows; but see place_in_row
    row_summaries,  # distance (masks, Z, blocks of Y, X), from scan_rows
    field,  # float32 (masks, Z, Y, width), mm^2, signed: to be written
    summaries,  # float32 (masks, blocks of Z, Y, width), mm^2, signed: to be written
    nearest,  # int32 (masks, Z, Y, width), with WITH_INDEX: y of what is nearest, to be written
    item_steps,  # float64 (items, DIMS), mm; None where all items have the steps below
    items,  # int
    Z,  # int, voxels
    Y,  # int, voxels
    X,  # int, voxels
    start,  # int, voxels: where the strip of the rows begins
    width,  # int, voxels: of the strip
    y_sq,  # float, mm^2: the squared step along y
    y_rest,  # float, mm^2: what is left of it
    x_sq,  # float, mm^2
    x_rest,  # float, mm^2
    PAIR: tl.constexpr,  # int: distances that a value of the result has room for, see place_in_row
    DIMS: tl.constexpr,  # int: spatial axes
    ONE_SIDED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    LONG: tl.constexpr,  # bool: whether the square of a distance along an axis may be no float
    BLOCK: tl.constexpr,  # int: rows of a tile, and slices of a program
    LANES: tl.constexpr,  # int: columns of a tile
):
    """The search along y: a program takes a tile of BLOCK slices, for the summaries of the search along z."""
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
    field,  # distance (items, size, stride), from scan_rows; where there is z float32 in mm^2, of middle_pass
    summaries,  # of the same kind, (items, blocks of size, stride)
    distance,  # float32 (items, size, stride), mm or mm^2; with WITH_INDEX int32: place along the axis
    item_steps,  # float64 (items, DIMS), mm; None where all items have the steps below
    size,  # int, voxels: Z, or without z, Y
    stride,  # int, voxels: Y * X, or without z, X
    step_sq,  # float, mm^2: the squared step along the axis
    step_rest,  # float, mm^2: what is left of it
    x_sq,  # float, mm^2
    x_rest,  # float, mm^2
    DIMS: tl.constexpr,  # int: spatial axes
    AXIS: tl.constexpr,  # int: 0 for z, 1 for y
    FORM: tl.constexpr,  # str
    SQUARED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    LONG: tl.constexpr,  # bool: whether the square of a distance along an axis may be no float
    BLOCK: tl.constexpr,  # int: rows of a tile
    LANES: tl.constexpr,  # int: columns of a tile
):
    """The search along the last axis, with root and sign."""
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
    field,  # distance, or float32 in mm^2, (size, stride): of one item or slice
    summaries,  # of the same kind, (blocks of size, summary_stride)
    block,  # int: which block along the axis the tile is
    column,  # int32 (LANES,): of the tile, all within the field
    size,  # int, voxels
    stride,  # int: from one row of the field to the next
    summary_stride,  # int: from one block's summary to the next
    step_sq,  # pair of float, mm^2
    x_step_sq,  # pair of float, mm^2: for row distances
    ONE_SIDED: tl.constexpr,  # bool
    WITH_INDEX: tl.constexpr,  # bool
    AHEAD: tl.constexpr,  # int: summaries on either side that are looked at together where nothing is near
    LONG: tl.constexpr,  # bool
    BLOCK: tl.constexpr,  # int
    LANES: tl.constexpr,  # int
):
    """Sign, squared distance in mm^2 and nearest position along the axis, `(BLOCK, LANES)`, of one tile.

    One-sided, background is at distance 0. Rows past the end have -inf.
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
    # Signs differ within a column: the worst of either side bounds what is worth a look.
    worst_inside = tl.max(tl.where(sign > 0, best, -float("inf")), axis=0)
    worst_outside = tl.max(tl.where(sign < 0, best, -float("inf")), axis=0)
    worst = tl.max(tl.maximum(worst_inside, worst_outside), axis=0)
    apart = (within[:, None] - within[None, :]).to(tl.float32)

    blocks = tl.cdiv(size, BLOCK)
    last_turn = 2 * tl.maximum(block, blocks - 1 - block)
    turn = 0
    gap = 0.0
    while (turn <= last_turn) & (gap < worst):
        # The tile's own block, then by turns the next below and above.
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
            # Past the end the last row stands in: what it seems to give is more than what it does.
            candidate = other * BLOCK + within
            place = (tl.minimum(candidate, size - 1) * stride)[:, None] + column[None, :]
            values = _squared(tl.load(field + place), x_step_sq)
            distance = apart + ((block - other) * BLOCK).to(tl.float32)
            along = times_squared(distance, step_sq, LONG)[:, :, None]
            # max(sign * value, 0) + along, in two instructions.
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
    """2 AHEAD turns if the next AHEAD blocks on either side are as empty as the tile, 1 if not."""
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
    nearest_y,  # int32 (items, Z, Y, X): y of what is nearest in the slice
    nearest_z,  # int32 (items, Z, Y, X), with DEEP: z of what is nearest
    indices,  # int32 (items, DIMS, Z, Y, X): to be written
    voxels,  # int: of an item
    Y,  # int, voxels
    X,  # int, voxels
    DIMS: tl.constexpr,  # int: spatial axes
    DEEP: tl.constexpr,  # bool: whether there is more than one slice
    TILE: tl.constexpr,  # int: voxels of a program
):
    """From the nearest position along each axis to that of the nearest background, -1 where there is none."""
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
    """The squared step of one of the axes (z, y, x) as a pair: that of all items, or of this one."""
    step_sq, rest = shared
    if item_steps is not None and AXIS >= 3 - DIMS:
        own = tl.load(item_steps + item * DIMS + AXIS - (3 - DIMS))
        squared = own * own
        step_sq = squared.to(tl.float32)
        rest = (squared - step_sq.to(tl.float64)).to(tl.float32)
    return step_sq, rest


@triton.jit
def _squared(value, x_step_sq):
    """A field's value, squared: row distances are voxels still."""
    if value.dtype != tl.float32:
        NONE: tl.constexpr = 32767 if value.dtype == tl.int16 else 2147483647
        distance = value.to(tl.int32)
        squared = times_squared(distance.to(tl.float32), x_step_sq, value.dtype == tl.int32)
        squared = tl.where(tl.abs(distance) == NONE, float("inf"), squared)
        value = tl.where(distance < 0, -squared, squared)
    return value


@triton.jit
def times_squared(distance, step_sq, LONG: tl.constexpr):
    """distance^2 times the sum of a pair, rounded once; LONG distances have squares that are no floats."""
    near, rest = step_sq
    squared = distance * distance
    small = squared * rest
    if LONG:
        small += tl.fma(distance, distance, -squared) * near
    return tl.fma(squared, near, small)
