"""The operator of the soft surface of a probability map, for backends that compare and subtract at once."""

from typing import Any

import torch
from torch import Tensor

from surfloss._check import is_plain
from surfloss.ops._select import load_pooling, select_pooling
from surfloss.ops.derivative import eager


def has_surface_map(device_type: str) -> bool:
    """Whether a backend has the operators below for tensors on such a device."""
    return select_pooling("surface", None, device_type) is not None


# As torch.compiler.assume_constant_result does, which would import the compiler.
has_surface_map._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _surface_map(x: Tensor, ignore: Tensor | None, backend: str | None) -> tuple[Tensor, Tensor]:
    """x less the least of x and its face neighbors.

    Args:
        x: float32 or float64, `(batch, z, y, x)`, contiguous.
        ignore: None, or bool of the same shape: voxels that are nobody's neighbors; the surface there is 0.

    Returns:
        The surface, in the input's shape and dtype; and for the gradient, int8, which voxel is the least: 0
        for the voxel itself, 1 to 6 for the neighbor before and after along z, y and x, the first of equals.
    """
    return load_pooling("surface", backend, x.device).surface_map(x, ignore)


surface_map = torch.library.custom_op("surfloss::surface_map", _surface_map, mutates_args=())


@surface_map.register_fake
def _(x: Tensor, ignore: Tensor | None, backend: str | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.int8)


@torch.library.custom_op("surfloss::surface_map_gradient", mutates_args=())
def surface_map_gradient(grad: Tensor, lowest: Tensor, backend: str | None) -> Tensor:
    """Gradient with respect to the input of `surface_map`."""
    return load_pooling("surface", backend, grad.device).surface_map_gradient(grad, lowest)


@surface_map_gradient.register_fake
def _(grad: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(grad)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, lowest = output
    # By name, as in ops/contour.py.
    chosen = select_pooling("surface", inputs[2], lowest.device.type)
    ctx.backend = None if chosen is None else chosen.name
    ctx.save_for_backward(lowest)
    ctx.mark_non_differentiable(lowest)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, None]:
    if grad is None:
        return None, None, None
    return surface_map_gradient(grad.contiguous(), *ctx.saved_tensors, ctx.backend), None, None


surface_map.register_autograd(_backward, setup_context=_setup_context)
_eager = eager(_surface_map, _setup_context, _backward)


def differentiable_surface_map(x: Tensor, ignore: Tensor | None, backend: str | None) -> Tensor:
    """The surface of `surface_map`, past the dispatcher where PyTorch just computes."""
    answer: Any = _eager if is_plain(x, ignore) else surface_map
    surface: Tensor = answer(x, ignore, backend)[0]
    return surface
