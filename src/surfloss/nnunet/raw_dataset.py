"""Data sets with a `dataset.json`: nnU-Net's raw layout and that of the Medical Segmentation Decathlon."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from surfloss._check import fail, is_whole
from surfloss._volumes import Unavailable
from surfloss.metrics._labels import IGNORE, by_name
from surfloss.nnunet.convert import read_case
from surfloss.nnunet.source import Fault, Source, SourceCase, check_left_out, named_twice, pair, refuse

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_WANTED = (
    "dataset.json of nnU-Net (channel_names, labels, file_ending) or of the Decathlon (modality, labels)"
)


def has_test_part(folder: Path) -> bool:
    """Whether a data set has test cases with labels."""
    return (folder / "labelsTs").is_dir()


def is_planar(folder: Path, leave_out: Collection[str] = ()) -> bool:
    """Whether the images of a data set are planes: its first one is.

    Raises:
        ValueError: as `read_raw_dataset`, or if its first case cannot be read.
    """
    first = read_raw_dataset(folder, leave_out).training[0]
    try:
        return read_case(first)[1].voxels.ndim == 2
    except Unavailable as error:
        fail("data", str(error), "a file that can be read")


def read_raw_dataset(folder: Path, leave_out: Collection[str] = ()) -> Source:
    """The cases of a data set with a `dataset.json`.

    nnU-Net's: `imagesTr/NAME_0000.nii.gz` and so on, a file for each channel (or one with all, as in PNG),
    and `labelsTr/NAME.nii.gz`; `imagesTs` is a test part if there is `labelsTs`. The Decathlon's: the list
    `training` of its description. Hidden files count for nothing.

    Args:
        folder: the data set's.
        leave_out: names of cases that shall not count, whatever is wrong with them.

    Raises:
        ValueError: if there is no such folder, or no case to leave out, or its description is another; or
            naming at once everything in which the description disagrees with the files.
    """
    if not folder.is_dir():
        fail("data", f"{folder}, which is no folder", "a data set's folder with a dataset.json")
    description = _read_description(folder / "dataset.json")
    of_decathlon = "channel_names" not in description
    labels = by_name(description["labels"])
    faults = _label_faults(labels, description.get("regions_class_order"))
    read_training = _decathlon_cases if of_decathlon else _raw_cases
    training, test, more, passed_over = read_training(folder, description)
    faults += more
    names = {case.name for case in training}
    faults += [(case.name, "in both parts") for case in test if case.name in names]
    known = names | {case.name for case in test} | {name for name, _ in faults}
    check_left_out(leave_out, known, folder, ", ".join(sorted(names)[:2]) or "001")
    if told := [(name, fault) for name, fault in faults if name not in leave_out]:
        refuse(told)
    return Source(
        training,
        test,
        description["modality" if of_decathlon else "channel_names"],
        labels,
        description.get("regions_class_order"),
        passed_over=passed_over,
    ).without(leave_out)


def _read_description(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte order mark in front.
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        fail("data", f"{path}, which cannot be read ({error.strerror})", f"a {_WANTED}")
    except ValueError as error:
        fail("data", f"{path}, which is no JSON ({error})", f"a {_WANTED}")
    if not isinstance(description, dict):
        fail("data", f"{path} with a {type(description).__name__}", f"a {_WANTED}")
    wanted: dict[str, type] = {"labels": dict}
    if "channel_names" in description:
        wanted |= {"channel_names": dict, "file_ending": str}
    else:
        wanted |= {"modality": dict, "training": list}
    if wrong := [name for name, type_ in wanted.items() if not isinstance(description.get(name), type_)]:
        fail("data", f"{path} without {' and '.join(wrong)}", f"a {_WANTED}")
    channels = description["channel_names" if "channel_names" in description else "modality"]
    if sorted(channels) != sorted(map(str, range(len(channels)))) or not channels:
        fail(
            "data", f"{path} with the channels {', '.join(channels) or 'none'}", 'channels "0", "1" and so on'
        )
    return description


def _label_faults(labels: Mapping[str, Any], order: Any) -> list[Fault]:
    """What nnU-Net would stumble over only later."""
    parts = {name: part if isinstance(part, list) else [part] for name, part in labels.items()}
    wrong = [name for name, part in parts.items() if not part or not all(map(is_whole, part))]
    if wrong:
        return [
            ("dataset.json", f"the label {name!r} is {labels[name]!r}, no whole number") for name in wrong
        ]
    faults = []
    numbers = sorted({0}.union(*parts.values()))
    if parts.get("background") != [0]:
        faults.append("labels without background as 0")
    if numbers != list(range(len(numbers))):
        faults.append(f"the labels {numbers}, which leave numbers out or are below 0")
    if IGNORE in parts and parts[IGNORE] != numbers[-1:]:
        faults.append(f"the label {IGNORE!r} is {labels[IGNORE]!r}, not the highest")
    regions = [name for name in labels if name not in ("background", IGNORE)]
    if not regions:
        faults.append("no label but the background")
    if any(isinstance(part, list) for part in labels.values()) and (
        not isinstance(order, list) or len(order) != len(regions)
    ):
        faults.append(f"regions, and no regions_class_order of {len(regions)} numbers")
    return [("dataset.json", fault) for fault in faults]


_Found = tuple[list[SourceCase], list[SourceCase], list[Fault], tuple[str, ...]]
"""Training and test cases, the faults of others, and what was passed over."""


def _raw_cases(folder: Path, description: Mapping[str, Any]) -> _Found:
    ending = description["file_ending"]
    channels = len(description["channel_names"])
    training, faults = _raw_part(folder, "Tr", ending, channels)
    test, more = _raw_part(folder, "Ts", ending, channels) if has_test_part(folder) else ([], [])
    count = description.get("numTraining")
    found = len(training) + len({name for name, _ in faults})
    if is_whole(count) and count != found:
        faults.append(("dataset.json", f"numTraining is {count}, imagesTr and labelsTr have {found} cases"))
    unlabelled = not has_test_part(folder) and (folder / "imagesTs").is_dir()
    return training, test, faults + more, ("imagesTs, which has no labels",) if unlabelled else ()


def _raw_part(folder: Path, part: str, ending: str, channels: int) -> tuple[list[SourceCase], list[Fault]]:
    images: dict[str, dict[int, Path]] = defaultdict(dict)
    faults: list[Fault] = []
    for path in _files(folder / f"images{part}", ending):
        if match := _CHANNEL.fullmatch(path.name.removesuffix(ending)):
            images[match[1]][int(match[2])] = path
        else:
            faults.append((path.name, f"in images{part} without a channel's number, as _0000{ending}"))
    labels = {path.name.removesuffix(ending): path for path in _files(folder / f"labels{part}", ending)}
    for name, files in images.items():
        numbers = sorted(files)
        if numbers not in ([0], list(range(channels))):
            told = ", ".join(f"{number:04}" for number in numbers)
            faults.append((name, f"the channels {told}, where dataset.json names {channels}"))
    faults += named_twice(f"images{part}", ((name, files[min(files)]) for name, files in images.items()))
    faults += named_twice(f"labels{part}", labels.items())
    ordered = {name: tuple(files[number] for number in sorted(files)) for name, files in images.items()}
    if not ordered and not labels:
        fail("data", f"{folder} without any {ending} file in images{part} and labels{part}", "cases")
    return pair(ordered, labels, faults)


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        fail("data", f"{folder.parent} without {folder.name}/", "the folders imagesTr and labelsTr")
    return [path for path in sorted(folder.iterdir())
            if path.name.endswith(ending) and not path.name.startswith(".")]  # fmt: skip


def _decathlon_cases(folder: Path, description: Mapping[str, Any]) -> _Found:
    images: dict[str, tuple[Path, ...]] = {}
    labels: dict[str, Path] = {}
    faults: list[Fault] = []
    for entry in description["training"]:
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(key), str) for key in ("image", "label")
        ):
            faults.append(
                ("dataset.json", f"the entry {entry!r} of training, which names no image and label")
            )
            continue
        image, label = folder / entry["image"], folder / entry["label"]
        name = image.name.removesuffix(".gz").removesuffix(".nii")
        faults += [(name, f"{path}, which dataset.json names, is missing") for path in (image, label)
                   if not path.is_file()]  # fmt: skip
        images[name], labels[name] = (image,), label
    count = description.get("numTraining")
    if is_whole(count) and count != len(images):
        faults.append(("dataset.json", f"numTraining is {count}, training names {len(images)} cases"))
    faults += named_twice("imagesTr", ((name, files[0]) for name, files in images.items()))
    training, faults = pair(images, labels, faults)
    if not images and not faults:
        fail("data", f"{folder / 'dataset.json'} that names no training case", "cases")
    listed = {path for files in images.values() for path in files}
    folders = {path.parent for path in listed if path.parent.is_dir()}
    lying = {path for images_of in folders for path in images_of.iterdir()}
    hidden = sorted(path for path in lying if path.name.startswith("."))
    unlisted = sorted(path.name for path in lying - listed - set(hidden))
    passed_over = [f"{len(hidden)} hidden files in imagesTr"] if hidden else []
    if unlisted:
        passed_over.append(f"images that dataset.json does not name: {', '.join(unlisted)}")
    return training, [], faults, tuple(passed_over)
