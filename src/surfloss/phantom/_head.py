"""The head without its bleeds: pose, skull, face, and a brain with folds, nuclei, ventricles and cisterns.

Head coordinates are (x, y, z) in mm: x to the patient's left, y to the back, z upwards; the origin lies in
the third ventricle. The two sides are one drawing of |x|, made unequal by noise.
"""

import math

import numpy as np

from surfloss.phantom._field import (
    Array,
    Plane,
    Point,
    Smooth,
    Triple,
    capsule,
    cover,
    ellipsoid,
    nearest,
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
        rows = zip(self.rotation, self.scale, strict=True)
        u, v, w = ((r[0] * q[0] + r[1] * q[1] + r[2] * q[2]) / s for r, s in rows)
        return u, v, w

    def plane(self, z: float, y: Array, x: Array, pixel: float) -> Plane:
        """The plane at height z with rows y and columns x, in scanner coordinates."""
        p = self.frame(np.array([[z]], np.float32), y[:, None], x)
        return Plane(z, y, x, p, self.cranium(p), pixel)

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
        return nearest(lateral, third, fourth)

    def outside(self, plane: Plane) -> Array:
        """HU of air, scalp, face and skull, with the inside of the cranium filled with bone."""
        p, d, edge = plane.p, plane.d, plane.edge
        broad, mottle = plane.of(self.broad), plane.of(self.mottle)
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
        air = nearest(
            ellipsoid(side, (11, -60, -36), (11, 24, 14)),  # ethmoid
            ellipsoid(side, (0, -26, -40), (13, 12, 9)),  # sphenoid
            ellipsoid(side, (29, -58, -66), (15, 18, 16)),  # maxillary
            ellipsoid(side, (9, -84, -12), (11, 5, 9)),  # frontal
        )
        nose = ellipsoid(side, (0, -64, -66), (14, 34, 22))
        within = cover(skin + 7, edge)
        wall = nearest(
            nearest(np.abs(air), np.abs(orbit)) - 1.2,
            ellipsoid(side, (48, -16, -66), (4, 14, 28)),  # ramus of the mandible
            np.abs(ellipsoid(side, (0, -44, -96), (44, 48, 22))) - 5,  # jaws
            np.abs(ellipsoid(side, (0, -44, -52), (60, 40, 12))) - 2.5,  # zygomatic arches
        )
        paint(hu, 900 + 150 * mottle, cover(wall, edge) * within)
        paint(hu, FAT, cover(orbit + 1.2, edge))
        septa = cover(np.abs(mottle) - 0.2, 0.2)
        paint(hu, AIR + 700 * septa, cover(nearest(air, nose) + 1.2, edge) * within)
        paint(hu, 40 + 10 * mottle, cover(np.abs(side[0] - 6) - 2 + 2 * mottle, edge) * cover(nose + 3, edge))
        globe = ellipsoid(side, (31, -73, -36), (12, 12, 12))
        paint(hu, 45, cover(capsule(side, (29, -62, -36), (17, -34, -32), 2.2), edge) * cover(orbit, edge))
        paint(hu, 45, cover(globe, edge))
        paint(hu, 12, cover(globe + 1.2, edge))
        paint(hu, 85, cover(ellipsoid(side, (31, -82, -36), (4.5, 2, 4.5)), edge))

    def brain(self, plane: Plane) -> Array:
        """HU of what lies inside the cranium."""
        d, edge = plane.d, plane.edge
        folds, texture = plane.of(self.folds), plane.of(self.texture)
        bend_x, bend_y = (plane.of(bend) for bend in self.bend)
        x, y, z = plane.p
        x_mid = x + 0.8 * bend_x  # the falx bends less than the brain beside it
        p = (x + 2.0 * bend_x, y + 2.8 * bend_y, z)
        side = (np.abs(p[0]), p[1], p[2])
        callosum = ellipsoid(p, (0, 0, 2), (40, 47, 27))
        cerebellum = ellipsoid(side, (13, 47, -36), (44, 37, 29))
        stem = union(
            ellipsoid(p, (0, 15, -14), (16, 13, 13)),
            ellipsoid(p, (0, 18, -32), (15, 13, 15)),
            capsule(p, (0, 22, -40), (0, 36, -140), 8),
            seam=6,
        )
        depth = self._depth(side, d, folds, np.abs(x_mid) + np.maximum(-callosum, 0), cerebellum)

        nuclei = nearest(
            ellipsoid(side, (14, -17, 9), (5, 10, 8)),  # caudate
            ellipsoid(side, (25, 0, 3), (6.5, 15, 9)),  # lentiform
            ellipsoid(side, (10, 14, 6), (8.5, 13, 9)),  # thalamus
        )
        grey = np.maximum(cover(depth - 3.4 - 0.5 * texture, 1.8 + edge / 2), 0.9 * cover(nuclei, 2))
        hu: Array = WHITE + (GREY - WHITE) * grey + 0.8 * texture
        paint(hu, 33 + 3 * texture * cover(np.abs(cerebellum + 6) - 5, 4), cover(cerebellum, edge))
        paint(hu, CSF + 3, cover(np.maximum(stem - 3, -stem), edge) * cover(p[1] - 24, 6))
        paint(hu, STEM, cover(stem, edge))
        rim = np.where(cerebellum < 0, nearest(depth, -d - 1.2), depth)
        paint(hu, CSF, cover(np.maximum(rim, -stem), edge))
        paint(hu, CSF, cover(nearest(self._cisterns(side), self.ventricles(p)), edge))
        self._membranes(hu, side, x_mid, callosum, cerebellum, edge)

        # Beam hardening: brighter along the skull, darker between the petrous bones.
        shade = np.clip((d + 11) / 11, 0, 1)
        bar = np.clip(1 - np.abs(z + 36) / 14, 0, 1) * np.clip(1 - np.abs(y - 16) / 18, 0, 1)
        hu += 6 * shade * shade - 8 * bar
        return hu

    def _depth(self, side: Point, d: Array, folds: Array, midline: Array, cerebellum: Array) -> Array:
        """Depth below the cerebrum's surface: along the skull, midline, folds, Sylvian fissure, tentorium."""
        sulcus, cleft = 0.35 + 0.9 * self.atrophy, 0.8 + 1.2 * self.atrophy
        outer = np.minimum(-d, midline)
        core = ellipsoid(side, (0, 4, 2), (44, 52, 36))  # no folds in here, nor 16 mm below the surface
        fold = np.abs(folds) * 4.6 + np.maximum(outer - 16, 0) + np.maximum(-core, 0)
        fold -= sulcus * (1 + 0.8 * np.clip(1 - outer / 9, 0, 1))
        bow = (side[0] + 0.012 * (side[1] + 2) ** 2, side[1], side[2])
        slant = (side[0], side[1] - 0.25 * (side[0] - 45), side[2])
        sylvian = union(
            ellipsoid(bow, (40.5, -2, 3), (1.5 * cleft, 20, 15)),
            ellipsoid(slant, (51, -18, -4), (15, 1.3 * cleft, 13)),
            ellipsoid(slant, (52, 11, 11), (13, 0.9 * cleft, 10)),
            seam=3,
        )
        return nearest(-d - cleft, midline - 0.7 * cleft, fold, sylvian, np.abs(cerebellum) - 0.9)

    def _cisterns(self, side: Point) -> Array:
        return nearest(
            ellipsoid(side, (0, -8, -19), (11, 9, 6)),  # suprasellar
            capsule(side, (0, -10, -19), (26, -16, -17), 1.8),
            ellipsoid(side, (0, 32, -6), (9, 3.5, 6)),  # quadrigeminal
            capsule(side, (8, 31, -8), (19, 18, -14), 1.5),  # ambient
            ellipsoid(side, (0, 62, -62), (9, 9, 8)),  # cisterna magna
        )

    def _membranes(
        self, hu: Array, side: Point, x_mid: Array, callosum: Array, cerebellum: Array, edge: float
    ) -> None:
        """Falx, tentorium and calcifications."""
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
