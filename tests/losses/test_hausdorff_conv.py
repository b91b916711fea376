"""The convolution loss: its formula on SciPy's convolution, and cases by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from surfloss import HausdorffConvLoss
from tests.losses.fields import assert_agrees, binary, box, result

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

Field = npt.NDArray[np.float64]


def ball(radius: float, spacing: tuple[float, ...]) -> Field:
    reach = [math.floor(radius / step + 1e-9) for step in spacing]
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1)
    inside = ((grid * np.array(spacing)) ** 2).sum(-1) <= radius**2 + 1e-9
    return inside / inside.sum()


def by_convolution(
    p: Field, g: Field, alpha: float, radii: tuple[float, ...], spacing: tuple[float, ...]
) -> float:
    """One item, the four terms one by one, with SciPy's convolution; background around the volume."""
    total = np.zeros(p.shape)
    for radius in radii:
        kernel = ball(radius, spacing)

        def soft(x: Field, outside: float, kernel: Field = kernel) -> Field:
            return np.maximum(2 * ndimage.convolve(x, kernel, mode="constant", cval=outside) - 1, 0)

        error = (p - g) ** 2
        total += radius**alpha * (
            soft(1 - g, 1) * error * p
            + soft(g, 0) * error * g
            + soft(1 - p, 1) * error * g
            + soft(p, 0) * error * p
        )
    return float(total.mean())


@pytest.mark.parametrize(
    ("dims", "spacing", "radii"),
    [
        (2, None, (1, 2, 3.5)),
        (2, (0.5, 1.3), (1.3, 4.0)),
        (2, None, (30,)),
        (3, None, (1, 2.5)),
        (3, (5.0, 0.42, 0.7), (0.42, 2.1, 5.0)),
    ],
)
def test_formula_on_scipys_convolution(
    dims: int, spacing: tuple[float, ...] | None, radii: tuple[float, ...]
) -> None:
    input, target = binary(dims)
    right = [
        by_convolution(p[0], g[0], 1.5, radii, spacing or (1.0,) * dims)
        for p, g in zip(input.numpy(), target.numpy(), strict=True)
    ]
    got = HausdorffConvLoss(1.5, radii, spacing=spacing, reduction="none")(input, target)
    assert got.flatten().tolist() == pytest.approx(right, rel=1e-9)


@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    radius=st.floats(0.3, 9),
)
def test_any_radius_on_any_shape(seed: int, shape: list[int], radius: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    input = torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(1, 1, *shape, generator=generator) < 0.5).double()
    right = by_convolution(input[0, 0].numpy(), target[0, 0].numpy(), 2.0, (radius,), (1.0,) * len(shape))
    got = float(HausdorffConvLoss(radii=(radius,))(input, target))
    assert got == pytest.approx(right, rel=1e-9, abs=1e-12)


def test_a_lone_voxel_by_hand() -> None:
    # No target within any radius, and the prediction is a fifth or less of every ball.
    input = box((30, 30), (1, 1), (15, 15))
    got = HausdorffConvLoss(radii=(1, 2, 4))(input, torch.zeros_like(input))
    assert float(got * 900) == pytest.approx(1 + 4 + 16)
    missed = HausdorffConvLoss(radii=(1, 2, 4))(torch.zeros_like(input), input)
    assert missed == pytest.approx(got)


def test_within_a_large_region_both_sides_count() -> None:
    # Around the middle of a wrong square of 9x9 all of a ball of radius 2 is predicted, none is true.
    input = box((25, 25), (9, 9), (8, 8))
    prediction = input.clone().requires_grad_()
    HausdorffConvLoss(radii=(2,), alpha=1.0)(prediction, torch.zeros_like(input)).backward()
    # The middle weighs 2 + 2 on p^3. It is also a 13th of the ball of each of the 13 voxels around it,
    # where 2 p^3 stands before T(B p), and T' is 2.
    assert float(prediction.grad[0, 0, 12, 12] * 625) == pytest.approx(3 * (2 + 2) + 2 * 2)


def test_ignored_voxels_are_left_out_of_the_balls() -> None:
    # Of the three voxels within reach of the middle one is ignored: half of the others are foreground.
    target = torch.tensor([[[[0.0, 0, 0, 255, 0, 0]]]])
    input = torch.tensor([[[[0.0, 0, 1, 1, 0, 0]]]])
    loss = HausdorffConvLoss(2.0, (1,), spacing=(9.0, 1.0), ignore_index=255)
    # B p = 1/2 at voxel 2, where T(B p) = 0; B g = 0 there, where T(B g^C) = 1.
    assert float(loss(input, target)) == pytest.approx(1 / 6)
    input[0, 0, 0, 1] = 1
    # Now B p = 1 at voxel 2 and 2/3 at voxel 1.
    assert float(loss(input, target)) == pytest.approx((1 + 1 + 1 + 1 / 3) / 6)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_scales_with_the_power_of_the_unit(alpha: float) -> None:
    input, target = binary(3)
    one = HausdorffConvLoss(alpha, (1, 2, 4))(input, target)
    two = HausdorffConvLoss(alpha, (2, 4, 8), spacing=2.0)(input, target)
    torch.testing.assert_close(two, one * 2**alpha)


def test_a_fine_spacing_needs_no_room_for_the_ball() -> None:
    input, target = binary(2)
    far = HausdorffConvLoss(radii=(9.0,), spacing=1e-3)(input, target)
    # Both masks vanish in so large a ball: each error weighs 81.
    right = 81 * ((input - target) ** 2 * (input + target)).mean()
    torch.testing.assert_close(far, right, rtol=1e-5, atol=0)


@pytest.mark.parametrize("radii", [(), (0,), (-1.0,), (math.nan,), (math.inf,), ("1",), 3])
def test_refuses(radii: Any) -> None:
    with pytest.raises(ValueError, match=r"^radii: got .*, wanted .*finite numbers"):
        HausdorffConvLoss(radii=radii)
    with pytest.raises(ValueError, match=r"^alpha: got -1"):
        HausdorffConvLoss(-1.0)


def test_any_number_of_items_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    input, target = binary(2, batch=5)
    loss = HausdorffConvLoss(radii=(1, 2.5), reduction="none")
    right = result(loss, input, target)
    for voxels in (1, 2 * 9 * 11):
        monkeypatch.setattr("surfloss.losses.hausdorff_conv._AT_ONCE", voxels)
        assert_agrees(result(loss, input, target), right, 1e-12)


def test_no_items() -> None:
    input, target = torch.zeros(0, 1, 4, 5, requires_grad=True), torch.zeros(0, 1, 4, 5)
    got = HausdorffConvLoss(radii=(2,), reduction="none")(input, target)
    assert got.shape == (0, 1, 1, 1)
    got.sum().backward()
    assert input.grad is not None
