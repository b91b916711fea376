"""Exact Euclidean distance transforms of masks, and of label maps with any number of labels.

Every function takes a mask, or labels, `(..., *spatial)`: the last `spatial_dims` axes are space, and each
item before them is a volume of its own. With up to three axes all are space unless `spatial_dims` says
otherwise; with more, `spatial_dims` must be given. Nonzero is a mask's foreground.

`spacing` gives the voxel's size in mm in array order, as your tensor's axes; for MONAI arrays `pixdim` as it
is. It is None (1 voxel), a number, a number for each spatial axis, or such numbers for each item: nested
sequences, an array or a tensor `(*lead, spatial_dims)` whose `lead` is a leading part of the batch shape. A
flat sequence is always per axis, a nested one always per item. Values of float32 or less stand for the
shortest decimal that rounds to them: 0.42 for the float32 0.41999998688697815. In a compiled graph numbers
are constants, so that new ones compile anew; a tensor's are not. Distances are float32, run from voxel
centre to voxel centre, and are constants: no gradient flows into the mask.

Squared distances are exact integers up to 2^24 at spacing 1; otherwise a distance is within 2 units in the
last place of the true one. An item may have up to 2^31 - 512 voxels. Nothing here waits for the device.
"""

import math
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, Steps
from surfloss.ops.edt import edt, nearest_background
from surfloss.ops.labels import label_edt as label_operator


@overload
def distance_transform_edt(
    mask: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    return_indices: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...


@overload
def distance_transform_edt(
    mask: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    return_indices: Literal[True],
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def distance_transform_edt(
    mask: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    return_indices: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Distance from every nonzero voxel to the nearest zero voxel of the same item; 0 at the zero voxels.

    The meaning of `scipy.ndimage.distance_transform_edt`, except that an item without a zero voxel has no
    distance: it gets inf (SciPy measures to a voxel that does not exist; `surfloss.ndimage` does as SciPy).

    Args:
        mask: bool, integer or float, `(..., *spatial)`, any strides and any number of batch axes, also none.
        spatial_dims: how many of the last axes are space: 1, 2 or 3. None for all axes, up to three; a mask
            with more needs the number, 2 for `(batch, channel, y, x)`.
        spacing: voxel size in mm, see the module; None for distances in voxels.
        squared: return mm^2, without the root.
        return_indices: return also where the nearest zero voxel is.
        backend: name of the implementation; None chooses, see `surfloss.use_backend`.

    Returns:
        The distance in mm (mm^2 if `squared`), float32, the mask's shape. With `return_indices` a pair with
        the indices, int32, `(..., spatial_dims, *spatial)`: for each item as SciPy gives them, where the
        nearest zero voxel is along each spatial axis; one of them where several are nearest; -1 in an item
        that has none.

    Raises:
        TypeError: if the mask is no tensor, or complex or of another unsupported dtype.
        ValueError: on NaN in a float mask (looked for on the CPU, outside a compiled graph), a wrong
            `spatial_dims` or `spacing`, or an unknown backend.
        RuntimeError: if the backend cannot run on the mask's device.
    """
    voxels, steps = _prepare(mask, spatial_dims, spacing, backend)
    distance: Tensor = edt(voxels, *steps, "one_sided", squared, backend).reshape(mask.shape)
    if not return_indices:
        return distance
    _, *spatial = voxels.shape
    batch = mask.shape[: mask.ndim - len(spatial)]
    indices = nearest_background(voxels, *steps, backend)
    return distance, indices.reshape(*batch, len(spatial), *spatial)


def two_sided_edt(
    mask: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Distance from every voxel to the nearest voxel of the opposite label.

    It is `edt(mask) + edt(~mask)`, in one transform: at every voxel one of the two is 0.

    Args:
        mask, spatial_dims, spacing, squared, backend: as in `distance_transform_edt`.

    Returns:
        The distance in mm (mm^2 if `squared`), float32, the mask's shape; inf throughout an item that is all
        zero or all nonzero.

    Raises:
        TypeError, ValueError, RuntimeError: as `distance_transform_edt`.
    """
    voxels, steps = _prepare(mask, spatial_dims, spacing, backend)
    distance: Tensor = edt(voxels, *steps, "two_sided", squared, backend)
    return distance.reshape(mask.shape)


def signed_distance(
    mask: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    convention: Literal["voxel", "boundary"] = "voxel",
    backend: str | None = None,
) -> Tensor:
    """Distance to the other label: negative in the foreground, positive in the background.

    Args:
        mask, spatial_dims, spacing, backend: as in `distance_transform_edt`.
        squared: return the square, in mm^2, with the distance's sign.
        convention: where the distance from a voxel's centre leads.
            "voxel": to the nearest centre of a voxel of the opposite label, as `two_sided_edt`; next to the
            boundary it is -1 and +1 step, and it is never 0.
            "boundary": to the nearest point of the boundary, which is the surface between the voxels of
            either label, each taken as a box of the voxel's size: the faces where two labels meet, with
            their edges and corners. So the distance is 0 on those faces, and half a step at the centres
            beside them. The outer border of the volume is no boundary. This transform runs on the grid
            of half voxels: 2^spatial_dims times the voxels, in time, in memory and in the size limit.

    Returns:
        The signed distance in mm (mm^2 if `squared`), float32, the mask's shape; +inf throughout an item that
        is all zero, -inf throughout one that is all nonzero.

    Raises:
        TypeError, RuntimeError: as `distance_transform_edt`.
        ValueError: as there, or on an unknown `convention`.
    """
    voxels, steps = _prepare(mask, spatial_dims, spacing, backend)
    if convention == "voxel":
        distance: Tensor = edt(voxels, *steps, "signed", squared, backend)
        return distance.reshape(mask.shape)
    if convention != "boundary":
        _check.fail("convention", repr(convention), "'voxel' or 'boundary'")
    foreground = voxels.bool()
    distance = _to_boundary(foreground, steps, squared, backend)
    return torch.where(foreground, -distance, distance).reshape(mask.shape)


def label_edt(
    labels: Tensor,
    *,
    spatial_dims: int | None = None,
    spacing: SpacingLike = None,
    squared: bool = False,
    form: Literal["one_sided", "two_sided", "signed"] = "one_sided",
    border: Literal["open", "closed"] = "open",
    backend: str | None = None,
) -> Tensor:
    """Distance from every voxel to the nearest voxel of another label of the same item.

    All labels are measured at once, at the cost of about one transform of a mask: the cells or neurites of a
    dense segmentation, say, also where they touch. It is what the package `edt` computes
    (https://github.com/seung-lab/euclidean-distance-transform-3d): by default its `edt`, with `form="signed"`
    its `sdf` with the opposite sign. Where all labels but 0 are one, the forms are `distance_transform_edt`,
    `two_sided_edt` and `signed_distance`.

    Args:
        labels: bool or integer, `(..., *spatial)`, any strides and any number of batch axes, also none. Only
            equality counts: negative labels are labels, and their number does not matter.
        spatial_dims, spacing, squared: as in `distance_transform_edt`.
        form: what label 0 is.
            "one_sided": the background, which gets 0; from the other labels it is another label.
            "two_sided": a label as the others.
            "signed": the background, with positive distances; those of the other labels are negative.
        border: what is outside of an item.
            "open": nothing.
            "closed": another label, whose voxels begin one step beyond the first and the last ones, as with
            `black_border=True` in `edt`.
        backend: as in `distance_transform_edt`. `cuda` lacks this function: unless it is named, `triton`
            answers for it.

    Returns:
        The distance in mm (mm^2 if `squared`), float32, the labels' shape. An item of a single label with an
        open border has no distance: it gets inf, with the sign of "signed", or 0 if "one_sided" and label 0.

    Raises:
        TypeError: if `labels` is no tensor, or neither bool nor integer.
        ValueError: on an unknown `form`, `border` or backend, or a wrong `spatial_dims` or `spacing`.
        NotImplementedError: if the named backend lacks this function, or the labels' device has none with it.
        RuntimeError: if the named backend cannot run on the labels' device.
    """
    _check_backend(backend)
    _check.labels("labels", labels)
    if form not in ("one_sided", "two_sided", "signed"):
        _check.fail("form", repr(form), "'one_sided', 'two_sided' or 'signed'")
    if border not in ("open", "closed"):
        _check.fail("border", repr(border), "'open' or 'closed'")
    dims = _check.spatial_dims("labels", spatial_dims, labels)
    batch, spatial = labels.shape[:-dims], labels.shape[-dims:]
    steps = _check.spacing(spacing, dims, batch, labels.device)
    voxels = labels
    if _check.has_array(labels) and not labels.is_contiguous():
        voxels = torch.from_numpy(np.ascontiguousarray(labels.numpy()))
    voxels = voxels.reshape(math.prod(batch), *spatial).contiguous()
    distance: Tensor = label_operator(voxels, *steps, form, squared, border, backend)
    return distance.reshape(labels.shape)


def _prepare(
    mask: Tensor, spatial_dims: int | None, spacing: SpacingLike, backend: object
) -> tuple[Tensor, Steps]:
    """The arguments in the operators' form: one batch axis, contiguous, detached; checked spacing."""
    _check_backend(backend)
    _check.mask("mask", mask)
    dims = _check.spatial_dims("mask", spatial_dims, mask)
    batch, spatial = mask.shape[:-dims], mask.shape[-dims:]
    steps = _check.spacing(spacing, dims, batch, mask.device)
    # Bytes and floats go as they are; integers become bool.
    is_as_wanted = mask.dtype in (torch.bool, torch.uint8) or mask.is_floating_point()
    if _check.has_array(mask) and not (is_as_wanted and mask.is_contiguous()):
        array = mask.detach().numpy()
        voxels = torch.from_numpy(np.ascontiguousarray(array if is_as_wanted else array != 0))
    else:
        voxels = mask.detach() if is_as_wanted else mask.bool()
    # The items are counted, since -1 is ambiguous beside an axis of size 0.
    voxels = voxels.reshape(math.prod(batch), *spatial).contiguous()
    return voxels, steps


def _to_boundary(voxels: Tensor, steps: Steps, squared: bool, backend: str | None) -> Tensor:
    """Distance from every voxel's centre to the nearest point shared by boxes of both labels.

    The nearest point of a box lies, along each axis, at the centre's own position or at an end of the box.
    All of these are whole or half positions, so the nearest boundary point is one of the half-voxel grid.
    """
    if voxels.numel() == 0:
        return voxels.float()
    touches_foreground, only_foreground = voxels, voxels
    for axis in range(1, voxels.ndim):
        before, after = _half_steps(touches_foreground, axis)
        touches_foreground = before | after
        before, after = _half_steps(only_foreground, axis)
        only_foreground = before & after
    off_boundary = ~touches_foreground | only_foreground
    shared, per_item = steps
    half = Steps([step / 2 for step in shared], None if per_item is None else per_item / 2)
    fine: Tensor = edt(off_boundary, *half, "one_sided", squared, backend)
    return fine[(slice(None), *(slice(None, None, 2),) * (voxels.ndim - 1))]


def _half_steps(voxels: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """For positions 0, 1/2, 1, ..., n - 1 along `axis`: the voxels whose boxes hold them, below and above."""
    doubled = voxels.repeat_interleave(2, axis)
    size = doubled.shape[axis] - 1
    return doubled.narrow(axis, 0, size), doubled.narrow(axis, 1, size)


def _check_backend(backend: object) -> None:
    """Before PyTorch says the same in the words of an operator's schema."""
    if not isinstance(backend, (str, type(None))):
        _check.fail("backend", repr(backend), "None or the name of a backend")
