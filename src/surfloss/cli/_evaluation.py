"""What `surfloss evaluate` prints of the result of `metrics.evaluate_folders`, and writes of it as data."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import rich.table

from surfloss._render import TextTable, cell, csv_table, number

Result = dict[str, Any]

_WIDE = 110
_INTERVAL = "95 % interval"


def summaries(result: Result) -> dict[str, Any]:
    """The summaries by title: of everything, and of every label where there are several."""
    by_label = result["summary_by_label"]
    titles = {f"{len(cases(result))} cases": result["summary"]}
    return titles | {f"Label {label}": summary for label, summary in by_label.items() if len(by_label) > 1}


def cases(result: Result) -> list[str]:
    """The names of the cases, each once."""
    return list(dict.fromkeys(row["case"] for row in result["cases"]))


def problems(result: Result) -> list[tuple[str, str, str]]:
    """What it concerns, kind and message of all that could not be evaluated, and of what was left over."""
    found = [(row["case"], *row["problem"].values()) for row in result["cases"] if row["problem"]]
    by_case = [problem for problem in found if problem[1] != "absent"]
    absent = [(f"label {label}", "absent", "it occurs in no target") for label in result["absent_labels"]]
    extra = [(case, "extra", "a prediction without a target") for case in result["unmatched"]]
    others = ", ".join(str(other["label"]) for other in result["other_labels"])
    left = [(f"labels {others}", "other", "found but not asked for, background here")] if others else []
    return list(dict.fromkeys(by_case)) + absent + extra + left


def kinds(found: list[tuple[str, str, str]]) -> str:
    """How many problems of each kind there are, as `2 missing, 1 extra`."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kind for _, kind, _ in found).items())


def is_sound(result: Result) -> bool:
    """Whether all that was asked for was evaluated."""
    return not result["absent_labels"] and not any(row["problem"] for row in result["cases"])


def terminal_tables(result: Result, width: int) -> Iterator[rich.table.Table]:
    """The summaries; a narrow terminal has no room for the intervals."""
    for title, summary in summaries(result).items():
        whole = summary_table(title, summary, {name: name for name in summary})
        shown = [
            place for place, heading in enumerate(whole.header) if heading != _INTERVAL or width >= _WIDE
        ]
        table = rich.table.Table(rich.table.Column(whole.header[0], overflow="fold"), title=title)
        for place in shown[1:]:
            table.add_column(whole.header[place], justify="right")
        for row in whole.rows:
            table.add_row(*(row[place] for place in shown))
        yield table


def summary_table(title: str, summary: dict[str, Any], headings: dict[str, str]) -> TextTable:
    """A row for each metric, under its heading."""
    rows = []
    for metric, values in summary.items():
        interval = " to ".join(map(number, values["ci95"])) if values["ci95"] else "-"
        median = number(values["median"]) if values["count"] else "-"
        counts = str(values["count"]), str(values["null"])
        rows.append([headings[metric], mean_and_spread(values), interval, median, *counts])
    return TextTable(title, ("Metric", "Mean ± std", _INTERVAL, "Median", "Count", "Null"), rows)


def mean_and_spread(values: dict[str, Any]) -> str:
    mean, std = values["mean"], values["std"]
    return f"{number(mean)} ± {number(std, like=mean)}" if values["count"] else "-"


def as_json(result: Result) -> str:
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def cases_csv(result: Result) -> str:
    return _csv(result["cases"])


def lesions_csv(result: Result) -> str:
    """The target's lesions, and after them the prediction's components that are none."""
    return _csv(all_components(result))


def all_components(result: Result) -> list[dict[str, Any]]:
    """Lesions and false positives in rows of one form; `in` tells them apart."""
    lesions, false = result.get("lesions", []), result.get("false_positives", [])
    empty = dict.fromkeys(("matched", "dice", "surface_dice", "hausdorff_distance_95"))
    return [{"in": "target", **row} for row in lesions] + [
        {"in": "prediction only", **row, **empty} for row in false
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [[_flat(value) for value in row.values()] for row in rows]
    return csv_table(rows[0] if rows else (), flat)


def _flat(value: Any) -> Any:
    """One cell of a file: a problem as its kind and message, several labels with spaces between."""
    if isinstance(value, dict):
        return ": ".join(value.values())
    return cell(value) if isinstance(value, list) else value
