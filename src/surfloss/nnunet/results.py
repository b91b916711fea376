"""The numbers of a run, as far as it has come: the paper's tables, and every case of every model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from surfloss.metrics import FolderEvaluation
from surfloss.nnunet.experiments import Model
from surfloss.nnunet.run_folder import CROSS_VALIDATION, RunFolder, read_json

Values: TypeAlias = Mapping[str, float | None]
"""The metrics of one case by name; None where undefined."""
Cases: TypeAlias = Mapping[str, Values]
"""The values of each case of a set of predictions."""


@dataclass(frozen=True)
class Metric:
    """A metric, its heading in tables, and the factor from its unit to the heading's."""

    name: str
    heading: str
    factor: float = 1.0


METRICS = (
    Metric("dice", "Dice [%]", 100),
    Metric("relative_volume_difference", "RVD [%]", 100),
    Metric("hausdorff_distance", "HD [mm]"),
    Metric("surface_dice", "Surface Dice [%]", 100),
)
"""The columns of the paper's tables."""

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
    """One model: its figures in the paper and here, in the order of METRICS; `MISSING` without a result."""

    title: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    null: int  # cases in which a metric is undefined
    cases: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The paper's and our figure of each metric."""
        return list(zip(self.paper, self.ours, strict=True))


def tables(run: RunFolder) -> dict[str, list[ModelRow]]:
    """The paper's two tables with our figures, a row per model; what has no result yet is missing."""
    architectures = [name for name in run.evaluated() if name in ("dice_ce_2d", "dice_ce_3d", "ensemble")]
    losses = [model.name for models in families(run).values() if len(models) > 1 for model in models]
    named = {"Architectures": architectures, "Losses": losses}
    return {title: rows(run, names) for title, names in named.items() if names}


def families(run: RunFolder) -> dict[str, list[Model]]:
    """Models of one network configuration; the first is the one that the others are compared with."""
    groups: dict[str, list[Model]] = {}
    for model in run.experiment.models:
        groups.setdefault(model.configuration, []).append(model)
    return groups


def cross_validated(run: RunFolder) -> list[str]:
    """Names of the predictions of the held-out cases, in the order of the models."""
    return [CROSS_VALIDATION + model.name for model in run.experiment.models]


def rows(run: RunFolder, names: Iterable[str]) -> list[ModelRow]:
    """A row for each set of predictions."""
    found = []
    for name in names:
        evaluation, cases = read_evaluation(run, name), read_cases(run, name)
        ours = tuple(_mean_and_spread(evaluation, metric) for metric in METRICS)
        null = sum(any(values[metric.name] is None for metric in METRICS) for values in cases.values())
        paper = PAPER.get(name, ("-",) * len(METRICS))
        found.append(ModelRow(title_of(run, name), paper, ours, null, len(cases)))
    return found


def mean_dice(run: RunFolder) -> dict[str, float]:
    """The mean Dice of each model, and of the ensemble, on the validation cases; 0 where it has none."""
    evaluations = {name: read_evaluation(run, name) for name in run.evaluated()}
    return {name: (found and found.summary["dice"].mean) or 0.0 for name, found in evaluations.items()}


def read_evaluation(run: RunFolder, name: str) -> FolderEvaluation | None:
    """The evaluation of a set of predictions; None where there is none yet."""
    path = run.metrics(name)
    return FolderEvaluation.from_dict(read_json(path)) if path.exists() else None


def read_cases(run: RunFolder, name: str) -> Cases:
    """The values of every case of a set of predictions; empty where it has not been evaluated."""
    evaluation = read_evaluation(run, name)
    return {case.case: case.values for case in evaluation.cases} if evaluation else {}


def paired(baseline: Cases, other: Cases, metric: Metric) -> tuple[list[float | None], list[float | None]]:
    """A metric of two sets of predictions, of the cases that both have."""
    shared = [case for case in baseline if case in other]
    return [baseline[case][metric.name] for case in shared], [other[case][metric.name] for case in shared]


def title_of(run: RunFolder, name: str) -> str:
    """A readable name for a set of predictions."""
    titles = {model.name: model.title for model in run.experiment.models}
    return titles.get(name.removeprefix(CROSS_VALIDATION), "2D + 3D ensemble")


def _mean_and_spread(evaluation: FolderEvaluation | None, metric: Metric) -> str:
    """Over the cases in which the metric is defined; the table says beside it how many are not."""
    if evaluation is None:
        return MISSING
    summary = evaluation.summary[metric.name]
    if summary.mean is None or summary.std is None:
        return "null"
    return f"{summary.mean * metric.factor:.1f} ± {summary.std * metric.factor:.1f}"
