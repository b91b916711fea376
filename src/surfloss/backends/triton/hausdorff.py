"""The Hausdorff error: the last search of both fields, the weighted squares and the gradient in one pass."""

import triton
import triton.language as tl

from surfloss.backends.triton.edt import search, squared_step, times_squared


@triton.jit(do_not_specialize=["size", "stride", "X", "start", "width", "tiles", "voxels"])
def hausdorff_pass(
    input,  # real (items, Z, Y, X): probabilities, or with SIGMOID logits
    target,  # real (items, Z, Y, X); uint8 with BOOL_TARGET
    input_field,  # like `field` of last_pass; given distances are float32 (items, Z, Y, X), mm^2
    input_summaries,  # like `summaries` of last_pass; None if the distances are given
    target_field,  # likewise for the target
    target_summaries,  # likewise for the target
    ignore,  # uint8 (items, Z, Y, X), or None
    gradient,  # real (items, Z, Y, X): output, written in the strip
    errors,  # real (items, tiles): output, the share of each program in the mean
    plain_errors,  # real (items, tiles): output with weight 1, 0 where ignored; or None
    item_steps,  # float64 (items, DIMS), mm; None if all items have the steps below
    size,  # int, voxels: Z, or without z, Y
    stride,  # int, voxels: Y * width, or without z, X
    X,  # int, voxels
    start,  # int, voxels: where the strip of the rows begins
    width,  # int, voxels: of the strip
    tiles,  # int: length of the last axis of `errors`
    z_sq,  # float, mm^2: the squared step along z
    z_rest,  # float, mm^2: its remainder
    y_sq,  # float, mm^2
    y_rest,  # float, mm^2
    x_sq,  # float, mm^2
    x_rest,  # float, mm^2
    max_squared,  # float, mm^2: cap of the squared distance
    voxels,  # int: per item
    DIMS: tl.constexpr,  # int: spatial axes
    AXIS: tl.constexpr,  # int: of the search, 0 for z, 1 for y
    SIGMOID: tl.constexpr,  # bool
    ALPHA: tl.constexpr,  # float: exponent of the distances
    EMPTY: tl.constexpr,  # str
    BOOL_TARGET: tl.constexpr,  # bool
    LONG: tl.constexpr,  # bool: whether squares of distances along an axis may be inexact in float32
    BLOCK: tl.constexpr,  # int: rows per tile
    LANES: tl.constexpr,  # int: columns per tile
):
    across, blocks = tl.cdiv(stride, LANES), tl.cdiv(size, BLOCK)
    program = tl.program_id(0)
    tile, item = program % (across * blocks), program // (across * blocks)
    lane_block, block = tile % across, tile // across
    steps_sq = (
        squared_step(item_steps, item, (z_sq, z_rest), 0, DIMS),
        squared_step(item_steps, item, (y_sq, y_rest), 1, DIMS),
        squared_step(item_steps, item, (x_sq, x_rest), 2, DIMS),
    )
    row, lane = block * BLOCK + tl.arange(0, BLOCK), lane_block * LANES + tl.arange(0, LANES)
    inside = (row < size)[:, None] & (lane < stride)[None, :]
    row = tl.minimum(row, size - 1)[:, None]
    column = tl.max_contiguous(tl.minimum(lane, stride - 1), LANES)
    item = item.to(tl.int64)

    # Positions (z, y, x) of the tile's voxels, and the sizes along z and y.
    if AXIS == 0:
        z, y, x = row, (column // width)[None, :], (start + column % width)[None, :]
        depth, height = size, stride // width
    else:
        z, y, x = row * 0, row, column[None, :]
        depth, height = 1, size
    place = item * voxels + ((z * height + y) * X + x)
    empty = tl.zeros([BLOCK, LANES], tl.float32)
    if EMPTY == "diagonal":
        empty += _squared_length((z * 0 + depth, y * 0 + height, x * 0 + X), steps_sq, DIMS)
    elif EMPTY == "scipy":
        # SciPy's result for a volume without background: the distance to a voxel before the first one.
        empty += _squared_length((z + (DIMS == 3), y + (DIMS == 2), x + (DIMS == 1)), steps_sq, DIMS)

    weight = tl.zeros([BLOCK, LANES], tl.float32)
    for side in tl.static_range(2):
        field = input_field if side == 0 else target_field
        summaries = input_summaries if side == 0 else target_summaries
        if summaries is None:
            squared = tl.load(field + place)
        else:
            _, squared, _ = search(
                field + item * size * stride, summaries + item * blocks * stride, block, column, size, stride,
                stride, steps_sq[AXIS], steps_sq[2], False, False, 0, LONG, BLOCK, LANES,
            )  # fmt: skip
        squared = tl.where(squared == float("inf"), empty, squared)
        weight += _power(tl.minimum(squared, max_squared), ALPHA)
    counted = inside
    if ignore is not None:
        counted = inside & (tl.load(ignore + place) == 0)
        weight = tl.where(counted, weight, 0.0)

    prediction, slope = tl.load(input + place), 1.0
    if SIGMOID:
        prediction, slope = _sigmoid(prediction)
    goal = tl.load(target + place)
    goal = (goal != 0).to(prediction.dtype) if BOOL_TARGET else goal
    difference = prediction - goal
    share = 1.0 / voxels.to(prediction.dtype)
    weighted = difference * weight
    tl.store(gradient + place, weighted * slope * (2 * share), mask=inside)
    part = item * tiles + tile
    _store_sum(errors + part, tl.where(inside, weighted * difference, 0.0), share)
    if plain_errors is not None:
        _store_sum(plain_errors + part, tl.where(counted, difference * difference, 0.0), share)


@triton.jit
def _store_sum(to, terms, share):
    """Store the sum of a tile as its share of a mean."""
    tl.store(to, tl.sum(tl.sum(terms, axis=0), axis=0) * share)


@triton.jit
def _sigmoid(logits):
    """The sigmoid, and its derivative."""
    small = tl.exp(-tl.abs(logits))
    return tl.where(logits >= 0, 1.0, small) / (1 + small), small / ((1 + small) * (1 + small))


@triton.jit
def _squared_length(offset, steps_sq, DIMS: tl.constexpr):
    """The squared length in mm^2 of an offset (z, y, x) in voxels, over the existing axes."""
    squared = times_squared(offset[2].to(tl.float32), steps_sq[2], False)
    for axis in tl.static_range(1, -1, -1):
        if axis >= 3 - DIMS:
            squared += times_squared(offset[axis].to(tl.float32), steps_sq[axis], False)
    return squared


@triton.jit
def _power(squared, ALPHA: tl.constexpr):
    """distance^ALPHA of a squared distance; 0^0 is 1."""
    if ALPHA == 2:
        return squared
    if ALPHA == 1:
        return tl.sqrt_rn(squared)
    if ALPHA == 0:
        return squared * 0 + 1
    return tl.exp2(tl.log2(squared.to(tl.float64)) * (ALPHA / 2)).to(tl.float32)
