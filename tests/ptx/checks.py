"""Checks of every operator on random input against the reference."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surfloss.ops.edt import edt, nearest_background
from surfloss.ops.labels import label_edt
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import assert_pooled, hausdorff_error

# Around the sizes of words, tiles, chunks, strips and blocks of both backends.
WIDTHS = (
    1,
    2,
    3,
    7,
    8,
    27,
    28,
    29,
    31,
    32,
    33,
    56,
    57,
    63,
    64,
    65,
    127,
    128,
    129,
    256,
    257,
    511,
    512,
    513,
    1024,
    1031,
)
HEIGHTS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 129)
FORMS = ("one_sided", "two_sided", "signed")
MASKS = (
    "noise",
    "sparse",
    "dense",
    "few",
    "few background",
    "half",
    "full",
    "empty",
    "mixed",
    "blob",
    "stripes",
)
MASK_DTYPES = (torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
LABEL_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


@dataclass
class Draw:
    """Random input; `said` records the choices for error messages."""

    random: random.Random

    def __post_init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.generator = torch.Generator().manual_seed(self.random.randrange(2**31))

    def one(self, name: str, options: Sequence[Any]) -> Any:
        self.said[name] = chosen = self.random.choice(options)
        return chosen

    def shape(self, most: int = 20_000) -> tuple[int, ...]:
        """The shape of a batch with 1 to 3 spatial axes and at most `most` voxels."""
        while True:
            dims = self.random.choice((1, 2, 2, 3, 3, 3))
            spatial = [*(self.random.choice(HEIGHTS) for _ in range(dims - 1)), self.random.choice(WIDTHS)]
            shape = (self.random.choice((1, 1, 2, 3)), *spatial)
            if math.prod(shape) <= most:
                self.said["shape"] = shape
                return shape

    def mask(self, name: str, shape: tuple[int, ...]) -> Tensor:
        kind = self.one(name, MASKS)
        noise = torch.rand(shape, generator=self.generator)
        place = sum(
            torch.linspace(0, 1, n).view(-1, *[1] * (len(shape) - a - 1)) for a, n in enumerate(shape)
        )
        if kind in ("few", "few background"):
            mask = torch.zeros(shape, dtype=torch.bool)
            for item in mask.flatten(1):
                item[[self.random.randrange(len(item)) for _ in range(self.random.randint(1, 3))]] = True
            return mask if kind == "few" else ~mask
        if kind == "half":
            axis = self.random.randrange(1, len(shape))
            cut = torch.arange(shape[axis]) < self.random.randint(0, shape[axis])
            return cut.view(-1, *[1] * (len(shape) - axis - 1)).expand(shape).contiguous()
        if kind == "mixed":
            mask = noise < 0.5
            mask[0] = self.random.random() < 0.5
            return mask
        threshold = {"noise": self.random.random(), "sparse": 0.01, "dense": 0.99, "full": 2.0, "empty": -1.0}
        if kind in threshold:
            return noise < threshold[kind]
        wave = place * self.random.randint(1, 9)
        return wave.floor() % 2 == 0 if kind == "stripes" else (place - 1).abs() < self.random.random()

    def spacing(self, dims: int, items: int) -> tuple[list[float], Tensor | None]:
        """Shared steps (unit, equal or any), or steps per item."""

        def steps() -> list[float]:
            kind = self.random.choice(("unit", "equal", "any"))
            if kind != "any":
                return [1.0 if kind == "unit" else self.random.choice((0.42, 0.7, 5.0, 1e-3))] * dims
            return [self.random.choice((0.42, 0.7, 1.0, 1.3, 2.9, 5.0)) for _ in range(dims)]

        if self.random.random() < 0.25:
            self.said["spacing"] = several = torch.tensor(
                [steps() for _ in range(items)], dtype=torch.float64
            )
            return [9.0] * dims, several
        self.said["spacing"] = shared = steps()
        return shared, None


def as_dtype(draw: Draw, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Values that are nonzero exactly where the mask is true."""
    if dtype == torch.bool:
        return mask
    if dtype == torch.uint8:
        return mask.byte() * draw.random.choice((1, 2, 128, 255))
    size = draw.random.choice((1.0, 1e-3, 6e-8))
    sign = torch.rand(mask.shape, generator=draw.generator).sub(0.5).sign()
    return torch.where(mask, sign * size, draw.random.choice((0.0, -0.0))).to(dtype)


def check_edt(draw: Draw, backend: str) -> None:
    shape = draw.shape()
    mask = draw.mask("mask", shape)
    values = as_dtype(draw, mask, draw.one("dtype", MASK_DTYPES))
    spacing, item_spacing = draw.spacing(len(shape) - 1, shape[0])
    form, squared = draw.one("form", FORMS), draw.one("squared", (False, True))
    options = (spacing, item_spacing, form, squared)
    compare_distances(edt(values, *options, backend), edt(mask, *options, "reference"), draw, squared)


def compare_distances(got: Tensor, wanted: Tensor, draw: Draw, squared: bool) -> None:
    """Compare distances; exactly if squares are integers."""
    what = str(draw.said)
    spacing = draw.said["spacing"]
    if squared and not isinstance(spacing, Tensor) and set(spacing) == {1.0}:
        assert_equal(got, wanted, what)
    assert_within_ulp(got, wanted, 4 if squared else 2, what)


def check_indices(draw: Draw, backend: str) -> None:
    shape = draw.shape()
    mask = draw.mask("mask", shape)
    values = as_dtype(draw, mask, draw.one("dtype", MASK_DTYPES))
    spacing, item_spacing = draw.spacing(len(shape) - 1, shape[0])
    nearest = nearest_background(values, spacing, item_spacing, backend)
    compare_indices(nearest, mask, spacing, item_spacing, str(draw.said))


def compare_indices(
    nearest: Tensor, mask: Tensor, spacing: list[float], item_spacing: Tensor | None, what: str
) -> None:
    """Every index is that of a background voxel at the smallest distance."""
    right = edt(mask, spacing, item_spacing, "one_sided", False, "reference")
    for item, (voxels, indices) in enumerate(zip(mask.numpy(), nearest.numpy(), strict=True)):
        if voxels.all():
            assert_equal(indices, np.full(indices.shape, -1), what)
            continue
        assert not voxels[tuple(indices)].any(), what
        steps = spacing if item_spacing is None else item_spacing[item].tolist()
        ways = (indices - np.indices(voxels.shape)) * np.reshape(steps, (-1, *(1,) * voxels.ndim))
        assert_within_ulp(np.sqrt((ways**2).sum(0)), right[item], 2, what)


def check_labels(draw: Draw, backend: str) -> None:
    shape = draw.shape(8_000)
    count = draw.one("labels", (2, 3, 5, 40))
    size = draw.one("thickness", (1, 1, 3, 9))
    labels = torch.randint(count, shape, generator=draw.generator)
    for axis in range(1, len(shape)):
        labels = labels.repeat_interleave(size, axis).narrow(axis, 0, shape[axis])
    spacing, item_spacing = draw.spacing(len(shape) - 1, shape[0])
    form, squared = draw.one("form", FORMS), draw.one("squared", (False, True))
    options = (spacing, item_spacing, form, squared, draw.one("border", ("open", "closed")))
    values = labels.contiguous().to(draw.one("dtype", LABEL_DTYPES))
    compare_distances(
        label_edt(values, *options, backend), label_edt(labels, *options, "reference"), draw, squared
    )


def check_hausdorff(draw: Draw, backend: str) -> None:
    shape = draw.shape(10_000)
    dtype, sigmoid = (
        draw.one("dtype", (torch.float32, torch.float32, torch.float64)),
        draw.one("sigmoid", (True, False)),
    )
    masks = [draw.mask(name, shape) for name in ("input", "target")]
    # Keep away from the threshold, where the mask jumps.
    size = 0.01 + torch.rand(shape, generator=draw.generator, dtype=dtype) * (4 if sigmoid else 0.48)
    input = torch.where(masks[0], size, -size) + (0 if sigmoid else 0.5)
    target = masks[1] if draw.one("hard", (True, False)) else torch.where(masks[1], 0.9, 0.2).to(dtype)
    spacing, item_spacing = draw.spacing(len(shape) - 1, shape[0])
    ignore = draw.mask("ignore", shape) if draw.one("ignored", (False, False, True)) else None
    given = None
    if draw.one("given", (False, False, True)):
        given = edt(masks[1], spacing, item_spacing, "two_sided", False, "reference")
    arguments = (
        input, target, given, ignore, sigmoid, draw.one("alpha", (2.0, 2.0, 2.0, 1.0, 0.0, 2.5)), spacing,
        item_spacing, draw.one("empty", ("zero", "diagonal", "scipy")),
    )  # fmt: skip
    most, by_errors = draw.one("max_distance", (None, None, 3.0)), draw.one("by_errors", (False, False, True))
    got, wanted = (
        hausdorff_error(*arguments, name, max_distance=most, by_errors=by_errors)
        for name in (backend, "reference")
    )
    compare_errors(got, wanted, str(draw.said))


def compare_errors(got: Sequence[Tensor], wanted: Sequence[Tensor], what: str) -> None:
    """Compare error, gradient and scale."""
    size = float(wanted[1].abs().max()) if wanted[1].numel() else 0.0
    for ours, theirs, atol in zip(got, wanted, (0.0, 1e-6 * size, 0.0), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), what
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=atol, msg=lambda text: f"{what}\n{text}")


def check_contour(draw: Draw, backend: str) -> None:
    dims = draw.one("dims", (2, 3, 3))
    shape = (
        draw.one("batch", (1, 2)),
        1,
        *(draw.random.choice((1, 2, 3, 4, 5, 7, 8, 9, 33)) for _ in range(dims - 1)),
    )
    shape = (*shape, draw.random.choice((1, 2, 5, 27, 28, 29, 31, 32, 33, 56, 57, 65)))
    draw.said["shape"] = shape
    dtype = draw.one("dtype", (torch.float32, torch.float32, torch.float64))
    x = torch.rand(shape, generator=draw.generator, dtype=dtype)
    ties = draw.one("values", ("any", "ties", "two", "one"))
    x = {"any": x, "ties": (x * 4).floor() / 4, "two": (x * 2).floor(), "one": x * 0 + 0.5}[ties]
    ignore = (
        torch.rand(shape, generator=draw.generator) < 0.2
        if draw.one("ignored", (False, False, True))
        else None
    )
    kernel = (1, 3, 3) if dims == 3 and draw.one("planes", (False, True)) else 3
    assert_pooled(x, kernel, ignore, backend, str(draw.said))


CHECKS = {
    "edt": check_edt,
    "indices": check_indices,
    "labels": check_labels,
    "hausdorff": check_hausdorff,
    "contour": check_contour,
}
OPERATORS = {"triton": tuple(CHECKS), "cuda": ("edt", "indices", "hausdorff")}
