"""Values of many cases in a few numbers, undefined ones counted and never averaged in."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np


class Summary(TypedDict):
    """One metric over all cases in which it is defined; None where it is defined in none."""

    mean: float | None
    std: float | None  # of the population
    median: float | None
    ci95: (
        tuple[float, float] | None
    )  # of the mean; None also without a bootstrap or with fewer than two cases
    count: int
    null: int


def summarize(
    cases: Sequence[Sequence[Mapping[str, float | None]]],
    names: Sequence[str],
    *,
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Summary]:
    """Summarize every metric.

    Args:
        cases: for each case the values by metric, once for each label.
        names: of the metrics.
        bootstrap: how many samples the 95 % confidence interval of the mean is made of (Efron & Tibshirani
            1993, the percentile interval); 0 for none. Cases are drawn, with all of their labels, from those
            in which the metric is defined.
        seed: of the drawing; every metric draws anew from it.
    """
    return {
        name: _summary([[row[name] for row in rows] for rows in cases], bootstrap, seed) for name in names
    }


def _summary(cases: list[list[float | None]], bootstrap: int, seed: int) -> Summary:
    defined = [[value for value in values if value is not None] for values in cases]
    values = [value for case in defined for value in case]
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.pstdev(values) if values else None,
        "median": statistics.median(values) if values else None,
        "ci95": _interval([case for case in defined if case], bootstrap, seed),
        "count": len(values),
        "null": sum(map(len, cases)) - len(values),
    }


def _interval(cases: list[list[float]], bootstrap: int, seed: int) -> tuple[float, float] | None:
    if not bootstrap or len(cases) < 2:
        return None
    sums, counts = np.array([(sum(case), len(case)) for case in cases]).T
    rng = np.random.default_rng(seed)
    means = np.empty(bootstrap)
    for sample in range(bootstrap):
        drawn = rng.integers(len(cases), size=len(cases))
        means[sample] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
