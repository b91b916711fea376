"""Data sets, each with a suitable network and training."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.training.network import THICK_SLICES, Shape, plain


@dataclass(frozen=True)
class Task:
    """A data set and its training. Terms and weights are in `Configuration`.

    Attributes:
        data: name for `data.load`.
        network: shape of the network.
        patch: size of the training patches.
        iterations: number of training steps.
        batch: patches per step.
        learning_rate: initial learning rate.
        foreground_share: see `data.batches`.
        tolerance: tolerance of the surface Dice, in mm, or in pixels if the data have no mm.
        mirrored: spatial axes along which patches are randomly mirrored.
        window: patch size for segmenting a case; default: `patch`.
        averaged: decay of the running mean of the weights, which is validated and tested; 0 uses the last
            weights instead.
        contrast: maximum random relative scaling of images, and shift in standard deviations.
        looks: number of evaluations of the validation part, evenly spaced over a training.
        empty: rule for empty predictions, as in `surfloss.metrics.evaluate`.
    """

    data: str
    network: Shape
    patch: tuple[int, ...]
    iterations: int
    batch: int
    learning_rate: float
    foreground_share: float
    tolerance: float
    mirrored: tuple[int, ...]
    window: tuple[int, ...] | None = None
    averaged: float = 0.99
    contrast: float = 0.2
    looks: int = 1
    empty: Literal["null", "diagonal"] = "diagonal"


def _first_study(data: str) -> Task:
    """Settings of the first study; 1.7 mm is one voxel in plane, as 0.42 mm is in INSTANCE2022."""
    return Task(
        data,
        THICK_SLICES,
        (16, 64, 64),
        iterations=400,
        batch=2,
        learning_rate=5e-2,
        foreground_share=0.5,
        tolerance=1.7,
        mirrored=(1, 2),
        averaged=0,
        contrast=0,
        looks=3,
        empty="null",
    )


TASKS = {
    "phantom": _first_study("phantom"),
    "brain": _first_study("brain"),
    "hemorrhage": Task(
        "hemorrhage",
        THICK_SLICES,
        (16, 64, 64),
        iterations=1000,
        batch=2,
        learning_rate=2e-2,
        foreground_share=0.5,
        tolerance=1.7,
        mirrored=(1, 2),
        contrast=0,
    ),
    "hippocampus": Task(
        "hippocampus",
        plain((8, 16, 32), 3, classes=3),
        (32, 40, 32),
        iterations=600,
        batch=2,
        learning_rate=2e-2,
        foreground_share=0.5,
        tolerance=1.0,
        mirrored=(0, 2),
    ),
    "nuclei": Task(
        "nuclei",
        plain((8, 16, 32, 64), 2),
        (256, 256),  # whole images, since normalization amplifies noise in a patch without nuclei
        iterations=600,
        batch=1,
        learning_rate=2e-2,
        foreground_share=0.0,
        tolerance=1.0,
        mirrored=(0, 1),
    ),
}
