"""Surface losses, exact Euclidean distance transforms and surface metrics for 3-D segmentation."""

from surfloss import functional, metrics, ndimage, presets, schedules
from surfloss.edt import distance_transform_edt, label_edt, signed_distance, two_sided_edt
from surfloss.losses import (
    BoundaryLoss,
    CompoundLoss,
    ContourLoss,
    DiceCELoss,
    GeneralizedSurfaceLoss,
    GradientRatioMonitor,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    LogHausdorffDTLoss,
    SurfaceDiceLoss,
)
from surfloss.ops._select import available_backends, backend_status, use_backend

__version__ = "0.1.0"
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
    "available_backends",
    "backend_status",
    "distance_transform_edt",
    "functional",
    "label_edt",
    "metrics",
    "ndimage",
    "presets",
    "schedules",
    "signed_distance",
    "two_sided_edt",
    "use_backend",
]
