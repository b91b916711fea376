"""Surface terms of `CompoundLoss`, ready to train: a loss and the weight that goes with it.

    CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": presets.hausdorff(steps, softmax=True, ...)})

The settings are those of the paper, and those to which a study of ours came. The paper is Sanner &
Mukhopadhyay, "Perimeter-based Loss Evaluation for ICH Segmentation on NCCT", which adds a surface loss of a
constant weight 1e-3 to Dice + CE. The study is `benchmarks/training`.
"""

from typing import Any

from surfloss._check import whole
from surfloss.losses.contour import ContourLoss
from surfloss.losses.hausdorff import HausdorffDTLoss
from surfloss.losses.schedule import Constant, LinearWarmup, Schedule

__all__ = ["contour", "hausdorff", "hausdorff_bounded", "hausdorff_paper"]

_WEIGHT = 1e-3


def hausdorff(steps: int, **options: Any) -> tuple[HausdorffDTLoss, Schedule]:
    """The Hausdorff distance-transform loss in voxels, its weight rising from 0 over half of the training.

    Args:
        steps: how many steps the training has.
        options: of `HausdorffDTLoss`, which say how logits and labels are read.

    Raises:
        ValueError: if `steps` is below 1, or an option is wrong.
    """
    return HausdorffDTLoss(**options), _warmed_up(_WEIGHT, steps)


def hausdorff_paper(steps: int, **options: Any) -> tuple[HausdorffDTLoss, Schedule]:
    """The paper's: weight 1e-3 from the start, and SciPy's answer for masks without a boundary.

    It can drive a network to predict nothing at all. Arguments and errors are those of `hausdorff`; `steps`
    has no effect.
    """
    return HausdorffDTLoss(empty="scipy", **options), Constant(_WEIGHT)


def hausdorff_bounded(steps: int, **options: Any) -> tuple[HausdorffDTLoss, Schedule]:
    """The Hausdorff loss with distances up to 10 voxels, its weight rising from 0 to 10 as in `hausdorff`.

    The weights of the errors have a mean of 1. The term is therefore as strong as ten times the mean squared
    error, on patches of every size and all through the training. In the study it did neither harm nor good
    beside Dice + CE: compare it with squared error of weight 10. Arguments and errors are those of
    `hausdorff`.
    """
    return HausdorffDTLoss(max_distance=10.0, normalize="errors", **options), _warmed_up(10.0, steps)


def contour(steps: int, **options: Any) -> tuple[ContourLoss, Schedule]:
    """The contour loss on probability maps (el Jurdi et al. 2021, as the paper words it), weight 1e-3.

    Arguments and errors are those of `hausdorff`, with the options of `ContourLoss`; `steps` has no effect.
    """
    return ContourLoss(mode="map", **options), Constant(_WEIGHT)


def _warmed_up(weight: float, steps: int) -> LinearWarmup:
    """From 0 over the first half of a training."""
    return LinearWarmup(weight, max(1, whole("steps", steps, 1) // 2))
