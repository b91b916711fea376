"""The report: the paper's tables beside ours, curves and pictures, as Markdown, CSV and one HTML page."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surfloss._files import write_text
from surfloss._render import csv_table, render
from surfloss.nnunet.plots import case_pictures, training_curves
from surfloss.nnunet.run import Run, read_json


@dataclass(frozen=True)
class Metric:
    """A column of the tables: a metric, its heading, and the factor from its unit to the table's."""

    name: str
    heading: str
    factor: float = 1.0


METRICS = (
    Metric("dice", "Dice [%]", 100),
    Metric("relative_volume_difference", "RVD [%]", 100),
    Metric("hausdorff_distance", "HD [mm]"),
    Metric("surface_dice", "Surface Dice [%]", 100),
)

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
TABLES = {
    "Architectures": ("dice_ce_2d", "dice_ce_3d", "ensemble"),
    "Losses": ("dice_ce_3d", "contour_3d", "hausdorff_3d", "hausdorff_paper_3d"),
}


@dataclass(frozen=True)
class Row:
    """One model: its figures in the paper and here, in the order of METRICS."""

    title: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    null: int  # cases in which a metric is undefined
    cases: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The paper's and our figure of each metric."""
        return list(zip(self.paper, self.ours, strict=True))


def write_report(run: Run) -> Path:
    """Write `report.md`, `.html` and `.csv`, `cases.csv` and the pictures; return the HTML page's path."""
    cross_validation = _rows(run, [f"cross_validation/{model.name}" for model in run.preset.models])
    pictures = {"Training curves": [training_curves(run)], "Validation cases": case_pictures(run)}
    content = {
        "run": run,
        "metrics": METRICS,
        "tables": tables(run),
        "cross_validation": cross_validation,
        "seconds": run.seconds(),
    }
    saved = {}
    for title, images in pictures.items():
        saved[title] = [f"{title.lower().replace(' ', '_')}_{number}.png" for number in range(len(images))]
        for name, image in zip(saved[title], images, strict=True):
            (run.report / name).parent.mkdir(parents=True, exist_ok=True)
            (run.report / name).write_bytes(image)
    write_text(run.report / "report.md", render("surfloss.nnunet", "report.md.j2", pictures=saved, **content))
    embedded = {
        title: [base64.b64encode(image).decode() for image in images] for title, images in pictures.items()
    }
    write_text(
        run.report / "report.html", render("surfloss.nnunet", "report.html.j2", pictures=embedded, **content)
    )
    write_text(run.report / "report.csv", _summary_csv(run))
    write_text(run.report / "cases.csv", _cases_csv(run))
    return run.report / "report.html"


def tables(run: Run) -> dict[str, list[Row]]:
    """The paper's two tables with our figures, as far as the run has come."""
    return {title: rows for title, names in TABLES.items() if (rows := _rows(run, names))}


def mean_dice(run: Run) -> dict[str, float]:
    """The mean Dice of each model, and of the ensemble, on the validation cases."""
    return {name: read_json(run.metrics(name))["summary"]["dice"]["mean"] for name in run.evaluated()}


def _rows(run: Run, names: Iterable[str]) -> list[Row]:
    return [_row(run, name) for name in names if run.metrics(name).exists()]


def _row(run: Run, name: str) -> Row:
    result = read_json(run.metrics(name))
    cases = result["cases"]
    undefined = sum(any(case[metric.name] is None for metric in METRICS) for case in cases)
    ours = tuple(_mean_and_deviation(result["summary"][metric.name], metric.factor) for metric in METRICS)
    return Row(_title(run, name), PAPER.get(name, ("-",) * len(METRICS)), ours, undefined, len(cases))


def _title(run: Run, name: str) -> str:
    titles = {model.name: model.title for model in run.preset.models}
    return titles.get(name.removeprefix("cross_validation/"), "2D + 3D ensemble")


def _mean_and_deviation(summary: dict[str, float | None], factor: float) -> str:
    """Over the cases in which the metric is defined; the table says beside it how many are not."""
    if summary["mean"] is None or summary["std"] is None:
        return "null"
    return f"{summary['mean'] * factor:.1f} ± {summary['std'] * factor:.1f}"


def _summary_csv(run: Run) -> str:
    header = [
        "set",
        "model",
        *(f"{metric.heading} ({part})" for metric in METRICS for part in ("paper", "ours")),
    ]
    rows = []
    for subset, prefix in (("validation", ""), ("cross-validation", "cross_validation/")):
        names = [f"{prefix}{name}" for name in run.evaluated()]
        for name in names:
            if run.metrics(name).exists():
                row = _row(run, name)
                cells = [cell for pair in row.pairs for cell in pair]
                rows.append([subset, row.title, *cells, row.null, row.cases])
    return csv_table([*header, "null cases", "cases"], rows)


def _cases_csv(run: Run) -> str:
    rows: list[list[Any]] = []
    header: list[str] = []
    for path in sorted((run.folder / "metrics").rglob("*.json")):
        name = path.relative_to(run.folder / "metrics").with_suffix("").as_posix()
        for case in read_json(path)["cases"]:
            header = list(case)
            rows.append([name, *case.values()])
    return csv_table(["predictions", *header], rows)
