from typing import Any

import numpy as np
import pytest
from scipy import stats

from surfloss.metrics.summary import Summary, summarize


def interval(cases: Any, **options: Any) -> tuple[float, float] | None:
    return summarize(cases, ["x"], **options).summary["x"].ci95


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2, size=60)
    low, high = interval([[{"x": value}] for value in values], bootstrap=4000)
    wanted = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=2)
    width = wanted.confidence_interval.high - wanted.confidence_interval.low
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.05 * width)


def test_cases_are_drawn_with_all_of_their_labels() -> None:
    """Two labels with one value say no more about the mean than one of them."""
    once = [[{"x": float(value)}] for value in range(8)]
    assert interval([2 * rows for rows in once], bootstrap=200) == interval(once, bootstrap=200)


def test_the_same_seed_gives_the_same_interval() -> None:
    cases = [[{"x": float(value**2)}] for value in range(10)]
    assert interval(cases, bootstrap=100, seed=3) == interval(cases, bootstrap=100, seed=3)
    assert interval(cases, bootstrap=100, seed=3) != interval(cases, bootstrap=100, seed=4)


def test_undefined_values_are_counted_and_not_drawn() -> None:
    cases = [[{"x": 1.0}, {"x": None}], [{"x": None}, {"x": None}], [{"x": 1.0}, {"x": 1.0}]]
    got = summarize(cases, ["x"], bootstrap=50).summary["x"]
    assert got == Summary(mean=1, std=0, median=1, ci95=(1, 1), count=3, null=3)


@pytest.mark.parametrize(("cases", "bootstrap"), [([], 10), ([[{"x": 1.0}]], 10), ([[{"x": 1.0}]] * 3, 0)])
def test_no_interval_without_two_cases_or_without_samples(cases: Any, bootstrap: int) -> None:
    assert interval(cases, bootstrap=bootstrap) is None
