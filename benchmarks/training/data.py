"""Volumes in parts, and the patches that a training step sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from surfloss.phantom import make_case

SIZE = (16, 128, 128)  # of a phantom
PARTS = {"train": range(1, 33), "validation": range(33, 49), "test": range(49, 73)}
WINDOW_HU = 100.0  # the paper clips to [0, 100] HU
BRAIN = Path(__file__).parents[2] / "tests" / "data"


@dataclass(frozen=True)
class Volume:
    """One case: image in [0, 1] and label, `(z, y, x)`, and the voxel's size in mm."""

    image: Tensor
    label: Tensor
    spacing: tuple[float, float, float]


@cache
def load(volumes: str, part: str) -> list[Volume]:
    """The "phantom" or "brain" volumes of "train", "validation" or "test"; the same for every run."""
    return _phantoms(part) if volumes == "phantom" else _brain(part)


def _phantoms(part: str, seed: int = 11) -> list[Volume]:
    volumes = []
    for number in PARTS[part]:
        phantom = make_case(SIZE, seed=seed, case=number)
        image = np.clip(phantom.image, 0, WINDOW_HU).astype(np.float32) / WINDOW_HU
        volumes.append(Volume(torch.from_numpy(image), torch.from_numpy(phantom.label), phantom.spacing))
    return volumes


def _brain(part: str) -> list[Volume]:
    """Two sub-volumes of one real MRI: its larger lesion to train on, the smaller one to validate."""
    image, label = (nibabel.load(BRAIN / f"brain1_{name}.nii.gz") for name in ("image", "label"))
    half = {"train": slice(0, 120), "validation": slice(120, 256)}[part]  # neither cuts a lesion
    values = np.asarray(image.dataobj, np.float32).T[:24, half] / 1000  # an even number of slices
    lesion = np.asarray(label.dataobj, np.uint8).T[:24, half]
    x, y, z = (float(step) for step in label.header.get_zooms())
    return [Volume(torch.from_numpy(values.copy()), torch.from_numpy(lesion.copy()), (z, y, x))]


def batches(
    volumes: list[Volume],
    count: int,
    size: int,
    patch: tuple[int, int, int],
    share_with_lesion: float,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` batches of image and label patches, `(size, 1, *patch)`, randomly mirrored.

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
            sizes = list(zip(volume.label.shape, patch, strict=True))
            corner = [int(rng.integers(0, n - p + 1)) for n, p in sizes]
            foreground = volume.label.nonzero()
            if item < round(share_with_lesion * size) and len(foreground):
                centre = foreground[rng.integers(len(foreground))].tolist()
                corner = [min(max(c - p // 2, 0), n - p) for c, (n, p) in zip(centre, sizes, strict=True)]
            window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
            axes = [axis for axis in (1, 2) if rng.random() < 0.5]
            images.append(volume.image[window].flip(axes))
            labels.append(volume.label[window].flip(axes))
        yield torch.stack(images)[:, None], torch.stack(labels)[:, None]
