"""A data set as it is before it is converted: its cases, and what nnU-Net has to know of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from surfloss._check import fail

Fault = tuple[str, str]
"""The name of a case, or of a file, and what is wrong with it."""


@dataclass(frozen=True)
class SourceCase:
    """A case's image, its label, and the name that its files share."""

    name: str
    images: tuple[Path, ...]  # a file for each channel, or one that has them all
    label: Path


@dataclass(frozen=True)
class Source:
    """The cases of a data set, each part sorted by name, and the description of their channels and labels."""

    training: list[SourceCase]
    test: list[SourceCase]  # held out of the cross-validation
    channels: Mapping[str, str]  # "0" -> name, by which nnU-Net picks the normalization
    labels: Mapping[str, int | list[int]]  # as nnU-Net's `dataset.json` has them: a list is a region
    region_order: list[int] | None = None  # nnU-Net's `regions_class_order`
    window: tuple[float, float] | None = None  # to which intensities are clipped
    passed_over: tuple[str, ...] = field(default=())  # what of the folder is no case, in words

    @property
    def cases(self) -> list[SourceCase]:
        return self.training + self.test

    @property
    def label_numbers(self) -> set[int]:
        """Every label that a voxel may have."""
        parts = [part if isinstance(part, list) else [part] for part in self.labels.values()]
        return {0}.union(*parts)

    def without(self, names: Collection[str]) -> "Source":
        """The same without some cases."""
        kept = ([case for case in part if case.name not in names] for part in (self.training, self.test))
        training, test = kept
        return replace(self, training=training, test=test)


def pair(
    images: Mapping[str, tuple[Path, ...]], labels: Mapping[str, Path], faults: Iterable[Fault] = ()
) -> tuple[list[SourceCase], list[Fault]]:
    """The cases with an image, a label and no fault, sorted by name, and the faults of the others."""
    faults = list(faults)
    faults += [(name, "no label") for name in images.keys() - labels.keys()]
    faults += [(name, "no image") for name in labels.keys() - images.keys()]
    files = [(name, path) for name, paths in images.items() for path in paths] + list(labels.items())
    faults += [(name, f"{path} is an empty file") for name, path in files
               if path.exists() and not path.stat().st_size]  # fmt: skip
    bad = {name for name, _ in faults}
    whole = sorted((images.keys() & labels.keys()) - bad)
    return [SourceCase(name, images[name], labels[name]) for name in whole], faults


def named_twice(folder: str, files: Iterable[tuple[str, Path]]) -> list[Fault]:
    """The faults of cases whose name another file of a folder has too.

    Some file systems hold names apart only by more than their case.
    """
    faults = []
    known: dict[str, Path] = {}
    for name, path in files:
        other = known.setdefault(name.casefold(), path)
        if other is not path:
            faults.append((name, f"twice in {folder}/, as {other.name} and {path.name}"))
    return faults


def check_left_out(leave_out: Collection[str], known: Collection[str], folder: Path, example: str) -> None:
    """Refuse names of cases that do not exist."""
    if unknown := sorted(set(leave_out) - set(known)):
        fail("leave_out", ", ".join(unknown), f"names of cases of {folder}, as {example}")


def refuse(faults: Iterable[Fault]) -> NoReturn:
    """Name every bad case at once."""
    told = "; ".join(sorted(f"{name}: {fault}" for name, fault in faults))
    fail("data", f"bad cases: {told}", "readable images with labels on their grid")
