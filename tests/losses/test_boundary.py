"""The boundary and the generalized surface loss against the published formulas on SciPy's distances."""

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

from surfloss import BoundaryLoss, GeneralizedSurfaceLoss, signed_distance, two_sided_edt
from surfloss.functional import generalized_surface_loss
from tests.losses.fields import assert_agrees, in_channels, labels, logits, real, result
from tests.support.oracles import scipy_two_sided
from tests.support.volumes import LABELS

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

Field = npt.NDArray[np.float64]

SPACING = (5.0, 0.42, 0.7)
BOTH = {"softmax": True, "to_onehot_y": True}


def binary(dims: int = 3, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Probabilities and a target of one channel, float64."""
    input = logits(dims, 1, batch=batch, dtype=torch.float64).sigmoid()
    return input, labels(dims, 1, batch=batch).double()


def diagonal(shape: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    return math.hypot(*(n * step for n, step in zip(shape, spacing, strict=True)))


def kervadec(mask: npt.NDArray[np.bool_]) -> Field:
    """The map of the published code, in voxels."""
    if not mask.any():
        return np.zeros(mask.shape)
    outside, inside = (ndimage.distance_transform_edt(side) for side in (~mask, mask))
    return outside * ~mask - (inside - 1) * mask


class TestBoundary:
    @pytest.mark.parametrize("dims", [2, 3])
    def test_is_the_published_loss_in_voxels(self, dims: int) -> None:
        input, target = logits(dims, 3, dtype=torch.float64), labels(dims, 3)
        target[0][target[0] == 2] = 0  # a class that is not there
        maps = [[kervadec((item[0] == k).numpy()) for k in (1, 2)] for item in target]
        phi = torch.from_numpy(np.array(maps))
        got = result(BoundaryLoss(**BOTH), input, target)
        right = result(lambda x, g: (x.softmax(1)[:, 1:] * phi).mean(), input, target)
        torch.testing.assert_close(
            (got.value, got.gradient), (right.value, right.gradient), rtol=1e-6, atol=1e-9
        )

    @pytest.mark.parametrize(
        "options", [{}, {"include_background": True}, {"batch": True}, {"reduction": "sum"}]
    )
    @pytest.mark.parametrize("dims", [2, 3])
    def test_is_monais(self, dims: int, options: dict[str, Any]) -> None:
        monai = pytest.importorskip("monai.losses.boundary_loss", reason="MONAI has it from 1.6 on")
        input, target = logits(dims, 3), labels(dims, 3)
        target[0][target[0] == 2] = 0  # a class that is not there
        target[1] = 1  # and one that is alone
        theirs = monai.BoundaryLoss(**BOTH, **({"include_background": False} | options))
        right = result(theirs, input, target)
        assert right.value != 0
        assert_agrees(result(BoundaryLoss(**BOTH, **options), input, target), right, 1e-6)

    @pytest.mark.parametrize("name", LABELS)
    def test_real_label(self, name: str) -> None:
        input, target, _ = real(name)
        right = (input[0, 0].numpy() * kervadec(target[0, 0].numpy() > 0)).mean()
        assert float(BoundaryLoss()(input, target)) == pytest.approx(float(right), rel=1e-5, abs=1e-6)

    def test_a_row_by_hand(self) -> None:
        target = torch.tensor([[[[0.0, 0, 1, 1, 1, 1]]]])
        phi = [2, 1, 0, -1, -2, -3]
        for x, distance in enumerate(phi):
            one = torch.zeros_like(target)
            one[..., x] = 1
            assert float(BoundaryLoss()(one, target) * 6) == distance
            # In mm the foreground's outermost voxels stay at 0.
            assert float(BoundaryLoss(spacing=0.5)(one, target) * 6) == distance / 2
            assert (
                float(BoundaryLoss(spacing=(0.25, 0.5))(one, target) * 6)
                == (distance - (x > 1)) / 2 + (x > 1) / 4
            )

    def test_gradient_is_the_map(self) -> None:
        input, target = binary(2)
        phi = [kervadec(item[0].numpy() > 0) for item in target]
        got = result(BoundaryLoss(), input, target).gradient
        torch.testing.assert_close(
            got * target.numel(), torch.from_numpy(np.stack(phi))[:, None], rtol=1e-6, atol=0
        )

    @pytest.mark.parametrize("spacing", [SPACING, torch.tensor([SPACING, (1, 2, 3)])])
    @pytest.mark.parametrize("normalize", [None, "diagonal"])
    def test_in_mm(self, normalize: str | None, spacing: Any) -> None:
        input, target = binary()
        steps = [SPACING, (1, 2, 3)] if isinstance(spacing, Tensor) else [SPACING] * 2
        right = []
        for p, g, step in zip(input.numpy(), target.numpy() > 0.5, steps, strict=True):
            distance = scipy_two_sided(g[0], step)
            phi = np.where(g[0], min(step) - distance, distance)
            scale = diagonal(g[0].shape, step) if normalize else 1.0
            right.append((p[0] * phi).mean() / scale)
        got = BoundaryLoss(normalize=normalize, reduction="none")(input, target, spacing=spacing)
        assert got.flatten().tolist() == pytest.approx(right, rel=1e-6)

    @pytest.mark.parametrize("convention", ["voxel", "boundary"])
    @pytest.mark.parametrize("normalize", [None, "diagonal"])
    def test_given_map(self, normalize: str | None, convention: Any) -> None:
        input, target = binary()
        phi = signed_distance(target, spatial_dims=3, spacing=SPACING, convention=convention)
        scale = diagonal(input.shape[2:], SPACING) if normalize else 1.0
        got = BoundaryLoss(normalize=normalize, spacing=SPACING)(input, target, target_distance=phi)
        torch.testing.assert_close(got, (input * phi).mean() / scale)

    @pytest.mark.parametrize("given", [False, True], ids=["computed", "given"])
    @pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
    def test_targets_of_one_label(self, full: bool, given: bool) -> None:
        input, target = binary()
        target[0] = full
        phi = signed_distance(target, spatial_dims=3, spacing=SPACING) if given else None
        if phi is not None:
            assert phi[0].isinf().all()
        zero, far = (
            BoundaryLoss(empty=empty, spacing=SPACING, reduction="none")(input, target, target_distance=phi)
            for empty in ("zero", "diagonal")
        )
        sign = -1 if full else 1
        assert zero[0] == 0
        length = diagonal(input.shape[2:], SPACING)
        torch.testing.assert_close(far[0].squeeze(), sign * length * input[0].mean(), rtol=1e-6, atol=0)
        assert torch.equal(zero[1], far[1])

    def test_ignored_voxels_belong_to_neither_side(self) -> None:
        target = torch.tensor([[[[1.0, 255, 0, 0]]]])
        got = result(BoundaryLoss(ignore_index=255), torch.full_like(target, 0.5), target)
        # The other label is two steps from either side.
        assert (got.gradient * 4).flatten().tolist() == [-1, 0, 2, 3]

    @pytest.mark.parametrize(
        ("bad", "error", "message"),
        [
            (math.nan, ValueError, "NaN, wanted distances"),
            (torch.zeros(1), ValueError, r"shape \(1,\), wanted the target's, \(2, 1, 5, 6, 7\)"),
            (np.zeros(3), TypeError, "ndarray, wanted a torch.Tensor"),
        ],
        ids=["nan", "shape", "array"],
    )
    def test_refuses_what_is_no_map_of_the_target(
        self, bad: Any, error: type[Exception], message: str
    ) -> None:
        input, target = binary()
        phi = torch.full_like(target, bad) if isinstance(bad, float) else bad
        with pytest.raises(error, match=rf"^target_distance: got {message}$"):
            BoundaryLoss()(input, target, target_distance=phi)
        with pytest.raises(ValueError, match=r"^normalize: got 'volume', wanted one of diagonal, None$"):
            BoundaryLoss(normalize="volume")


def eq_12(p: Field, g: Field, distance: Field, weights: Field) -> float:
    """Celaya et al. 2023, of one item: `(classes, *spatial)` and a weight a class."""
    spatial = tuple(range(1, p.ndim))
    kept = ((distance * (1 - g - p)) ** 2).sum(spatial)
    most = (distance**2).sum(spatial)
    return float(1 - (weights * kept).sum() / (weights * most).sum())


class TestGeneralizedSurface:
    WEIGHTS = (0.2, 0.7)

    def case(self, spacing: tuple[float, ...]) -> tuple[Tensor, Tensor, list[tuple[Field, Field, Field]]]:
        dims = len(spacing)
        input, target = logits(dims, 3, dtype=torch.float64), labels(dims, 3)
        channels = in_channels(target, 3)[:, 1:].double().numpy()
        probabilities = input.softmax(1)[:, 1:].numpy()
        items = []
        for p, g in zip(probabilities, channels, strict=True):
            items.append((p, g, np.stack([scipy_two_sided(mask > 0.5, spacing) for mask in g])))
        return input, target, items

    @pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.3), (1.0, 1.0, 1.0), SPACING])
    def test_eq_12_with_weights(self, spacing: tuple[float, ...]) -> None:
        input, target, items = self.case(spacing)
        right = [eq_12(*item, np.array(self.WEIGHTS)) for item in items]
        loss = GeneralizedSurfaceLoss(**BOTH, class_weights=self.WEIGHTS, spacing=spacing, reduction="none")
        got = loss(input, target)
        assert got.shape == (2, *(1,) * (len(spacing) + 1))
        assert got.flatten().tolist() == pytest.approx(right, rel=1e-6)
        scaled = GeneralizedSurfaceLoss(**BOTH, class_weights=[70 * w for w in self.WEIGHTS], spacing=spacing)
        torch.testing.assert_close(scaled(input, target), got.mean())

    def test_default_weighs_a_class_by_its_map(self) -> None:
        input, target, items = self.case(SPACING)
        right = []
        for p, g, distance in items:
            right.append(eq_12(p, g, distance, 1 / (distance**2).sum((1, 2, 3))))
        got = GeneralizedSurfaceLoss(**BOTH, spacing=SPACING, reduction="none")(input, target)
        assert got.mean(1).flatten().tolist() == pytest.approx(right, rel=1e-6)

    def test_from_nothing_wrong_to_all(self) -> None:
        _, target = binary()
        loss = GeneralizedSurfaceLoss(spacing=SPACING)
        assert loss(target, target) == 0
        assert float(loss(1 - target, target)) == pytest.approx(1)
        # No digits are lost close to 0, where the difference from 1 would be rounding.
        close = (target - 1e-6).abs().float()
        error = (close.double() - target).abs()
        squared = two_sided_edt(target, spatial_dims=3, spacing=SPACING, squared=True)
        right = (squared * error * (2 - error)).sum((1, 2, 3, 4)) / squared.sum((1, 2, 3, 4))
        torch.testing.assert_close(loss(close, target).double(), right.mean(), rtol=1e-4, atol=0)

    def test_a_row_by_hand(self) -> None:
        target = torch.tensor([[[[0.0, 0, 1, 1]]]])
        input = torch.tensor([[[[0.0, 0.5, 1, 0]]]])
        # D^2 is 4, 1, 1, 4; wrong by 0, 1/2, 0, 1, each counting e (2 - e).
        assert float(GeneralizedSurfaceLoss()(input, target)) == pytest.approx((1 * 0.75 + 4 * 1) / 10)

    def test_does_not_know_the_unit(self) -> None:
        input, target = binary()
        values = [GeneralizedSurfaceLoss(spacing=s)(input, target) for s in (None, 0.1, 30.0)]
        torch.testing.assert_close(values[0].expand(2), torch.stack(values[1:]))

    @pytest.mark.parametrize("empty", ["zero", "diagonal"])
    def test_given_distance(self, empty: str) -> None:
        input, target = logits(3, 3), labels(3, 3)
        target[0] = 2
        distance = two_sided_edt(in_channels(target, 3)[:, 1:], spatial_dims=3, spacing=SPACING)
        assert distance.isinf().any()
        loss = GeneralizedSurfaceLoss(**BOTH, empty=empty, spacing=SPACING, reduction="none")
        torch.testing.assert_close(loss(input, target, target_distance=distance), loss(input, target))
        for bad in (-1.0, math.nan):
            with pytest.raises(
                ValueError, match=r"^target_distance: got NaN or negative values, wanted distances$"
            ):
                loss(input, target, target_distance=torch.full_like(distance, bad))

    @pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
    def test_targets_of_one_label(self, full: bool) -> None:
        input, target = binary()
        target[0] = full
        zero, far = (
            GeneralizedSurfaceLoss(empty=empty, reduction="none")(input, target)
            for empty in ("zero", "diagonal")
        )
        assert zero[0] == 0
        both = input[0] + full
        torch.testing.assert_close(far[0].squeeze(), (both * (2 - both)).mean())
        assert torch.equal(zero[1], far[1])

    def test_a_class_without_boundary_does_not_count_among_weighted_ones(self) -> None:
        input, target = logits(3, 3), labels(3, 3).clamp_max(1)
        weighted = GeneralizedSurfaceLoss(**BOTH, class_weights=(0.1, 0.9))(input, target)
        first = GeneralizedSurfaceLoss(**BOTH, reduction="none")(input, target)[:, 0].mean()
        torch.testing.assert_close(weighted, first)

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_only_the_ratios_of_weights_count(self, scale: float) -> None:
        input, target = logits(3, 3), labels(3, 3)
        usual = GeneralizedSurfaceLoss(**BOTH, class_weights=(0.25, 1.0))(input, target)
        scaled = GeneralizedSurfaceLoss(**BOTH, class_weights=(0.25 * scale, scale))(input, target)
        torch.testing.assert_close(scaled, usual)

    @pytest.mark.parametrize("weights", [(), (0.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), 2.0, "12"])
    def test_refuses_weights(self, weights: Any) -> None:
        forms = (lambda x: x,) if isinstance(weights, str) else (lambda x: x, np.array, torch.tensor)
        for form in forms:
            with pytest.raises(ValueError, match=r"^class_weights: got .*, wanted .*finite numbers"):
                GeneralizedSurfaceLoss(class_weights=form(weights))

    def test_weights_in_a_tensor_are_constants_of_the_gradient_and_of_the_graph(self) -> None:
        input, target, weights = logits(3, 3), labels(3, 3), torch.tensor([0.25, 0.75], requires_grad=True)

        def loss(input: Tensor, weights: Any) -> Tensor:
            return generalized_surface_loss(input, target, **BOTH, class_weights=weights)

        right = result(loss, input, (0.25, 0.75))
        for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
            got = result(function, input, weights)
            torch.testing.assert_close((got.value, got.gradient), (right.value, right.gradient))
        assert weights.grad is None
        assert not GeneralizedSurfaceLoss(class_weights=weights).state_dict()

    def test_refuses_weights_of_other_channels(self) -> None:
        with pytest.raises(ValueError, match=r"^class_weights: got 3 weights, wanted 2, a channel"):
            GeneralizedSurfaceLoss(**BOTH, class_weights=(1, 1, 1))(logits(3, 3), labels(3, 3))


@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    share=st.floats(0, 1),
)
def test_properties(seed: int, shape: list[int], share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    input = torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(1, 1, *shape, generator=generator) < share).double()
    axes = list(range(2, input.ndim))
    for loss in (BoundaryLoss(), GeneralizedSurfaceLoss()):
        value = loss(input, target)
        torch.testing.assert_close(loss(input.flip(axes), target.flip(axes)), value)
        torch.testing.assert_close(loss(input.transpose(-1, -2), target.transpose(-1, -2)), value)
        assert loss(target, target) <= value
    assert 0 <= value <= 1 + 1e-12
    torch.testing.assert_close(loss(1 - input, 1 - target), value)
