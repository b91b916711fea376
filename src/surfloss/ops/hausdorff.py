"""The operator of the Hausdorff distance-transform loss: error and weight in one go, and its gradient."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surfloss.ops._select import select


@torch.library.custom_op("surfloss::hausdorff_error", mutates_args=())
def hausdorff_error(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    alpha: float,
    spacing: Sequence[float],
    item_spacing: Tensor | None,
    empty: str,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    """Mean over an item's voxels of `weight * (input - target)^2`, `weight = d_input^alpha + d_target^alpha`.

    `d_x` is the two-sided distance of the mask `x > 0.5` (Karimi & Salcudean 2020, eq. 8).

    Args:
        input, target: both float32 or both float64, `(batch, *spatial)`, contiguous.
        target_distance: None, or float32 of the same shape, in mm: the two-sided distance of the target, inf
            where it has one label only.
        ignore: None, or bool of the same shape: voxels without error, gradient or label; the
            values there are finite.
        alpha: the exponent; 0^0 is 1.
        empty: "zero", "diagonal" or "reference", the distance in an item that has one label only (0, the
            physical diagonal of the item, or what SciPy computes for a volume without background).

    Returns:
        The errors `(batch,)` in the input's dtype, 0 for an item without voxels, and the weight (float32, the
        input's shape), which is what the backward pass needs.
    """
    return select(backend, input.device).hausdorff_error(
        input, target, target_distance, ignore, alpha, list(spacing), item_spacing, empty
    )


@hausdorff_error.register_fake
def _(input: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return input.new_empty(input.shape[:1]), torch.empty(
        input.shape, dtype=torch.float32, device=input.device
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    input, target = inputs[:2]
    ctx.save_for_backward(input, target, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_error: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    # Distances are constants of the gradient (Karimi & Salcudean 2020, section II-B), so only the square is
    # differentiated; the target's gradient is the input's with the opposite sign.
    nothing = (None,) * 7
    if grad_error is None:
        return (None, None, *nothing)
    input, target, weight = ctx.saved_tensors
    scale = (grad_error * (2 / max(1, math.prod(input.shape[1:])))).view(-1, *(1,) * (input.ndim - 1))
    grad = (input - target) * weight * scale
    return (grad, -grad if ctx.needs_input_grad[1] else None, *nothing)


hausdorff_error.register_autograd(_backward, setup_context=_setup_context)
