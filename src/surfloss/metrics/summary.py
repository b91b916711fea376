"""Values of many cases in a few numbers, undefined ones counted and never averaged in."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from surfloss.metrics._masks import FloatArray


@dataclass(frozen=True)
class Summary:
    """One metric over all cases in which it is defined; None where it is defined in none."""

    mean: float | None
    std: float | None  # of the population
    median: float | None
    # Of the mean; None also without a bootstrap or with fewer than two cases.
    ci95: tuple[float, float] | None
    count: int
    null: int

    @classmethod
    def from_dict(cls, summary: Mapping[str, Any]) -> Self:
        return cls(**{**summary, "ci95": summary["ci95"] and tuple(summary["ci95"])})


@dataclass(frozen=True)
class Summaries:
    """The summary of each metric over all labels, and for each label by itself."""

    summary: dict[str, Summary]
    summary_by_label: dict[str, dict[str, Summary]]


def summarize(
    cases: Sequence[Sequence[Mapping[str, float | None]]],
    names: Sequence[str],
    *,
    labels: Sequence[str] = (),
    bootstrap: int = 0,
    seed: int = 0,
) -> Summaries:
    """Summarize every metric.

    Args:
        cases: for each case the values by metric, once for each label.
        names: of the metrics.
        labels: their names, in the order of each case; none for no summaries by label.
        bootstrap: how many samples the 95 % confidence interval of the mean is made of (Efron & Tibshirani
            1993, the percentile interval); 0 for none. Cases are drawn, with all of their labels, from those
            in which the metric is defined.
        seed: of the drawing; every metric draws anew from it.
    """

    def by_metric(rows: Sequence[Sequence[Mapping[str, float | None]]]) -> dict[str, Summary]:
        return {
            name: _summary([[row[name] for row in case] for case in rows], bootstrap, seed) for name in names
        }

    by_label = {label: by_metric([[case[place]] for case in cases]) for place, label in enumerate(labels)}
    return Summaries(by_metric(cases), by_label)


def _summary(cases: list[list[float | None]], bootstrap: int, seed: int) -> Summary:
    defined = [[value for value in values if value is not None] for values in cases]
    values = [value for case in defined for value in case]
    return Summary(
        mean=statistics.fmean(values) if values else None,
        std=statistics.pstdev(values) if values else None,
        median=statistics.median(values) if values else None,
        ci95=_interval_of_mean([case for case in defined if case], bootstrap, seed),
        count=len(values),
        null=sum(map(len, cases)) - len(values),
    )


def _interval_of_mean(cases: list[list[float]], bootstrap: int, seed: int) -> tuple[float, float] | None:
    if not bootstrap or len(cases) < 2:
        return None
    sums, counts = np.array([(sum(case), len(case)) for case in cases]).T

    def mean(sums: FloatArray, counts: FloatArray, axis: int) -> FloatArray:
        means: FloatArray = sums.sum(axis) / counts.sum(axis)
        return means

    return bootstrap_interval(mean, sums, counts, samples=bootstrap, seed=seed)


def bootstrap_interval(
    statistic: Callable[..., FloatArray], *columns: FloatArray, samples: int, seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over bootstrap samples.

    Args:
        statistic: of the columns along an `axis`, as `numpy.median`.
        columns: arrays of one length, whose places are drawn together.
        samples: how many.
        seed: of the drawing.
    """
    drawn = np.random.default_rng(seed).integers(len(columns[0]), size=(samples, len(columns[0])))
    found = statistic(*(column[drawn] for column in columns), axis=1)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)
