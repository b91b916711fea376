"""What every loss refuses, in one form of words, and when it looks at values."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surfloss
from surfloss import (
    BoundaryLoss,
    ContourLoss,
    DiceCELoss,
    GeneralizedSurfaceLoss,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    LogHausdorffDTLoss,
    SurfaceDiceLoss,
)
from tests.losses.fields import in_channels, labels, logits, result

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "hausdorff": HausdorffDTLoss,
    "log hausdorff": LogHausdorffDTLoss,
    "erosion loss": HausdorffERLoss,
    "convolution loss": partial(HausdorffConvLoss, 2.0, (1, 2)),
    "contour": ContourLoss,
    "boundary": BoundaryLoss,
    "generalized surface": GeneralizedSurfaceLoss,
    "surface dice": partial(SurfaceDiceLoss, 1.0),
    "dice_ce": DiceCELoss,
}
OF_CHANNELS = [name for name in MAKERS if name != "dice_ce"]  # with MONAI's options


@pytest.fixture(params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(name: str) -> Callable[..., nn.Module]:
    """The loss for logits and labels."""
    options = {} if name == "dice_ce" else {"softmax": True, "to_onehot_y": True}
    return lambda **more: MAKERS[name](**(options | more))


def refuses(argument: str, got: str, error: Any = ValueError) -> Any:
    return pytest.raises(error, match=rf"^{argument}: got {got}.*, wanted ")


INPUT, TARGET = logits(3, 3), labels(3, 3)


@pytest.mark.parametrize(
    ("input", "target", "argument", "got", "error"),
    [
        (INPUT.numpy(), TARGET, "input", "ndarray", TypeError),
        (INPUT, TARGET.numpy(), "target", "ndarray", TypeError),
        (INPUT.long(), TARGET, "input", "dtype torch.int64", TypeError),
        (INPUT, TARGET * 1j, "target", "dtype torch.complex64", TypeError),
        (INPUT.to(torch.float8_e5m2), TARGET, "input", "dtype torch.float8_e5m2", TypeError),
        (INPUT.to(torch.complex64), TARGET, "input", "dtype torch.complex64", TypeError),
        *(
            (INPUT, TARGET.to(dtype), "target", f"dtype {dtype}", TypeError)
            for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e5m2)
        ),
        (INPUT[0, 0], TARGET, "input", "shape", ValueError),
        (INPUT[None], TARGET, "input", "shape", ValueError),
        (INPUT, TARGET[:, 0], "target", "shape", ValueError),
        (INPUT, TARGET[:1], "target", "shape", ValueError),
        (INPUT, TARGET[..., 1:], "target", "shape", ValueError),
        (INPUT, TARGET.expand(-1, 2, -1, -1, -1), "target", "2 channels", ValueError),
        (INPUT[:, :0], TARGET, "input", "shape", ValueError),
        (INPUT[:, :, :0], TARGET[:, :, :0], "input", "shape", ValueError),
        (INPUT, TARGET.to("meta"), "target", "a tensor on meta", ValueError),
        (INPUT.to_sparse(), TARGET, "input", "layout torch.sparse_coo", TypeError),
        (INPUT, TARGET.to_sparse(), "target", "layout torch.sparse_coo", TypeError),
    ],
)
def test_form(
    make: Callable[..., nn.Module], input: Any, target: Any, argument: str, got: str, error: type[Exception]
) -> None:
    with refuses(argument, got, error):
        make()(input, target)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_input_that_is_not_finite(make: Callable[..., nn.Module], dtype: torch.dtype, bad: float) -> None:
    input = INPUT.to(dtype, copy=True)
    input[1, 2, 3, 4, 5] = bad
    with refuses("input", "1 NaN or infinite"):
        make()(input, TARGET)


@pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_logits_without_an_activation(name: str, labelled: bool) -> None:
    target = TARGET if labelled else in_channels(TARGET, 3)
    make = partial(MAKERS[name], to_onehot_y=labelled)
    for bad in (INPUT.softmax(1) + 1, -INPUT.softmax(1), INPUT):
        with refuses("input", "values from .* to .* without an activation") as caught:
            make()(bad, target)
        assert "sigmoid=True or softmax=True" in str(caught.value)
        with refuses("input", "values from"):
            make(validate=True)(bad, target)
        make(validate=False)(bad, target)
        make(other_act=torch.tanh)(bad, target)  # what comes of it is its user's choice
        make(softmax=True)(bad, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_probabilities_that_rounding_took_beyond_1(name: str, dtype: torch.dtype) -> None:
    input = INPUT.softmax(1).to(dtype)
    input[0, 1, 2, 3, 4] = 1 + 2 * torch.finfo(dtype).eps
    input[1, 1, 2, 3, 4] = -torch.finfo(dtype).eps
    assert MAKERS[name](to_onehot_y=True)(input, TARGET).isfinite()


@pytest.mark.filterwarnings("ignore:.*single-channel:UserWarning")
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_a_softmax_over_one_channel_is_no_activation(name: str) -> None:
    target = in_channels(labels(3, 1), 1)
    with refuses("input", "values from"):
        MAKERS[name](softmax=True)(logits(3, 1), target)
    assert MAKERS[name](sigmoid=True)(logits(3, 1), target).isfinite()


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_what_an_ignored_voxel_holds_is_no_logit(name: str) -> None:
    input, target = INPUT.softmax(1), TARGET.clone()
    input[:, :, 2], target[:, :, 2] = 9, 255
    assert MAKERS[name](to_onehot_y=True, ignore_index=255)(input, target).isfinite()


@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        *product([torch.uint8], [3, 255]),
        *product([torch.int16, torch.int64], [-1, 3, 255]),
        *product([torch.float16, torch.float32], [-1, 3, 255, 0.5, math.nan, math.inf]),
    ],
)
def test_labels_of_no_class(make: Callable[..., nn.Module], dtype: torch.dtype, bad: float) -> None:
    target = TARGET.to(dtype, copy=True)
    target[1, 0, 3, 4, 5] = bad
    with refuses("target", rf"the values \[{bad}"):
        make()(INPUT, target)
    if math.isfinite(bad):
        make(ignore_index=bad)(INPUT, target)


def test_an_unknown_label_is_named_where_the_dtype_wraps(make: Callable[..., nn.Module]) -> None:
    target = labels(2, 3).to(torch.int8)
    target[0, 0, 1, 2] = -1
    with refuses("target", r"the values \[-1\]"):
        make()(logits(2, 300), target)


@pytest.mark.parametrize("bad", [-1.0, 2.0, 0.5, math.nan])
def test_channels_of_neither_0_nor_1(name: str, bad: float) -> None:
    loss = MAKERS[name](sigmoid=True)
    target = in_channels(TARGET, 3)
    loss(INPUT, target)
    target[1, 2, 3, 4, 5] = bad
    with refuses("target", rf"the values \[{bad}"):
        loss(INPUT, target)


@pytest.mark.parametrize("label", [0, 1])
def test_ignoring_a_label_of_a_target_in_channels(name: str, label: int) -> None:
    with refuses("ignore_index", str(label)):
        MAKERS[name](sigmoid=True, ignore_index=label)(INPUT, in_channels(TARGET, 3))


def test_a_value_in_one_channel_ignores_the_voxel(name: str) -> None:
    loss = MAKERS[name](sigmoid=True, ignore_index=255)
    one, all_of_them = in_channels(TARGET, 3), in_channels(TARGET, 3)
    one[0, 1, 2:4] = 255
    all_of_them[0, :, 2:4] = 255
    assert torch.equal(loss(INPUT, one), loss(INPUT, all_of_them))


@pytest.mark.parametrize("validate", [None, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_an_ignored_voxel_holds_does_not_matter(
    make: Callable[..., nn.Module], bad: float, validate: bool | None
) -> None:
    target = TARGET.clone()
    target[1, 0, 2:, 3] = 255
    input = INPUT.masked_fill(target == 255, bad)
    loss = make(ignore_index=255, validate=validate)
    got, right = result(loss, input, target), result(loss, INPUT, target)
    assert torch.equal(got.value, right.value)
    assert torch.equal(got.gradient, right.gradient)
    assert not got.gradient[1, :, 2:, 3].any()


def test_the_single_channel_warning_points_to_the_call() -> None:
    input, target = logits(3, 1).sigmoid(), in_channels(labels(3, 1), 1)
    calls: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "function": surfloss.functional.hausdorff_dt_loss,
        "module": HausdorffDTLoss(),
        "inherited": LogHausdorffDTLoss(),
        "term": surfloss.CompoundLoss({"surface": (ContourLoss(), 1.0)}),
    }
    for call in calls.values():
        with pytest.warns(UserWarning, match="single-channel") as caught:
            call(input, target)
        assert [warning.filename for warning in caught] == [__file__]


def test_a_class_may_be_ignored(make: Callable[..., nn.Module]) -> None:
    make(ignore_index=1)(INPUT, TARGET)


def test_validate_false_looks_at_nothing(make: Callable[..., nn.Module]) -> None:
    assert make(validate=False)(INPUT * math.nan, TARGET).isnan()
    make(validate=False)(INPUT, TARGET + 100)
    with refuses("target", r"the values \[100"):
        make(validate=True)(INPUT, TARGET + 100)


@pytest.mark.parametrize(
    "options", [{"sigmoid": True, "softmax": True}, {"softmax": True, "other_act": torch.tanh}]
)
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_more_than_one_activation(name: str, options: dict[str, Any]) -> None:
    with refuses(" and ".join(options), "set together"):
        MAKERS[name](**options)


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_other_options_when_made(name: str) -> None:
    with refuses("other_act", "str", TypeError):
        MAKERS[name](other_act="tanh")
    with refuses("reduction", "'max'"):
        MAKERS[name](reduction="max")
    results: list[tuple[str, Callable[[Tensor], Any]]] = [
        ("shape", lambda x: x[:, :1]),
        ("dtype torch.bool", lambda x: x > 0),
        ("NoneType", lambda x: None),
        ("a tensor on meta", lambda x: x.to("meta")),
    ]
    for got, other_act in results:
        with refuses("the result of other_act", got, (ValueError, TypeError)):
            MAKERS[name](other_act=other_act)(INPUT, in_channels(TARGET, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_an_activation_into_half_precision(name: str, dtype: torch.dtype) -> None:
    """The operators take float32 and float64; once such a result corrupted the memory."""
    loss = MAKERS[name](to_onehot_y=True, other_act=lambda x: x.softmax(1).to(dtype))
    right = MAKERS[name](to_onehot_y=True)(INPUT.softmax(1).to(dtype).float(), TARGET)
    assert torch.equal(loss(INPUT, TARGET), right)


NUMBERS: dict[str, tuple[str, Any]] = {
    "alpha": ("hausdorff", 1.5),
    "alpha of erosions": ("erosion loss", 1.5),
    "iterations": ("erosion loss", 3),
    "alpha of convolutions": ("convolution loss", 1.5),
    "radii": ("convolution loss", [1.0, 2.5]),
    "kernel_size": ("contour", 5),
    "kernel_size of each axis": ("contour", [1, 3, 3]),
    "class_weights": ("generalized surface", [0.25, 0.75]),
    "tolerance": ("surface dice", 2.0),
    "ignore_index": ("surface dice", 2),
    "smooth": ("dice_ce", 0.5),
    "weight_dice": ("dice_ce", 0.5),
    "weight_ce": ("dice_ce", 2.0),
}
CLASSES = {
    "hausdorff": (HausdorffDTLoss, surfloss.functional.hausdorff_dt_loss),
    "erosion loss": (HausdorffERLoss, surfloss.functional.hausdorff_er_loss),
    "convolution loss": (HausdorffConvLoss, surfloss.functional.hausdorff_conv_loss),
    "contour": (ContourLoss, surfloss.functional.contour_loss),
    "generalized surface": (GeneralizedSurfaceLoss, surfloss.functional.generalized_surface_loss),
    "surface dice": (SurfaceDiceLoss, surfloss.functional.surface_dice_loss),
    "dice_ce": (DiceCELoss, surfloss.functional.dice_ce_loss),
}


@pytest.mark.parametrize("form", [np.asarray, torch.tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("option", NUMBERS)
def test_numbers_of_numpy_and_pytorch(option: str, form: Callable[..., Any]) -> None:
    name, value = NUMBERS[option]
    loss, function = CLASSES[name]
    fixed: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
    if name == "surface dice":
        fixed["tolerance"] = 1.0
    option = option.partition(" ")[0]
    right = function(INPUT, TARGET, **(fixed | {option: value}))
    given = fixed | {option: form(value)}
    assert torch.equal(function(INPUT, TARGET, **given), right)
    module = loss(**given)
    assert torch.equal(module(INPUT, TARGET), right)
    assert repr(module) == repr(loss(**(fixed | {option: value})))
    with refuses(option, ""):
        loss(**(fixed | {option: form([[1.0, -1.0]])}))(INPUT, TARGET)


@pytest.mark.parametrize(
    "flag", ["include_background", "to_onehot_y", "sigmoid", "softmax", "batch", "validate"]
)
def test_what_is_no_flag(name: str, flag: str) -> None:
    for bad in ((5.0, 0.4, 0.4), "sum", 0.5):  # as where an argument is one place off
        with refuses(flag, "", TypeError):
            MAKERS[name](**({"softmax": False} if flag == "sigmoid" else {}), **{flag: bad})
    MAKERS[name](**{"sigmoid": True, flag: np.bool_(flag == "sigmoid")})


@pytest.mark.parametrize(
    ("dtype", "ignore_index", "held"),
    [(torch.uint8, -1, 255), (torch.uint8, -100, 156), (torch.int8, 255, -1), (torch.int16, 65535, -1)],
)
def test_an_ignored_value_that_the_dtype_cannot_hold(
    make: Callable[..., nn.Module], dtype: torch.dtype, ignore_index: int, held: int
) -> None:
    """PyTorch would find it all the same, as what it wraps to."""
    target = TARGET.to(dtype)
    loss = make(ignore_index=ignore_index)
    assert torch.equal(loss(INPUT, target), make()(INPUT, TARGET))
    target[0, 0, 1] = held
    with refuses("target", rf"the values \[{held}\]"):
        loss(INPUT, target)


@pytest.mark.parametrize("bad", ["255", True, (255,), math.nan, math.inf])
def test_an_ignore_index_that_is_no_number(make: Callable[..., nn.Module], bad: Any) -> None:
    with refuses("ignore_index", ""):
        make(ignore_index=bad)


def test_choices_that_are_arrays() -> None:
    """NumPy compares them element by element, and then does not know whether that is true."""
    words = np.array(["zero", "raise"])
    for option in ("reduction", "empty", "normalize", "kept_dtype"):
        with refuses(option, ""):
            HausdorffDTLoss(**{option: words})


@pytest.mark.parametrize("bad", ["cuad", 1, True, ("cpu",)])
@pytest.mark.parametrize(
    "name", ["hausdorff", "log hausdorff", "boundary", "generalized surface", "surface dice"]
)
def test_a_backend_that_is_none(name: str, bad: Any) -> None:
    with refuses("backend", ""):
        MAKERS[name](backend=bad)


@pytest.mark.parametrize("option", CLASSES)
def test_functions_refuse_what_modules_refuse(option: str) -> None:
    _, function = CLASSES[option]
    fixed: dict[str, Any] = {"tolerance": 1.0} if option == "surface dice" else {}
    if option != "dice_ce":  # whose keywords are all its own, so that Python names it
        with refuses("reduce", "an option that this loss does not have", TypeError):
            function(INPUT, TARGET, **fixed, reduce="sum")
    for flag in ("softmax", "to_onehot_y", "batch", "validate"):
        with refuses(flag, "'no'", TypeError):
            function(INPUT, TARGET, **fixed, **{flag: "no"})
    with refuses("ignore_index", "'255'"):
        function(INPUT, TARGET, **fixed, ignore_index="255")


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_no_items(make: Callable[..., nn.Module], reduction: str) -> None:
    value = make(reduction=reduction)(INPUT[:0], TARGET[:0])
    assert value.shape == (() if reduction == "sum" else (0, 2, 1, 1, 1))


def test_a_mean_over_no_items(make: Callable[..., nn.Module], name: str) -> None:
    losses = [make(), surfloss.CompoundLoss({"term": (make(), 1.0)})]
    if name != "dice_ce":
        losses += [make(batch=True, reduction=reduction) for reduction in ("sum", "none")]
    for loss in losses:
        with refuses("input", "an empty batch"):
            loss(INPUT[:0], TARGET[:0])


def test_strided_input_is_read_right(make: Callable[..., nn.Module]) -> None:
    def strided(x: Tensor) -> Tensor:
        return torch.repeat_interleave(x.transpose(2, 4), 2, 3)[:, :, :, ::2].transpose(2, 4)

    input, target = strided(INPUT), strided(TARGET)
    assert not input.is_contiguous()
    torch.testing.assert_close(make()(input, target), make()(INPUT, TARGET))
