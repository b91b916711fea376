"""Two values of each case: paired tests between methods, and the agreement of two measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss.metrics.summary import bootstrap_interval

Values = Sequence[float | None]

LEAST_CASES = 6
"""With fewer that differ, the exact two-sided test cannot reach p < 0.05, whatever the values are."""


@dataclass(frozen=True)
class PairedTest:
    """How one method's values differ from another's on the same cases; None where nothing was tested."""

    cases: int  # in which both are defined
    undefined: int  # in which at least one is not
    median_difference: float | None  # other minus baseline, in the values' unit
    ci95: tuple[float, float] | None  # of the median difference
    p: float | None
    corrected_p: float | None  # Holm's, over the comparisons that are tested together


def paired_tests(
    comparisons: Sequence[tuple[Values, Values]], *, bootstrap: int = 1000, seed: int = 0
) -> list[PairedTest]:
    """Wilcoxon's signed-rank test, two-sided, for each comparison, corrected over all of them.

    Cases without a difference enter no test (Wilcoxon 1945, Biometrics Bulletin 1:80), and with fewer than
    `LEAST_CASES` others there is none. The p-values of those tested are corrected by `holm`. The interval of
    the median is the percentile interval over bootstrap samples (Efron & Tibshirani 1993).

    Args:
        comparisons: pairs `(baseline, other)` of one value a case, in the same order of cases; None where a
            value is undefined. All comparisons of one metric belong into one call.
        bootstrap: samples of the interval.
        seed: of the drawing; every comparison draws anew from it.

    Raises:
        ValueError: if the two sides of a comparison are not of one length.
    """
    differences = [_differences(baseline, other) for baseline, other in comparisons]
    p_values = [_wilcoxon(values) for values in differences]
    corrected = iter(holm([p for p in p_values if p is not None]))
    return [
        PairedTest(
            cases=len(values),
            undefined=len(baseline) - len(values),
            median_difference=float(np.median(values)) if len(values) else None,
            ci95=None if p is None else bootstrap_interval(np.median, values, samples=bootstrap, seed=seed),
            p=p,
            corrected_p=None if p is None else next(corrected),
        )
        for (baseline, _), values, p in zip(comparisons, differences, p_values, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure (1979, Scandinavian Journal of Statistics 6:65).

    The k-th smallest of m is multiplied by m - k + 1; none is smaller than one before it, none above 1.
    """
    order = np.argsort(p_values)
    scaled = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's numbers for a measurement against a reference, in the unit of both."""

    cases: int
    bias: float | None  # mean of measurement minus reference
    limits: tuple[float, float] | None  # bias ± 1.96 standard deviations; None with fewer than two cases


def agreement(measured: Values, reference: Values) -> Agreement:
    """Bias and 95 % limits of agreement (Bland & Altman 1986, Lancet 327:307).

    Args:
        measured, reference: one value a case in the same order; cases without both are left out.

    Raises:
        ValueError: if the two are not of one length.
    """
    differences = _differences(reference, measured)
    if not len(differences):
        return Agreement(0, None, None)
    bias = float(differences.mean())
    if len(differences) < 2:
        return Agreement(len(differences), bias, None)
    reach = 1.96 * float(differences.std(ddof=1))
    return Agreement(len(differences), bias, (bias - reach, bias + reach))


def _differences(baseline: Values, other: Values) -> npt.NDArray[np.float64]:
    """Other minus baseline, of the cases that have both."""
    if len(baseline) != len(other):
        fail("values", f"{len(baseline)} and {len(other)} cases", "the same cases on both sides")
    pairs = zip(baseline, other, strict=True)
    return np.array([b - a for a, b in pairs if a is not None and b is not None], dtype=np.float64)


def _wilcoxon(differences: npt.NDArray[np.float64]) -> float | None:
    from scipy import stats

    differing = differences[differences != 0]
    return float(stats.wilcoxon(differing).pvalue) if len(differing) >= LEAST_CASES else None
