"""Losses compared case by case: paired tests, what they come to, and how well predicted volumes agree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from surfloss._render import TextTable
from surfloss.metrics.paired import LEAST_CASES, PairedTest, agreement, paired_tests
from surfloss.nnunet.experiments import Contender, Model
from surfloss.nnunet.results import (
    HD95,
    METRICS,
    PAPER_METRICS,
    Cases,
    Metric,
    classes_of,
    epoch_seconds,
    families,
    paired,
    read_cases,
    title_of,
)
from surfloss.nnunet.run_folder import CROSS_VALIDATION, RunFolder

VOLUMES = {
    "voxel volume": ("volume_ml", "target_volume_ml"),
    "ABC/2": ("abc2_volume_ml", "target_abc2_volume_ml"),
}
"""How a volume is measured, and the metrics' names for the prediction and the target."""
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """A loss against the first one of its networks, in one metric."""

    baseline: Contender
    other: Contender
    one_class: str | None  # None for the mean over the classes of a case
    metric: Metric
    test: PairedTest

    @property
    def title(self) -> str:
        return f"{self.baseline.network}: {self.other.loss} vs {self.baseline.loss}"

    @property
    def term(self) -> str:
        """What the loss adds to the baseline."""
        return self.other.loss.removeprefix(f"{self.baseline.loss}+")

    @property
    def is_significant(self) -> bool:
        return self.test.corrected_p is not None and self.test.corrected_p < _SIGNIFICANT

    @property
    def difference(self) -> str:
        """With its interval, in the unit of the metric's heading."""
        test, factor = self.test, self.metric.factor
        if test.median_difference is None:
            return "-"
        shown = f"{test.median_difference * factor:+.2f}"
        if test.ci95 is None:
            return shown
        return f"{shown} ({test.ci95[0] * factor:+.2f} to {test.ci95[1] * factor:+.2f})"


def comparisons(run: RunFolder, part: str) -> list[Comparison]:
    """Every evaluated loss against the first one of its networks: the mean over classes, then each class.

    P-values are corrected over the losses and networks of a metric, for the mean and for each class apart.

    Args:
        part: what the names of the predictions begin with.
    """
    cases = {one: read_cases(run, part + one.name) for one in run.experiment.contenders}
    pairs = [
        (family[0], other)
        for family in families(run)
        for other in family[1:]
        if cases[family[0]] and cases[other]
    ]
    classes = classes_of(run)
    found = []
    for one_class in [None, *(classes if len(classes) > 1 else [])]:
        for metric in _tested(run):
            values = [paired(cases[baseline], cases[other], metric, one_class) for baseline, other in pairs]
            found += [
                Comparison(baseline, other, one_class, metric, test)
                for (baseline, other), test in zip(pairs, paired_tests(values), strict=True)
            ]
    return found


def _tested(run: RunFolder) -> tuple[Metric, ...]:
    if run.experiment.follows_paper:
        return (*PAPER_METRICS[:3], HD95, *PAPER_METRICS[3:])
    return METRICS


def part_name(run: RunFolder, part: str) -> str:
    """What the cases of a part are called."""
    if part == CROSS_VALIDATION:
        return "cross-validation"
    return "validation cases" if run.experiment.follows_paper else "test cases"


def comparison_table(run: RunFolder, part: str) -> TextTable | None:
    """Every loss against the first one of its networks; None with fewer than two evaluated.

    Args:
        part: what the names of the predictions begin with.
    """
    found = comparisons(run, part)
    if not found:
        return None
    with_classes = any(one.one_class for one in found)
    rows = [
        [one.metric.heading, *([one.one_class or "mean"] if with_classes else []), one.title, *_cells(one)]
        for one in found
    ]
    classes = ["Class"] if with_classes else []
    return TextTable(
        f"Paired tests, {part_name(run, part)}",
        ("Metric", *classes, "Losses", "n", "Undefined", "Median difference", "p", "p (Holm)"),
        rows,
        "Differences are first minus second loss, case by case, with the 95 % bootstrap interval of their "
        "median. Wilcoxon signed-rank, two-sided; Holm's correction over the comparisons of a metric"
        f"{', for the mean over classes and for each class apart' if with_classes else ''}. Fewer than "
        f"{LEAST_CASES} cases that differ are not tested. Cases undefined with either loss are left out, "
        "so that an empty prediction costs no distance: read their number too.",
        text_columns=2 + with_classes,
    )


def _cells(one: Comparison) -> list[str]:
    test = one.test
    if test.p is None or test.corrected_p is None:
        few = "n" if test.cases < LEAST_CASES else "differing"
        p_values = [f"{few} < {LEAST_CASES}: not tested", "-"]
    else:
        p_values = [_p(test.p), _p(test.corrected_p)]
    return [str(test.cases), str(test.undefined), one.difference, *p_values]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def answer(run: RunFolder, found: Sequence[Comparison]) -> str:
    """The comparisons of a run in a few sentences."""
    tested = [one for one in found if one.one_class is None and one.test.p is not None]
    tested = [one for one in tested if one.metric in METRICS]
    if not tested:
        return "No two losses could be compared yet."
    repeats = {(one.other.network, one.metric): one for one in tested if one.other.repeat}
    losses = [one for one in tested if not one.other.repeat]
    clear = [one for one in losses if one.is_significant]
    told = [one for one in clear if not _is_chance(one, repeats)]
    cases = max(one.test.cases for one in tested)
    how = "by cross-validation" if run.part == CROSS_VALIDATION else f"({part_name(run, '')})"
    pairs = len({(one.baseline, one.other) for one in losses})
    beyond = " by more than chance" if repeats else ""
    sentences = [
        f"{_count(pairs, 'comparison')} with {tested[0].baseline.loss} on {cases} cases {how}.",
        f"Better{beyond}: {_told(told, True)}.",
        f"Worse{beyond}: {_told(told, False)}.",
        f"These are median differences in {', '.join(map(_short, METRICS))} with p < {_SIGNIFICANT} "
        "(Wilcoxon, after Holm's correction).",
    ]
    if repeats:
        sizes = "; ".join(_sizes(list(repeats.values())))
        sentences.append(
            f"Chance is what the baseline differs by when it is trained again with other seeds: {sizes}."
        )
        if within := len(clear) - len(told):
            sentences.append(f"Not listed: {_count(within, 'clear difference')} no larger than chance.")
    else:
        sentences.append(
            "Each loss was trained once per fold. The test knows cases, not trainings: a small difference "
            "may be the luck of a training."
        )
    return " ".join(sentences)


def _is_chance(one: Comparison, repeats: Mapping[tuple[str, Metric], Comparison]) -> bool:
    """Whether the repeated baseline of the same networks differs as much, to either side."""
    repeat = repeats.get((one.other.network, one.metric))
    return repeat is not None and abs(_points(one)) <= abs(_points(repeat))


def _sizes(found: Sequence[Comparison]) -> list[str]:
    """Differences by network, each metric with its size."""
    by_network: dict[str, list[str]] = {}
    for one in found:
        by_network.setdefault(one.other.network, []).append(f"{_short(one.metric)} {_points(one):+.2f}")
    return [f"{', '.join(values)} in the {network}" for network, values in by_network.items()]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _told(clear: Sequence[Comparison], better: bool) -> str:
    """Which losses are clearly better, or worse, and in what."""
    by_pair: dict[str, list[str]] = {}
    for one in clear:
        if _is_gain(one) == better:
            values = by_pair.setdefault(f"{one.term} in the {one.other.network}", [])
            values.append(f"{_short(one.metric)} {_points(one):+.2f}")
    return "; ".join(f"{name} ({', '.join(values)})" for name, values in by_pair.items()) or "none"


def _short(metric: Metric) -> str:
    return metric.heading.split(" [", maxsplit=1)[0]


def _points(one: Comparison) -> float:
    return (one.test.median_difference or 0.0) * one.metric.factor


def _is_gain(one: Comparison) -> bool:
    return (_points(one) < 0) == (one.metric is HD95)


def time_table(run: RunFolder) -> TextTable:
    """How long the epochs of each model took, and relative to the first loss."""
    rows = []
    for family in families(run):
        models = [model for model in family if isinstance(model, Model)]
        seconds = [epoch_seconds(run, model) for model in models]
        for model, own in zip(models, seconds, strict=True):
            relative = f"{own / seconds[0]:.2f}" if own and seconds[0] else "-"
            rows.append([model.title, "-" if own is None else f"{own:.1f}", relative])
    return TextTable(
        "Time of an epoch",
        ("Model", "Median [s]", "Relative to the first loss"),
        rows,
        "Training and validation patches, over the epochs of all folds. Where trainings ran side by side, "
        "they slowed each other.",
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
    """The predicted and the true volume of each case and class in ml, measured in a way of `VOLUMES`."""
    every = [values for classes in cases.values() for values in classes.values()]
    prediction, target = ([values[name] for values in every] for name in VOLUMES[method])
    return prediction, target


def shown_parts(run: RunFolder) -> Iterator[str]:
    """The parts on which losses are compared, the one that counts first."""
    yield run.part
    if run.cross_validated():
        yield CROSS_VALIDATION
