"""The operator of the contour of a probability map, for backends that pool and subtract at once."""

from typing import Any

import torch
from torch import Tensor

from surfloss._check import is_plain
from surfloss.ops._select import load_pooling, select_pooling
from surfloss.ops.derivative import eager


def has_contour_map(device_type: str) -> bool:
    """Whether a backend has the operators below for tensors on such a device."""
    return select_pooling("contour", None, device_type) is not None


# As torch.compiler.assume_constant_result does, which would import the compiler.
has_contour_map._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _contour_map(
    x: Tensor, ignore: Tensor | None, depth: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    """relu(maxpool(minpool(x)) - minpool(x)), with windows of 3 along y and x and `depth` along z.

    Args:
        x: float32 or float64, `(batch, z, y, x)`, contiguous.
        ignore: None, or bool of the same shape: voxels that are in no window; the contour there is 0.
        depth: 3, or 1 for every slice by itself.

    Returns:
        The contour, in the input's shape and dtype; and for the gradient, int8, where in its window the
        greatest erosion is (negative where there is no contour), and where the least input.
    """
    return load_pooling("contour", backend, x.device).contour_map(x, ignore, depth)


contour_map = torch.library.custom_op("surfloss::contour_map", _contour_map, mutates_args=())


@contour_map.register_fake
def _(x: Tensor, ignore: Tensor | None, depth: int, backend: str | None) -> tuple[Tensor, Tensor, Tensor]:
    places = torch.empty_like(x, dtype=torch.int8)
    return torch.empty_like(x), places, torch.empty_like(places)


@torch.library.custom_op("surfloss::contour_map_gradient", mutates_args=())
def contour_map_gradient(
    grad: Tensor, highest: Tensor, lowest: Tensor, depth: int, backend: str | None
) -> Tensor:
    """Gradient with respect to the input of `contour_map`, as of PyTorch's pooling: the first of equals."""
    implementation = load_pooling("contour", backend, grad.device)
    return implementation.contour_map_gradient(grad, highest, lowest, depth)


@contour_map_gradient.register_fake
def _(grad: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(grad)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, highest, lowest = output
    # By name: the backward pass of a GPU has a thread of its own, where `use_backend` does not hold.
    chosen = select_pooling("contour", inputs[3], highest.device.type)
    ctx.depth, ctx.backend = inputs[2], None if chosen is None else chosen.name
    ctx.save_for_backward(highest, lowest)
    ctx.mark_non_differentiable(highest, lowest)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, None, None]:
    if grad is None:
        return None, None, None, None
    gradient = contour_map_gradient(grad.contiguous(), *ctx.saved_tensors, ctx.depth, ctx.backend)
    return gradient, None, None, None


contour_map.register_autograd(_backward, setup_context=_setup_context)
_eager = eager(_contour_map, _setup_context, _backward)


def differentiable_contour_map(
    x: Tensor, ignore: Tensor | None, depth: int, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`contour_map`, past the dispatcher where PyTorch just computes."""
    answer: Any = _eager if is_plain(x, ignore) else contour_map
    contour, highest, lowest = answer(x, ignore, depth, backend)
    return contour, highest, lowest
