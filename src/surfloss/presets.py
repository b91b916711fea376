"""Surface terms of `CompoundLoss`, ready to train: a loss and the weight that goes with it.

CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": presets.hausdorff(steps, softmax=True, ...)})
"""

from surfloss.losses.presets import contour, hausdorff, hausdorff_conv, hausdorff_paper

__all__ = ["contour", "hausdorff", "hausdorff_conv", "hausdorff_paper"]
