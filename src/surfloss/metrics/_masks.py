"""What every metric does first: bring masks and spacing into one form, on the host."""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail

Mask: TypeAlias = npt.NDArray[Any] | Tensor
BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]


def pair(prediction: Mask, target: Mask) -> tuple[BoolArray, BoolArray]:
    """Both masks as bool arrays in host memory, cropped to the smallest box with all foreground of either.

    No metric looks further: what lies outside of the box is background of both. A tensor on a GPU is cropped
    there, so that little is copied.

    Raises:
        TypeError: if one is neither an array nor a tensor, or not of real numbers.
        ValueError: if one is not 2-D or 3-D or holds values other than 0 and 1, or if their shapes differ.
    """
    p, t = binary("prediction", prediction), binary("target", target)
    if p.shape != t.shape:
        fail("prediction", f"shape {tuple(p.shape)}", f"the shape of target, {tuple(t.shape)}")
    box = tuple(map(_hull, _bounding_box(p), _bounding_box(t)))
    return _on_host(p[box]), _on_host(t[box])


def single(argument: str, value: Mask) -> BoolArray:
    """One mask in the form of `pair`."""
    mask = binary(argument, value)
    return _on_host(mask[_bounding_box(mask)])


def binary(argument: str, value: Mask) -> Any:
    """The mask as bool, as long as it is one, and where it is.

    Raises:
        TypeError, ValueError: as `pair`.
    """
    if not isinstance(value, (np.ndarray, Tensor)):
        fail(argument, type(value).__name__, "a NumPy array or a torch.Tensor", TypeError)
    if value.ndim not in (2, 3):
        fail(argument, f"shape {tuple(value.shape)}", "a 2-D or 3-D mask without batch or channel axes")
    if value.is_complex() if isinstance(value, Tensor) else value.dtype.kind not in "biuf":
        fail(argument, f"dtype {value.dtype}", "a mask of real numbers", TypeError)
    if value.dtype in (np.dtype(bool), torch.bool):
        return value
    ones: Any = value == 1
    zeros: Any = value == 0
    if _count(ones) + _count(zeros) != math.prod(value.shape):
        others = value[~(ones | zeros)].reshape(-1)[:1000].tolist()
        fail(argument, f"values {list(dict.fromkeys(others))[:5]}", "a binary mask of 0 and 1")
    return ones


def _count(mask: Any) -> int:
    return int(mask.count_nonzero() if isinstance(mask, Tensor) else np.count_nonzero(mask))


def _on_host(mask: Any) -> BoolArray:
    voxels: BoolArray = mask.cpu().numpy() if isinstance(mask, Tensor) else mask
    return voxels


def _bounding_box(mask: Any) -> tuple[slice, ...]:
    """The smallest box with all foreground; of size 0 where there is none."""
    box: tuple[slice, ...] = ()
    for axis in range(mask.ndim):
        occupied = mask[box]  # each axis narrows what the next one looks at
        for other in reversed(range(mask.ndim)):
            if other != axis:
                occupied = occupied.any(other)
        places = np.flatnonzero(_on_host(occupied))
        box += (slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0),)
    return box


def _hull(one: slice, other: slice) -> slice:
    """The smallest slice with both."""
    if one.start == one.stop or other.start == other.stop:
        return one if other.start == other.stop else other
    return slice(min(one.start, other.start), max(one.stop, other.stop))


def steps(spacing: SpacingLike, dims: int) -> FloatArray:
    """The spacing as one float64 number for each axis: in mm, or 1 voxel for None."""
    return np.array(_check.spacing_of_one(spacing, dims))


def steps_in_mm(spacing: SpacingLike, dims: int) -> FloatArray:
    """The spacing as one float64 number for each axis in mm, for what is called mm or ml.

    Raises:
        ValueError: if the spacing is None.
    """
    if spacing is None:
        fail("spacing", None, "the voxel size in mm along each axis in array order")
    return steps(spacing, dims)
