"""INSTANCE2022's folder layout into nnU-Net's raw data set."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import nibabel
import numpy as np

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss._volumes import NIFTI, Unavailable, Volume, read_volume, volumes, whole_numbers

HU_WINDOW = (0.0, 100.0)  # the paper clips to it instead of nnU-Net's z-scoring
_ENDING = ".nii.gz"
VALIDATION = "validation_"  # before the names of a validation part, whose numbers begin anew

OBTAIN = (
    "INSTANCE2022's folder, with train_2/data/001.nii.gz, train_2/label/001.nii.gz and so on. To obtain it, "
    "register at https://instance.grand-challenge.org, send the signed agreement to the organizers, and "
    "unpack what they offer"
)


@dataclass(frozen=True)
class SourceCase:
    """An image, its label, and the name that both files share."""

    name: str
    image: Path
    label: Path


def split_cases(
    folder: Path, validation_cases: int, leave_out: Collection[str] = ()
) -> tuple[list[SourceCase], list[SourceCase]]:
    """Training and validation cases of a folder, each sorted by name.

    Training cases lie in `data/` and `label/`, an image and its label under one name (`.nii.gz` or `.nii`),
    in the folder itself or in its only part named `train...`. Its part named `val...` or `eval...`, laid out
    the same way, is the validation set; without one the last `validation_cases` by name are held out.

    Args:
        folder: the data set's.
        validation_cases: how many to hold out.
        leave_out: names of cases that shall not count, whatever is wrong with them.

    Raises:
        ValueError: if there is no such folder or no case to leave out, or it is not laid out so; or naming
            every case that lacks its image or label, has two of them or an empty file, and then every other
            bad case too.
    """
    if not folder.is_dir():
        fail("data", f"{folder}, which is no folder", OBTAIN)
    parts = {path for path in folder.iterdir() if path.is_dir()}
    training_part = folder
    if not parts & {folder / "data", folder / "label"}:
        training_part = _only(folder, parts, ("train",)) or fail(
            "data", f"{folder} without data/ and label/, or a part train.../ with them", OBTAIN
        )
    training, faults = _pair(training_part)
    validation: list[SourceCase] = []
    validation_part = _only(folder, parts, ("val", "eval"))
    if validation_part:
        if not (validation_part / "label").is_dir():
            wanted = f"its labels, or no such part: then the last {validation_cases} cases are held out"
            fail("data", f"{validation_part} without label/", wanted)
        validation, more = _pair(validation_part, prefix=VALIDATION)
        names = {case.name for case in training}
        faults += more + [(case.name, "in both parts") for case in validation if case.name in names]
    known = {case.name for case in training + validation} | {name for name, _ in faults}
    if unknown := sorted(set(leave_out) - known):
        fail("leave_out", ", ".join(unknown), f"names of cases of {folder}, as 001 or {VALIDATION}001")
    training = [case for case in training if case.name not in leave_out]
    validation = [case for case in validation if case.name not in leave_out]
    told = [f"{name}: {fault}" for name, fault in faults if name not in leave_out]
    if not validation_part and not told:
        if len(training) <= validation_cases:
            got = f"{len(training)} cases in {training_part}"
            fail("data", got, f"more than the {validation_cases} to hold out. For the paper's, {OBTAIN}")
        training, validation = training[:-validation_cases], training[-validation_cases:]
    if told:
        _refuse(told + _faults(training + validation))
    return training, validation


def _only(folder: Path, parts: set[Path], beginnings: tuple[str, ...]) -> Path | None:
    """The part whose name begins so, or None."""
    found = sorted(part for part in parts if part.name.lower().startswith(beginnings))
    if len(found) > 1:
        names = " and ".join(part.name for part in found)
        fail("data", f"{folder} with both {names}", f"one part whose name begins with {beginnings[0]}")
    return found[0] if found else None


def _pair(part: Path, prefix: str = "") -> tuple[list[SourceCase], list[tuple[str, str]]]:
    """The whole cases of a folder with `data/` and `label/`, and the names and faults of the others."""
    kinds = ("data", "label")
    faults = []
    files: dict[str, dict[str, Path]] = {kind: {} for kind in kinds}
    for kind in kinds:
        if not (part / kind).is_dir():
            wanted = f"data/ and label/ with files of the same names. {OBTAIN}"
            fail("data", f"{part} without {kind}/", wanted)
        known: dict[str, Path] = {}  # some file systems hold names apart only by more than their case
        for name, path in volumes(part / kind, NIFTI):
            other = known.setdefault(name.casefold(), path)
            if other is not path:
                faults.append((prefix + name, f"twice in {kind}/, as {other.name} and {path.name}"))
            elif path.exists() and not path.stat().st_size:
                faults.append((prefix + name, f"{path} is an empty file"))
            files[kind][prefix + name] = path
    images, labels = files.values()
    if not images and not labels:
        fail("data", f"{part} without any {_ENDING} file", f"NIfTI images and labels. {OBTAIN}")
    faults += [(name, "no label") for name in images.keys() - labels.keys()]
    faults += [(name, "no image") for name in labels.keys() - images.keys()]
    bad = {name for name, _ in faults}
    whole = sorted((images.keys() & labels.keys()) - bad)
    return [SourceCase(name, images[name], labels[name]) for name in whole], faults


def convert(
    training: list[SourceCase],
    validation: list[SourceCase],
    dataset: Path,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write nnU-Net's raw data set: images clipped to [0, 100] HU, labels as uint8, and `dataset.json`.

    Every case is checked before the first is written. A label may be of any type of real numbers as long as
    its values, scaled as the header says, are 0 and 1 up to rounding. The written headers are in mm. Files
    appear under their names only when whole, and those already there are kept, so that an interrupted
    conversion goes on.

    Args:
        training, validation: the cases for `imagesTr`/`labelsTr` and `imagesTs`/`labelsTs`.
        dataset: the folder `DatasetXXX_Name`; new, or one in which the conversion of these cases was begun.
        advance: called after each case.

    Raises:
        ValueError: naming every case that is unreadable, whose image and label disagree or look swapped, or
            whose image is another case's too; or if `dataset` has other cases in a part.
    """
    for part, cases in (("Tr", training), ("Ts", validation)):
        files = {f"_0000{_ENDING}": f"images{part}", _ENDING: f"labels{part}"}
        there = {
            path.name.removesuffix(ending)
            for ending, folder in files.items()
            for path in dataset.glob(f"{folder}/*")
        }
        if others := sorted(there - {case.name for case in cases}):
            got = f"{dataset} with {', '.join(others)} in images{part} or labels{part}"
            fail("dataset", got, "a new folder, or one in which the same cases were begun")
    if faults := _faults(training + validation):
        _refuse(faults)
    for part, cases in (("Tr", training), ("Ts", validation)):
        for case in cases:
            image = dataset / f"images{part}" / f"{case.name}_0000{_ENDING}"
            label = dataset / f"labels{part}" / f"{case.name}{_ENDING}"
            if not image.exists():
                source = read_volume(case.image)
                _write(np.clip(source.voxels.astype(np.float32), *HU_WINDOW), source, image)
            if not label.exists():
                source = read_volume(case.label)
                _write(whole_numbers(source).astype(np.uint8), source, label)
            advance()
    description = {
        # nnU-Net picks the normalization by the channel's name.
        "channel_names": {"0": "rescale_to_0_1"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": len(training),
        "file_ending": _ENDING,
    }
    write_text(dataset / "dataset.json", json.dumps(description, indent=2))


def _refuse(faults: list[str]) -> NoReturn:
    fail("data", f"bad cases: {'; '.join(sorted(faults))}", "readable 3-D images with labels on their grid")


def _faults(cases: list[SourceCase]) -> list[str]:
    """What is wrong with the cases' voxels and headers: a line for each bad case."""
    faults = []
    seen: dict[bytes, str] = {}
    for case in cases:
        try:
            image, label = read_volume(case.image), read_volume(case.label)
        except (ValueError, Unavailable) as error:
            faults.append(f"{case.name}: {error}")
            continue
        if fault := _fault(image, label):
            faults.append(f"{case.name}: {fault}")
        # A patient in two folds would be trained on and then predicted.
        digest = hashlib.blake2b(image.voxels.tobytes()).digest()
        if (first := seen.setdefault(digest, case.name)) != case.name:
            faults.append(f"{case.name}: the same image as that of {first}")
    return faults


def _fault(image: Volume, label: Volume) -> str | None:
    values, labels = image.voxels, whole_numbers(label)
    if values.ndim != 3:
        return f"the image has {values.ndim} axes, not 3"
    if values.shape != labels.shape:
        return f"the image has shape {values.shape}, the label {labels.shape}"
    if not np.allclose(image.affine, label.affine, atol=1e-3):
        return f"the headers of image and label disagree on {_disagreement(image, label)}"
    if not np.isfinite(values).all():
        return "the image has NaN or infinite values"
    unknown = np.setdiff1d(labels, (0, 1))[:5].tolist()
    if np.isin(whole_numbers(image), (0, 1)).all():
        return "the image has the values of a label only" + ": it is swapped with the label" * bool(unknown)
    return f"the label has values {unknown} other than 0 and 1" if unknown else None


def _disagreement(image: Volume, label: Volume) -> str:
    if not np.allclose(image.zooms, label.zooms, atol=1e-3):
        one, other = (" x ".join(f"{mm:.4g}" for mm in volume.zooms) for volume in (image, label))
        return f"the spacing: {one} and {other} mm"
    if not np.allclose(image.affine[:3, :3], label.affine[:3, :3], atol=1e-3):
        one, other = ("".join(nibabel.aff2axcodes(volume.affine)) for volume in (image, label))
        return f"the direction: {one} and {other}" if one != other else "the direction: one is rotated"
    one, other = (volume.affine[:3, 3].round(3).tolist() for volume in (image, label))
    return f"the origin: {one} and {other} mm"


def _write(array: np.ndarray[Any, Any], volume: Volume, path: Path) -> None:
    image = nibabel.Nifti1Image(array, volume.affine)
    image.header.set_qform(volume.affine, code=1)  # both forms alike: readers differ in which they take
    image.header.set_zooms(volume.zooms)  # what the rounded affine may miss by a digit
    image.header.set_xyzt_units("mm")
    with written_whole(path) as unfinished:
        nibabel.save(image, unfinished)
