"""SciPy's distance transform by signature, on NumPy arrays, answered by the operators of this library."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from surfloss import _check
from surfloss.ops._select import select
from surfloss.ops.edt import measure_background

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int32]


def distance_transform_edt(
    input: npt.ArrayLike,
    sampling: _check.SpacingLike = None,
    return_distances: bool = True,
    return_indices: bool = False,
    distances: _Float | None = None,
    indices: _Index | None = None,
) -> _Float | _Index | tuple[_Float, _Index] | None:
    """Drop-in for `scipy.ndimage.distance_transform_edt`: distance of nonzero voxels to the nearest zero one.

    The backend is the one that `surfloss.use_backend`, `SURFLOSS_BACKEND` or the default names. Distances are
    within 2 units in the last place of float64; where all steps are 1 they are SciPy's own, bit by bit.

    Args:
        input: 1 to 3 axes (SciPy takes any number), of any numeric type; not 0 is foreground, also NaN.
        sampling: step along each axis in mm, positive: a number, a sequence, array or tensor; None for 1.
        return_distances: whether distances are wanted.
        return_indices: whether the position of the nearest zero voxel is wanted.
        distances: float64 array of the input's shape to write to, instead of returning distances.
        indices: int32 array `(input.ndim, *input.shape)` to write to, instead of returning indices.

    Returns:
        The distances (float64, mm, the input's shape), the indices (int32, `(input.ndim, *input.shape)`), a
        pair of both, or None: what was asked for and not written in place. Where several zero voxels are
        nearest, the index may be another one of them than SciPy's. An input without a zero voxel is measured
        as SciPy measures it, to a voxel before the first one along the first axis: index (-1, 0, 0).

    Raises:
        RuntimeError: if nothing is asked for, or an output array is given for what is not asked for, or has
            the wrong shape or dtype.
        ValueError: on more than three axes or a wrong `sampling`.
    """
    volume = np.array(input, bool, order="C", ndmin=1, copy=None)
    if not volume.flags.writeable:  # PyTorch warns of such memory, though nobody writes
        volume = volume.copy()
    dims = volume.ndim
    if dims > 3:
        _check.fail("input", f"{dims} axes", "1 to 3")
    if not (return_distances or return_indices):
        _check.fail("return_distances", "neither it nor return_indices", "at least one of them", RuntimeError)
    _check_output("distances", distances, return_distances, volume.shape, np.float64)
    _check_output("indices", indices, return_indices, (dims, *volume.shape), np.int32)
    steps = _check.Steps(_check.spacing_of_one(sampling, dims, "sampling"), None)

    item = torch.from_numpy(volume)[None]
    results: list[Any] = []
    if return_distances:
        distance, index = measure_background(item, steps, return_indices, None)
        found = distance.numpy()
        if found.size and np.isinf(found.flat[0]):
            found = _to_before_the_first(volume.shape, steps.shared)[None]
        _deliver(found[0], distances, results)
    else:
        index = select(None, item.device).nearest_background(item, steps)
    if return_indices and index is not None:
        nearest = index.numpy()
        if nearest.size and nearest.flat[0] == -1:
            nearest[:, 1:] = 0
        _deliver(nearest[0], indices, results)
    if not results:
        return None
    return results[0] if len(results) == 1 else tuple(results)


def _to_before_the_first(shape: tuple[int, ...], steps: Sequence[float]) -> _Float:
    """What SciPy answers for an input without a zero voxel."""
    squared = np.zeros(shape)
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        along = (np.arange(size, dtype=np.float64) + (axis == 0)) * step
        squared += (along**2).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return np.sqrt(squared)


def _check_output(
    name: str, array: npt.NDArray[Any] | None, asked_for: bool, shape: tuple[int, ...], dtype: type
) -> None:
    if array is None:
        return
    if not asked_for:
        _check.fail(name, f"an array, but return_{name}=False", f"return_{name}=True with it", RuntimeError)
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        _check.fail(name, got, f"a {np.dtype(dtype)} array of shape {shape}", RuntimeError)


def _deliver(values: npt.NDArray[Any], into: npt.NDArray[Any] | None, results: list[Any]) -> None:
    """Write to the caller's array, or else append to what is returned."""
    if into is None:
        results.append(values)
    else:
        into[...] = values
