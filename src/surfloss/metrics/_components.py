"""Connected components of a mask."""

from typing import cast

import numpy as np
import numpy.typing as npt

from surfloss.metrics._masks import BoolArray

Labels = npt.NDArray[np.int32]


def components(mask: BoolArray, reach: int) -> Labels:
    """Labels from 1 in the order of the components' first voxels, 0 in the background.

    Args:
        mask: bool, 2-D or 3-D.
        reach: how many steps along axes lead to a neighbor at most; the number of axes for all neighbors.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, reach))
    return cast(Labels, labels)


def boxes(labels: Labels) -> list[tuple[slice, ...]]:
    """The smallest box with each component, in the order of the labels."""
    from scipy import ndimage

    return ndimage.find_objects(labels) if labels.size else []
