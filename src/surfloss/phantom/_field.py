"""Signed distances of simple shapes (mm, negative inside), and smooth random fields."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array: TypeAlias = NDArray[np.floating[Any]]  # float32, which the stubs of mixed arithmetic cannot tell
Point: TypeAlias = tuple[Array, Array, Array]
Triple: TypeAlias = tuple[float, float, float]


def ellipsoid(p: Point, center: Triple, radii: Triple) -> Array:
    """First-order distance to an ellipsoid: exact on the surface, and for a sphere everywhere."""
    u, v, w = ((a - c) / r for a, c, r in zip(p, center, radii, strict=True))
    k: Array = np.sqrt(u * u + v * v + w * w)
    u, v, w = u / radii[0], v / radii[1], w / radii[2]
    slope: Array = np.sqrt(u * u + v * v + w * w)
    return k * (k - 1) / (slope + np.float32(1e-6))


def capsule(p: Point, a: Triple, b: Triple, radius: float) -> Array:
    """Distance to a segment from a to b with that radius."""
    u, v, w = (q - c for q, c in zip(p, a, strict=True))
    i, j, k = (e - c for c, e in zip(a, b, strict=True))
    along = np.clip((u * i + v * j + w * k) / (i * i + j * j + k * k), 0, 1)
    u, v, w = u - along * i, v - along * j, w - along * k
    distance: Array = np.sqrt(u * u + v * v + w * w)
    return distance - radius


def union(a: Array, *others: Array, seam: float) -> Array:
    """Union of shapes, with the seams rounded over `seam` mm."""
    for b in others:
        h = np.maximum(seam - np.abs(a - b), 0)
        a = np.minimum(a, b) - h * h / (4 * seam)
    return a


def nearest(*shapes: Array) -> Array:
    """Union of shapes with sharp seams."""
    return reduce(np.minimum, shapes)


def cover(distance: Array, edge: float) -> Array:
    """How much of a voxel a shape covers: 1 inside, 0 outside, linear over an edge of that width in mm."""
    covered: Array = np.clip(0.5 - distance / edge, 0, 1)
    return covered


def paint(hu: Array, value: float | Array, covered: Array) -> None:
    """Replace HU in place where covered."""
    hu += (value - hu) * covered


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A scalar of the drawing; rounded, since compilers may fuse the multiplication and addition in it."""
    return round(float(rng.uniform(low, high)), 6)


def rotation(about_z: float, about_y: float, about_x: float) -> list[list[float]]:
    """Rotation matrix from radians; rounded, since the last bit of sin and cos differs between machines."""
    turn = Rotation.from_euler("ZYX", (about_z, about_y, about_x))
    rows: list[list[float]] = turn.as_matrix().round(6).tolist()
    return rows


class Smooth:
    """Smooth random field of mean 0 and SD 1: cubic B-splines over a periodic lattice of uniform numbers."""

    _N = 32

    def __init__(self, rng: np.random.Generator, step: float) -> None:
        self.step = step
        # 0.479 is the mean square of a cubic B-spline's samples; one factor for each axis.
        unit = math.sqrt(12 / 0.479**3)
        self.lattice = (rng.random((self._N,) * 3, dtype=np.float32) - np.float32(0.5)) * np.float32(unit)

    def plane(self, z: float, y: Array, x: Array) -> Array:
        """Values at height z, rows y and columns x, in mm: (len(y), len(x))."""
        at_z = self._weigh(self.lattice, np.array([z], np.float32), 0)[0]
        return self._weigh(self._weigh(at_z, x, 1), y, 0)

    def _weigh(self, values: Array, mm: Array, axis: int) -> Array:
        t = mm / np.float32(self.step)
        base = np.floor(t)
        f = t - base
        g = 1 - f
        weights = (g * g * g, 4 - 6 * f * f + 3 * f * f * f, 4 - 6 * g * g + 3 * g * g * g, f * f * f)
        shape = [1] * values.ndim
        shape[axis] = -1
        terms = (
            values.take((base.astype(np.intp) + k - 1) % self._N, axis) * (weight / 6).reshape(shape)
            for k, weight in enumerate(weights)
        )
        return reduce(np.add, terms)


@dataclass(frozen=True)
class Plane:
    """A piece of a thin slice, in mm.

    z, y (rows), x (columns): scanner coordinates; p: head coordinates (x, y, z), each (rows, columns);
    d: distance to the inner table of the skull, (rows, columns); pixel: their width.
    """

    z: float
    y: Array
    x: Array
    p: Point
    d: Array
    pixel: float

    @property
    def edge(self) -> float:
        """Width of tissue borders: a pixel, or the scanner's blur where that is wider."""
        return max(self.pixel, 1.1)

    def of(self, field: Smooth) -> Array:
        return field.plane(self.z, self.y, self.x)

    def crop(self, box: tuple[slice, slice]) -> "Plane":
        x, y, z = self.p
        return Plane(
            self.z, self.y[box[0]], self.x[box[1]], (x[box], y[box], z[box]), self.d[box], self.pixel
        )
