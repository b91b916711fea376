"""The published picture: time against volume, and the slowdown of the other contestants."""

from collections import defaultdict
from operator import itemgetter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from surfloss._files import written_whole
from surfloss.bench.report import ratio_text, size_text, threads_text, time_text
from surfloss.bench.result import Result

# Paul Tol's bright scheme, which color-blind readers can distinguish; the first is for the baseline.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")


def draw(result: Result, path: Path) -> None:
    """Write the picture in the format of the file extension."""
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(result.present())}
    figure = Figure(figsize=(15, 7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    _scaling(left, result, colors)
    _ratios(right, result, colors)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    figure.supxlabel(
        f"{result.machine}, {threads_text(result)}. Medians of interleaved runs; every "
        "result was checked against the reference before timing.",
        fontsize="small",
        color="gray",
    )
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=150)


def _scaling(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    """Plot medians over the cubes of the mask with most cubes, with a band from 20th to 80th percentile.

    If no mask has two cubes, plot each distance transform as a point.
    """
    rows = [row for row in result.rows if row.task == "edt"]
    cubes = [row for row in rows if len(set(row.size)) == 1 and row.items == 1]
    masks = [row.mask for row in cubes]
    shown, line = "all masks", "o"
    if (most := max(masks, key=masks.count, default="")) and masks.count(most) > 1:
        rows, shown, line = [row for row in cubes if row.mask == most], f"{most}, cubes", "o-"
    axes.set_title(f"Two-sided distance transform: time against volume ({shown})", loc="left")
    for name, color in colors.items():
        timed = [(row.voxels * row.items, row.results[name].times) for row in rows if row.seconds(name)]
        if not timed:
            continue
        voxels, times = zip(*sorted(timed, key=itemgetter(0)), strict=True)
        low, medians, high = zip(*((t.p20_s, t.median_s, t.p80_s) for t in times), strict=True)
        axes.plot(voxels, medians, line, color=color, linewidth=3 if name == result.baseline else 1.5)
        if line == "o-":
            axes.fill_between(voxels, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="voxels")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: time_text(seconds)))


def _ratios(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    """Plot a bar per task and size: the geometric mean over its masks, with a min-max whisker."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(result.rows, key=lambda row: row.task):
        for name, outcome in row.results.items():
            # Omit graphs and instruction sets, which are in the other panel, to leave room for the libraries.
            own = name == result.baseline or name.endswith(" graph") or ":" in name
            if outcome.ratio and not own:
                size = size_text(row).replace(" @ ", "\n")
                groups[f"{row.task} {size}"][name].append(outcome.ratio)
    # Sizes of the scaling series have one mask only; omit them if other groups have more.
    full = {label: group for label, group in groups.items() if max(map(len, group.values())) > 1}
    position, ticks = 0.0, {}
    for label, group in (full or groups).items():
        ticks[position + (len(group) - 1) / 2] = label
        for name in (name for name in colors if name in group):
            mean = float(np.exp(np.log(group[name]).mean()))
            axes.bar(position, mean - 1, 0.9, bottom=1, color=colors[name])
            axes.vlines(position, min(group[name]), max(group[name]), color="black", linewidth=1)
            axes.annotate(
                f"{mean:.0f}x" if mean >= 10 else ratio_text(mean),
                (position, max(1, *group[name])),
                (0, 4),
                textcoords="offset points",
                ha="center",
            )
            position += 1
        position += 1
    axes.set_title(f"Slowdown relative to {result.baseline}", loc="left")
    axes.set_yscale("log")
    axes.set_xticks(list(ticks), list(ticks.values()), rotation=45, ha="right", fontsize="small")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
