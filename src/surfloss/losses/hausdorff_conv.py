"""Hausdorff loss by convolution with balls: no distance transform.

Karimi & Salcudean, "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
Networks", IEEE Trans. Med. Imaging 39(2), 2020, section II-B.3, with the soft threshold of `hausdorff_er`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, SpacingLike, fail
from surfloss.losses._options import Activation, InputKeywords, InputOptions, Reduction, SpacedLoss
from surfloss.losses.hausdorff_er import soft_threshold_
from surfloss.ops.derivative import scaled

RADII = (3.0, 6.0, 9.0, 12.0, 15.0, 18.0)
# Voxels in Fourier space at a time, where there they take several times their memory; one item at least.
_AT_ONCE = 2**19


def hausdorff_conv_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
    radii: NumbersLike = RADII,
    spacing: SpacingLike = None,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`HausdorffConvLoss` as a function, with the same arguments.

    Raises:
        TypeError, ValueError: on an argument of another form.
        RuntimeError: on a spacing in a tensor or for each item, in a graph that may not break or on meta; on
            a second derivative.
    """
    inputs = InputOptions.of(options)
    alpha, radii = _checked(alpha, radii)
    prediction, target, ignore = inputs.prepare(input, target)
    lead, dims = prediction.shape[:2], prediction.ndim - 2
    shared, per_item = _check.spacing(spacing, dims, lead, prediction.device)
    p, g = prediction.flatten(0, 1), target.detach().flatten(0, 1)
    ignored = None if ignore is None else ignore.expand_as(target).flatten(0, 1)
    with_gradient = p.requires_grad and torch.is_grad_enabled()

    def errors(steps: Sequence[float], some: Any = slice(None)) -> Tensor:
        tensors = p[some], g[some], None if ignored is None else ignored[some]
        found = _ConvErrors.apply(*tensors, alpha, radii, steps, with_gradient)  # type: ignore[no-untyped-call]
        values: Tensor = found[0]
        return values

    if per_item is None:
        values = errors(shared)
    elif torch.compiler.is_compiling() or per_item.is_meta:
        where = "on meta" if per_item.is_meta else "in a compiled graph"
        fail("spacing", f"a tensor {where}", "numbers: they decide the balls' sizes", RuntimeError)
    else:
        rows = [tuple(row) for row in per_item.tolist()]
        values = p.new_zeros((len(rows),))
        for steps in dict.fromkeys(rows):
            alike = torch.tensor([i for i, row in enumerate(rows) if row == steps], device=p.device)
            values = values.index_add(0, alike, errors(steps, alike))
    return inputs.reduce(values.view(*lead, *(1,) * dims))


class HausdorffConvLoss(SpacedLoss):
    """Hausdorff loss by convolution with balls (Karimi & Salcudean 2020, section II-B.3).

    With B_r the mean over the ball of radius r, x^C = 1 - x, and T the soft threshold at one half, the loss
    of an item and channel is the mean over its voxels of

        sum_r r^alpha [ (T(B_r g^C) + T(B_r p)) p + (T(B_r g) + T(B_r p^C)) g ] (p - g)^2 :

    a wrongly predicted voxel weighs r^alpha if no target lies within r, and again if all within r is
    predicted; a missed one the other way round. The volume is surrounded by background. Empty and full masks
    need no rule. Unlike in `HausdorffDTLoss` the gradient also flows through what stands for distances, the
    T(B_r p). The forward pass computes it already and keeps nothing else, so there is no second derivative.

    Args:
        alpha: exponent of the radii, at least 0.
        radii: of the balls, in the unit of `spacing`, above 0. The convolutions go through Fourier space:
            each radius costs the same, large or small.
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for radii in voxels.
            A tensor is read, for which a GPU waits: it decides the balls' sizes.
        ignore_index, validate: see `InputOptions`. Ignored voxels are left out of the balls.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        radii: NumbersLike = RADII,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        spacing: SpacingLike = None,
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(hausdorff_conv_loss, locals())
        _checked(alpha, radii)


def _checked(alpha: float, radii: NumbersLike) -> tuple[float, tuple[float, ...]]:
    alpha, radii = _check.not_negative("alpha", alpha), _check.numbers("radii", radii)
    if 0 in radii:
        fail("radii", repr(radii), "finite numbers above 0")
    return alpha, radii


class _ConvErrors(torch.autograd.Function):
    """The convolution loss of each of `(items, *spatial)`; the target and the radii are constants.

    The forward pass finds the gradient beside the value, and keeps nothing else.
    """

    @staticmethod
    def forward(p: Tensor, g: Tensor, ignore: Tensor | None, *settings: Any) -> tuple[Tensor, Tensor]:
        values, gradient = p.new_empty((len(p),)), torch.empty_like(p)
        at_once = max(1, _AT_ONCE // math.prod(p.shape[1:]))
        for first in range(0, len(p), at_once):
            some = slice(first, first + at_once)
            ignored = None if ignore is None else ignore[some]
            values[some], gradient[some] = _conv_error(p[some], g[some], ignored, *settings)
        return values, gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        values, gradient = output
        ctx.mark_non_differentiable(gradient)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gradient, values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 7
        gradient, values = ctx.saved_tensors
        return scaled(gradient, grad, values, is_private=True), *(None,) * 6


def _conv_error(
    p: Tensor,
    g: Tensor,
    ignore: Tensor | None,
    alpha: float,
    radii: Sequence[float],
    steps: Sequence[float],
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss of each of `(items, *spatial)`, and its gradient with respect to p, 0 unless it is wanted."""
    if ignore is not None:
        p, g = p.masked_fill(ignore, 0), g.masked_fill(ignore, 0)
    squared = (p - g).square()
    of_p, of_g, through_means = (torch.zeros_like(p) for _ in range(3))
    for radius in radii:
        factor, mean = float(radius**alpha), _ball_mean(p, radius, steps)
        counted: Tensor | float = 1.0
        if ignore is not None:
            counted = (1 - mean(ignore.to(p.dtype))).clamp_min_(torch.finfo(p.dtype).eps)
        inside_g, inside_p = mean(g).div_(counted), mean(p).div_(counted)
        far_g, near_g = soft_threshold_(1 - inside_g), soft_threshold_(inside_g)
        far_p, near_p = soft_threshold_(1 - inside_p), soft_threshold_(inside_p)
        of_p += factor * (far_g + near_p)
        of_g += factor * (near_g + far_p)
        if with_gradient:
            # The mean over a ball is its own adjoint; T has the slope 2 where it is not 0.
            slope = 2 * factor * squared * (p * (near_p > 0) - g * (far_p > 0))
            through_means += mean(slope.div_(counted))
    weight = p * of_p + g * of_g
    values = (weight * squared).flatten(1).mean(1)
    if not with_gradient:
        return values, torch.zeros_like(p)
    gradient = (2 * (p - g) * weight + squared * of_p + through_means) / math.prod(p.shape[1:])
    return values, gradient if ignore is None else gradient.masked_fill(ignore, 0)


def _ball_mean(like: Tensor, radius: float, steps: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """The function that takes `(items, *spatial)`, as `like` is, to the mean over every voxel's ball.

    Around the volume there are zeros.
    """
    spatial = like.shape[1:]
    reach = _check.limit("radii", radius)  # a voxel exactly on the radius is in the ball
    # An offset that leads out of the volume from everywhere adds nothing; without these, `size + far` is
    # room enough for no sum to come around the end.
    most = [min(int(reach / step), size - 1) for step, size in zip(steps, spatial, strict=True)]
    room = [_fast_length(size + far) for size, far in zip(spatial, most, strict=True)]
    axes = tuple(range(1, like.ndim))
    offsets = [torch.arange(-far, far + 1, device=like.device) for far in most]
    ball = (_squared_length(offsets, steps) <= reach**2).to(like.dtype)
    spectrum = torch.fft.rfftn(ball, room)
    voxels = _voxels_in_ball(reach, steps, like.device)

    def mean(x: Tensor) -> Tensor:
        sums = torch.fft.irfftn(torch.fft.rfftn(x, room, axes).mul_(spectrum), room, axes)
        for axis, size, far in zip(axes, spatial, most, strict=True):
            sums = sums.narrow(axis, far, size)
        of_items: Tensor = sums / voxels
        return of_items

    return mean


def _fast_length(n: int) -> int:
    """The next length that is a product of 2, 3, 5 and 7, for which Fourier transforms are fast."""
    while 210 ** n.bit_length() % n:
        n += 1
    return n


def _voxels_in_ball(reach: float, steps: Sequence[float], device: torch.device) -> Tensor:
    *steps, last = steps
    offsets = [torch.arange(-int(reach / step), int(reach / step) + 1, device=device) for step in steps]
    left = reach**2 - _squared_length(offsets, steps)
    return torch.where(left >= 0, 2 * (left.clamp_min(0).sqrt() / last).floor() + 1, 0).sum()


def _squared_length(offsets: list[Tensor], steps: Sequence[float]) -> Tensor:
    """Of every combination of offsets, in voxels along each axis."""
    along = [(offset.double() * step) ** 2 for offset, step in zip(offsets, steps, strict=True)]
    return torch.stack(torch.meshgrid(*along, indexing="ij")).sum(0)
