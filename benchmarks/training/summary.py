"""Tables and plots of the study, from the files of its runs alone."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BASELINE = "Dice + CE"
RESAMPLES = 4000
# Column title, metric, digits; an absolute relative volume difference is an error.
COLUMNS = (
    ("Dice", "dice", 3),
    ("HD95 mm", "hausdorff_distance_95", 2),
    ("surface Dice", "surface_dice", 3),
    ("RVD", "relative_volume_difference", 3),
)


def read(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Runs by configuration and seed."""
    runs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        runs[facts["configuration"]["name"]][facts["seed"]] = facts
    return dict(runs)


def values(runs: Mapping[int, dict[str, Any]], metric: str, part: str) -> Array:
    """The metric at the end of training, `(seeds, cases)`; NaN where it is undefined."""
    rows = []
    for _, facts in sorted(runs.items()):
        cases = facts["test"] if part == "test" else facts["validation"][-1]["cases"]
        rows.append([np.nan if case[metric] is None else case[metric] for case in cases])
    return np.array(rows, np.float64)


def interval(differences: Array, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of `(seeds, cases)`, by drawing seeds and cases anew; NaN counts for nothing."""
    rng = np.random.default_rng(seed)
    seeds, cases = differences.shape
    means = []
    for _ in range(RESAMPLES):
        drawn = differences[rng.integers(seeds, size=seeds)][:, rng.integers(cases, size=cases)]
        if np.isfinite(drawn).any():
            means.append(np.nanmean(drawn))
    low, high = np.percentile(means, (2.5, 97.5)) if means else (np.nan, np.nan)
    return float(low), float(high)


def table(runs: Mapping[str, Mapping[int, dict[str, Any]]], part: str = "validation") -> str:
    """Markdown: means, and how far each configuration is from the baseline over the seeds that both have.

    The intervals are of paired differences, seed by seed and case by case. "null" counts undefined HD95, the
    volumes in which nothing was found; they count in the Dice, and in no distance.
    """
    if part == "test":
        runs = {
            name: kept
            for name, seeds in runs.items()
            if (kept := {seed: facts for seed, facts in seeds.items() if "test" in facts})
        }
    head = ["configuration", "seeds", "ratio", *(title for title, _, _ in COLUMNS), "null"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, seeds in runs.items():
        row = [name, str(len(seeds)), _first_ratio(seeds)]
        for _, metric, digits in COLUMNS:
            got = values(seeds, metric, part)
            cell = f"{np.nanmean(got):.{digits}f}" if np.isfinite(got).any() else "-"
            both = sorted(set(seeds) & set(runs.get(BASELINE, {})))
            if name != BASELINE and both:
                base = values({seed: runs[BASELINE][seed] for seed in both}, metric, part)
                difference = values({seed: seeds[seed] for seed in both}, metric, part) - base
                if np.isfinite(difference).any():
                    low, high = interval(difference)
                    mean = np.nanmean(difference)
                    cell += f" ({mean:+.{digits}f}: {low:+.{digits}f} to {high:+.{digits}f})"
            row.append(cell)
        null = np.isnan(values(seeds, "hausdorff_distance_95", part))
        row.append(f"{null.mean():.0%}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _first_ratio(seeds: Mapping[int, dict[str, Any]]) -> str:
    """The surface term's gradient over the rest's once its weight is above 0, the median over seeds."""
    first = [next((ratio for _, ratio in facts["ratios"] if ratio > 0), 0.0) for facts in seeds.values()]
    return f"{np.median(first):.2g}" if any(first) else "-"


def draw(runs: Mapping[str, Mapping[int, dict[str, Any]]], path: Path, metric: str = "dice") -> None:
    """The metric on the validation part over training: the mean of the seeds, and their range."""
    from matplotlib import pyplot, style

    with style.context("default"):
        figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
        for name, seeds in runs.items():
            looks = [facts["validation"] for facts in seeds.values()]
            iterations = [look["iteration"] for look in looks[0]]
            curves = np.array(
                [
                    [
                        np.nanmean([np.nan if c[metric] is None else c[metric] for c in look["cases"]])
                        for look in run
                    ]
                    for run in looks
                ]
            )
            (line,) = axes.plot(iterations, curves.mean(0), label=name)
            axes.fill_between(iterations, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.12)
        axes.set(xlabel="iteration", ylabel=f"{metric}, validation")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize="small")
        figure.savefig(path, dpi=150)
        pyplot.close(figure)
