"""Losses, each as a function and as a module with the same options, and what combines and weighs them."""

from surfloss.losses.compound import CompoundLoss, GradientRatioMonitor
from surfloss.losses.contour import ContourLoss, contour_loss, contour_map
from surfloss.losses.dice_ce import DiceCELoss, dice_ce_loss
from surfloss.losses.hausdorff import (
    HausdorffDTLoss,
    LogHausdorffDTLoss,
    hausdorff_dt_loss,
    log_hausdorff_dt_loss,
)

__all__ = [
    "CompoundLoss",
    "ContourLoss",
    "DiceCELoss",
    "GradientRatioMonitor",
    "HausdorffDTLoss",
    "LogHausdorffDTLoss",
    "contour_loss",
    "contour_map",
    "dice_ce_loss",
    "hausdorff_dt_loss",
    "log_hausdorff_dt_loss",
]
