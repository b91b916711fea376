"""Predictions and targets for the losses, and how far two results are apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from tests.support import volumes

SPATIAL = {2: (9, 11), 3: (5, 6, 7)}


def logits(
    dims: int, channels: int, *, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Random logits whose masks have both labels."""
    generator = torch.Generator().manual_seed(seed)
    values = 2 * torch.randn(batch, channels, *SPATIAL[dims], generator=generator, dtype=torch.float64)
    return values.to(dtype)


def labels(dims: int, channels: int, *, batch: int = 2, seed: int = 1) -> Tensor:
    """Random class numbers `(batch, 1, *spatial)`, int64; two classes for a single channel."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, max(2, channels), (batch, 1, *SPATIAL[dims]), generator=generator)


def in_channels(labels: Tensor, channels: int) -> Tensor:
    """The labels as float channels of 0 and 1; as they are for a single channel."""
    if channels == 1:
        return labels.float()
    return torch.cat([(labels == label).float() for label in range(channels)], 1)


def binary(dims: int, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Probabilities, many of them near 0 and 1, and a target of one channel, float64."""
    input = (4 * logits(dims, 1, batch=batch, dtype=torch.float64)).sigmoid()
    return input, labels(dims, 1, batch=batch).double()


def box(shape: tuple[int, ...], sizes: tuple[int, ...], at: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(1, 1, *shape, dtype=torch.float64)
    mask[(0, 0, *(slice(a, a + n) for a, n in zip(at, sizes, strict=True)))] = 1
    return mask


def real(name: str, *, shift: int = 2, most: int = 64) -> tuple[Tensor, Tensor, tuple[float, float, float]]:
    """A real label, its blurred and shifted copy as a prediction, and its spacing in mm.

    Returns:
        Prediction in [0, 1] (float32) and target (0 and 1, float32), both `(1, 1, z, y, x)`: at most
        `most` voxels of each axis, around the middle of the label.
    """
    volume, spacing = volumes.load(name)
    volume = volumes.crop(volume != 0, margin=6)
    middle = tuple(slice(max(0, (n - most) // 2), max(0, (n - most) // 2) + most) for n in volume.shape)
    target = volume[middle].astype(np.float32)
    prediction = np.roll(ndimage.gaussian_filter(target, [1 / step for step in spacing]), shift, (1, 2))
    as_batch = [torch.from_numpy(array)[None, None].contiguous() for array in (prediction, target)]
    return as_batch[0], as_batch[1], spacing


@dataclass(frozen=True)
class Result:
    value: Tensor
    gradient: Tensor

    def error(self, right: "Result") -> tuple[float, float]:
        """Largest difference of value and gradient, each relative to the largest right one."""
        assert self.value.shape == right.value.shape
        errors = []
        for got, wanted in ((self.value, right.value), (self.gradient, right.gradient)):
            scale = wanted.double().abs().max().clamp_min(torch.finfo(torch.float32).tiny)
            errors.append(float((got.double() - wanted.double()).abs().max() / scale))
        return errors[0], errors[1]


def result(
    loss: Callable[..., Tensor],
    input: Tensor,
    target: Tensor,
    *,
    autocast: torch.dtype | None = None,
    **call: object,
) -> Result:
    """Value, and gradient of a sum that weighs every value of a loss without reduction differently."""
    leaf = input.detach().clone().requires_grad_()
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        value = loss(leaf, target, **call)
    weights = torch.arange(1, value.numel() + 1, dtype=value.dtype).view(value.shape)
    (gradient,) = torch.autograd.grad((value * weights).sum(), leaf)
    return Result(value.detach(), gradient)


def assert_agrees(got: Result, right: Result, limit: float) -> None:
    value, gradient = got.error(right)
    assert value <= limit, f"value: relative difference {value:g}, limit {limit:g}"
    assert gradient <= limit, f"gradient: relative difference {gradient:g}, limit {limit:g}"
