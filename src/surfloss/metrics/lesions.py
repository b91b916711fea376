"""Lesions one by one: connected components of the target, matched with those of the prediction by overlap."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._components import Labels, boxes, components
from surfloss.metrics._masks import FloatArray, Mask
from surfloss.metrics.surface import between

# By number of axes and of neighbors: how many steps along axes lead to a neighbor at most.
_REACH = {(2, 4): 1, (2, 8): 2, (3, 6): 1, (3, 18): 2, (3, 26): 3}


@dataclass(frozen=True)
class Component:
    """A connected component; volumes are in ml, None in 2-D."""

    label: int
    voxels: int
    volume_ml: float | None


@dataclass(frozen=True)
class Lesion(Component):
    """A component of the target, and the labels of the prediction's components that overlap it.

    `dice` compares it with all of those together, 0 where there are none; so do `surface_dice` and
    `hausdorff_distance_95` (in mm, None where there are none), if a tolerance was given.
    """

    matched: tuple[int, ...]
    dice: float
    surface_dice: float | None = None
    hausdorff_distance_95: float | None = None

    @property
    def detected(self) -> bool:
        """Whether one voxel or more was found."""
        return bool(self.matched)


@dataclass(frozen=True)
class LesionReport:
    """The target's lesions, and the prediction's components that overlap none of them."""

    lesions: tuple[Lesion, ...]
    false_positives: tuple[Component, ...]

    @property
    def detected(self) -> int:
        """How many lesions were found."""
        return sum(lesion.detected for lesion in self.lesions)


def per_lesion(
    prediction: Mask,
    target: Mask,
    *,
    spacing: SpacingLike,
    connectivity: int | None = None,
    tolerance: float | None = None,
) -> LesionReport:
    """Match the connected components of two masks: two components match where they share a voxel.

    A component of the prediction that touches several lesions matches each of them.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number. Required, since ml need mm.
        connectivity: neighbors of a voxel: 6, 18 or 26 in 3-D, 4 or 8 in 2-D; None for the most.
        tolerance: in mm; with it, surfaces are measured for each lesion too, which takes longer.

    Returns:
        Components in the order of their first voxels, labeled from 1 in each mask; none for an empty mask.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    masks = _masks.pair(prediction, target)
    dims = masks[0].ndim
    steps = _masks.steps_in_mm(spacing, dims)
    reach = dims if connectivity is None else None
    if connectivity is not None and _check.is_whole(connectivity):
        reach = _REACH.get((dims, connectivity))
    if reach is None:
        choices = ", ".join(str(neighbors) for axes, neighbors in _REACH if axes == dims)
        fail("connectivity", repr(connectivity), f"one of {choices} in {dims}-D")
    if tolerance is not None:
        _check.not_negative("tolerance", tolerance)
    p, t = (components(mask, reach) for mask in masks)
    return match(p, t, steps, tolerance)


def match(prediction: Labels, target: Labels, steps: FloatArray, tolerance: float | None) -> LesionReport:
    """`per_lesion` of masks whose components are known."""
    p_sizes, t_sizes = (np.bincount(labels.reshape(-1), minlength=1) for labels in (prediction, target))
    both = (prediction > 0) & (target > 0)
    # One number a pair of labels: sorted by lesion, so that its matches stand together.
    numbers, shared = np.unique(target[both] * np.int64(len(p_sizes)) + prediction[both], return_counts=True)
    lesion_of, match_of = np.divmod(numbers, len(p_sizes))
    ends = np.searchsorted(lesion_of, np.arange(len(t_sizes)), side="right")
    volume = float(np.prod(steps)) / 1000 if len(steps) == 3 else None

    def component(label: int, sizes: npt.NDArray[np.intp]) -> tuple[int, int, float | None]:
        voxels = int(sizes[label])
        return label, voxels, None if volume is None else voxels * volume

    lesions = []
    for label in range(1, len(t_sizes)):
        chosen = slice(ends[label - 1], ends[label])
        matched = match_of[chosen]
        total = int(t_sizes[label] + p_sizes[matched].sum())
        dice = 2 * int(shared[chosen].sum()) / total
        lesions.append(Lesion(*component(label, t_sizes), tuple(matched.tolist()), dice))
    if tolerance is not None:
        lesions = _with_surfaces(lesions, prediction, target, steps, tolerance)
    false = np.setdiff1d(np.arange(1, len(p_sizes)), match_of).tolist()
    return LesionReport(tuple(lesions), tuple(Component(*component(label, p_sizes)) for label in false))


def _with_surfaces(
    lesions: list[Lesion], prediction: Labels, target: Labels, steps: FloatArray, tolerance: float
) -> list[Lesion]:
    p_boxes, t_boxes = boxes(prediction), boxes(target)
    measured = []
    for lesion in lesions:
        if not lesion.detected:
            measured.append(replace(lesion, surface_dice=0.0))
            continue
        around = [t_boxes[lesion.label - 1], *(p_boxes[label - 1] for label in lesion.matched)]
        box = tuple(
            slice(min(side.start for side in sides), max(side.stop for side in sides))
            for sides in zip(*around, strict=True)
        )
        found = np.isin(prediction[box], lesion.matched)
        surfaces = between(found, target[box] == lesion.label, steps)
        dice, distance = surfaces.dice(tolerance), surfaces.hausdorff(95)
        measured.append(replace(lesion, surface_dice=dice, hausdorff_distance_95=distance))
    return measured
