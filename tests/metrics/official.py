"""What INSTANCE2022 reports for a case, from DeepMind's `surface-distance` and two formulas of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import surface_distance
from scipy import ndimage
from surface_distance import lookup_tables

Mask = npt.NDArray[np.bool_]


@contextmanager
def _names_of_2018() -> Iterator[None]:
    """The package still uses names that NumPy 2 dropped and SciPy is about to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "Inf", np.inf, raising=False)
        patch.setattr(np, "NaN", np.nan, raising=False)
        patch.setattr(ndimage, "filters", ndimage, raising=False)
        patch.setattr(ndimage, "morphology", ndimage, raising=False)
        with np.errstate(invalid="ignore", divide="ignore"):
            yield


def element_sizes(spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    """Their table of areas (3-D) or lengths (2-D) by neighborhood code."""
    if len(spacing) == 3:
        return lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    return lookup_tables.create_table_neighbour_code_to_contour_length(spacing)


class Surfaces:
    """Their answers for one pair of masks."""

    def __init__(self, prediction: Mask, target: Mask, spacing: Sequence[float]) -> None:
        with _names_of_2018():
            self.distances: dict[str, Any] = surface_distance.compute_surface_distances(
                target, prediction, spacing
            )

    def hausdorff(self, percentile: float) -> float:
        with _names_of_2018():
            return float(surface_distance.compute_robust_hausdorff(self.distances, percentile))

    def dice(self, tolerance: float) -> float:
        with _names_of_2018():
            return float(surface_distance.compute_surface_dice_at_tolerance(self.distances, tolerance))

    def averages(self) -> tuple[float, float]:
        """From the prediction to the target, and back."""
        with _names_of_2018():
            back, forth = surface_distance.compute_average_surface_distance(self.distances)
        return float(forth), float(back)


def dice(prediction: Mask, target: Mask) -> float:
    return float((2.0 * (prediction & target).sum() + 1e-5) / (prediction.sum() + target.sum() + 1e-5))


def relative_volume_difference(prediction: Mask, target: Mask) -> float:
    return float(abs(int(prediction.sum()) - int(target.sum())) / target.sum())
