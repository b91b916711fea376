"""What `surfloss evaluate` prints and writes of the result of `metrics.evaluate_folders`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich.table

from surfloss._render import Table, csv_table, number, render

Result = dict[str, Any]

_WIDE = 110
_INTERVAL = "95 % of the mean"


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


def terminal_tables(result: Result, width: int) -> Iterator[rich.table.Table]:
    """The summaries; a narrow terminal has no room for the intervals."""
    for title, summary in summaries(result).items():
        whole = _summary_table(title, summary)
        shown = [
            place for place, heading in enumerate(whole.header) if heading != _INTERVAL or width >= _WIDE
        ]
        table = rich.table.Table(rich.table.Column("metric", overflow="fold"), title=title)
        for place in shown[1:]:
            table.add_column(whole.header[place], justify="right")
        for row in whole.rows:
            table.add_row(*(row[place] for place in shown))
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
    tables = [_summary_table(title, summary) for title, summary in summaries(result).items()]
    if faults := problems(result):
        tables.append(Table("Problems", ("case", "kind", "what was found"), faults, text_columns=3))
    tables.append(_readable("Cases", result["cases"], text_columns=1))
    if found := _all_components(result):
        tables.append(_readable("Lesions and false positives", found, text_columns=2))
    return render(
        "surfloss.cli",
        template,
        targets=len(cases(result)),
        prediction_dir=prediction_dir,
        target_dir=target_dir,
        tables=tables,
    )


def _summary_table(title: str, summary: dict[str, Any]) -> Table:
    rows = []
    for metric, values in summary.items():
        cells = ["-"] * 3
        if values["count"]:
            cells[0] = f"{number(values['mean'])} ± {number(values['std'])}"
            cells[2] = number(values["median"])
        if values["ci95"]:
            cells[1] = " to ".join(map(number, values["ci95"]))
        rows.append([metric, *cells, str(values["count"]), str(values["null"])])
    return Table(title, ("metric", "mean ± std", _INTERVAL, "median", "count", "null"), rows)


def _all_components(result: Result) -> list[dict[str, Any]]:
    lesions, false = result.get("lesions", []), result.get("false_positives", [])
    empty = dict.fromkeys(("matched", "dice", "surface_dice", "hausdorff_distance_95"))
    return [{"in": "target", **row} for row in lesions] + [
        {"in": "prediction only", **row, **empty} for row in false
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [[_flat(value) for value in row.values()] for row in rows]
    return csv_table(rows[0] if rows else (), flat)


def _readable(title: str, rows: list[dict[str, Any]], text_columns: int) -> Table:
    """Without the problems, which have a table of their own."""
    shown = [name for name in rows[0] if name != "problem"]
    cells = [
        [
            number(row[name]) if isinstance(row[name], float | None) else str(_flat(row[name]))
            for name in shown
        ]
        for row in rows
    ]
    return Table(title, shown, cells, text_columns=text_columns)


def _flat(value: Any) -> Any:
    """One cell of a table: a problem as its kind and message, several labels with spaces between."""
    if isinstance(value, dict):
        return ": ".join(value.values())
    return " ".join(map(str, value)) if isinstance(value, list) else value
