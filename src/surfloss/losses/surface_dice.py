"""Differentiable surface Dice at a tolerance.

Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", J. Med.
Internet Res. 23(7), 2021, measure the share of two surfaces that lies within a tolerance of the other one.
Here the surface is made of voxels, and that of a probability map is soft:

    s(x) = x - erosion(x),    erosion(x) = the minimum over a voxel and its face neighbors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike
from surfloss.edt import distance_transform_edt
from surfloss.losses._distance import check_distance_options, refuse_uniform
from surfloss.losses._prepare import Activation, LossModule, check_options, prepare, reduced

EMPTY = ("zero", "one", "raise")
_MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}


def surface_dice_loss(
    input: Tensor,
    target: Tensor,
    *,
    tolerance: float,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    spacing: SpacingLike = None,
    empty: str = "zero",
    ignore_index: int | None = None,
    backend: str | None = None,
    validate: bool | None = None,
) -> Tensor:
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
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        tolerance: in the unit of `spacing`, at least 0; a distance equal to it is within, and so is one that
            exceeds it by rounding, up to 5e-7 of it.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        spacing: mm in array order, as the spatial axes of your tensor: a number, `dims` numbers, or those of
            each item, nested or as an array or tensor `(batch, dims)`. None for distances in voxels.
        empty: the value where the target is all background or all foreground, so has no surface: "zero", 0
            without a gradient; "one", what the formula gives, 1 where the prediction has surface and else 0;
            "raise", an error, for which values are read.
        ignore_index: label of voxels without error and gradient; they are outside the volume, so that their
            border is no surface either.
        backend: who computes the distances; None for the fastest on the input's device.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Returns:
        A scalar, or with "none" one value an item and channel; in float32, or float64 for such input.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with a target of one label.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    check_distance_options(empty, EMPTY)
    limit = _check.limit("tolerance", tolerance)
    prediction, target, ignore = prepare(
        input,
        target,
        include_background=include_background,
        to_onehot_y=to_onehot_y,
        sigmoid=sigmoid,
        softmax=softmax,
        other_act=other_act,
        ignore_index=ignore_index,
        validate=validate,
    )
    mask = target > 0.5
    if empty == "raise":
        refuse_uniform("target", mask, ignore)
    dims = prediction.ndim - 2
    soft, predicted, true = (
        _surface(x, ignore) for x in (prediction, (prediction > 0.5).to(target.dtype), target)
    )
    # One transform for both sides: the distance of every voxel to each of the two surfaces.
    squared = distance_transform_edt(
        torch.stack([predicted, true], 2) == 0,
        spatial_dims=dims,
        spacing=spacing,
        squared=True,
        backend=backend,
    )
    near_predicted, near_true = (squared <= limit**2).unbind(2)
    close = (soft * near_true + true * near_predicted).flatten(2).sum(2)
    both = (soft + true).flatten(2).sum(2)
    values = 1 - close / both.masked_fill(both == 0, 1)
    without = both == 0 if empty == "one" else true.flatten(2).sum(2) == 0
    return reduced(values.masked_fill(without, 0), reduction, batch, dims)


class SurfaceDiceLoss(LossModule):
    """`functional.surface_dice_loss` as a module.

    The arguments are those of the function. `spacing` may be given to a call instead.
    """

    def __init__(
        self,
        tolerance: float,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        empty: str = "zero",
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        check_distance_options(empty, EMPTY)
        _check.not_negative("tolerance", tolerance)
        super().__init__(
            tolerance=tolerance,
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            spacing=_check.plain_spacing(spacing),
            empty=empty,
            ignore_index=ignore_index,
            backend=backend,
            validate=validate,
        )

    def forward(self, input: Tensor, target: Tensor, *, spacing: SpacingLike = None) -> Tensor:
        options = self.options if spacing is None else {**self.options, "spacing": spacing}
        return surface_dice_loss(input, target, **options)


def _surface(x: Tensor, ignore: Tensor | None) -> Tensor:
    """What a voxel has beyond the least of its face neighbors: of a mask, its outermost voxels."""
    dims = x.ndim - 2
    negative = -x if ignore is None else (-x).masked_fill(ignore, -torch.inf)
    largest = negative
    for axis in range(dims):
        kernel = [3 if a == axis else 1 for a in range(dims)]
        padding = [size // 2 for size in kernel]
        largest = torch.maximum(largest, _MAX_POOL[dims](negative, kernel, stride=1, padding=padding))
    surface = x + largest
    return surface if ignore is None else surface.masked_fill(ignore, 0)
