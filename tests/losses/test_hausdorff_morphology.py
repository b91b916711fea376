"""The Hausdorff losses without distance transform: their formulas on SciPy's filters, and cases by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from surfloss import HausdorffConvLoss, HausdorffERLoss
from tests.losses.fields import labels, logits, real

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

Field = npt.NDArray[np.float64]


def binary(dims: int, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Probabilities, many of them near 0 and 1, and a target of one channel, float64."""
    input = (4 * logits(dims, 1, batch=batch, dtype=torch.float64)).sigmoid()
    return input, labels(dims, 1, batch=batch).double()


def box(shape: tuple[int, ...], sizes: tuple[int, ...], at: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(1, 1, *shape, dtype=torch.float64)
    mask[(0, 0, *(slice(a, a + n) for a, n in zip(at, sizes, strict=True)))] = 1
    return mask


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


class TestErosion:
    @pytest.mark.parametrize("rescale", ["fixed", "minmax"])
    @pytest.mark.parametrize(("alpha", "iterations"), [(2.0, 10), (1.0, 3), (0.5, 1), (0.0, 2)])
    @pytest.mark.parametrize("dims", [2, 3])
    def test_formula_on_scipys_convolution(
        self, dims: int, alpha: float, iterations: int, rescale: str
    ) -> None:
        input, target = binary(dims)
        right = [
            by_erosion(p[0], g[0], alpha, iterations, rescale)
            for p, g in zip(input.numpy(), target.numpy(), strict=True)
        ]
        got = HausdorffERLoss(alpha, iterations, rescale=rescale, reduction="none")(input, target)
        assert got.flatten().tolist() == pytest.approx(right, rel=1e-9)
        assert min(right) > 0

    @pytest.mark.parametrize("rescale", ["fixed", "minmax"])
    def test_real_label(self, rescale: str) -> None:
        input, target, _ = real("brain1_label", most=32)
        right = by_erosion(input[0, 0].double().numpy(), target[0, 0].double().numpy(), 2.0, 4, rescale)
        assert right > 0
        got = HausdorffERLoss(2.0, 4, rescale=rescale)(input, target)
        assert float(got) == pytest.approx(right, rel=1e-4)

    def test_a_square_by_hand(self) -> None:
        # 5x5 wrong voxels. Of the mean over a cross, all 5 are wrong inside, 4 at an edge, 3 at a corner.
        target = box((9, 9), (5, 5), (2, 2))
        once = HausdorffERLoss(2.0, 1)(torch.zeros_like(target), target)
        assert float(once * 81) == pytest.approx(9 * 1 + 12 * 0.6 + 4 * 0.2)

    def test_the_border_of_the_volume_erodes(self) -> None:
        target = torch.ones(1, 1, 3, 3)
        once = HausdorffERLoss(2.0, 1)(torch.zeros_like(target), target)
        assert float(once * 9) == pytest.approx(1 + 4 * 0.6 + 4 * 0.2)

    def test_a_thick_region_outlives_a_thin_one(self) -> None:
        thick, thin = box((40, 40), (16, 4), (8, 8)), box((40, 40), (8, 8), (8, 8))
        values = [HausdorffERLoss()(torch.zeros_like(t), t) for t in (thick, thin)]
        assert values[0] * 2 < values[1]

    def test_small_errors_are_gone_after_one_erosion(self) -> None:
        target = torch.ones(1, 1, 8, 8)
        assert HausdorffERLoss()(torch.full_like(target, 0.3), target) == 0
        assert HausdorffERLoss()(torch.full_like(target, 0.25), target) > 0

    def test_ignored_voxels_erode_like_the_border(self) -> None:
        target = torch.ones(1, 1, 5, 5)
        inside = HausdorffERLoss()(torch.zeros(1, 1, 5, 4), target[..., :4]) * 20
        target[..., 4] = 255
        assert HausdorffERLoss(ignore_index=255)(torch.zeros(1, 1, 5, 5), target) * 25 == pytest.approx(
            inside
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alpha": -1.0}, "alpha"),
            ({"iterations": 0}, "iterations"),
            ({"iterations": 2.0}, "iterations"),
            ({"rescale": "none"}, "rescale"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}: got .*, wanted "):
            HausdorffERLoss(**options)


class TestConvolution:
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
        self, dims: int, spacing: tuple[float, ...] | None, radii: tuple[float, ...]
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
    def test_any_radius_on_any_shape(self, seed: int, shape: list[int], radius: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        input = torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)
        target = (torch.rand(1, 1, *shape, generator=generator) < 0.5).double()
        right = by_convolution(input[0, 0].numpy(), target[0, 0].numpy(), 2.0, (radius,), (1.0,) * len(shape))
        got = float(HausdorffConvLoss(radii=(radius,))(input, target))
        assert got == pytest.approx(right, rel=1e-9, abs=1e-12)

    def test_a_lone_voxel_by_hand(self) -> None:
        # No target within any radius, and the prediction is a fifth or less of every ball.
        input = box((30, 30), (1, 1), (15, 15))
        got = HausdorffConvLoss(radii=(1, 2, 4))(input, torch.zeros_like(input))
        assert float(got * 900) == pytest.approx(1 + 4 + 16)
        missed = HausdorffConvLoss(radii=(1, 2, 4))(torch.zeros_like(input), input)
        assert missed == pytest.approx(got)

    def test_within_a_large_region_both_sides_count(self) -> None:
        # Around the middle of a wrong square of 9x9 all of a ball of radius 2 is predicted, none is true.
        input = box((25, 25), (9, 9), (8, 8))
        prediction = input.clone().requires_grad_()
        HausdorffConvLoss(radii=(2,), alpha=1.0)(prediction, torch.zeros_like(input)).backward()
        # The middle weighs 2 + 2 on p^3. It is also a 13th of the ball of each of the 13 voxels around it,
        # where 2 p^3 stands before T(B p), and T' is 2.
        assert float(prediction.grad[0, 0, 12, 12] * 625) == pytest.approx(3 * (2 + 2) + 2 * 2)

    def test_ignored_voxels_are_left_out_of_the_balls(self) -> None:
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
    def test_scales_with_the_power_of_the_unit(self, alpha: float) -> None:
        input, target = binary(3)
        one = HausdorffConvLoss(alpha, (1, 2, 4))(input, target)
        two = HausdorffConvLoss(alpha, (2, 4, 8), spacing=2.0)(input, target)
        torch.testing.assert_close(two, one * 2**alpha)

    def test_a_fine_spacing_needs_no_room_for_the_ball(self) -> None:
        input, target = binary(2)
        far = HausdorffConvLoss(radii=(9.0,), spacing=1e-3)(input, target)
        # Both masks vanish in so large a ball: each error weighs 81.
        right = 81 * ((input - target) ** 2 * (input + target)).mean()
        torch.testing.assert_close(far, right, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("radii", [(), (0,), (-1.0,), (math.nan,), (math.inf,), ("1",), 3])
    def test_refuses(self, radii: Any) -> None:
        with pytest.raises(ValueError, match=r"^radii: got .*, wanted finite numbers above 0"):
            HausdorffConvLoss(radii=radii)
        with pytest.raises(ValueError, match=r"^alpha: got -1"):
            HausdorffConvLoss(-1.0)
