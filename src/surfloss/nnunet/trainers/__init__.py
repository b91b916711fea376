"""nnU-Net trainers with a surface loss.

nnU-Net finds them by name when `nnUNet_extTrainer` names this folder (`surfloss info` prints it):

    export nnUNet_extTrainer=<this folder>
    nnUNetv2_train DATASET 3d_fullres 0 -tr nnUNetTrainerDA5Hausdorff
"""

from surfloss.nnunet.trainers.surface import (
    nnUNetTrainerContour,
    nnUNetTrainerDA5Contour,
    nnUNetTrainerDA5DiceCE,
    nnUNetTrainerDA5Hausdorff,
    nnUNetTrainerDA5HausdorffBounded,
    nnUNetTrainerDA5HausdorffPaper,
    nnUNetTrainerDiceCE,
    nnUNetTrainerDiceCEAgain,
    nnUNetTrainerHausdorff,
    nnUNetTrainerHausdorffBounded,
    nnUNetTrainerHausdorffPaper,
)

__all__ = [
    "nnUNetTrainerContour",
    "nnUNetTrainerDA5Contour",
    "nnUNetTrainerDA5DiceCE",
    "nnUNetTrainerDA5Hausdorff",
    "nnUNetTrainerDA5HausdorffBounded",
    "nnUNetTrainerDA5HausdorffPaper",
    "nnUNetTrainerDiceCE",
    "nnUNetTrainerDiceCEAgain",
    "nnUNetTrainerHausdorff",
    "nnUNetTrainerHausdorffBounded",
    "nnUNetTrainerHausdorffPaper",
]
