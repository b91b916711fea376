"""The pure function of every loss."""

from surfloss.losses.boundary import boundary_loss, generalized_surface_loss
from surfloss.losses.contour import contour_loss, contour_map
from surfloss.losses.dice_ce import dice_ce_loss
from surfloss.losses.hausdorff import hausdorff_dt_loss, log_hausdorff_dt_loss
from surfloss.losses.hausdorff_conv import hausdorff_conv_loss
from surfloss.losses.hausdorff_er import hausdorff_er_loss
from surfloss.losses.surface_dice import surface_dice_loss

__all__ = [
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
