"""Compiled kernels on masks that have broken transforms, and on sizes around every boundary."""

import random

import numpy as np
import pytest
import torch

from surfloss.ops.edt import edt, nearest_background
from tests.ops import test_labels as label_tests
from tests.ptx.checks import Draw, compare_distances, compare_errors, compare_indices
from tests.ptx.targets import EVERY, TARGETS, TRITON
from tests.support import cases
from tests.support.cases import MASK_SAMPLES, MaskSample
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import assert_pooled, hausdorff_error

SHORT = [sample for sample in MASK_SAMPLES if max(sample.mask.shape) < 1000]
UNITS = [sample for sample in SHORT if sample.isotropic_units]
SLICES = [5.0, 0.42, 0.7]
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], SLICES], dtype=torch.float64)
only_triton = pytest.mark.parametrize("target", [t for t in TARGETS if t in TRITON], indirect=True, ids=str)


def named(value: object) -> str:
    return value.name if isinstance(value, MaskSample) else str(value)


@pytest.mark.parametrize("sample", SHORT, ids=named)
def test_distance(sample: MaskSample, backend: str) -> None:
    for two_sided, form in enumerate(("one_sided", "two_sided")):
        right = sample.squared(bool(two_sided))
        got = edt(sample.mask, list(sample.spacing), None, form, True, backend)
        if sample.isotropic_units:
            assert_equal(got, right, form)
        assert_within_ulp(got.double().sqrt(), np.sqrt(right), 2, form)


@pytest.mark.parametrize("sample", UNITS, ids=named)
def test_indices(sample: MaskSample, backend: str) -> None:
    nearest = nearest_background(sample.mask, list(sample.spacing), None, backend)
    compare_indices(nearest, sample.mask, list(sample.spacing), None, sample.name)


@only_triton
@pytest.mark.parametrize("border", label_tests.BORDERS)
@pytest.mark.parametrize("name", label_tests.LABELS)
def test_labels(name: str, border: str, backend: str) -> None:
    label_tests.test_distance_is_exact(name, border, backend)


@only_triton
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_every_bit_of_a_label_counts(dtype: torch.dtype, backend: str) -> None:
    label_tests.test_every_bit_of_a_label_counts(dtype, backend)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_every_value_but_zero_is_foreground(dtype: torch.dtype, backend: str) -> None:
    mask = cases.noise(1, 5, 70)
    sign = torch.randn(mask.shape).sign()
    values = mask * 254 if dtype == torch.uint8 else torch.where(mask, sign * 1e-3, torch.tensor(-0.0))
    got = edt(values.to(dtype), [1.0] * 2, None, "signed", True, backend)
    assert_equal(got, edt(mask, [1.0] * 2, None, "signed", True, "reference"))


# Sizes around words of 32 bits, tiles of 8 rows and 32 columns, chunks of 512 voxels, and the CUDA levels.
SIZES = (1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 511, 512, 513, 1024, 1025)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sizes_across_boundaries(axis: int, size: int, backend: str) -> None:
    shape = [1, 2, 3, 2]
    shape[1 + axis] = size
    for share in (0.5, 0.98):
        mask = cases.noise(*shape, share=share, seed=size)
        options = ([1.0] * 3, None, "two_sided", True)
        assert_equal(edt(mask, *options, backend), edt(mask, *options, "reference"), f"{shape}")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_spacing_for_each_item(dims: int, backend: str) -> None:
    mask = cases.noise(2, *(5, 7, 11)[:dims], share=0.9)
    draw = Draw(random.Random(0))
    draw.said["spacing"] = item_spacing = ITEM_SPACING[:, -dims:].contiguous()
    options = ([9.0] * dims, item_spacing, "signed", False)
    compare_distances(edt(mask, *options, backend), edt(mask, *options, "reference"), draw, False)
    compare_indices(nearest_background(mask, *options[:2], backend), mask, *options[:2], "")


LONG = [
    (1, 3, 4097),
    (1, 4097, 3),
    (1, 2, 4097, 2),
    (1, 4097, 2, 3),
    (1, 2, 32767),
    (1, 2, 2, 32768),
    (1, 40000),
    (1, 40000, 1),
]


if not EVERY:
    LONG.remove((1, 40000, 1))  # slow on the CUDA backend


@pytest.mark.parametrize("shape", LONG, ids=str)
def test_long_axes(shape: tuple[int, ...], backend: str) -> None:
    """Axes beyond 4,096, above which squares may be inexact in float32, and beyond 16 bits."""
    draw = Draw(random.Random(0))
    for share in (0.5, 0.999):
        mask = cases.noise(*shape, share=share)
        draw.said["spacing"] = SLICES[-len(shape) + 1 :]
        options = (draw.said["spacing"], None, "two_sided", False)
        compare_distances(edt(mask, *options, backend), edt(mask, *options, "reference"), draw, False)
    compare_indices(nearest_background(mask, *options[:2], backend), mask, *options[:2], str(shape))


@pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_hausdorff(sigmoid: bool, empty: str, backend: str) -> None:
    """Items with both labels, with one, and with ignored voxels, for several exponents."""
    shape = (2, 9, 8, 33)
    input, target = torch.randn(shape), cases.noise(*shape, share=0.9)
    input = torch.where(input.abs() < 0.01, 0.01, input) if sigmoid else input.sigmoid()
    target[0] = True
    ignore = cases.noise(*shape, share=0.2) if empty == "zero" else None
    for alpha in (0.0, 1.0, 2.0, 2.5) if empty == "zero" else (2.0,):
        arguments = (
            input,
            target,
            None,
            ignore,
            sigmoid,
            alpha,
            SLICES,
            None if sigmoid else ITEM_SPACING,
            empty,
        )
        results = [hausdorff_error(*arguments, name, max_distance=4.0) for name in (backend, "reference")]
        compare_errors(*results, f"alpha {alpha}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 17), (2, 1, 1), (1, 40, 33), (1, 2, 5, 600), (0, 3, 4, 5)], ids=str)
def test_hausdorff_of_shapes(shape: tuple[int, ...], dtype: torch.dtype, backend: str) -> None:
    input = torch.where(cases.noise(*shape, seed=2), 1.7, -0.8).to(dtype)
    target = torch.where(cases.noise(*shape, share=0.3, seed=1), 0.9, 0.2).to(dtype)
    arguments = (input, target, None, None, True, 2.0, [1.0] * (len(shape) - 1), None, "zero")
    compare_errors(
        *(hausdorff_error(*arguments, name, by_errors=True) for name in (backend, "reference")), ""
    )


CONTOURS = [
    ((1, 1, 33, 5, 30), 3, torch.float32, False),
    ((1, 1, 4, 5, 57), 3, torch.float64, True),
    ((2, 1, 9, 29), 3, torch.float32, True),
    ((1, 2, 2, 5, 28), (1, 3, 3), torch.float64, False),
    ((1, 1, 1, 1, 1), 3, torch.float32, False),
]


@only_triton
@pytest.mark.parametrize(("shape", "kernel", "dtype", "ignored"), CONTOURS, ids=str)
def test_contour(
    shape: tuple[int, ...], kernel: int | tuple[int, ...], dtype: torch.dtype, ignored: bool, backend: str
) -> None:
    """Shapes larger than strips of 4 rows, 28 columns and 32 planes; many values tie."""
    x = torch.where(cases.noise(*shape, share=0.3), torch.rand(shape), torch.randint(3, shape) / 2).to(dtype)
    x[cases.noise(*shape, share=0.01, seed=3)] = torch.nan
    assert_pooled(x, kernel, cases.noise(*shape, share=0.2, seed=1) if ignored else None, backend)
