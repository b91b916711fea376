"""The project's goals for an NVIDIA H100, and how a measurement compares with them.

Each goal has a required value and usually a stricter aim, and is judged by its worst row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.plans import PATCH, PLANE, SCAN
from benchmarks.published import Published, peak_extra_bytes
from surfloss.bench.result import Result, Row
from surfloss.bench.workloads import Size

LESS = ("time", "floor", "percent", "tensors", "slope")  # lower is better; for "times", higher is


Measure: TypeAlias = Callable[[Published, str], Iterator[float | None]]


@dataclass(frozen=True)
class Goal:
    """One row of the table of goals.

    Attributes:
        what: its text in the table.
        unit: "times", the peer's time over this library's; "time", in seconds; "floor", a multiple of the
            time to move 5 bytes per voxel; "percent", a fraction of a training step; "tensors", float32
            tensors of the input's size; "slope", of log time over log voxels.
        must, aim: the required value and the stricter one, in that unit; `aim` is None if there is none.
        measure: yields all values in a result for one of this library's contestants, None for a missing one.
    """

    what: str
    unit: str
    must: float
    aim: float | None
    measure: Measure

    def worst(self, result: Published, name: str) -> float | None:
        """The value furthest from the goal; None if nothing was measured."""
        values = [value for value in self.measure(result, name) if value is not None]
        return (max if self.unit in LESS else min)(values, default=None)

    def verdict(self, value: float) -> str:
        """Return "aim met", "met" (only the required value) or "missed"."""
        for goal, met in ((self.aim, "aim met"), (self.must, "met")):
            if goal is not None and (value <= goal if self.unit in LESS else value >= goal):
                return met
        return "missed"


def floor_multiple(result: Published, row: Row, name: str) -> float | None:
    """Time of a distance transform over that of moving 5 bytes per voxel: mask in, distance out."""
    seconds, gpu = row.seconds(name), result.machine.gpu
    if row.task != "edt" or gpu is None or gpu.copy_bytes_per_s is None or seconds is None:
        return None
    return seconds * gpu.copy_bytes_per_s / (5 * row.voxels * row.items)


@dataclass(frozen=True)
class Slope:
    """The slope of log time over log voxels, fitted over cubes of these sides."""

    task: str
    mask: str
    contestant: str
    sides: tuple[int, ...]
    slope: float


def slopes(result: Result) -> list[Slope]:
    """The slopes of all masks with at least three cubes of 64^3 or more."""
    points: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in result.rows:
        if min(row.size) == max(row.size) >= 64 and row.items == 1:
            for name in row.results:
                if seconds := row.seconds(name):
                    points.setdefault((row.task, row.mask, name), {})[row.size[0]] = seconds
    found = []
    for key, times in points.items():
        if len(times) >= 3:
            voxels = [side**3 for side in times]
            slope = np.polyfit(np.log(voxels), np.log(list(times.values())), 1)[0]
            found.append(Slope(*key, tuple(sorted(times)), float(slope)))
    return found


def _rows(result: Result, task: str, size: Size, items: int) -> Iterator[Row]:
    return (row for row in result.rows if (row.task, tuple(row.size), row.items) == (task, size, items))


def _times(task: str, size: Size, items: int, peer: str) -> Measure:
    """The peer's time over this library's."""

    def measure(result: Published, name: str) -> Iterator[float]:
        for row in _rows(result, task, size, items):
            ours, theirs = row.seconds(name), row.seconds(peer)
            if ours and theirs:
                yield theirs / ours

    return measure


def _time(task: str, size: Size, items: int) -> Measure:
    return lambda result, name: (row.seconds(name) for row in _rows(result, task, size, items))


def _floor(size: Size, items: int) -> Measure:
    return lambda result, name: (
        floor_multiple(result, row, name) for row in _rows(result, "edt", size, items)
    )


def _training_step(result: Published, name: str) -> Iterator[float]:
    """Fraction of the step that the Hausdorff loss adds; only the default backend is measured."""
    if name == result.baseline and result.training_step.get("patch") == list(PATCH):
        yield result.training_step["steps"]["dice_ce + hausdorff"]["ratio"] - 1


def _memory(result: Published, name: str) -> Iterator[float]:
    for row in _rows(result, "loss", PATCH, 1):
        if peak := peak_extra_bytes(row, name):
            yield peak / (2 * 4 * row.voxels)


def _slope(result: Published, name: str) -> Iterator[float]:
    return (found.slope for found in slopes(result) if (found.task, found.contestant) == ("edt", name))


_CUBE, _LARGE = (128,) * 3, (512,) * 3
GOALS = (
    Goal("4 masks of 16x320x320: speedup over cupyx", "times", 20, 60, _times("edt", PATCH, 4, "cupyx")),
    Goal("4 masks of 16x320x320: speedup over cuCIM", "times", 20, 60, _times("edt", PATCH, 4, "cucim")),
    Goal("4 masks of 16x320x320: time", "time", 0.2e-3, 0.06e-3, _time("edt", PATCH, 4)),
    Goal("64x512x512: speedup over cupyx", "times", 6, 30, _times("edt", SCAN, 1, "cupyx")),
    Goal("4 masks of 128^3: speedup over cupyx", "times", 4, 10, _times("edt", _CUBE, 4, "cupyx")),
    Goal("512^3: speedup over cupyx", "times", 2, 4, _times("edt", _LARGE, 1, "cupyx")),
    Goal("256 masks of 1024x1024, 2-D: time", "time", 8e-3, 3e-3, _time("edt", PLANE, 256)),
    Goal("512^3: time over moving 5 bytes per voxel", "floor", 12, 4, _floor(_LARGE, 1)),
    Goal("8 masks of 64x512x512: time over moving 5 bytes per voxel", "floor", 12, 4, _floor(SCAN, 8)),
    Goal("Hausdorff loss, 2x1x16x320x320: time", "time", 0.4e-3, 0.2e-3, _time("loss", PATCH, 1)),
    Goal("Hausdorff loss: speedup over MONAI", "times", 50, None, _times("loss", PATCH, 1, "monai")),
    Goal(
        "Hausdorff loss: speedup over PyTorch + cupyx", "times", 50, None, _times("loss", PATCH, 1, "cupyx")
    ),
    Goal("Hausdorff loss: peak memory, in float32 inputs", "tensors", 2, 1, _memory),
    Goal("nnU-Net's 3-D training step: time added", "percent", 0.03, 0.01, _training_step),
    Goal("slope of log time over log voxels, cubes", "slope", 1.1, 1.0, _slope),
)
