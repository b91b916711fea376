"""The report of a run, finished or not: one HTML page, and its tables as Markdown, CSV and LaTeX."""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib import style

from surfloss._figures import Picture
from surfloss._files import write_text, written_whole
from surfloss._render import TextTable, cell, csv_table, latex_table, render
from surfloss.nnunet.comparison import agreement_table, comparison_table
from surfloss.nnunet.pictures import case_pictures, worst_case_pictures, worst_cases, worst_cases_table
from surfloss.nnunet.plots import bland_altman, paired_cases, training_curves
from surfloss.nnunet.results import (
    METRICS,
    ModelRow,
    cross_validated,
    read_cases,
    rows,
    tables,
    title_of,
)
from surfloss.nnunet.run_folder import CROSS_VALIDATION, RunFolder


@dataclass(frozen=True)
class Section:
    """A part of the report; the anchor names it in links and in its files."""

    anchor: str
    title: str
    text: str = ""
    tables: Sequence[TextTable] = ()
    folded: Sequence[TextTable] = ()  # tables that the page opens on demand, and Markdown leaves out
    pictures: Sequence[Picture] = ()
    sortable: bool = False
    published: bool = True  # whether its tables are written as CSV and LaTeX too

    def picture_file(self, number: int) -> str:
        return f"{self.anchor}_{number}.png"


@style.context("default")  # set anew: nnU-Net sets fonts for pictures of its own
def write_report(run: RunFolder) -> Path:
    """Write `report.html`, `.md` and `.tex`, a CSV file per section with tables, `cases.csv`, and pictures.

    What the run has not come to is named as missing. Returns the HTML page's path.
    """
    sections = [section for section in _sections(run) if section.tables or section.folded or section.pictures]
    published = [section for section in sections if section.published and section.tables]
    latex = [latex_table(table) for section in published for table in section.tables]
    content = {"run": run, "about": _about(run), "missing": _missing(run), "sections": sections}
    for section in sections:
        for place, picture in enumerate(section.pictures):
            with written_whole(run.report / section.picture_file(place)) as unfinished:
                unfinished.write_bytes(picture.png)
    files = {f"{section.anchor}.csv": _joined_csv(section.tables) for section in published} | {
        "cases.csv": _cases_csv(run),
        "report.tex": "% \\usepackage{booktabs}\n\n" + "\n".join(latex),
        "report.md": render("surfloss.nnunet", "report.md.j2", **content),
        "report.html": render("surfloss.nnunet", "report.html.j2", **content),
    }
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
    held_out = rows(run, cross_validated(run))
    yield Section(
        "results",
        "Results",
        "Mean ± standard deviation over the cases in which a metric is defined, and beside it the number "
        "of cases in which one is not (“null”: a mask is empty). The paper's Hausdorff column is printed as "
        "published; it is not in mm.",
        [
            *(_figures(title, found) for title, found in tables(run).items()),
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
    found = worst_cases(run)
    yield Section(
        "failures",
        "Failures",
        "Pictures of up to three of them a model." if found else "",
        [worst_cases_table(run, found)] if found else [],
        pictures=list(worst_case_pictures(run, found)),
    )
    yield Section("cases", "Validation cases", pictures=list(case_pictures(run)))
    yield Section(
        "values",
        "All values",
        "Distances in mm, volumes in ml. A click on a heading sorts.",
        folded=list(_all_values(run)),
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
    names = run.evaluated() + cross_validated(run)
    return [_full_title(run, name) for name in names if not run.metrics(name).exists()]


def _full_title(run: RunFolder, name: str) -> str:
    return "cross-validation of " * name.startswith(CROSS_VALIDATION) + title_of(run, name)


def _settings(run: RunFolder) -> TextTable:
    experiment = asdict(run.experiment)
    phantom = experiment.pop("phantom")
    del experiment["models"]
    packages = ("surfloss", "torch", "nnunetv2", "numpy", "scipy")
    settings = {
        "data": run.data or f"the phantom of seed {phantom['seed']}",
        **experiment,
        "device": _device(run.device),
        "machine": f"{platform.platform()}, {os.cpu_count()} CPUs",
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    cells = [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]
    return TextTable("Settings and versions", ("Setting", "Value"), cells, text_columns=2)


def _plain(value: Any) -> str:
    if value is None:
        return "nnU-Net's own"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _device(device: str) -> str:
    """The device that networks ran on, with its name where this process sees it too."""
    import torch

    seen = device == "cuda" and torch.cuda.is_available()
    return f"cuda, {torch.cuda.get_device_name()}" if seen else device


def _models(run: RunFolder) -> TextTable:
    lines = []
    for model in run.experiment.models:
        trained = sum(run.training_log(model, fold).exists() for fold in range(run.experiment.folds))
        cases = (read_cases(run, prefix + model.name) for prefix in ("", CROSS_VALIDATION))
        evaluated = [str(len(found)) if found else "missing" for found in cases]
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
    stages: dict[str, float] = defaultdict(float)
    for job, seconds in jobs.items():
        stages[job.split("/", maxsplit=1)[0]] += seconds
    lines = [(f"{stage}, all jobs", _clock(seconds)) for stage, seconds in stages.items()]
    lines += [(job, _clock(seconds)) for job, seconds in jobs.items() if "/" in job]
    return TextTable(
        "Time of each stage and job", ("Job", "Time"), lines, "From a job's last start to its end."
    )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _figures(title: str, found: list[ModelRow], note: str = "") -> TextTable:
    """Rows of the paper's form; without the paper's figures where it has none of these."""
    paper = any(set(row.paper) != {"-"} for row in found)
    parts = ("paper", "ours") if paper else ("ours",)
    header = [f"{metric.heading} {part}" for metric in METRICS for part in parts]
    lines = []
    for row in found:
        figures = [text for pair in row.pairs for text in pair[-len(parts) :]]
        lines.append((row.title, *figures, f"{row.null} of {row.cases}"))
    return TextTable(title, ("Model", *header, "Null cases"), lines, note)


def _all_values(run: RunFolder) -> Iterable[TextTable]:
    for name in run.evaluated() + cross_validated(run):
        if cases := read_cases(run, name):
            metrics = next(iter(cases.values()))
            header = ["case", *(metric.replace("_", " ") for metric in metrics)]
            lines = [[case, *map(cell, values.values())] for case, values in cases.items()]
            yield TextTable(_full_title(run, name), header, lines)


def _cases_csv(run: RunFolder) -> str:
    """Every value in full precision."""
    lines = [
        {"predictions": name, "case": case, **values}
        for name in run.evaluated() + cross_validated(run)
        for case, values in read_cases(run, name).items()
    ]
    return csv_table(lines[0] if lines else (), (line.values() for line in lines))


def _joined_csv(found: Sequence[TextTable]) -> str:
    """Tables one below the other, with a column that tells them apart; "-" where one has no such column."""
    header = ["table", *dict.fromkeys(name for table in found for name in table.header)]
    lines = [
        {"table": table.title, **dict(zip(table.header, row, strict=True))}
        for table in found
        for row in table.rows
    ]
    return csv_table(header, ([line.get(name, "-") for name in header] for line in lines))
