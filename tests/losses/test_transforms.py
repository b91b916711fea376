"""The losses under the transforms of `torch.func`, on tensors without storage, and second derivatives."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from surfloss import (
    BoundaryLoss,
    CompoundLoss,
    ContourLoss,
    DiceCELoss,
    GeneralizedSurfaceLoss,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    LogHausdorffDTLoss,
    SurfaceDiceLoss,
)
from tests.losses.fields import in_channels, labels, logits, result

BOTH = {"softmax": True, "to_onehot_y": True}
INPUT, TARGET = 3 * logits(3, 3), labels(3, 3)
WITHOUT_SECOND = {
    "hausdorff": partial(HausdorffDTLoss, **BOTH),
    "hausdorff kept in half": partial(HausdorffDTLoss, **BOTH, kept_dtype=torch.float16),
    "log hausdorff": partial(LogHausdorffDTLoss, **BOTH, ignore_index=1),
    "convolution loss": partial(HausdorffConvLoss, radii=(1, 2), **BOTH),
}
LOSSES: dict[str, Callable[..., nn.Module]] = WITHOUT_SECOND | {
    "erosion loss": partial(HausdorffERLoss, iterations=9, **BOTH),
    "erosion loss, stretched": partial(HausdorffERLoss, rescale="minmax", **BOTH),
    "contour": partial(ContourLoss, **BOTH),
    "boundary": partial(BoundaryLoss, **BOTH),
    "generalized surface": partial(GeneralizedSurfaceLoss, **BOTH),
    "surface dice": partial(SurfaceDiceLoss, 1.0, **BOTH),
    "dice_ce": DiceCELoss,
    "compound": lambda: CompoundLoss({"ce": (DiceCELoss(), 1.0), "dt": (HausdorffDTLoss(**BOTH), 0.5)}),
}


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> nn.Module:
    return LOSSES[request.param]()


def test_grad_is_the_gradient(loss: nn.Module) -> None:
    right = result(loss, INPUT, TARGET)
    gradient, value = torch.func.grad_and_value(loss)(INPUT, TARGET)
    # Pooling by PyTorch, as under a transform, adds up gradients in another order than the operators do.
    torch.testing.assert_close(gradient, right.gradient, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(value, right.value, rtol=1e-6, atol=0)
    assert gradient.any()


def test_grad_with_a_sigmoid_and_of_the_target() -> None:
    target = in_channels(TARGET, 3)
    fused = HausdorffDTLoss(sigmoid=True)
    assert torch.equal(torch.func.grad(fused)(INPUT, target), result(fused, INPUT, target).gradient)
    loss, leaf = HausdorffDTLoss(), target.clone().requires_grad_()
    loss(INPUT.softmax(1), leaf).backward()
    assert torch.equal(torch.func.grad(loss, argnums=1)(INPUT.softmax(1), target), leaf.grad)


HAUSDORFF = HausdorffDTLoss(include_background=True, validate=False)
SPACING = (5.0, 0.42, 0.5)[-(INPUT.ndim - 2) :]
P, G = INPUT.softmax(1), in_channels(TARGET, 3)


@pytest.mark.parametrize(
    "derivative",
    [
        lambda loss: torch.func.linearize(loss, P)[1](P),
        lambda loss: torch.func.jvp(loss, (P,), (P,)),
    ],
)
def test_forward_mode_is_refused_by_name(derivative: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match=r"^input: got a dual tensor, wanted reverse mode"):
        derivative(lambda p: HAUSDORFF(p, G))


def test_a_default_device_changes_nothing() -> None:
    usual, found = (P.clone().requires_grad_() for _ in range(2))
    spacings = [SPACING] * len(P)
    HAUSDORFF(usual, G, spacing=spacings).backward()
    with torch.device("meta"):  # as a default device "cuda" does, it would be that of new memory
        value = HAUSDORFF(found, G, spacing=spacings)
        value.backward()
    assert torch.equal(value, HAUSDORFF(P, G, spacing=spacings))
    assert torch.equal(found.grad, usual.grad)


def test_a_trace_before_dispatch_holds_the_operator() -> None:
    graph = make_fx(lambda p: HAUSDORFF(p, G), pre_dispatch=True)(P)
    assert torch.equal(graph(P / 2), HAUSDORFF(P / 2, G))


def test_a_negative_view_is_not_its_memory() -> None:
    assert torch.equal(HAUSDORFF(torch._neg_view(-P), G), HAUSDORFF(P, G))


def test_vmap_over_spacings_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match=r"^spacing: got a tensor in torch\.func\.vmap"):
        torch.func.vmap(lambda spacing: HAUSDORFF(P, G, spacing=spacing))(torch.ones(2, P.ndim - 2))


@pytest.mark.parametrize("name", WITHOUT_SECOND)
def test_jacobian_of_the_items(name: str) -> None:
    loss = WITHOUT_SECOND[name](reduction="none")
    jacobian = torch.func.jacrev(loss)(INPUT, TARGET)
    value = loss(leaf := INPUT.clone().requires_grad_(), TARGET)
    (of_one,) = torch.autograd.grad(value[1, 0].sum(), leaf)
    torch.testing.assert_close(jacobian[1, 0].reshape(of_one.shape), of_one)


def test_vmap_is_refused_by_name(loss: nn.Module) -> None:
    message = r"^input: got a tensor in torch.func.vmap, wanted one whose first axis is the batch"
    with pytest.raises(RuntimeError, match=message):
        torch.func.vmap(loss)(INPUT[:, None], TARGET[:, None])
    with pytest.raises(RuntimeError, match=message):
        torch.func.vmap(torch.func.grad(loss))(INPUT[:, None], TARGET[:, None])


@pytest.mark.parametrize("name", WITHOUT_SECOND)
def test_second_derivatives_are_refused_by_name(name: str) -> None:
    loss, leaf = WITHOUT_SECOND[name](), INPUT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, TARGET), leaf, create_graph=True)
    assert torch.equal(gradient.detach(), result(loss, INPUT, TARGET).gradient)
    gradients: list[Callable[[], Any]] = [
        lambda: gradient.square().sum().backward(),
        lambda: torch.func.grad(loss)(leaf, TARGET).square().sum().backward(),
        lambda: torch.func.grad(lambda x: torch.func.grad(loss)(x, TARGET).square().sum())(INPUT),
    ]
    for second in gradients:
        with pytest.raises(RuntimeError, match=r"^create_graph: got a second derivative, wanted the first"):
            second()


@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
def test_tensors_without_storage(loss: nn.Module, autocast: torch.dtype | None) -> None:
    leaf, target = INPUT.to("meta").requires_grad_(), TARGET.to("meta")
    loss = loss.to("meta")
    with torch.autocast("cpu", autocast) if autocast else nullcontext():
        value = loss(leaf, target)
    value.backward()
    assert (value.shape, value.dtype, value.device.type) == ((), torch.float32, "meta")
    assert leaf.grad.shape == leaf.shape


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("dice_ce", "compound")])
def test_nothing_is_read_of_tensors_without_storage(name: str) -> None:
    input, target = INPUT.to("meta"), TARGET.to("meta")
    value: Tensor = LOSSES[name](validate=True, reduction="none")(input, target)
    assert value.shape == (2, 2, 1, 1, 1)


def test_balls_of_unknown_sizes_are_refused_by_name() -> None:
    loss = HausdorffConvLoss(**BOTH, spacing=torch.ones(2, 3))
    with pytest.raises(RuntimeError, match=r"^spacing: got a tensor on meta, wanted numbers"):
        loss(INPUT.to("meta"), TARGET.to("meta"))
