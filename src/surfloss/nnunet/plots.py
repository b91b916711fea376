"""Plots of a run: training curves, losses case by case, agreement of volumes."""

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from surfloss._figures import BLUE, CYAN, GRAY, GREEN, PURPLE, RED, YELLOW, Picture, png
from surfloss.metrics.paired import agreement
from surfloss.nnunet.comparison import HD95, TESTED, VOLUMES, versus, volumes
from surfloss.nnunet.experiments import Model
from surfloss.nnunet.results import Cases, families, paired, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder, read_json

_COLORS = (BLUE, RED, GREEN, YELLOW, CYAN, PURPLE)
_CURVES = {
    "train_losses": "Training loss",
    "mean_fg_dice": "Pseudo Dice (validation patches)",
    "surface_weights": "Weight of the surface term",
    "gradient_ratios": "Logit-gradient norm: surface / rest",
}
_PAIRED = tuple(metric for metric in TESTED if metric is HD95 or "dice" in metric.name)


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


def paired_cases(run: RunFolder) -> Iterator[Picture]:
    """Of each loss and the first of its configuration: every case's metrics with both, joined by a line."""
    for baseline, *others in families(run).values():
        for other in others:
            before, after = (read_cases(run, model.name) for model in (baseline, other))
            if before and after:
                yield _paired_cases(baseline, other, before, after)


def _paired_cases(baseline: Model, other: Model, before: Cases, after: Cases) -> Picture:
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 3), _PAIRED, strict=True):
        values = np.array(paired(before, after, metric), float).T * metric.factor
        pairs = values[~np.isnan(values).any(1)]
        gain = np.sign(pairs[:, 1] - pairs[:, 0]) * (-1 if metric is HD95 else 1)
        for label, color, sign in (("better", BLUE, 1), ("worse", RED, -1), ("equal", GRAY, 0)):
            members = pairs[gain == sign]
            if len(members):
                axes.plot((0, 1), members.T, "-o", color=color, markersize=4, linewidth=1, alpha=0.75)
                axes.lines[-1].set_label(f"{len(members)} {label}")
        if len(pairs):
            medians = np.median(pairs, axis=0)
            axes.plot((-0.12, 1.12), medians, "D", color="black", markersize=6, label="median")
            axes.legend(fontsize=8, frameon=False, loc="upper center", ncols=2, bbox_to_anchor=(0.5, -0.14))
        undefined = len(values) - len(pairs)
        note = f"{len(pairs)} cases" + (f", {undefined} undefined" if undefined else "")
        axes.set_title(f"{metric.heading} ({note})", fontsize=10)
        losses = [model.loss.replace(" (", "\n(") for model in (baseline, other)]
        axes.set_xticks((0, 1), losses, fontsize=8)
        axes.set_xlim(-0.4, 1.4)
        axes.grid(axis="y", alpha=0.3)
    return Picture(f"{versus(baseline, other)}, validation cases", png(figure))


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
    return Picture(f"Bland-Altman plot of the {method}, validation cases", png(figure))
