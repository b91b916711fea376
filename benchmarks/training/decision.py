"""The comparison that counts, as fixed in docs/study-protocol.md, from the files of the runs alone."""

from collections.abc import Mapping

import numpy as np

from benchmarks.documents import table
from benchmarks.training.configurations import AGAIN, CONTROL_OF, DICE_CE, SQUARED, name_of
from benchmarks.training.summary import SECOND_COLUMNS, Array, Runs, interval, p_value, values
from surfloss.metrics.paired import holm

# Per data set: the primary metric, and whether higher is better.
PRIMARY = {
    "nuclei": ("surface_dice", True),
    "hippocampus": ("surface_dice", True),
    "hemorrhage": ("hausdorff_distance_95", False),
}
REAL = ("nuclei", "hippocampus")  # the family for Holm's correction; nothing is claimed from phantoms
LEVEL = 0.05
DICE_MAY_LOSE = 0.005


def decided(
    finals: Mapping[str, Mapping[str, Runs]], winners: Mapping[str, tuple[str, float]], part: str
) -> str:
    """Return a Markdown table of each data set's winner against its controls, and the answers.

    Args:
        finals: the runs of the final trainings by data set, then by configuration name.
        winners: title and ratio by data set.
        part: "validation" or "test".
    """
    rows, p_values, kept = [], {}, {}
    for task, runs in finals.items():
        title, ratio = winners[task]
        metric, more_is_better = PRIMARY[task]
        controls = (name_of(other, ratio) for other in (SQUARED, CONTROL_OF[title], AGAIN))
        names = [name for name in dict.fromkeys((DICE_CE, *controls)) if name in runs]
        p_values[task], kept[task] = 0.0, True
        for name in names:
            apart = {
                of: _apart(runs[name_of(title, ratio)], runs[name], of, part) for _, of, _ in SECOND_COLUMNS
            }
            p = p_value(apart[metric])
            rows.append(
                [task, name, *(_cell(apart[of], digits) for _, of, digits in SECOND_COLUMNS), f"{p:.3f}"]
            )
            if name in (DICE_CE, name_of(SQUARED, ratio)):
                p_values[task] = max(p_values[task], p)
                kept[task] &= (np.nanmean(apart[metric]) > 0) == more_is_better
            if name == DICE_CE:
                kept[task] &= interval(apart["dice"])[0] > -DICE_MAY_LOSE
    head = ["data", "winner minus", *(title for title, _, _ in SECOND_COLUMNS), "p"]
    corrected = dict(zip(REAL, holm([p_values.get(task, 1.0) for task in REAL]), strict=True))
    answers = [_answer(task, p, corrected.get(task), kept[task]) for task, p in p_values.items()]
    return "\n".join([table(head, rows), "", *answers])


def _apart(winner: Runs, reference: Runs, metric: str, part: str) -> Array:
    both = sorted(winner.keys() & reference.keys())
    of, beside = ({seed: runs[seed] for seed in both} for runs in (winner, reference))
    return values(of, metric, part) - values(beside, metric, part)


def _cell(apart: Array, digits: int) -> str:
    low, high = interval(apart)
    return f"{np.nanmean(apart):+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _answer(task: str, p: float, corrected: float | None, kept: bool) -> str:
    told = f"- {task}: the larger p of Dice + CE and squared error is {p:.3f}"
    if corrected is None:
        return f"{told}; a phantom, of which nothing is claimed."
    answer = "the winner helps" if kept and corrected < LEVEL else "no surface term did"
    return f"{told}, {corrected:.3f} after Holm's correction: **{answer}**."
