"""The differentiable surface Dice: of masks what SciPy counts, and between them a way downhill."""

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

from surfloss import SurfaceDiceLoss
from tests.losses.fields import labels, logits, real, result
from tests.support.volumes import LABELS

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

Mask = npt.NDArray[np.bool_]
SPACING = (5.0, 0.42, 0.7)


def surface(mask: Mask) -> Mask:
    """Foreground with a face neighbor in the background; none lies outside the volume."""
    return mask & ~ndimage.binary_erosion(
        mask, ndimage.generate_binary_structure(mask.ndim, 1), border_value=1
    )


def by_scipy(prediction: Mask, target: Mask, spacing: tuple[float, ...], tolerance: float) -> float:
    """Share of the voxels of both surfaces that lie within the tolerance of the other one."""
    sides = surface(prediction), surface(target)
    close = 0
    for here, there in (sides, sides[::-1]):
        if there.any():
            distance = ndimage.distance_transform_edt(~there, sampling=spacing)
            close += int((distance[here] <= tolerance * (1 + 1e-6)).sum())
    total = int(sides[0].sum() + sides[1].sum())
    return close / total if total else 1.0


def masks(dims: int, *, seed: int = 0, smooth: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two similar masks with both labels."""
    generator = np.random.default_rng(seed)
    shape = {2: (17, 23), 3: (9, 11, 13)}[dims]
    common = generator.normal(size=shape)
    pair = [
        ndimage.gaussian_filter(common + 0.5 * generator.normal(size=shape), smooth) > 0 for _ in range(2)
    ]
    prediction, target = (torch.from_numpy(mask)[None, None].double() for mask in pair)
    return prediction, target


def shifted(n: int) -> tuple[Tensor, Tensor]:
    """A square of 6x6 and the same `n` voxels further."""
    target = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    target[..., 5:11, 5:11] = 1
    return target.roll(n, 3), target


class TestOfMasks:
    @pytest.mark.parametrize("tolerance", [0.0, 0.42, 0.7, 1.0, 1.4142135623730951, 5.0, 50.0])
    @pytest.mark.parametrize("spacing", [None, SPACING])
    @pytest.mark.parametrize("dims", [2, 3])
    def test_is_the_voxel_surface_dice(
        self, dims: int, spacing: tuple[float, ...] | None, tolerance: float
    ) -> None:
        prediction, target = masks(dims)
        steps = SPACING[-dims:] if spacing else (1.0,) * dims
        right = by_scipy(prediction[0, 0].numpy() > 0, target[0, 0].numpy() > 0, steps, tolerance)
        got = SurfaceDiceLoss(tolerance, spacing=steps if spacing else None)(prediction, target)
        assert float(got) == pytest.approx(1 - right, abs=1e-12)

    @pytest.mark.parametrize("name", LABELS)
    def test_real_label(self, name: str) -> None:
        input, target, spacing = real(name)
        prediction = (input > 0.5).float()
        right = by_scipy(prediction[0, 0].numpy() > 0, target[0, 0].numpy() > 0, spacing, min(spacing))
        assert 0 < right < 1
        got = SurfaceDiceLoss(min(spacing), spacing=spacing)(prediction, target)
        assert float(got) == pytest.approx(1 - right, abs=1e-6)

    def test_shifted_square_by_hand(self) -> None:
        # 20 voxels of surface each. Shifted by 2, they have 4 voxels of the upper and of the lower side in
        # common, and nothing is farther than 2 from the other one.
        prediction, target = shifted(2)
        assert float(SurfaceDiceLoss(0.0)(prediction, target)) == pytest.approx(1 - 2 * 8 / 40)
        assert float(SurfaceDiceLoss(2.0)(prediction, target)) == 0
        assert [float(SurfaceDiceLoss(1.0)(*shifted(n))) for n in (0, 1)] == [0, 0]

    @pytest.mark.parametrize("form", ["numbers", "float32 tensor"])
    def test_a_distance_equal_to_the_tolerance_is_within_it(self, form: str) -> None:
        target = torch.zeros(4, 1, 3, 12)
        target[..., 1, 1:7] = 1
        moved = torch.stack([item.roll(n, -1) for n, item in enumerate(target, 1)])
        wrong = []
        for step in (round(0.05 + 0.01 * n, 2) for n in range(496)):
            spacing = (5.0, step) if form == "numbers" else torch.tensor([[5.0, step]] * 4)
            for voxels in (1, 2, 3):
                for tolerance in {voxels * step, round(voxels * step, 2)}:
                    loss = SurfaceDiceLoss(tolerance, reduction="none", spacing=spacing)
                    if (loss(moved, target).flatten() == 0).tolist() != [n <= voxels for n in range(1, 5)]:
                        wrong.append((step, tolerance))
        assert not wrong

    def test_the_border_of_the_volume_is_no_surface(self) -> None:
        half = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        half[..., :4] = 1
        # Surfaces are the columns 3 and 5: none of 16 voxels within 1, all within 2.
        other = torch.zeros_like(half)
        other[..., :6] = 1
        assert float(SurfaceDiceLoss(1.0)(other, half)) == 1
        assert float(SurfaceDiceLoss(2.0)(other, half)) == 0

    @pytest.mark.parametrize("target_value", [0, 1], ids=["empty", "full"])
    def test_targets_without_surface(self, target_value: int) -> None:
        prediction, target = shifted(1)
        target[:] = target_value
        for empty, values in (("zero", [0, 0]), ("one", [1, 0])):
            loss = SurfaceDiceLoss(1.0, empty=empty)
            assert [float(loss(p, target)) for p in (prediction, 1 - target)] == values
            assert not result(loss, prediction, target).gradient.any()

    def test_prediction_without_surface(self) -> None:
        prediction, target = shifted(0)
        assert float(SurfaceDiceLoss(1.0)(torch.zeros_like(prediction), target)) == 1


class TestBetweenMasks:
    def test_formula_on_scipys_filters(self) -> None:
        input, target = logits(3, 1, dtype=torch.float64).sigmoid(), labels(3, 1).double()
        cross = ndimage.generate_binary_structure(3, 1)
        for p, g in zip(input[:, 0].numpy(), target[:, 0].numpy(), strict=True):
            soft = p - ndimage.minimum_filter(p, footprint=cross, mode="constant", cval=np.inf)
            hard, true = surface(p > 0.5), surface(g > 0.5)
            near_hard, near_true = (
                ndimage.distance_transform_edt(~side, sampling=SPACING) <= 0.7 for side in (hard, true)
            )
            share = (soft * near_true + true * near_hard).sum() / (soft.sum() + true.sum())
            got = SurfaceDiceLoss(0.7, spacing=SPACING)(
                torch.from_numpy(p)[None, None], torch.from_numpy(g)[None, None]
            )
            assert float(got) == pytest.approx(1 - share, rel=1e-9)

    @pytest.mark.parametrize("tolerance", [0.0, 1.0])
    def test_descent_moves_a_surface_onto_the_targets(self, tolerance: float) -> None:
        prediction, target = shifted(3)
        logit = (4 * prediction - 2).requires_grad_()
        loss = SurfaceDiceLoss(tolerance, sigmoid=True)
        optimizer = torch.optim.Adam([logit], 0.2)
        for _ in range(100):
            optimizer.zero_grad()
            loss(logit, target).backward()
            optimizer.step()
        of_masks = SurfaceDiceLoss(tolerance)
        assert float(of_masks(prediction, target)) > 0.3
        assert float(of_masks((logit > 0).double(), target)) == 0

    def test_surface_out_of_reach_is_pulled_down(self) -> None:
        target = torch.zeros(1, 1, 12, 24, dtype=torch.float64)
        target[..., 3:8, 2:7] = 1
        input = 0.05 * torch.ones_like(target)
        input[..., 3:8, 2:7] = 0.95
        input[..., 5, 18] = 0.9  # a lone voxel far away
        gradient = result(SurfaceDiceLoss(1.0), input, target).gradient
        assert gradient[0, 0, 5, 18] > 0
        assert gradient[0, 0, 3, 3] < 0

    @given(seed=st.integers(0, 10**6), tolerance=st.floats(0, 6), smooth=st.floats(0.3, 2))
    def test_properties(self, seed: int, tolerance: float, smooth: float) -> None:
        prediction, target = masks(2, seed=seed, smooth=smooth)
        loss = SurfaceDiceLoss(tolerance, spacing=(0.7, 1.3), empty="one")
        value = loss(prediction, target)
        right = by_scipy(prediction[0, 0].numpy() > 0, target[0, 0].numpy() > 0, (0.7, 1.3), tolerance)
        assert float(value) == pytest.approx(1 - right, abs=1e-9)
        torch.testing.assert_close(loss(target, prediction), value)
        torch.testing.assert_close(loss(prediction.flip(2), target.flip(2)), value)
        assert loss(target, target) == 0
        assert (
            SurfaceDiceLoss(tolerance + 1, spacing=(0.7, 1.3), empty="one")(prediction, target)
            <= value + 1e-12
        )
        between = loss(0.9 * prediction + 0.05, target)
        assert 0 <= between <= 1


def test_ignored_voxels_are_outside_the_volume() -> None:
    prediction, target = masks(2)
    beside = torch.rand(1, 1, 17, 5).double()
    wide = torch.cat([beside, prediction], 3), torch.cat([torch.full_like(beside, 255), target], 3)
    got = SurfaceDiceLoss(1.0, ignore_index=255)(*wide)
    torch.testing.assert_close(got, SurfaceDiceLoss(1.0)(prediction, target))


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf, None, "1", True])
def test_refuses_a_tolerance(tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"^tolerance: got .*, wanted a finite number, at least 0"):
        SurfaceDiceLoss(tolerance)
