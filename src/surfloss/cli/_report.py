"""The report of `surfloss evaluate` for people to read, in Markdown or as one HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

from surfloss._render import TextTable, cell, render
from surfloss.cli._evaluation import (
    Result,
    all_components,
    cases,
    kinds,
    mean_and_spread,
    problems,
    summary_table,
)

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


def heading(metric: str, result: Result) -> str:
    """A metric's name for people, with its unit."""
    if metric == "surface_dice":
        return f"Surface Dice at {result['settings']['tolerances'][0]:g} mm"
    for beginning, form in (("surface_dice_", "Surface Dice at {} mm"),
                            ("hausdorff_distance_", "Hausdorff distance {} % [mm]")):  # fmt: skip
        if metric.startswith(beginning):
            return form.format(metric.removeprefix(beginning))
    return _HEADINGS.get(metric, metric.replace("_", " ").capitalize())


def report(result: Result, template: str, about: Mapping[str, str], **pictures: Any) -> str:
    """Fill the template.

    Args:
        result: of `metrics.evaluate_folders`.
        about: what to say of the run, before its settings.
        pictures: for the page: `distributions` and `worst`, and the colors of the `outlines` by name.
    """
    found = problems(result)
    return render(
        "surfloss.cli",
        template,
        targets=len(cases(result)),
        problems=TextTable("Problems", ("Concerns", "Kind", "What was found"), found, text_columns=3),
        kinds=kinds(found),
        settings=TextTable(
            "Settings", ("Setting", "Value"), [*about.items(), *_settings(result)], text_columns=2
        ),
        summaries=_summaries(result),
        tables=_tables(result),
        **pictures,
    )


def _settings(result: Result) -> list[tuple[str, str]]:
    settings = result["settings"]
    labels = {name: " + ".join(map(str, part)) for name, part in (settings["labels"] or {}).items()}
    named = [name if name == part else f"{name} = {part}" for name, part in labels.items()]
    return [
        ("Labels", ", ".join(named) or "masks of 0 and 1"),
        ("Ignored label", str(settings["ignore_label"] or "none")),
        ("Tolerance of the surface Dice", ", ".join(f"{mm:g} mm" for mm in settings["tolerances"])),
        ("One mask empty", settings["empty"]),
        ("Both masks empty", settings["both_empty"]),
        ("Bootstrap", f"{settings['bootstrap']} samples, seed {settings['seed']}"),
    ]


def _summaries(result: Result) -> list[TextTable]:
    """Of everything, then the labels beside each other, then each by itself."""
    by_label = result["summary_by_label"]
    headings = {metric: heading(metric, result) for metric in result["summary"]}
    first = summary_table("All labels" if len(by_label) > 1 else "Summary", result["summary"], headings)
    if len(by_label) < 2:
        return [first]
    rows = [
        (headings[metric], *(mean_and_spread(summary[metric]) for summary in by_label.values()))
        for metric in headings
    ]
    beside = TextTable("By label", ("Metric", *by_label), rows, "Mean ± std.")
    each = [summary_table(f"Label {label}", summary, headings) for label, summary in by_label.items()]
    return [first, beside, *each]


def _tables(result: Result) -> list[TextTable]:
    labels = result["settings"]["labels"] is not None
    tables = [_readable("Cases", result, result["cases"], ("case", "label") if labels else ("case",))]
    if found := all_components(result):
        words = ("case", "label", "in") if labels else ("case", "in")
        tables.append(_readable("Lesions and false positives", result, found, words))
    return tables


def _readable(title: str, result: Result, rows: list[dict[str, Any]], words: Sequence[str]) -> TextTable:
    """Words first; without the problems, which have a table of their own, and without a lone label."""
    numbers = [name for name in rows[0] if name not in (*words, "label", "problem")]
    shown = [*words, *numbers]
    cells = [[cell(row[name]) for name in shown] for row in rows]
    return TextTable(title, [heading(name, result) for name in shown], cells, text_columns=len(words))
