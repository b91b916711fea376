"""Surface elements: the piece of surface that every 2x2 or 2x2x2 neighborhood of voxels holds, and its size.

A neighborhood is numbered by its inside corners: the corners in C order, the first as the highest bit. The
surface crosses each edge between an inside and an outside corner at the middle (Lorensen & Cline 1987,
"Marching Cubes"). `docs/metrics.md` says how the sizes relate to the published table.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from surfloss.metrics._masks import BoolArray, FloatArray

Corner: TypeAlias = tuple[int, ...]


def neighborhood_codes(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """Number of the neighborhood around every corner point of the voxel grid.

    Args:
        mask: bool, 2-D or 3-D; everything around it counts as background.

    Returns:
        uint8, one longer than the mask along each axis.
    """
    padded = np.pad(mask, 1)
    # A flat array is joined with its own shifted copy; what wraps around an end falls into the last places.
    codes: npt.NDArray[Any] = padded.view(np.uint8).reshape(-1)
    for axis in reversed(range(mask.ndim)):
        next_one = math.prod(padded.shape[axis + 1 :])
        joined = codes * np.uint8(2**2 ** (mask.ndim - 1 - axis))  # NumPy's shift of bytes is slow
        joined[:-next_one] |= codes[next_one:]
        codes = joined
    inner = (slice(None, -1),) * mask.ndim
    return np.ascontiguousarray(codes.reshape(padded.shape)[inner])


def element_sizes(spacing: FloatArray) -> FloatArray:
    """Area of the surface (3-D, mm^2) or length of the contour (2-D, mm) in every possible neighborhood.

    Args:
        spacing: `(dims,)`, in mm.

    Returns:
        `(16,)` in 2-D, `(256,)` in 3-D; 0 where all corners are alike.
    """
    # Stretching an axis leaves a normal's own component alone and stretches the others.
    stretch = np.prod(spacing) / spacing
    sizes: FloatArray = np.linalg.norm(_normals(len(spacing)) * stretch, axis=-1).sum(-1)
    return sizes


@cache
def _normals(dims: int) -> FloatArray:
    """Normals of the pieces in each neighborhood at unit spacing, as long as the pieces are large.

    Returns:
        `(2^2^dims, pieces, dims)`, filled up with zeros.
    """
    corners = list(product((0, 1), repeat=dims))
    table = np.zeros((1 << len(corners), 4, dims))
    for code in range(len(table)):
        inside = {corner for bit, corner in enumerate(reversed(corners)) if code >> bit & 1}
        if len(inside) > len(corners) // 2:  # as in the paper's cases, inside and outside change places
            inside = set(corners) - inside
        pieces = _segment_normals(inside) if dims == 2 else _triangle_normals(inside)
        table[code, : len(pieces)] = np.reshape(pieces, (-1, dims))
    return table


def _segment_normals(inside: set[Corner]) -> list[FloatArray]:
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    segments = [np.subtract(leave, enter) / 2 for enter, leave in _cuts(square, inside)]
    return [segment[::-1] for segment in segments]


def _triangle_normals(inside: set[Corner]) -> list[FloatArray]:
    following: dict[Corner, Corner] = {}
    for square in _faces():
        following.update(_cuts(square, inside))
    normals: list[FloatArray] = []
    while following:
        start, point = following.popitem()
        loop = [start]
        while point != start:
            loop.append(point)
            point = following.pop(point)
        normals.extend(_largest_fan(np.array(loop) / 2))
    return normals


def _faces() -> Iterator[list[Corner]]:
    """Corners of the cube's faces, counterclockwise seen from outside."""
    for axis, side in product(range(3), (0, 1)):
        square = []
        for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [side] * 3
            corner[(axis + 1) % 3], corner[(axis + 2) % 3] = u, v
            square.append(tuple(corner))
        yield square if side else square[::-1]


def _cuts(square: Sequence[Corner], inside: set[Corner]) -> Iterator[tuple[Corner, Corner]]:
    """Where the surface enters and leaves a square, for each run of inside corners (coordinates doubled).

    Two opposite inside corners are two runs: an ambiguous face separates them.
    """
    for first in range(4):
        if square[first] not in inside or square[first - 1] in inside:
            continue
        last = next(i for i in range(first, first + 4) if square[(i + 1) % 4] not in inside)
        yield (
            _twice_middle(square[first - 1], square[first]),
            _twice_middle(square[last % 4], square[(last + 1) % 4]),
        )


def _twice_middle(a: Corner, b: Corner) -> Corner:
    return tuple(p + q for p, q in zip(a, b, strict=True))


def _largest_fan(loop: FloatArray) -> FloatArray:
    """Normals of the triangles from one vertex of a loop to all others.

    A loop that is not flat has as many surfaces as triangulations. The published areas are those of the fan
    with the largest area at unit spacing, stretched afterwards.
    """
    fans = []
    for first in range(len(loop)):
        arms = np.roll(loop, -first, axis=0)[1:] - loop[first]
        fans.append(np.cross(arms[:-1], arms[1:]) / 2)
    return max(fans, key=lambda fan: float(np.linalg.norm(fan, axis=1).sum()))
