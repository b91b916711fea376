"""Fill the benchmark tables of README and docs from the JSON in `results`: `python -m benchmarks.tables`.

A block `<!-- benchmark: TABLE of FILE -->` gets a table made from `results/FILE.json`, or stays empty if the
file is missing. If FILE contains `*`, the block gets one titled table per matching file. If none matches, it
says that nothing was measured; a block of goals then lists the goals.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks import passes
from benchmarks.checkout import RESULTS, ROOT
from benchmarks.documents import fill, table
from benchmarks.goals import GOALS, LESS, floor_multiple, slopes
from benchmarks.plans import PATCH, SCAN
from benchmarks.published import Published, peak_extra_bytes
from surfloss._check import fail
from surfloss.bench import losses, report
from surfloss.bench.report import Table, ratio_text, size_text, spread_text, time_text
from surfloss.bench.result import Row
from surfloss.bench.timing import Times
from surfloss.bench.workloads import DISTANCES, TASKS

DOCUMENTS = (
    ROOT / "README.md",
    *(ROOT / "docs" / f"{page}.md" for page in ("index", "benchmarks", "gpu", "losses", "cpu-transform")),
)


def _range(values: Iterable[float | None], text: Callable[[float], str]) -> str:
    found = [value for value in values if value is not None]
    ends = dict.fromkeys(text(end(found)) for end in (min, max)) if found else ["-"]
    return " to ".join(ends)


def summary(result: Published) -> Table:
    """Per size, the baseline's range of times over the masks, and the slowdown of the others."""
    peers = [name for name in result.present() if name != result.baseline]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in result.rows:
        groups.setdefault((row.task, size_text(row)), []).append(row)
    body = [
        [*group, _range((row.seconds(result.baseline) for row in rows), time_text)]
        + [_range((row.results[p].ratio for row in rows if p in row.results), ratio_text) for p in peers]
        for group, rows in groups.items()
        if len(rows) > 1  # a size with one mask is only a point of the scaling series
    ]
    return ["task", "size", result.baseline, *peers], body


def instructions(result: Published) -> Table:
    """Per size and peer, the slowdown relative to this library with each instruction set."""
    own = [name for name in result.present() if name.startswith("surfloss/")]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in result.rows:
        for peer in result.present(row.task):
            if peer not in own and row.seconds(peer):
                groups.setdefault((row.task, size_text(row), peer), []).append(row)
    body = [
        [*group, *(_range((_times_longer(row, group[2], name) for row in rows), ratio_text) for name in own)]
        for group, rows in groups.items()
        if len(rows) > 1
    ]
    return ["task", "size", "peer", *own], body


def brief(result: Published) -> Table:
    """The short form of `instructions`: three sizes, without SimpleITK."""
    head, body = instructions(result)
    sizes = tuple("x".join(map(str, size)) for size in (PATCH, SCAN, (128,) * 3))
    return head, [line for line in body if line[1].startswith(sizes) and line[2] != "simpleitk"]


def speed(result: Published) -> str:
    """One sentence on the two-sided transform of a scan: how much faster it is than edt and SciPy."""
    rows = [row for row in result.rows if row.task == "edt" and row.size == [*SCAN]]
    edt, scipy = (
        _range((_times_longer(row, peer, result.baseline) for row in rows), ratio_text)
        for peer in ("edt", "scipy")
    )
    return (
        f"For masks of {'x'.join(map(str, SCAN))} voxels, `surfloss.two_sided_edt` is {edt} as fast as edt "
        f"and {scipy} as fast as SciPy on {result.machine.cpu} with {report.threads_text(result)}."
    )


def _times_longer(row: Row, peer: str, name: str) -> float | None:
    theirs, ours = row.seconds(peer), row.seconds(name)
    return theirs / ours if theirs and ours else None


def shape(result: Published) -> Table:
    """Each contestant's time relative to its own time on blobs of the same size."""
    names = result.present("edt")
    rows = [row for row in result.rows if row.task == "edt"]
    blobs = {size_text(row): row for row in rows if row.mask == "blobs"}

    def multiple(row: Row, name: str) -> str:
        time, base = row.seconds(name), blobs[size_text(row)].seconds(name)
        return ratio_text(time / base) if time and base else "-"

    body = [
        [size_text(row), row.mask, *(multiple(row, name) for name in names)]
        for row in rows
        if row.mask != "blobs" and size_text(row) in blobs
    ]
    return ["size", "mask", *names], body


def scaling(result: Published) -> Table:
    """The slope of log time over log voxels, one line per mask."""
    names = result.present("edt")
    found = {(s.task, s.mask, s.sides, s.contestant): f"{s.slope:.2f}" for s in slopes(result)}
    body = [
        [
            mask,
            f"{sides[0]}^3 to {sides[-1]}^3",
            *(found.get((task, mask, sides, name), "-") for name in names),
        ]
        for task, mask, sides in dict.fromkeys(key[:3] for key in found)
    ]
    return ["mask", "cubes", *names], body


def memory(result: Published) -> Table:
    """Peak memory beyond the input, in float32 arrays of its size; the batch of a loss has two items."""
    names = result.present()
    body = []
    for row in result.rows:
        peaks = {name: peak_extra_bytes(row, name) for name in names}
        if any(peaks.values()):
            volume = 4 * row.voxels * (row.items if row.task in DISTANCES else 2)
            numbers = [f"{peak / volume:.1f}" if (peak := peaks[name]) else "-" for name in names]
            body.append([row.task, size_text(row), *numbers])
    return ["task", "size", *names], body


def accuracy(result: Published) -> Table:
    """The largest relative difference from the reference, over all timed rows."""
    names = result.present()
    body = []
    for task in dict.fromkeys(row.task for row in result.rows):
        rows = [row.results for row in result.rows if row.task == task]
        off = {name: [o[name].difference for o in rows if name in o] for name in names}
        largest = (max((d for d in off[name] if d is not None), default=None) for name in names)
        body.append([task, "all", *("-" if number is None else f"{number:.1g}" for number in largest)])
    return ["task", "rows", *names], body


def floor(result: Published) -> Table:
    """This library's time relative to reading the mask and writing float32 once (the floor)."""
    names = [name for name in result.present("edt") if name.startswith("surfloss/")]
    body = []
    for row in result.rows:
        multiples = [floor_multiple(result, row, name) for name in names]
        if any(multiples):
            texts = [ratio_text(multiple) if multiple else "-" for multiple in multiples]
            body.append([size_text(row), row.mask, *texts])
    return ["size", "mask", *names], body


_UNITS: dict[str, Callable[[float], str]] = {
    "times": ratio_text,
    "time": time_text,
    "floor": ratio_text,
    "percent": lambda share: f"{100 * share:+.1f}%",
    "tensors": lambda tensors: f"{tensors:.1f}",
    "slope": lambda slope: f"{slope:.2f}",
}


def goals(result: Published | None) -> Table:
    """The goals, and the worst value that each of this library's contestants reached."""
    names = [name for name in result.present() if name.startswith("surfloss/")] if result else []
    head, body = ["goal", "required", "aim", *(names or ["measured"])], []
    for goal in GOALS:
        text, limit = _UNITS[goal.unit], "at most" if goal.unit in LESS else "at least"
        line = [goal.what, f"{limit} {text(goal.must)}", "-" if goal.aim is None else text(goal.aim)]
        values = [goal.worst(result, name) for name in names] if result else []
        line += ["not measured" if v is None else f"{text(v)}, {goal.verdict(v)}" for v in values]
        body.append(line if names else [*line, "not measured yet"])
    return head, body


def parts(result: Published) -> Table:
    """The state and time of every part of `make gpu`, and how many of its tests passed and failed."""
    body = []
    for name, part in result.parts.items():
        state = part["state"] if part["state"] == "done" else f"{part['state']}: {part['reason']}"
        numbers = [str(part["passed"]), str(len(part["failed"]))] if "passed" in part else ["-", "-"]
        body.append([name, state, *numbers, f"{part['seconds']:.0f} s" if "seconds" in part else "-"])
    return ["part", "state", "passed", "failed", "time"], body


def training(result: Published) -> Table:
    """Per loss, the time of a training step, the time added to Dice + CE alone, and PyTorch's peak memory."""
    body = []
    for name, step in result.training_step.get("steps", {}).items():
        peak = f"{step['peak_bytes'] / 2**30:.2f} GiB" if step["peak_bytes"] else "-"
        times = Times(step["median_s"], step["p20_s"], step["p80_s"], step["repeats"])
        added = f"{100 * (step['ratio'] - 1):+.1f}%"
        body.append([name, f"{time_text(times.median_s)} {spread_text(times)}", added, peak])
    return ["loss", "step time", "added to Dice + CE", "peak memory"], body


TABLES: dict[str, Callable[[Published], Table]] = {
    **{task: partial(report.times, task=task) for task in TASKS},
    **{
        made.__name__: made
        for made in (summary, instructions, brief, shape, scaling, memory, accuracy, floor, parts, training)
    },
    "goals": goals,
}
_TEXTS: dict[str, Callable[[Published], str]] = {
    "machine": lambda result: "\n".join(result.notes()),
    "speed": speed,
}


def block(words: str, results: Path = RESULTS) -> str:
    """The content of a block `<!-- benchmark: TABLE of FILE -->`.

    Raises:
        ValueError: if there is no such table.
    """
    name, _, source = words.partition(" of ")
    if name not in (*TABLES, *_TEXTS, "costs", "passes"):
        fail("block", repr(name), f"{', '.join(_TEXTS)}, costs, passes, {' or '.join(TABLES)}")

    def content(file: Path) -> str:
        if name == "passes":
            return table(*passes.table(json.loads(file.read_text(encoding="utf-8"))))
        if name == "costs":
            costs = losses.Costs.from_dict(json.loads(file.read_text(encoding="utf-8")))
            return f"{costs.machine}, {costs.date[:10]}:\n\n{table(*losses.table(costs))}"
        result = Published.read(file)
        return _TEXTS[name](result) if name in _TEXTS else table(*TABLES[name](result))

    if "*" not in source:
        file = results / f"{source}.json"
        return content(file) if file.exists() else ""
    files = sorted(results.glob(f"{source}.json"))
    if not files:
        return table(*goals(None)) if name == "goals" else "Not measured yet."
    return "\n\n".join(f"**{file.stem}**\n\n{content(file)}" for file in files)


def main() -> None:
    for document in DOCUMENTS:
        fill(document, "benchmark", block)


if __name__ == "__main__":
    main()
