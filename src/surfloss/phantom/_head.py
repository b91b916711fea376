"""The head without its bleeds: pose, skull, face, and a brain with folds, nuclei, ventricles and cisterns.

Head coordinates are (x, y, z) in mm: x to the patient's left, y to the back, z upwards; the origin lies in
the third ventricle. The two sides are one drawing of |x|, made unequal by noise.
"""

import math

import numpy as np

from surfloss.phantom._field import (
    Array,
    Point,
    Smooth,
    Triple,
    capsule,
    cover,
    ellipsoid,
    paint,
    rotation,
    uniform,
    union,
)

AIR, FAT, SKIN, MUSCLE = -1000.0, -85.0, 30.0, 55.0
CSF, WHITE, GREY, STEM, FALX = 7.0, 27.0, 37.0, 31.0, 50.0
TABLE, DIPLOE = 1350.0, 650.0


class Head:
    """The anatomy of one case, drawn from `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        tilt = [math.radians(float(v)) for v in np.clip(rng.normal(0, (5, 3, 4)), -12, 12)]
        self.rotation = rotation(*tilt)
        self.shift = uniform(rng, -5, 5), uniform(rng, -4, 6), uniform(rng, -6, 1)
        self.scale = uniform(rng, 0.95, 1.05), uniform(rng, 0.94, 1.04), uniform(rng, 0.97, 1.04)
        self.noise_hu = uniform(rng, 4, 6)
        self.atrophy = round(float(rng.beta(1.5, 1.8)), 6)
        self.calcified = rng.random(3) < (0.6, 0.6, 0.3)  # choroid plexus, pineal gland, falx
        self.broad = Smooth(rng, 32)
        self.mottle = Smooth(rng, 3)
        self.folds = Smooth(rng, 6.5)
        self.texture = Smooth(rng, 5)
        self.bend = Smooth(rng, 12), Smooth(rng, 12)

    def frame(self, z: Array, y: Array, x: Array) -> Point:
        """Head coordinates (x, y, z) of scanner coordinates that broadcast together."""
        q = (x - self.shift[0], y - self.shift[1], z - self.shift[2])
        first, second, third = (
            (r[0] * q[0] + r[1] * q[1] + r[2] * q[2]) / s
            for r, s in zip(self.rotation, self.scale, strict=True)
        )
        return first, second, third

    def scanner(self, p: Triple) -> Triple:
        """Scanner coordinates (x, y, z) of a point in head coordinates."""
        u, v, w = (a * s for a, s in zip(p, self.scale, strict=True))
        r = self.rotation
        x, y, z = (r[0][k] * u + r[1][k] * v + r[2][k] * w + self.shift[k] for k in range(3))
        return x, y, z

    def cranium(self, p: Point) -> Array:
        """Distance to the inner table of the skull: vault, middle and posterior fossa, foramen magnum."""
        x, y, z = p
        egg = x / (1 + 0.0009 * y)  # wider at the back
        vault = ellipsoid((egg, y, np.maximum(z - 8, 0)), (0, 0, 0), (67, 84, 61))
        side = np.abs(x)
        roofs = ellipsoid((side, y, z), (32, -64, -52), (27, 38, 36))  # of the orbits
        vault = np.maximum(vault, np.maximum(-(z + 30), -roofs))
        middle = ellipsoid((side, y, z), (34, -10, -22), (27, 36, 23))
        back = ellipsoid((side, y, z), (14, 46, -34), (42, 36, 32))
        canal = capsule(p, (0, 22, -20), (0, 36, -140), 15)
        return union(vault, middle, back, canal, seam=9)

    def ventricles(self, p: Point) -> Array:
        """Distance to the lateral, third and fourth ventricles; atrophy widens them."""
        side = (np.abs(p[0]), p[1], p[2])
        wide = 0.7 + 0.8 * self.atrophy
        lateral = union(
            capsule(side, (14, -35, 6), (7, -12, 17), 4.2 * wide),
            capsule(side, (7.5, -12, 17), (15, 24, 19), 4.6 * wide),
            capsule(side, (15, 24, 19), (25, 36, 5), 5.5 * wide),
            capsule(side, (25, 36, 5), (23, 54, 2), 3 * wide),
            capsule(side, (25, 36, 5), (32, 2, -19), 2 * wide),
            seam=3,
        )
        lateral = np.maximum(lateral, -ellipsoid(side, (15, -17, 8), (6.5, 12, 9)))  # the caudate's head
        third = ellipsoid(p, (0, 4, 0), (2.2 * wide, 13, 9))
        fourth = ellipsoid(p, (0, 37, -36), (6.5 * wide, 4.5, 9))
        return np.minimum(np.minimum(lateral, third), fourth)

    def outside(self, p: Point, d: Array, z: float, y: Array, x: Array, edge: float) -> Array:
        """HU of air, scalp, face and skull, with the inside of the cranium filled with bone.

        Args:
            p: head coordinates of the plane; d: its `cranium`; z, y, x: the same plane for the scanner.
            edge: width of tissue borders in mm.
        """
        broad, mottle = self.broad.plane(z, y, x), self.mottle.plane(z, y, x)
        side = (np.abs(p[0]), p[1], p[2])
        base = np.clip((-6 - p[2]) / 12, 0, 1)  # below the vault
        front = np.clip((12 - p[1]) / 24, 0, 1)
        thick = np.maximum(6.3 + 1.1 * broad + base * (2.5 - 7.3 * front), 1.5)
        neck = ellipsoid(p, (0, 26, -120), (60, 62, 95))
        face = ellipsoid(p, (0, -34, -64), (61, 62, 74))
        skin = union(d - thick - 5.5 - 0.8 * broad, face, neck, seam=14)
        skin = np.maximum(skin, d - 62)
        hu = np.full(d.shape, np.float32(AIR))
        paint(hu, SKIN, cover(skin, edge))
        paint(hu, FAT, cover(skin + 1.8, edge))
        paint(hu, MUSCLE + 5 * mottle, cover(skin + 4.3 + 1.5 * broad, edge))
        if float(base.max()) > 0:
            self._face(hu, side, mottle, skin, edge)
        depth = np.clip(d / thick, 0, 1)
        marrow = np.clip(4 * depth * (1 - depth) * 1.4 - 0.4, 0, 1)  # between the two tables
        bone = TABLE + (DIPLOE - TABLE + 130 * mottle) * marrow
        paint(hu, bone, cover(d - thick, edge))
        mastoid = ellipsoid(side, (52, 34, -44), (8, 13, 13)) + 2 * mottle
        paint(hu, 200 - 500 * mottle, cover(mastoid, 3) * cover(-d + 2, 2))
        return hu

    def _face(self, hu: Array, side: Point, mottle: Array, skin: Array, edge: float) -> None:
        """Orbits, nasal cavity and sinuses with thin bony walls."""
        orbit = capsule(side, (31, -72, -36), (16, -38, -32), 15)
        air = np.minimum(
            ellipsoid(side, (11, -60, -36), (11, 24, 14)), ellipsoid(side, (0, -26, -40), (13, 12, 9))
        )
        air = np.minimum(air, ellipsoid(side, (29, -58, -66), (15, 18, 16)))
        air = np.minimum(air, ellipsoid(side, (9, -84, -12), (11, 5, 9)))
        nose = ellipsoid(side, (0, -64, -66), (14, 34, 22))
        within = cover(skin + 7, edge)
        ramus = ellipsoid(side, (48, -16, -66), (4, 14, 28))
        jaw = np.abs(ellipsoid(side, (0, -44, -96), (44, 48, 22))) - 5
        wall = np.minimum(np.minimum(np.abs(air), np.abs(orbit)) - 1.2, np.minimum(ramus, jaw))
        zygoma = np.abs(ellipsoid(side, (0, -44, -52), (60, 40, 12))) - 2.5
        wall = np.minimum(wall, zygoma)
        paint(hu, 900 + 150 * mottle, cover(wall, edge) * within)
        paint(hu, FAT, cover(orbit + 1.2, edge))
        septa = cover(np.abs(mottle) - 0.2, 0.2)
        paint(hu, AIR + 700 * septa, cover(np.minimum(air, nose) + 1.2, edge) * within)
        paint(hu, 40 + 10 * mottle, cover(np.abs(side[0] - 6) - 2 + 2 * mottle, edge) * cover(nose + 3, edge))
        globe = ellipsoid(side, (31, -73, -36), (12, 12, 12))
        paint(hu, 45, cover(capsule(side, (29, -62, -36), (17, -34, -32), 2.2), edge) * cover(orbit, edge))
        paint(hu, 45, cover(globe, edge))
        paint(hu, 12, cover(globe + 1.2, edge))
        paint(hu, 85, cover(ellipsoid(side, (31, -82, -36), (4.5, 2, 4.5)), edge))

    def brain(self, p: Point, d: Array, z: float, y: Array, x: Array, edge: float) -> Array:
        """HU of what lies inside the cranium; arguments as in `outside`."""
        folds, texture = self.folds.plane(z, y, x), self.texture.plane(z, y, x)
        x_mid = p[0] + 0.8 * self.bend[0].plane(z, y, x)
        p = (p[0] + 2.0 * self.bend[0].plane(z, y, x), p[1] + 2.8 * self.bend[1].plane(z, y, x), p[2])
        side = (np.abs(p[0]), p[1], p[2])
        sulcus, cleft = 0.35 + 0.9 * self.atrophy, 0.8 + 1.2 * self.atrophy
        cerebellum = ellipsoid(side, (13, 47, -36), (44, 37, 29))
        below = cover(cerebellum, edge)

        # Depth below the cerebrum's surface: along the skull, midline, folds, Sylvian fissure and tentorium.
        core = ellipsoid(side, (0, 4, 2), (44, 52, 36))
        callosum = ellipsoid(p, (0, 0, 2), (40, 47, 27))
        midline = np.abs(x_mid) + np.maximum(-callosum, 0)
        depth = np.minimum(-d, midline)
        fold = np.abs(folds) * 4.6 + np.maximum(depth - 16, 0) + np.maximum(-core, 0)
        fold -= sulcus * (1 + 0.8 * np.clip(1 - depth / 9, 0, 1))
        midline -= cleft * 0.7
        bow = (side[0] + 0.012 * (side[1] + 2) ** 2, side[1], side[2])
        slant = (side[0], side[1] - 0.25 * (side[0] - 45), side[2])
        sylvian = union(
            ellipsoid(bow, (40.5, -2, 3), (1.5 * cleft, 20, 15)),
            ellipsoid(slant, (51, -18, -4), (15, 1.3 * cleft, 13)),
            ellipsoid(slant, (52, 11, 11), (13, 0.9 * cleft, 10)),
            seam=3,
        )
        surface = np.minimum(np.minimum(-d - cleft, fold), np.minimum(midline, sylvian))
        surface = np.minimum(surface, np.abs(cerebellum) - 0.9)

        grey = cover(surface - 3.4 - 0.5 * texture, 1.8 + edge * 0.5)
        for center, radii in (
            ((14, -17, 9), (5, 10, 8)),
            ((25, 0, 3), (6.5, 15, 9)),
            ((10, 14, 6), (8.5, 13, 9)),
        ):
            grey = np.maximum(grey, 0.9 * cover(ellipsoid(side, center, radii), 2))
        hu: Array = WHITE + (GREY - WHITE) * grey + 0.8 * texture
        folia = 33 + 3 * texture * cover(-np.abs(cerebellum + 6) + 5, 4)
        paint(hu, folia, below)
        stem = union(
            ellipsoid(p, (0, 15, -14), (16, 13, 13)),
            ellipsoid(p, (0, 18, -32), (15, 13, 15)),
            capsule(p, (0, 22, -40), (0, 36, -140), 8),
            seam=6,
        )
        around = np.maximum(stem - 3.0, -stem)
        paint(hu, CSF + 3, cover(around, edge) * cover(side[1] - 24, 6))
        paint(hu, STEM, cover(stem, edge))
        outer = np.where(cerebellum < 0, np.minimum(surface, -d - 1.2), surface)
        paint(hu, CSF, cover(np.maximum(outer, -stem), edge))
        paint(hu, CSF, cover(self._cisterns(side), edge))
        paint(hu, CSF, cover(self.ventricles(p), edge))
        self._membranes(hu, side, x_mid, callosum, cerebellum, edge)
        shade = np.clip((d + 11) / 11, 0, 1)
        bar = np.clip(1 - np.abs(p[2] + 36) / 14, 0, 1) * np.clip(1 - np.abs(p[1] - 16) / 18, 0, 1)
        hu += 6 * shade * shade - 8 * bar
        return hu

    def _cisterns(self, side: Point) -> Array:
        cistern = ellipsoid(side, (0, -8, -19), (11, 9, 6))
        cistern = np.minimum(cistern, capsule(side, (0, -10, -19), (26, -16, -17), 1.8))
        cistern = np.minimum(cistern, ellipsoid(side, (0, 32, -6), (9, 3.5, 6)))
        cistern = np.minimum(cistern, capsule(side, (8, 31, -8), (19, 18, -14), 1.5))
        return np.minimum(cistern, ellipsoid(side, (0, 62, -62), (9, 9, 8)))

    def _membranes(
        self, hu: Array, side: Point, x_mid: Array, callosum: Array, cerebellum: Array, edge: float
    ) -> None:
        """Falx, tentorium and sagittal sinus, and calcifications."""
        above = cover(-side[2] + 2 - 0.1 * side[1], 4)
        paint(hu, FALX, cover(np.abs(x_mid) - 0.7, edge) * cover(4 - callosum, 4) * above)
        tent = np.maximum(np.abs(cerebellum) - 0.6, -side[2] - 30)
        paint(hu, FALX, cover(tent, edge) * 0.8)
        choroid, pineal, falx = self.calcified
        if choroid:
            paint(hu, 130, cover(ellipsoid(side, (23, 34, 8), (2, 3.5, 3)), edge) * 0.8)
        if pineal:
            paint(hu, 150, cover(ellipsoid(side, (0, 29, 3), (2, 2.5, 2.5)), edge) * 0.8)
        if falx:
            paint(hu, 300, cover(ellipsoid(side, (0, -52, 34), (1.2, 6, 6)), edge) * 0.7)
