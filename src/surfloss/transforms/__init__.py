"""Maps of the target's distances from the data loader, which the losses take as `target_distance`.

`TargetDistance` computes them from a tensor; `surfloss.transforms.monai` and
`surfloss.transforms.batchgenerators` put it into the pipelines of MONAI and nnU-Net.
"""

from surfloss.transforms.distance import TargetDistance

__all__ = ["TargetDistance"]
