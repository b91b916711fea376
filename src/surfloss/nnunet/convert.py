"""INSTANCE2022's folder layout into nnU-Net's raw data set."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss._nifti import read_volume

HU_WINDOW = (0.0, 100.0)  # the paper clips to it instead of nnU-Net's z-scoring
_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Case:
    """An image, its label, and the name that both files share."""

    name: str
    image: Path
    label: Path


def find_cases(folder: Path, prefix: str = "") -> list[Case]:
    """The cases of a folder with the challenge's `data/` and `label/`, sorted by name.

    Raises:
        ValueError: if a part is missing or empty, or an image has no label or the other way round.
    """
    names = {}
    for part in ("data", "label"):
        if not (folder / part).is_dir():
            fail("data", f"{folder} without {part}/", "data/ and label/ with files of the same names")
        names[part] = {path.name for path in (folder / part).glob(f"*{_ENDING}")}
    if unmatched := sorted(names["data"] ^ names["label"]):
        fail(
            "data", f"{', '.join(unmatched)} in one of data/ and label/ only", "image and label for each case"
        )
    if not names["data"]:
        fail("data", f"{folder} without any {_ENDING} file", "NIfTI images and labels")
    return [
        Case(prefix + name.removesuffix(_ENDING), folder / "data" / name, folder / "label" / name)
        for name in sorted(names["data"])
    ]


def split_cases(folder: Path, validation_cases: int) -> tuple[list[Case], list[Case]]:
    """Training and validation cases of a folder.

    The folder's own `validation/` (laid out the same way) is taken where it has one; otherwise the last
    `validation_cases` by name are held out.
    """
    cases = find_cases(folder)
    if (folder / "validation").is_dir():
        return cases, find_cases(folder / "validation", prefix="validation_")
    if len(cases) <= validation_cases:
        fail("data", f"{len(cases)} cases in {folder}", f"more than the {validation_cases} to hold out")
    return cases[:-validation_cases], cases[-validation_cases:]


def convert(
    training: list[Case],
    validation: list[Case],
    dataset: Path,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write nnU-Net's raw data set: images clipped to [0, 100] HU, labels as uint8, and `dataset.json`.

    Every case is checked before the first is written. Files appear under their names only when whole, and
    those already there are kept, so that an interrupted conversion goes on.

    Args:
        training, validation: the cases for `imagesTr`/`labelsTr` and `imagesTs`/`labelsTs`.
        dataset: the folder `DatasetXXX_Name`.
        advance: called after each case.

    Raises:
        ValueError: naming every case that is unreadable or whose image and label disagree.
    """
    faults = [f"{case.name}: {fault}" for case in training + validation if (fault := _fault(case))]
    if faults:
        fail("data", f"bad cases: {'; '.join(faults)}", "readable 3-D images with labels on their grid")
    for part, cases in (("Tr", training), ("Ts", validation)):
        for case in cases:
            image = dataset / f"images{part}" / f"{case.name}_0000{_ENDING}"
            label = dataset / f"labels{part}" / f"{case.name}{_ENDING}"
            if not image.exists():
                source: Any = nibabel.load(case.image)
                _write(np.clip(source.get_fdata(dtype=np.float32), *HU_WINDOW), source, image)
            if not label.exists():
                source = nibabel.load(case.label)
                _write(np.asarray(source.dataobj).astype(np.uint8), source, label)
            advance()
    description = {
        # nnU-Net picks the normalization by the channel's name.
        "channel_names": {"0": "rescale_to_0_1"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": len(training),
        "file_ending": _ENDING,
    }
    write_text(dataset / "dataset.json", json.dumps(description, indent=2))


def _fault(case: Case) -> str | None:
    """What is wrong with a case, or None."""
    try:
        image, label = read_volume(case.image), read_volume(case.label)
    except ValueError as error:
        return str(error)
    values, labels = image.voxels, label.voxels
    faults = (
        (values.ndim != 3, f"the image has {values.ndim} axes, not 3"),
        (values.shape != labels.shape, f"the image has shape {values.shape}, the label {labels.shape}"),
        (
            not np.allclose(image.affine, label.affine, atol=1e-3),
            "the headers of image and label disagree on spacing, origin or direction",
        ),
        (not np.isfinite(values).all(), "the image has NaN or infinite values"),
        (not np.isin(labels, (0, 1)).all(), f"the label has values {_unknown(labels)} other than 0 and 1"),
    )
    return next((message for wrong, message in faults if wrong), None)


def _unknown(labels: np.ndarray[Any, Any]) -> list[Any]:
    values: list[Any] = np.setdiff1d(labels, (0, 1))[:5].tolist()
    return values


def _write(array: np.ndarray[Any, Any], like: Any, path: Path) -> None:
    header = like.header.copy()
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    with written_whole(path) as unfinished:
        nibabel.save(nibabel.Nifti1Image(array, like.affine, header), unfinished)
