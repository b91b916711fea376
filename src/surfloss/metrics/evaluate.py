"""All metrics of one case, and of two folders of cases."""

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from surfloss._check import SpacingLike, fail
from surfloss._nifti import read_volume
from surfloss.metrics import _masks
from surfloss.metrics._masks import BoolArray, FloatArray, Mask
from surfloss.metrics.lesions import per_lesion
from surfloss.metrics.overlap import dice
from surfloss.metrics.surface import surface_distances
from surfloss.metrics.volume import abc2_volume_ml, relative_volume_difference, volume_ml

_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class CaseMetrics:
    """The metrics of one case; None where a value is undefined (`docs/metrics.md` has the table).

    Distances are in mm, volumes in ml (None in 2-D).
    """

    dice: float
    relative_volume_difference: float | None
    hausdorff_distance: float | None
    hausdorff_distance_95: float | None
    surface_dice: float | None
    average_symmetric_surface_distance: float | None
    volume_ml: float | None
    target_volume_ml: float | None
    abc2_volume_ml: float | None
    target_abc2_volume_ml: float | None
    lesions: int
    detected_lesions: int
    false_positive_lesions: int


def evaluate(
    prediction: Mask,
    target: Mask,
    spacing: SpacingLike,
    *,
    tolerance: float = 0.42,
    slice_axis: int = 0,
) -> CaseMetrics:
    """Every metric of one case; the surfaces are measured once.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for 1.
        tolerance: of the surface Dice, in mm.
        slice_axis: the axis across the slices, for ABC/2.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    p, t = _masks.pair(prediction, target)
    box = _masks.bounding_box(p | t)
    p, t = p[box], t[box]
    surfaces = surface_distances(p, t, spacing=spacing)
    report = per_lesion(p, t, spacing=spacing)
    solid = p.ndim == 3
    return CaseMetrics(
        dice=dice(p, t),
        relative_volume_difference=_defined(relative_volume_difference(p, t)),
        hausdorff_distance=_defined(surfaces.hausdorff()),
        hausdorff_distance_95=_defined(surfaces.hausdorff(95)),
        surface_dice=_defined(surfaces.dice(tolerance)),
        average_symmetric_surface_distance=_defined(surfaces.average_symmetric()),
        volume_ml=volume_ml(p, spacing=spacing) if solid else None,
        target_volume_ml=volume_ml(t, spacing=spacing) if solid else None,
        abc2_volume_ml=abc2_volume_ml(p, spacing=spacing, slice_axis=slice_axis) if solid else None,
        target_abc2_volume_ml=abc2_volume_ml(t, spacing=spacing, slice_axis=slice_axis) if solid else None,
        lesions=len(report.lesions),
        detected_lesions=report.detected,
        false_positive_lesions=len(report.false_positives),
    )


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def evaluate_folders(
    prediction_dir: str | Path,
    target_dir: str | Path,
    *,
    tolerance: float = 0.42,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate every case of a folder of targets against the prediction of the same file name.

    Args:
        prediction_dir, target_dir: folders of binary NIfTI volumes (`.nii.gz`, `.nii`) on the same grids. The
            spacing is that of the target's header.
        tolerance: of the surface Dice, in mm.
        progress: called with the name of each case when it is done.

    Returns:
        A JSON-ready dictionary: `cases`, a list of the fields of `CaseMetrics` with the name `case`;
        `summary`, for every metric the `mean`, `std` (population), `median` and `count` of the cases where it
        is defined, and in `null` the number of those where it is not; `unmatched`, the predictions without a
        target.

    Raises:
        FileNotFoundError: if a folder or a target's prediction is missing.
        ValueError: if there is no target, or a file is unreadable, not binary, not on its target's grid, or
            has a header that contradicts itself.
    """
    predictions = _volumes("prediction_dir", Path(prediction_dir))
    targets = _volumes("target_dir", Path(target_dir))
    if not targets:
        fail("target_dir", f"no NIfTI file in {target_dir}", "one target a case (.nii.gz or .nii)")
    if missing := sorted(set(targets) - set(predictions)):
        wanted = f"a prediction of every target ({len(missing)} missing, the first {missing[0]})"
        fail("prediction_dir", f"{len(predictions)} cases in {prediction_dir}", wanted, FileNotFoundError)
    cases: list[dict[str, Any]] = []
    for case, path in targets.items():
        target, affine, spacing = _read(path)
        prediction, other_affine, _ = _read(predictions[case])
        _same_grid(predictions[case], prediction.shape, other_affine, target.shape, affine)
        cases.append({"case": case, **asdict(evaluate(prediction, target, spacing, tolerance=tolerance))})
        if progress:
            progress(case)
    return {
        "cases": cases,
        "summary": {
            field.name: _summary([case[field.name] for case in cases]) for field in fields(CaseMetrics)
        },
        "unmatched": sorted(set(predictions) - set(targets)),
    }


def _summary(values: list[float | None]) -> dict[str, float | int | None]:
    defined = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(defined) if defined else None,
        "std": statistics.pstdev(defined) if defined else None,
        "median": statistics.median(defined) if defined else None,
        "count": len(defined),
        "null": len(values) - len(defined),
    }


def _volumes(argument: str, folder: Path) -> dict[str, Path]:
    """NIfTI files by case name, in the order of the names."""
    if not folder.is_dir():
        fail(argument, folder, "an existing folder", FileNotFoundError)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in _ENDINGS if path.name.endswith(ending)), None)
        if ending:
            case = path.name.removesuffix(ending)
            if case in found:
                fail(argument, f"{found[case].name} and {path.name}", "one file a case")
            found[case] = path
    return found


def _read(path: Path) -> tuple[BoolArray, FloatArray, list[float]]:
    """A binary volume as `(z, y, x)`, its affine, and its spacing in the same order."""
    voxels, affine, zooms = read_volume(path)
    return _masks.binary(str(path), voxels.T), affine, list(zooms[::-1])


def _same_grid(
    path: Path,
    shape: tuple[int, ...],
    affine: FloatArray,
    wanted_shape: tuple[int, ...],
    wanted_affine: FloatArray,
) -> None:
    """Require the target's shape, and no corner of the grid further off than a hundredth of a voxel."""
    if shape != wanted_shape:
        fail(str(path), f"shape {shape[::-1]}", f"the target's shape {wanted_shape[::-1]}")
    corners = np.array(list(product(*((0, size - 1) for size in (*shape[::-1], 1)[:3]))))
    change = affine - wanted_affine
    distance = np.linalg.norm(corners @ change[:3, :3].T + change[:3, 3], axis=1).max()
    if not distance <= 0.01 * np.linalg.norm(wanted_affine[:3, :3], axis=0).min():
        fail(str(path), f"an affine that moves voxels by {distance:.4g} mm", "the target's affine")
