"""Dice + cross-entropy against nnU-Net's own classes, in value and gradient."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from surfloss import DiceCELoss
from surfloss.functional import dice_ce_loss
from tests.losses.fields import Result, assert_agrees, in_channels, labels, logits, real, result
from tests.support.volumes import LABELS

FLOAT32 = 2e-6


def nnunets(
    *,
    regions: bool = False,
    batch: bool = False,
    ignore: int | None = None,
    weights: tuple[float, float] = (1, 1),
    include_background: bool | None = None,
    smooth: float = 1e-5,
) -> nn.Module:
    do_bg = regions if include_background is None else include_background
    dice = {"batch_dice": batch, "smooth": smooth, "do_bg": do_bg, "ddp": False}
    common = {"weight_dice": weights[0], "weight_ce": weights[1], "dice_class": MemoryEfficientSoftDiceLoss}
    if regions:
        return DC_and_BCE_loss({}, dice, use_ignore_label=ignore is not None, **common)
    return DC_and_CE_loss(dice, {}, ignore_label=ignore, **common)


def ignoring(target: Tensor, share: float = 0.3) -> Tensor:
    where = torch.rand(target[:, :1].shape, generator=torch.Generator().manual_seed(7)) < share
    return target.masked_fill(where, 255)


class TestLabels:
    @pytest.mark.parametrize("dims", [2, 3])
    @pytest.mark.parametrize("channels", [2, 4])
    @pytest.mark.parametrize("ignore", [None, 255])
    def test_equals_nnunets(self, ignore: int | None, channels: int, dims: int) -> None:
        input, target = logits(dims, channels), labels(dims, channels)
        target[1] = 0  # an item without foreground
        if ignore is not None:
            target = ignoring(target)
        for batch, weights, background in product(
            (False, True), ((1, 1), (0.3, 2), (0, 1), (1, 0)), (False, True)
        ):
            right = nnunets(batch=batch, ignore=ignore, weights=weights, include_background=background)
            loss = DiceCELoss(
                batch=batch,
                ignore_index=ignore,
                weight_dice=weights[0],
                weight_ce=weights[1],
                include_background=background,
            )
            assert_agrees(result(loss, input, target), result(right, input, target), FLOAT32)

    def test_default_is_nnunets_own(self) -> None:
        input, target = logits(3, 3), labels(3, 3)
        assert_agrees(result(DiceCELoss(), input, target), result(nnunets(), input, target), FLOAT32)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float16, torch.float32])
    def test_labels_of_any_dtype(self, dtype: torch.dtype) -> None:
        input, target = logits(3, 3), labels(3, 3)
        right = result(nnunets(), input, target)
        assert_agrees(result(DiceCELoss(), input, target.to(dtype)), right, FLOAT32)
        assert_agrees(result(DiceCELoss(), input, in_channels(target, 3).to(dtype)), right, FLOAT32)

    def test_ignored_in_channels(self) -> None:
        input, target = logits(3, 3), ignoring(labels(3, 3))
        channels = in_channels(target, 3).masked_fill(target == 255, 255)
        loss = DiceCELoss(ignore_index=255)
        assert torch.equal(loss(input, channels), loss(input, target))

    @pytest.mark.parametrize("batch", [False, True])
    @pytest.mark.parametrize("name", LABELS)
    def test_real_label(self, name: str, batch: bool) -> None:
        prediction, target, _ = real(name)
        input = torch.cat([torch.zeros_like(prediction), 8 * prediction - 4], 1)
        right = result(nnunets(batch=batch), input, target)
        assert_agrees(result(DiceCELoss(batch=batch), input, target), right, 5e-6)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_is_float32_of_the_rounded_input(self, dtype: torch.dtype) -> None:
        input, target = logits(3, 3).to(dtype), labels(3, 3)
        got = result(DiceCELoss(), input, target)
        value, gradient = got.error(result(nnunets(), input.float(), target))
        assert got.value.dtype == torch.float32
        assert got.gradient.dtype == dtype
        assert value <= FLOAT32
        assert gradient <= torch.finfo(dtype).eps
        # nnU-Net itself computes the probabilities in half precision, and its value is then half too.
        value, gradient = got.error(result(nnunets(), input, target))
        assert max(value, gradient) < 8 * torch.finfo(dtype).eps

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
    def test_autocast_changes_nothing(self, autocast: torch.dtype, dtype: torch.dtype) -> None:
        input, target = logits(3, 3).to(dtype), labels(3, 3)
        got = result(DiceCELoss(), input, target, autocast=autocast)
        right = result(DiceCELoss(), input, target)
        assert torch.equal(got.value, right.value)
        assert torch.equal(got.gradient, right.gradient)

    def test_float64(self) -> None:
        input, target = logits(3, 3, dtype=torch.float64), labels(3, 3)
        got = result(DiceCELoss(), input, target)
        assert got.value.dtype == torch.float64
        assert_agrees(got, result(nnunets(), input, target), 1e-6)  # nnU-Net sums in float32


class TestRegions:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("dims", [2, 3])
    @pytest.mark.parametrize("batch", [False, True])
    def test_equals_nnunets(self, batch: bool, dims: int, channels: int) -> None:
        input = logits(dims, channels)
        target = (logits(dims, channels, seed=3) > 0.5).float()  # regions overlap
        for weights in ((1, 1), (0.3, 2)):
            right = nnunets(regions=True, batch=batch, weights=weights)
            loss = DiceCELoss(sigmoid=True, batch=batch, weight_dice=weights[0], weight_ce=weights[1])
            assert_agrees(result(loss, input, target), result(right, input, target), FLOAT32)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("batch", [False, True])
    def test_ignored_voxels_equal_nnunets(self, batch: bool, channels: int) -> None:
        input = logits(3, channels)
        regions = (logits(3, channels, seed=3) > 0.5).float()
        target = ignoring(regions)
        nnunets_target = torch.cat([regions, (target[:, :1] == 255).float()], 1)  # its last channel
        got = result(DiceCELoss(sigmoid=True, batch=batch, ignore_index=255), input, target)
        right = result(nnunets(regions=True, batch=batch, ignore=255), input, nnunets_target)
        assert_agrees(got, right, FLOAT32)


class TestIgnoredVoxels:
    @pytest.mark.parametrize("options", [{}, {"sigmoid": True}])
    @pytest.mark.parametrize("batch", [False, True])
    def test_neither_gradient_nor_influence(self, batch: bool, options: dict[str, Any]) -> None:
        input, target = logits(3, 3), labels(3, 3)
        target = in_channels(target, 3) if options else target
        target = ignoring(target)
        where = (target[:, :1] == 255).expand_as(input)
        loss = DiceCELoss(ignore_index=255, batch=batch, **options)
        got = result(loss, input, target)
        assert not got.gradient[where].any()
        assert got.gradient[~where].all()
        assert torch.equal(loss(torch.where(where, -3 * input, input), target), got.value)

    def test_everything_ignored_has_no_gradient(self) -> None:
        input, target = logits(3, 3), torch.full_like(labels(3, 3), 255)
        got = result(DiceCELoss(ignore_index=255), input, target)
        assert_agrees(got, Result(torch.tensor(-1.0), torch.zeros_like(input)), 1e-6)


class TestForm:
    def test_options_go_by_name_alone(self) -> None:
        with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given$"):
            DiceCELoss(True)  # type: ignore[misc]  # in MONAI's loss of that name: include_background

    @pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
    def test_to_onehot_y_says_what_the_target_holds(self, sigmoid: bool) -> None:
        input, target = logits(3, 3), labels(3, 3)
        channels = in_channels(target, 3)
        right = DiceCELoss(sigmoid=sigmoid)(input, target)
        assert torch.equal(DiceCELoss(sigmoid=sigmoid, to_onehot_y=True)(input, target), right)
        for to_onehot_y in (None, False):
            loss = DiceCELoss(sigmoid=sigmoid, to_onehot_y=to_onehot_y)
            assert torch.equal(loss(input, channels), right)
        with pytest.raises(ValueError, match=r"^target: got 3 channels, wanted 1 of labels \(.*=True"):
            DiceCELoss(sigmoid=sigmoid, to_onehot_y=True)(input, channels)
        with pytest.raises(ValueError, match=r"^target: got 1 channels, wanted 3 as .* \(.*=False"):
            DiceCELoss(sigmoid=sigmoid, to_onehot_y=False)(input, target)

    def test_a_single_channel_holds_no_labels(self) -> None:
        input, target = logits(3, 1), in_channels(labels(3, 1), 1)
        with pytest.warns(UserWarning, match="single-channel input: to_onehot_y=True is ignored"):
            value = DiceCELoss(sigmoid=True, to_onehot_y=True)(input, target)
        assert torch.equal(value, DiceCELoss(sigmoid=True)(input, target))

    def test_its_first_line_says_whose_number_it_is(self) -> None:
        for documented in (DiceCELoss, dice_ce_loss):
            first = (documented.__doc__ or "").splitlines()[0]
            assert "nnU-Net" in first
            assert "negative" in first


def test_empty_target_and_prediction_have_dice_one() -> None:
    input = torch.full((1, 2, 4, 4), -40.0)
    input[:, 0] = 40
    target = torch.zeros(1, 1, 4, 4)
    assert float(DiceCELoss()(input, target)) == pytest.approx(-1)
    target[..., 0, 0] = 1
    assert float(DiceCELoss(weight_ce=0)(input, target)) == pytest.approx(0, abs=2e-5)


@pytest.mark.parametrize(
    "options", [{}, {"batch": True}, {"ignore_index": 255}, {"sigmoid": True, "batch": True}]
)
def test_gradcheck(options: dict[str, Any]) -> None:
    input = logits(2, 3, dtype=torch.float64)[..., :3, :4].requires_grad_()
    target = labels(2, 3)[..., :3, :4].clone()
    if "ignore_index" in options:
        target[..., 1, 2:] = 255
    loss = DiceCELoss(**options)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), input)


@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    channels=st.integers(2, 4),
    batch=st.booleans(),
    ignored=st.floats(0, 1),
)
def test_properties(seed: int, shape: list[int], channels: int, batch: bool, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    input = 3 * torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    target = torch.randint(0, channels, (2, 1, *shape), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    loss = DiceCELoss(batch=batch, ignore_index=255)
    right = nnunets(batch=batch, ignore=255)(input, target)
    torch.testing.assert_close(loss(input, target), right.double(), rtol=1e-5, atol=1e-5)
    assert loss(input, target) >= -1
    torch.testing.assert_close(loss(input + 5, target), loss(input, target))


def test_function_is_the_module() -> None:
    input, target = logits(3, 3), labels(3, 3)
    for options in ({"batch": True}, {"sigmoid": True}):
        assert torch.equal(dice_ce_loss(input, target, **options), DiceCELoss(**options)(input, target))


@pytest.mark.filterwarnings("ignore:.*single-channel:UserWarning")
def test_single_channel_always_counts() -> None:
    input, target = logits(3, 1), in_channels(labels(3, 1), 1)
    one, two = (DiceCELoss(sigmoid=True, include_background=b)(input, target) for b in (False, True))
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"softmax": False}, "sigmoid and softmax"),
        ({"smooth": -1.0}, "smooth"),
        ({"smooth": math.nan}, "smooth"),
        ({"weight_dice": math.nan}, "weight_dice"),
        ({"weight_dice": "1"}, "weight_dice"),
        ({"weight_ce": -0.1}, "weight_ce"),
    ],
)
def test_refuses_bad_options_when_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}: got .*, wanted "):
        DiceCELoss(**options)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^input: got one channel, wanted .*sigmoid"):
        DiceCELoss()(logits(3, 1), labels(3, 1))
    with pytest.raises(
        ValueError, match=r"^target: got 2 channels, wanted 1 of labels or 3 as the input has"
    ):
        DiceCELoss()(logits(3, 3), labels(3, 3).expand(-1, 2, -1, -1, -1))
    with pytest.raises(RuntimeError, match=r"^ddp: got True without a process group"):
        DiceCELoss(batch=True, ddp=True)(logits(3, 3), labels(3, 3))
