"""What is trained on: a data set, with the network and the training that fit it."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.training.network import THICK_SLICES, Shape, plain


@dataclass(frozen=True)
class Task:
    """A data set and its training; terms and weights are the `Configuration`'s.

    Attributes:
        data: its name for `data.load`.
        network: its shape.
        patch: the size of what a step sees.
        iterations: of a training.
        batch: patches of a step.
        learning_rate: the first one.
        foreground_share: see `data.batches`.
        tolerance: of the surface Dice, in mm, or pixels where the data have no mm.
        mirrored: the spatial axes along which patches are randomly mirrored.
        window: of the patches from which a case is segmented, if other than `patch`.
        averaged: what the running mean of the weights keeps at each step; 0 for the last weights. It is the
            mean that is validated and tested.
        contrast: images are randomly scaled and shifted by up to so much of their standard deviation.
        looks: at the validation part, evenly over a training.
        empty: what an empty prediction is worth, `surfloss.metrics.evaluate`'s rule.
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
    """1.7 mm is a voxel in plane, as INSTANCE2022's 0.42 mm is."""
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
        (256, 256),  # whole images: of a patch without nuclei, normalization makes a picture of noise
        iterations=600,
        batch=1,
        learning_rate=2e-2,
        foreground_share=0.0,
        tolerance=1.0,
        mirrored=(0, 1),
    ),
}
