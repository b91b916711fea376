"""Losses, each as a function and as a module with the same options, and what combines and weighs them."""

from surfloss.losses.boundary import (
    BoundaryLoss,
    GeneralizedSurfaceLoss,
    boundary_loss,
    generalized_surface_loss,
)
from surfloss.losses.compound import CompoundLoss, GradientRatioMonitor
from surfloss.losses.contour import ContourLoss, contour_loss, contour_map
from surfloss.losses.dice_ce import DiceCELoss, dice_ce_loss
from surfloss.losses.hausdorff import (
    HausdorffDTLoss,
    LogHausdorffDTLoss,
    hausdorff_dt_loss,
    log_hausdorff_dt_loss,
)
from surfloss.losses.hausdorff_conv import HausdorffConvLoss, hausdorff_conv_loss
from surfloss.losses.hausdorff_er import HausdorffERLoss, hausdorff_er_loss
from surfloss.losses.surface_dice import SurfaceDiceLoss, surface_dice_loss

__all__ = [
    "BoundaryLoss",
    "CompoundLoss",
    "ContourLoss",
    "DiceCELoss",
    "GeneralizedSurfaceLoss",
    "GradientRatioMonitor",
    "HausdorffConvLoss",
    "HausdorffDTLoss",
    "HausdorffERLoss",
    "LogHausdorffDTLoss",
    "SurfaceDiceLoss",
    "boundary_loss",
    "contour_loss",
    "contour_map",
    "dice_ce_loss",
    "generalized_surface_loss",
    "hausdorff_conv_loss",
    "hausdorff_dt_loss",
    "hausdorff_er_loss",
    "log_hausdorff_dt_loss",
    "surface_dice_loss",
]
