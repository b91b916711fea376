"""Contour losses from pooled probabilities.

El Jurdi, Petitjean, Honeine, Cheplygina & Abdallah, "A Surprisingly Effective Perimeter-based Loss for
Medical Image Segmentation", MIDL 2021: the contour of x is what a dilation adds back to an erosion,

    C(x) = relu(maxpool(minpool(x)) - minpool(x)),    minpool(x) = -maxpool(-x).
"""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, fail, is_whole
from surfloss.losses._prepare import Activation, LossModule, check_image, check_options, prepare, reduced
from surfloss.ops.contour import differentiable_contour_map, has_contour_map

KernelLike: TypeAlias = int | NumbersLike

MODES = ("map", "length")
_MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
_FUSED = ((1, 3, 3), (3, 3, 3))  # the windows of ops/contour.py


def contour_map(x: Tensor, kernel_size: KernelLike = 3, *, ignore: Tensor | None = None) -> Tensor:
    """The inner contour of a mask or a probability map, C(x) above.

    Args:
        x: `(batch, channels, *spatial)`, 2-D or 3-D, floating.
        kernel_size: of the pooling, odd; a number, or one for each spatial axis: `(1, 3, 3)` takes every
            slice of a volume for itself. Outside the volume nothing is pooled, so its border is no contour.
        ignore: None, or bool in the shape of `x` or with 1 along an axis: voxels that are treated as outside
            the volume, with contour 0.

    Returns:
        The input's shape and dtype, in [0, 1] for x in [0, 1].

    Raises:
        TypeError, ValueError: on an argument of another form.
    """
    check_image("x", x)
    kernel = _kernel(kernel_size, x.ndim - 2)
    if ignore is not None:
        _check.mask("ignore", ignore)
        _check.same_device("ignore", ignore, "x", x)
        fits = all(size in (1, wanted) for size, wanted in zip(ignore.shape, x.shape, strict=False))
        if ignore.dtype != torch.bool or ignore.ndim != x.ndim or not fits:
            got = f"{ignore.dtype} of shape {tuple(ignore.shape)}"
            fail("ignore", got, f"bool of shape {tuple(x.shape)}, or 1 along an axis")
    window = (1,) * (3 - len(kernel)) + kernel
    fits = window in _FUSED and x.dtype in (torch.float32, torch.float64) and not _check.in_transform()
    if fits and has_contour_map(x.device.type):
        return _fused(x, ignore, window[0])
    eroded = -_max_pool(-x, kernel, ignore)
    contour = F.relu(_max_pool(eroded, kernel, ignore) - eroded)
    return contour if ignore is None else contour.masked_fill(ignore, 0)


def contour_loss(
    input: Tensor,
    target: Tensor,
    *,
    mode: str = "map",
    kernel_size: KernelLike = 3,
    include_background: bool = False,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Activation | None = None,
    reduction: str = "mean",
    batch: bool = False,
    ignore_index: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Squared difference of two contours, in voxels.

    `mode="map"` is mean((C(p) - C(g))^2), as Sanner & Mukhopadhyay word it; `mode="length"` is
    (sum C(p) - sum C(g))^2 / voxels, for each item and channel, as el Jurdi's published code computes it. The
    gradient flows to the voxels that the poolings chose. An empty or a full mask has no contour: C is 0.

    Args:
        input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with `sigmoid`, `softmax` or
            `other_act`, otherwise probabilities. float16 and bfloat16 are computed in float32.
        target: channels of 0 and 1 in the input's shape, or with `to_onehot_y` labels `(batch, 1, *spatial)`.
        kernel_size: see `contour_map`.
        include_background: whether channel 0 counts; a single channel always does.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        ignore_index: label of voxels without error and gradient; to the pooling they are outside the volume,
            so that their border is no contour either. They still count in the number of voxels.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Raises:
        TypeError, ValueError: on an argument of another form.
    """
    check_options(sigmoid, softmax, other_act, reduction)
    _check_contour_options(mode, kernel_size)
    prediction, target, ignore = prepare(
        input,
        target,
        include_background=include_background,
        to_onehot_y=to_onehot_y,
        sigmoid=sigmoid,
        softmax=softmax,
        other_act=other_act,
        ignore_index=ignore_index,
        validate=validate,
    )
    contours = (contour_map(x, kernel_size, ignore=ignore) for x in (prediction, target))
    difference = torch.sub(*contours).flatten(2)
    if mode == "map":
        values = difference.square().mean(2)
    else:
        values = difference.sum(2).square() / max(1, difference.shape[2])
    return reduced(values, reduction, batch, prediction.ndim - 2)


class ContourLoss(LossModule):
    """`functional.contour_loss` as a module; the arguments are those of the function."""

    def __init__(
        self,
        mode: str = "map",
        kernel_size: KernelLike = 3,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        check_options(sigmoid, softmax, other_act, reduction)
        _check_contour_options(mode, kernel_size)
        super().__init__(
            mode=mode,
            kernel_size=kernel_size,
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            reduction=reduction,
            batch=batch,
            ignore_index=ignore_index,
            validate=validate,
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return contour_loss(input, target, **self.options)


def _check_contour_options(mode: str, kernel_size: KernelLike) -> None:
    if mode not in MODES:
        fail("mode", repr(mode), f"one of {', '.join(MODES)}")
    _sizes(kernel_size)


def _sizes(kernel_size: KernelLike) -> tuple[int, ...]:
    found = _check.plain(kernel_size)
    sizes = found if isinstance(found, tuple) else (found,)
    if not all(is_whole(size) and size > 0 and size % 2 for size in sizes):
        fail("kernel_size", kernel_size, "odd positive whole numbers, one for all axes or a tuple")
    return tuple(int(size) for size in sizes)


def _kernel(kernel_size: KernelLike, dims: int) -> tuple[int, ...]:
    kernel = _sizes(kernel_size) * (dims if is_whole(_check.plain(kernel_size)) else 1)
    if len(kernel) != dims:
        fail("kernel_size", kernel_size, f"one number, or {dims} for {dims}-D input")
    return kernel


def _fused(x: Tensor, ignore: Tensor | None, depth: int) -> Tensor:
    def as_items(value: Tensor) -> Tensor:
        return value.reshape(len(x) * x.shape[1], *(1,) * (5 - x.ndim), *x.shape[2:]).contiguous()

    ignore = None if ignore is None else as_items(ignore.expand_as(x))
    contour: Tensor = differentiable_contour_map(as_items(x), ignore, depth, None)[0]
    return contour.view(x.shape)


def _max_pool(x: Tensor, kernel: tuple[int, ...], ignore: Tensor | None) -> Tensor:
    if ignore is not None:
        x = x.masked_fill(ignore, -torch.inf)  # what PyTorch pads with: it never wins
    padding = tuple(size // 2 for size in kernel)
    pooled: Tensor = _MAX_POOL[len(kernel)](x, kernel, stride=1, padding=padding)
    return pooled
