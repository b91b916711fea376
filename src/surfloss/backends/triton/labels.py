"""The additional pass for many labels: signs that tell neighboring segments of a line apart.

A segment is a run of equal labels along the axis of a search. Nothing beyond an end of a segment is nearer
than that end. So the search for two labels stays correct if segments of the same sign are never adjacent.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["size", "inner"])
def turn_signs(
    labels,  # integer (groups, size, inner)
    field,  # distance, or float32 in mm^2, (groups, size, inner): signs are overwritten
    summaries,  # same dtype and unit, (groups, blocks of size, inner): overwritten
    size,  # int, voxels: along the axis of the next search
    inner,  # int, voxels
    ZERO: tl.constexpr,  # bool: whether label 0 has distance 0
    BLOCK: tl.constexpr,  # int: rows per block with a summary
    LANES: tl.constexpr,  # int: columns per program
):
    """Set alternating signs along every column for the search along the axis of size `size`."""
    across, blocks = tl.cdiv(inner, LANES), tl.cdiv(size, BLOCK)
    program = tl.program_id(0)
    group, lane = (program // across).to(tl.int64), program % across * LANES + tl.arange(0, LANES)
    inside = lane < inner
    column = tl.minimum(lane, inner - 1)
    labels += group * size * inner + column
    field += group * size * inner + column
    summaries += group * blocks * inner + column
    before = tl.load(labels)
    turn = tl.zeros([LANES], tl.int32)
    for block in range(blocks):
        lowest = tl.load(field, mask=inside, other=0)
        highest = lowest
        for within in range(BLOCK):
            # Rows past the end repeat the last one, which has no effect.
            row = tl.minimum(block * BLOCK + within, size - 1)
            own = tl.load(labels + row * inner)
            # Masked, since a column past the end would read what the last one overwrites.
            value = tl.abs(tl.load(field + row * inner, mask=inside, other=0))
            if ZERO:
                value = tl.where(own == 0, 0, value).to(value.dtype)
            turn = turn ^ (own != before).to(tl.int32)
            value = tl.where(turn == 0, value, -value)
            tl.store(field + row * inner, value, mask=inside)
            lowest = value if within == 0 else tl.minimum(lowest, value)
            highest = value if within == 0 else tl.maximum(highest, value)
            before = own
        # The value of smallest magnitude if all have the same sign, else 0.
        summary = tl.where(lowest > 0, lowest, tl.where(highest < 0, highest, 0)).to(lowest.dtype)
        tl.store(summaries + block * inner, summary, mask=inside)
