"""Metrics of a segmentation: overlap, volume, and distances between surfaces.

All take `(prediction, target, *, spacing)` as NumPy arrays or torch tensors and give Python floats. Values in
mm or ml require the spacing; a distance without one is in voxels. Tensors on a GPU are cropped to the
foreground there and copied to the host, where metrics are computed in double precision.
"""

from typing import TYPE_CHECKING

from surfloss.metrics.evaluate import CaseMetrics, evaluate
from surfloss.metrics.folders import evaluate_folders
from surfloss.metrics.lesions import Component, Lesion, LesionReport, per_lesion
from surfloss.metrics.overlap import boundary_iou, dice
from surfloss.metrics.results import (
    CaseComponent,
    CaseResult,
    FolderEvaluation,
    FolderSettings,
    OtherLabel,
    Problem,
)
from surfloss.metrics.summary import Summaries, Summary
from surfloss.metrics.surface import (
    SurfaceDistances,
    average_surface_distance,
    average_symmetric_surface_distance,
    hausdorff_distance,
    surface_dice,
    surface_distances,
)
from surfloss.metrics.volume import abc2_volume_ml, relative_volume_difference, volume_ml

if TYPE_CHECKING:
    from surfloss.metrics.running import SurfaceMetrics
else:

    def __getattr__(name: str) -> object:
        """Import `SurfaceMetrics` when it is first asked for: it loads torchmetrics, which takes seconds."""
        if name != "SurfaceMetrics":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from surfloss.metrics.running import SurfaceMetrics

        return SurfaceMetrics


__all__ = [
    "CaseComponent",
    "CaseMetrics",
    "CaseResult",
    "Component",
    "FolderEvaluation",
    "FolderSettings",
    "Lesion",
    "LesionReport",
    "OtherLabel",
    "Problem",
    "Summaries",
    "Summary",
    "SurfaceDistances",
    "SurfaceMetrics",
    "abc2_volume_ml",
    "average_surface_distance",
    "average_symmetric_surface_distance",
    "boundary_iou",
    "dice",
    "evaluate",
    "evaluate_folders",
    "hausdorff_distance",
    "per_lesion",
    "relative_volume_difference",
    "surface_dice",
    "surface_distances",
    "volume_ml",
]
