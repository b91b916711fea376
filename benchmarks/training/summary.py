"""Numbers and tables of the study, from the files of its runs alone."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES = 4000
# Column title, metric, digits; an absolute relative volume difference is an error.
COLUMNS = (
    ("Dice", "dice", 3),
    ("HD95 mm", "hausdorff_distance_95", 2),
    ("surface Dice", "surface_dice", 3),
    ("RVD", "relative_volume_difference", 3),
)
# What two configurations must share for one to be the baseline of the other.
SETTING = ("volumes", "patch", "share_with_lesion", "iterations")

Runs = Mapping[int, dict[str, Any]]
"""The runs of a configuration by seed."""


def read(folder: Path, names: Sequence[str]) -> dict[str, Runs]:
    """The runs of those configurations that there are, in that order."""
    runs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        runs[facts["configuration"]["name"]][facts["seed"]] = facts
    return {name: runs[name] for name in names if name in runs}


def tested(runs: Mapping[str, Runs]) -> dict[str, Runs]:
    """Those that looked at the test part."""
    kept = {
        name: {seed: facts for seed, facts in seeds.items() if "test" in facts}
        for name, seeds in runs.items()
    }
    return {name: seeds for name, seeds in kept.items() if seeds}


def baseline(name: str, runs: Mapping[str, Runs]) -> str | None:
    """The configuration without a surface term in the setting of this one; None for such a one itself."""
    configurations = {other: next(iter(seeds.values()))["configuration"] for other, seeds in runs.items()}
    own = configurations[name]
    if own["surface"] is None:
        return None
    for other, configuration in configurations.items():
        if configuration["surface"] is None and all(configuration[key] == own[key] for key in SETTING):
            return other
    return None


def values(runs: Runs, metric: str, part: str) -> Array:
    """The metric at the end of training, `(seeds, cases)`; NaN where it is undefined."""
    rows = []
    for _, facts in sorted(runs.items()):
        cases = facts["test"] if part == "test" else facts["validation"][-1]["cases"]
        rows.append(of_cases(cases, metric))
    return np.array(rows, np.float64)


def of_cases(cases: Sequence[Mapping[str, Any]], metric: str) -> Array:
    """A metric of each case; NaN where it is undefined."""
    return np.array([np.nan if case[metric] is None else case[metric] for case in cases], np.float64)


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


def difference(name: str, runs: Mapping[str, Runs], metric: str, part: str) -> Array | None:
    """How far a configuration is from its baseline, `(seeds, cases)`, over the seeds that both have."""
    base = baseline(name, runs)
    if base is None or not (both := sorted(set(runs[name]) & set(runs[base]))):
        return None
    of, beside = ({seed: runs[which][seed] for seed in both} for which in (name, base))
    result = values(of, metric, part) - values(beside, metric, part)
    return result if np.isfinite(result).any() else None


def table(runs: Mapping[str, Runs], part: str = "validation") -> str:
    """Markdown: means, and how far each configuration is from its baseline.

    The intervals are of paired differences, seed by seed and case by case. "null" counts undefined HD95, the
    volumes in which nothing was found; they count in the Dice, and in no distance.
    """
    head = ["configuration", "seeds", "ratio", *(title for title, _, _ in COLUMNS), "null"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, seeds in runs.items():
        row = [name, str(len(seeds)), _first_ratio(seeds)]
        for _, metric, digits in COLUMNS:
            got = values(seeds, metric, part)
            cell = f"{np.nanmean(got):.{digits}f}" if np.isfinite(got).any() else "-"
            apart = difference(name, runs, metric, part)
            if apart is not None:
                low, high = interval(apart)
                cell += f" ({np.nanmean(apart):+.{digits}f}: {low:+.{digits}f} to {high:+.{digits}f})"
            row.append(cell)
        null = np.isnan(values(seeds, "hausdorff_distance_95", part))
        row.append(f"{null.mean():.0%}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _first_ratio(seeds: Runs) -> str:
    """The surface term's gradient over the rest's once its weight is above 0, the median over seeds."""
    first = [next((ratio for _, ratio in facts["ratios"] if ratio > 0), 0.0) for facts in seeds.values()]
    return f"{np.median(first):.2g}" if any(first) else "-"
