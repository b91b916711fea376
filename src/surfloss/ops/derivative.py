"""Gradients of operators: outside the dispatcher, and those that were computed beside the value."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surfloss._check import fail, is_plain


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


def scaled(gradient: Tensor, grad: Tensor, value: Tensor, is_private: bool) -> Tensor:
    """The gradient `(items, *spatial)` times that of what came after `(items,)`.

    A second derivative is refused, since the saved gradient would pass for a constant. For that the value
    `(items,)`, as it was saved for the backward pass, links the result to the input.

    Args:
        is_private: nobody but the graph holds the saved gradient. If this backward pass is the graph's last
            one, the result then takes its memory.
    """
    if torch.is_grad_enabled():
        result: Tensor = _Scaled.apply(gradient, grad, value)  # type: ignore[no-untyped-call]
        return result
    # Without a graph of the backward pass there is nothing to refuse, and the plain form costs less.
    factor = grad.view(-1, *(1,) * (gradient.ndim - 1))
    if is_private and gradient.dtype == grad.dtype and is_plain(gradient, grad) and _is_last_pass():
        return gradient.mul_(factor)
    return gradient * factor


def _is_last_pass() -> bool:
    """Whether the graph is freed behind the backward pass that is running."""
    return not torch._C._autograd._get_current_graph_task_keep_graph()


def eager(
    function: Callable[..., Any],
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """A differentiable form of an operator's function that does not go through the dispatcher.

    For small tensors the dispatcher's Python takes longer than the kernels. It is for `_check.is_plain`
    tensors alone: a compiler, say, needs the operator itself. `setup_context` and `backward` are those of
    `torch.library.register_autograd`, the latter with `ctx.is_eager`.
    """

    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            output = function(*arguments)
            setup_context(ctx, arguments, output)
            ctx.is_eager = True
            return output

    Eager.backward = staticmethod(backward)  # type: ignore[method-assign]
    apply: Callable[..., Any] = Eager.apply
    return apply
