"""What a file holds, and the checks that all formats share."""

import math
import stat
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from surfloss._check import decimals, fail
from surfloss._env import volume_limit

_TOLERANCE = 1e-3  # relative: headers hold float32, and some writers round
_EPS = float(np.finfo(np.float32).eps)
_COARSEST = 0.01  # further from an integer a scaled value is no label
_LONGEST_SHOWN = 200
_UNITS = {
    1.0: "mm|millimeter|millimeters|millimetre|millimetres|none|?|???|",
    1e-3: "um|\N{MICRO SIGN}m|\N{GREEK SMALL LETTER MU}m|micron|microns|"
    "micrometer|micrometers|micrometre|micrometres",
    10.0: "cm|centimeter|centimeters|centimetre|centimetres",
    1e3: "m|meter|meters|metre|metres",
}
_MM = {name: mm for mm, names in _UNITS.items() for name in names.split("|")}


class Fault(ValueError):
    """What is wrong with a file, whoever reads it and whenever."""


class Unavailable(OSError):
    """A file that cannot be read now: it cannot be opened, or memory runs short."""


class Volume(NamedTuple):
    """What a file holds, in its own order of axes."""

    voxels: npt.NDArray[Any]  # (x, y, z), or with fewer or more axes; real numbers, scaled as the header says
    affine: npt.NDArray[np.float64]  # (4, 4), from voxels to mm: right, anterior, superior
    zooms: tuple[float, ...]  # mm along x, y, z, as many as the volume has
    step: float = 0.0  # between neighbouring values, where the file holds scaled integers
    is_placed: bool = (
        True  # whether the header says where the volume lies; else the affine is ITK's assumption
    )


def shown(text: str) -> str:
    """Text from a file for one line of a message: of printable characters, and not too many."""
    plain = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[:_LONGEST_SHOWN]}..."


def require_regular(path: Path) -> None:
    """Refuse what would block or never end when it is read, such as a pipe."""
    if not stat.S_ISREG(path.stat().st_mode):
        fail(str(path), "a folder" if path.is_dir() else "a pipe, socket or device", "a regular file", Fault)


def require_size(path: Path, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse a shape without voxels, or with too many, before memory is asked for."""
    if not shape or min(shape) < 1:
        fail(str(path), f"shape {shape}", "at least one voxel along each axis", Fault)
    size, limit = math.prod(shape) * itemsize, volume_limit()
    if size > limit:
        got = f"shape {shape}, {size / 2**30:.3g} GiB in memory"
        wanted = f"at most {limit / 2**30:.3g} GiB (SURFLOSS_MAX_VOLUME_GIB sets the limit)"
        fail(str(path), got, wanted, Fault)


def millimetres(path: Path, units: list[str]) -> float:
    """Millimetres in the unit that a header names once for each axis; no unit, or "???", means mm."""
    found = {_MM.get(unit.lower(), math.nan) for unit in units or ["mm"]}
    mm = found.pop()
    if found or math.isnan(mm):
        fail(str(path), shown(f"the units {units}"), "one of um, mm, cm or m for all axes", Fault)
    return mm


def make_volume(
    path: Path,
    voxels: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    steps: npt.NDArray[Any],
    mm: float = 1.0,
    step: float = 0.0,
) -> Volume:
    """A volume whose header makes sense.

    Args:
        path: named in the errors.
        voxels: any number of axes; those of size 1 behind the third are dropped.
        affine: (4, 4), in the header's unit, to right, anterior and superior.
        steps: the voxel size in the header's unit, as many as the volume has spatial axes. A step that
            float32 holds exactly comes from a float32: the shortest decimal that rounds to it is meant.
        mm: in one unit.
        step: as in `Volume`.
    """
    voxels = voxels.reshape(voxels.shape[:3]) if math.prod(voxels.shape[3:]) == 1 else voxels
    with np.errstate(over="ignore"):
        single = steps.astype(np.float32)
    exact = np.where(single == steps, decimals(torch.from_numpy(single)).numpy(), steps).tolist()
    zooms = tuple(exact if mm == 1 else (float(f"{value * mm:.15g}") for value in exact))
    affine = affine * np.array([[mm], [mm], [mm], [1.0]])
    _require_grid(path, affine, zooms)
    return Volume(voxels, affine, zooms, step)


def _require_grid(path: Path, affine: npt.NDArray[np.float64], zooms: tuple[float, ...]) -> None:
    columns = affine[:3, : len(zooms)]
    if not np.isfinite(affine).all():
        fail(str(path), f"the affine {affine.tolist()}", "finite numbers", Fault)
    steps = np.linalg.norm(columns, axis=0)
    if not (np.all(steps > 0) and np.allclose(steps, zooms, rtol=_TOLERANCE, atol=0)):
        got = f"an affine with steps of {_mm(steps)} beside a voxel size of {_mm(zooms)}"
        fail(str(path), got, "positive, finite and the same", Fault)
    for one, other in combinations((columns / steps).T, 2):
        if abs(one @ other) > _TOLERANCE:
            got = f"an affine with the sheared axes {columns.T.tolist()}"
            fail(str(path), got, "axes at right angles", Fault)


def _mm(steps: Any) -> str:
    return f"{' x '.join(f'{step:.4g}' for step in steps)} mm"


def whole_numbers(volume: Volume) -> npt.NDArray[Any]:
    """The voxels of a label image, with what can only be an integer rounded to it; other values stay.

    Labels that were saved under the header of a scaled image are no integers any more: 1 returns as
    0.9999999997671694, or off by up to half of the step between the values that the file can hold. What is
    closer to an integer than this half step (at most 0.01) and the rounding of float32 is that integer.
    """
    voxels = volume.voxels
    if voxels.dtype.kind != "f":
        return voxels
    labels = np.empty_like(voxels)
    half = min(volume.step / 2, _COARSEST)
    for values, out in zip(voxels.T, labels.T, strict=True):  # by slices, as this takes memory
        whole = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinite values
            near = np.abs(values - whole) <= half + _EPS * np.maximum(np.abs(whole), 1)
        out[...] = np.where(near, whole, values)
    return labels
