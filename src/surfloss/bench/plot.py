"""The times of a comparison as a picture."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from surfloss._files import written_whole
from surfloss.bench.report import ratio_text, size_text, threads_text, time_text
from surfloss.bench.result import Result


def draw(result: Result, path: Path) -> None:
    """Write a bar for each time, from 20th to 80th percentile, and how many times as long as the baseline's.

    The form of the picture follows the file's ending.
    """
    names = [name for name in result.present() if any(name in row.results for row in result.rows)]
    width = 0.85 / max(1, len(names))
    figure = Figure(figsize=(3 + 1.5 * len(result.rows), 6), layout="constrained")
    axes = figure.subplots()
    for column, name in enumerate(names):
        timed = [
            (place + (column - (len(names) - 1) / 2) * width, outcome.times, outcome.ratio)
            for place, row in enumerate(result.rows)
            if (outcome := row.results.get(name)) and outcome.times
        ]
        if not timed:
            continue
        places, times, ratios = zip(*timed, strict=True)
        spread = [[t.median_s - t.p20_s for t in times], [t.p80_s - t.median_s for t in times]]
        bars = axes.bar(places, [t.median_s for t in times], width, yerr=spread, label=name)
        if name != result.baseline:
            axes.bar_label(bars, [ratio_text(ratio) if ratio else "" for ratio in ratios], padding=3)
    labels = [f"{row.task} {row.mask}\n{size_text(row).replace(' @ ', chr(10))}" for row in result.rows]
    axes.set_xticks(range(len(labels)), labels, fontsize="small")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: time_text(seconds)))
    axes.spines[["top", "right"]].set_visible(False)
    if axes.containers:  # else nobody was timed
        figure.legend(loc="outside upper center", ncols=len(names), frameon=False)
    figure.supxlabel(f"{result.machine}, {threads_text(result)}", fontsize="small", color="gray")
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
