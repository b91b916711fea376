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
from surfloss.losses.hausdorff_conv import HausdorffConvLoss
from surfloss.losses.schedule import Constant, LinearWarmup, Schedule

__all__ = ["contour", "hausdorff", "hausdorff_conv", "hausdorff_paper"]

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


def hausdorff_conv(steps: int, **options: Any) -> tuple[HausdorffConvLoss, Schedule]:
    """The convolution loss in voxels, its weight rising from 0 to 1e-2 over half of the training.

    Not a recommendation. Its gain over Dice + CE was seen on phantoms only, without a control of equal
    strength. On hippocampus MRI it gained nothing: Dice +0.0006 (-0.0022 to +0.0037), surface Dice -0.0001
    (-0.0038 to +0.0040), 24 training cases, three seeds, 60 other cases. It costs more than any other term.
    Arguments and errors are those of `hausdorff`, with the options of `HausdorffConvLoss`.
    """
    return HausdorffConvLoss(**options), _warmed_up(10 * _WEIGHT, steps)


def contour(steps: int, **options: Any) -> tuple[ContourLoss, Schedule]:
    """The contour loss on probability maps (el Jurdi et al. 2021, as the paper words it), weight 1e-3.

    Arguments and errors are those of `hausdorff`, with the options of `ContourLoss`; `steps` has no effect.
    """
    return ContourLoss(mode="map", **options), Constant(_WEIGHT)


def _warmed_up(weight: float, steps: int) -> LinearWarmup:
    """From 0 over the first half of a training."""
    return LinearWarmup(weight, max(1, whole("steps", steps, 1) // 2))
