"""Surface metrics in the summary that nnU-Net writes of a fold's validation."""

import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from nnunetv2.evaluation.evaluate_predictions import (
    load_summary_json,
    region_or_label_to_mask,
    save_summary_json,
)

from surfloss._files import written_whole
from surfloss.metrics import surface_distances

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

METRICS = ("HD95", "Surface Dice")


def add_surface_metrics(
    summary: Path, reader: Any, ignore_label: int | None, tolerance: float
) -> dict[str, float]:
    """Add HD95 in mm and the surface Dice to every label or region of nnU-Net's summary.

    Both stand beside nnU-Net's metrics: of each case, in the mean over cases and in the mean over labels. As
    there, an undefined value is NaN and left out of the mean over cases. The HD95 is undefined if either mask
    is empty, the surface Dice if both are. Ignored voxels are background in both masks. A volume of one slice
    is measured in 2-D.

    Args:
        summary: `validation/summary.json`, which is replaced.
        reader: nnU-Net's reader of the files that it names.
        ignore_label: label of the voxels that count for nothing.
        tolerance: of the surface Dice, in mm.

    Returns:
        The mean of each metric over the labels.
    """
    result = load_summary_json(str(summary))
    for case in result["metric_per_case"]:
        target, properties = reader.read_seg(case["reference_file"])
        prediction, _ = reader.read_seg(case["prediction_file"])
        counted = True if ignore_label is None else target != ignore_label
        keep = np.s_[0, 0] if target.shape[1] == 1 else np.s_[0]
        spacing = _spacing(properties, target[keep].ndim)
        for label, metrics in case["metrics"].items():
            masks = [
                (region_or_label_to_mask(labels, label) & counted)[keep] for labels in (prediction, target)
            ]
            distances = surface_distances(masks[0], masks[1], spacing=spacing)
            hd95 = distances.hausdorff(95)
            metrics["HD95"] = hd95 if math.isfinite(hd95) else math.nan
            metrics["Surface Dice"] = distances.dice(tolerance)
    cases = [case["metrics"] for case in result["metric_per_case"]]
    for name in METRICS:
        for label, mean in result["mean"].items():
            mean[name] = _mean_of_defined([metrics[label][name] for metrics in cases])
        means = [mean[name] for mean in result["mean"].values()]
        result["foreground_mean"][name] = float(np.mean(means))
    result["surface_dice_tolerance"] = tolerance
    with written_whole(summary) as unfinished:
        save_summary_json(result, str(unfinished))
    return {name: result["foreground_mean"][name] for name in METRICS}


def _spacing(properties: dict[str, Any], dims: int) -> FloatArray:
    """In mm and array order; in float32 where a NIfTI header may have held it so."""
    spacing = np.array(properties["spacing"][-dims:], dtype=np.float64)
    single = spacing.astype(np.float32)
    return single if (single == spacing).all() else spacing


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
