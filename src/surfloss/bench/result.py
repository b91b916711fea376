"""What a comparison found, and its JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from surfloss.bench.machine import Machine
from surfloss.bench.timing import Times

FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    """What came of one contestant on one workload: times, or why there are none.

    Attributes:
        failed: the error that it raised.
        disagrees: its relative difference from the reference where that is too large, or "not finite".
        difference: the same where it agrees.
        ratio: how many times as long as the baseline it took.
    """

    failed: str | None = None
    disagrees: float | str | None = None
    difference: float | None = None
    times: Times | None = None
    ratio: float | None = None


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

    def present(self, task: str | None = None) -> list[str]:
        """The contestants that are there and can do the task, in order."""
        able = (name for name, column in self.contestants.items() if task is None or task in column.tasks)
        return [name for name in able if name not in self.absent]

    def to_dict(self) -> dict[str, Any]:
        """What `surfloss bench --json` writes: rows are called cells, and outcomes hold what is known."""
        found = {"format": FORMAT} | asdict(self)
        found["cells"] = found.pop("rows")
        for cell in found["cells"]:
            for name, outcome in cell["results"].items():
                times = outcome.pop("times") or {}
                known = {key: value for key, value in outcome.items() if value is not None}
                cell["results"][name] = known | times
        return found
