"""Differentiable surface Dice at a tolerance.

Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", J. Med.
Internet Res. 23(7), 2021, measure the share of two surfaces that lies within a tolerance of the other one.
Here the surface is made of voxels, and that of a probability map is soft:

    s(x) = x - erosion(x),    erosion(x) = the minimum over a voxel and its face neighbors.
"""

from typing import Literal, TypeAlias, Unpack

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike
from surfloss.edt import distance_transform_edt
from surfloss.losses._distance import refuse_uniform, spatial
from surfloss.losses._options import Activation, InputKeywords, InputOptions, Reduction, SpacedLoss
from surfloss.losses._prepare import check_choice
from surfloss.losses.contour import as_items, max_pool
from surfloss.ops.surface import differentiable_surface_map, has_surface_map

Empty: TypeAlias = Literal["zero", "one", "raise"]


def surface_dice_loss(
    input: Tensor,
    target: Tensor,
    *,
    tolerance: float,
    spacing: SpacingLike = None,
    empty: Empty = "zero",
    backend: str | None = None,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`SurfaceDiceLoss` as a function, with the same arguments.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with a target of one label.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    inputs = InputOptions.of(options)
    check_choice("empty", empty, Empty)
    limit = _check.limit("tolerance", tolerance)
    prediction, target, ignore = inputs.prepare(input, target)
    if empty == "raise":
        refuse_uniform("target", target > 0.5, ignore)
    axes = spatial(prediction)
    soft, predicted, true = (
        _surface(x, ignore) for x in (prediction, (prediction > 0.5).to(target.dtype), target)
    )
    # One transform for both sides: the distance of every voxel to each of the two surfaces.
    squared = distance_transform_edt(
        torch.stack([predicted, true], 2) == 0,
        spatial_dims=len(axes),
        spacing=spacing,
        squared=True,
        backend=backend,
    )
    near_predicted, near_true = (squared <= limit**2).unbind(2)
    close = (soft * near_true + true * near_predicted).sum(axes, keepdim=True)
    both = (soft + true).sum(axes, keepdim=True)
    values = 1 - close / both.masked_fill(both == 0, 1)
    without = both == 0 if empty == "one" else true.sum(axes, keepdim=True) == 0
    return inputs.reduce(values.masked_fill(without, 0))


class SurfaceDiceLoss(SpacedLoss):
    """1 - surface Dice at a tolerance, made differentiable (after Nikolov et al. 2021).

    With s(p) and s(g) the soft surfaces of prediction and target (above), S(x) the set of voxels on the
    surface of the mask x > 0.5, and near(x, S) 1 where S is within the tolerance of the voxel x, else 0,

        1 - [sum_x s(p) near(x, S(g)) + sum_x s(g) near(x, S(p))] / [sum s(p) + sum s(g)] .

    Distances are exact, from voxel centre to voxel centre, and constants of the gradient. For a prediction of
    0 and 1 the surfaces are the foreground voxels with a face neighbor in the background, and the fraction is
    the share of all of them that lie within the tolerance of the other surface. The border of the volume is
    no surface.
    `metrics.surface_dice` differs: its surface lies between voxels, and its elements have areas.

    The gradient raises surface near the target's and lowers it elsewhere; on which side of it the foreground
    lies it does not tell, so the loss needs a region loss beside it.

    Args:
        tolerance: in the unit of `spacing`, at least 0; a distance equal to it is within, and so is one that
            exceeds it by rounding, up to 5e-7 of it.
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for distances in voxels.
        empty: the value where the target is all background or all foreground, so has no surface: "zero", 0
            without a gradient; "one", what the formula gives, 1 where the prediction has surface and else 0;
            "raise", an error, for which values are read.
        ignore_index, validate: see `InputOptions`. Ignored voxels are outside the volume, so that their
            border is no surface either.
        backend: who computes the distances; None for the fastest on the input's device.
    """

    def __init__(
        self,
        tolerance: float,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        empty: Empty = "zero",
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(surface_dice_loss, locals())
        check_choice("empty", empty, Empty)
        _check.not_negative("tolerance", tolerance)


def _surface(x: Tensor, ignore: Tensor | None) -> Tensor:
    """What a voxel has beyond the least of its face neighbors: of a mask, its outermost voxels.

    The gradient goes to the voxel itself and to its least neighbor, the first of equals. A voxel as low as
    its neighbors has no surface and no gradient.
    """
    fits = x.dtype in (torch.float32, torch.float64) and not _check.in_transform()
    if fits and has_surface_map(x.device.type):
        skipped = None if ignore is None else as_items(ignore.expand_as(x))
        return differentiable_surface_map(as_items(x), skipped, None).view(x.shape)
    dims = x.ndim - 2
    largest = negative = -x
    for axis in range(dims):
        kernel = tuple(3 if a == axis else 1 for a in range(dims))
        pooled = max_pool(negative, kernel, ignore)
        largest = torch.where((pooled > largest) | pooled.isnan(), pooled, largest)
    surface = x + largest
    return surface if ignore is None else surface.masked_fill(ignore, 0)
