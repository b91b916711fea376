"""A synthetic head CT with intracerebral hemorrhage, in the layout of the INSTANCE2022 challenge.

The head is drawn in mm from signed distances (negative inside), slice by slice, so any size and spacing shows
the same head; several sub-slices are averaged within a slice, which gives the partial volume of thick slices.

The same bytes come out on every machine: per-voxel work uses only what IEEE 754 fixes (+, -, *, /, sqrt,
comparisons), in a fixed order, and the few scalars that pass through sin, cos or exp are rounded.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from surfloss._check import fail

Array: TypeAlias = NDArray[np.float32]
Point: TypeAlias = tuple[Array, Array, Array]
Spacing: TypeAlias = tuple[float, float, float]

VERSION = 1
"""Goes up whenever the arrays of a seed change, so that a resumed dataset never mixes two generators."""

HEAD_MM = (150.0, 215.0)
"""Field of view along z and in the plane that the default spacing spreads over the slices and pixels."""

_MIN_SIZE = (4, 16, 16)


@dataclass(frozen=True)
class Phantom:
    """One case. `image`: int16 HU, `label`: uint8 0/1, both (z, y, x); `spacing`: mm along z, y, x.

    z runs from the base of the skull upwards, y from front to back, x from the patient's right to left.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing: Spacing


def make_case(
    size: Sequence[int], *, spacing: Sequence[float] | None = None, seed: int = 0, case: int = 1
) -> Phantom:
    """Draw one head CT with one to five bleeds.

    Args:
        size: slices, rows and columns (z, y, x), at least (4, 16, 16).
        spacing: mm along z, y, x; None spreads a head's field of view over the size (`default_spacing`).
        seed: of the dataset.
        case: number within the dataset, from 1. The case does not depend on how many others there are.

    Returns:
        A `Phantom`. Its label is 1 where bleed fills at least half of a voxel and holds at least one voxel.

    Raises:
        ValueError: on a size, spacing, seed or case that makes no volume.
    """
    size, mm = _check_grid(size, spacing)
    _check_number("seed", seed, 0)
    _check_number("case", case, 1)
    grid = _Grid(size, mm)
    head = _Head(np.random.default_rng([seed, case, 0]))
    bleeds = _draw_bleeds(head, grid, seed, case)
    hu, fraction = _render(head, bleeds, grid)
    hu += _noise(np.random.default_rng([seed, case, 1]), head, grid)
    label = fraction >= 0.5
    if not label.any():  # voxels so thick that they dilute every bleed: the fullest one stands for it
        label.flat[int(fraction.argmax())] = True
    image = np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)
    return Phantom(image, label.astype(np.uint8), mm)


def default_spacing(size: Sequence[int]) -> Spacing:
    """The spacing in mm that spreads 150 mm over the slices and 215 mm over the shorter side of the plane.

    Both are a head's: (30, 512, 512) gives the challenge's (5, 0.42, 0.42). Pixels are square.
    """
    z, y, x = size
    pixel = HEAD_MM[1] / min(y, x)
    return HEAD_MM[0] / z, pixel, pixel


def _check_number(argument: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        fail(argument, repr(value), f"a whole number of at least {least}")


def _check_grid(size: Sequence[int], spacing: Sequence[float] | None) -> tuple[tuple[int, int, int], Spacing]:
    wanted = "three whole numbers z,y,x, at least {},{},{}".format(*_MIN_SIZE)
    axes = tuple(size)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in axes)
    if len(axes) != 3 or not whole or any(n < least for n, least in zip(axes, _MIN_SIZE, strict=False)):
        fail("size", ",".join(map(str, axes)), wanted)
    mm = tuple(float(v) for v in (default_spacing(axes) if spacing is None else spacing))
    if len(mm) != 3 or not all(math.isfinite(v) and v > 0 for v in mm):
        fail("spacing", ",".join(map(str, mm)), "three positive finite numbers z,y,x in mm")
    return (int(axes[0]), int(axes[1]), int(axes[2])), (mm[0], mm[1], mm[2])


@dataclass(frozen=True)
class _Grid:
    """The scanner's grid: voxel centers in mm, with the middle of the volume at the origin."""

    size: tuple[int, int, int]
    spacing: Spacing

    def axis(self, k: int) -> Array:
        n = self.size[k]
        return ((np.arange(n) - (n - 1) / 2) * self.spacing[k]).astype(np.float32)

    def half(self) -> Spacing:
        z, y, x = (n * mm / 2 for n, mm in zip(self.size, self.spacing, strict=True))
        return z, y, x

    def sub_slices(self) -> Array:
        """Offsets in mm of the sub-slices that a slice is averaged from."""
        n = math.ceil(self.spacing[0] / 3.2)
        return (((np.arange(n) + 0.5) / n - 0.5) * self.spacing[0]).astype(np.float32)


class _Smooth:
    """Smooth random field of unit SD: a periodic lattice of uniform numbers under cubic B-splines."""

    N = 32

    def __init__(self, rng: np.random.Generator, step_mm: float) -> None:
        self.step = step_mm
        # 0.479 is the RMS of a cubic B-spline's weights, averaged over positions; one factor an axis.
        unit = math.sqrt(12) / 0.479**1.5
        self.lattice = (rng.random((self.N,) * 3, dtype=np.float32) - np.float32(0.5)) * np.float32(unit)

    def _taps(self, mm: Array) -> list[tuple[NDArray[np.intp], Array]]:
        t = mm / np.float32(self.step)
        base = np.floor(t)
        f = t - base
        g = 1 - f
        weights = (
            g * g * g / 6,
            (4 - 6 * f * f + 3 * f * f * f) / 6,
            (4 - 6 * g * g + 3 * g * g * g) / 6,
            f * f * f / 6,
        )
        first = base.astype(np.intp)
        return [((first + k - 1) % self.N, w) for k, w in enumerate(weights)]

    def plane(self, z: float, y: Array, x: Array) -> Array:
        """Values on the plane at z with rows y and columns x (mm): (len(y), len(x))."""
        layer = _weigh(self.lattice, self._taps(np.float32([z])), 0)[0]
        return _weigh(_weigh(layer, self._taps(x), 1), self._taps(y), 0)


def _weigh(values: Array, taps: list[tuple[NDArray[np.intp], Array]], axis: int) -> Array:
    shape = [1] * values.ndim
    shape[axis] = -1
    total = values.take(taps[0][0], axis) * taps[0][1].reshape(shape)
    for index, weight in taps[1:]:
        total += values.take(index, axis) * weight.reshape(shape)
    return total


def _ellipsoid(p: Point, center: Sequence[float], radii: Sequence[float]) -> Array:
    u, v, w = ((a - c) / r for a, c, r in zip(p, center, radii, strict=True))
    k = np.sqrt(u * u + v * v + w * w)
    u, v, w = u / radii[0], v / radii[1], w / radii[2]
    return k * (k - 1) / (np.sqrt(u * u + v * v + w * w) + np.float32(1e-6))


def _capsule(p: Point, a: Sequence[float], b: Sequence[float], radius: float) -> Array:
    u, v, w = (q - c for q, c in zip(p, a, strict=True))
    i, j, k = (e - c for c, e in zip(a, b, strict=True))
    h = np.clip((u * i + v * j + w * k) / (i * i + j * j + k * k), 0, 1)
    u, v, w = u - h * i, v - h * j, w - h * k
    return np.sqrt(u * u + v * v + w * w) - radius


def _join(a: Array, b: Array, round_mm: float) -> Array:
    """Union of two shapes whose seam is rounded."""
    h = np.maximum(round_mm - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h / (4 * round_mm)


def _inside(distance: Array, edge_mm: float) -> Array:
    """1 inside, 0 outside, linear over an edge of that width."""
    return np.clip(0.5 - distance / edge_mm, 0, 1)


def _paint(hu: Array, value: float | Array, cover: Array) -> None:
    hu += (value - hu) * cover


class _Head:
    """The anatomy of one case in head coordinates: x to the left, y to the back, z upwards, mm."""

    def __init__(self, rng: np.random.Generator) -> None:
        yaw, roll, pitch = (math.radians(v) for v in np.clip(rng.normal(0, (5, 3, 4)), -12, 12))
        self.rotation = _rotation(yaw, roll, pitch)
        self.shift = [float(v) for v in rng.uniform((-5, -5, -6), (5, 5, 2))]
        self.scale = [float(v) for v in rng.uniform((0.95, 0.94, 0.97), (1.04, 1.04, 1.04))]
        self.noise_hu = float(rng.uniform(4, 6))
        self.atrophy = float(rng.uniform(0, 1))
        self.skull = _Smooth(rng, 30)
        self.diploe = _Smooth(rng, 4)
        self.folds = _Smooth(rng, 10)
        self.texture = _Smooth(rng, 6)

    def frame(self, z: Array, y: Array, x: Array) -> Point:
        """Head coordinates (x, y, z) of scanner coordinates that broadcast together."""
        q = (x - self.shift[0], y - self.shift[1], z - self.shift[2])
        r, s = self.rotation, self.scale
        first, second, third = ((r[k][0] * q[0] + r[k][1] * q[1] + r[k][2] * q[2]) / s[k] for k in range(3))
        return first, second, third

    def cranium(self, p: Point) -> Array:
        """Signed distance to the inner table of the skull."""
        x, y, z = p
        wide = x / (1 + y * np.float32(0.0007))
        dome = _ellipsoid((wide, y, np.maximum(z, 0)), (0, 0, 0), (67, 84, 68))
        floor = -(z + 26 + 0.1 * y)
        dome = np.maximum(dome, floor)
        side = np.abs(x)
        middle = _ellipsoid((side, y, z), (36, -8, -24), (27, 36, 24))
        fossa = _ellipsoid((side, y, z), (16, 44, -38), (40, 36, 30))
        stem = _capsule(p, (0, 20, -20), (0, 34, -120), 16)
        return _join(_join(_join(dome, middle, 6), fossa, 6), stem, 8)


def _rotation(yaw: float, roll: float, pitch: float) -> list[list[float]]:
    """Rotation about z, then y, then x; rounded, since sin and cos may differ in the last bit by machine."""
    cz, sz, cy, sy, cx, sx = (f(a) for a in (yaw, roll, pitch) for f in (math.cos, math.sin))
    rows = [
        [cy * cz, cz * sx * sy - cx * sz, cx * cz * sy + sx * sz],
        [cy * sz, cx * cz + sx * sy * sz, cx * sy * sz - cz * sx],
        [-sy, cy * sx, cx * cy],
    ]
    return [[round(v, 6) for v in row] for row in rows]


@dataclass(frozen=True)
class _Bleed:
    center: tuple[float, float, float]
    radius: float
    volume_mm3: float
    rotation: list[list[float]]
    stretch: tuple[float, float, float]
    rough: _Smooth
    hu: float
    blur_mm: float
    edema_mm: float
    level: float = 0.0


def _draw_volumes_ml(seed: int, case: int) -> list[float]:
    """Log-normal volumes of a case: the main bleed (median 12 ml), and zero to four more (median 1 ml).

    The main bleeds' quantiles follow a golden-ratio sequence over the cases, so a handful of cases already
    covers small and large ones.
    """
    start = float(np.random.default_rng([seed]).random())
    rng = np.random.default_rng([seed, case, 2])
    quantile = (start + case * (math.sqrt(5) - 1) / 2) % 1
    main = 12 * math.exp(1.25 * NormalDist().inv_cdf(min(max(quantile, 0.01), 0.99)))
    others = min(int(rng.geometric(0.5)) - 1, 4)
    more = [min(math.exp(1.3 * float(rng.standard_normal())), main) for _ in range(others)]
    return [round(min(max(v, 0.05), 120), 4) for v in (main, *more)]


def _draw_bleeds(head: _Head, grid: _Grid, seed: int, case: int) -> list[_Bleed]:
    bleeds = []
    for k, volume in enumerate(_draw_volumes_ml(seed, case)):
        bleeds.append(_draw_bleed(np.random.default_rng([seed, case, 3, k]), head, grid, volume * 1000))
    return bleeds


def _draw_bleed(rng: np.random.Generator, head: _Head, grid: _Grid, volume_mm3: float) -> _Bleed:
    radius = round((volume_mm3 * 0.75 / math.pi) ** (1 / 3), 4)
    turn = [float(v) for v in rng.uniform(-math.pi, math.pi, 3)]
    stretch = [float(v) for v in rng.uniform(0.75, 1.35, 3)]
    rough = _Smooth(rng, round(max(radius * 0.7, 2.0), 4))
    hu = float(rng.uniform(57, 76))
    blur = float(rng.uniform(3, 7)) if rng.random() < 0.3 else 1.0
    edema = float(rng.uniform(2, 4 + 0.4 * radius)) if rng.random() < 0.6 else 0.0
    center = _draw_center(rng, head, grid, radius)
    bleed = _Bleed(
        center,
        radius,
        volume_mm3,
        _rotation(*turn),
        (stretch[0], stretch[1], stretch[2]),
        rough,
        hu,
        blur,
        edema,
    )
    # The level set that holds the drawn volume, counted on a small grid around the center.
    reach, n = 2.2 * radius + 3, 25
    steps = (np.arange(n, dtype=np.float32) / (n - 1) * 2 - 1) * np.float32(reach)
    x, y, z = (steps + np.float32(c) for c in center)
    p = head.frame(z[:, None, None], y[:, None], x)
    shape = np.stack([_bleed_shape(bleed, head, float(v), y, x) for v in z])
    values = np.sort(shape[head.cranium(p) < -2], axis=None)
    voxel = (2 * reach / (n - 1)) ** 3
    count = min(int(volume_mm3 / voxel), values.size - 1)
    return _Bleed(**{**bleed.__dict__, "level": float(values[max(count, 0)])})


def _draw_center(
    rng: np.random.Generator, head: _Head, grid: _Grid, radius: float
) -> tuple[float, float, float]:
    """A place (x, y, z in scanner mm) in the brain and within the field of view."""
    half = grid.half()
    for _ in range(60):
        u = rng.random()
        side = 1 if rng.random() < 0.5 else -1
        if u < 0.45:  # basal ganglia
            place = rng.normal((26, 0, 6), (4, 8, 6))
        elif u < 0.6:  # thalamus
            place = rng.normal((12, 14, 6), 3)
        elif u < 0.9:  # lobar
            place = rng.uniform((22, -55, 0), (48, 60, 45))
        else:  # cerebellum
            place = rng.normal((22, 48, -38), 6)
        x, y, z = side * float(place[0]), float(place[1]), float(place[2])
        # Head to scanner coordinates: the rotation's inverse is its transpose.
        q = [a * s for a, s in zip((x, y, z), head.scale, strict=True)]
        r = head.rotation
        c = [round(r[0][k] * q[0] + r[1][k] * q[1] + r[2][k] * q[2] + head.shift[k], 4) for k in range(3)]
        if any(abs(v) > h * 0.9 for v, h in zip(c, half[::-1], strict=True)):
            continue
        at = head.frame(*(np.float32([v]) for v in c[::-1]))
        if head.cranium(at)[0] < -max(5, 0.6 * radius):
            return c[0], c[1], c[2]
    return 0.0, 0.0, 0.0


def _bleed_shape(bleed: _Bleed, head: _Head, z: float, y: Array, x: Array) -> Array:
    """Roughened ellipsoid on a plane of the scanner: in mm, growing outwards, about 0 at the drawn radius."""
    u, v, w = x - bleed.center[0], (y - bleed.center[1])[:, None], z - bleed.center[2]
    r, s = bleed.rotation, bleed.stretch
    a, b, c = ((r[k][0] * u + r[k][1] * v + r[k][2] * w) / s[k] for k in range(3))
    return np.sqrt(a * a + b * b + c * c) - bleed.radius + 0.22 * bleed.radius * bleed.rough.plane(z, y, x)


def _render(head: _Head, bleeds: list[_Bleed], grid: _Grid) -> tuple[Array, Array]:
    hu = np.empty(grid.size, np.float32)
    fraction = np.empty(grid.size, np.float32)
    y, x = grid.axis(1), grid.axis(2)
    offsets = grid.sub_slices()
    for k, center in enumerate(grid.axis(0)):
        drawn = [_draw_slice(head, bleeds, float(center + dz), y, x, grid.spacing[2]) for dz in offsets]
        hu[k] = sum(d[0] for d in drawn) / len(drawn)
        fraction[k] = sum(d[1] for d in drawn) / len(drawn)
    return hu, fraction


def _draw_slice(
    head: _Head, bleeds: list[_Bleed], z: float, y: Array, x: Array, pixel: float
) -> tuple[Array, Array]:
    edge = max(pixel, 0.8)
    p = head.frame(np.float32([z])[:, None], y[:, None], x)
    d = head.cranium(p)
    thick = 6.5 + 1.2 * head.skull.plane(z, y, x)
    outer = d - thick - 5
    hu = np.full(d.shape, np.float32(-1000))
    _paint(hu, 35, _inside(outer, edge))
    _paint(hu, 1200, _inside(d - thick, edge))
    _paint(hu, 8, _inside(d, edge))
    n = head.folds.plane(z, y, x)
    pial = np.minimum(-d - 1.5, np.abs(n) * 7 + np.maximum(-d - 15, 0) - 0.8)
    _paint(hu, 37, _inside(-pial, edge))
    _paint(hu, 28, _inside(3.5 - pial, 1.5))
    side = np.abs(p[0])
    vent = _capsule((side, p[1], p[2]), (9, -26, 12), (16, 24, 20), 5)
    _paint(hu, 6, _inside(vent, edge))
    fraction = np.zeros_like(hu)
    for bleed in bleeds:
        b = np.maximum(_bleed_shape(bleed, head, z, y, x) - bleed.level, d + 2)
        if bleed.edema_mm:
            _paint(hu, 20, _inside(b - bleed.edema_mm, 4) * _inside(d + 3, 2) * 0.8)
        _paint(hu, bleed.hu, _inside(b, max(pixel, bleed.blur_mm)))
        fraction = np.maximum(fraction, _inside(b, pixel))
    return hu, fraction


def _noise(rng: np.random.Generator, head: _Head, grid: _Grid) -> Array:
    """Noise with a scanner's blur, about `head.noise_hu` SD at 5 mm slices."""
    z, y, x = grid.size
    sd = head.noise_hu * min(max(math.sqrt(5 / grid.spacing[0]), 0.6), 1.6)
    out = np.empty(grid.size, np.float32)
    for k in range(z):
        u = rng.random((y + 4, x + 4), dtype=np.float32) - np.float32(0.5)
        u = u[2:-2] + (u[1:-3] + u[3:-1]) * np.float32(0.75) + (u[:-4] + u[4:]) * np.float32(0.25)
        u = (
            u[:, 2:-2]
            + (u[:, 1:-3] + u[:, 3:-1]) * np.float32(0.75)
            + (u[:, :-4] + u[:, 4:]) * np.float32(0.25)
        )
        out[k] = u * np.float32(sd * math.sqrt(12) / (1 + 2 * 0.75**2 + 2 * 0.25**2))
    return out


def write_dataset(
    out: str | os.PathLike[str],
    cases: int,
    size: Sequence[int],
    seed: int = 0,
    *,
    spacing: Sequence[float] | None = None,
    on_case: Callable[[str], object] | None = None,
) -> list[str]:
    """Write cases as `out/data/001.nii.gz` and `out/label/001.nii.gz`, `002`, and so on.

    The images are int16 HU, the labels uint8 0/1, with spacing and units in the header and the axes of a CT
    (first to the patient's left, second to the back, third upwards). Files appear whole or not at all, and
    cases that are already there are kept, so a stopped run goes on where it was.

    Args:
        out: a new or empty folder, or one in which the same dataset was begun. `phantom.json` in it holds the
            size, spacing and seed.
        cases: how many.
        size: slices, rows and columns (z, y, x) of every case.
        seed: of the dataset; a case depends on the seed and its own number alone.
        spacing: mm along z, y, x; None as in `make_case`.
        on_case: called with a case's name once its files are there.

    Returns:
        The cases' names, in order.

    Raises:
        ValueError: on an argument that makes no dataset, or a folder that holds something else.
    """
    size, mm = _check_grid(size, spacing)
    _check_number("cases", cases, 1)
    _check_number("seed", seed, 0)
    folder = Path(out)
    recipe = {"generator": VERSION, "seed": int(seed), "size": list(size), "spacing": list(mm)}
    _begin(folder, recipe)
    names = [f"{k:03d}" for k in range(1, cases + 1)]
    for k, name in enumerate(names, start=1):
        image, label = (folder / part / f"{name}.nii.gz" for part in ("data", "label"))
        if not (image.exists() and label.exists()):
            phantom = make_case(size, spacing=mm, seed=seed, case=k)
            _write(image, phantom.image, mm)
            _write(label, phantom.label, mm)
        if on_case is not None:
            on_case(name)
    return names


def _begin(folder: Path, recipe: dict[str, Any]) -> None:
    note = folder / "phantom.json"
    if folder.exists() and not folder.is_dir():
        fail("out", f"the file {folder}", "a folder")
    if note.exists():
        found = json.loads(note.read_text())
        if found != recipe:
            fail("out", f"{folder} with another dataset {found}", f"a new folder, or one with {recipe}")
    elif folder.exists() and any(folder.iterdir()):
        fail(
            "out",
            f"{folder} with other files in it",
            "a new or empty folder, or a phantom dataset to go on with",
        )
    for part in ("data", "label"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _replace(note, json.dumps(recipe, indent=2).encode())


def _write(path: Path, volume: NDArray[Any], spacing: Spacing) -> None:
    import gzip

    import nibabel as nib

    z, y, x = spacing
    # A CT's rows and columns run to the patient's left and back, NIfTI's axes to the right and front.
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = [(n - 1) / 2 * mm for n, mm in zip(volume.shape[::-1], (x, y, -z), strict=True)]
    image = nib.Nifti1Image(volume.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    _replace(path, gzip.compress(image.to_bytes(), 1, mtime=0))


def _replace(path: Path, content: bytes) -> None:
    """Write beside the dataset's folders and move into place, so that no half file is ever found."""
    part = path.parent / f".{path.name}.part"
    part.write_bytes(content)
    os.replace(part, path)
