"""The gradient of operators that compute it beside their value, with distances as constants of it."""

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
    result: Tensor = _Scaled.apply(gradient, grad, value)  # type: ignore[no-untyped-call]
    return result
