"""The operator of the Hausdorff distance-transform loss: error and gradient in one go."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surfloss._check import fail
from surfloss.ops._select import select
from surfloss.ops.edt import two_sided_without


@torch.library.custom_op("surfloss::hausdorff_error", mutates_args=())
def hausdorff_error(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    sigmoid: bool,
    alpha: float,
    spacing: Sequence[float],
    item_spacing: Tensor | None,
    empty: str,
    backend: str | None,
    in_bfloat16: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean over an item's voxels of `(d_p^alpha + d_g^alpha) (p - g)^2`, p the prediction and g the target.

    `d_x` is the two-sided distance of the mask `x > 0.5` (Karimi & Salcudean 2020, eq. 8), a constant of the
    gradient (section II-B there). So the forward pass knows all of the gradient but its scale, and keeps that
    alone: nothing else is saved.

    Args:
        input: float32 or float64, `(batch, *spatial)`, contiguous: p, or with `sigmoid` its logits.
        target: g, contiguous, of the same shape: bool, or of the input's dtype.
        target_distance: None, or float32 of the same shape, in mm: the two-sided distance of the target, inf
            where it has one label only.
        ignore: None, or bool of the same shape: voxels without error, gradient or label; the
            values there are finite.
        sigmoid: `p = sigmoid(input)`, and `p > 0.5` is taken as `input > 0`; the target then has no gradient.
        alpha: the exponent; 0^0 is 1.
        empty: "zero", "diagonal" or "reference", the distance in an item that has one label only (0, the
            physical diagonal of the item, or what SciPy computes for a volume without background).
        in_bfloat16: keep the gradient in half the memory, and 8 bits of its digits.

    Returns:
        The errors `(batch,)` in the input's dtype, 0 for an item without voxels, and their gradient with
        respect to the input, in its shape and, unless `in_bfloat16`, its dtype.
    """
    implementation = select(backend, input.device)
    input_squared, target_squared = None, None if target_distance is None else target_distance.square()
    steps = list(spacing)
    if ignore is not None:

        def one_sided(mask: Tensor) -> Tensor:
            return implementation.edt(mask, steps, item_spacing, "one_sided", True)

        input_squared = two_sided_without(ignore, input > (0 if sigmoid else 0.5), one_sided)
        if target_squared is None:
            target_squared = two_sided_without(ignore, target > 0.5, one_sided)
    error, gradient = implementation.hausdorff_error(
        input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, item_spacing, empty
    )
    return error, gradient.bfloat16() if in_bfloat16 else gradient


@hausdorff_error.register_fake
def _(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    sigmoid: bool,
    alpha: float,
    spacing: Sequence[float],
    item_spacing: Tensor | None,
    empty: str,
    backend: str | None,
    in_bfloat16: bool = False,
) -> tuple[Tensor, Tensor]:
    gradient = torch.empty_like(input, dtype=torch.bfloat16 if in_bfloat16 else input.dtype)
    return input.new_empty(input.shape[:1]), gradient


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.sigmoid = inputs[4]
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_error: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        # The saved gradient would pass for a constant.
        fail("create_graph", "True", "False: the Hausdorff error has no second derivative", RuntimeError)
    if ctx.sigmoid and ctx.needs_input_grad[1]:
        fail("target", "one that requires a gradient", "one without, beside the fused sigmoid", RuntimeError)
    nothing = (None,) * 9
    if grad_error is None:
        return (None, None, *nothing)
    (gradient,) = ctx.saved_tensors
    # In the dtype of the error, whichever the gradient is kept in.
    grad = gradient * grad_error.view(-1, *(1,) * (gradient.ndim - 1))
    # The error is a function of the difference of the two.
    return (grad, -grad if ctx.needs_input_grad[1] else None, *nothing)


hausdorff_error.register_autograd(_backward, setup_context=_setup_context)
