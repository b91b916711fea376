"""A comparison as text: the cells of a table, Markdown tables from the JSON, and documents that hold them."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from surfloss._check import fail
from surfloss.bench.budgets import BUDGETS, LESS, floor_multiple

Result: TypeAlias = dict[str, Any]
Row: TypeAlias = list[str]
Table: TypeAlias = tuple[Row, list[Row]]  # head and body


def size_text(cell: dict[str, Any]) -> str:
    """`64x512x512 x 8 @ 5/0.42/0.42`; a batch of 8, and the spacing only where it is not 1 voxel."""
    text = "x".join(map(str, cell["size"]))
    if cell.get("items", 1) > 1:
        text += f" x {cell['items']}"
    if any(mm != 1 for mm in cell["spacing"]):
        text += f" @ {'/'.join(f'{mm:.3g}' for mm in cell['spacing'])}"
    return text


def time_text(seconds: float) -> str:
    """Three digits in a readable unit."""
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if seconds * f >= 1), ("µs", 1e6))
    value = seconds * factor
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


def spread_text(outcome: dict[str, Any]) -> str:
    """Half of the way from the 20th to the 80th percentile, in percent of the median."""
    return f"±{50 * (outcome['p80_s'] - outcome['p20_s']) / outcome['median_s']:.0f}%"


def ratio_text(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 99.5 else f"{ratio:.{1 if ratio >= 0.995 else 2}f}x"


def outcome_text(outcome: dict[str, Any] | None, is_baseline: bool) -> str:
    """What one contestant made of one cell; the ratio to the baseline unless it is the baseline."""
    if outcome is None:
        return "-"
    if "disagrees" in outcome:
        off = outcome["disagrees"]
        return f"disagrees ({off if isinstance(off, str) else f'{off:.1g}'})"
    if "failed" in outcome:
        return f"failed ({outcome['failed'].partition(':')[0]})"
    text = f"{time_text(outcome['median_s'])} {spread_text(outcome)}"
    return text if is_baseline or "ratio" not in outcome else f"{text}, {ratio_text(outcome['ratio'])}"


def gpu_text(machine: dict[str, Any]) -> str:
    """The GPU, where the result is one's, for the front of what else the machine is."""
    if not (gpu := machine.get("gpu")):
        return ""
    found = [f"driver {gpu['driver']}"] if gpu.get("driver") else []
    found += [f"CUDA {gpu['cuda']}"] if gpu.get("cuda") else []
    found.append(f"copies at {gpu['copy_bytes_per_s'] / 1e9:.0f} GB/s")
    return f"{gpu['name']} ({', '.join(found)}) beside "


def threads_text(result: Result) -> str:
    return f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"


def timed_contestants(result: Result, task: str) -> list[str]:
    """Those that are there and can do the task, in order."""
    able = (name for name, contestant in result["contestants"].items() if task in contestant["tasks"])
    return [name for name in able if name not in result["absent"]]


def _cells(result: Result, task: str) -> Table:
    """Every time and ratio of one task."""
    names = timed_contestants(result, task)
    body = [
        [size_text(cell), cell["mask"]]
        + [outcome_text(cell["results"].get(name), name == result["baseline"]) for name in names]
        for cell in result["cells"]
        if cell["task"] == task
    ]
    return ["size", "mask", *names], body


def notes(result: Result) -> list[str]:
    """What a reader must know of the whole comparison, a sentence a line."""
    machine, versions = result["machine"], result["versions"]
    widest = (machine["instruction_sets"] or ["baseline"])[-1]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "surfloss")
    commit = f" at {result['commit'][:10]}" if result["commit"] else ""
    lines = [
        f"{result['date'][:10]}, {gpu_text(machine)}{machine['cpu']}, {machine['cores']} cores "
        f"({machine['architecture']}, {widest}), {threads_text(result)}; "
        f"surfloss {versions['surfloss']}{commit}, {packages}.",
    ]
    if (result["load_before"] or 0) > machine["cores"] / 2:
        lines.append(
            f"The machine was busy before (load {result['load_before']}): do not rely on these times."
        )
    lines += [f"Absent: {name} ({reason})." for name, reason in result["absent"].items()]
    return lines


def _summary(result: Result) -> Table:
    """One line a size: the baseline's times over the masks, and how many times longer the others took."""
    head = ["task", "size", result["baseline"]]
    peers = [name for name in result["contestants"] if name not in (result["baseline"], *result["absent"])]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in result["cells"]:
        groups.setdefault((cell["task"], size_text(cell)), []).append(cell["results"])
    body = []
    for (task, size), outcomes in groups.items():
        if len(outcomes) < 2:  # a point of the scaling series, not a size of its own
            continue
        ours = [o[result["baseline"]]["median_s"] for o in outcomes if "median_s" in o[result["baseline"]]]
        row = [task, size, _range(ours, time_text)]
        row += [
            _range([o[p]["ratio"] for o in outcomes if "ratio" in o.get(p, {})], ratio_text) for p in peers
        ]
        body.append(row)
    return [*head, *peers], body


def _range(values: Sequence[float], text: Callable[[float], str]) -> str:
    if not values:
        return "-"
    low, high = text(min(values)), text(max(values))
    return low if low == high else f"{low} to {high}"


def _shape(result: Result) -> Table:
    """Every contestant's time as a multiple of its own on blobs of the same size."""
    names = timed_contestants(result, "edt")
    cells = [cell for cell in result["cells"] if cell["task"] == "edt"]
    blobs = {size_text(cell): cell["results"] for cell in cells if cell["mask"] == "blobs"}

    def multiple(cell: dict[str, Any], name: str) -> str:
        pair = [
            outcomes.get(name, {}).get("median_s") for outcomes in (cell["results"], blobs[size_text(cell)])
        ]
        return ratio_text(pair[0] / pair[1]) if all(pair) else "-"

    body = [
        [size_text(cell), cell["mask"], *(multiple(cell, name) for name in names)]
        for cell in cells
        if cell["mask"] != "blobs" and size_text(cell) in blobs
    ]
    return ["size", "mask", *names], body


def _scaling(result: Result) -> Table:
    """The exponent of time over volume, a line a mask."""
    found = {(s["task"], s["mask"], s["contestant"]): s for s in result["slopes"]}
    keys = dict.fromkeys((s["task"], s["mask"], tuple(s["sides"])) for s in result["slopes"])
    names = timed_contestants(result, "edt")
    body = []
    for task, mask, sides in keys:
        slopes = [found.get((task, mask, name)) for name in names]
        body.append(
            [mask, f"{sides[0]}^3 to {sides[-1]}^3", *(f"{s['slope']:.2f}" if s else "-" for s in slopes)]
        )
    return ["mask", "cubes", *names], body


def _memory(result: Result) -> Table:
    """Peak memory beyond the input, in float32 volumes of its size; the batch of a loss is two items."""
    names = [name for name in result["contestants"] if name not in result["absent"]]
    body = []
    for cell in result["cells"]:
        peaks = {name: o.get("peak_extra_bytes") for name, o in cell["results"].items()}
        if any(peaks.values()):
            volume = 4 * cell["voxels"] * (cell.get("items", 1) if cell["task"] == "edt" else 2)
            numbers = [f"{peak / volume:.1f}" if (peak := peaks.get(name)) else "-" for name in names]
            body.append([cell["task"], size_text(cell), *numbers])
    return ["task", "size", *names], body


def _accuracy(result: Result) -> Table:
    """The largest relative difference from the reference, over all rows that were timed."""
    names = [name for name in result["contestants"] if name not in result["absent"]]
    body = []
    for task in dict.fromkeys(cell["task"] for cell in result["cells"]):
        outcomes = [cell["results"] for cell in result["cells"] if cell["task"] == task]
        off = {
            name: [o[name]["difference"] for o in outcomes if "difference" in o.get(name, {})]
            for name in names
        }
        body.append([task, "all", *(f"{max(off[name]):.1g}" if off[name] else "-" for name in names)])
    return ["task", "rows", *names], body


def _floor(result: Result) -> Table:
    """This library's time as a multiple of one read of the mask and one write of float32."""
    names = [name for name in timed_contestants(result, "edt") if name.startswith("surfloss/")]
    body = []
    for cell in result["cells"]:
        multiples = [floor_multiple(result, cell, name) for name in names]
        if any(multiples):
            texts = [ratio_text(multiple) if multiple else "-" for multiple in multiples]
            body.append([size_text(cell), cell["mask"], *texts])
    return ["size", "mask", *names], body


_UNITS: dict[str, Callable[[float], str]] = {
    "times": ratio_text,
    "time": time_text,
    "floor": ratio_text,
    "percent": lambda share: f"{100 * share:+.1f}%",
    "tensors": lambda tensors: f"{tensors:.1f}",
    "slope": lambda slope: f"{slope:.2f}",
}


def _budgets(result: Result) -> Table:
    """The goals, and beside them what this library's contestants reached, each at its worst."""
    names = [n for n in result["contestants"] if n.startswith("surfloss/") and n not in result["absent"]]
    head, body = ["goal", "must", "should", *(names or ["measured"])], []
    for budget in BUDGETS:
        text, limit = _UNITS[budget.unit], "at most" if budget.unit in LESS else "at least"
        row = [budget.what, f"{limit} {text(budget.must)}", "-" if budget.aim is None else text(budget.aim)]
        values = [budget.worst(result, name) for name in names]
        row += ["not measured" if v is None else f"{text(v)}, {budget.verdict(v)}" for v in values]
        body.append(row if names else [*row, "not measured yet"])
    return head, body


def _parts(result: Result) -> Table:
    """What came of every part of `make gpu`; of its tests how many passed."""
    body = []
    for name, part in result.get("parts", {}).items():
        state = part["state"] if part["state"] == "done" else f"{part['state']}: {part['reason']}"
        numbers = [str(part["passed"]), str(len(part["failed"]))] if "passed" in part else ["-", "-"]
        body.append([name, state, *numbers, f"{part['seconds']:.0f} s" if "seconds" in part else "-"])
    return ["part", "state", "passed", "failed", "time"], body


def _training(result: Result) -> Table:
    """A training step with each loss, its time over that of Dice + CE alone, and PyTorch's peak memory."""
    body = []
    for name, step in result.get("training_step", {"steps": {}})["steps"].items():
        peak = f"{step['peak_bytes'] / 2**30:.2f} GiB" if step["peak_bytes"] else "-"
        time = f"{time_text(step['median_s'])} {spread_text(step)}"
        body.append([name, time, f"{100 * (step['ratio'] - 1):+.1f}%", peak])
    return ["loss", "step", "added", "peak memory"], body


_UNMEASURED: Result = {"contestants": {}, "absent": {}}

TABLES: dict[str, Callable[[Result], Table]] = {
    "edt": lambda result: _cells(result, "edt"),
    "loss": lambda result: _cells(result, "loss"),
    "contour": lambda result: _cells(result, "contour"),
    "summary": _summary,
    "shape": _shape,
    "scaling": _scaling,
    "memory": _memory,
    "accuracy": _accuracy,
    "floor": _floor,
    "budgets": _budgets,
    "parts": _parts,
    "training": _training,
}


def markdown(head: Row, body: Iterable[Row]) -> str:
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_BLOCK = re.compile(
    r"(?P<begin><!-- benchmark: (?P<name>\S+) of (?P<source>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)",
    re.DOTALL,
)


def filled(document: str, results: Path) -> str:
    """The document with every block `<!-- benchmark: TABLE of FILE --> ... <!-- end -->` made anew.

    `FILE` is a JSON file in the folder `results`, without its ending; where it is missing the block is empty.
    With `*` in it, it is every file of such a name, the table of each under its title; where there is none,
    the block says that nothing was measured, and of goals which there are.

    Raises:
        ValueError: if a block asks for a table that there is not.
    """

    def block(found: re.Match[str]) -> str:
        name, several = found["name"], "*" in found["source"]
        if name not in (*TABLES, "machine"):
            fail("block", repr(name), f"machine, {' or '.join(TABLES)}")
        files = sorted(results.glob(f"{found['source']}.json"))
        texts = [(f"**{file.stem}**\n\n" if several else "") + _content(name, file) for file in files]
        if several and not files:
            texts = [markdown(*_budgets(_UNMEASURED)) if name == "budgets" else "Not measured yet."]
        body = "".join(f"\n{text}\n" for text in texts) + ("\n" if texts else "")
        return found["begin"] + body + found["end"]

    return _BLOCK.sub(block, document)


def _content(name: str, file: Path) -> str:
    result = json.loads(file.read_text(encoding="utf-8"))
    return "\n".join(notes(result)) if name == "machine" else markdown(*TABLES[name](result))
