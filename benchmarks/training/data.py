"""Phantom volumes in three parts, and the patches that a training step sees."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from surfloss.phantom import make_case

SIZE = (16, 128, 128)
PATCH = (16, 64, 64)
PARTS = {"train": range(1, 33), "validation": range(33, 49), "test": range(49, 73)}
WINDOW_HU = 100.0  # the paper clips to [0, 100] HU


@dataclass(frozen=True)
class Volume:
    """One case: image in [0, 1] and label, `(z, y, x)`, and the voxel's size in mm."""

    image: Tensor
    label: Tensor
    spacing: tuple[float, float, float]


def load(part: str, seed: int = 11) -> list[Volume]:
    """The volumes of "train", "validation" or "test"; the same for every run of the study."""
    volumes = []
    for number in PARTS[part]:
        phantom = make_case(SIZE, seed=seed, case=number)
        image = np.clip(phantom.image, 0, WINDOW_HU).astype(np.float32) / WINDOW_HU
        volumes.append(Volume(torch.from_numpy(image), torch.from_numpy(phantom.label), phantom.spacing))
    return volumes


def batches(
    volumes: list[Volume], count: int, size: int, share_with_lesion: float, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` batches of image and label patches, `(size, 1, z, y, x)`, randomly mirrored.

    Args:
        share_with_lesion: of the patches of a batch, how many are centred on a foreground voxel; the others
            lie anywhere, and mostly hold none. nnU-Net's is a third.
        seed: the same seed gives every loss the same patches.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images, labels = [], []
        for item in range(size):
            volume = volumes[rng.integers(len(volumes))]
            corner = [int(rng.integers(0, n - p + 1)) for n, p in zip(SIZE, PATCH, strict=True)]
            foreground = volume.label.nonzero()
            if item < round(share_with_lesion * size) and len(foreground):
                centre = foreground[rng.integers(len(foreground))].tolist()
                corner = [min(max(c - p // 2, 0), n - p) for c, n, p in zip(centre, SIZE, PATCH, strict=True)]
            window = tuple(slice(c, c + p) for c, p in zip(corner, PATCH, strict=True))
            axes = [axis for axis in (1, 2) if rng.random() < 0.5]
            images.append(volume.image[window].flip(axes))
            labels.append(volume.label[window].flip(axes))
        yield torch.stack(images)[:, None], torch.stack(labels)[:, None]
