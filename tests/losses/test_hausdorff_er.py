"""The Hausdorff loss by erosion: its formula on SciPy's convolution, kornia's, and cases by hand."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from surfloss import HausdorffERLoss
from tests.losses.fields import assert_agrees, binary, box, labels, logits, real, result

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

Field = npt.NDArray[np.float64]


def by_erosion(p: Field, g: Field, alpha: float, iterations: int, rescale: str) -> float:
    """One item by SciPy's convolution."""
    kernel = ndimage.generate_binary_structure(p.ndim, 1).astype(float)
    kernel /= kernel.sum()
    error, total = (p - g) ** 2, 0.0
    for k in range(1, iterations + 1):
        error = np.maximum(ndimage.convolve(error, kernel, mode="constant") - 0.5, 0)
        if rescale == "fixed":
            error *= 2
        elif np.ptp(error) > 0:
            error = (error - error.min()) / np.ptp(error)
        total += k**alpha * error.mean()
    return float(total)


@pytest.mark.parametrize("rescale", ["fixed", "minmax"])
@pytest.mark.parametrize(("alpha", "iterations"), [(2.0, 10), (1.0, 3), (0.5, 1), (0.0, 2)])
@pytest.mark.parametrize("dims", [2, 3])
def test_formula_on_scipys_convolution(dims: int, alpha: float, iterations: int, rescale: str) -> None:
    input, target = binary(dims)
    right = [
        by_erosion(p[0], g[0], alpha, iterations, rescale)
        for p, g in zip(input.numpy(), target.numpy(), strict=True)
    ]
    got = HausdorffERLoss(alpha, iterations, rescale=rescale, reduction="none")(input, target)
    assert got.flatten().tolist() == pytest.approx(right, rel=1e-9)
    assert min(right) > 0


@pytest.mark.parametrize("rescale", ["fixed", "minmax"])
def test_real_label(rescale: str) -> None:
    input, target, _ = real("brain1_label", most=32)
    right = by_erosion(input[0, 0].double().numpy(), target[0, 0].double().numpy(), 2.0, 4, rescale)
    assert right > 0
    got = HausdorffERLoss(2.0, 4, rescale=rescale)(input, target)
    assert float(got) == pytest.approx(right, rel=1e-4)


def test_a_square_by_hand() -> None:
    # 5x5 wrong voxels. Of the mean over a cross, all 5 are wrong inside, 4 at an edge, 3 at a corner.
    target = box((9, 9), (5, 5), (2, 2))
    once = HausdorffERLoss(2.0, 1)(torch.zeros_like(target), target)
    assert float(once * 81) == pytest.approx(9 * 1 + 12 * 0.6 + 4 * 0.2)


def test_the_border_of_the_volume_erodes() -> None:
    target = torch.ones(1, 1, 3, 3)
    once = HausdorffERLoss(2.0, 1)(torch.zeros_like(target), target)
    assert float(once * 9) == pytest.approx(1 + 4 * 0.6 + 4 * 0.2)


def test_a_thick_region_outlives_a_thin_one() -> None:
    thick, thin = box((40, 40), (16, 4), (8, 8)), box((40, 40), (8, 8), (8, 8))
    values = [HausdorffERLoss()(torch.zeros_like(t), t) for t in (thick, thin)]
    assert values[0] * 2 < values[1]


def test_small_errors_are_gone_after_one_erosion() -> None:
    target = torch.ones(1, 1, 8, 8)
    assert HausdorffERLoss()(torch.full_like(target, 0.3), target) == 0
    assert HausdorffERLoss()(torch.full_like(target, 0.25), target) > 0


def test_ignored_voxels_erode_like_the_border() -> None:
    target = torch.ones(1, 1, 5, 5)
    inside = HausdorffERLoss()(torch.zeros(1, 1, 5, 4), target[..., :4]) * 20
    target[..., 4] = 255
    assert HausdorffERLoss(ignore_index=255)(torch.zeros(1, 1, 5, 5), target) * 25 == pytest.approx(inside)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"iterations": 0}, "iterations"),
        ({"iterations": 2.0}, "iterations"),
        ({"rescale": "none"}, "rescale"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}: got .*, wanted "):
        HausdorffERLoss(**options)


@pytest.mark.parametrize("rescale", ["fixed", "minmax"])
def test_second_derivative(rescale: str) -> None:
    input, target = (x[:1, :, :4, :5] for x in binary(2))
    loss = HausdorffERLoss(iterations=3, rescale=rescale)
    assert loss(input, target) > 0
    input = input.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda p: loss(p, target), input, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 8, 9, 17])
def test_gradient_by_hand(iterations: int) -> None:
    """In the middle of a wide wrong region every mean is of equals, so that E_k = 2 E_{k-1} - 1."""
    target = torch.ones(1, 1, 71, 71, dtype=torch.float64)
    input = torch.full_like(target, 1e-6).requires_grad_()
    HausdorffERLoss(1.0, iterations)(input, target).backward()
    # What reaches the middle of E_0 from all around: T doubles it in each erosion.
    right = sum(k * 2**k for k in range(1, iterations + 1)) * -2 * (1 - 1e-6) / 71**2
    assert float(input.grad[0, 0, 35, 35]) == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_minmax_is_kornias(dims: int) -> None:
    kornia = pytest.importorskip("kornia.losses")
    theirs = {2: kornia.HausdorffERLoss, 3: kornia.HausdorffERLoss3D}[dims](alpha=1.5, k=4, reduction="none")
    input, target = 4 * logits(dims, 3), labels(dims, 3)

    def wanted(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # A map for every class, the classes first.
        return theirs(x.softmax(1), target).flatten(2).mean(2).T.reshape(2, 3, *(1,) * dims)

    ours = HausdorffERLoss(
        1.5, 4, softmax=True, to_onehot_y=True, include_background=True, rescale="minmax", reduction="none"
    )
    right = result(wanted, input, target)
    assert right.value.all()
    assert_agrees(result(ours, input, target), right, 2e-5)
