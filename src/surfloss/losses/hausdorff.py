"""Hausdorff distance-transform losses.

Karimi & Salcudean, "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
Networks", IEEE Trans. Med. Imaging 39(2), 2020, eq. 8: with p the prediction, g the target, d_p and d_g the
distance of every voxel to the boundary of the mask p > 0.5 and of g,

    HD(p, g) = mean((p - g)^2 * (d_p^alpha + d_g^alpha)).

Two options of ours keep its strength the same: a limit of the distances, and weights of mean 1.
"""

from typing import Any, Literal, TypeAlias, Unpack

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, WrongValues, fail
from surfloss.losses._distance import checked_map, diagonal, refuse_uniform
from surfloss.losses._options import Activation, DistanceLoss, InputKeywords, InputOptions, Reduction
from surfloss.losses._prepare import allowed_range, check_choice, check_values
from surfloss.ops.hausdorff import checks_values, differentiable_hausdorff_error

Empty: TypeAlias = Literal["zero", "diagonal", "scipy", "raise"]
Normalize: TypeAlias = Literal["diagonal", "errors", None]


def hausdorff_dt_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
    max_distance: float | None = None,
    target_distance: Tensor | None = None,
    spacing: SpacingLike = None,
    normalize: Normalize = None,
    empty: Empty = "zero",
    kept_dtype: torch.dtype | None = None,
    backend: str | None = None,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`HausdorffDTLoss` as a function, with the same arguments and one more.

    Args:
        target_distance: None, or the distance of every voxel to the opposite label of the target, in the unit
            of `spacing`, in the target's shape after one-hot and background removal; inf where there is none,
            as `two_sided_edt` gives it. It is taken as it is: with `ignore_index` the ignored voxels
            have no label, whereas `two_sided_edt` measures to one of them as to a voxel of the background.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with an empty or full mask.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    inputs = InputOptions.of(options)
    alpha, max_distance = _checked(alpha, max_distance, normalize, empty, kept_dtype)
    # The operator has a sigmoid of its own, which saves the probabilities, but no gradient for the target.
    fused_sigmoid = inputs.sigmoid and not (isinstance(target, Tensor) and target.requires_grad)
    # Values are read twice otherwise: for the check, and by the operator.
    operator_checks = (
        empty != "raise"
        and _reach_operator(inputs, input, target, fused_sigmoid)
        and checks_values(backend, input, target, target_distance)
    )
    allowed = allowed_range(input, probabilities=not inputs.sigmoid) if operator_checks else None
    given = input, target
    prediction, target, ignore = inputs.prepare(
        input, target, bool_target=True, fused_sigmoid=fused_sigmoid, check_values=not operator_checks
    )
    lead, dims = prediction.shape[:2], prediction.ndim - 2
    steps = _check.spacing(spacing, dims, lead, prediction.device)
    if target_distance is not None:
        target_distance = _as_items(checked_map(target_distance, target, inputs.validate))
    if empty == "raise":
        refuse_uniform("input", prediction > (0 if fused_sigmoid else 0.5), ignore)
        refuse_uniform("target", target > 0.5, ignore)
    try:
        error, _, _ = differentiable_hausdorff_error(
            _as_items(prediction),
            _as_items(target),
            target_distance,
            None if ignore is None else _as_items(ignore.expand_as(prediction)),
            fused_sigmoid,
            alpha,
            *steps,
            "zero" if empty == "raise" else empty,
            backend,
            kept_dtype,
            max_distance,
            normalize == "errors",
            allowed,
        )
    except WrongValues:
        # The operator does not know what its arguments are called here.
        check_values(*given, None, inputs.validate, probabilities=not inputs.sigmoid)
        raise
    values = error.view(*lead, *(1,) * dims)
    if normalize == "diagonal":
        values = values / diagonal(prediction, spacing) ** alpha
    return inputs.reduce(values)


class HausdorffDTLoss(DistanceLoss):
    """Hausdorff distance-transform loss (Karimi & Salcudean 2020, eq. 8).

    Its default is MONAI's `HausdorffDTLoss` in value and gradient. Distances are constants of the gradient:
    d HD / d p = 2 (p - g) (d_p^alpha + d_g^alpha) / voxels. The forward pass computes it already and keeps
    nothing else, so there is no second derivative. With `sigmoid` the mask p > 0.5 is that of logits above 0.

    The loss explodes with errors far from a boundary and fades near it. `max_distance` bounds what an error
    can weigh; with `normalize="errors"` the loss is as strong as squared error on every patch and all through
    a training, and the distances only say which errors count more. With w = d_p^alpha + d_g^alpha and
    e = (p - g)^2 an item's value is then mean(e), and d HD / d p = 2 w (p - g) / voxels * sum(e) / sum(w e).

    Args:
        alpha: exponent of the distances, at least 0; 2 costs least.
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for distances in voxels.
        normalize: None; "diagonal" divides distances by the physical diagonal of an item; "errors" divides
            the weights of an item and channel by their mean over its errors, sum(w e) / sum(e), a constant of
            the gradient. Where no voxel has a weight (no mask has a boundary) value and gradient are 0.
        empty: the distance where a mask is all foreground or all background, so has no boundary: "zero";
            "diagonal", the item's physical diagonal; "scipy", what SciPy gives there and the paper's code
            used (the distance to a voxel before the first); "raise", an error, for which values are read.
        ignore_index, validate: see `InputOptions`.
        max_distance: None, or what longer distances count as, that of `empty` too, above 0, in the unit of
            `spacing`.
        kept_dtype: of the gradient, between the forward and the backward pass: None for the precision of the
            computation, or half the memory of float32: torch.bfloat16, where each value is off by up to 2^-8
            of itself, or torch.float16, where it is 2^-11, or 2^-39 of the item's greatest value if that is
            more. An item's values are scaled there by a power of two, so that none overflows, which takes two
            passes over the gradient.
        backend: who computes the distances; None for the fastest on the input's device.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        normalize: Normalize = None,
        empty: Empty = "zero",
        max_distance: float | None = None,
        ignore_index: int | None = None,
        kept_dtype: torch.dtype | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(hausdorff_dt_loss, locals())
        _checked(alpha, max_distance, normalize, empty, kept_dtype)


def log_hausdorff_dt_loss(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """`LogHausdorffDTLoss` as a function, with the arguments of `hausdorff_dt_loss`."""
    return torch.log1p(hausdorff_dt_loss(input, target, **options))


class LogHausdorffDTLoss(HausdorffDTLoss):
    """log(1 + H), H the reduced `HausdorffDTLoss`, which grows slowly where distances are long.

    The logarithm is MONAI's (`LogHausdorffDTLoss`); H is eq. 8 of Karimi & Salcudean 2020.
    """

    def _call(self, input: Tensor, target: Tensor, **given: Any) -> Tensor:
        return super()._call(input, target, **given).log1p()


def _checked(
    alpha: float, max_distance: float | None, normalize: object, empty: object, kept_dtype: torch.dtype | None
) -> tuple[float, float | None]:
    """The exponent and the limit of distances, after a check of the loss's own options."""
    check_choice("normalize", normalize, Normalize)
    check_choice("empty", empty, Empty)
    if not any(kept_dtype is dtype for dtype in (None, torch.bfloat16, torch.float16)):
        fail("kept_dtype", repr(kept_dtype), "None, torch.bfloat16 or torch.float16")
    if max_distance is not None:
        max_distance = _check.positive("max_distance", max_distance)
    return _check.not_negative("alpha", alpha), max_distance


def _reach_operator(inputs: InputOptions, input: Tensor, target: Tensor, fused_sigmoid: bool) -> bool:
    """Whether the operator receives every value that is to be checked, unchanged."""
    return (
        isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and input.shape == target.shape
        and input.ndim > 1
        and input.is_floating_point()
        and target.is_floating_point()
        and (target.dtype != torch.float64 or input.dtype == torch.float64)
        and not (inputs.softmax or inputs.other_act or inputs.to_onehot_y)
        and (inputs.include_background or input.shape[1] == 1)
        and inputs.sigmoid == fused_sigmoid
        and inputs.ignore_index is None
        and _check.can_read(input, inputs.validate)
    )


def _as_items(value: Tensor) -> Tensor:
    """`(batch, channels, *spatial)` as the operators' `(items, *spatial)`, contiguous."""
    return value.flatten(0, 1).contiguous()
