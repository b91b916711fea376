"""Hemorrhages: how large, where, and of what shape."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from surfloss.phantom._field import Array, Plane, Point, Smooth, Triple, cover, paint, rotation, uniform
from surfloss.phantom._head import Head

# Where bleeds lie: the share of them, and mean and spread of their centers in head coordinates (left side).
_REGIONS = (
    (0.42, (26.0, 0.0, 5.0), (4.0, 8.0, 6.0)),  # basal ganglia
    (0.13, (12.0, 14.0, 6.0), (3.0, 4.0, 3.0)),  # thalamus
    (0.35, (33.0, 0.0, 22.0), (9.0, 32.0, 14.0)),  # lobes
    (0.10, (22.0, 48.0, -38.0), (7.0, 6.0, 5.0)),  # cerebellum
)


@dataclass(frozen=True)
class Bleed:
    """One hemorrhage. `center` is in scanner coordinates (x, y, z), lengths are in mm."""

    center: Triple
    radius: float  # of the ball of the same volume
    turn: list[list[float]]
    stretch: Triple
    rough: Smooth
    hu: float
    blur: float
    edema: float
    breach: float  # how much farther it spreads within the ventricles
    level: float = 0.0  # of the shape function, so that it holds the drawn volume

    def shape(self, head: Head, plane: Plane) -> Array:
        """Roughened ellipsoid: in mm, growing outwards, 0 at the surface."""
        u, v, w = plane.x - self.center[0], (plane.y - self.center[1])[:, None], plane.z - self.center[2]
        a, b, c = ((r[0] * u + r[1] * v + r[2] * w) / s for r, s in zip(self.turn, self.stretch, strict=True))
        shape: Array = np.sqrt(a * a + b * b + c * c)
        shape += 0.3 * self.radius * plane.of(self.rough) - self.radius - self.level
        if self.breach:
            shape -= self.breach * cover(head.ventricles(plane.p) + 1, 3)
        return shape

    @property
    def reach(self) -> float:
        """How far from its center, along each axis, a bleed is looked for."""
        return 2.4 * self.radius + 3

    def window(self, plane: Plane) -> tuple[slice, slice]:
        """Rows and columns that the bleed or its edema may touch; empty where the plane passes it by."""
        far = self.reach + self.edema + 3
        if abs(plane.z - self.center[2]) > far:
            return slice(0), slice(0)
        x, y = (self.center[k] + np.array([-far, far], np.float32) for k in (0, 1))
        return slice(*np.searchsorted(plane.y, y)), slice(*np.searchsorted(plane.x, x))

    def draw(self, head: Head, plane: Plane, hu: Array, share: Array) -> None:
        """Draw bleed and edema into `hu`, and how much of each voxel is bleed into `share`."""
        shape = np.maximum(self.shape(head, plane), plane.d + 2.5)
        if self.edema:
            # Water spreads in tissue: not in fluid, older blood or dura, nor into the skull.
            tissue = cover(plane.d + 3, 2) * np.clip(np.minimum(hu - 12, 52 - hu) / 8, 0, 1)
            paint(hu, 20, 0.8 * tissue * cover(shape - self.edema, 4))
        paint(hu, self.hu + 3 * plane.of(self.rough), cover(shape, max(plane.pixel, self.blur)))
        np.maximum(share, cover(shape, plane.pixel), out=share)

    def displaced(self, head: Head, p: Point) -> Point:
        """Where the tissue now at p was before the bleed pushed it outwards."""
        a, b, c = (np.array([v], np.float32) for v in self.center)
        x, y, z = (v - at for v, at in zip(p, head.frame(c, b, a), strict=True))
        near = np.maximum(1 - (x * x + y * y + z * z) / (3.2 * self.radius) ** 2, 0)
        pull = 0.3 * near * near
        return p[0] - pull * x, p[1] - pull * y, p[2] - pull * z


def draw_volumes(seed: int, case: int) -> list[float]:
    """Log-normal volumes in ml: the main bleed (median 12) and zero to four more (median 1).

    The main bleeds' quantiles follow a golden-ratio sequence over the cases, so that a handful of cases
    already holds small and large ones.
    """
    start = float(np.random.default_rng([seed]).random())
    rng = np.random.default_rng([seed, case, 2])
    quantile = (start + case * (math.sqrt(5) - 1) / 2) % 1
    main = 12 * math.exp(1.25 * NormalDist().inv_cdf(min(max(quantile, 0.005), 0.995)))
    more = [math.exp(1.4 * float(rng.standard_normal())) for _ in range(min(int(rng.geometric(0.5)) - 1, 4))]
    return [round(min(max(v, 0.03), 110), 4) for v in (main, *more)]


def draw_bleeds(head: Head, half: Triple, seed: int, case: int) -> list[Bleed]:
    """The bleeds of a case, within the field of view of half sizes `half` (x, y, z) in mm."""
    volumes = draw_volumes(seed, case)
    return [
        _draw(np.random.default_rng([seed, case, 3, k]), head, half, v * 1000) for k, v in enumerate(volumes)
    ]


def _draw(rng: np.random.Generator, head: Head, half: Triple, volume: float) -> Bleed:
    radius = round((volume * 0.75 / math.pi) ** (1 / 3), 4)
    bleed = Bleed(
        center=_draw_center(rng, head, half, radius),
        radius=radius,
        turn=rotation(*(uniform(rng, -math.pi, math.pi) for _ in range(3))),
        stretch=(uniform(rng, 0.7, 1.4), uniform(rng, 0.7, 1.4), uniform(rng, 0.7, 1.4)),
        rough=Smooth(rng, round(max(radius * 0.5, 2.0), 4)),
        hu=uniform(rng, 60, 78),
        blur=uniform(rng, 3, 7) if rng.random() < 0.3 else 0.8,
        edema=uniform(rng, 1.5, 3 + 0.35 * radius) if rng.random() < 0.6 else 0.0,
        breach=0.8 * radius if rng.random() < 0.35 else 0.0,
    )
    return replace(bleed, level=_level(bleed, head, volume))


def _level(bleed: Bleed, head: Head, volume: float) -> float:
    """The level set that holds the drawn volume, counted on a small grid around the center."""
    n, reach = 25, bleed.reach
    steps = ((np.arange(n) / (n - 1) * 2 - 1) * reach).astype(np.float32)
    x, y, z = (steps + np.float32(c) for c in bleed.center)
    values = []
    for height in z:
        plane = head.plane(float(height), y, x, pixel=2 * reach / (n - 1))
        values.append(bleed.shape(head, plane)[plane.d < -2.5])
    inside = np.sort(np.concatenate(values))
    count = int(volume / (2 * reach / (n - 1)) ** 3)
    return float(inside[min(count, inside.size - 1)])


def _draw_center(rng: np.random.Generator, head: Head, half: Triple, radius: float) -> Triple:
    """A place deep enough in the brain and within the field of view."""
    for _ in range(100):
        _, place, spread = _REGIONS[rng.choice(len(_REGIONS), p=[share for share, _, _ in _REGIONS])]
        x, y, z = (float(v) for v in rng.normal(place, spread))
        center = head.scanner((x if rng.random() < 0.5 else -x, y, z))
        if all(abs(c) < 0.9 * h for c, h in zip(center, half, strict=True)):
            at = head.frame(*(np.array([c], np.float32) for c in center[::-1]))
            if head.cranium(at)[0] < -max(6, 0.6 * radius):
                a, b, c = (round(v, 4) for v in center)
                return a, b, c
    return 0.0, 0.0, 0.0  # a field of view that sees none of these places: its middle is brain
