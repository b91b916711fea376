"""Where the errors of trained networks lie, and how the metrics would change without each kind of error.

A term can only correct errors that it sees. These numbers say beforehand which metrics it could change.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

import surfloss
from benchmarks.training.data import TrainingCase
from benchmarks.training.strength import EDGES
from benchmarks.training.tasks import Task
from benchmarks.training.train import Mask, measure, round_to

Bools = npt.NDArray[np.bool_]


def cures(labels: Mask, case: TrainingCase, task: Task) -> dict[str, Mask]:
    """Return the prediction, and the prediction without each kind of error.

    An island is a component of the predicted foreground that does not touch the target's foreground. A missed
    object is a component of the target that does not touch the prediction. Near errors lie within `EDGES[1]`
    tolerances of the surface Dice from the target's boundary.
    """
    target = case.label.numpy()
    distance = _to_boundary(case) / task.tolerance
    near = distance <= EDGES[1]
    islands, missed = _apart(labels > 0, target > 0), _apart(target > 0, labels > 0)
    return {
        "as it is": labels,
        "no islands": np.where(islands, 0, labels),
        "no missed objects": np.where(missed, target, labels),
        "no far errors": np.where(near, labels, target),
        "no near errors": np.where(near, target, labels),
    }


def analysed(predictions: Sequence[Mask], cases: Sequence[TrainingCase], task: Task) -> dict[str, Any]:
    """Analyse the errors of all cases; the result can be written as JSON.

    Returns:
        "edges": edges of the bins of the distance to the target's boundary, in tolerances;
        "false", "missed": number of voxels wrongly foreground or wrongly background, per case and bin;
        "wrong class": number of voxels with another foreground class than the target, per case;
        "cured": by kind of error, the metrics of every case without it.
    """
    false, missed, confused = [], [], []
    cured: dict[str, list[dict[str, Any]]] = {}
    for labels, case in zip(predictions, cases, strict=True):
        target = case.label.numpy()
        bins = np.digitize(_to_boundary(case) / task.tolerance, EDGES, right=True)
        for counts, where in ((false, (labels > 0) & (target == 0)), (missed, (labels == 0) & (target > 0))):
            counts.append(np.bincount(bins[where], minlength=len(EDGES) + 1).tolist())
        confused.append(int(np.sum((labels > 0) & (target > 0) & (labels != target))))
        for kind, mask in cures(labels, case, task).items():
            cured.setdefault(kind, []).append(measure(mask, case, task))
    return {"edges": EDGES, "false": false, "missed": missed, "wrong class": confused, "cured": cured}


def table(facts: dict[str, Any]) -> str:
    """Markdown table of the metrics as they are and without each kind of error, averaged over cases."""
    metrics = ("dice", "surface_dice", "hausdorff_distance_95", "average_symmetric_surface_distance")
    lines = ["| | Dice | surface Dice | HD95 | median HD95 | ASSD |", "|---|---|---|---|---|---|"]
    for kind, cases in facts["cured"].items():
        columns = [np.array([case[m] for case in cases], np.float64) for m in metrics]
        dice, surface, hd95, assd = (float(np.nanmean(column)) for column in columns)
        median = float(np.nanmedian(columns[2]))
        lines.append(f"| {kind} | {dice:.3f} | {surface:.3f} | {hd95:.2f} | {median:.2f} | {assd:.3f} |")
    return "\n".join(lines) + "\n"


def shares(facts: dict[str, Any]) -> dict[str, list[float]]:
    """The fractions of all error voxels that are false or missed, per bin."""
    total = np.sum(facts["false"]) + np.sum(facts["missed"])
    return {
        kind: [round_to(float(n), 3) for n in np.sum(facts[kind], axis=0) / max(total, 1)]
        for kind in ("false", "missed")
    }


def _to_boundary(case: TrainingCase) -> npt.NDArray[np.float32]:
    """The distance of every voxel to the opposite label of the target's foreground, in mm."""
    distance = surfloss.two_sided_edt(case.label > 0, spacing=case.spacing)
    found: npt.NDArray[np.float32] = distance.numpy()
    return found


def _apart(mask: Bools, other: Bools) -> Bools:
    """The components of a mask (connected across corners too) that do not touch the other mask."""
    components, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    met = np.zeros(count + 1, bool)
    met[components[other]] = True
    met[0] = True
    return ~met[components]
