"""What `surfloss evaluate` prints of an evaluation, and writes of it as data."""

import json
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Any

from rich.table import Column, Table

from surfloss._render import TextTable, cell, csv_table, number
from surfloss.metrics import FolderEvaluation, Summary

_WIDE = 110
_INTERVAL = "95 % interval"


def terminal_tables(result: FolderEvaluation, width: int) -> Iterator[Table]:
    """The summaries; a narrow terminal has no room for the intervals."""
    by_label = result.summary_by_label if len(result.summary_by_label) > 1 else {}
    titles = {f"{len(result.case_names)} cases": result.summary}
    for title, summary in (titles | {f"Label {label}": each for label, each in by_label.items()}).items():
        whole = summary_table(title, summary, {name: name for name in summary})
        shown = [heading != _INTERVAL or width >= _WIDE for heading in whole.header]
        metric, *others = compress(whole.header, shown)
        numbers = [Column(heading, justify="right") for heading in others]
        table = Table(Column(metric, overflow="fold"), *numbers, title=title)
        for row in whole.rows:
            table.add_row(*compress(row, shown))
        yield table


def summary_table(title: str, summary: Mapping[str, Summary], headings: Mapping[str, str]) -> TextTable:
    """A row for each metric, under its heading."""
    rows = []
    for metric, values in summary.items():
        interval = " to ".join(map(number, values.ci95)) if values.ci95 else "-"
        median = number(values.median) if values.count else "-"
        counts = str(values.count), str(values.null)
        rows.append([headings[metric], mean_and_spread(values), interval, median, *counts])
    return TextTable(title, ("Metric", "Mean ± std", _INTERVAL, "Median", "Count", "Null"), rows)


def mean_and_spread(summary: Summary) -> str:
    return f"{number(summary.mean)} ± {number(summary.std, like=summary.mean)}" if summary.count else "-"


def as_json(result: FolderEvaluation) -> str:
    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


def cases_csv(result: FolderEvaluation) -> str:
    return _csv([row.to_dict() for row in result.cases])


def lesions_csv(result: FolderEvaluation) -> str:
    """The target's lesions, and after them the prediction's components that are none."""
    return _csv(all_components(result))


def all_components(result: FolderEvaluation) -> list[dict[str, Any]]:
    """Lesions and false positives in rows of one form; `in` tells them apart."""
    empty = dict.fromkeys(("matched", "dice", "surface_dice", "hausdorff_distance_95"))
    return [{"in": "target", **found.to_dict()} for found in result.lesions or ()] + [
        {"in": "prediction only", **found.to_dict(), **empty} for found in result.false_positives or ()
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [[_flat(value) for value in row.values()] for row in rows]
    return csv_table(rows[0] if rows else (), flat)


def _flat(value: Any) -> Any:
    """One cell of a file: a problem as its kind and message, several labels with spaces between."""
    if isinstance(value, dict):
        return ": ".join(value.values())
    return cell(value) if isinstance(value, tuple) else value
