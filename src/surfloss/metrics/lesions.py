"""Lesions one by one: connected components of the target, matched with those of the prediction by overlap."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from surfloss._check import SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._masks import BoolArray, Mask

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

    `dice` compares it with all of those together, 0 where there are none.
    """

    matched: tuple[int, ...]
    dice: float

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
    prediction: Mask, target: Mask, *, spacing: SpacingLike = None, connectivity: int | None = None
) -> LesionReport:
    """Match the connected components of two masks: two components match where they share a voxel.

    A component of the prediction that touches several lesions matches each of them.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number; None for 1.
        connectivity: neighbors of a voxel: 6, 18 or 26 in 3-D, 4 or 8 in 2-D; None for the most.

    Returns:
        Components in the order of their first voxels, labeled from 1 in each mask; none for an empty mask.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    masks = _masks.pair(prediction, target)
    dims = masks[0].ndim
    steps = _masks.steps(spacing, dims)
    reach = dims if connectivity is None else _REACH.get((dims, connectivity))
    if reach is None:
        choices = ", ".join(str(neighbors) for axes, neighbors in _REACH if axes == dims)
        fail("connectivity", connectivity, f"one of {choices} in {dims}-D")
    box = _masks.bounding_box(masks[0] | masks[1])
    p, t = (_components(mask[box], reach) for mask in masks)
    p_sizes, t_sizes = (np.bincount(labels.ravel(), minlength=1) for labels in (p, t))
    both = (p > 0) & (t > 0)
    numbers, shared = np.unique(t[both] * np.int64(len(p_sizes)) + p[both], return_counts=True)
    pairs = np.divmod(numbers, len(p_sizes))
    volume = float(np.prod(steps)) / 1000 if dims == 3 else None

    def component(label: int, sizes: npt.NDArray[np.intp]) -> tuple[int, int, float | None]:
        voxels = int(sizes[label])
        return label, voxels, None if volume is None else voxels * volume

    lesions = []
    for label in range(1, len(t_sizes)):
        chosen = pairs[0] == label
        matched = pairs[1][chosen]
        total = int(t_sizes[label] + p_sizes[matched].sum())
        dice = 2 * int(shared[chosen].sum()) / total
        lesions.append(Lesion(*component(label, t_sizes), tuple(matched.tolist()), dice))
    false = sorted(set(range(1, len(p_sizes))) - set(pairs[1].tolist()))
    return LesionReport(tuple(lesions), tuple(Component(*component(label, p_sizes)) for label in false))


def _components(mask: BoolArray, reach: int) -> npt.NDArray[np.int32]:
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, reach))
    return cast(npt.NDArray[np.int32], labels)
