"""The weights of `CompoundLoss` over a training."""

from surfloss.losses.schedule import Constant, CosineRamp, LinearWarmup, Rebalance, Schedule

__all__ = ["Constant", "CosineRamp", "LinearWarmup", "Rebalance", "Schedule"]
