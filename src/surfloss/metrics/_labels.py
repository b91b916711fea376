"""Which labels of an image are evaluated: one by one or joined to regions, and under which names."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from surfloss import _check
from surfloss._check import fail
from surfloss.metrics._masks import BoolArray

_DATASET = 'a dataset.json of nnU-Net with an entry "labels"'
IGNORE = "ignore"
"""The name that nnU-Net gives the label of voxels that do not count."""


@dataclass(frozen=True)
class LabelSet:
    """What is evaluated: names, each with the labels whose union it stands for."""

    regions: tuple[tuple[str, tuple[int, ...]], ...]
    ignore: int | None = None

    @property
    def known(self) -> set[int]:
        """Every label that is part of a region, and the ignored one."""
        ignored = () if self.ignore is None else (self.ignore,)
        return {number for _, numbers in self.regions for number in numbers}.union(ignored)

    def masks(
        self, numbers: Sequence[int], prediction: npt.NDArray[Any], target: npt.NDArray[Any]
    ) -> tuple[BoolArray, BoolArray]:
        """Both masks of a region. A voxel that the target ignores is background in both."""

        def mask(image: npt.NDArray[Any]) -> BoolArray:
            union: BoolArray = reduce(np.logical_or, (image == number for number in numbers))
            return union if self.ignore is None else union & (target != self.ignore)

        return mask(prediction), mask(target)


BINARY = LabelSet((("1", (1,)),))
"""What is evaluated where no labels are given."""

LabelsLike: TypeAlias = str | Path | Sequence[int] | Mapping[str, int | Sequence[int]] | LabelSet


def parse_labels(labels: LabelsLike) -> LabelSet:
    """Bring labels into one form.

    Args:
        labels: numbers; a mapping from names to a number or to the numbers of a region, as in nnU-Net's
            `dataset.json`; the path of such a file; or text as `"1=liver,2,1+2=whole"`, or of the path.
            The name "ignore" is that of the label whose voxels do not count. In mappings 0 is left out.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if there is no label, a name stands twice, or the form is another.
    """
    if isinstance(labels, LabelSet):
        return labels
    labels = _check.plain(labels)
    if dataset := dataset_of(labels):
        named = _of_mapping(_read_dataset(dataset))
    elif isinstance(labels, str):
        named = [_of_text(part) for part in labels.split(",")]
    elif isinstance(labels, Mapping):
        named = _of_mapping(labels)
    elif isinstance(labels, Iterable):
        named = [(str(number), (number,)) for number in labels]
    else:
        fail("labels", repr(labels), "numbers as [1, 2], a mapping from names to numbers, text or a path")
    names = [name for name, _ in named]
    if not any(name != IGNORE for name in names) or len(set(names)) < len(names):
        fail("labels", names, "at least one, each of them once")
    if empty := [name for name, part in named if not part]:
        fail("labels", f"{empty[0]!r} without a number", "at least one")
    regions = {name: tuple(_check.whole("labels", number, 1) for number in part) for name, part in named}
    ignored = regions.pop(IGNORE, None)
    if ignored is not None and len(ignored) != 1:
        fail("labels", f"{list(ignored)} as {IGNORE!r}", "a single label")
    return LabelSet(tuple(regions.items()), ignored and ignored[0])


def dataset_of(labels: LabelsLike | None) -> Path | None:
    """The file that the labels stand in, or None if they do not."""
    if isinstance(labels, str) and labels.lower().endswith(".json"):
        return Path(labels)
    return labels if isinstance(labels, Path) else None


def labels_in(path: Path, voxels: npt.NDArray[Any], *, binary: bool = False) -> tuple[int, ...]:
    """The labels of an image but 0, from the smallest.

    Raises:
        ValueError: if a value is no whole number, or for a binary mask neither 0 nor 1.
    """
    values = np.unique(voxels[voxels != 0])
    whole = np.isfinite(values) & (np.floor(values) == values)
    good, wanted = whole, "whole numbers as labels"
    if binary:
        good, wanted = values == 1, "a binary mask of 0 and 1; for several labels say which (--labels)"
    if not good.all():
        fail(str(path), f"values {values[~good][:5].tolist()}", wanted)
    return tuple(int(value) for value in values)


def _of_text(text: str) -> tuple[str, list[int]]:
    """`1`, `1=liver`, `1+2` or `1+2=whole`."""
    numbers, separator, name = (part.strip() for part in text.partition("="))
    if bool(separator) == bool(name) and re.fullmatch(r"-?[0-9]{1,18}(\s*\+\s*[0-9]{1,18})*", numbers):
        return name or numbers, [int(number) for number in numbers.split("+")]
    fail("labels", repr(text), "all, a dataset.json, or labels as 1,2=liver,1+2=whole with commas between")


def by_name(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels in nnU-Net's form; the Decathlon's has names and numbers the other way round."""
    if all(isinstance(value, str) and name.isdecimal() for name, value in labels.items()):
        return {value: int(name) for name, value in labels.items()}
    return dict(labels)


def _of_mapping(labels: Mapping[str, Any]) -> list[tuple[str, Sequence[int]]]:
    """Names and numbers of either form that `by_name` knows."""
    if wrong := [name for name in labels if not isinstance(name, str)]:
        fail("labels", f"{wrong[0]!r} as a name", "a mapping from names to numbers")
    parts = {name: _check.plain(part) for name, part in by_name(labels).items()}
    named = [(name, part if isinstance(part, tuple) else (part,)) for name, part in parts.items()]
    return [(name, part) for name, part in named if part != (0,)]


def _read_dataset(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte order mark in front.
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))["labels"]
        if isinstance(labels, dict):
            return labels
    except OSError as error:
        fail("labels", f"{path}, which cannot be read ({error.strerror})", _DATASET, type(error))
    except (ValueError, KeyError, TypeError):
        pass
    fail("labels", path, _DATASET)
