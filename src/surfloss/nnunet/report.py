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
from surfloss.nnunet.comparison import (
    agreement_table,
    answer,
    comparison_table,
    comparisons,
    part_name,
    shown_parts,
    time_table,
)
from surfloss.nnunet.pictures import case_pictures, worst_case_pictures, worst_cases, worst_cases_table
from surfloss.nnunet.plots import bland_altman, case_differences, forest, training_curves
from surfloss.nnunet.results import METRICS, PAPER_METRICS, ResultTable, read_cases, rows, tables, title_of
from surfloss.nnunet.run_folder import RunFolder

_MOST_VALUES = 1000  # rows of all values that a page shows; more are in the CSV file only


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
def write_report(run: RunFolder, beside: Sequence[RunFolder] = ()) -> Path:
    """Write `report.html`, `.md` and `.tex`, a CSV file per section with tables, `cases.csv`, and pictures.

    What the run has not come to is named as missing. Returns the HTML page's path.

    Args:
        beside: further runs, whose comparisons the answer shows too.
    """
    sections = [
        section for section in _sections(run, beside) if section.tables or section.folded or section.pictures
    ]
    published = [section for section in sections if section.published and section.tables]
    latex = [latex_table(table) for section in published for table in section.tables]
    content = {
        "title": _title(run),
        "about": _about(run),
        "missing": _missing(run),
        "sections": sections,
    }
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


def _sections(run: RunFolder, beside: Sequence[RunFolder]) -> Iterable[Section]:
    follows_paper = run.experiment.follows_paper
    found = comparisons(run, run.part)
    others = [(_data(other), comparisons(other, other.part)) for other in beside]
    answers = [answer(run, found)]
    answers += [f"{name}: {answer(other, its)}" for other, (name, its) in zip(beside, others, strict=True)]
    picture = forest([(_data(run), found), *others])
    yield Section(
        "answer", "The answer", " ".join(answers), [time_table(run)], pictures=[picture] if picture else []
    )
    paper = " The paper's Hausdorff column is printed as published; it is not in mm." if follows_paper else ""
    results = [_figures(table) for table in tables(run)]
    if names := run.cross_validated():
        columns = PAPER_METRICS if follows_paper else METRICS
        held_out = ResultTable("Cross-validation", columns, rows(run, names, columns))
        results.append(_figures(held_out, "Each training case by the fold that did not see it."))
    yield Section(
        "results",
        "Results",
        "Mean ± standard deviation over the cases in which a metric is defined, and beside it the number "
        f"of cases in which one is not (“null”: a mask is empty).{paper}",
        results,
    )
    yield Section(
        "tests",
        "Paired tests",
        "Whether a loss differs from the first one on the same cases. In cross-validation the trainings "
        "behind different cases share most of their data, so that its p-values are somewhat too small.",
        [table for part in shown_parts(run) if (table := comparison_table(run, part))],
    )
    yield Section("curves", "Training curves", pictures=[curves] if (curves := training_curves(run)) else [])
    yield Section("differences", "Losses, case by case", pictures=list(case_differences(run)))
    if follows_paper:
        yield Section("volumes", "Volumes", tables=[agreement_table(run)], pictures=list(bland_altman(run)))
    worst = worst_cases(run)
    most = 3 if len(run.evaluated()) <= 6 else 1
    yield Section(
        "failures",
        "Failures",
        f"Pictures of up to {most} of them a model." if worst else "",
        [worst_cases_table(run, worst)] if worst else [],
        pictures=list(worst_case_pictures(run, worst, most)),
    )
    yield Section(
        "cases", f"Some of the {part_name(run, run.part)}", pictures=list(case_pictures(run, 1 + 2 * most))
    )
    values = list(_all_values(run))
    fits = sum(len(table.rows) for table in values) <= _MOST_VALUES
    yield Section(
        "values",
        "All values",
        "Distances in mm, volumes in ml. A click on a heading sorts.",
        folded=values if fits else [],
        sortable=True,
    )
    yield Section(
        "run",
        "What was run",
        "Software as it was when this report was written. Every value of every case is in `cases.csv`.",
        [_settings(run), _models(run)],
        [_times(run)],
        published=False,
    )


def _title(run: RunFolder) -> str:
    if run.experiment.follows_paper:
        return f"surfloss reproduction, preset {run.experiment.name}"
    return f"surfloss comparison: {_data(run)}"


def _data(run: RunFolder) -> str:
    return run.data.name if run.data else "phantom"


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
    names = run.evaluated() + run.cross_validated()
    return [_full_title(run, name) for name in names if not run.metrics(name).exists()]


def _full_title(run: RunFolder, name: str) -> str:
    return "cross-validation of " * (name in run.cross_validated()) + title_of(run, name)


def _settings(run: RunFolder) -> TextTable:
    experiment = asdict(run.experiment)
    phantom = experiment.pop("phantom")
    experiment["ensembles"] = tuple(ensemble.title for ensemble in run.experiment.ensembles)
    del experiment["models"], experiment["layout"]
    packages = ("surfloss", "torch", "nnunetv2", "numpy", "scipy")
    settings = {
        "data": run.data.name if run.data else f"the phantom of seed {phantom['seed']}",
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
    parts = list(shown_parts(run))
    for model in run.experiment.models:
        trained = sum(run.training_log(model, fold).exists() for fold in range(run.experiment.folds))
        cases = (read_cases(run, part + model.name) for part in parts)
        evaluated = [str(len(found)) if found else "missing" for found in cases]
        folds = f"{trained} of {run.experiment.folds}"
        lines.append((model.title, model.configuration, model.trainer, folds, *evaluated))
    counts = [part_name(run, part).capitalize().removesuffix(" cases") + " cases" for part in parts]
    return TextTable(
        "Models", ("Model", "Configuration", "Trainer", "Folds trained", *counts), lines, text_columns=3
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


def _figures(table: ResultTable, note: str = "") -> TextTable:
    """A table in the paper's form; without the paper's figures where it has none of these."""
    paper = any(set(row.paper) - {"-"} for row in table.rows)
    header = [metric.heading for metric in table.metrics]
    if any(row.paper for row in table.rows):
        whose = ("paper", "ours") if paper else ("ours",)
        header = [f"{heading} {whose_figure}" for heading in header for whose_figure in whose]
    lines = []
    for row in table.rows:
        figures = [text for pair in row.pairs for text in pair] if paper else row.ours
        lines.append((row.title, *figures, f"{row.null} of {row.cases}"))
    return TextTable(table.title, ("Model", *header, "Null cases"), lines, note)


def _all_values(run: RunFolder) -> Iterable[TextTable]:
    for name in run.evaluated() + run.cross_validated():
        if cases := read_cases(run, name):
            lines = [
                [case, label, *map(cell, values.values())]
                for case, classes in cases.items()
                for label, values in classes.items()
            ]
            metrics = next(iter(next(iter(cases.values())).values()))
            header = ["case", "class", *(metric.replace("_", " ") for metric in metrics)]
            yield TextTable(_full_title(run, name), header, lines, text_columns=2)


def _cases_csv(run: RunFolder) -> str:
    """Every value in full precision."""
    lines = [
        {"predictions": name, "case": case, "class": label, **values}
        for name in run.evaluated() + run.cross_validated()
        for case, classes in read_cases(run, name).items()
        for label, values in classes.items()
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
