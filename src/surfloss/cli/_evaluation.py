"""What `surfloss evaluate` prints and writes of the result of `metrics.evaluate_folders`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from surfloss._render import csv_table, number, render

Result = dict[str, Any]

_WIDE = 110


def summaries(result: Result) -> dict[str, Any]:
    """The summaries by title: of everything, and of every label where there are several."""
    by_label = result["summary_by_label"]
    titles = {f"{len(cases(result))} cases": result["summary"]}
    return titles | {f"Label {label}": summary for label, summary in by_label.items() if len(by_label) > 1}


def cases(result: Result) -> list[str]:
    """The names of the cases, each once."""
    return list(dict.fromkeys(row["case"] for row in result["cases"]))


def problems(result: Result) -> list[tuple[str, str, str]]:
    """Case, kind and message of all that could not be evaluated, and of predictions without a target."""
    found = [(row["case"], *row["problem"].values()) for row in result["cases"] if row["problem"]]
    extra = [(case, "extra", "a prediction without a target") for case in result["unmatched"]]
    return list(dict.fromkeys(found)) + extra


def terminal_tables(result: Result, width: int) -> Iterator[Table]:
    """The summaries; a narrow terminal has no room for the intervals."""
    for title, summary in summaries(result).items():
        table = Table(Column("metric", overflow="fold"), title=title)
        headings = ["mean ± std", "95 % of the mean", "median", "count", "null"]
        for heading in headings if width >= _WIDE else (headings[0], *headings[2:]):
            table.add_column(heading, justify="right")
        for metric, values in summary.items():
            cells = ["-"] * 3 + [str(values["count"]), str(values["null"])]
            if values["count"]:
                cells[0] = f"{number(values['mean'])} ± {number(values['std'])}"
                cells[2] = number(values["median"])
            if values["ci95"]:
                cells[1] = " to ".join(map(number, values["ci95"]))
            table.add_row(metric, *(cells if width >= _WIDE else (cells[0], *cells[2:])))
        yield table


def as_json(result: Result) -> str:
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def cases_csv(result: Result) -> str:
    return _csv(result["cases"])


def lesions_csv(result: Result) -> str:
    """The target's lesions, and after them the prediction's components that are none."""
    return _csv(_all_components(result))


def report(result: Result, prediction_dir: Path, target_dir: Path, template: str) -> str:
    """The Markdown or HTML report."""
    tables = {"Cases": _readable(result["cases"])}
    if found := _all_components(result):
        tables["Lesions and false positives"] = _readable(found)
    return render(
        "surfloss.cli",
        template,
        targets=len(cases(result)),
        prediction_dir=prediction_dir,
        target_dir=target_dir,
        summaries=summaries(result),
        problems=problems(result),
        tables=tables,
    )


def _all_components(result: Result) -> list[dict[str, Any]]:
    lesions, false = result.get("lesions", []), result.get("false_positives", [])
    empty = dict.fromkeys(("matched", "dice", "surface_dice", "hausdorff_distance_95"))
    return [{"in": "target", **row} for row in lesions] + [
        {"in": "prediction only", **row, **empty} for row in false
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [[_flat(value) for value in row.values()] for row in rows]
    return csv_table(rows[0] if rows else (), flat)


def _readable(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Heading and rows of a table, without the problems, which have a table of their own."""
    shown = [name for name in rows[0] if name != "problem"]
    cells = [[row[name] for name in shown] for row in rows]
    return [shown] + [
        [number(value) if isinstance(value, float | None) else str(_flat(value)) for value in row]
        for row in cells
    ]


def _flat(value: Any) -> Any:
    """One cell of a table: a problem as its kind and message, several labels with spaces between."""
    if isinstance(value, dict):
        return ": ".join(value.values())
    return " ".join(map(str, value)) if isinstance(value, list) else value
