"""Numbers and tables of the study, from the files of its runs."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.training.configurations import CONTROL_OF

Array = npt.NDArray[np.float64]

RESAMPLES = 4000
# Column title, metric, digits. The relative volume difference is absolute.
COLUMNS = (
    ("Dice", "dice", 3),
    ("HD95 mm", "hausdorff_distance_95", 2),
    ("surface Dice", "surface_dice", 3),
    ("RVD", "relative_volume_difference", 3),
)
# For the second study: more digits for small effects; distances are in pixels if the data have no mm.
SECOND_COLUMNS = (
    ("Dice", "dice", 4),
    ("surface Dice", "surface_dice", 4),
    ("HD95", "hausdorff_distance_95", 2),
    ("ASSD", "average_symmetric_surface_distance", 3),
)
# Fields that a configuration and its baseline must share.
SETTING = ("volumes", "patch", "share_with_lesion", "iterations")

Runs = Mapping[int, dict[str, Any]]
"""The runs of a configuration by seed."""


def read(folder: Path, names: Sequence[str]) -> dict[str, Runs]:
    """Read the existing runs of the named configurations, in the order of the names."""
    runs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        runs[facts["configuration"]["name"]][facts["seed"]] = facts
    return {name: runs[name] for name in names if name in runs}


def tested(runs: Mapping[str, Runs]) -> dict[str, Runs]:
    """The runs that have results on the test part."""
    kept = {
        name: {seed: facts for seed, facts in seeds.items() if "test" in facts}
        for name, seeds in runs.items()
    }
    return {name: seeds for name, seeds in kept.items() if seeds}


def baseline(name: str, runs: Mapping[str, Runs]) -> str | None:
    """The configuration without a surface term in the same setting; None if this one has none itself."""
    configurations = _configurations(runs)
    own = configurations[name]
    if own["surface"] is None:
        return None
    for other, configuration in configurations.items():
        if configuration["surface"] is None and all(configuration[key] == own[key] for key in SETTING):
            return other
    return None


def control(name: str, runs: Mapping[str, Runs]) -> str | None:
    """The configuration with the same errors at the same gradient ratio, but without distances.

    None for controls themselves, for Dice + CE, and in the first study, which had no controls.
    """
    title, _, ratio = name.rpartition(", ")
    of = f"{CONTROL_OF[title]}, {ratio}" if title in CONTROL_OF else None
    return of if of in runs else None


def _configurations(runs: Mapping[str, Runs]) -> dict[str, dict[str, Any]]:
    return {name: next(iter(seeds.values()))["configuration"] for name, seeds in runs.items()}


def values(runs: Runs, metric: str, part: str) -> Array:
    """The metric at the end of training, `(seeds, cases)`; NaN if undefined."""
    rows = []
    for _, facts in sorted(runs.items()):
        rows.append(of_cases(of_part(facts, part), metric))
    return np.array(rows, np.float64)


def of_part(facts: Mapping[str, Any], part: str) -> Sequence[Mapping[str, Any]]:
    """The cases of a run, at the end of training."""
    found: Sequence[Mapping[str, Any]] = facts["test"] if part == "test" else facts["validation"][-1]["cases"]
    return found


def of_cases(cases: Sequence[Mapping[str, Any]], metric: str) -> Array:
    """A metric of each case; NaN if undefined."""
    return np.array([np.nan if case[metric] is None else case[metric] for case in cases], np.float64)


def interval(differences: Array, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of `(seeds, cases)`; NaN is ignored."""
    if not np.isfinite(differences).any():
        return np.nan, np.nan
    low, high = np.nanpercentile(means(differences, seed), (2.5, 97.5))
    return float(low), float(high)


def p_value(differences: Array, seed: int = 0) -> float:
    """The two-sided p-value of the mean of `(seeds, cases)` being 0: how often resampling flips its sign."""
    drawn = means(differences, seed)
    sides = [(np.sum(side) + 1) / (len(drawn) + 1) for side in (drawn <= 0, drawn >= 0)]
    return float(min(1.0, 2 * min(sides)))


def means(differences: Array, seed: int) -> Array:
    """Means of `(seeds, cases)` with seeds and cases resampled, the two-way bootstrap.

    Errors are correlated over the cases of a seed and over the seeds of a hard case, so both are resampled
    (Owen 2007, Annals of Applied Statistics 1:386). SciPy's bootstrap resamples one axis only.
    """
    rng = np.random.default_rng(seed)
    seeds, cases = differences.shape
    draws = [(rng.integers(seeds, size=seeds), rng.integers(cases, size=cases)) for _ in range(RESAMPLES)]
    of_seeds = np.array([np.bincount(drawn, minlength=seeds) for drawn, _ in draws])
    of_cases = np.array([np.bincount(drawn, minlength=cases) for _, drawn in draws])
    defined = np.isfinite(differences)
    sums, counts = (
        np.einsum("rs,sc,rc->r", of_seeds, matrix, of_cases, optimize=True)
        for matrix in (np.where(defined, differences, 0), defined.astype(float))
    )
    with np.errstate(invalid="ignore"):
        result: Array = sums / counts
    return result


def difference(
    name: str,
    runs: Mapping[str, Runs],
    metric: str,
    part: str,
    reference: Callable[[str, Mapping[str, Runs]], str | None] = baseline,
) -> Array | None:
    """The difference of a configuration from its baseline, or its control, over their common seeds.

    Returns:
        `(seeds, cases)`, or None if nothing can be compared.
    """
    base = reference(name, runs)
    if base is None or not (both := sorted(set(runs[name]) & set(runs[base]))):
        return None
    of, beside = ({seed: runs[which][seed] for seed in both} for which in (name, base))
    result = values(of, metric, part) - values(beside, metric, part)
    return result if np.isfinite(result).any() else None


def table(
    runs: Mapping[str, Runs],
    part: str = "validation",
    reference: Callable[[str, Mapping[str, Runs]], str | None] = baseline,
) -> str:
    """Return a Markdown table of means, and differences from the baseline or the control.

    The intervals are of paired differences, seed by seed and case by case. "null" is the fraction of cases in
    which a class was not found. Their distances are undefined in the first study, and the volume's diagonal
    in the second.
    """
    second = any(configuration.get("ratio") for configuration in _configurations(runs).values())
    columns = SECOND_COLUMNS if second else COLUMNS
    head = ["configuration", "seeds", "ratio", *(title for title, _, _ in columns), "null"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, seeds in runs.items():
        row = [name, str(len(seeds)), _text(reached(seeds)) if second else _first_ratio(seeds)]
        for _, metric, digits in columns:
            got = values(seeds, metric, part)
            cell = f"{np.nanmean(got):.{digits}f}" if np.isfinite(got).any() else "-"
            apart = difference(name, runs, metric, part, reference)
            if apart is not None:
                low, high = interval(apart)
                cell += f" ({np.nanmean(apart):+.{digits}f}: {low:+.{digits}f} to {high:+.{digits}f})"
            row.append(cell)
        row.append(f"{_null(seeds, part):.0%}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _null(runs: Runs, part: str) -> float:
    """The fraction of cases in which nothing was found, or not all classes."""
    cases = [case for facts in runs.values() for case in of_part(facts, part)]
    return float(np.mean([case.get("null", case["hausdorff_distance_95"] is None) > 0 for case in cases]))


def reached(runs: Runs) -> float:
    """The median gradient ratio over the second half of the trainings, after a warm-up; NaN if none."""
    late = [
        ratio
        for facts in runs.values()
        for iteration, ratio in facts["ratios"]
        if iteration > facts["configuration"]["iterations"] / 2
    ]
    return float(np.median(late)) if late else np.nan


def _first_ratio(seeds: Runs) -> str:
    """The first gradient ratio with a weight above 0 (surface term over the rest), the median over seeds."""
    first = [next((ratio for _, ratio in facts["ratios"] if ratio > 0), 0.0) for facts in seeds.values()]
    return _text(float(np.median(first)) if any(first) else np.nan)


def _text(ratio: float) -> str:
    return f"{ratio:.2g}" if np.isfinite(ratio) else "-"
