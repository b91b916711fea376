"""Pictures of the study: training curves, differences from the baseline, outlines on test slices."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.training import errors
from benchmarks.training.configurations import AGAIN, TERMS
from benchmarks.training.data import TrainingCase
from benchmarks.training.summary import COLUMNS, Array, Runs, difference, interval, of_cases
from surfloss.metrics import dice

PIECES = 10  # parts of a training over which moments are averaged
ACROSS = 8  # terms per row


def draw_curves(runs: Mapping[str, Runs], path: Path, metric: str = "dice") -> None:
    """Plot Dice + CE on the training patches, and the metric on the validation part; bands span the seeds."""
    from matplotlib import pyplot, style

    with style.context("default"):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        for name, seeds in runs.items():
            some = next(iter(seeds.values()))
            loss = np.array([facts["dice_ce"] for facts in seeds.values()])
            every = some["configuration"]["iterations"] / loss.shape[1]
            line = _band(left, (np.arange(loss.shape[1]) + 1) * every, loss, name)
            looks = np.array(
                [
                    [np.nanmean(of_cases(look["cases"], metric)) for look in facts["validation"]]
                    for facts in seeds.values()
                ]
            )
            _band(right, [look["iteration"] for look in some["validation"]], looks, None, line.get_color())
        left.set(xlabel="iteration", ylabel="Dice + CE, training patches")
        right.set(xlabel="iteration", ylabel=f"{metric}, validation volumes")
        for axes in (left, right):
            axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def _band(axes: Any, x: Any, curves: Array, label: str | None, color: str | None = None) -> Any:
    (line,) = axes.plot(
        x, curves.mean(0), label=label, color=color, marker="." if curves.shape[1] < 9 else ""
    )
    axes.fill_between(x, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.15)
    return line


def draw_differences(runs: Mapping[str, Runs], path: Path, part: str = "validation") -> None:
    """Plot each configuration's difference from its baseline, with its interval, one panel per metric."""
    from matplotlib import pyplot, style

    names = [name for name in runs if difference(name, runs, "dice", part) is not None]
    with style.context("default"):
        figure, panels = pyplot.subplots(
            1, 3, figsize=(11, 1.6 + 0.28 * len(names)), sharey=True, layout="constrained"
        )
        for axes, (title, metric, _) in zip(panels, COLUMNS[:3], strict=True):
            for row, name in enumerate(names):
                apart = difference(name, runs, metric, part)
                if apart is None:
                    continue
                low, high = interval(apart)
                better = np.nanmean(apart) * (-1 if metric == "hausdorff_distance_95" else 1) > 0
                color = "tab:green" if better else "tab:red"
                strength = 1.0 if low > 0 or high < 0 else 0.5  # faint if the interval contains 0
                axes.plot([low, high], [row, row], color=color, lw=2 * strength, alpha=strength)
                axes.plot(np.nanmean(apart), row, "o", color=color, ms=5, alpha=strength)
            axes.axvline(0, color="black", lw=0.8)
            axes.set(title=f"{title} - Dice + CE's", yticks=range(len(names)), yticklabels=names)
            axes.grid(alpha=0.3)
        panels[0].invert_yaxis()
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def draw_outlines(
    volumes: Sequence[TrainingCase],
    masks: Mapping[str, Sequence[npt.NDArray[np.bool_]]],
    path: Path,
    count: int = 4,
) -> None:
    """Draw slices with the outlines of the target and of two configurations' masks.

    Volumes are selected at even ranks of the first configuration's Dice. The slice is the one with the
    largest lesion area.
    """
    from matplotlib import lines, pyplot, style

    targets = [volume.label.numpy() > 0 for volume in volumes]
    scores = [dice(mask, target) for mask, target in zip(next(iter(masks.values())), targets, strict=True)]
    ranked = np.argsort(scores)
    shown = ranked[np.linspace(0, len(ranked) - 1, count).round().astype(int)]
    with style.context("default"):
        figure, panels = pyplot.subplots(1, count, figsize=(3 * count, 4.2), layout="constrained")
        colors = dict(zip(["target", *masks], ("white", "tab:orange", "tab:cyan"), strict=False))
        for axes, number in zip(panels, shown, strict=True):
            volume = volumes[number]
            z = int(targets[number].sum((1, 2)).argmax())
            axes.imshow(volume.image[z].numpy(), cmap="gray", vmin=0, vmax=1)
            shapes = {"target": targets[number]} | {name: mask[number] for name, mask in masks.items()}
            for name, mask in shapes.items():
                if mask[z].any():
                    axes.contour(mask[z], [0.5], colors=[colors[name]], linewidths=1)
            told = ", ".join(f"{dice(mask[number], targets[number]):.2f}" for mask in masks.values())
            axes.set_title(f"volume {number}, slice {z}\nDice {told}", fontsize="small")
            axes.axis("off")
        handles = [lines.Line2D([], [], color=color, label=name) for name, color in colors.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, facecolor="lightgray")
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def draw_strength(facts: Mapping[str, Any], path: Path) -> None:
    """Plot for each term, over a training, how strong its gradient is and how far from the boundary it lies.

    Top: the gradient's length relative to Dice + CE's, scaled so that its late median is 1, as the median and
    the 10th to 90th percentile of neighboring moments. Bottom: the share of the gradient in each bin.

    Args:
        facts: the result of `strength.measured`.
    """
    from matplotlib import pyplot, style

    titles = [title for title in ("Dice + CE", *TERMS) if title in facts["median"] and title != AGAIN]
    moments = np.array(facts["moments"])
    late = moments > max(moments) / 2
    steps = np.unique(moments)
    spans = [np.isin(moments, piece) for piece in np.array_split(steps, min(PIECES, len(steps)))]
    centres = [float(moments[span].mean()) for span in spans]
    edges = [0, *facts["edges"], np.inf]
    labels = [
        f"{low:g} to {high:g}" if np.isfinite(high) else f"beyond {low:g}" for low, high in pairwise(edges)
    ]
    colors = pyplot.get_cmap("viridis")(np.linspace(0, 1, len(labels)))
    lines = math.ceil(len(titles) / ACROSS)
    with style.context("default"):
        figure, panels = pyplot.subplots(
            2 * lines, ACROSS, figsize=(1.6 * ACROSS, 4.0 * lines), sharex=True, layout="constrained"
        )
        # The two panels of a term are stacked.
        pairs = panels.reshape(lines, 2, ACROSS).transpose(0, 2, 1).reshape(-1, 2)
        for number, title in enumerate(titles):
            above, below = pairs[number]
            ratios = np.array(facts["ratios"][title]) / facts["median"][title]
            low, middle, high = np.array([np.percentile(ratios[span], (10, 50, 90)) for span in spans]).T
            above.fill_between(centres, low, high, color="tab:orange", alpha=0.4, lw=0)
            above.plot(centres, middle, color="tab:red")
            above.axhline(1, color="black", lw=0.6)
            above.set(yscale="log", ylim=(1e-2, 1e2))
            least, most = np.percentile(ratios[late], (10, 90))
            above.set_title(f"{_broken(title)}\nx{least:.2g} to x{most:.2g}", fontsize="small")
            shares = np.array(facts["shares"][title])
            below.stackplot(centres, *(_mean_of(shares, spans).T), colors=colors, labels=labels)
            below.set(ylim=(0, 1), xlim=(centres[0], centres[-1]), xlabel="iteration")
            if number % ACROSS == 0:
                above.set_ylabel("strength beside\nDice + CE (1: late median)", fontsize="small")
                below.set_ylabel("where it lies", fontsize="small")
            else:
                above.set_yticklabels([])
                below.set_yticklabels([])
        for above, below in pairs[len(titles) :]:
            above.axis("off")
            below.axis("off")
        figure.legend(
            *pairs[0][1].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=len(labels),
            fontsize="small",
            title=f"{facts['task']}: distance from the boundary, in tolerances of the surface Dice",
        )
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def _mean_of(shares: Array, spans: Sequence[npt.NDArray[np.bool_]]) -> Array:
    return np.array([shares[span].mean(0) for span in spans])


def _broken(title: str) -> str:
    """Break a title into two lines for narrow panels."""
    words = title.replace("capped ", "capped\n", 1)
    return words if "\n" in words else words + "\n"


def draw_errors(facts: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Plot the share of error voxels by distance from the target's boundary, one panel per data set.

    Args:
        facts: results of `errors.analysed` by data set.
    """
    from matplotlib import pyplot, style

    with style.context("default"):
        figure, panels = pyplot.subplots(
            1, len(facts), figsize=(3.8 * len(facts), 3.4), sharey=True, squeeze=False, layout="constrained"
        )
        for axes, (name, of_data) in zip(panels[0], facts.items(), strict=True):
            shares = errors.shares(dict(of_data))
            edges = [0, *of_data["edges"], np.inf]
            labels = [
                f"{low:g}-{high:g}" if np.isfinite(high) else f"> {low:g}" for low, high in pairwise(edges)
            ]
            axes.bar(labels, shares["false"], label="wrongly foreground", color="tab:red")
            axes.bar(
                labels, shares["missed"], bottom=shares["false"], label="wrongly background", color="tab:blue"
            )
            axes.set(title=name, xlabel="distance, in tolerances of the surface Dice")
        panels[0, 0].set_ylabel("share of the error voxels")
        panels[0, 0].legend(fontsize="small")
        figure.savefig(path, dpi=150)
        pyplot.close(figure)
