"""The first pass of the distance transform: the distance of every voxel to the other label within its row.

The boundaries of a row are bits of 32-bit words. Bit arithmetic finds the nearest boundary within a word, and
a scan over the words finds it across words.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["items", "Z", "Y", "X", "width"])
def scan_rows(
    first,  # number (items, Z, Y, X): the first masks, or values to threshold
    second,  # number (items, Z, Y, X): second masks or values; `first` again if there is one mask per item
    rows,  # distance (masks, Z, Y, X): output, layout in place_in_row; +-NONE in a row with one label
    summaries,  # distance (masks, Z, blocks of Y, X): output
    items,  # int
    Z,  # int, voxels
    Y,  # int, voxels
    X,  # int, voxels
    width,  # int, voxels: of a strip of the rows
    PAIR: tl.constexpr,  # int: distances that fit into one value of the result, see place_in_row
    FIRST_ABOVE: tl.constexpr,  # foreground is above this float, or nonzero if None; or "label" for labels
    SECOND_ABOVE: tl.constexpr,  # likewise for `second`
    SEVERAL: tl.constexpr,  # bool: whether a row has several chunks
    BLOCK: tl.constexpr,  # int: rows per program
    CHUNK: tl.constexpr,  # int, voxels: part of a row that is scanned at once
):
    """Distance along x to the other label. A program scans BLOCK adjacent rows, one chunk at a time."""
    blocks = tl.cdiv(Y, BLOCK)
    program = tl.program_id(0)
    slice_, block = program // blocks, program % blocks
    item, z = slice_ // Z, slice_ % Z
    y = (block * BLOCK + tl.arange(0, BLOCK))[:, None, None]
    # Rows past the end repeat the last one, which does not change a summary.
    row = (z * Y + tl.minimum(y, Y - 1)) * X
    holder, side = holder_of(item, items, PAIR)
    rows += (holder.to(tl.int64) * Z + z) * Y * X * PAIR
    line = tl.minimum(y, Y - 1) * X * PAIR
    summaries += (slice_.to(tl.int64) * blocks + block) * X
    chunks = tl.cdiv(X, CHUNK)
    NONE: tl.constexpr = 32767 if rows.dtype.element_ty == tl.int16 else 2147483647
    BITS: tl.constexpr = min(32, CHUNK)
    WORDS: tl.constexpr = CHUNK // BITS
    within = tl.arange(0, WORDS)[None, :, None] * BITS + tl.arange(0, BITS)[None, None, :]

    if SEVERAL:
        following = tl.full([BLOCK, 1, 1], X, tl.int32)
        for index in range(chunks - 1, -1, -1):
            x = index * CHUNK + within
            _, _, ends = _edges(first, second, item, items, row, x, Z * Y * X, X, FIRST_ABOVE, SECOND_ABOVE)
            place = tl.minimum(index * CHUNK + _nearest_mark(ends, X, True), following)
            right = tl.where(place < X, place - x + 1, NONE)
            tl.store(rows + (line + place_in_row(x, side, X, width, PAIR)), right, mask=(y < Y) & (x < X))
            following = tl.minimum(following, tl.min(tl.min(tl.where(ends, x, X), 2), 1)[:, None, None])
        tl.debug_barrier()

    previous = tl.full([BLOCK, 1, 1], -1, tl.int32)
    for index in range(chunks):
        x = index * CHUNK + within
        foreground, starts, ends = _edges(
            first, second, item, items, row, x, Z * Y * X, X, FIRST_ABOVE, SECOND_ABOVE
        )
        place = _nearest_mark(starts, -1, False)
        place = tl.where(place >= 0, index * CHUNK + place, previous)
        distance = tl.where(place >= 0, x - place + 1, NONE)
        if SEVERAL:
            # Masked, since rows past the end repeat the last row and would read what it overwrites. Their
            # distances are then longer but have the same sign, which does not change a summary.
            place = rows + (line + place_in_row(x, side, X, width, PAIR))
            right = tl.load(place, mask=(y < Y) & (x < X), other=NONE).to(tl.int32)
            previous = tl.maximum(previous, tl.max(tl.max(tl.where(starts, x, -1), 2), 1)[:, None, None])
        else:
            place = _nearest_mark(ends, X, True)
            right = tl.where(place < X, place - x + 1, NONE)
        distance = tl.minimum(distance, right)
        signed = tl.where(foreground, distance, -distance)
        tl.store(rows + (line + place_in_row(x, side, X, width, PAIR)), signed, mask=(y < Y) & (x < X))
        summary = _summary(tl.min(signed, axis=0), tl.max(signed, axis=0))[None, :, :]
        tl.store(summaries + x, summary, mask=x < X)


@triton.jit
def holder_of(mask, items, PAIR: tl.constexpr):
    """The index of the memory that holds the row distances of a mask, and its side there (0 or 1)."""
    if PAIR == 1:
        return mask, 0
    return mask % items, mask // items


@triton.jit
def place_in_row(x, side, X, width, PAIR: tl.constexpr):
    """The offset of the distance at x within a row.

    The distances of two masks may share the memory of a result whose values are PAIR times as large. Each
    strip of `width` voxels then holds the distances of both masks in that strip, and can be overwritten once
    these are read. With PAIR 1 the rows of each mask are contiguous. docs/gpu-transform.md has a drawing.
    """
    if PAIR == 1:
        return x
    start = x // width * width
    return start * PAIR + side * tl.minimum(width, X - start) + (x - start)


@triton.jit
def _edges(
    first, second, item, items, row, x, voxels, X, FIRST_ABOVE: tl.constexpr, SECOND_ABOVE: tl.constexpr
):
    """Which voxels of a chunk are foreground, and which ones start or end a run of their label in the row."""
    if item < items:
        first += item.to(tl.int64) * voxels
        here, before, after = _labels(first, row, x, X, FIRST_ABOVE)
    else:
        second += (item - items).to(tl.int64) * voxels
        here, before, after = _labels(second, row, x, X, SECOND_ABOVE)
    return here != 0, here != before, here != after


@triton.jit
def _labels(values, row, x, X, ABOVE: tl.constexpr):
    """Labels of a chunk's voxels, of those before, and of those after; at a row's ends the voxel's own."""
    own, before, after = (
        tl.minimum(x, X - 1),
        tl.minimum(tl.maximum(x - 1, 0), X - 1),
        tl.minimum(x + 1, X - 1),
    )
    return (
        _is_foreground(tl.load(values + _along(row, own)), ABOVE),
        _is_foreground(tl.load(values + _along(row, before)), ABOVE),
        _is_foreground(tl.load(values + _along(row, after)), ABOVE),
    )


@triton.jit
def _along(row, x):
    """Offsets in rows, with the hint on contiguity that the docstring of edt.py explains."""
    return tl.max_contiguous(row + x, [1, 1, x.shape[2]])


@triton.jit
def _is_foreground(value, ABOVE: tl.constexpr):
    if value.dtype == tl.bfloat16:
        value = value.to(tl.float32)
    if ABOVE is None:
        value = value != 0
    elif ABOVE != "label":  # labels are compared as they are
        value = value > ABOVE
    return value


@triton.jit
def _nearest_mark(marks, none, ONWARD: tl.constexpr):
    """For every voxel, the first mark from it on (ONWARD) or the last mark up to it, or else `none`.

    Args:
        marks: bool `(BLOCK, words, bits)`.

    Returns:
        int32 `(BLOCK, words, bits)`: the position in the chunk.
    """
    WORDS: tl.constexpr = marks.shape[1]
    BITS: tl.constexpr = marks.shape[2]
    # Reverse the bits to find the last mark, so that it is the lowest bit as well.
    TURN: tl.constexpr = 0 if ONWARD else BITS - 1
    bit = tl.arange(0, BITS)[None, None, :] ^ TURN
    word = tl.arange(0, WORDS)[None, :]
    bits = tl.sum(tl.where(marks, 1 << bit, 0), axis=2)
    found = tl.where(bits != 0, _place_of_mark(word, bits, ONWARD, BITS), none)
    beyond = tl.full([marks.shape[0], WORDS], 0, tl.int32) + none
    if WORDS > 1:
        if ONWARD:
            scanned = tl.associative_scan(found, 1, lesser, reverse=True)
            beside, exists = tl.minimum(word + 1, WORDS - 1), word < WORDS - 1
        else:
            scanned = tl.associative_scan(found, 1, greater)
            beside, exists = tl.maximum(word - 1, 0), word > 0
        beyond = tl.where(exists, tl.gather(scanned, tl.broadcast_to(beside, scanned.shape), 1), none)
    own = bits[:, :, None] & (-1 << bit)
    return tl.where(own != 0, _place_of_mark(word[:, :, None], own, ONWARD, BITS), beyond[:, :, None])


@triton.jit
def _place_of_mark(word, bits, ONWARD: tl.constexpr, BITS: tl.constexpr):
    """The position in the chunk of a word's lowest bit: its first mark, or with reversed bits its last."""
    lowest = _lowest_bit(bits)
    return word * BITS + lowest if ONWARD else word * BITS + (BITS - 1) - lowest


@triton.jit
def _lowest_bit(word):
    """The position of a word's lowest bit, from the exponent of this bit as a float."""
    power = (word & -word).to(tl.uint32, bitcast=True).to(tl.float32)
    return (power.to(tl.int32, bitcast=True) >> 23) - 127


@triton.jit
def greater(a, b):
    return tl.maximum(a, b)


@triton.jit
def lesser(a, b):
    return tl.minimum(a, b)


@triton.jit
def _summary(lowest, highest):
    """The summary of a block: the value of smallest magnitude, or 0 if signs differ."""
    return tl.where(lowest > 0, lowest, tl.where(highest < 0, highest, 0))
