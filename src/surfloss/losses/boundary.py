"""Losses that weigh probabilities by the target's distance map: boundary and generalized surface loss.

Kervadec, Bouchtiba, Desrosiers, Granger, Dolz & Ben Ayed, "Boundary loss for highly unbalanced segmentation",
MIDL 2019 and Medical Image Analysis 67, 2021; Celaya, Riviere & Fuentes, "A Generalized Surface Loss for
Reducing the Hausdorff Distance in Medical Imaging Segmentation", arXiv 2302.03868, 2023. Both maps are of the
target alone, so constants, and may be computed ahead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, SpacingLike, fail
from surfloss.losses._distance import (
    check_distance_options,
    checked_map,
    diagonal,
    refuse_uniform,
    smallest_step,
    squared_two_sided,
)
from surfloss.losses._prepare import Activation, LossModule, check_options, prepare, reduced

EMPTY = ("zero", "diagonal", "raise")


def boundary_loss(
    input: Tensor,
    target: Tensor,
    *,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    target_distance: Tensor | None = None,
    spacing: SpacingLike = None,
    normalize: str | None = None,
    empty: str = "zero",
    ignore_index: int | None = None,
    backend: str | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Boundary loss (Kervadec et al. 2019): mean(p phi), phi the signed distance map of the target.

    phi is that of the published code: the distance d to the other label outside, and -(d - 1) inside, so that
    it is 0 on the outermost voxels of the foreground. In mm the 1 is the voxel's smallest step, which keeps
    those voxels at 0. The value falls below 0 as the foreground fills; only its gradient phi / voxels counts.
    It does not vanish for a perfect prediction and needs a region loss beside it (`schedules.Rebalance`).

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        target_distance: None, or phi itself, in the unit of `spacing`, in the target's shape after one-hot
            and background removal: any map that is negative inside and positive outside, as `signed_distance`
            gives it in either convention; +inf or -inf throughout a mask that is empty or full.
        spacing: mm in array order, as the spatial axes of your tensor: a number, `dims` numbers, or those of
            each item, nested or as an array or tensor `(batch, dims)`. None for distances in voxels.
        normalize: "diagonal" divides distances by the physical diagonal of an item, None does not.
        empty: phi where a target is all background or all foreground: "zero", as the published code has it
            for background; "diagonal", plus or minus the item's physical diagonal; "raise", an error, for
            which values are read.
        ignore_index: label of voxels that have no error, no gradient, and belong to neither side.
        backend: who computes the distances; None for the fastest on the input's device.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Returns:
        A scalar, or with "none" one value an item and channel; in float32, or float64 for such input.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with a target of one label.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    check_distance_options(empty, EMPTY, normalize)
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
    if target_distance is not None:
        phi = checked_map("target_distance", target_distance, target, validate, signed=True)
    else:
        distance = squared_two_sided(mask, ignore, spacing, backend).sqrt()
        phi = torch.where(mask, smallest_step(mask, spacing) - distance, distance)
    without = diagonal(mask, spacing) if empty == "diagonal" else 0.0
    phi = torch.where(phi.isinf(), phi.sign() * without, phi)
    if normalize:
        phi = phi / diagonal(mask, spacing)
    if ignore is not None:
        phi = phi.masked_fill(ignore, 0)
    values = (prediction * phi).flatten(2).mean(2)
    return reduced(values, reduction, batch, prediction.ndim - 2)


def generalized_surface_loss(
    input: Tensor,
    target: Tensor,
    *,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    class_weights: NumbersLike | None = None,
    target_distance: Tensor | None = None,
    spacing: SpacingLike = None,
    empty: str = "zero",
    ignore_index: int | None = None,
    backend: str | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Generalized surface loss (Celaya et al. 2023, eq. 12), from 0 (perfect) to 1 (all voxels wrong).

    With D_k the target's distance map of class k, the value of an item is

        1 - sum_k w_k sum (D_k (1 - g_k - p_k))^2 / sum_k w_k sum D_k^2 ,

    computed as sum_k w_k sum D_k^2 e_k (2 - e_k) over the same, with e = |g - p|, which is equal and loses no
    digits near 0. D is the distance to the other label; its sign is squared away, and its unit cancels. The
    gradient vanishes where the prediction is wholly wrong: use a region loss first (`schedules.Rebalance`).

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`, with
            `class_weights` `(batch, 1, 1, ...)`.
        batch: average over the batch before the reduction.
        class_weights: None, each class by its own distance map, w_k = 1 / sum D_k^2: their losses are
            averaged. Or a weight for each channel that counts, such as the paper's (eq. 13), 1 / N_k with N_k
            the voxels of class k in the whole training set; their scale cancels. A sequence, array or tensor
            `(channels,)` on any device; a constant.
        target_distance: None, or the distance of every voxel to the opposite label of the target, in the
            target's shape after one-hot and background removal; inf where there is none, as `two_sided_edt`
            gives it. It is taken as it is.
        spacing: mm in array order, as the spatial axes of your tensor: a number, `dims` numbers, or those of
            each item, nested or as an array or tensor `(batch, dims)`. None for cubic voxels.
        empty: D where a target is all foreground or all background: "zero", such a class does not count and
            has the value 0 by itself; "diagonal", the item's physical diagonal everywhere, as the published
            code has it for background; "raise", an error, for which values are read.
        ignore_index: label of voxels that have no error, no gradient, and belong to neither side.
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
    class_weights = _class_weights(class_weights)
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
    if target_distance is not None:
        squared = checked_map("target_distance", target_distance, target, validate, signed=False).square()
    else:
        squared = squared_two_sided(mask, ignore, spacing, backend)
    without = diagonal(mask, spacing) if empty == "diagonal" else 0.0
    squared = torch.where(squared.isinf(), without**2, squared)
    if ignore is not None:
        squared = squared.masked_fill(ignore, 0)
    error = torch.where(mask, 1 - prediction, prediction)
    wrong = (squared * error * (2 - error)).flatten(2).sum(2)
    most = squared.to(error.dtype).flatten(2).sum(2)
    if class_weights is not None:
        if len(class_weights) != most.shape[1]:
            fail(
                "class_weights",
                f"{len(class_weights)} weights",
                f"{most.shape[1]}, a channel that counts each",
            )
        wrong, most = (
            torch.stack([weight * x[:, k] for k, weight in enumerate(class_weights)], 1).sum(1, keepdim=True)
            for x in (wrong, most)
        )
    values = wrong / most.masked_fill(most == 0, 1)
    return reduced(values, reduction, batch, prediction.ndim - 2)


class BoundaryLoss(LossModule):
    """`functional.boundary_loss` as a module.

    The arguments are those of the function. `spacing` and `target_distance` may be given to a call instead.
    """

    def __init__(
        self,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        normalize: str | None = None,
        empty: str = "zero",
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        check_distance_options(empty, EMPTY, normalize)
        super().__init__(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            spacing=_check.plain_spacing(spacing),
            normalize=normalize,
            empty=empty,
            ignore_index=ignore_index,
            backend=backend,
            validate=validate,
        )

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        target_distance: Tensor | None = None,
        spacing: SpacingLike = None,
    ) -> Tensor:
        options = self.options if spacing is None else {**self.options, "spacing": spacing}
        return boundary_loss(input, target, target_distance=target_distance, **options)


class GeneralizedSurfaceLoss(LossModule):
    """`functional.generalized_surface_loss` as a module.

    The arguments are those of the function. `spacing` and `target_distance` may be given to a call instead.
    """

    def __init__(
        self,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        class_weights: NumbersLike | None = None,
        spacing: SpacingLike = None,
        empty: str = "zero",
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        check_distance_options(empty, EMPTY)
        class_weights = _class_weights(_check.plain(class_weights))
        super().__init__(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            class_weights=class_weights,
            spacing=_check.plain_spacing(spacing),
            empty=empty,
            ignore_index=ignore_index,
            backend=backend,
            validate=validate,
        )

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        target_distance: Tensor | None = None,
        spacing: SpacingLike = None,
    ) -> Tensor:
        options = self.options if spacing is None else {**self.options, "spacing": spacing}
        return generalized_surface_loss(input, target, target_distance=target_distance, **options)


def _class_weights(class_weights: NumbersLike | None) -> Sequence[float] | Tensor | None:
    if class_weights is None:
        return None
    if isinstance(class_weights, Tensor) and class_weights.ndim == 1 and not _check.can_read(class_weights):
        return class_weights.detach()
    weights = _check.numbers("class_weights", class_weights)
    if not any(weights):
        fail("class_weights", repr(class_weights), "finite numbers of at least 0, not all of them 0")
    return tuple(weight / max(weights) for weight in weights)  # only their ratios count; float32 holds these
