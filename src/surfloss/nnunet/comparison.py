"""Losses compared case by case: paired tests, and how well predicted volumes agree with the true ones."""

from itertools import combinations

from surfloss._render import TextTable
from surfloss.metrics.paired import LEAST_CASES, PairedTest, agreement, paired_tests
from surfloss.nnunet.experiments import Model
from surfloss.nnunet.results import METRICS, Cases, Metric, families, paired, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder

HD95 = Metric("hausdorff_distance_95", "HD95 [mm]")
TESTED = (*METRICS[:3], HD95, *METRICS[3:])
VOLUMES = {
    "voxel volume": ("volume_ml", "target_volume_ml"),
    "ABC/2": ("abc2_volume_ml", "target_abc2_volume_ml"),
}
"""How a volume is measured, and the metrics' names for the prediction and the target."""


def comparison_table(run: RunFolder, prefix: str = "") -> TextTable | None:
    """Every two losses of one configuration against each other; None with fewer than two evaluated.

    Args:
        prefix: of the predictions' names, as `results.CROSS_VALIDATION`; nothing for the validation cases.
    """
    cases = {model: read_cases(run, f"{prefix}{model.name}") for model in run.experiment.models}
    pairs = [
        pair
        for models in families(run).values()
        for pair in combinations([model for model in models if cases[model]], 2)
    ]
    if not pairs:
        return None
    rows = []
    for metric in TESTED:
        tests = paired_tests([paired(cases[baseline], cases[other], metric) for baseline, other in pairs])
        for models, test in zip(pairs, tests, strict=True):
            rows.append([metric.heading, versus(*models), *_cells(test, metric)])
    return TextTable(
        "Paired tests, cross-validation" if prefix else "Paired tests, validation cases",
        ("Metric", "Losses", "n", "Undefined", "Median difference", "95 % interval", "p", "p (Holm)"),
        rows,
        "Differences are first minus second loss, case by case. Wilcoxon signed-rank, two-sided; Holm's "
        "correction over the comparisons of a metric; bootstrap interval of the median. Fewer than "
        f"{LEAST_CASES} cases that differ are not tested. Cases undefined with either loss are left out, "
        "so that an empty prediction costs no distance: read their number too.",
        text_columns=2,
    )


def agreement_table(run: RunFolder) -> TextTable:
    """Bias and limits of agreement of every model's volumes, by voxels and by ABC/2."""
    rows = []
    for name in run.evaluated():
        cases = read_cases(run, name)
        for method in VOLUMES:
            got = agreement(*volumes(cases, method))
            bias = "-" if got.bias is None else f"{got.bias:+.2f}"
            limits = "-" if got.limits is None else "{:+.2f} to {:+.2f}".format(*got.limits)
            rows.append([title_of(run, name), method, str(got.cases), bias, limits])
    return TextTable(
        "Agreement of volumes",
        ("Model", "Measured by", "n", "Bias [ml]", "95 % limits of agreement [ml]"),
        rows,
        "Predicted minus true volume, both measured in the same way (Bland & Altman 1986). "
        "An empty prediction counts as 0 ml.",
        text_columns=2,
    )


def volumes(cases: Cases, method: str) -> tuple[list[float | None], list[float | None]]:
    """The predicted and the true volume of each case in ml, measured in one of the ways of `VOLUMES`."""
    prediction, target = ([values[name] for values in cases.values()] for name in VOLUMES[method])
    return prediction, target


def versus(baseline: Model, other: Model) -> str:
    """Two losses of one network, the second first, as their difference is taken."""
    return f"{baseline.network}: {other.loss} vs {baseline.loss}"


def _cells(test: PairedTest, metric: Metric) -> list[str]:
    difference, interval = "-", "-"
    if test.median_difference is not None:
        difference = f"{test.median_difference * metric.factor:+.2f}"
    if test.ci95 is not None:
        interval = "{:+.2f} to {:+.2f}".format(*(limit * metric.factor for limit in test.ci95))
    if test.p is None or test.corrected_p is None:
        few = "n" if test.cases < LEAST_CASES else "differing"
        p_values = [f"{few} < {LEAST_CASES}: not tested", "-"]
    else:
        p_values = [_p(test.p), _p(test.corrected_p)]
    return [str(test.cases), str(test.undefined), difference, interval, *p_values]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
