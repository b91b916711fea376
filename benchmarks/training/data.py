"""Cases by part, and the patches of a training step."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.training.folders import LAYOUTS, cases_in
from benchmarks.training.tasks import Task
from surfloss._check import fail
from surfloss.phantom import make_case

SIZE = (16, 128, 128)  # of a phantom
WINDOW_HU = 100.0  # the paper clips to [0, 100] HU
BRAIN = Path(__file__).parents[2] / "tests" / "data"

# Seed, and case numbers per part. The second study uses other phantoms than the first, whose test part has
# been looked at.
PHANTOMS = {
    "phantom": (11, {"train": range(1, 33), "validation": range(33, 49), "test": range(49, 73)}),
    "hemorrhage": (12, {"train": range(1, 25), "validation": range(33, 73), "test": range(101, 201)}),
}
# Fractions of the names. The part of a name does not depend on the other names in the folder.
TRAINING, VALIDATION = 0.12, 0.28


@dataclass(frozen=True)
class TrainingCase:
    """Image and label, `(*spatial)`, and the spacing in mm."""

    name: str
    image: Tensor
    label: Tensor
    spacing: tuple[float, ...]


def part_of(name: str) -> str:
    """Return "train", "validation" or "test", by a hash of the name."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return "train" if place < TRAINING else "validation" if place < TRAINING + VALIDATION else "test"


@cache
def load(data: str, part: str, folder: Path | None = None) -> list[TrainingCase]:
    """Load the cases of a part: "train", "validation" or "test". They are the same for every run.

    Args:
        data: "phantom" (first study), "hemorrhage" (phantoms of the second study), "brain", or a name in
            `LAYOUTS`.
        folder: the user's folder with the data sets of `LAYOUTS`.

    Raises:
        ValueError: if the folder is missing or has faults; see `folders.cases_in`.
    """
    if data in PHANTOMS:
        seed, parts = PHANTOMS[data]
        return [_phantom(seed, number) for number in parts[part]]
    if data == "brain":
        return _brain(part)
    if folder is None:
        fail("--data", "none", f"the folder of {data}: {LAYOUTS[data].source}")
    cases = [files for files in cases_in(folder, data) if part_of(files.name) == part]
    if not cases:
        fail("--data", f"no case of the {part} part of {data} in {folder}", "the whole data set")
    read = LAYOUTS[data].read
    return [_case(f.name, *read(f.image), read(f.label)[0], LAYOUTS[data].labels) for f in cases]


def _case(
    name: str, image: np.ndarray, spacing: tuple[float, ...], label: np.ndarray, labels: int | None
) -> TrainingCase:
    """Build a case with a z-scored image, and instances merged into one foreground."""
    values = image.astype(np.float32)
    values = (values - values.mean()) / max(float(values.std()), 1e-6)
    classes = label if labels else label > 0
    return TrainingCase(
        name, torch.from_numpy(values), torch.from_numpy(classes.astype(np.uint8)), tuple(spacing)
    )


def _phantom(seed: int, number: int) -> TrainingCase:
    phantom = make_case(SIZE, seed=seed, case=number)
    image = np.clip(phantom.image, 0, WINDOW_HU).astype(np.float32) / WINDOW_HU
    return TrainingCase(
        f"{seed}-{number}", torch.from_numpy(image), torch.from_numpy(phantom.label), phantom.spacing
    )


def _brain(part: str) -> list[TrainingCase]:
    """Two parts of one real MRI: the larger lesion for training, the smaller one for validation."""
    image, label = (nibabel.load(BRAIN / f"brain1_{name}.nii.gz") for name in ("image", "label"))
    half = {"train": slice(0, 120), "validation": slice(120, 256)}[part]  # the split does not cut a lesion
    values = np.asarray(image.dataobj, np.float32).T[:24, half] / 1000  # an even number of slices
    lesion = np.asarray(label.dataobj, np.uint8).T[:24, half]
    x, y, z = (float(step) for step in label.header.get_zooms())
    return [TrainingCase(part, torch.from_numpy(values.copy()), torch.from_numpy(lesion.copy()), (z, y, x))]


def batches(
    cases: Sequence[TrainingCase],
    task: Task,
    count: int,
    seed: int,
    *,
    patch: tuple[int, ...] | None = None,
    foreground_share: float | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `count` batches of image and label patches, `(batch, 1, *patch)`, randomly mirrored.

    Args:
        seed: the same seed gives every loss the same patches.
        patch: the patch size; default: the task's.
        foreground_share: fraction of the patches of a batch that are centered on a foreground voxel; default:
            the task's. The others lie anywhere, mostly without foreground. nnU-Net's value is a third.
    """
    patch = patch or task.patch
    share = task.foreground_share if foreground_share is None else foreground_share
    cases = [_padded(case, patch) for case in cases]
    foreground = [case.label.nonzero() for case in cases]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images, labels = [], []
        for item in range(task.batch):
            number = int(rng.integers(len(cases)))
            image, label, inside = cases[number].image, cases[number].label, foreground[number]
            sizes = list(zip(label.shape, patch, strict=True))
            corner = [int(rng.integers(0, n - p + 1)) for n, p in sizes]
            if item < round(share * task.batch) and len(inside):
                centre = inside[rng.integers(len(inside))].tolist()
                corner = [min(max(c - p // 2, 0), n - p) for c, (n, p) in zip(centre, sizes, strict=True)]
            window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
            axes = [axis for axis in task.mirrored if rng.random() < 0.5]
            image, label = image[window].flip(axes), label[window].flip(axes)
            if task.contrast:
                scale, shift = rng.uniform(-task.contrast, task.contrast, 2)
                image = image * (1 + scale) + shift
            images.append(image.float())
            labels.append(label)
        yield torch.stack(images)[:, None], torch.stack(labels)[:, None]


def _padded(case: TrainingCase, patch: Sequence[int]) -> TrainingCase:
    """Pad a case with background on both sides to at least the patch size."""
    sides: list[int] = []
    for size, least in zip(reversed(case.label.shape), reversed(patch), strict=True):
        lacking = max(least - size, 0)
        sides += [lacking // 2, lacking - lacking // 2]
    edge = float(case.image.min())
    return replace(case, image=F.pad(case.image, sides, value=edge), label=F.pad(case.label, sides))
