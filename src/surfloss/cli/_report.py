"""The report of `surfloss evaluate` for people to read, in Markdown or as one HTML page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from surfloss._render import TextTable, cell, render
from surfloss.cli._evaluation import all_components, mean_and_spread, summary_table
from surfloss.metrics import FolderEvaluation, FolderSettings

_HEADINGS = {
    "dice": "Dice",
    "relative_volume_difference": "Relative volume difference",
    "hausdorff_distance": "Hausdorff distance [mm]",
    "average_symmetric_surface_distance": "Average symmetric surface distance [mm]",
    "volume_ml": "Volume [ml]",
    "target_volume_ml": "True volume [ml]",
    "abc2_volume_ml": "ABC/2 volume [ml]",
    "target_abc2_volume_ml": "True ABC/2 volume [ml]",
    "matched": "Matched components",
}


def heading(metric: str, settings: FolderSettings) -> str:
    """A metric's name for people, with its unit."""
    if metric == "surface_dice":
        return f"Surface Dice at {settings.tolerances[0]:g} mm"
    for beginning, form in (("surface_dice_", "Surface Dice at {} mm"),
                            ("hausdorff_distance_", "Hausdorff distance {} % [mm]")):  # fmt: skip
        if metric.startswith(beginning):
            return form.format(metric.removeprefix(beginning))
    return _HEADINGS.get(metric, metric.replace("_", " ").capitalize())


def report(result: FolderEvaluation, template: str, about: Mapping[str, str], **pictures: Any) -> str:
    """Fill the template.

    Args:
        result: of `metrics.evaluate_folders`.
        about: what to say of the run, before its settings.
        pictures: for the page: `distributions` and `worst`, and the colors of the `outlines` by name.
    """
    problems = [(concerned, problem.kind, problem.message) for concerned, problem in result.all_problems()]
    kinds = Counter(kind for _, kind, _ in problems)
    return render(
        "surfloss.cli",
        template,
        targets=len(result.case_names),
        problems=TextTable("Problems", ("Concerns", "Kind", "What was found"), problems, text_columns=3),
        kinds=", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        settings=TextTable(
            "Settings", ("Setting", "Value"), [*about.items(), *_settings(result.settings)], text_columns=2
        ),
        summaries=_summaries(result),
        tables=_tables(result),
        **pictures,
    )


def _settings(settings: FolderSettings) -> list[tuple[str, str]]:
    labels = {name: " + ".join(map(str, part)) for name, part in (settings.labels or {}).items()}
    named = [name if name == part else f"{name} = {part}" for name, part in labels.items()]
    return [
        ("Labels", ", ".join(named) or "masks of 0 and 1"),
        ("Ignored label", str(settings.ignore_label or "none")),
        ("Tolerance of the surface Dice", ", ".join(f"{mm:g} mm" for mm in settings.tolerances)),
        ("One mask empty", settings.empty),
        ("Both masks empty", settings.both_empty),
        ("Bootstrap", f"{settings.bootstrap} samples, seed {settings.seed}"),
    ]


def _summaries(result: FolderEvaluation) -> list[TextTable]:
    """Of everything, then the labels beside each other, then each by itself."""
    by_label = result.summary_by_label
    headings = {metric: heading(metric, result.settings) for metric in result.summary}
    first = summary_table("All labels" if len(by_label) > 1 else "Summary", result.summary, headings)
    if len(by_label) < 2:
        return [first]
    rows = [
        (headings[metric], *(mean_and_spread(summary[metric]) for summary in by_label.values()))
        for metric in headings
    ]
    beside = TextTable("By label", ("Metric", *by_label), rows, "Mean ± std.")
    each = [summary_table(f"Label {label}", summary, headings) for label, summary in by_label.items()]
    return [first, beside, *each]


def _tables(result: FolderEvaluation) -> list[TextTable]:
    words = ["case"] if result.settings.labels is None else ["case", "label"]
    tables = [_readable("Cases", result, [row.to_dict() for row in result.cases], words)]
    if found := all_components(result):
        tables.append(_readable("Lesions and false positives", result, found, [*words, "in"]))
    return tables


def _readable(
    title: str, result: FolderEvaluation, rows: list[dict[str, Any]], words: Sequence[str]
) -> TextTable:
    """Words first; without the problems, which have a table of their own, and without a lone label."""
    numbers = [name for name in rows[0] if name not in (*words, "label", "problem")]
    shown = [*words, *numbers]
    cells = [[cell(row[name]) for name in shown] for row in rows]
    return TextTable(
        title, [heading(name, result.settings) for name in shown], cells, text_columns=len(words)
    )
