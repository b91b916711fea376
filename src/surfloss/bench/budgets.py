"""What a GPU must reach and should reach, and what a measurement says of it, each row by its worst cell.

The rows are the goals that the project has set itself for an NVIDIA H100.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from surfloss.bench.plan import PATCH, PLANE, SCAN

Result: TypeAlias = dict[str, Any]
Measure: TypeAlias = Callable[[Result, str], Iterator[float]]
Size: TypeAlias = tuple[int, ...]

LESS = ("time", "floor", "percent", "tensors", "slope")  # units of which less is better; of "times" more is


@dataclass(frozen=True)
class Budget:
    """One row.

    Attributes:
        unit: "times" as long as this library a peer takes; "time" in seconds; "floor", as a multiple of
            moving 5 bytes a voxel; "percent" of a training step, as a share; "tensors" of the input's size in
            float32; "slope" of log time over log voxels.
        must, aim: in that unit; `aim` None where there is none of its own.
        measure: every value that a result has for one of this library's contestants.
    """

    what: str
    unit: str
    must: float
    aim: float | None
    measure: Measure

    def worst(self, result: Result, name: str) -> float | None:
        """The value furthest from the goal; None where nothing was measured."""
        values = list(self.measure(result, name))
        if not values:
            return None
        return max(values) if self.unit in LESS else min(values)

    def verdict(self, value: float) -> str:
        """Whether a value meets the aim, what it must, or neither."""
        for goal, met in ((self.aim, "aim met"), (self.must, "met")):
            if goal is not None and (value <= goal if self.unit in LESS else value >= goal):
                return met
        return "missed"


def floor_multiple(result: Result, cell: Result, name: str) -> float | None:
    """Time of a distance transform over that of moving 5 bytes a voxel, the mask in and the distance out."""
    outcome = cell["results"].get(name, {})
    if cell["task"] != "edt" or "gpu" not in result["machine"] or "median_s" not in outcome:
        return None
    moved = 5 * cell["voxels"] * cell.get("items", 1)
    return float(outcome["median_s"] * result["machine"]["gpu"]["copy_bytes_per_s"] / moved)


def _cells(result: Result, task: str, size: Size, items: int) -> Iterator[Result]:
    for cell in result["cells"]:
        if (cell["task"], tuple(cell["size"]), cell.get("items", 1)) == (task, size, items):
            yield cell


def _times(task: str, size: Size, items: int, peer: str) -> Measure:
    """How many times as long the peer takes."""

    def measure(result: Result, name: str) -> Iterator[float]:
        for cell in _cells(result, task, size, items):
            ours, theirs = (cell["results"].get(n, {}).get("median_s") for n in (name, peer))
            if ours and theirs:
                yield theirs / ours

    return measure


def _time(task: str, size: Size, items: int) -> Measure:
    def measure(result: Result, name: str) -> Iterator[float]:
        for cell in _cells(result, task, size, items):
            if seconds := cell["results"].get(name, {}).get("median_s"):
                yield seconds

    return measure


def _floor(size: Size, items: int) -> Measure:
    def measure(result: Result, name: str) -> Iterator[float]:
        for cell in _cells(result, "edt", size, items):
            if multiple := floor_multiple(result, cell, name):
                yield multiple

    return measure


def _training_step(result: Result, name: str) -> Iterator[float]:
    """What the Hausdorff loss adds, as a share; the step asks the backend that answers unasked."""
    found = result.get("training_step", {"patch": None})
    if name == result["baseline"] and found["patch"] == list(PATCH):
        yield found["steps"]["dice_ce + hausdorff"]["ratio"] - 1


def _memory(result: Result, name: str) -> Iterator[float]:
    for cell in _cells(result, "loss", PATCH, 1):
        if peak := cell["results"].get(name, {}).get("peak_extra_bytes"):
            yield peak / (2 * 4 * cell["voxels"])


def _slope(result: Result, name: str) -> Iterator[float]:
    for found in result["slopes"]:
        if (found["task"], found["contestant"]) == ("edt", name):
            yield found["slope"]


_CUBE, _LARGE = (128,) * 3, (512,) * 3
BUDGETS = (
    Budget("4 masks of 16x320x320: cupyx takes", "times", 20, 60, _times("edt", PATCH, 4, "cupyx")),
    Budget("the same: cuCIM takes", "times", 20, 60, _times("edt", PATCH, 4, "cucim")),
    Budget("the same: time", "time", 0.2e-3, 0.06e-3, _time("edt", PATCH, 4)),
    Budget("64x512x512: cupyx takes", "times", 6, 30, _times("edt", SCAN, 1, "cupyx")),
    Budget("4 masks of 128^3: cupyx takes", "times", 4, 10, _times("edt", _CUBE, 4, "cupyx")),
    Budget("512^3: cupyx takes", "times", 2, 4, _times("edt", _LARGE, 1, "cupyx")),
    Budget("256 masks of 1024x1024, 2-D: time", "time", 8e-3, 3e-3, _time("edt", PLANE, 256)),
    Budget("512^3: time over 5 bytes a voxel", "floor", 12, 4, _floor(_LARGE, 1)),
    Budget("8 masks of 64x512x512: the same", "floor", 12, 4, _floor(SCAN, 8)),
    Budget("Hausdorff loss of 2x1x16x320x320: time", "time", 0.4e-3, 0.2e-3, _time("loss", PATCH, 1)),
    Budget("the same: MONAI (cuCIM, else SciPy) takes", "times", 50, None, _times("loss", PATCH, 1, "monai")),
    Budget("the same: PyTorch on cupyx takes", "times", 50, None, _times("loss", PATCH, 1, "cupyx")),
    Budget("the same: peak memory, float32 inputs", "tensors", 2, 1, _memory),
    Budget("nnU-Net's 3-D training step: added", "percent", 0.03, 0.01, _training_step),
    Budget("slope of time over volume, cubes", "slope", 1.1, 1.0, _slope),
)
