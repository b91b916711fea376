"""Every loss on the GPU has the same value and gradient as with the reference on the CPU."""

import pytest
import torch
from torch import Tensor, nn

from surfloss import losses, use_backend

OPTIONS = {"softmax": True, "to_onehot_y": True}
SPACING = (5.0, 0.42, 0.7)
LOSSES = {
    "hausdorff": losses.HausdorffDTLoss(**OPTIONS, spacing=SPACING, normalize="diagonal"),
    "log hausdorff": losses.LogHausdorffDTLoss(1.0, **OPTIONS, ignore_index=2),
    "erosions": losses.HausdorffERLoss(**OPTIONS, iterations=4),
    "convolutions": losses.HausdorffConvLoss(**OPTIONS, radii=(2.0, 4.0)),
    "boundary": losses.BoundaryLoss(**OPTIONS, spacing=SPACING),
    "generalized surface": losses.GeneralizedSurfaceLoss(**OPTIONS, spacing=SPACING),
    "surface dice": losses.SurfaceDiceLoss(1.0, **OPTIONS, spacing=SPACING),
    "contour map": losses.ContourLoss(**OPTIONS),
    "contour length": losses.ContourLoss("length", (1, 3, 3), **OPTIONS),
    "dice_ce": losses.DiceCELoss(),
}


def passed(loss: nn.Module, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.detach().cpu(), leaf.grad.cpu()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient(name: str, dtype: torch.dtype, backend: str, device: str) -> None:
    labels = torch.randint(0, 3, (2, 1, 6, 20, 22))
    logits = torch.randn(2, 3, 6, 20, 22, dtype=torch.float32).to(dtype)
    with use_backend("reference"):
        value, gradient = passed(LOSSES[name], logits, labels)
    with use_backend(backend):
        got, got_gradient = passed(LOSSES[name], logits.to(device), labels.to(device))
    assert got.dtype == value.dtype
    torch.testing.assert_close(got, value, rtol=1e-3, atol=1e-6)
    # Rounding of the softmax may move a probability across the threshold.
    off = (got_gradient - gradient).abs().float() > 2e-2 * float(gradient.abs().max())
    assert off.float().mean() < 1e-3
