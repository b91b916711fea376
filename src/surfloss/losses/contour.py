"""Contour losses from pooled probabilities.

El Jurdi, Petitjean, Honeine, Cheplygina & Abdallah, "A Surprisingly Effective Perimeter-based Loss for
Medical Image Segmentation", MIDL 2021: the contour of x is what a dilation adds back to an erosion,

    C(x) = relu(maxpool(minpool(x)) - minpool(x)),    minpool(x) = -maxpool(-x).
"""

from typing import Literal, TypeAlias, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, fail, is_whole
from surfloss.losses._distance import spatial
from surfloss.losses._options import Activation, ChannelLoss, InputKeywords, InputOptions, Reduction
from surfloss.losses._prepare import check_choice, check_image
from surfloss.ops.contour import differentiable_contour_map, has_contour_map

KernelLike: TypeAlias = int | NumbersLike
Mode: TypeAlias = Literal["map", "length"]

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
    eroded = -max_pool(-x, kernel, ignore)
    contour = F.relu(max_pool(eroded, kernel, ignore) - eroded)
    return contour if ignore is None else contour.masked_fill(ignore, 0)


def contour_loss(
    input: Tensor,
    target: Tensor,
    *,
    mode: Mode = "map",
    kernel_size: KernelLike = 3,
    **options: Unpack[InputKeywords],
) -> Tensor:
    """`ContourLoss` as a function, with the same arguments.

    Raises:
        TypeError, ValueError: on an argument of another form.
    """
    inputs = InputOptions.of(options)
    check_choice("mode", mode, Mode)
    prediction, target, ignore = inputs.prepare(input, target)
    contours = (contour_map(x, kernel_size, ignore=ignore) for x in (prediction, target))
    difference = torch.sub(*contours)
    axes = spatial(difference)
    if mode == "map":
        return inputs.reduce(difference.square().mean(axes, keepdim=True))
    return inputs.reduce(difference.sum(axes, keepdim=True).square() / difference[0, 0].numel())


class ContourLoss(ChannelLoss):
    """Squared difference of two contours, in voxels.

    `mode="map"` is mean((C(p) - C(g))^2), as Sanner & Mukhopadhyay word it; `mode="length"` is
    (sum C(p) - sum C(g))^2 / voxels, for each item and channel, as el Jurdi's published code computes it. The
    gradient flows to the voxels that the poolings chose. An empty or a full mask has no contour: C is 0.

    Args:
        mode: "map" or "length".
        kernel_size: see `contour_map`.
        include_background, to_onehot_y, sigmoid, softmax, other_act, reduction, batch: see `InputOptions`.
        ignore_index, validate: see `InputOptions`. To the pooling, ignored voxels are outside the volume, so
            that their border is no contour either.
    """

    def __init__(
        self,
        mode: Mode = "map",
        kernel_size: KernelLike = 3,
        include_background: bool = False,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Activation | None = None,
        reduction: Reduction = "mean",
        batch: bool = False,
        *,
        ignore_index: int | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(contour_loss, locals())
        check_choice("mode", mode, Mode)
        _kernel(kernel_size)


def max_pool(x: Tensor, kernel: tuple[int, ...], ignore: Tensor | None) -> Tensor:
    """The greatest value of each voxel's window; ignored voxels are outside the volume."""
    if ignore is not None:
        x = x.masked_fill(ignore, -torch.inf)  # what PyTorch pads with: it never wins
    padding = tuple(size // 2 for size in kernel)
    pooled: Tensor = _MAX_POOL[len(kernel)](x, kernel, stride=1, padding=padding)
    return pooled


def _kernel(kernel_size: KernelLike, dims: int | None = None) -> tuple[int, ...]:
    """The odd size along each of `dims` axes; with None the sizes alone are checked."""
    plain = _check.plain(kernel_size)
    sizes = plain if isinstance(plain, tuple) else (plain,) * (dims or 1)
    if not all(is_whole(size) and size > 0 and size % 2 for size in sizes):
        fail("kernel_size", kernel_size, "odd positive whole numbers, one for all axes or a tuple")
    if dims not in (None, len(sizes)):
        fail("kernel_size", kernel_size, f"one number, or {dims} for {dims}-D input")
    return sizes


def as_items(value: Tensor) -> Tensor:
    """`(items, z, y, x)`, contiguous, an item for each channel of a batch; z is 1 for planes."""
    items = len(value) * value.shape[1]
    return value.reshape(items, *(1,) * (5 - value.ndim), *value.shape[2:]).contiguous()


def _fused(x: Tensor, ignore: Tensor | None, depth: int) -> Tensor:
    skipped = None if ignore is None else as_items(ignore.expand_as(x))
    contour: Tensor = differentiable_contour_map(as_items(x), skipped, depth, None)[0]
    return contour.view(x.shape)
