"""The pure function of every loss."""

from surfloss.losses.contour import contour_loss, contour_map
from surfloss.losses.dice_ce import dice_ce_loss
from surfloss.losses.hausdorff import hausdorff_dt_loss, log_hausdorff_dt_loss

__all__ = ["contour_loss", "contour_map", "dice_ce_loss", "hausdorff_dt_loss", "log_hausdorff_dt_loss"]
