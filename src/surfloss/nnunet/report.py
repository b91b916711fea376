"""The report of a run, finished or not: one HTML page, and its tables as Markdown, CSV and LaTeX."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from surfloss._figures import Picture
from surfloss._files import write_text, written_whole
from surfloss._render import TextTable, cell, csv_table, latex_table, render
from surfloss.nnunet.comparison import agreement_table, comparison_table
from surfloss.nnunet.pictures import case_pictures, failure_pictures, failure_table, failures
from surfloss.nnunet.plots import bland_altman, paired_cases, training_curves
from surfloss.nnunet.results import (
    CROSS_VALIDATION,
    METRICS,
    Case,
    Row,
    mean_dice,
    read_cases,
    rows,
    tables,
    title_of,
)
from surfloss.nnunet.run_folder import RunFolder, read_json

__all__ = ["METRICS", "Row", "mean_dice", "tables", "write_report"]


@dataclass(frozen=True)
class Section:
    """A part of the report; the anchor names it in links and in the files of its pictures."""

    anchor: str
    title: str
    text: str = ""
    tables: Sequence[TextTable] = ()
    folded: Sequence[TextTable] = ()  # tables that the page opens on demand, and Markdown leaves out
    pictures: Sequence[Picture] = ()
    sortable: bool = False
    published: bool = field(default=True, kw_only=True)  # whether its tables are written as LaTeX

    def picture_file(self, number: int) -> str:
        return f"{self.anchor}_{number}.png"


def write_report(run: RunFolder) -> Path:
    """Write `report.html`, `.md`, `.csv` and `.tex`, the CSV files of tests, volumes and cases, and pictures.

    What the run has not come to is named as missing. Returns the HTML page's path.
    """
    sections = [section for section in _sections(run) if section.tables or section.folded or section.pictures]
    content = {"run": run, "about": _about(run), "missing": _missing(run), "sections": sections}
    for section in sections:
        for number, picture in enumerate(section.pictures):
            with written_whole(run.report / section.picture_file(number)) as unfinished:
                unfinished.write_bytes(picture.png)
    published = [table for section in sections if section.published for table in section.tables]
    files = {
        "report.md": render("surfloss.nnunet", "report.md.j2", **content),
        "report.csv": _summary_csv(run),
        "cases.csv": _cases_csv(run),
        "report.tex": "% \\usepackage{booktabs}\n\n" + "\n".join(map(latex_table, published)),
        **{f"{section.anchor}.csv": _joined_csv(section.tables) for section in sections
           if section.anchor in ("tests", "volumes", "failures")},
        "report.html": render("surfloss.nnunet", "report.html.j2", **content),
    }  # fmt: skip
    for name, text in files.items():
        write_text(run.report / name, text)
    return run.report / "report.html"


def _sections(run: RunFolder) -> Iterable[Section]:
    yield Section(
        "run",
        "What was run",
        "Software as it was when this report was written.",
        [_settings(run), _models(run)],
        [_times(run)],
        published=False,
    )
    shown = [_figures(title, found) for title, found in tables(run).items()]
    held_out = rows(run, [f"{CROSS_VALIDATION}{model.name}" for model in run.experiment.models])
    yield Section(
        "results",
        "Results",
        "Mean ± standard deviation over the cases in which a metric is defined, and beside it the number "
        "of cases in which one is not (“null”: a mask is empty). The paper's Hausdorff column is printed as "
        "published; it is not in mm.",
        [
            *shown,
            _figures("Cross-validation", held_out, "Each training case by the fold that did not see it."),
        ],
    )
    tests = [comparison_table(run), comparison_table(run, CROSS_VALIDATION)]
    yield Section(
        "tests",
        "Paired tests",
        "Whether two losses differ on the same cases. In cross-validation the trainings behind different "
        "cases share most of their data, so that its p-values are somewhat too small.",
        [table for table in tests if table],
    )
    yield Section("curves", "Training curves", pictures=[curves] if (curves := training_curves(run)) else [])
    yield Section(
        "pairs",
        "Losses, case by case",
        "Each line is a case; a black diamond is the median. Undefined values are counted and not drawn.",
        pictures=list(paired_cases(run)),
    )
    yield Section("volumes", "Volumes", tables=[agreement_table(run)], pictures=list(bland_altman(run)))
    found = failures(run)
    yield Section(
        "failures",
        "Failures",
        "Pictures of up to three of them a model." if found else "",
        [failure_table(run, found)] if found else [],
        pictures=list(failure_pictures(run, found)),
        published=False,
    )
    yield Section("cases", "Validation cases", pictures=list(case_pictures(run)))
    names = run.evaluated() + [f"{CROSS_VALIDATION}{model.name}" for model in run.experiment.models]
    yield Section(
        "values",
        "All values",
        "Distances in mm, volumes in ml. A click on a heading sorts.",
        folded=_all_values(run, names),
        sortable=True,
    )


def _about(run: RunFolder) -> str:
    if run.data is not None:
        return f"Data: {run.data.name}."
    phantom = run.experiment.phantom
    assert phantom is not None
    size = "x".join(map(str, phantom.size))
    return (
        f"Data: the synthetic phantom ({phantom.cases} cases of {size} voxels). Its figures show that "
        "the pipeline works; they say nothing about patients, and the paper's are printed beside them for "
        "the layout only."
    )


def _missing(run: RunFolder) -> list[str]:
    held_out = [
        model for model in run.experiment.models if not run.metrics(CROSS_VALIDATION + model.name).exists()
    ]
    validation = [title_of(run, name) for name in run.evaluated() if not run.metrics(name).exists()]
    return validation + [f"cross-validation of {model.title}" for model in held_out]


def _settings(run: RunFolder) -> TextTable:
    preset = asdict(run.experiment)
    phantom = preset.pop("phantom")
    settings: dict[str, Any] = {"data": run.data or f"the phantom ({_plain(phantom)})"}
    settings |= {name.replace("_", " "): value for name, value in preset.items() if name != "models"}
    settings["device"] = _device(run.device)
    settings["machine"] = f"{platform.platform()}, {os.cpu_count()} CPUs"
    settings["Python"] = platform.python_version()
    for package in ("surfloss", "torch", "nnunetv2", "numpy", "scipy"):
        settings[package] = _version(package)
    cells = [(name, "nnU-Net's own" if value is None else _plain(value)) for name, value in settings.items()]
    return TextTable("Settings and versions", ("Setting", "Value"), cells, text_columns=2)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _device(device: str) -> str:
    """The device that networks ran on, with its name where this process sees it too."""
    import torch

    seen = device == "cuda" and torch.cuda.is_available()
    return f"cuda, {torch.cuda.get_device_name()}" if seen else device


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _models(run: RunFolder) -> TextTable:
    lines = []
    for model in run.experiment.models:
        trained = sum(run.training_log(model, fold).exists() for fold in range(run.experiment.folds))
        cases = [read_cases(run, prefix + model.name) for prefix in ("", CROSS_VALIDATION)]
        evaluated = ["missing" if found is None else str(len(found)) for found in cases]
        folds = f"{trained} of {run.experiment.folds}"
        lines.append((model.title, model.configuration, model.trainer, folds, *evaluated))
    return TextTable(
        "Models",
        ("Model", "Configuration", "Trainer", "Folds trained", "Validation cases", "Cross-validation cases"),
        lines,
        text_columns=3,
    )


def _times(run: RunFolder) -> TextTable:
    jobs = run.seconds()
    stages: dict[str, float] = {}
    for job, seconds in jobs.items():
        stage = job.split("/", maxsplit=1)[0]
        stages[stage] = stages.get(stage, 0) + seconds
    lines = [(f"{stage}, all jobs", _clock(seconds)) for stage, seconds in stages.items()]
    lines += [(job, _clock(seconds)) for job, seconds in jobs.items() if "/" in job]
    return TextTable(
        "Time of each stage and job", ("Job", "Time"), lines, "From a job's last start to its end."
    )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _figures(title: str, found: list[Row], note: str = "") -> TextTable:
    """Rows of the paper's form; without the paper's figures where it has none of these."""
    paper = any(set(row.paper) != {"-"} for row in found)
    parts = ("paper", "ours") if paper else ("ours",)
    header = [f"{metric.heading} {part}" if paper else metric.heading for metric in METRICS for part in parts]
    lines = [
        (row.title, *[cell for pair in row.pairs for cell in pair[-len(parts) :]], f"{row.null}/{row.cases}")
        for row in found
    ]
    return TextTable(title, ("Model", *header, "Null cases"), lines, note)


def _all_values(run: RunFolder, names: Iterable[str]) -> list[TextTable]:
    shown = []
    for name in names:
        if cases := read_cases(run, name):
            headings = [key for key in cases[0] if key not in ("label", "problem")]
            lines = [[cell(case[key]) for key in headings] for case in cases]
            prefix = "Cross-validation: " if name.startswith(CROSS_VALIDATION) else ""
            readable = [heading.replace("_", " ") for heading in headings]
            shown.append(TextTable(f"{prefix}{title_of(run, name)}", readable, lines))
    return shown


def _joined_csv(found: Sequence[TextTable]) -> str:
    """Tables of one form, one below the other, with a column that tells them apart."""
    return csv_table(
        ("table", *found[0].header), [(table.title, *row) for table in found for row in table.rows]
    )


def _summary_csv(run: RunFolder) -> str:
    parts = [f"{metric.heading} ({part})" for metric in METRICS for part in ("paper", "ours")]
    lines = []
    for subset, prefix in (("validation", ""), ("cross-validation", CROSS_VALIDATION)):
        names = [f"{prefix}{name}" for name in run.evaluated() if run.metrics(f"{prefix}{name}").exists()]
        for row in rows(run, names):
            lines.append(
                [subset, row.title, *[cell for pair in row.pairs for cell in pair], row.null, row.cases]
            )
    return csv_table(["set", "model", *parts, "null cases", "cases"], lines)


def _cases_csv(run: RunFolder) -> str:
    lines: list[list[Any]] = []
    header: list[str] = []
    for path in sorted((run.folder / "metrics").rglob("*.json")):
        name = path.relative_to(run.folder / "metrics").with_suffix("").as_posix()
        cases: list[Case] = read_json(path)["cases"]
        for case in cases:
            header = list(case)
            lines.append([name, *case.values()])
    return csv_table(["predictions", *header], lines)
