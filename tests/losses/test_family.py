"""What the losses of channels share: reductions, ignored voxels, precision, spacing, deep supervision."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

from surfloss import (
    BoundaryLoss,
    CompoundLoss,
    ContourLoss,
    DiceCELoss,
    GeneralizedSurfaceLoss,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    SurfaceDiceLoss,
    functional,
)
from surfloss.losses._options import InputKeywords, InputOptions
from tests.losses.fields import in_channels, labels, logits, result

# The module, its function, and the options that it needs.
LOSSES: dict[str, tuple[Callable[..., nn.Module], Callable[..., Tensor], dict[str, Any]]] = {
    "hausdorff": (HausdorffDTLoss, functional.hausdorff_dt_loss, {}),
    "erosion": (HausdorffERLoss, functional.hausdorff_er_loss, {"iterations": 3}),
    "erosion, stretched": (HausdorffERLoss, functional.hausdorff_er_loss, {"rescale": "minmax"}),
    "convolution": (HausdorffConvLoss, functional.hausdorff_conv_loss, {"radii": (1.0, 2.5)}),
    "contour": (ContourLoss, functional.contour_loss, {}),
    "boundary": (BoundaryLoss, functional.boundary_loss, {}),
    "generalized surface": (GeneralizedSurfaceLoss, functional.generalized_surface_loss, {}),
    "surface dice": (SurfaceDiceLoss, functional.surface_dice_loss, {"tolerance": 1.0}),
}
SPACED = ("hausdorff", "convolution", "boundary", "generalized surface", "surface dice")
SPACINGS = torch.tensor([[5.0, 0.42, 0.7], [1, 1, 1], [2.5, 0.5, 0.5], [5.0, 0.42, 0.7]])
BOTH = {"softmax": True, "to_onehot_y": True}


@pytest.fixture(params=LOSSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(name: str) -> Callable[..., nn.Module]:
    module, _, options = LOSSES[name]
    return partial(module, **options)


def sharp(dims: int, channels: int, **options: Any) -> Tensor:
    """Logits that are often wrong by much, so that some error outlives an erosion."""
    return 4 * logits(dims, channels, **options)


def ignoring(target: Tensor, share: float = 0.2) -> tuple[Tensor, Tensor]:
    where = torch.rand(target[:, :1].shape, generator=torch.Generator().manual_seed(7)) < share
    return target.masked_fill(where, 255), where


@pytest.mark.parametrize("dims", [2, 3])
def test_function_is_the_module(name: str, dims: int) -> None:
    module, function, options = LOSSES[name]
    input, target = sharp(dims, 3), labels(dims, 3)
    value = module(**options, **BOTH)(input, target)
    assert torch.equal(function(input, target, **options, **BOTH), value)
    assert value > 0


def test_options_are_attributes(name: str, make: Callable[..., nn.Module]) -> None:
    loss = make(**BOTH, reduction="sum", ignore_index=9)
    assert (loss.softmax, loss.reduction, loss.ignore_index, loss.other_act) == (True, "sum", 9, None)
    assert "softmax=True" in repr(loss)
    assert "other_act" not in repr(loss)
    input, target = sharp(3, 3), labels(3, 3)
    loss.reduction = "none"
    assert loss(input, target).shape == (2, 2, 1, 1, 1)
    loss.reduction = "most"
    with pytest.raises(ValueError, match=r"^reduction: got 'most', wanted one of mean, sum, none$"):
        loss(input, target)


def test_unknown_options_are_named(name: str) -> None:
    module, function, options = LOSSES[name]
    message = r"got an unexpected keyword argument 'reductoin'$"
    with pytest.raises(TypeError, match=message):
        module(**options, reductoin="sum")
    with pytest.raises(TypeError, match=r"^reductoin: got an option that this loss does not have, wanted"):
        function(sharp(3, 3), labels(3, 3), **options, **BOTH, reductoin="sum")
    loss = module(**options, **BOTH)
    options_of_no_call = ["reductoin", "reduction", *([] if name in SPACED else ["spacing"])]
    for option in options_of_no_call:
        with pytest.raises(TypeError, match=rf"got an unexpected keyword argument '{option}'$"):
            loss(sharp(3, 3), labels(3, 3), **{option: None})


def test_the_keywords_of_the_functions_are_the_input_options() -> None:
    assert get_type_hints(InputKeywords) == get_type_hints(InputOptions)


def test_an_activation_with_parameters_is_a_submodule(make: Callable[..., nn.Module]) -> None:
    other_act = nn.Sequential(nn.Conv3d(3, 3, 1), nn.Softmax(1))
    loss = make(other_act=other_act, to_onehot_y=True)
    assert list(loss.parameters()) == list(other_act.parameters())
    assert loss(sharp(3, 3), labels(3, 3)).isfinite()


@pytest.mark.parametrize("include_background", [False, True], ids=["foreground", "background too"])
def test_activation_labels_channels_and_reduction(
    make: Callable[..., nn.Module], include_background: bool
) -> None:
    input, target = sharp(3, 3), labels(3, 3)
    first = 0 if include_background else 1
    plain = make(include_background=True, reduction="none")
    probabilities, channels = input.softmax(1), in_channels(target, 3)
    alone = [plain(probabilities[:, k : k + 1], channels[:, k : k + 1]) for k in range(first, 3)]
    right = torch.cat(alone, 1)
    assert right.shape == (2, 3 - first, 1, 1, 1)
    assert right.any()
    for reduction, batch in product(("mean", "sum", "none"), (False, True)):
        options = {"include_background": include_background, "reduction": reduction, "batch": batch}
        wanted = right.mean(0, keepdim=True) if batch else right
        wanted = {"mean": wanted.mean(), "sum": wanted.sum()}.get(reduction, wanted)
        for got in (
            make(**BOTH, **options)(input, target),
            make(softmax=True, **options)(input, channels),
            make(**options)(probabilities, channels),
            make(other_act=lambda x: x.softmax(1), **options)(input, channels),
        ):
            torch.testing.assert_close(got, wanted)
    sigmoid = make(sigmoid=True)(input, channels)
    torch.testing.assert_close(sigmoid, make()(input.sigmoid(), channels))


@pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
def test_ignored_voxels_have_neither_gradient_nor_influence(
    make: Callable[..., nn.Module], labelled: bool
) -> None:
    input, target = sharp(3, 3), labels(3, 3)
    target, where = ignoring(target if labelled else in_channels(target, 3))
    loss = make(softmax=True, to_onehot_y=labelled, ignore_index=255, include_background=True)
    got = result(loss, input, target)
    assert got.gradient.isfinite().all()
    assert got.gradient.any()
    assert not got.gradient[where.expand_as(input)].any()
    assert torch.equal(loss(torch.where(where, -3 * input, input), target), got.value)


def test_nothing_ignored_changes_nothing(make: Callable[..., nn.Module]) -> None:
    input, target = sharp(3, 3), labels(3, 3)
    got, right = (result(make(**BOTH, ignore_index=i), input, target) for i in (255, None))
    torch.testing.assert_close((got.value, got.gradient), (right.value, right.gradient))


def test_everything_ignored_is_no_error(make: Callable[..., nn.Module]) -> None:
    input, target = sharp(3, 3), torch.full_like(labels(3, 3), 255)
    got = result(make(**BOTH, ignore_index=255), input, target)
    assert got.value == 0
    assert not got.gradient.any()


@pytest.mark.parametrize("target_value", [0, 1, None], ids=["target empty", "target full", "target mixed"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, None], ids=["empty", "half", "full", "mixed"])
def test_masks_of_one_label_are_finite(
    make: Callable[..., nn.Module], value: float | None, target_value: int | None
) -> None:
    input, target = sharp(3, 1).sigmoid(), in_channels(labels(3, 1), 1)
    if value is not None:
        input[0] = value
    if target_value is not None:
        target[0] = target_value
    got = result(make(include_background=True), input, target)
    assert got.value.isfinite()
    assert got.gradient.isfinite().all()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_perfect_prediction_is_least(make: Callable[..., nn.Module], name: str, dims: int) -> None:
    target = in_channels(labels(dims, 3), 3)
    perfect = make()(target, target)
    if name != "boundary":  # whose value is negative then
        assert perfect == 0
    assert make()(sharp(dims, 3).softmax(1), target) > perfect
    if name != "surface dice":  # which does not know inside from outside
        assert make()(1 - target, target) > perfect


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_float32_of_the_rounded_input(make: Callable[..., nn.Module], dtype: torch.dtype) -> None:
    input, target = sharp(3, 3).to(dtype), labels(3, 3)
    loss = make(**BOTH)
    right = result(loss, input.float(), target)
    for autocast in (None, torch.float16, torch.bfloat16):
        got = result(loss, input, target, autocast=autocast)
        assert got.value.dtype == torch.float32
        assert got.gradient.dtype == dtype
        assert torch.equal(got.value, right.value)
        assert torch.equal(got.gradient, right.gradient.to(dtype))


@pytest.mark.parametrize("options", [{}, {"ignore_index": 255}], ids=["plain", "ignored voxels"])
@pytest.mark.parametrize("dims", [2, 3])
def test_gradcheck(make: Callable[..., nn.Module], dims: int, options: dict[str, Any]) -> None:
    box = (..., *(slice(4 if dims == 2 else 3) for _ in range(dims)))
    input = sharp(dims, 2, batch=1, dtype=torch.float64)[box].clone().requires_grad_()
    target = labels(dims, 2, batch=1)[box].clone()
    if options:
        target[..., 1, 2] = 255
    loss = make(**BOTH, **options)
    value = loss(input, target)
    assert value.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss(x, target), input, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("name", SPACED)
@pytest.mark.parametrize("options", [{}, {"ignore_index": 255}], ids=["plain", "ignored voxels"])
def test_a_spacing_each_equals_a_call_each(make: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    input, target = sharp(3, 3, batch=4), labels(3, 3, batch=4)
    target[0] = 0  # an item with channels of one label
    if options:
        target, _ = ignoring(target)
    loss = make(**BOTH, **options, reduction="none")
    got = result(loss, input, target, spacing=SPACINGS)
    alone = [
        loss(input[i : i + 1], target[i : i + 1], spacing=spacing.tolist())
        for i, spacing in enumerate(SPACINGS)
    ]
    torch.testing.assert_close(got.value, torch.cat(alone), rtol=2e-5, atol=1e-6)
    assert got.gradient.isfinite().all()
    fixed = make(**BOTH, **options, reduction="none", spacing=SPACINGS.numpy())
    assert torch.equal(fixed(input, target), got.value)
    assert not torch.allclose(loss(input, target), got.value)


@pytest.mark.parametrize("name", SPACED)
def test_the_forms_in_which_spacings_of_a_batch_come(make: Callable[..., nn.Module]) -> None:
    data = pytest.importorskip("monai.data")
    steps = [(5.0, 0.42, 0.7), (2.5, 0.5, 0.5)]
    input, target = sharp(3, 3), labels(3, 3)
    affines = [torch.diag(torch.tensor([*step, 1.0], dtype=torch.float64)) for step in steps]
    images = [data.MetaTensor(one, affine=affine) for one, affine in zip(input, affines, strict=True)]
    pixdim = data.list_data_collate(images).pixdim
    right = make(**BOTH)(input, target, spacing=torch.tensor(steps))
    for spacing in (steps, np.array(steps), np.float32(steps), pixdim, [np.float32(step) for step in steps]):
        assert make(**BOTH)(input, target, spacing=spacing) == right
        assert make(**BOTH, spacing=spacing)(input, target) == right


@pytest.mark.parametrize("name", SPACED)
@pytest.mark.parametrize(
    "spacing",
    [0.0, -1.0, math.nan, (1.0, 1.0), torch.ones(3, 3), torch.zeros(2, 3), [(1, 1, 1), (1, 1)], [1.0] * 2],
)
def test_refuses_bad_spacing(make: Callable[..., nn.Module], spacing: Any) -> None:
    with pytest.raises(ValueError, match=r"^spacing: got .*, wanted "):
        make(**BOTH, spacing=spacing)(sharp(3, 3), labels(3, 3))


@pytest.mark.parametrize("name", ["boundary", "generalized surface", "surface dice"])
def test_raise_names_the_item_and_channel(make: Callable[..., nn.Module]) -> None:
    input, target = sharp(3, 3), labels(3, 3)
    loss = make(**BOTH, empty="raise", ignore_index=9)
    torch.testing.assert_close(loss(input, target), make(**BOTH)(input, target))
    target[1] = torch.where(target[1] == 2, 9, target[1])  # what is ignored does not count
    with pytest.raises(ValueError, match=r"^target: got an empty or full mask at .* \[\(1, 1\)\], wanted"):
        loss(input, target)
    with pytest.raises(ValueError, match=r"^empty: got 'nan', wanted one of zero, \w+, raise$"):
        make(empty="nan")


def test_deep_supervision_of_nnunet(make: Callable[..., nn.Module]) -> None:
    """Called once a resolution, with labels as nnU-Net has them; the weight of the lowest is 0."""
    loss = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": (make(**BOTH), 0.5)})
    targets = [labels(3, 3)[..., ::step, ::step].float() for step in (1, 2, 3)]
    inputs = [sharp(3, 3)[..., ::step, ::step].clone().requires_grad_() for step in (1, 2, 3)]
    value = DeepSupervisionWrapper(loss, [2 / 3, 1 / 3, 0])(inputs, targets)
    torch.testing.assert_close(
        value, 2 / 3 * loss(inputs[0], targets[0]) + 1 / 3 * loss(inputs[1], targets[1])
    )
    value.backward()
    assert all(input.grad.isfinite().all() and input.grad.any() for input in inputs[:2])
    assert inputs[2].grad is None


@pytest.mark.parametrize("input_too", [False, True], ids=["target", "both"])
def test_tensors_of_monais_loaders(make: Callable[..., nn.Module], input_too: bool) -> None:
    """Those are a subclass of PyTorch's, which carries the image's header along."""
    data = pytest.importorskip("monai.data")
    input, target = sharp(3, 3), labels(3, 3)
    right = result(make(**BOTH), input, target)
    got = result(make(**BOTH), data.MetaTensor(input) if input_too else input, data.MetaTensor(target))
    assert float(got.value) == float(right.value)
    assert torch.equal(torch.as_tensor(got.gradient), right.gradient)
