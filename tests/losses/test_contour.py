"""The contour loss against its formula on SciPy's filters, and on shapes whose contour can be counted."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from surfloss import ContourLoss
from surfloss.functional import contour_loss, contour_map
from tests.losses.fields import in_channels, labels, logits, real, result
from tests.support.volumes import LABELS

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")

KERNELS = [(2, 3), (2, 5), (2, (1, 3)), (3, 3), (3, (1, 3, 3)), (3, (3, 1, 5)), (3, 1)]


def by_scipy(x: Tensor, kernel: int | tuple[int, ...]) -> Tensor:
    """C(x) of every item and channel; outside the array nothing is found."""
    fields = []
    for item in x.detach().double().flatten(0, 1).numpy():
        eroded = ndimage.minimum_filter(item, kernel, mode="constant", cval=np.inf)
        opened = ndimage.maximum_filter(eroded, kernel, mode="constant", cval=-np.inf)
        fields.append(np.maximum(opened - eroded, 0))
    return torch.from_numpy(np.stack(fields)).view(x.shape)


def box(sizes: tuple[int, ...], at: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(1, 1, *shape)
    mask[(0, 0, *(slice(a, a + n) for a, n in zip(at, sizes, strict=True)))] = 1
    return mask


class TestMap:
    @pytest.mark.parametrize(("dims", "kernel"), KERNELS)
    def test_formula_on_scipys_filters(self, dims: int, kernel: Any) -> None:
        x = logits(dims, 2, dtype=torch.float64).sigmoid()
        assert torch.equal(contour_map(x, kernel), by_scipy(x, kernel))

    def test_contour_of_a_box_is_its_outermost_layer(self) -> None:
        contour = contour_map(box((4, 5, 6), (2, 2, 3), (9, 9, 12)))
        assert contour.unique().tolist() == [0, 1]
        assert contour.sum() == 4 * 5 * 6 - 2 * 3 * 4
        slices = contour_map(box((4, 5, 6), (2, 2, 3), (9, 9, 12)), (1, 3, 3))
        assert slices.sum() == 4 * (5 * 6 - 3 * 4)

    def test_border_of_the_volume_is_no_contour(self) -> None:
        assert not contour_map(torch.ones(1, 1, 5, 6)).any()
        half = box((9, 4), (0, 0), (9, 9))
        assert contour_map(half)[0, 0].sum(0).tolist() == [0, 0, 0, 9, 0, 0, 0, 0, 0]

    def test_what_the_kernel_erodes_away_has_none(self) -> None:
        assert not contour_map(box((2, 6), (3, 1), (9, 9))).any()

    def test_slice_wise_is_two_dimensional(self) -> None:
        x = logits(3, 2).sigmoid()
        slices = [contour_map(x[:, :, z], 3) for z in range(x.shape[2])]
        assert torch.equal(contour_map(x, (1, 3, 3)), torch.stack(slices, 2))

    def test_kernel_sizes_of_numpy_are_numbers(self) -> None:
        x = logits(2, 1).sigmoid()
        assert torch.equal(contour_map(x, np.int64(5)), contour_map(x, 5))
        assert torch.equal(contour_map(x, tuple(np.array([1, 3]))), contour_map(x, (1, 3)))

    @pytest.mark.parametrize(
        ("x", "options", "message", "error"),
        [
            (np.ones((1, 1, 4, 4)), {}, "x: got ndarray", TypeError),
            (torch.ones(4, 4), {}, "x: got shape", ValueError),
            (torch.ones(1, 1, 4, 4).long(), {}, "x: got dtype torch.int64", TypeError),
            (torch.ones(1, 1, 4, 4), {"kernel_size": 4}, "kernel_size: got 4", ValueError),
            (torch.ones(1, 1, 4, 4), {"kernel_size": "3"}, "kernel_size: got 3", ValueError),
            (torch.ones(1, 1, 4, 4), {"kernel_size": (3, 3, 3)}, "kernel_size: got", ValueError),
            (
                torch.ones(1, 1, 4, 4),
                {"ignore": torch.ones(1, 1, 4, 4)},
                "ignore: got torch.float32",
                ValueError,
            ),
            (
                torch.ones(1, 1, 4, 4),
                {"ignore": torch.ones(4, 4).bool()},
                "ignore: got torch.bool",
                ValueError,
            ),
            (torch.ones(1, 1, 4, 4), {"ignore": torch.ones(1, 1, 4, 3).bool()}, "ignore: got", ValueError),
        ],
    )
    def test_refuses(self, x: Any, options: dict[str, Any], message: str, error: type[Exception]) -> None:
        with pytest.raises(error, match=rf"^{message}.*, wanted "):
            contour_map(x, **options)


class TestFormula:
    @pytest.mark.parametrize(("dims", "kernel"), KERNELS)
    @pytest.mark.parametrize("mode", ["map", "length"])
    @pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
    @pytest.mark.parametrize("include_background", [False, True], ids=["foreground", "background too"])
    def test_every_argument(
        self, include_background: bool, labelled: bool, mode: str, dims: int, kernel: Any
    ) -> None:
        input, numbers = logits(dims, 3), labels(dims, 3)
        target = in_channels(numbers, 3)
        first = 0 if include_background else 1
        difference = (by_scipy(input.softmax(1), kernel) - by_scipy(target, kernel))[:, first:].flatten(2)
        right = difference.sum(2) ** 2 / difference.shape[2] if mode == "length" else (difference**2).mean(2)
        for reduction, batch in product(("mean", "sum", "none"), (False, True)):
            wanted = right.mean(0, keepdim=True) if batch else right
            wanted = {"mean": wanted.mean(), "sum": wanted.sum()}.get(
                reduction, wanted.view(*wanted.shape, *(1,) * dims)
            )
            loss = ContourLoss(
                mode,
                kernel,
                include_background,
                labelled,
                softmax=True,
                reduction=reduction,
                batch=batch,
            )
            got = loss(input, numbers if labelled else target)
            torch.testing.assert_close(got.double(), wanted, rtol=3e-5, atol=1e-9)

    @pytest.mark.parametrize("mode", ["map", "length"])
    @pytest.mark.parametrize("name", LABELS)
    def test_real_label(self, name: str, mode: str) -> None:
        input, target, _ = real(name)
        difference = by_scipy(input, (1, 3, 3)) - by_scipy(target, (1, 3, 3))
        right = (difference**2).mean() if mode == "map" else difference.sum() ** 2 / difference.numel()
        assert right > 0
        got = ContourLoss(mode, (1, 3, 3))(input, target)
        assert float(got) == pytest.approx(float(right), rel=1e-4)

    def test_length_of_rectangles(self) -> None:
        # The inner contour of a rectangle of h x w voxels has 2 (h + w) - 4 of them.
        target, input = box((5, 7), (2, 2), (12, 16)), box((4, 4), (6, 9), (12, 16))
        assert float(ContourLoss("length")(input, target)) == pytest.approx((12 - 20) ** 2 / (12 * 16))
        # As a map, the contours have no voxel in common, so that all 32 differ.
        assert float(ContourLoss("map")(input, target)) == pytest.approx((12 + 20) / (12 * 16))

    def test_length_is_blind_to_place_and_map_is_not(self) -> None:
        target, input = box((5, 6), (1, 1), (16, 16)), box((6, 5), (8, 8), (16, 16))
        assert ContourLoss("length")(input, target) == 0
        assert float(ContourLoss("map")(input, target)) == pytest.approx(2 * 18 / 256)

    def test_soft_contours_scale_with_the_probability(self) -> None:
        target, input = torch.zeros(1, 1, 12, 12), box((5, 5), (3, 3), (12, 12))
        for p in (0.25, 0.5, 1.0):
            assert float(ContourLoss("length")(p * input, target)) == pytest.approx((16 * p) ** 2 / 144)
            assert float(ContourLoss("map")(p * input, target)) == pytest.approx(16 * p**2 / 144)

    @pytest.mark.parametrize("mode", ["map", "length"])
    @pytest.mark.parametrize(("value", "target_value"), list(product((0.0, 1.0), repeat=2)))
    def test_empty_and_full_masks_have_no_contour(self, value: float, target_value: float, mode: str) -> None:
        input, target = torch.full((1, 1, 4, 5, 6), value), torch.full((1, 1, 4, 5, 6), target_value)
        got = result(ContourLoss(mode), input, target)
        assert got.value == 0
        assert not got.gradient.any()


class TestIgnoredVoxels:
    @pytest.mark.parametrize("mode", ["map", "length"])
    @pytest.mark.parametrize("labelled", [False, True], ids=["channels", "labels"])
    def test_neither_gradient_nor_influence(self, labelled: bool, mode: str) -> None:
        input, target = logits(3, 3), labels(3, 3)
        where = torch.rand(target.shape, generator=torch.Generator().manual_seed(7)) < 0.3
        target = (target if labelled else in_channels(target, 3)).masked_fill(where, 255)
        loss = ContourLoss(
            mode, to_onehot_y=labelled, softmax=True, ignore_index=255, include_background=True
        )
        got = result(loss, input, target)
        assert got.gradient.isfinite().all()
        assert got.gradient.any()
        assert not got.gradient[where.expand_as(input)].any()
        assert torch.equal(loss(torch.where(where, -3 * input, input), target), got.value)

    def test_are_outside_the_volume(self) -> None:
        inside = logits(2, 1).sigmoid()
        target = in_channels(labels(2, 1), 1)
        beside = torch.rand(2, 1, 9, 4)
        wide = torch.cat([beside, inside], 3), torch.cat([torch.full_like(beside, 255), target], 3)
        for mode in ("map", "length"):
            got = ContourLoss(mode, ignore_index=255)(*wide) * 15 / 11
            torch.testing.assert_close(got, ContourLoss(mode)(inside, target))

    def test_nothing_ignored_changes_nothing(self) -> None:
        input, target = logits(3, 3), labels(3, 3)
        options = {"softmax": True, "to_onehot_y": True}
        got, right = (result(ContourLoss(ignore_index=i, **options), input, target) for i in (255, None))
        assert torch.equal(got.value, right.value)
        assert torch.equal(got.gradient, right.gradient)

    def test_everything_ignored_is_no_error(self) -> None:
        input = logits(3, 1)
        got = result(ContourLoss(sigmoid=True, ignore_index=255), input, torch.full_like(input, 255))
        assert got.value == 0
        assert not got.gradient.any()


@pytest.mark.parametrize("mode", ["map", "length"])
@pytest.mark.parametrize(("dims", "kernel"), KERNELS)
@pytest.mark.parametrize("ignore_index", [None, 255])
def test_gradcheck(ignore_index: int | None, dims: int, kernel: Any, mode: str) -> None:
    input = logits(dims, 1, batch=1, dtype=torch.float64)[..., :4, :5].requires_grad_()
    target = labels(dims, 1, batch=1)[..., :4, :5].clone()
    if ignore_index is not None:
        target[..., 1, 2:] = ignore_index
    loss = ContourLoss(mode, kernel, sigmoid=True, ignore_index=ignore_index)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), input)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mode", ["map", "length"])
def test_precision(mode: str, dtype: torch.dtype) -> None:
    """Half precision is float32 of the rounded input; float64 stays."""
    input, target = logits(3, 3).to(dtype), labels(3, 3)
    loss = ContourLoss(mode, softmax=True, to_onehot_y=True)
    got = result(loss, input, target)
    right = result(loss, input.float(), target)
    assert got.value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert got.gradient.dtype == dtype
    value, gradient = got.error(right)
    assert value <= 1e-5
    assert gradient <= max(1e-5, torch.finfo(dtype).eps)
    for autocast in (torch.float16, torch.bfloat16):
        again = result(loss, input, target, autocast=autocast)
        assert torch.equal(again.value, got.value)
        assert torch.equal(again.gradient, got.gradient)


@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    kernel=st.sampled_from([1, 3, 5]),
    mode=st.sampled_from(["map", "length"]),
)
def test_properties(seed: int, shape: list[int], kernel: int, mode: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    input = torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(1, 1, *shape, generator=generator) < 0.5).double()
    contour = contour_map(input, kernel)
    assert contour.min() >= 0
    assert contour.max() <= input.max()
    loss = ContourLoss(mode, kernel)
    value = loss(input, target)
    assert value >= 0
    assert loss(target, target) == 0
    axes = list(range(2, input.ndim))
    torch.testing.assert_close(loss(input.flip(axes), target.flip(axes)), value)
    torch.testing.assert_close(loss(input.transpose(-1, -2), target.transpose(-1, -2)), value)


def test_function_is_the_module() -> None:
    input, target = logits(3, 3), labels(3, 3)
    options = {"mode": "length", "kernel_size": (1, 3, 3), "softmax": True, "to_onehot_y": True}
    assert torch.equal(contour_loss(input, target, **options), ContourLoss(**options)(input, target))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "area"}, "mode"),
        ({"kernel_size": 2}, "kernel_size"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": -3}, "kernel_size"),
        ({"kernel_size": 3.0}, "kernel_size"),
        ({"kernel_size": math.nan}, "kernel_size"),
        ({"kernel_size": True}, "kernel_size"),
        ({"kernel_size": (3, 4, 3)}, "kernel_size"),
        ({"kernel_size": (3, 3)}, "kernel_size"),
    ],
)
def test_refuses_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}: got .*, wanted "):
        ContourLoss(**options)(logits(3, 1).sigmoid(), in_channels(labels(3, 1), 1))
