"""Gradients of operators: outside the dispatcher, and those that were computed beside the value."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surfloss._check import fail


class _Scaled(torch.autograd.Function):
    generate_vmap_rule = True  # torch.func.jacrev maps the backward pass

    @staticmethod
    def forward(gradient: Tensor, grad: Tensor, value: Tensor) -> Tensor:
        return gradient * grad.view(-1, *(1,) * (gradient.ndim - 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        fail("create_graph", "a second derivative", "the first alone: distances are constants", RuntimeError)


def scaled(gradient: Tensor, grad: Tensor, value: Tensor) -> Tensor:
    """The gradient `(items, *spatial)` times that of what came after `(items,)`.

    A second derivative is refused, since the saved gradient would pass for a constant. For that the value
    `(items,)`, as it was saved for the backward pass, links the result to the input.
    """
    # Without a graph of the backward pass there is nothing to refuse, and the plain form costs less.
    form = _Scaled.apply if torch.is_grad_enabled() else _Scaled.forward
    result: Tensor = form(gradient, grad, value)
    return result


def eager(
    function: Callable[..., Any],
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """A differentiable form of an operator's function that does not go through the dispatcher.

    For small tensors the dispatcher's Python takes longer than the kernels. It is for `_check.is_plain`
    tensors alone: a compiler, say, needs the operator itself. `setup_context` and `backward` are those of
    `torch.library.register_autograd`.
    """

    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            output = function(*arguments)
            setup_context(ctx, arguments, output)
            return output

    Eager.backward = staticmethod(backward)  # type: ignore[method-assign]
    apply: Callable[..., Any] = Eager.apply
    return apply
