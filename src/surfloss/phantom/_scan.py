"""One scan: arguments, grid, slices, noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from surfloss._check import SpacingLike, fail, is_whole, spacing_of_one, whole
from surfloss.phantom._bleed import Bleed, draw_bleeds
from surfloss.phantom._field import Array, Triple, cover, paint
from surfloss.phantom._head import Head

FIELD_OF_VIEW = (150.0, 215.0)
"""What the default spacing spreads over the slices and over the pixels, in mm."""

_SMALLEST = (4, 16, 16)
_BAND = 2**15  # pixels drawn at once: the many planes of a step stay in the cache


@dataclass(frozen=True)
class Phantom:
    """One case. `image`: int16 HU, `label`: uint8 0/1, both (z, y, x); `spacing`: mm along z, y, x.

    z runs from the base of the skull upwards, y from front to back, x from the patient's right to left.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing: Triple


def make_case(size: Sequence[int], *, spacing: SpacingLike = None, seed: int = 0, case: int = 1) -> Phantom:
    """Draw one head CT with one to five bleeds.

    Args:
        size: slices, rows and columns (z, y, x), at least (4, 16, 16).
        spacing: mm along z, y, x, or one number for all, with the head in the middle of the resulting field
            of view; None spreads a head's field of view over the size (`default_spacing`).
        seed: of the dataset.
        case: number within the dataset, from 1. A case does not depend on how many others there are.

    Returns:
        A `Phantom`. Its label is 1 where bleed fills at least half of a voxel, and never empty.

    Raises:
        ValueError: on a size, spacing, seed or case that makes no volume.
    """
    size, mm = check_grid(size, spacing)
    whole("seed", seed, 0)
    whole("case", case, 1)
    head = Head(np.random.default_rng([seed, case, 0]))
    z, y, x = (((np.arange(n) - (n - 1) / 2) * d).astype(np.float32) for n, d in zip(size, mm, strict=True))
    half_z, half_y, half_x = (n * d / 2 for n, d in zip(size, mm, strict=True))
    bleeds = draw_bleeds(head, (half_x, half_y, half_z), seed, case)
    noise = np.random.default_rng([seed, case, 1])
    image, share = np.empty(size, np.int16), np.empty(size, np.float32)
    band = max(1, _BAND // len(x))
    hu = np.empty(size[1:], np.float32)
    for k, height in enumerate(z):
        for row in range(0, len(y), band):
            rows = slice(row, row + band)
            hu[rows], share[k, rows] = _slice(head, bleeds, float(height), y[rows], x, mm)
        hu += _noise(noise, head, hu, mm[0])
        image[k] = np.rint(np.clip(hu, -1024, 3071))
    label = share >= 0.5
    if not label.any():  # voxels so thick that they dilute every bleed: the fullest one stands for it
        label.flat[int(share.argmax())] = True
    return Phantom(image, label.astype(np.uint8), mm)


def default_spacing(size: Sequence[int]) -> Triple:
    """The spacing in mm that spreads 150 mm over the slices and 215 mm over the plane's shorter side.

    (30, 512, 512) gives the challenge's (5, 0.42, 0.42). Pixels are square.
    """
    z, y, x = size
    pixel = FIELD_OF_VIEW[1] / min(y, x)
    return FIELD_OF_VIEW[0] / z, pixel, pixel


def check_grid(size: Sequence[int], spacing: SpacingLike) -> tuple[tuple[int, int, int], Triple]:
    """The size as three integers and the spacing as three floats, or the default one for None."""
    axes = tuple(size)
    if len(axes) != 3 or not all(is_whole(n) and n >= m for n, m in zip(axes, _SMALLEST, strict=True)):
        least = ",".join(map(str, _SMALLEST))
        fail("size", ",".join(map(str, axes)), f"three whole numbers z,y,x of at least {least}")
    z, y, x = spacing_of_one(default_spacing(axes) if spacing is None else spacing, 3)
    return (int(axes[0]), int(axes[1]), int(axes[2])), (z, y, x)


def _slice(
    head: Head, bleeds: list[Bleed], z: float, y: Array, x: Array, spacing: Triple
) -> tuple[Array, Array]:
    """HU and share of bleed of a slice: the mean of thin ones."""
    n = min(math.ceil(spacing[0] / 2), 3)
    thin = [
        _thin_slice(head, bleeds, z + ((k + 0.5) / n - 0.5) * spacing[0], y, x, min(spacing[1:]))
        for k in range(n)
    ]
    hu, share = (reduce(np.add, parts) / np.float32(n) for parts in zip(*thin, strict=True))
    return hu, share


def _thin_slice(
    head: Head, bleeds: list[Bleed], z: float, y: Array, x: Array, pixel: float
) -> tuple[Array, Array]:
    plane = head.plane(z, y, x, pixel)
    hu = head.outside(plane)
    share = np.zeros_like(hu)
    near = plane.d < plane.edge
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if rows.size == 0:
        return hu, share
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    plane = plane.crop(box)
    for bleed in bleeds:
        plane = replace(plane, p=bleed.displaced(head, plane.p))
    brain = head.brain(plane)
    for bleed in bleeds:
        window = bleed.window(plane)
        bleed.draw(head, plane.crop(window), brain[window], share[box][window])
    paint(hu[box], brain, cover(plane.d, plane.edge))
    return hu, share


def _noise(rng: np.random.Generator, head: Head, hu: Array, thickness: float) -> Array:
    """Noise with the blur of a scanner, stronger in the head than in air; 4 to 6 HU SD at 5 mm slices."""
    sd = head.noise_hu * min(max(math.sqrt(5 / thickness), 0.6), 1.6)
    taps = (1.0, 0.7, 0.2)
    white = rng.random((hu.shape[0] + 4, hu.shape[1] + 4), dtype=np.float32) - np.float32(0.5)
    for _ in range(2):  # rows, then columns
        white = (
            white[2:-2] * taps[0] + (white[1:-3] + white[3:-1]) * taps[1] + (white[:-4] + white[4:]) * taps[2]
        )
        white = white.T
    unit = math.sqrt(12) / (taps[0] ** 2 + 2 * taps[1] ** 2 + 2 * taps[2] ** 2)
    return white * (sd * unit * np.clip((hu + 1200) / 1200, 0.3, 1))
