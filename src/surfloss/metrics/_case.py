"""One case of a folder: its files read, held against each other, and measured label by label."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes import Unavailable, read_volume, whole_numbers
from surfloss.metrics import _masks
from surfloss.metrics._labels import BINARY, LabelSet, labels_in
from surfloss.metrics._masks import FloatArray
from surfloss.metrics.evaluate import Settings, measure
from surfloss.metrics.lesions import Component, Lesion
from surfloss.metrics.results import CaseComponent, CaseResult, Problem

_UNAVAILABLE = "unavailable"  # the kind of a problem that is no fact about the files, and that no cache keeps


class Image(NamedTuple):
    """A label image and where it lies, in the library's order of axes."""

    voxels: npt.NDArray[Any]  # (z, y, x), or (y, x)
    affine: FloatArray  # (4, 4), from (x, y, z) in voxels to mm: right, anterior, superior
    spacing: tuple[float, ...]  # in mm, in the order of the array's axes
    is_placed: bool = True  # whether the file says where the image lies


def read_image(path: Path) -> Image:
    """Read a 2-D or 3-D image of labels.

    Raises:
        ValueError, Unavailable: as `read_volume`.
    """
    volume = read_volume(path)
    if volume.voxels.ndim not in (2, 3):
        fail(str(path), f"shape {volume.voxels.shape}", "a 2-D or 3-D mask")
    return Image(whole_numbers(volume).T, volume.affine, volume.zooms[::-1], volume.is_placed)


@dataclass(frozen=True)
class CaseFiles:
    """One target with its prediction, and how to evaluate it; without `labels` they are masks of 0 and 1."""

    name: str
    target: Path
    prediction: Path | None
    labels: LabelSet | None
    settings: Settings


@dataclass(frozen=True)
class MeasuredCase:
    """What a case has to say, in `rows` one for each label."""

    rows: tuple[CaseResult, ...]
    lesions: tuple[CaseComponent[Lesion], ...] = ()
    false_positives: tuple[CaseComponent[Component], ...] = ()
    target_labels: tuple[int, ...] | None = None  # None where they could not be read
    prediction_labels: tuple[int, ...] | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether the same files would always give the same result."""
        return not any(row.problem and row.problem.kind == _UNAVAILABLE for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": [row.to_dict() for row in self.rows],
            "lesions": [found.to_dict() for found in self.lesions],
            "false_positives": [found.to_dict() for found in self.false_positives],
            "target_labels": self.target_labels,
            "prediction_labels": self.prediction_labels,
        }

    @classmethod
    def from_dict(cls, case: Mapping[str, Any]) -> Self:
        return cls(
            tuple(map(CaseResult.from_dict, case["rows"])),
            tuple(map(CaseComponent.from_dict, case["lesions"])),
            tuple(map(CaseComponent.from_dict, case["false_positives"])),
            *(
                None if case[side] is None else tuple(case[side])
                for side in ("target_labels", "prediction_labels")
            ),
        )


class CaseContents(NamedTuple):
    """What is in the files of a case, the labels as in `MeasuredCase`."""

    images: tuple[Image, Image] | None  # prediction and target, if they can be measured
    problem: Problem | None
    target_labels: tuple[int, ...] | None
    prediction_labels: tuple[int, ...] | None


def read_case(case: CaseFiles) -> CaseContents:
    """Read target and prediction; an empty prediction if there is none and an empty mask has values."""
    binary, images, kind = case.labels is None, None, "unreadable"
    problem, target_labels, prediction_labels = None, None, None
    try:
        target = read_image(case.target)
        kind = "labels"
        target_labels = labels_in(case.target, target.voxels, binary=binary)
        if case.prediction is None:
            wanted = "wanted a file of the same name among the predictions"
            problem = Problem("missing", f"{case.target}: got no prediction, {wanted}")
            if case.settings.empty != "null":
                images = target._replace(voxels=np.zeros(target.voxels.shape, np.uint8)), target
        else:
            kind = "unreadable"
            prediction = read_image(case.prediction)
            kind = "misaligned"
            same_grid(case.prediction, prediction, target)
            kind = "labels"
            prediction_labels = labels_in(case.prediction, prediction.voxels, binary=binary)
            images = prediction, target
    except (Unavailable, MemoryError) as error:
        problem = Problem(_UNAVAILABLE, str(error))
    except ValueError as error:
        problem = Problem(kind, str(error))
    return CaseContents(images, problem, target_labels, prediction_labels)


def measure_case(case: CaseFiles) -> MeasuredCase:
    """Every label's values, and what is wrong with the case."""
    images, problem, *numbers_found = read_case(case)
    settings = case.settings
    if case.prediction is None:  # an empty mask is right by chance where the target is empty
        settings = replace(settings, both_empty="null")
    labels = case.labels or BINARY
    rows: list[CaseResult] = []
    lesions: list[CaseComponent[Lesion]] = []
    false_positives: list[CaseComponent[Component]] = []
    for label, numbers in labels.regions:
        row = _undefined(case, label, problem)
        if images is not None:
            prediction, target = images
            try:
                masks = _masks.pair(*labels.masks(numbers, prediction.voxels, target.voxels))
                steps = _masks.steps(target.spacing, target.voxels.ndim)
                values, report = measure(*masks, steps, settings, target.voxels.shape)
            except ValueError as error:  # as of a spacing whose squares leave float32's range
                row = replace(row, problem=Problem("unmeasurable", f"{case.target}: {error}"))
            except MemoryError as error:
                message = f"{case.target}: got too little memory ({error})"
                row = replace(row, problem=Problem(_UNAVAILABLE, message))
            else:
                row = replace(row, values=values)
                if settings.per_lesion:
                    lesions += [CaseComponent(case.name, label, one) for one in report.lesions]
                    false_positives += [
                        CaseComponent(case.name, label, one) for one in report.false_positives
                    ]
        rows.append(row)
    return MeasuredCase(tuple(rows), tuple(lesions), tuple(false_positives), *numbers_found)


def lost_case(case: CaseFiles) -> MeasuredCase:
    """The result of a case that ended its process."""
    message = f"{case.target}: got a process that was ended while it measured, wanted enough memory for it"
    problem = Problem(_UNAVAILABLE, message)
    return MeasuredCase(
        tuple(_undefined(case, label, problem) for label, _ in (case.labels or BINARY).regions)
    )


def _undefined(case: CaseFiles, label: str, problem: Problem | None) -> CaseResult:
    return CaseResult(case.name, label, dict.fromkeys(case.settings.names), problem)


def same_grid(path: Path, image: Image, target: Image) -> None:
    """Require the target's shape, and no corner of the grid further off than a hundredth of a voxel.

    Of an image whose file does not say where it lies, only the voxel size can be compared.
    """
    shape, wanted = (one.voxels.shape[::-1] for one in (image, target))
    if shape != wanted:
        fail(str(path), f"shape {shape}", f"the target's shape {wanted}")
    if not (image.is_placed and target.is_placed):
        if not np.allclose(image.spacing, target.spacing, rtol=0.01, atol=0):
            fail(
                str(path), f"a voxel size of {image.spacing[::-1]} mm", f"the target's {target.spacing[::-1]}"
            )
        return
    corners = np.array(list(product(*((0, size - 1) for size in (*shape, 1)[:3]))))
    change = image.affine - target.affine
    distance = np.linalg.norm(corners @ change[:3, :3].T + change[:3, 3], axis=1).max()
    if not distance <= 0.01 * np.linalg.norm(target.affine[:3, :3], axis=0).min():
        fail(str(path), f"an affine that moves voxels by {distance:.4g} mm", "the target's affine")
