"""The Hausdorff error on the GPU has the same values and gradients as the reference."""

import pytest
import torch
from torch import Tensor

from tests.support import cases
from tests.support.operators import hausdorff_error

pytestmark = pytest.mark.usefixtures("poisoned_scratch")

SPACING = [5.0, 0.42, 0.7]
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], SPACING, [2.0, 0.3, 0.3]], dtype=torch.float64)
SHAPE = (3, 6, 21, 37)


def logits(shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Random logits, not close to the threshold where the mask jumps; the second item is all background."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    values = values.sign() * (0.1 + values.abs())
    values[1] = -values[1].abs()
    return values


def agree(arguments: tuple, backend: str, device: str) -> None:
    """Error and gradient of the operator equal those of the reference."""
    moved = [value.to(device) if isinstance(value, Tensor) else value for value in arguments]
    error, gradient, _ = hausdorff_error(*moved, backend)
    wanted_error, wanted_gradient, _ = hausdorff_error(*arguments, "reference")
    assert (error.dtype, error.shape) == (wanted_error.dtype, wanted_error.shape)
    torch.testing.assert_close(error.cpu(), wanted_error, rtol=1e-5, atol=0)
    scale = float(wanted_gradient.abs().max()) if wanted_gradient.numel() else 0.0
    torch.testing.assert_close(gradient.cpu(), wanted_gradient, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, 2.5])
@pytest.mark.parametrize("sigmoid", [True, False])
def test_few_options_of_the_error(sigmoid: bool, alpha: float, empty: str, backend: str, device: str) -> None:
    target = cases.noise(*SHAPE, share=0.1, seed=1)
    input = logits() if sigmoid else logits().sigmoid()
    for item_spacing in (None, ITEM_SPACING):
        agree((input, target, None, None, sigmoid, alpha, SPACING, item_spacing, empty), backend, device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("soft", [False, True], ids=["hard target", "soft target"])
@pytest.mark.parametrize("shape", [(2, 9, 8, 17), (3, 40, 33), (1, 1, 5, 300), (0, 4, 5, 6)])
def test_shapes_and_dtypes(
    shape: tuple[int, ...], soft: bool, dtype: torch.dtype, backend: str, device: str
) -> None:
    target = cases.noise(*shape, share=0.3, seed=1)
    if soft:
        target = torch.where(target, 0.9, 0.2).to(dtype)
    input = torch.where(cases.noise(*shape, seed=2), 1.7, -0.8).to(dtype)
    agree((input, target, None, None, True, 2.0, [1.0] * (len(shape) - 1), None, "zero"), backend, device)


def test_ignored_voxels_and_a_given_distance(backend: str, device: str) -> None:
    target, ignore = cases.noise(*SHAPE, share=0.1, seed=1), cases.noise(*SHAPE, share=0.2, seed=5)
    distance = torch.rand(SHAPE) * 9
    for given, ignored in ((None, ignore), (distance, None), (distance, ignore)):
        agree((logits(), target, given, ignored, True, 2.0, SPACING, None, "zero"), backend, device)
