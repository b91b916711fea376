"""Losses as modules, and what combines and weighs them; `surfloss.functional` has them as functions."""

from surfloss.losses.boundary import BoundaryLoss, GeneralizedSurfaceLoss
from surfloss.losses.compound import CompoundLoss, GradientRatioMonitor
from surfloss.losses.contour import ContourLoss
from surfloss.losses.dice_ce import DiceCELoss
from surfloss.losses.hausdorff import HausdorffDTLoss, LogHausdorffDTLoss
from surfloss.losses.hausdorff_conv import HausdorffConvLoss
from surfloss.losses.hausdorff_er import HausdorffERLoss
from surfloss.losses.surface_dice import SurfaceDiceLoss

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
]
