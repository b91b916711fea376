"""The operator of the Hausdorff distance-transform loss: error and gradient in one go."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from surfloss._check import Steps, fail, in_transform, is_plain
from surfloss.backends._interface import HausdorffArguments, ValueCheckingImplementation
from surfloss.ops._schema import Floats
from surfloss.ops._select import select
from surfloss.ops.derivative import eager, scaled
from surfloss.ops.edt import two_sided_without


def _hausdorff_error(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    sigmoid: bool,
    alpha: float,
    spacing: Floats,
    item_spacing: Tensor | None,
    empty: str,
    backend: str | None,
    kept_dtype: torch.dtype | None,
    max_distance: float | None,
    by_errors: bool,
    allowed: Floats | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over an item's voxels of `(d_p^alpha + d_g^alpha) (p - g)^2`, p the prediction and g the target.

    `d_x` is the two-sided distance of the mask `x > 0.5` (Karimi & Salcudean 2020, eq. 8), a constant of the
    gradient (section II-B there). So the forward pass knows all of the gradient but its scale, and keeps that
    alone: nothing else is saved. With `sigmoid` the target has no gradient.

    Args: those of `HausdorffArguments`, and
        target_distance: None, or float32 of the input's shape, in mm: the two-sided distance of the target,
            inf where it has one label only.
        kept_dtype: of the gradient: None for the input's, bfloat16 or float16.
        max_distance: mm, above 0: longer distances count as this one; None for no limit.
        by_errors: divide the weights by their mean over an item's errors, `sum w (p - g)^2 / sum (p - g)^2`,
            a constant of the gradient. The error is then that of weight 1, or 0 where all weights are.
        allowed: None, or, if `checks_values`, the least and the greatest value that the input may have. A
            floating target may then have 0 and 1. Other values raise `WrongValues`.

    Returns:
        The errors `(batch,)` in the input's dtype, 0 for an item without voxels; their gradient with respect
        to the input, in its shape; and what that has yet to be multiplied by, for each item `(batch,)`, or
        nothing, `(0,)`. With float16 it is a power of two, chosen to bring its greatest value into
        [2^14, 2^15); with `by_errors` one over the mean of the weights; with both their product.
    """
    implementation = select(backend, input.device)
    input_squared, target_squared = None, None if target_distance is None else target_distance.square()
    steps = Steps(list(spacing), item_spacing)
    if ignore is not None:

        def one_sided(mask: Tensor) -> Tensor:
            return implementation.edt(mask, steps, "one_sided", True)

        input_squared = two_sided_without(ignore, input > (0 if sigmoid else 0.5), one_sided)
        if target_squared is None:
            target_squared = two_sided_without(ignore, target > 0.5, one_sided)
    arguments = HausdorffArguments(
        input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, empty,
        math.inf if max_distance is None else max_distance, by_errors,
        None if allowed is None else (allowed[0], allowed[1]),
    )  # fmt: skip
    errors, gradient = implementation.hausdorff_error(arguments)
    error = errors[0]
    scale = error.new_ones(len(error) if _is_scaled(kept_dtype, by_errors) else 0)
    if kept_dtype == torch.float16 and gradient.numel():
        scale = _scale(gradient.flatten(1))
        gradient /= scale.view(-1, *(1,) * (gradient.ndim - 1))  # in place, exact: no more memory
    if by_errors:
        weightless = error == 0
        scale = scale * (errors[1] / error).masked_fill(weightless, 0)
        error = errors[1].masked_fill(weightless, 0)
    return error, gradient.to(kept_dtype or gradient.dtype), scale


def _is_scaled(kept_dtype: torch.dtype | None, by_errors: bool) -> bool:
    """Whether the gradient has yet to be multiplied by something."""
    return by_errors or kept_dtype == torch.float16


hausdorff_error = torch.library.custom_op("surfloss::hausdorff_error", _hausdorff_error, mutates_args=())


def _scale(gradient: Tensor) -> Tensor:
    """A power of two for each item `(batch, voxels)`, which brings its greatest value into [2^14, 2^15)."""
    lowest, highest = gradient.aminmax(dim=1)
    greatest = torch.maximum(highest, -lowest)
    mantissa, _ = torch.frexp(greatest)
    # Divided by its mantissa, in [1/2, 1), a number is a power of two.
    scale = torch.where(greatest > 0, greatest / mantissa, 1) * 2**-15
    return scale.clamp(min=2**-120)


@hausdorff_error.register_fake
def _(input: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    kept_dtype, _, by_errors = options[9:12]
    error = input.new_empty(input.shape[:1])
    gradient = torch.empty_like(input, dtype=kept_dtype or input.dtype)
    return error, gradient, error.new_empty(len(error) if _is_scaled(kept_dtype, by_errors) else 0)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    error, gradient, scale = output
    ctx.sigmoid, ctx.is_scaled = inputs[4], bool(scale.numel())
    ctx.save_for_backward(gradient, scale, error)
    ctx.mark_non_differentiable(gradient, scale)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_error: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if ctx.sigmoid and ctx.needs_input_grad[1]:
        fail("target", "one that requires a gradient", "one without, beside the fused sigmoid", RuntimeError)
    nothing = (None,) * 12
    if grad_error is None:
        return (None, None, *nothing)
    gradient, scale, error = ctx.saved_tensors
    if ctx.is_scaled:
        grad_error = grad_error * scale
    # In the dtype of the error, whichever the gradient is kept in.
    # Outside the dispatcher the caller keeps the error alone.
    grad = scaled(gradient, grad_error, error, is_private=getattr(ctx, "is_eager", False))
    # The error is a function of the difference of the two.
    return (grad, -grad if ctx.needs_input_grad[1] else None, *nothing)


hausdorff_error.register_autograd(_backward, setup_context=_setup_context)


class _Transformable(torch.autograd.Function):
    """The same rule in the one form in which the transforms of `torch.func` know it."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return hausdorff_error(*arguments)

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)


_eager = eager(_hausdorff_error, _setup_context, _backward)


def checks_values(backend: str | None, input: Tensor, *others: Tensor | None) -> bool:
    """Whether `differentiable_hausdorff_error` can check the values of these tensors, given `allowed`."""
    return is_plain(input, *others) and isinstance(select(backend, input.device), ValueCheckingImplementation)


def differentiable_hausdorff_error(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """`hausdorff_error`, past the dispatcher if PyTorch just computes, and in transforms of `torch.func`."""
    if not torch.compiler.is_compiling() and _is_dual(input):
        fail("input", "a dual tensor", "reverse mode: there are no forward-mode derivatives", RuntimeError)
    tensors = (input, target, target_distance, ignore)
    answer: Any = hausdorff_error
    if in_transform():
        answer = _Transformable.apply
    elif is_plain(*tensors):
        answer = _eager
    error, gradient, scale = answer(*tensors, *options)
    return error, gradient, scale


def _is_dual(tensor: Tensor) -> bool:
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]
