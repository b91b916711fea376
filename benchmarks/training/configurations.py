"""The configurations that the study compares: surface term, its strength, and data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from benchmarks.training import terms
from benchmarks.training.tasks import TASKS, Task
from surfloss import CompoundLoss, DiceCELoss
from surfloss.schedules import Constant, LinearWarmup, Rebalance, Schedule


@dataclass(frozen=True)
class Configuration:
    """One row of the study's tables.

    Attributes:
        name: its name in the tables.
        surface: the term's name in `terms`; None for Dice + CE alone.
        weight: the final weight of the term; None if `ratio` determines it.
        schedule: "constant"; "warm-up", linear from 0 over the first half; "delayed", 0 for the first half,
            then the full weight; "rebalance", 1 minus the weight of Dice + CE, which falls from 1 to near 0.
        options: options of the surface term. The spacing "mm" means the volumes' own; the default is voxels.
        cap: None, or the limit of the gradient ratio that `GradientRatioMonitor` enforces.
        volumes: a name in `TASKS`.
        patch, share_with_lesion, iterations: settings of the data and the training.
        ratio: instead of a weight, the wanted median gradient ratio over the second half of a training. The
            weight is this ratio over the ratio of the term at weight 1 in trainings of Dice + CE.
        like: None, or the name of another configuration. The weight is then multiplied by the ratio that the
            other one reached in the selection, over the ratio that this one reached there.
    """

    name: str
    surface: str | None = None
    weight: float | None = 0.0
    schedule: str = "constant"
    options: dict[str, Any] = field(default_factory=dict)
    cap: float | None = None
    volumes: str = "phantom"
    patch: tuple[int, ...] = (16, 64, 64)
    share_with_lesion: float = 0.5
    iterations: int = 400
    ratio: float | None = None
    like: str | None = None

    @property
    def task(self) -> Task:
        return TASKS[self.volumes]

    def loss(self, spacing: tuple[float, ...], weight: float) -> CompoundLoss:
        """Build Dice + CE plus the term with the final weight `weight`."""
        region: float | Schedule = 1.0
        losses: dict[str, tuple[nn.Module, float | Schedule]] = {}
        if self.surface:
            schedule = self._schedule(weight)
            if self.schedule == "rebalance":
                region = Rebalance(self.iterations)
                schedule = region.complement
            losses["surface"] = (terms.make(self.surface, spacing, **self.options), schedule)
        return CompoundLoss({"dice_ce": (DiceCELoss(batch=True), region), **losses})

    def _schedule(self, weight: float) -> Schedule:
        half = max(1, self.iterations // 2)
        if self.schedule == "warm-up":
            return LinearWarmup(weight, half)
        if self.schedule == "delayed":
            return LinearWarmup(weight, 1, delay=half)
        return Constant(weight)


@dataclass(frozen=True)
class Plan:
    """Configurations, and the seeds with which each is trained."""

    configurations: tuple[Configuration, ...]
    seeds: tuple[int, ...]


DICE_CE = "Dice + CE"
AGAIN = "Dice + CE again"  # its gradient ratio always equals its weight
SQUARED = "squared error"

# Title, name in `terms`, options.
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    AGAIN: ("Dice + CE", {}),
    SQUARED: ("unweighted", {"error": "squared"}),
    "absolute error": ("unweighted", {"error": "absolute"}),
    "cross-entropy": ("unweighted", {"error": "cross-entropy"}),
}
SURFACE: dict[str, tuple[str, dict[str, Any]]] = {
    "Hausdorff": ("hausdorff", {}),
    "convolution": ("convolution", {}),
    "boundary": ("boundary", {}),
    "generalized surface": ("generalized surface", {}),
    "surface Dice": ("surface Dice", {"tolerance": 1.0}),  # voxels
    "contour": ("contour", {"mode": "map"}),
    "capped squared error": ("weighted", {"error": "squared", "alpha": 1.0, "cap": 10.0}),
    "capped squared error, alpha 2": ("weighted", {"error": "squared", "alpha": 2.0, "cap": 10.0}),
    "capped absolute error": ("weighted", {"error": "absolute", "alpha": 1.0, "cap": 10.0}),
    "capped cross-entropy": ("weighted", {"error": "cross-entropy", "alpha": 1.0, "cap": 10.0}),
    "capped cross-entropy, alpha 2": ("weighted", {"error": "cross-entropy", "alpha": 2.0, "cap": 10.0}),
}
TERMS = CONTROLS | SURFACE
# Forms of the weighted error whose gradients are measured without training them.
TRIED: dict[str, tuple[str, dict[str, Any]]] = {
    f"{error}, alpha {alpha:g}, cap {cap:g}, mean {mean}": (
        "weighted",
        {"error": error, "alpha": alpha, "cap": cap, "mean": mean},
    )
    for error, alpha, cap, mean in (
        ("squared", 0.0, math.inf, None),
        ("squared", 1.0, math.inf, None),
        ("squared", 1.0, 10.0, None),
        ("squared", 1.0, 10.0, "volume"),
        ("squared", 0.5, 10.0, "errors"),
        ("squared", 1.0, 5.0, "errors"),
        ("squared", 1.0, 20.0, "errors"),
        ("squared", 2.0, math.inf, "errors"),
    )
}
# The control of each term: its errors without its distances. The boundary loss is the absolute error times
# the distance, up to a constant.
CONTROL_OF = {
    title: f"{options.get('error', 'squared')} error".replace("cross-entropy error", "cross-entropy")
    for title, (_, options) in SURFACE.items()
} | {"boundary": "absolute error"}
RATIOS = (0.3, 1.0)
# Terms that are steady enough at ratio 1 to be tried stronger, and their controls.
STRONG = (SQUARED, "absolute error", "boundary", "capped squared error, alpha 2", "capped absolute error")
STRONG_RATIO = 3.0


def on(
    task: str, title: str | None = None, ratio: float | None = None, like: str | None = None
) -> Configuration:
    """Build a configuration of the second study: a term of `TERMS` at a gradient ratio, or only Dice + CE."""
    settings = TASKS[task]
    surface, options = TERMS[title] if title else (None, {})
    return Configuration(
        name_of(title, ratio) if title else DICE_CE,
        surface,
        None if title else 0.0,
        "warm-up" if title else "constant",
        options,
        volumes=task,
        patch=settings.patch,
        share_with_lesion=settings.foreground_share,
        iterations=settings.iterations,
        ratio=ratio,
        like=like,
    )


def name_of(title: str, ratio: float | None) -> str:
    """The name of a term at a gradient ratio."""
    return f"{title}, {ratio:g}"


def weight_of(
    configuration: Configuration, at_weight_1: Mapping[str, float], reached: Mapping[str, float]
) -> float:
    """The final weight of the configuration's term.

    Args:
        at_weight_1: gradient ratios of the terms at weight 1, by title.
        reached: gradient ratios of the runs of the selection, by configuration name.

    Raises:
        KeyError: if a needed ratio is missing.
    """
    if configuration.ratio is None:
        return configuration.weight or 0.0
    title = configuration.name.rpartition(",")[0]
    weight = configuration.ratio / at_weight_1[title]
    if configuration.like is None or configuration.like == configuration.name:
        return weight
    own = configuration.ratio if title == AGAIN else reached[configuration.name]
    return weight * reached[configuration.like] / own
