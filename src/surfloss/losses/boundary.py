"""Losses that weigh probabilities by the target's distance map: boundary and generalized surface loss.

Kervadec, Bouchtiba, Desrosiers, Granger, Dolz & Ben Ayed, "Boundary loss for highly unbalanced segmentation",
MIDL 2019 and Medical Image Analysis 67, 2021; Celaya, Riviere & Fuentes, "A Generalized Surface Loss for
Reducing the Hausdorff Distance in Medical Imaging Segmentation", arXiv 2302.03868, 2023. Both maps are of the
target alone, so constants, and may be computed ahead.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, Unpack

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, SpacingLike, fail
from surfloss.losses._distance import (
    Normalize,
    boundary_map,
    checked_map,
    diagonal,
    refuse_uniform,
    spatial,
    squared_two_sided,
)
from surfloss.losses._options import Activation, DistanceLoss, InputKeywords, InputOptions, Reduction
from surfloss.losses._prepare import check_choice

Empty: TypeAlias = Literal["zero", "diagonal", "raise"]


def boundary_loss(
    input: Tensor,
    target: Tensor,
    *,
    target_distance: Tensor | None = None,
    spacing: SpacingLike = None,
    normalize: Normalize = None,
    empty: Empty = "zero",
    backend: str | None = None,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`BoundaryLoss` as a function, with the same arguments and one more.

    Args:
        target_distance: None, or phi itself, in the unit of `spacing`, in the target's shape after one-hot
            and background removal: any map that is negative inside and positive outside, as `signed_distance`
            gives it in either convention; +inf or -inf throughout a mask that is empty or full. Where values
            are read (`validate`), a map with a voxel of the wrong sign is refused.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with a target of one label.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    inputs = InputOptions.of(options)
    check_choice("normalize", normalize, Normalize)
    check_choice("empty", empty, Empty)
    prediction, target, ignore = inputs.prepare(input, target)
    mask = target > 0.5
    if empty == "raise":
        refuse_uniform("target", mask, ignore)
    if target_distance is not None:
        phi = checked_map(target_distance, target, inputs.validate, inside=mask, ignore=ignore)
    else:
        phi = boundary_map(mask, ignore, spacing, backend)
    without = diagonal(mask, spacing) if empty == "diagonal" else 0.0
    phi = torch.where(phi.isinf(), phi.sign() * without, phi)
    if ignore is not None:
        phi = phi.masked_fill(ignore, 0)
    values = (prediction * phi).mean(spatial(phi), keepdim=True)
    return inputs.reduce(values / diagonal(mask, spacing) if normalize else values)


def generalized_surface_loss(
    input: Tensor,
    target: Tensor,
    *,
    class_weights: NumbersLike | None = None,
    target_distance: Tensor | None = None,
    spacing: SpacingLike = None,
    empty: Empty = "zero",
    backend: str | None = None,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`GeneralizedSurfaceLoss` as a function, with the same arguments and `target_distance`.

    `target_distance` is that of `hausdorff_dt_loss`.

    Raises:
        TypeError, ValueError: on an argument of another form, or `empty="raise"` with a target of one label.
        RuntimeError: on `empty="raise"` in a graph that may not break.
    """
    inputs = InputOptions.of(options)
    check_choice("empty", empty, Empty)
    weights = _class_weights(class_weights)
    prediction, target, ignore = inputs.prepare(input, target)
    mask = target > 0.5
    if empty == "raise":
        refuse_uniform("target", mask, ignore)
    if target_distance is not None:
        given = checked_map(target_distance, target, inputs.validate)
        squared = given.square()
    else:
        squared = squared_two_sided(mask, ignore, spacing, backend)
    without = diagonal(mask, spacing) if empty == "diagonal" else 0.0
    squared = torch.where(squared.isinf(), without**2, squared)
    if ignore is not None:
        squared = squared.masked_fill(ignore, 0)
    error = torch.where(mask, 1 - prediction, prediction)
    wrong = (squared * error * (2 - error)).sum(spatial(error), keepdim=True)
    most = squared.to(error.dtype).sum(spatial(error), keepdim=True)
    if weights is not None:
        channels = most.shape[1]
        if len(weights) != channels:
            fail("class_weights", f"{len(weights)} weights", f"{channels}, a channel that counts each")
        wrong, most = (
            torch.stack([weight * x[:, k] for k, weight in enumerate(weights)], 1).sum(1, keepdim=True)
            for x in (wrong, most)
        )
    return inputs.reduce(wrong / most.masked_fill(most == 0, 1))


class BoundaryLoss(DistanceLoss):
    """Boundary loss (Kervadec et al. 2019): mean(p phi), phi the signed distance map of the target.

    phi is that of the published code: the distance d to the other label outside, and -(d - 1) inside, so that
    it is 0 on the outermost voxels of the foreground. In mm the 1 is the voxel's smallest step, which keeps
    those voxels at 0. The value falls below 0 as the foreground fills; only its gradient phi / voxels counts.
    It does not vanish for a perfect prediction and needs a region loss beside it (`schedules.Rebalance`).

    Args:
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for distances in voxels.
        normalize: "diagonal" divides distances by the physical diagonal of an item, None does not.
        empty: phi where a target is all background or all foreground: "zero", as the published code has it
            for background; "diagonal", plus or minus the item's physical diagonal; "raise", an error, for
            which values are read.
        ignore_index, validate: see `InputOptions`.
        backend: who computes the distances; None for the fastest on the input's device.
    """

    def __init__(
        self,
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
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(boundary_loss, locals())
        check_choice("normalize", normalize, Normalize)
        check_choice("empty", empty, Empty)


class GeneralizedSurfaceLoss(DistanceLoss):
    """Generalized surface loss (Celaya et al. 2023, eq. 12), from 0 (perfect) to 1 (all voxels wrong).

    With D_k the target's distance map of class k, the value of an item is

        1 - sum_k w_k sum (D_k (1 - g_k - p_k))^2 / sum_k w_k sum D_k^2 ,

    computed as sum_k w_k sum D_k^2 e_k (2 - e_k) over the same, with e = |g - p|, which is equal and loses no
    digits near 0. D is the distance to the other label; its sign is squared away, and its unit cancels. The
    gradient vanishes where the prediction is wholly wrong: use a region loss first (`schedules.Rebalance`).

    Args:
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`;
            with `class_weights`, `reduction="none"` gives `(batch, 1, 1, ...)`.
        class_weights: None, each class by its own distance map, w_k = 1 / sum D_k^2: their losses are
            averaged. Or a weight for each channel that counts, such as the paper's (eq. 13), 1 / N_k with N_k
            the voxels of class k in the whole training set; their scale cancels. A sequence, array or tensor
            `(channels,)` on any device; a constant.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for cubic voxels.
        empty: D where a target is all foreground or all background: "zero", such a class does not count and
            has the value 0 by itself; "diagonal", the item's physical diagonal everywhere, as the published
            code has it for background; "raise", an error, for which values are read.
        ignore_index, validate: see `InputOptions`.
        backend: who computes the distances; None for the fastest on the input's device.
    """

    def __init__(
        self,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        class_weights: NumbersLike | None = None,
        spacing: SpacingLike = None,
        empty: Empty = "zero",
        ignore_index: int | None = None,
        backend: str | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(generalized_surface_loss, locals())
        check_choice("empty", empty, Empty)
        _class_weights(self.class_weights)


def _class_weights(class_weights: NumbersLike | None) -> Sequence[float] | Tensor | None:
    if class_weights is None:
        return None
    if isinstance(class_weights, Tensor) and class_weights.ndim == 1 and not _check.can_read(class_weights):
        return class_weights.detach()
    weights = _check.numbers("class_weights", class_weights)
    if not any(weights):
        fail("class_weights", repr(class_weights), "finite numbers of at least 0, not all of them 0")
    return tuple(weight / max(weights) for weight in weights)  # only their ratios count; float32 holds these
