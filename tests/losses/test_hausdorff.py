"""The Hausdorff losses against MONAI's in value and gradient, and what MONAI's cannot do."""

import math
import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import HausdorffDTLoss as MonaiLoss
from monai.losses import LogHausdorffDTLoss as MonaiLogLoss
from torch import Tensor

from surfloss import HausdorffDTLoss, LogHausdorffDTLoss, two_sided_edt
from surfloss.functional import hausdorff_dt_loss
from tests.losses.fields import assert_agrees, in_channels, labels, logits, real, result
from tests.support.oracles import scipy_two_sided
from tests.support.volumes import LABELS

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

ACTIVATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "sigmoid": {"sigmoid": True},
    "softmax": {"softmax": True},
    "other_act": {"other_act": torch.tanh},
}
PAIRS = ((HausdorffDTLoss, MonaiLoss), (LogHausdorffDTLoss, MonaiLogLoss))
FLOAT32 = 2e-6  # two sums over voxels, and MONAI's rooted distances
SPACING = (5.0, 0.42, 0.7)


def inputs(dims: int, channels: int, to_onehot_y: bool, activation: str) -> tuple[Tensor, Tensor]:
    input, target = logits(dims, channels), labels(dims, channels)
    if activation == "none" or (activation, channels) == ("softmax", 1):  # which then has no effect
        input = input.sigmoid()
    return input, target if to_onehot_y else in_channels(target, channels)


def binary(dims: int = 3, *, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities and a target of one channel, float64."""
    input = logits(dims, 1, batch=batch, seed=seed, dtype=torch.float64).sigmoid()
    return input, labels(dims, 1, batch=batch, seed=seed + 1).double()


class TestAgainstMonai:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("to_onehot_y", [False, True], ids=["channels", "labels"])
    @pytest.mark.parametrize("include_background", [False, True], ids=["foreground", "background too"])
    @pytest.mark.parametrize("alpha", [2.0, 1.0, 2.7, 0.0])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("dims", [2, 3])
    def test_every_argument(
        self,
        dims: int,
        channels: int,
        alpha: float,
        include_background: bool,
        to_onehot_y: bool,
        activation: str,
    ) -> None:
        input, target = inputs(dims, channels, to_onehot_y, activation)
        for (ours, monais), reduction, batch in product(PAIRS, ("mean", "sum", "none"), (False, True)):
            options = {
                "alpha": alpha,
                "include_background": include_background,
                "to_onehot_y": to_onehot_y,
                "reduction": reduction,
                "batch": batch,
                **ACTIVATIONS[activation],
            }
            got = result(ours(**options), input, target)
            # MONAI holds the distances of a target in the target's dtype: integers would truncate them.
            right = result(monais(**options), input, target.float())
            assert_agrees(got, right, FLOAT32)

    def test_positional_order(self) -> None:
        input, target = inputs(2, 3, True, "softmax")
        order = (1.0, True, True, False, True, None, "none", True)
        got, right = (result(loss(*order), input, target) for loss in (HausdorffDTLoss, MonaiLoss))
        assert_agrees(got, right, FLOAT32)

    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize(
        "option", [{"softmax": True}, {"to_onehot_y": True}, {"include_background": False}]
    )
    def test_warns_where_a_single_channel_makes_an_option_void(
        self, option: dict[str, bool], channels: int
    ) -> None:
        labelled = option.get("to_onehot_y", False)
        input, target = inputs(2, channels, labelled, "none")
        for loss in (HausdorffDTLoss, MonaiLoss):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loss(**({"include_background": True} | option))(input, target)
            names = [str(w.message) for w in caught if "single" in str(w.message)]
            assert len(names) == (channels == 1)
            assert all(next(iter(option)) in name for name in names)

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.float64])
    def test_target_of_any_dtype(self, dtype: torch.dtype) -> None:
        input, target = inputs(2, 3, True, "softmax")
        right = result(MonaiLoss(softmax=True, to_onehot_y=True), input, target)
        if dtype is not torch.bool:
            got = result(HausdorffDTLoss(softmax=True, to_onehot_y=True), input, target.to(dtype))
            assert_agrees(got, right, FLOAT32)
        got = result(HausdorffDTLoss(softmax=True), input, in_channels(target, 3).to(dtype))
        assert_agrees(got, right, FLOAT32)

    @pytest.mark.parametrize("alpha", [2.0, 1.0])
    @pytest.mark.parametrize("name", LABELS)
    def test_real_label(self, name: str, alpha: float) -> None:
        input, target, _ = real(name)
        right = result(MonaiLoss(alpha), input, target)
        assert right.value > 0
        assert_agrees(result(HausdorffDTLoss(alpha), input, target), right, FLOAT32)

    @pytest.mark.parametrize("mode", ["prediction", "target", "both"])
    @pytest.mark.parametrize("value", [0.1, 0.5, 0.9], ids=["empty", "on the threshold", "full"])
    def test_channels_of_one_label(self, value: float, mode: str) -> None:
        input, target = inputs(3, 3, False, "none")
        if mode != "target":
            input[0, 1] = value
        if mode != "prediction":
            target[0, 1] = round(value)
        options = {"include_background": True, "reduction": "none"}
        got, right = (result(loss(**options), input, target) for loss in (HausdorffDTLoss, MonaiLoss))
        assert_agrees(got, right, FLOAT32)

    def test_gradient_of_the_target(self) -> None:
        input, target = binary()
        gradients = []
        for loss in (HausdorffDTLoss(), MonaiLoss()):
            leaf = target.clone().requires_grad_()
            loss(input, leaf).backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=0)

    def test_float64(self) -> None:
        input, target = inputs(3, 3, True, "softmax")
        options = {"softmax": True, "to_onehot_y": True}
        got, right = (
            result(loss(**options), input.double(), target) for loss in (HausdorffDTLoss, MonaiLoss)
        )
        assert got.value.dtype == got.gradient.dtype == torch.float64
        assert_agrees(got, right, 5e-7)  # MONAI holds the distances in float32

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_is_float32_of_the_rounded_input(self, dtype: torch.dtype) -> None:
        input, target = inputs(3, 3, True, "softmax")
        input = input.to(dtype)
        options = {"softmax": True, "to_onehot_y": True}
        got = result(HausdorffDTLoss(**options), input, target)
        right = result(MonaiLoss(**options), input.float(), target)
        assert got.value.dtype == torch.float32
        assert got.gradient.dtype == dtype
        value, gradient = got.error(right)
        assert value <= FLOAT32
        assert gradient <= torch.finfo(dtype).eps  # it leaves in the input's dtype
        # MONAI itself computes probabilities and distances in half precision, which is looser.
        value, gradient = got.error(result(MonaiLoss(**options), input, target))
        assert max(value, gradient) < 8 * torch.finfo(dtype).eps

    @pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_autocast_changes_nothing(self, dtype: torch.dtype, autocast: torch.dtype) -> None:
        input, target = inputs(3, 3, True, "softmax")
        projection = torch.eye(7) * 1.001  # a product that autocast takes to half precision
        for activation in ({"softmax": True}, {"other_act": lambda x: (x @ projection).sigmoid()}):
            loss = HausdorffDTLoss(to_onehot_y=True, **activation)
            right = result(loss, input.to(dtype), target)
            got = result(loss, input.to(dtype), target, autocast=autocast)
            assert torch.equal(got.value, right.value)
            assert torch.equal(got.gradient, right.gradient)

    def test_distances_beyond_the_range_of_float16(self) -> None:
        target = torch.zeros(1, 1, 1, 400)
        target[..., :1] = 1
        input = torch.full_like(target, 0.25)
        got = result(HausdorffDTLoss(), input.half(), target, autocast=torch.float16)
        assert_agrees(got, result(MonaiLoss(), input, target), 1e-3)


class TestSpacing:
    @pytest.mark.parametrize("alpha", [1.0, 2.0])
    @pytest.mark.parametrize("dims", [2, 3])
    def test_formula_on_scipy_distances_in_mm(self, dims: int, alpha: float) -> None:
        input, target = binary(dims)
        spacing = SPACING[-dims:]
        fields = [
            np.stack([scipy_two_sided(item[0].numpy() > 0.5, spacing) for item in x]) for x in (input, target)
        ]
        weight = torch.from_numpy(fields[0] ** alpha + fields[1] ** alpha)[:, None]
        right = ((input - target) ** 2 * weight).mean()
        torch.testing.assert_close(
            HausdorffDTLoss(alpha, spacing=spacing)(input, target), right, rtol=1e-6, atol=0
        )

    @pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5])
    def test_scales_with_the_power_of_the_distance(self, alpha: float) -> None:
        input, target = binary()
        one, two = (HausdorffDTLoss(alpha, spacing=s)(input, target) for s in (1.0, 2.0))
        torch.testing.assert_close(two, one * 2**alpha)
        torch.testing.assert_close(one, HausdorffDTLoss(alpha)(input, target))

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"normalize": "diagonal"},
            {"normalize": "errors", "max_distance": 3.0},
            {"empty": "diagonal"},
            {"empty": "scipy"},
        ],
    )
    def test_per_item_equals_a_loop_over_items(self, options: dict[str, Any]) -> None:
        input, target = logits(3, 3, batch=4), labels(3, 3, batch=4)
        target[0] = 0  # an item with empty channels
        spacings = torch.tensor([SPACING, (1, 1, 1), (2.5, 0.3, 0.3), (0.1, 8, 1)])
        loss = HausdorffDTLoss(softmax=True, to_onehot_y=True, reduction="none", **options)
        got = loss(input, target, spacing=spacings)
        alone = [
            loss(input[i : i + 1], target[i : i + 1], spacing=spacing.tolist())
            for i, spacing in enumerate(spacings)
        ]
        torch.testing.assert_close(got, torch.cat(alone), rtol=1e-6, atol=0)

    def test_call_goes_before_construction(self) -> None:
        input, target = binary()
        given, called = HausdorffDTLoss(spacing=SPACING), HausdorffDTLoss(spacing=9.0)
        assert torch.equal(given(input, target), called(input, target, spacing=SPACING))

    @pytest.mark.parametrize("per_item", [False, True], ids=["shared", "per item"])
    @pytest.mark.parametrize("alpha", [1.0, 2.0])
    def test_normalized_by_the_diagonal(self, alpha: float, per_item: bool) -> None:
        input, target = binary()
        spacing = torch.tensor(SPACING).expand(2, 3) if per_item else SPACING
        plain, normal = (
            HausdorffDTLoss(alpha, normalize=n)(input, target, spacing=spacing) for n in (None, "diagonal")
        )
        diagonal = math.hypot(*(n * step for n, step in zip(input.shape[2:], SPACING, strict=True)))
        torch.testing.assert_close(normal, plain / diagonal**alpha)

    def test_normalized_does_not_know_the_unit(self) -> None:
        input, target = binary()
        loss = HausdorffDTLoss(normalize="diagonal", empty="diagonal")
        target[0] = 0
        torch.testing.assert_close(loss(input, target, spacing=0.1), loss(input, target, spacing=10.0))


class TestStrength:
    """`max_distance` and `normalize="errors"`, which keep the loss as strong as squared error."""

    @pytest.mark.parametrize("options", [{"sigmoid": True}, {"softmax": True, "to_onehot_y": True}], ids=str)
    def test_value_is_squared_error(self, options: dict[str, Any]) -> None:
        channels = 1 if "sigmoid" in options else 3
        input, target = logits(3, channels), labels(3, channels)
        got = HausdorffDTLoss(normalize="errors", max_distance=4.0, spacing=SPACING, **options)(input, target)
        p = input.sigmoid() if channels == 1 else input.softmax(1)[:, 1:]
        g = target if channels == 1 else in_channels(target, 3)[:, 1:]
        torch.testing.assert_close(got, ((p - g) ** 2).mean(), rtol=FLOAT32, atol=0)

    def test_far_errors_count_as_the_limit(self) -> None:
        input, target = torch.zeros(1, 1, 1, 40), torch.zeros(1, 1, 1, 40)
        target[..., 0] = 1
        input[..., 0] = 0.9
        input[..., 3], input[..., 30] = 0.25, 0.25
        gradients = [
            result(HausdorffDTLoss(max_distance=most), input, target).gradient[0, 0, 0]
            for most in (None, 5.0)
        ]
        free, limited = ((gradient[30] / gradient[3]).item() for gradient in gradients)
        assert free == pytest.approx(30**2 / 3**2, rel=1e-5)
        assert limited == pytest.approx(5**2 / 3**2, rel=1e-5)

    @pytest.mark.parametrize("spacing", [1e-2, 1.0, 1e2])
    def test_knows_no_unit(self, spacing: float) -> None:
        input, target = binary()
        loss = HausdorffDTLoss(normalize="errors", max_distance=3 * spacing, spacing=spacing)
        unit = HausdorffDTLoss(normalize="errors", max_distance=3.0)
        assert_agrees(result(loss, input, target), result(unit, input, target), FLOAT32)

    def test_given_distances_are_limited(self) -> None:
        input, target = binary()
        distance = two_sided_edt(target > 0.5, spatial_dims=3)
        loss = HausdorffDTLoss(max_distance=1.5, normalize="errors")
        given = result(loss, input, target, target_distance=distance)
        assert_agrees(given, result(loss, input, target), FLOAT32)

    def test_logarithm(self) -> None:
        input, target = binary()
        log, plain = (
            cls(normalize="errors", max_distance=2.0)(input, target)
            for cls in (LogHausdorffDTLoss, HausdorffDTLoss)
        )
        torch.testing.assert_close(log, plain.log1p())

    def test_nan_is_not_hidden(self) -> None:
        input, target = binary()
        input[0, 0, 0, 0, 0] = math.nan
        loss = HausdorffDTLoss(normalize="errors", validate=False, reduction="none")
        value = loss(input, target).flatten()
        assert value.isnan().tolist() == [True, False]

    @pytest.mark.parametrize("most", [0, -1.0, math.nan, math.inf, "2", True])
    def test_refuses_what_is_no_limit(self, most: Any) -> None:
        wanted = r"^max_distance: got .*, wanted a finite number above 0$"
        with pytest.raises(ValueError, match=wanted):
            HausdorffDTLoss(max_distance=most)


class TestTargetDistance:
    @pytest.mark.parametrize("normalize", [None, "diagonal", "errors"])
    @pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
    @pytest.mark.parametrize("spacing", [None, SPACING, torch.tensor([SPACING, (1, 2, 3)])])
    def test_given_is_computed(self, spacing: Any, empty: str, normalize: str | None) -> None:
        input, target = logits(3, 3), labels(3, 3)
        target[0] = 2  # empty and full channels, where the distance is inf
        distance = two_sided_edt(in_channels(target, 3)[:, 1:], spatial_dims=3, spacing=spacing)
        assert distance.isinf().any()
        loss = HausdorffDTLoss(
            softmax=True, to_onehot_y=True, spacing=spacing, empty=empty, normalize=normalize
        )
        assert_agrees(
            result(loss, input, target, target_distance=distance), result(loss, input, target), FLOAT32
        )

    def test_replaces_the_targets_distance_only(self) -> None:
        input, target = binary()
        zero = HausdorffDTLoss()(input, target, target_distance=torch.zeros_like(target))
        weight = two_sided_edt(input > 0.5, spatial_dims=3, squared=True)
        torch.testing.assert_close(zero, ((input - target) ** 2 * weight).mean())

    def test_refuses_what_is_no_distance_of_the_target(self) -> None:
        input, target = logits(3, 3), labels(3, 3)
        loss = HausdorffDTLoss(softmax=True, to_onehot_y=True)
        shapes = r"got shape \(2, 3, 5, 6, 7\), wanted the target's, \(2, 2, 5, 6, 7\)"
        with pytest.raises(ValueError, match=rf"^target_distance: {shapes}$"):
            loss(input, target, target_distance=torch.zeros(input.shape))
        for bad in (-1.0, math.nan):
            with pytest.raises(
                ValueError, match=r"^target_distance: got NaN or negative values, wanted distances$"
            ):
                loss(input, target, target_distance=torch.full_like(input[:, 1:], bad))


class TestEmptyMasks:
    """The table of answers: the distance that an empty or full mask contributes, by policy."""

    @staticmethod
    def filler(empty: str, mask: np.ndarray) -> np.ndarray:
        if empty == "zero":
            return np.zeros(mask.shape)
        if empty == "diagonal":
            return np.full(mask.shape, math.hypot(*(n * s for n, s in zip(mask.shape, SPACING, strict=True))))
        return scipy_two_sided(mask, SPACING)

    @pytest.mark.parametrize("alpha", [1.0, 2.0])
    @pytest.mark.parametrize(
        "target_value", [0, 1, None], ids=["target empty", "target full", "target mixed"]
    )
    @pytest.mark.parametrize("value", [0.2, 0.8, None], ids=["empty", "full", "mixed"])
    @pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
    def test_table(self, empty: str, value: float | None, target_value: int | None, alpha: float) -> None:
        input, target = binary(batch=1)
        if value is not None:
            input.fill_(value)
        if target_value is not None:
            target.fill_(target_value)
        weight = 0.0
        for x, uniform in ((input, value is not None), (target, target_value is not None)):
            mask = x[0, 0].numpy() > 0.5
            distance = self.filler(empty, mask) if uniform else scipy_two_sided(mask, SPACING)
            weight = weight + distance**alpha
        right = float(((input - target)[0, 0].numpy() ** 2 * weight).mean())
        got = float(HausdorffDTLoss(alpha, empty=empty, spacing=SPACING)(input, target))
        assert got == pytest.approx(right, rel=1e-6, abs=0)

    @pytest.mark.parametrize("value", [0.0, 1.0], ids=["empty", "full"])
    def test_raise_names_the_tensor_and_the_place(self, value: float) -> None:
        input, target = logits(3, 2).sigmoid(), in_channels(labels(3, 2), 2)
        loss = HausdorffDTLoss(include_background=True, empty="raise")
        torch.testing.assert_close(
            loss(input, target), HausdorffDTLoss(include_background=True)(input, target)
        )
        for name, tensor in (("input", input), ("target", target)):
            kept = tensor[1, 0].clone()
            tensor[1, 0] = value
            with pytest.raises(ValueError, match=rf"^{name}: got an empty or full mask at .*\[\(1, 0\)\]"):
                loss(input, target)
            tensor[1, 0] = kept

    def test_raise_looks_only_at_voxels_that_count(self) -> None:
        input, target = binary(batch=1)
        target[:] = 0
        target[..., 0] = 1
        loss = HausdorffDTLoss(empty="raise", ignore_index=9)
        loss(input, target)
        target[..., 0] = 9
        with pytest.raises(
            ValueError, match=r"^target: got an empty or full mask at .*\[\(0, 0\)\], wanted both labels"
        ):
            loss(input, target)
        target[..., 0] = 1
        target[..., 1] = 9
        input[:] = 0
        input[..., 1] = 1  # foreground that does not count
        with pytest.raises(
            ValueError, match=r"^input: got an empty or full mask at .*\[\(0, 0\)\], wanted both labels"
        ):
            loss(input, target)


class TestIgnoredVoxels:
    IGNORED = 255

    def ignoring(self, target: Tensor, share: float = 0.3) -> tuple[Tensor, Tensor]:
        where = torch.rand(target[:, :1].shape, generator=torch.Generator().manual_seed(7)) < share
        return target.masked_fill(where, self.IGNORED), where

    @pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
    def test_neither_gradient_nor_influence(self, labelled: bool) -> None:
        input, target = inputs(3, 3, labelled, "softmax")
        target, where = self.ignoring(target)
        options = {"include_background": True, "to_onehot_y": labelled, "ignore_index": self.IGNORED}
        loss = HausdorffDTLoss(softmax=True, **options)
        got = result(loss, input, target)
        assert not got.gradient[where.expand_as(input)].any()
        assert got.gradient[~where.expand_as(input)].all()
        elsewhere = torch.where(where, -3 * input, input)
        assert torch.equal(loss(elsewhere, target), got.value)

    def test_belong_to_neither_side(self) -> None:
        # A voxel of foreground behind an ignored one: the background is two steps away, not one.
        target = torch.tensor([[[[1.0, 255, 0, 0]]]])
        input = torch.tensor([[[[0.9, 0.9, 0.1, 0.1]]]])
        got = HausdorffDTLoss(ignore_index=255)(input, target)
        assert float(got) == pytest.approx(0.01 * (8 + 8 + 18) / 4)

    @pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
    def test_equals_monai_when_nothing_is_ignored(self, labelled: bool) -> None:
        input, target = inputs(3, 3, labelled, "softmax")
        options = {"softmax": True, "to_onehot_y": labelled}
        got = result(HausdorffDTLoss(**options, ignore_index=255), input, target)
        assert_agrees(got, result(MonaiLoss(**options), input, target), FLOAT32)

    def test_everything_ignored_is_no_error(self) -> None:
        input, target = binary()
        got = result(HausdorffDTLoss(ignore_index=255), input, torch.full_like(target, 255))
        assert not got.value.any()
        assert not got.gradient.any()


@pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5])
@pytest.mark.parametrize(
    "options", [{}, {"ignore_index": 255}, {"normalize": "diagonal", "empty": "diagonal"}]
)
def test_gradcheck(options: dict[str, Any], alpha: float) -> None:
    input, target = binary(2, batch=1)
    input = torch.where((input - 0.5).abs() < 0.01, 0.6, input)[..., :5, :6].requires_grad_()
    target = target[..., :5, :6].clone()
    if "ignore_index" in options:
        target[..., 1, 2:4] = 255
    loss = HausdorffDTLoss(alpha, **options, spacing=(2.0, 0.7))
    assert torch.autograd.gradcheck(lambda x: loss(x, target), input)
    log_loss = LogHausdorffDTLoss(alpha, **options)
    assert torch.autograd.gradcheck(lambda x: log_loss(x, target), input)


@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    share=st.floats(0, 1),
    alpha=st.sampled_from([1.0, 2.0, 3.0]),
)
def test_properties(seed: int, shape: list[int], share: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    input = torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(1, 1, *shape, generator=generator) < share).double()
    loss = HausdorffDTLoss(alpha)
    value = loss(input, target)
    torch.testing.assert_close(value, MonaiLoss(alpha)(input, target), rtol=1e-5, atol=0)
    assert value >= 0
    assert loss(target, target) == 0
    # The same voxels mirrored, transposed, or seen from the other label.
    axes = list(range(2, input.ndim))
    torch.testing.assert_close(loss(input.flip(axes), target.flip(axes)), value)
    torch.testing.assert_close(loss(input.transpose(-1, -2), target.transpose(-1, -2)), value)
    torch.testing.assert_close(loss(1 - input, 1 - target), value)
    torch.testing.assert_close(LogHausdorffDTLoss(alpha)(input, target), (value + 1).log())


def test_function_is_the_module() -> None:
    input, target = inputs(3, 3, True, "softmax")
    options = {"alpha": 1.0, "softmax": True, "to_onehot_y": True, "spacing": SPACING, "reduction": "none"}
    assert torch.equal(hausdorff_dt_loss(input, target, **options), HausdorffDTLoss(**options)(input, target))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": "2"}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"spacing": (1, 2, -1)}, "spacing"),
        ({"spacing": np.array([1, math.nan, 1])}, "spacing"),
        ({"spacing": torch.zeros(2, 3)}, "spacing"),
        ({"spacing": "123"}, "spacing"),
        ({"normalize": "volume"}, "normalize"),
        ({"empty": "nan"}, "empty"),
    ],
)
def test_refuses_bad_options_when_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}: got .*, wanted "):
        HausdorffDTLoss(**options)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, (1.0, 1.0), torch.ones(3, 3), torch.zeros(2, 3)])
def test_refuses_bad_spacing(spacing: Any) -> None:
    input, target = binary()
    with pytest.raises(ValueError, match=r"^spacing: got .*, wanted "):
        HausdorffDTLoss(spacing=spacing)(input, target)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_gradient_kept_in_half_the_memory(dtype: torch.dtype, digits: int) -> None:
    input, target = torch.randn(2, 1, 4, 9, 9), (torch.rand(2, 1, 4, 9, 9) < 0.2).float()
    plain, kept = (
        result(HausdorffDTLoss(sigmoid=True, include_background=True, kept_dtype=kept_dtype), input, target)
        for kept_dtype in (None, dtype)
    )
    assert torch.equal(kept.value, plain.value)
    torch.testing.assert_close(kept.gradient, plain.gradient, rtol=2.0**-digits, atol=0)
    assert not torch.equal(kept.gradient, plain.gradient)


def test_refuses_to_keep_the_gradient_in_other_dtypes() -> None:
    wanted = r"^kept_dtype: got torch.float64, wanted None, torch.bfloat16 or torch.float16$"
    with pytest.raises(ValueError, match=wanted):
        HausdorffDTLoss(kept_dtype=torch.float64)


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.5])
def test_operator_refuses_values_as_the_check_does(sigmoid: bool, dtype: torch.dtype, bad: float) -> None:
    """The C++ operator looks at values itself; with `softmax` and for the reference they are read before."""
    input = torch.rand(2, 1, 3, 5, 7).to(dtype)
    target = (torch.rand(2, 1, 3, 5, 7) < 0.5).to(dtype)
    HausdorffDTLoss(sigmoid=sigmoid)(input, target)
    wrong_input, wrong_target = input.clone(), target.clone()
    wrong_input[1, 0, 2, 4, 6] = wrong_target[0, 0, 1, 2, 3] = bad
    for backend in ("cpu", "reference"):
        loss = HausdorffDTLoss(sigmoid=sigmoid, backend=backend)
        if math.isfinite(bad) and sigmoid:
            loss(wrong_input, target)
        else:
            with pytest.raises(ValueError, match=r"^input: "):
                loss(wrong_input, target)
        with pytest.raises(ValueError, match=r"^target: "):
            loss(input, wrong_target)
    HausdorffDTLoss(sigmoid=sigmoid, validate=False)(input, wrong_target)


def test_background_is_checked_too() -> None:
    input, target = torch.rand(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    input[0, 0, 0, 0] = math.nan  # a channel that the operator does not see
    with pytest.raises(ValueError, match=r"^input: "):
        HausdorffDTLoss()(input, target)


def test_gradient_is_the_same_whether_the_graph_is_kept() -> None:
    """Only the last backward pass may write over the gradient that the forward pass saved."""
    input = torch.rand(1, 1, 6, 7, 8, requires_grad=True)
    target = (torch.rand(1, 1, 6, 7, 8) < 0.5).float()
    value = 3 * HausdorffDTLoss()(input, target)
    grads = [torch.autograd.grad(value, input, retain_graph=keep)[0].clone() for keep in (True, True, False)]
    assert grads[0].abs().sum() > 0
    for grad in grads[1:]:
        assert torch.equal(grad, grads[0])


@pytest.mark.skipif(torch.__version__ < "2.11", reason="older versions pack other tensors")
def test_backward_takes_no_memory_of_its_own() -> None:
    input = torch.rand(1, 1, 6, 7, 8, requires_grad=True)
    kept = []

    def pack(saved: torch.Tensor) -> torch.Tensor:
        kept.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        value = HausdorffDTLoss()(input, (torch.rand(1, 1, 6, 7, 8) < 0.5).float())
    (grad,) = torch.autograd.grad(value, input)
    assert grad.data_ptr() in [saved.data_ptr() for saved in kept]
