"""Hausdorff losses without a distance transform: by erosion, and by convolution with balls.

Karimi & Salcudean, "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
Networks", IEEE Trans. Med. Imaging 39(2), 2020, section II-B, the second and the third of the losses there.
Both replace hard thresholds by a soft one, which here is T(x) = relu(2x - 1): nothing below one half, and 1
stays 1, so that it can be repeated.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail, is_real
from surfloss.losses._prepare import Activation, LossModule, check_options, prepare, reduced

RESCALES = ("fixed", "minmax")
_SLACK = 1 + 1e-9  # so that a number of steps that makes up a radius reaches it
RADII = (3.0, 6.0, 9.0, 12.0, 15.0, 18.0)


def hausdorff_er_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
    iterations: int = 10,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    rescale: str = "fixed",
    ignore_index: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Hausdorff loss by erosion (Karimi & Salcudean 2020, section II-B.2), in voxels.

    The squared error E_0 = (p - g)^2 is eroded again and again: E_k = T(B * E_{k-1}), with B the mean over a
    voxel and its face neighbors and T the soft threshold at one half. The loss of an item and channel is
    sum_k k^alpha sum E_k / voxels: the thicker a wrong region, the more erosions it outlives. Outside the
    volume there is no error. Empty and full masks need no rule.

    Errors with |p - g| below 0.7 are gone after the first erosion, so the loss needs a region loss beside it.

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        alpha: exponent of the number of erosions, at least 0.
        iterations: erosions, at least 1: the half thickness in voxels beyond which no region weighs more.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        rescale: "fixed", T(x) = relu(2x - 1); "minmax", relu(x - 1/2) stretched to [0, 1] over the item, as
            the PyTorch code in circulation does it (kornia's `HausdorffERLoss`). That makes a loss of 1 from
            a remainder of 1e-6, with the gradient to match.
        ignore_index: label of voxels without error and gradient, as those outside the volume.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Returns:
        A scalar, or with "none" one value an item and channel; in float32, or float64 for such input.

    Raises:
        TypeError, ValueError: on an argument of another form.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    _check_er_options(alpha, iterations, rescale)
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
    error = (prediction - target).square()
    if ignore is not None:
        error = error.masked_fill(ignore, 0)
    total = torch.zeros_like(error)
    for k in range(1, iterations + 1):
        mean = _mean_over_cross(error)
        error = _soft_threshold(mean) if rescale == "fixed" else _stretched(F.relu(mean - 0.5))
        total = total + k**alpha * error
    return reduced(total.flatten(2).mean(2), reduction, batch, prediction.ndim - 2)


def hausdorff_conv_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
    radii: Sequence[float] = RADII,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    spacing: SpacingLike = None,
    ignore_index: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Hausdorff loss by convolution with balls (Karimi & Salcudean 2020, section II-B.3).

    With B_r the mean over the ball of radius r, x^C = 1 - x, and T the soft threshold at one half, the loss
    of an item and channel is the mean over its voxels of

        sum_r r^alpha [ (T(B_r g^C) + T(B_r p)) p + (T(B_r g) + T(B_r p^C)) g ] (p - g)^2 :

    a wrongly predicted voxel weighs r^alpha if no target lies within r, and again if all within r is
    predicted; a missed one the other way round. The volume is surrounded by background. Empty and full masks
    need no rule. Unlike in `hausdorff_dt_loss` the gradient also flows through the distances.

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        alpha: exponent of the radii, at least 0.
        radii: of the balls, in the unit of `spacing`, above 0. The convolutions go through Fourier space:
            each radius costs the same, large or small.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        spacing: mm along the spatial axes (z, y, x); a number, `dims` numbers, or a tensor `(batch, dims)`.
            None for radii in voxels. A tensor is read, for which a GPU waits: it decides the balls' sizes.
        ignore_index: label of voxels that have no error, no gradient, and are left out of the balls.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Returns:
        A scalar, or with "none" one value an item and channel; in float32, or float64 for such input.

    Raises:
        TypeError, ValueError: on an argument of another form.
        RuntimeError: on a spacing in a tensor, in a graph that may not break.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    _check_conv_options(alpha, radii)
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
    lead, dims = prediction.shape[:2], prediction.ndim - 2
    shared, per_item = _check.spacing(spacing, dims, lead, prediction.device)
    p, g = prediction.flatten(0, 1), target.detach().flatten(0, 1)
    ignored = None if ignore is None else ignore.expand_as(target).flatten(0, 1)
    if per_item is None:
        values = _conv_error(p, g, ignored, alpha, radii, shared)
    elif torch.compiler.is_compiling():
        fail("spacing", "a tensor in a compiled graph", "numbers: they decide the balls' sizes", RuntimeError)
    else:
        rows = [tuple(row) for row in per_item.tolist()]
        values = p.new_zeros(len(rows))
        for steps in dict.fromkeys(rows):
            alike = torch.tensor([i for i, row in enumerate(rows) if row == steps], device=p.device)
            ignored_here = None if ignored is None else ignored[alike]
            part = _conv_error(p[alike], g[alike], ignored_here, alpha, radii, steps)
            values = values.index_add(0, alike, part)
    return reduced(values.view(lead), reduction, batch, dims)


class HausdorffERLoss(LossModule):
    """`functional.hausdorff_er_loss` as a module; the arguments are those of the function."""

    def __init__(
        self,
        alpha: float = 2.0,
        iterations: int = 10,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        rescale: str = "fixed",
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        _check_er_options(alpha, iterations, rescale)
        super().__init__(
            alpha=alpha,
            iterations=iterations,
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            rescale=rescale,
            ignore_index=ignore_index,
            validate=validate,
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return hausdorff_er_loss(input, target, **self.options)


class HausdorffConvLoss(LossModule):
    """`functional.hausdorff_conv_loss` as a module.

    The arguments are those of the function. `spacing` may be given to a call instead.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        radii: Sequence[float] = RADII,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        _check_conv_options(alpha, radii)
        super().__init__(
            alpha=alpha,
            radii=tuple(float(radius) for radius in radii),
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            spacing=_check.plain_spacing(spacing),
            ignore_index=ignore_index,
            validate=validate,
        )

    def forward(self, input: Tensor, target: Tensor, *, spacing: SpacingLike = None) -> Tensor:
        options = self.options if spacing is None else {**self.options, "spacing": spacing}
        return hausdorff_conv_loss(input, target, **options)


def _check_er_options(alpha: float, iterations: int, rescale: str) -> None:
    _check.not_negative("alpha", alpha)
    _check.whole("iterations", iterations, 1)
    if rescale not in RESCALES:
        fail("rescale", repr(rescale), f"one of {', '.join(RESCALES)}")


def _check_conv_options(alpha: float, radii: Sequence[float]) -> None:
    _check.not_negative("alpha", alpha)
    numbers = isinstance(radii, Sequence) and all(is_real(r) and 0 < r < torch.inf for r in radii)
    if not numbers or not len(radii):
        fail("radii", repr(radii), "finite numbers above 0")


def _soft_threshold(x: Tensor) -> Tensor:
    return F.relu(2 * x - 1)


def _stretched(x: Tensor) -> Tensor:
    """Every item and channel stretched to [0, 1]; one that is the same throughout as it is."""
    spatial = tuple(range(2, x.ndim))
    low, high = x.amin(spatial, keepdim=True), x.amax(spatial, keepdim=True)
    width = high - low
    return torch.where(width > 0, (x - low) / torch.where(width > 0, width, 1), x)


def _mean_over_cross(x: Tensor) -> Tensor:
    """Mean over every voxel and its face neighbors; 0 outside the volume."""
    total = x
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1])
        total = total + padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
    return total / (2 * (x.ndim - 2) + 1)


def _conv_error(
    p: Tensor, g: Tensor, ignore: Tensor | None, alpha: float, radii: Sequence[float], steps: Sequence[float]
) -> Tensor:
    """The loss of each of `(items, *spatial)`."""
    if ignore is not None:
        p, g = p.masked_fill(ignore, 0), g.masked_fill(ignore, 0)
    weight = torch.zeros_like(p)
    for radius in radii:
        mean_p, mean_g = (_mean_over_ball(x, radius, steps) for x in (p, g))
        if ignore is not None:
            counted = 1 - _mean_over_ball(ignore.to(p.dtype), radius, steps)
            counted = counted.clamp_min(torch.finfo(p.dtype).eps)
            mean_p, mean_g = mean_p / counted, mean_g / counted
        near_p, far_p = _soft_threshold(mean_p), _soft_threshold(1 - mean_p)
        near_g, far_g = _soft_threshold(mean_g), _soft_threshold(1 - mean_g)
        weight = weight + float(radius**alpha) * (p * (far_g + near_p) + g * (near_g + far_p))
    return (weight * (p - g).square()).flatten(1).mean(1)


def _mean_over_ball(x: Tensor, radius: float, steps: Sequence[float]) -> Tensor:
    """Mean over the ball around every voxel of `(..., *spatial)`, surrounded by zeros."""
    if not x.numel():
        return x  # of which there is no Fourier transform
    dims = len(steps)
    spatial = x.shape[-dims:]
    # An offset that leads out of the volume from everywhere adds nothing; without these, `size + far` is
    # room enough for no sum to come around the end.
    most = [min(int(radius / step * _SLACK), size - 1) for step, size in zip(steps, spatial, strict=True)]
    room = [_fast_length(size + far) for size, far in zip(spatial, most, strict=True)]
    positions = [torch.arange(n, device=x.device) for n in room]
    offsets = [torch.minimum(at, n - at) for at, n in zip(positions, room, strict=True)]
    ball = (_squared_length(offsets, steps) <= radius**2 * _SLACK).to(x.dtype)
    axes = tuple(range(-dims, 0))
    sums = torch.fft.irfftn(torch.fft.rfftn(x, room, axes) * torch.fft.rfftn(ball, room, axes), room, axes)
    for axis, size in zip(axes, spatial, strict=True):
        sums = sums.narrow(axis, 0, size)
    mean: Tensor = sums / _voxels_in_ball(radius, steps, x.device)
    return mean


def _fast_length(n: int) -> int:
    """The next length that is a product of 2, 3, 5 and 7, for which Fourier transforms are fast."""
    while 210 ** n.bit_length() % n:
        n += 1
    return n


def _voxels_in_ball(radius: float, steps: Sequence[float], device: torch.device) -> Tensor:
    *steps, last = steps
    reach = [int(radius / step * _SLACK) for step in steps]
    offsets = [torch.arange(-far, far + 1, device=device) for far in reach]
    left = radius**2 * _SLACK - _squared_length(offsets, steps)
    return torch.where(left >= 0, 2 * (left.clamp_min(0).sqrt() / last).floor() + 1, 0).sum()


def _squared_length(offsets: list[Tensor], steps: Sequence[float]) -> Tensor:
    """Of every combination of offsets, in voxels along each axis."""
    along = [(offset.double() * step) ** 2 for offset, step in zip(offsets, steps, strict=True)]
    return torch.stack(torch.meshgrid(*along, indexing="ij")).sum(0)
