"""The weights of `CompoundLoss` over a training."""

from surfloss.losses.schedule import Constant, LinearWarmup, Schedule

__all__ = ["Constant", "LinearWarmup", "Schedule"]
