"""What the study compares. A configuration is the surface term beside Dice + CE, and the patches it sees."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from surfloss import CompoundLoss, ContourLoss, DiceCELoss, HausdorffDTLoss, LogHausdorffDTLoss
from surfloss.schedules import Constant, LinearWarmup, Schedule

ITERATIONS = 300
LOSSES = {"hausdorff": HausdorffDTLoss, "log": LogHausdorffDTLoss, "contour": ContourLoss}


@dataclass(frozen=True)
class Configuration:
    """One row of the study's tables.

    Attributes:
        surface: the surface term, by its name in `LOSSES`; None for Dice + CE alone.
        weight: its last weight.
        schedule: "constant"; "warm-up", a straight line from 0 over the first half; "delayed", 0 for the
            first half, then the weight at once.
        options: of the surface term. The spacing "mm" stands for the volumes' own; without it, voxels.
        share_with_lesion: see `data.batches`.
        optimizer: "adam", or "sgd", nnU-Net's kind, which follows the size of a gradient.
    """

    name: str
    surface: str | None = None
    weight: float = 0.0
    schedule: str = "constant"
    options: dict[str, Any] = field(default_factory=dict)
    share_with_lesion: float = 0.5
    optimizer: str = "adam"

    def loss(self, spacing: tuple[float, float, float]) -> CompoundLoss:
        terms: dict[str, tuple[nn.Module, float | Schedule]] = {"dice_ce": (DiceCELoss(batch=True), 1.0)}
        if self.surface:
            options = dict(self.options)
            if options.get("spacing") == "mm":
                options["spacing"] = spacing
            surface = LOSSES[self.surface](softmax=True, to_onehot_y=True, **options)
            terms["surface"] = (surface, self._schedule())
        return CompoundLoss(terms)

    def _schedule(self) -> Schedule:
        half = ITERATIONS // 2
        if self.schedule == "warm-up":
            return LinearWarmup(self.weight, half)
        if self.schedule == "delayed":
            return LinearWarmup(self.weight, 1, delay=half)
        return Constant(self.weight)


def _hausdorff(name: str, weight: float, schedule: str = "constant", **options: Any) -> Configuration:
    return Configuration(f"Hausdorff {name}", "hausdorff", weight, schedule, options)


DICE_CE = Configuration("Dice + CE")

# Squared distances grow with the patch: on these, 1e-2 gives the gradient ratio at the first step that 1e-3
# gives on the paper's.
EXPLORATION = (
    DICE_CE,
    _hausdorff("1e-3", 1e-3),
    _hausdorff("1e-2", 1e-2),
    _hausdorff("1e-2, SciPy's empties", 1e-2, empty="reference"),
    _hausdorff("1e-1", 1e-1),
    _hausdorff("1e-3, warm-up", 1e-3, "warm-up"),
    _hausdorff("1e-2, warm-up", 1e-2, "warm-up"),
    _hausdorff("1e-1, warm-up", 1e-1, "warm-up"),
    _hausdorff("1e-2, delayed", 1e-2, "delayed"),
    _hausdorff("1e-3, mm, warm-up", 1e-3, "warm-up", spacing="mm"),
    _hausdorff("10, diagonal, warm-up", 10.0, "warm-up", normalize="diagonal"),
    _hausdorff("100, diagonal, warm-up", 100.0, "warm-up", normalize="diagonal"),
    _hausdorff("1e-1, alpha 1, warm-up", 1e-1, "warm-up", alpha=1.0),
    Configuration("log Hausdorff 1e-1", "log", 1e-1),
    Configuration("log Hausdorff 1, warm-up", "log", 1.0, "warm-up"),
    Configuration("contour map 1", "contour", 1.0),
    Configuration("contour map 10", "contour", 10.0),
    Configuration("contour length 1e-3", "contour", 1e-3, options={"mode": "length"}),
)

# The paper's optimizer is SGD, and most of its patches hold no lesion: the collapse is looked for there.
COLLAPSE = tuple(
    Configuration(f"{name}, SGD, a lesion in {share:.0%}", surface, weight, schedule, options, share, "sgd")
    for share in (0.0, 0.5)
    for name, surface, weight, schedule, options in (
        ("Dice + CE", None, 0.0, "constant", {}),
        ("Hausdorff 1e-2", "hausdorff", 1e-2, "constant", {}),
        ("Hausdorff 1e-2, SciPy's empties", "hausdorff", 1e-2, "constant", {"empty": "reference"}),
        ("Hausdorff 1e-2, warm-up", "hausdorff", 1e-2, "warm-up", {}),
    )
)
