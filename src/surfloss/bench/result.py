"""What a comparison found, and its JSON."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from surfloss.bench.machine import Gpu, Machine
from surfloss.bench.timing import Times

FORMAT = 1
Record = TypeVar("Record")


@dataclass(frozen=True)
class Outcome:
    """What came of one contestant on one workload: times, or why there are none.

    Attributes:
        failed: the error that it raised.
        disagrees: its relative difference from the reference where that is too large, or "not finite".
        difference: the same where it agrees.
        ratio: how many times as long as the baseline it took.
        peak_extra_bytes: the peak of its memory, which only this project's own scripts measure.
    """

    failed: str | None = None
    disagrees: float | str | None = None
    difference: float | None = None
    times: Times | None = None
    ratio: float | None = None
    peak_extra_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """What is known, the times among the rest."""
        found = asdict(self)
        found |= found.pop("times") or {}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Outcome":
        return _known(cls, found, times=_known(Times, found) if "median_s" in found else None)


@dataclass(frozen=True)
class Row:
    """One workload and the outcome of each contestant that can do it, by name."""

    task: str
    size: list[int]
    spacing: list[float]
    mask: str
    voxels: int
    results: dict[str, Outcome]
    items: int = 1
    foreground: float | None = None  # as a share of the voxels

    def seconds(self, name: str) -> float | None:
        """The median of a contestant; None where it was not timed."""
        times = self.results.get(name, Outcome()).times
        return times.median_s if times else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"results": {name: outcome.to_dict() for name, outcome in self.results.items()}}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Row":
        results = {name: Outcome.from_dict(outcome) for name, outcome in found["results"].items()}
        return _known(cls, found, results=results)


@dataclass(frozen=True)
class Column:
    """What a contestant can do, and what exactly was timed."""

    tasks: list[str]
    computes: str


@dataclass
class Result:
    """A whole comparison."""

    date: str
    machine: Machine
    load_before: float | None
    threads: int
    versions: dict[str, str]
    baseline: str
    contestants: dict[str, Column]
    absent: dict[str, str]  # with the reason
    tolerance: float
    rows: list[Row] = field(default_factory=list)
    interrupted: bool = False
    commit: str | None = None  # of this library, where the project's own scripts measured

    def present(self, task: str | None = None) -> list[str]:
        """The contestants that are there and can do the task, in order."""
        able = (name for name, column in self.contestants.items() if task is None or task in column.tasks)
        return [name for name in able if name not in self.absent]

    def to_dict(self) -> dict[str, Any]:
        """What `surfloss bench --json` writes, in which rows are called cells."""
        found = {"format": FORMAT} | asdict(self) | {"cells": [row.to_dict() for row in self.rows]}
        del found["rows"]
        if self.machine.gpu is None:
            del found["machine"]["gpu"]
        return found

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """The result of what `to_dict` gave; keys of another origin are passed over.

        Raises:
            KeyError, TypeError: if it is something else.
        """
        gpu = found["machine"].get("gpu")
        return _known(
            cls,
            found,
            machine=_known(Machine, found["machine"], gpu=_known(Gpu, gpu) if gpu else None),
            contestants={name: _known(Column, column) for name, column in found["contestants"].items()},
            rows=[Row.from_dict(row) for row in found["cells"]],
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The result in a file.

        Raises:
            ValueError: if it is not what `surfloss bench --json` wrote.
            OSError: if it cannot be read.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] == FORMAT:
                return cls.from_dict(found)
        except (ValueError, KeyError, TypeError):
            pass
        raise ValueError(f"from: got {path}, wanted a file that `surfloss bench --json` wrote")


def _known(kind: type[Record], found: dict[str, Any], **made: Any) -> Record:
    """The dataclass from those entries that are its fields, and from what is made already."""
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: found[name] for name in names if name in found} | made)
