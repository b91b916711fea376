"""The numbers of a run, as far as it has come: its tables, and every case of every model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from surfloss.metrics import FolderEvaluation
from surfloss.nnunet.experiments import Contender, Model
from surfloss.nnunet.run_folder import RunFolder, read_json

Values: TypeAlias = Mapping[str, float | None]
"""The metrics of one class of a case by name; None where undefined."""
Cases: TypeAlias = Mapping[str, Mapping[str, Values]]
"""The values of each case and class of a set of predictions."""


@dataclass(frozen=True)
class Metric:
    """A metric, its heading in tables, and the factor from its unit to the heading's."""

    name: str
    heading: str
    factor: float = 1.0


DICE = Metric("dice", "Dice [%]", 100)
HD95 = Metric("hausdorff_distance_95", "HD95 [mm]")
SURFACE_DICE = Metric("surface_dice", "Surface Dice [%]", 100)
PAPER_METRICS = (
    DICE,
    Metric("relative_volume_difference", "RVD [%]", 100),
    Metric("hausdorff_distance", "HD [mm]"),
    SURFACE_DICE,
)
"""The columns of the paper's tables."""
METRICS = (DICE, HD95, SURFACE_DICE)
"""Those on which losses are compared."""

# Sanner & Mukhopadhyay, "Perimeter-based Loss Evaluation for ICH Segmentation on NCCT": mean and standard
# deviation over the 30 validation cases. "null": a prediction was empty. The paper's Hausdorff column is
# not in mm; it is printed as published.
PAPER: dict[str, tuple[str, ...]] = {
    "dice_ce_2d": ("71.0 ± 30.0", "29.3 ± 30.3", "null", "49.6 ± 20.9"),
    "dice_ce_3d": ("72.8 ± 28.3", "25.5 ± 27.4", "2973.4 ± 3102.7", "51.5 ± 19.2"),
    "ensemble": ("71.6 ± 30.1", "28.9 ± 30.1", "null", "50.6 ± 21.3"),
    "contour_3d": ("69.1 ± 29.5", "25.1 ± 23.8", "4056.8 ± 3940.7", "48.3 ± 19.9"),
    "hausdorff_paper_3d": ("2-5 (training)", "-", "-", "-"),
}
MISSING = "missing"


@dataclass(frozen=True)
class ModelRow:
    """One model or ensemble: its figures in the paper and here; `MISSING` without a result."""

    title: str
    paper: tuple[str, ...]  # empty where the run does not follow the paper
    ours: tuple[str, ...]
    null: int  # cases and classes in which a metric is undefined
    cases: int  # times classes

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The paper's and our figure of each metric."""
        return list(zip(self.paper, self.ours, strict=True))


@dataclass(frozen=True)
class ResultTable:
    """A table of results: its columns and a row for each model."""

    title: str
    metrics: tuple[Metric, ...]
    rows: Sequence[ModelRow]


def tables(run: RunFolder) -> list[ResultTable]:
    """What a run answers, as far as it has come.

    Of the paper's experiment its two tables with our figures; else a table for all classes and, with several,
    one for each class.
    """
    if run.experiment.follows_paper:
        architectures = [name for name in run.evaluated() if name in ("dice_ce_2d", "dice_ce_3d", "ensemble")]
        losses = [run.part + one.name for family in families(run) if len(family) > 1 for one in family]
        named = {"Architectures": architectures, "Losses": losses}
        return [
            ResultTable(title, PAPER_METRICS, rows(run, names, PAPER_METRICS))
            for title, names in named.items()
            if names
        ]
    classes = classes_of(run)
    found = [ResultTable("All classes", METRICS, rows(run, run.evaluated(), METRICS))]
    if len(classes) > 1:
        found += [
            ResultTable(f"Class {name}", METRICS, rows(run, run.evaluated(), METRICS, name))
            for name in classes
        ]
    return found


def families(run: RunFolder) -> list[list[Contender]]:
    """What is compared: models of one network configuration, or ensembles; each with the first one."""
    groups: dict[str, list[Contender]] = {}
    for contender in run.experiment.contenders:
        groups.setdefault(contender.configuration, []).append(contender)
    return list(groups.values())


def classes_of(run: RunFolder) -> list[str]:
    """The classes or regions that were evaluated; none where nothing was yet."""
    for name in run.evaluated() + run.cross_validated():
        if (evaluation := read_evaluation(run, name)) and evaluation.settings.labels:
            return list(evaluation.settings.labels)
    return []


def rows(
    run: RunFolder, names: Iterable[str], metrics: Sequence[Metric], one_class: str | None = None
) -> list[ModelRow]:
    """A row for each set of predictions, over all classes or of one."""
    found = []
    for name in names:
        evaluation = read_evaluation(run, name)
        values = [
            each
            for classes in _by_case(evaluation).values()
            for label, each in classes.items()
            if one_class in (None, label)
        ]
        ours = tuple(_mean_and_spread(evaluation, metric, one_class) for metric in metrics)
        null = sum(any(each[metric.name] is None for metric in metrics) for each in values)
        paper = PAPER.get(name, ("-",) * len(metrics)) if run.experiment.follows_paper else ()
        found.append(ModelRow(title_of(run, name), paper, ours, null, len(values)))
    return found


def mean_dice(run: RunFolder) -> dict[str, float]:
    """The mean Dice of each model and ensemble, on the cases that it is compared on; 0 where it has none."""
    evaluations = {name: read_evaluation(run, name) for name in run.evaluated()}
    return {name: (found and found.summary["dice"].mean) or 0.0 for name, found in evaluations.items()}


def read_evaluation(run: RunFolder, name: str) -> FolderEvaluation | None:
    """The evaluation of a set of predictions; None where there is none yet."""
    path = run.metrics(name)
    return FolderEvaluation.from_dict(read_json(path)) if path.exists() else None


def read_cases(run: RunFolder, name: str) -> Cases:
    """The values of every case of a set of predictions; empty where it has not been evaluated."""
    return _by_case(read_evaluation(run, name))


def _by_case(evaluation: FolderEvaluation | None) -> Cases:
    found: dict[str, dict[str, Values]] = {}
    for row in evaluation.cases if evaluation else ():
        found.setdefault(row.case, {})[row.label] = row.values
    return found


def paired(
    baseline: Cases, other: Cases, metric: Metric, one_class: str | None = None
) -> tuple[list[float | None], list[float | None]]:
    """A metric of two sets of predictions, of the cases that both have.

    Of a case it is the mean over the classes in which both have a value, or the value of one class.
    """
    sides: tuple[list[float | None], list[float | None]] = ([], [])
    for case in (case for case in baseline if case in other):
        pairs = [
            (baseline[case][label][metric.name], other[case][label][metric.name])
            for label in baseline[case]
            if one_class in (None, label)
        ]
        defined = [pair for pair in pairs if None not in pair]
        for side, values in zip(sides, zip(*defined, strict=True) if defined else (None, None), strict=True):
            side.append(None if values is None else float(np.mean(values)))
    return sides


def mean_over_classes(values: Mapping[str, Values], metric: str) -> float | None:
    """A metric of one case over the classes in which it is defined; None where it is in none."""
    defined = [value for each in values.values() if (value := each[metric]) is not None]
    return float(np.mean(defined)) if defined else None


def epoch_seconds(run: RunFolder, model: Model) -> float | None:
    """The median time of a model's epochs over all folds, validation included; None before the first."""
    seconds: list[float] = []
    for fold in range(run.experiment.folds):
        if (path := run.training_log(model, fold)).exists():
            log = read_json(path)
            starts, ends = (log.get(f"epoch_{what}_timestamps", []) for what in ("start", "end"))
            seconds += [end - start for start, end in zip(starts, ends, strict=False)]
    return float(np.median(seconds)) if seconds else None


def title_of(run: RunFolder, name: str) -> str:
    """A readable name for a set of predictions."""
    return run.contender(name).title


def _mean_and_spread(evaluation: FolderEvaluation | None, metric: Metric, one_class: str | None) -> str:
    """Over the cases in which the metric is defined; the table says beside it how many are not."""
    if evaluation is None:
        return MISSING
    summaries = evaluation.summary if one_class is None else evaluation.summary_by_label[one_class]
    summary = summaries[metric.name]
    if summary.mean is None or summary.std is None:
        return "null"
    return f"{summary.mean * metric.factor:.1f} ± {summary.std * metric.factor:.1f}"
