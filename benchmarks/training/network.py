"""A narrow U-Net with nnU-Net's habits for thick slices: at first nothing is pooled across them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = (4, 8, 16, 32)
KERNELS = ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))
STRIDES = ((1, 2, 2), (1, 2, 2), (2, 2, 2))


def _block(channels: int, features: int, kernel: tuple[int, int, int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels, features):
        layers += [
            nn.Conv3d(width, features, kernel, padding=tuple(k // 2 for k in kernel), bias=False),
            nn.InstanceNorm3d(features, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """One input channel, logits of two classes."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, *FEATURES)
        self.down = nn.ModuleList(map(_block, channels, FEATURES, KERNELS))
        steps = list(zip(FEATURES[:-1], FEATURES[1:], STRIDES, KERNELS, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose3d(deep, flat, s, s) for flat, deep, s, _ in steps)
        self.merge = nn.ModuleList(_block(2 * flat, flat, kernel) for flat, _, _, kernel in steps)
        self.head = nn.Conv3d(FEATURES[0], 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        skips = []
        for down, stride in zip(self.down, STRIDES, strict=False):
            skips.append(down(image))
            image = F.max_pool3d(skips[-1], stride, stride)
        image = self.down[-1](image)
        for up, merge, skip in zip(reversed(self.up), reversed(self.merge), reversed(skips), strict=True):
            image = merge(torch.cat([skip, up(image)], 1))
        logits: Tensor = self.head(image)
        return logits
