"""Plots of a run: its comparisons, training curves, differences case by case, agreement of volumes."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from surfloss._figures import BLUE, CYAN, GRAY, GREEN, PURPLE, RED, YELLOW, Picture, png
from surfloss.metrics.paired import agreement
from surfloss.nnunet.comparison import VOLUMES, Comparison, part_name, volumes
from surfloss.nnunet.experiments import Contender
from surfloss.nnunet.results import HD95, METRICS, Cases, Metric, families, paired, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder, read_json

_COLORS = (BLUE, RED, GREEN, YELLOW, CYAN, PURPLE)
_CURVES = {
    "train_losses": "Training loss",
    "mean_fg_dice": "Pseudo Dice (validation patches)",
    "surface_weights": "Weight of the surface term",
    "gradient_ratios": "Logit-gradient norm: surface / rest",
}
_LINE = 0.34  # inches of a line in the forest plot


def forest(blocks: Sequence[tuple[str, Sequence[Comparison]]]) -> Picture | None:
    """Every loss against the first one: median difference and interval, the mean over classes and each class.

    Args:
        blocks: a heading and the comparisons of a run; several runs stand one below the other.

    Returns:
        None where there is nothing to compare.
    """
    blocks = [(heading, [one for one in found if one.metric in METRICS]) for heading, found in blocks]
    blocks = [(heading, found) for heading, found in blocks if found]
    if not blocks:
        return None
    classes = list(dict.fromkeys(one.one_class for _, found in blocks for one in found if one.one_class))
    colors = {None: "black"} | dict(zip(classes, _COLORS * (1 + len(classes)), strict=False))
    lines: list[tuple[str, list[Comparison]]] = []  # a heading without comparisons, or a loss
    for heading, found in blocks:
        networks = dict.fromkeys(one.baseline.network for one in found)
        for network in networks:
            own = [one for one in found if one.baseline.network == network]
            first = f"{network}, against {own[0].baseline.loss}"
            lines.append((f"{heading}: {first}" if len(blocks) > 1 else first, []))
            for term in dict.fromkeys(one.term for one in own):
                lines.append((term, [one for one in own if one.term == term]))
    figure = Figure(figsize=(12, 1.3 + _LINE * len(lines)), layout="constrained")
    panels = list(figure.subplots(1, len(METRICS), sharey=True))
    for axes, metric in zip(panels, METRICS, strict=True):
        axes.axvline(0, color=GRAY, linewidth=1)
        for place, (_, found) in enumerate(lines):
            own = [one for one in found if one.metric is metric]
            for step, one in enumerate(own):
                _forest_line(axes, one, place + (step - (len(own) - 1) / 2) * 0.2, colors[one.one_class])
        if metric is HD95:
            axes.invert_xaxis()
        axes.set_title(
            f"{metric.heading}\nworse \N{LEFTWARDS ARROW}   \N{RIGHTWARDS ARROW} better", fontsize=10
        )
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(lines) - 0.4, -0.6)
    names = [f"  {name}" if found else name for name, found in lines]
    panels[0].set_yticks(range(len(lines)), names, fontsize=9)
    for label, (_, found) in zip(panels[0].get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if found else "bold")
    for name, color in colors.items():
        panels[0].plot([], [], "D" if name is None else "o", color=color, label=name or "mean of the classes")
    if classes:
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False
        )
    return Picture(
        "Median difference to the first loss, case by case, with its 95 % interval; filled where p < 0.05 "
        "after Holm's correction",
        png(figure),
    )


def _forest_line(axes: Any, one: Comparison, place: float, color: str) -> None:
    test, factor = one.test, one.metric.factor
    if test.median_difference is None:
        return
    is_mean = one.one_class is None
    if test.ci95 is not None:
        axes.plot([limit * factor for limit in test.ci95], (place, place), color=color, linewidth=1 + is_mean)
    axes.plot(
        test.median_difference * factor,
        place,
        "D" if is_mean else "o",
        color=color,
        markersize=6 if is_mean else 4,
        markerfacecolor=color if one.is_significant else "white",
    )


def training_curves(run: RunFolder) -> Picture | None:
    """Loss, pseudo Dice, surface weight and gradient ratio by epoch: the folds' mean in their range."""
    logs = {
        model: [read_json(path) for fold in range(run.experiment.folds)
                if (path := run.training_log(model, fold)).exists()]
        for model in run.experiment.models
    }  # fmt: skip
    if not any(logs.values()):
        return None
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(2, 2).flat, _CURVES.items(), strict=True):
        for color, (model, folds) in zip(_COLORS, logs.items(), strict=False):
            label = f"{model.title}, {len(folds)} of {run.experiment.folds} folds"
            _curve(axes, [log.get(key, []) for log in folds], color, label)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if key == "gradient_ratios" and axes.lines:
            axes.set_yscale("log")
        if not axes.lines:
            axes.text(0.5, 0.5, "no surface term", ha="center", transform=axes.transAxes)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return Picture("Mean over the folds and, as a band, their range", png(figure))


def _curve(axes: Any, folds: list[list[float]], color: str, label: str) -> None:
    """One line with its band; folds may have come to different epochs, and NaN is a gap."""
    known = np.ma.masked_invalid(list(zip_longest(*folds, fillvalue=math.nan)))  # (epochs, folds)
    if not known.count():
        return
    epochs = np.arange(1, len(known) + 1)
    marker = "." if len(known) < 3 else ""
    axes.fill_between(epochs, known.min(1), known.max(1), color=color, alpha=0.2, linewidth=0)
    axes.plot(epochs, known.mean(1), color=color, linewidth=1.8, label=label, marker=marker)


def case_differences(run: RunFolder) -> Iterator[Picture]:
    """For each network the difference of every loss to the first one, a dot for each case."""
    for family in families(run):
        cases = {one: read_cases(run, run.part + one.name) for one in family}
        others = [one for one in family[1:] if cases[one]]
        if others and cases[family[0]]:
            yield _case_differences(run, family[0], others, cases)


def _case_differences(
    run: RunFolder, baseline: Contender, others: Sequence[Contender], cases: dict[Contender, Cases]
) -> Picture:
    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        axes.axhline(0, color=GRAY, linewidth=1)
        undefined = 0
        for place, other in enumerate(others):
            undefined += _dots(axes, place, cases[baseline], cases[other], metric)
        note = f" ({undefined} undefined)" if undefined else ""
        axes.set_title(f"{metric.heading}{note}", fontsize=10)
        losses = [
            one.loss.removeprefix(f"{baseline.loss}+").replace(" (", "\n(").replace(", ", ",\n")
            for one in others
        ]
        axes.set_xticks(range(len(others)), losses, fontsize=8)
        axes.set_xlim(-0.6, len(others) - 0.4)
        axes.grid(axis="y", alpha=0.3)
    handles = [Line2D([], [], color=color, marker="o", linestyle="", label=label)
               for label, color in (("better", BLUE), ("worse", RED), ("equal", GRAY))]  # fmt: skip
    handles.append(Line2D([], [], color="black", marker="D", linestyle="", label="median"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(f"{baseline.network}: difference to {baseline.loss}, mean of the classes", fontsize=11)
    return Picture(
        f"{baseline.network}: each dot is a case, {part_name(run, run.part)}; the numbers count those that "
        "are better and worse",
        png(figure),
    )


def _dots(axes: Any, place: int, before: Cases, after: Cases, metric: Metric) -> int:
    """Draw the cases of one loss; returns how many have no difference."""
    values = np.array(paired(before, after, metric), float) * metric.factor
    differences = values[1] - values[0]
    known = differences[~np.isnan(differences)]
    gain = np.sign(known) * (-1 if metric is HD95 else 1)
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(known))
    size = 5 if len(known) <= 50 else 3
    for color, sign in ((BLUE, 1), (RED, -1), (GRAY, 0)):
        chosen = gain == sign
        axes.plot(place + jitter[chosen], known[chosen], "o", color=color, markersize=size, alpha=0.6)
    if len(known):
        axes.plot(place, np.median(known), "D", color="black", markersize=6)
        counts = f"{(gain > 0).sum()} / {(gain < 0).sum()}"
        axes.annotate(
            counts, (place, 0.99), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=8
        )
    return int(np.isnan(differences).sum())


def bland_altman(run: RunFolder) -> Iterator[Picture]:
    """For each way to measure a volume a panel a model: predicted minus true volume over their mean."""
    evaluated = {name: cases for name in run.evaluated() if (cases := read_cases(run, name))}
    if evaluated:
        yield from (_bland_altman(run, method, evaluated) for method in VOLUMES)


def _bland_altman(run: RunFolder, method: str, evaluated: dict[str, Cases]) -> Picture:
    columns = min(3, len(evaluated))
    lines = math.ceil(len(evaluated) / columns)
    figure = Figure(figsize=(4 * columns, 3.5 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat)
    for axes, (name, cases) in zip(panels, evaluated.items(), strict=False):
        prediction, target = volumes(cases, method)
        p, t = np.array((prediction, target), float)
        axes.plot((p + t) / 2, p - t, "o", color=BLUE, alpha=0.7, markersize=5, label="a case")
        axes.axhline(0, color=GRAY, linewidth=0.8)
        got = agreement(prediction, target)
        title = title_of(run, name)
        if got.bias is not None:
            axes.axhline(got.bias, color=RED, label="bias")
            title += f"\nbias {got.bias:+.2f} ml"
        if got.limits is not None:
            axes.axhline(got.limits[0], color=RED, linestyle="--", label="95 % limits of agreement")
            axes.axhline(got.limits[1], color=RED, linestyle="--")
            title += ", limits {:+.2f} to {:+.2f} ml".format(*got.limits)
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in panels[len(evaluated) :]:
        axes.remove()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("mean of predicted and true volume [ml]", fontsize=10)
    figure.supylabel("predicted - true [ml]", fontsize=10)
    return Picture(f"Bland-Altman plot of the {method}, {part_name(run, run.part)}", png(figure))
