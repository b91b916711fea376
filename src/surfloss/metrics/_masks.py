"""What every metric does first: bring masks and spacing into one form, on the host."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail

Mask: TypeAlias = npt.NDArray[Any] | Tensor
BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]


def binary(argument: str, value: Mask) -> BoolArray:
    """The mask as a bool array in host memory.

    Raises:
        TypeError: if it is neither an array nor a tensor, or not of real numbers.
        ValueError: if it is not 2-D or 3-D, or holds values other than 0 and 1.
    """
    if not isinstance(value, (np.ndarray, Tensor)):
        fail(argument, type(value).__name__, "a NumPy array or a torch.Tensor", TypeError)
    if value.ndim not in (2, 3):
        fail(argument, f"shape {tuple(value.shape)}", "a 2-D or 3-D mask without batch or channel axes")
    if value.is_complex() if isinstance(value, Tensor) else value.dtype.kind not in "biuf":
        fail(argument, f"dtype {value.dtype}", "a mask of real numbers", TypeError)
    mask: Any = value == 1  # on the tensor's device, so that at most a byte a voxel is copied
    known = mask | (value == 0)
    if not bool(known.all()):
        others = value[~known].reshape(-1)[:1000].tolist()
        fail(argument, f"values {list(dict.fromkeys(others))[:5]}", "a binary mask of 0 and 1")
    voxels: BoolArray = mask.cpu().numpy() if isinstance(mask, Tensor) else mask
    return voxels


def pair(prediction: Mask, target: Mask) -> tuple[BoolArray, BoolArray]:
    """Both masks in the form of `binary`.

    Raises:
        ValueError: if their shapes differ.
    """
    masks = binary("prediction", prediction), binary("target", target)
    if masks[0].shape != masks[1].shape:
        fail("prediction", f"shape {masks[0].shape}", f"the shape of target, {masks[1].shape}")
    return masks


def steps(spacing: SpacingLike, dims: int) -> FloatArray:
    """The spacing as one float64 number for each axis, in mm."""
    return np.array(_check.spacing_of_one(spacing, dims))


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box with all foreground; of size 0 where there is none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        box.append(slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0, 0))
    return tuple(box)
