"""The Hausdorff error: the last search of both fields, the weighted square, and its gradient, in one pass."""

import triton
import triton.language as tl

from surfloss.backends.triton.edt import search, squared_step, times_squared


@triton.jit(do_not_specialize=["size", "stride", "X", "start", "width", "tiles", "voxels"])
def hausdorff_pass(
    input,
    target,
    input_field,  # as search takes it; or without summaries, the squared distances, inf for none
    input_summaries,
    target_field,
    target_summaries,
    ignore,  # bytes, or None
    gradient,
    errors,  # (items, tiles): what each program adds to the mean
    item_steps,
    size,
    stride,  # of the fields
    X,
    start,  # of the strip of the rows that the fields are of, `width` voxels long
    width,
    tiles,
    z_step,
    z_rest,
    y_step,
    y_rest,
    x_step,
    x_rest,
    voxels,
    DIMS: tl.constexpr,
    AXIS: tl.constexpr,
    SIGMOID: tl.constexpr,
    ALPHA: tl.constexpr,
    EMPTY: tl.constexpr,
    BOOL_TARGET: tl.constexpr,
    LONG: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    across, blocks = tl.cdiv(stride, LANES), tl.cdiv(size, BLOCK)
    program = tl.program_id(0)
    tile, item = program % (across * blocks), program // (across * blocks)
    lane_block, block = tile % across, tile // across
    z_step, z_rest = squared_step(item_steps, item, z_step, z_rest, 0, DIMS)
    y_step, y_rest = squared_step(item_steps, item, y_step, y_rest, 1, DIMS)
    x_step, x_rest = squared_step(item_steps, item, x_step, x_rest, 2, DIMS)
    row, lane = block * BLOCK + tl.arange(0, BLOCK), lane_block * LANES + tl.arange(0, LANES)
    inside = (row < size)[:, None] & (lane < stride)[None, :]
    row = tl.minimum(row, size - 1)[:, None]
    column = tl.max_contiguous(tl.minimum(lane, stride - 1), LANES)
    item = item.to(tl.int64)

    # Axes (z, y, x) of the tile's voxels, and the extents.
    if AXIS == 0:
        z, y, x = row, (column // width)[None, :], (start + column % width)[None, :]
        depth, height = size, stride // width
        step, rest = z_step, z_rest
    else:
        z, y, x = row * 0, row, column[None, :]
        depth, height = 1, size
        step, rest = y_step, y_rest
    place = item * voxels + ((z * height + y) * X + x)
    empty = tl.zeros([BLOCK, LANES], tl.float32)
    if EMPTY == "diagonal":
        empty += _square_of(
            (z * 0 + depth),
            (y * 0 + height),
            (x * 0 + X),
            z_step,
            z_rest,
            y_step,
            y_rest,
            x_step,
            x_rest,
            DIMS,
        )
    elif EMPTY == "scipy":
        # SciPy's answer for a volume without background: the distance to a voxel before the first one.
        empty += _square_of(
            z + (DIMS == 3),
            y + (DIMS == 2),
            x + (DIMS == 1),
            z_step,
            z_rest,
            y_step,
            y_rest,
            x_step,
            x_rest,
            DIMS,
        )

    weight = tl.zeros([BLOCK, LANES], tl.float32)
    for side in tl.static_range(2):
        field = input_field if side == 0 else target_field
        summaries = input_summaries if side == 0 else target_summaries
        if summaries is None:
            squared = tl.load(field + place)
        else:
            _, squared, _ = search(
                field + item * size * stride, summaries + item * blocks * stride, block, column, size, stride,
                stride, step, rest, x_step, x_rest, False, False, 0, LONG, BLOCK, LANES,
            )  # fmt: skip
        weight += _power(tl.where(squared == float("inf"), empty, squared), ALPHA)
    if ignore is not None:
        weight = tl.where(tl.load(ignore + place) != 0, 0.0, weight)

    prediction = tl.load(input + place)
    slope = 1.0
    if SIGMOID:
        small = tl.exp(-tl.abs(prediction))
        prediction = tl.where(prediction >= 0, 1.0, small) / (1 + small)
        slope = small / ((1 + small) * (1 + small))
    goal = tl.load(target + place)
    goal = (goal != 0).to(prediction.dtype) if BOOL_TARGET else goal
    difference = prediction - goal
    share = 1.0 / voxels.to(prediction.dtype)
    weighted = difference * weight
    tl.store(gradient + place, weighted * slope * (2 * share), mask=inside)
    error = tl.where(inside, weighted * difference, 0.0)
    tl.store(errors + item * tiles + tile, tl.sum(tl.sum(error, axis=0), axis=0) * share)


@triton.jit
def _square_of(z, y, x, z_step, z_rest, y_step, y_rest, x_step, x_rest, DIMS: tl.constexpr):
    """Squared length of steps along the axes that there are."""
    squared = times_squared(x.to(tl.float32), x_step, x_rest, False)
    if DIMS > 1:
        squared += times_squared(y.to(tl.float32), y_step, y_rest, False)
    if DIMS > 2:
        squared += times_squared(z.to(tl.float32), z_step, z_rest, False)
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
