"""The comparison as one picture: time against volume, and how many times longer the others take."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from surfloss._files import written_whole
from surfloss.bench.report import Result, gpu_text, ratio_text, size_text, threads_text, time_text

# Paul Tol's bright scheme, told apart by color-blind readers too; the baseline is the first.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_INK = "#333333"


def draw(result: Result, path: Path) -> None:
    """Write the picture; its form follows the file's ending."""
    present = [name for name in result["contestants"] if name not in result["absent"]]
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(present)}
    figure = Figure(figsize=(15, 7.2), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.2, h_pad=0.15)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=11, colors=_INK, which="both")
    _scaling(left, result, colors)
    _ratios(right, result, colors)
    machine = result["machine"]
    figure.supxlabel(
        f"{gpu_text(machine)}{machine['cpu']}, {machine['cores']} cores, {threads_text(result)}. "
        "Medians of interleaved runs; every answer was checked against the reference before it was timed.",
        fontsize=10,
        color="#777777",
    )
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=150)


def _scaling(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    """Medians over the cubes of the mask that has most of them, in a band from 20th to 80th percentile."""
    cells = [c for c in result["cells"] if c["task"] == "edt" and len(set(c["size"])) == 1]
    cells = [c for c in cells if c.get("items", 1) == 1]
    masks = [c["mask"] for c in cells]
    if len(set(masks)) == 0 or max(map(masks.count, masks)) < 2:
        cells, what, line = [c for c in result["cells"] if c["task"] == "edt"], "all masks", "o"
    else:
        shown = max(masks, key=masks.count)
        cells, what, line = [c for c in cells if c["mask"] == shown], f"{shown}, cubes", "o-"
    cells.sort(key=lambda c: c["voxels"])
    axes.set_title(
        f"Two-sided distance transform: time against volume ({what})",
        loc="left",
        pad=14,
        fontsize=15,
        color=_INK,
    )
    ends = {}
    for name, color in colors.items():
        points = [
            (c["voxels"], c["results"][name]) for c in cells if "median_s" in c["results"].get(name, {})
        ]
        if not points:
            continue
        voxels = np.array([v for v, _ in points])
        low, middle, high = (np.array([o[key] for _, o in points]) for key in ("p20_s", "median_s", "p80_s"))
        ours = name == result["baseline"]
        if line == "o-":
            axes.fill_between(voxels, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(
            voxels, middle, line, color=color, linewidth=3.5 if ours else 2, markersize=7 if ours else 5
        )
        ends[name] = (voxels[-1], middle[-1])
    if not ends:
        axes.text(0.5, 0.5, "no distance transform was timed", ha="center", transform=axes.transAxes)
        return
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _short_time(seconds)))
    volumes = {c["voxels"]: size_text(c).partition(" ")[0] for c in cells}
    axes.set_xticks(list(volumes), [_power(text) for text in volumes.values()])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.set_xlabel("voxels", fontsize=12, color=_INK)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.22)  # room for the names
    bottom, top = (math.log10(limit) for limit in axes.get_ylim())
    apart = (top - bottom) / 22
    heights = _spread_out({name: math.log10(seconds) for name, (_, seconds) in ends.items()}, apart)
    for name, (voxels_end, seconds) in ends.items():
        axes.annotate(
            f"{name}  {time_text(seconds)}",
            (voxels_end, 10 ** heights[name]),
            xytext=(12, 0),
            textcoords="offset points",
            va="center",
            fontsize=12,
            color=colors[name],
            weight="bold" if name == result["baseline"] else "normal",
        )


def _ratios(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    """Bars for each task and size: the geometric mean over its masks, and a whisker from least to most."""
    # The graphs are in the other picture; here they would crowd out the libraries.
    colors = {name: color for name, color in colors.items() if not name.endswith(" graph")}
    groups: dict[str, dict[str, list[float]]] = {}
    for cell in sorted(result["cells"], key=lambda cell: cell["task"]):
        lines = [
            "EDT" if cell["task"] == "edt" else cell["task"],
            *re.split(" @ | (?=x )", _power(size_text(cell))),
        ]
        group = groups.setdefault("\n".join(lines), {})
        for name, outcome in cell["results"].items():
            if name in colors and name != result["baseline"] and "ratio" in outcome:
                group.setdefault(name, []).append(outcome["ratio"])
    # Points of the scaling series have one mask only: where there are full groups, those are shown.
    full = {label: g for label, g in groups.items() if max(map(len, g.values()), default=0) > 1}
    groups = full or {label: g for label, g in groups.items() if g}
    axes.set_title(
        f"How many times as long as {result['baseline']} the others take",
        loc="left",
        pad=14,
        fontsize=15,
        color=_INK,
    )
    if not groups:
        axes.text(0.5, 0.5, "nobody to compare with", ha="center", transform=axes.transAxes)
        return
    position, ticks = 0.0, []
    for group in groups.values():
        position += 1.6 if len(group) == 1 else 0.8  # a lone bar needs room for its label
        ticks.append(position + (len(group) - 1) / 2)
        for name in (name for name in colors if name in group):
            ratios = np.array(group[name])
            mean = float(np.exp(np.log(ratios).mean()))
            axes.bar(position, mean - 1, 0.9, bottom=1, color=colors[name])
            axes.vlines(position, ratios.min(), ratios.max(), color=_INK, linewidth=1.2)
            axes.annotate(
                ratio_text(mean) if mean < 10 else f"{mean:.0f}x",
                (position, max(1, ratios.max())),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=12,
                color=_INK,
            )
            position += 1
    axes.set_yscale("log")
    axes.axhline(1, color=colors.get(result["baseline"], _INK), linewidth=3)
    axes.set_xticks(ticks, list(groups))
    axes.tick_params(axis="x", length=0, pad=8, labelsize=11 if len(groups) < 7 else 9)
    decades = np.log10(axes.get_ylim()[1] / axes.get_ylim()[0])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if decades < 2:
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    shown = [name for name in colors if any(name in group for group in groups.values())]
    handles = [axes.bar(0, 0, color=colors[name]) for name in shown]
    axes.legend(handles, shown, frameon=False, fontsize=12, ncols=min(len(shown), 4), loc="upper left")
    axes.set_ylim(top=axes.get_ylim()[1] * 2)  # room for the legend
    axes.set_xlim(0, position + 0.6)


def _power(size: str) -> str:
    """`128x128x128` as a cube, other sizes with multiplication signs."""
    sides, _, rest = size.partition(" ")
    numbers = sides.split("x")
    text = f"{numbers[0]}³" if len(numbers) == 3 and len(set(numbers)) == 1 else "x".join(numbers)
    return f"{text} {rest}".strip()


def _short_time(seconds: float) -> str:
    unit, factor = ("s", 1) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{seconds * factor:.3g} {unit}"


def _spread_out(heights: dict[str, float], apart: float) -> dict[str, Any]:
    """The heights, moved up where needed so that labels do not cover each other."""
    placed: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = placed[name] = max(height, last + apart)
    return placed
