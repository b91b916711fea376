"""A narrow U-Net in two or three dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The shape of a network: features and kernels per resolution, and strides between resolutions."""

    features: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    classes: int = 2

    @property
    def dims(self) -> int:
        return len(self.kernels[0])

    @property
    def multiple(self) -> list[int]:
        """Every axis of an input must be a multiple of these."""
        return [int(product) for product in torch.tensor(self.strides).prod(0)]


def plain(features: Sequence[int], dims: int, classes: int = 2) -> Shape:
    """Build a shape with kernels of 3 and strides of 2 along all axes."""
    count = len(features)
    return Shape(tuple(features), ((3,) * dims,) * count, ((2,) * dims,) * (count - 1), classes)


# As nnU-Net does for thick slices, the first levels do not pool across slices.
THICK_SLICES = Shape(
    (4, 8, 16, 32), ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)), ((1, 2, 2), (1, 2, 2), (2, 2, 2))
)


class UNet(nn.Module):
    """A U-Net with one input channel, which returns logits of the shape's classes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self._convolution, self._norm, upsample, self._pool = (
            getattr(nn, f"{kind}{shape.dims}d")
            for kind in ("Conv", "InstanceNorm", "ConvTranspose", "MaxPool")
        )
        features, kernels, strides = shape.features, shape.kernels, shape.strides
        self.down = nn.ModuleList(map(self._block, (1, *features), features, kernels))
        steps = list(zip(features[:-1], features[1:], strides, kernels, strict=False))
        self.up = nn.ModuleList(upsample(deep, flat, s, s) for flat, deep, s, _ in steps)
        self.merge = nn.ModuleList(self._block(2 * flat, flat, kernel) for flat, _, _, kernel in steps)
        self.head = self._convolution(features[0], shape.classes, 1)

    def _block(self, channels: int, features: int, kernel: tuple[int, ...]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in (channels, features):
            layers += [
                self._convolution(width, features, kernel, padding=tuple(k // 2 for k in kernel), bias=False),
                self._norm(features, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            ]
        return nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        skips = []
        for down, stride in zip(self.down, self.shape.strides, strict=False):
            skips.append(down(image))
            image = self._pool(stride, stride)(skips[-1])
        image = self.down[-1](image)
        for up, merge, skip in zip(reversed(self.up), reversed(self.merge), reversed(skips), strict=True):
            image = merge(torch.cat([skip, up(image)], 1))
        logits: Tensor = self.head(image)
        return logits
