"""Hausdorff loss by erosion: no distance transform.

Karimi & Salcudean, "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
Networks", IEEE Trans. Med. Imaging 39(2), 2020, section II-B.2. The paper leaves the scale of the soft
threshold open; here it is T(x) = relu(2x - 1): nothing below one half, and 1 stays 1, so that it can be
repeated.
"""

import math
from typing import Any, Literal, TypeAlias, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from surfloss import _check
from surfloss.losses._options import Activation, ChannelLoss, InputKeywords, InputOptions, Reduction
from surfloss.losses._prepare import check_choice

Rescale: TypeAlias = Literal["fixed", "minmax"]


def hausdorff_er_loss(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.0,
    iterations: int = 10,
    rescale: Rescale = "fixed",
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`HausdorffERLoss` as a function, with the same arguments.

    Raises:
        TypeError, ValueError: on an argument of another form.
    """
    inputs = InputOptions.of(options)
    alpha, iterations = _checked(alpha, iterations, rescale)
    prediction, target, ignore = inputs.prepare(input, target)
    error = (prediction - target).square()
    if ignore is not None:
        error = error.masked_fill(ignore, 0)
    if rescale == "fixed":
        total, *_ = _Erosions.apply(error, alpha, iterations)  # type: ignore[no-untyped-call]
    else:
        total = _stretched_erosions(error, alpha, iterations)
    lead, spatial = error.shape[:2], error.shape[2:]
    return inputs.reduce(total.view(*lead, *(1,) * len(spatial)) / math.prod(spatial))


class HausdorffERLoss(ChannelLoss):
    """Hausdorff loss by erosion (Karimi & Salcudean 2020, section II-B.2), in voxels.

    The squared error E_0 = (p - g)^2 is eroded again and again: E_k = T(B * E_{k-1}), with B the mean over a
    voxel and its face neighbors and T the soft threshold at one half. The loss of an item and channel is
    sum_k k^alpha sum E_k / voxels: the thicker a wrong region, the more erosions it outlives. Outside the
    volume there is no error. Empty and full masks need no rule.

    The gradient flows through the erosions: one bit per voxel and erosion is saved for it ("minmax": each is
    computed again). Errors with |p - g| below 0.7 are gone after the first erosion, so the loss needs a
    region loss beside it.

    Args:
        alpha: exponent of the number of erosions, at least 0.
        iterations: erosions, at least 1: the half thickness in voxels beyond which no region weighs more.
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        rescale: "fixed", T(x) = relu(2x - 1); "minmax", relu(x - 1/2) stretched to [0, 1] over the item, as
            the PyTorch code in circulation does it (kornia's `HausdorffERLoss`). That makes a loss of 1 from
            a remainder of 1e-6, with the gradient to match.
        ignore_index, validate: see `InputOptions`. Ignored voxels erode as those outside the volume.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        iterations: int = 10,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        rescale: Rescale = "fixed",
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(hausdorff_er_loss, locals())
        _checked(alpha, iterations, rescale)


def _checked(alpha: float, iterations: int, rescale: str) -> tuple[float, int]:
    check_choice("rescale", rescale, Rescale)
    return _check.not_negative("alpha", alpha), _check.whole("iterations", iterations, 1)


def soft_threshold_(x: Tensor) -> Tensor:
    """T, in the place of x."""
    return x.mul_(2).sub_(1).relu_()


def _mean_over_cross(x: Tensor) -> Tensor:
    """Mean over every voxel and its face neighbors of `(batch, channels, *spatial)`; 0 outside the volume."""
    total = x.clone()
    for axis in range(2, x.ndim):
        rest = x.shape[axis] - 1
        total.narrow(axis, 1, rest).add_(x.narrow(axis, 0, rest))
        total.narrow(axis, 0, rest).add_(x.narrow(axis, 1, rest))
    return total.div_(2 * (x.ndim - 2) + 1)


class _Erosions(torch.autograd.Function):
    """sum_k k^alpha sum E_k for each item and channel of E_0, `(batch, channels, *spatial)`.

    An erosion is linear where something is left, and constant elsewhere. So all that the gradient needs of it
    is a bit a voxel, and the sum has no second derivative with respect to E_0.
    """

    @staticmethod
    def forward(error: Tensor, alpha: float, iterations: int) -> tuple[Tensor, ...]:
        total = error.new_zeros(error.shape[:2])
        bits = []
        for k in range(1, iterations + 1):
            error = soft_threshold_(_mean_over_cross(error))
            total += k**alpha * error.flatten(2).sum(2)
            if k % 8 == 1:
                bits.append(torch.zeros_like(error, dtype=torch.uint8))
            bits[-1] |= (error > 0).byte() << (k - 1) % 8
        return total, *bits

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, ctx.alpha, ctx.iterations = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        bits = ctx.saved_tensors
        slope = torch.zeros_like(bits[0], dtype=grad.dtype)
        for k in range(ctx.iterations, 0, -1):
            gone = bits[(k - 1) // 8] & 1 << (k - 1) % 8 == 0
            # The mean over the cross is its own adjoint; T has the slope 2.
            slope = _mean_over_cross(slope.add_(k**ctx.alpha).masked_fill_(gone, 0)).mul_(2)
        return slope * grad.view(*grad.shape, *(1,) * (slope.ndim - 2)), None, None


def _stretched_erosions(error: Tensor, alpha: float, iterations: int) -> Tensor:
    """What `_Erosions` gives, with every E_k stretched to [0, 1]. Of each step its input alone is kept."""
    total = error.new_zeros(error.shape[:2])
    for k in range(1, iterations + 1):
        if _check.in_transform():  # which know no checkpoints
            error = _stretched_erosion(error)
        else:
            error = checkpoint(_stretched_erosion, error, use_reentrant=False, preserve_rng_state=False)
        total = total + k**alpha * error.flatten(2).sum(2)
    return total


def _stretched_erosion(error: Tensor) -> Tensor:
    """An erosion, stretched for every item and channel; one that is the same throughout as it is."""
    x = F.relu(_mean_over_cross(error) - 0.5)
    spatial = tuple(range(2, x.ndim))
    low, high = x.amin(spatial, keepdim=True), x.amax(spatial, keepdim=True)
    uniform = low == high
    return (x - low.masked_fill(uniform, 0)) / (high - low).masked_fill(uniform, 1)
