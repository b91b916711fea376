"""Hausdorff distance-transform losses.

Karimi & Salcudean, "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
Networks", IEEE Trans. Med. Imaging 39(2), 2020, eq. 8: with p the prediction, g the target, d_p and d_g the
distance of every voxel to the boundary of the mask p > 0.5 and of g,

    HD(p, g) = mean((p - g)^2 * (d_p^alpha + d_g^alpha)).
"""

from typing import Any

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, Steps, fail
from surfloss.losses._distance import check_distance_options, checked_map, refuse_uniform
from surfloss.losses._prepare import Activation, LossModule, check_options, prepare, reduced
from surfloss.ops.hausdorff import differentiable_hausdorff_error

EMPTY = ("zero", "diagonal", "scipy", "raise")


def hausdorff_dt_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
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
    kept_dtype: torch.dtype | None = None,
    backend: str | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Hausdorff distance-transform loss (Karimi & Salcudean 2020, eq. 8).

    Its default is MONAI's `HausdorffDTLoss` in value and gradient. Distances are constants of the gradient:
    d HD / d p = 2 (p - g) (d_p^alpha + d_g^alpha) / voxels. The forward pass computes it already and keeps
    nothing else, so there is no second derivative. With `sigmoid` the mask p > 0.5 is that of logits above 0.

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        alpha: exponent of the distances, at least 0; 2 costs least.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        target_distance: None, or the distance of every voxel to the opposite label of the target, in the
            unit of `spacing`, in the target's shape after one-hot and background removal; inf where there is
            none, as `two_sided_edt` gives it. It is taken as it is: with `ignore_index` the ignored voxels
            have no label, whereas `two_sided_edt` measures to one of them as to a voxel of the background.
        spacing: mm in array order, as the spatial axes of your tensor: a number, `dims` numbers, or those of
            each item, nested or as an array or tensor `(batch, dims)`. None for distances in voxels.
        normalize: "diagonal" divides distances by the physical diagonal of an item, None does not.
        empty: the distance where a mask is all foreground or all background, so has no boundary: "zero";
            "diagonal", the item's physical diagonal; "scipy", what SciPy gives there and the paper's code
            used (the distance to a voxel before the first); "raise", an error, for which values are read.
        ignore_index: label of voxels that have no error, no gradient, and belong to neither side.
        kept_dtype: of the gradient, between the forward and the backward pass: None for the precision of the
            computation, or half the memory of float32: torch.bfloat16, where each value is off by up to 2^-8
            of itself, or torch.float16, where it is 2^-11, or 2^-39 of the item's greatest value if that is
            more. An item's values are scaled there by a power of two, so that none overflows, which takes two
            passes over the gradient.
        backend: who computes the distances; None for the fastest on the input's device.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Returns:
        A scalar, or with "none" one value an item and channel; in float32, or float64 for such input.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with an empty or full mask.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    alpha = _check.plain(alpha)
    _check_hausdorff_options(alpha, normalize, empty, kept_dtype)
    # The operator has a sigmoid of its own, which saves the probabilities, but no gradient for the target.
    fused_sigmoid = sigmoid and not (isinstance(target, Tensor) and target.requires_grad)
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
        bool_target=True,
        fused_sigmoid=fused_sigmoid,
    )
    lead, spatial = prediction.shape[:2], prediction.shape[2:]
    steps = _check.spacing(spacing, len(spatial), lead, prediction.device)
    if target_distance is not None:
        given = checked_map("target_distance", target_distance, target, validate, signed=False)
        target_distance = _as_items(given)
    if normalize:
        steps, target_distance = _by_diagonal(steps, target_distance, spatial)
    if empty == "raise":
        refuse_uniform("input", prediction > (0 if fused_sigmoid else 0.5), ignore)
        refuse_uniform("target", target > 0.5, ignore)
        empty = "zero"
    if ignore is not None:
        ignore = _as_items(ignore.expand_as(prediction))
    error, _, _ = differentiable_hausdorff_error(
        _as_items(prediction),
        _as_items(target),
        target_distance,
        ignore,
        fused_sigmoid,
        alpha,
        *steps,
        empty,
        backend,
        kept_dtype,
    )
    return reduced(error.view(lead), reduction, batch, len(spatial))


def log_hausdorff_dt_loss(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """log(1 + H), H the reduced `hausdorff_dt_loss`, which grows slowly where distances are long.

    The logarithm is MONAI's (`LogHausdorffDTLoss`); H is eq. 8 of Karimi & Salcudean 2020.

    Args:
        input, target: as in `hausdorff_dt_loss`.
        options: any other argument of `hausdorff_dt_loss`, by its name.

    Returns:
        A scalar, or with `reduction="none"` one value an item and channel.

    Raises:
        TypeError, ValueError, RuntimeError: as `hausdorff_dt_loss`.
    """
    return torch.log1p(hausdorff_dt_loss(input, target, **options))


class HausdorffDTLoss(LossModule):
    """`functional.hausdorff_dt_loss` as a module; MONAI's `HausdorffDTLoss` by default.

    The arguments are those of the function. `spacing` and `target_distance` may be given to a call instead.
    """

    def __init__(
        self,
        alpha: float = 2.0,
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
        kept_dtype: torch.dtype | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        _check_hausdorff_options(alpha, normalize, empty, kept_dtype)
        super().__init__(
            alpha=alpha,
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
            kept_dtype=kept_dtype,
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
        return hausdorff_dt_loss(input, target, target_distance=target_distance, **options)


class LogHausdorffDTLoss(HausdorffDTLoss):
    """`functional.log_hausdorff_dt_loss` as a module; MONAI's `LogHausdorffDTLoss` by default."""

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        target_distance: Tensor | None = None,
        spacing: SpacingLike = None,
    ) -> Tensor:
        return torch.log1p(super().forward(input, target, target_distance=target_distance, spacing=spacing))


def _check_hausdorff_options(
    alpha: float, normalize: str | None, empty: str, kept_dtype: torch.dtype | None
) -> None:
    _check.not_negative("alpha", alpha)
    check_distance_options(empty, EMPTY, normalize)
    if kept_dtype not in (None, torch.bfloat16, torch.float16):
        fail("kept_dtype", kept_dtype, "None, torch.bfloat16 or torch.float16")


def _as_items(value: Tensor) -> Tensor:
    """`(batch, channels, *spatial)` as the operators' `(items, *spatial)`, contiguous."""
    return value.flatten(0, 1).contiguous()


def _by_diagonal(
    steps: Steps, target_distance: Tensor | None, spatial: torch.Size
) -> tuple[Steps, Tensor | None]:
    """Spacing and distance in diagonals of the item: the operator then needs no scale of its own."""
    shared, per_item = steps
    if per_item is None:
        diagonal = sum((step * size) ** 2 for step, size in zip(shared, spatial, strict=True)) ** 0.5
        steps = Steps([step / diagonal for step in shared], None)
        return steps, None if target_distance is None else target_distance / diagonal
    # No tensor of the sizes: to make one, a GPU would wait for the host.
    squares = [(step * size) ** 2 for step, size in zip(per_item.unbind(1), spatial, strict=True)]
    diagonals = torch.stack(squares).sum(0).sqrt()
    if target_distance is not None:
        target_distance = target_distance / diagonals.float().view(-1, *(1,) * len(spatial))
    return Steps(shared, per_item / diagonals[:, None]), target_distance
