from typing import Any

import numpy as np
import pytest
from scipy import stats

from surfloss.metrics.paired import Agreement, agreement, holm, paired_tests


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.3], [0.3]),
        # 4 x 0.005, 3 x 0.01, 2 x 0.03, and the last not below the one before it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9, 0.4], [1.0, 1.0, 1.0]),
    ],
)
def test_holm_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def signs(*signed_ranks: int) -> tuple[list[float], list[float]]:
    """A comparison with these differences, from a baseline that is not 0."""
    return [10.0] * len(signed_ranks), [10.0 + rank for rank in signed_ranks]


def test_wilcoxon_by_hand() -> None:
    """Of 2^6 ways to sign the ranks 1 to 6 two have all alike, and two more have only the 1 apart."""
    all_up, all_but_one = paired_tests([signs(1, 2, 3, 4, 5, 6), signs(-1, 2, 3, 4, 5, 6)])
    assert (all_up.p, all_but_one.p) == pytest.approx((2 / 64, 4 / 64))
    assert (all_up.corrected_p, all_but_one.corrected_p) == pytest.approx((4 / 64, 4 / 64))
    assert all_up.median_difference == 3.5
    assert (all_up.cases, all_up.undefined) == (6, 0)


def test_only_cases_that_both_have_are_compared() -> None:
    baseline, other = signs(1, 2, 3, 4, 5, 6)
    (got,) = paired_tests([([None, *baseline, 1.0], [1.0, *other, None])])
    assert (got.cases, got.undefined, got.p) == (6, 2, pytest.approx(2 / 64))


@pytest.mark.parametrize(
    ("comparison", "cases"),
    [(signs(1, 2, 3, 4, 5), 5), (signs(0, 0, 0, 0, 1, 2, 3, 4, 5), 9), (([None] * 7, [1.0] * 7), 0)],
    ids=["five cases", "five that differ", "none defined"],
)
def test_too_few_cases_are_not_tested_and_take_no_part_in_the_correction(comparison: Any, cases: int) -> None:
    few, enough = paired_tests([comparison, signs(1, 2, 3, 4, 5, 6)])
    assert (few.cases, few.p, few.corrected_p, few.ci95) == (cases, None, None, None)
    assert enough.corrected_p == enough.p


def test_many_cases_are_scipys_test_and_bootstrap() -> None:
    rng = np.random.default_rng(2)
    baseline, other = rng.normal(0, 1, 40), rng.normal(0.4, 1, 40)
    (got,) = paired_tests([(baseline.tolist(), other.tolist())], bootstrap=4000, seed=1)
    assert got.p == pytest.approx(stats.wilcoxon(other, baseline).pvalue)
    wanted = stats.bootstrap(
        (other - baseline,), np.median, method="percentile", n_resamples=4000, rng=2
    ).confidence_interval
    assert got.ci95 == pytest.approx(tuple(wanted), abs=0.1 * (wanted.high - wanted.low))


def test_the_same_seed_draws_the_same() -> None:
    comparison = signs(1, 2, 3, 4, 5, 7, 11, 13)
    assert paired_tests([comparison], seed=3) == paired_tests([comparison], seed=3)


def test_limits_of_agreement_by_hand() -> None:
    """Differences of -1, 0 and 4: a mean of 1 and a standard deviation of the root of 14 / 2."""
    got = agreement([1.0, 2.0, 7.0, None], [2.0, 2.0, 3.0, 4.0])
    assert (got.cases, got.bias) == (3, pytest.approx(1))
    assert got.limits == pytest.approx((1 - 1.96 * 7**0.5, 1 + 1.96 * 7**0.5))


def test_agreement_of_one_case_and_of_none() -> None:
    assert agreement([3.0], [1.0]) == Agreement(1, 2.0, None)
    assert agreement([None], [1.0]) == Agreement(0, None, None)


def test_sides_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="values: got 1 and 0 cases"):
        paired_tests([([1.0], [])])
