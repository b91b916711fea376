"""Slices of cases with the true and the predicted outline: one by one, and those that failed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from surfloss._figures import Picture, outline, outline_legend, png
from surfloss._render import TextTable
from surfloss.nnunet.convert import HU_WINDOW
from surfloss.nnunet.results import Case, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder

Volume = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WorstCase:
    """A case that a model did badly, and in which respects."""

    name: str  # of the predictions
    case: Case
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Number:
    """A metric as the pictures and their table print it."""

    heading: str
    name: str
    digits: int
    unit: str = ""

    @property
    def column(self) -> str:
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    def of(self, case: Case) -> str:
        return "null" if case[self.name] is None else f"{case[self.name]:.{self.digits}f}"

    def said(self, case: Case) -> str:
        value = self.of(case)
        return f"{self.heading} {value}" + (f" {self.unit}" if self.unit and value != "null" else "")


_NUMBERS = (
    _Number("Dice", "dice", 3),
    _Number("HD", "hausdorff_distance", 1, "mm"),
    _Number("HD95", "hausdorff_distance_95", 1, "mm"),
    _Number("volume", "volume_ml", 2, "ml"),
    _Number("true volume", "target_volume_ml", 2, "ml"),
)


def failures(run: RunFolder) -> list[WorstCase]:
    """Of each set of predictions the worst Dice, the largest distance, and every null prediction."""
    found = []
    for name in run.evaluated():
        cases = read_cases(run, name) or []
        reasons: dict[str, list[str]] = {}
        for case in cases:
            if case["target_volume_ml"] and case["volume_ml"] == 0:
                reasons[case["case"]] = ["empty prediction"]
            if case["volume_ml"] and case["target_volume_ml"] == 0:
                reasons[case["case"]] = ["nothing there, but predicted"]
        scored = [case for case in cases if case["dice"] is not None and case["dice"] < 1]
        if scored:
            worst = min(scored, key=lambda case: case["dice"])
            reasons.setdefault(worst["case"], []).append("worst Dice")
        measured = [case for case in cases if case["hausdorff_distance"]]
        if measured:
            farthest = max(measured, key=lambda case: case["hausdorff_distance"])
            reasons.setdefault(farthest["case"], []).append("largest HD")
        found += [
            WorstCase(name, case, tuple(reasons[case["case"]])) for case in cases if case["case"] in reasons
        ]
    return found


def failure_table(run: RunFolder, found: list[WorstCase]) -> TextTable:
    rows = [
        [
            title_of(run, failure.name),
            failure.case["case"],
            ", ".join(failure.reasons),
            *(number.of(failure.case) for number in _NUMBERS),
        ]
        for failure in found
    ]
    return TextTable(
        "Failure cases",
        ("Model", "Case", "Why", *(number.column for number in _NUMBERS)),
        rows,
        "Worst Dice and largest HD of each model, and every case in which one of the two masks is empty.",
        text_columns=3,
    )


def failure_pictures(run: RunFolder, found: list[WorstCase], most: int = 3) -> Iterator[Picture]:
    """Up to three slices of each failure; at most so many failures a model, the worst Dice first."""
    for name in run.evaluated():
        own = [failure for failure in found if failure.name == name]
        for failure in sorted(own, key=lambda failure: failure.case["dice"] or 0)[:most]:
            if _prediction(run, name, failure.case["case"]).exists():
                yield _failure_picture(run, failure)


@style.context("default")
def _failure_picture(run: RunFolder, failure: WorstCase) -> Picture:
    case = failure.case["case"]
    image, truth = _case(run, case)
    prediction = _load(_prediction(run, failure.name, case))
    figure = Figure(figsize=(3.9 * 3, 4.9), layout="constrained")
    title = f"{title_of(run, failure.name)}, case {case}: {', '.join(failure.reasons)}"
    numbers = ", ".join(number.said(failure.case) for number in _NUMBERS)
    figure.suptitle(f"{title}\n{numbers}", fontsize=10)
    panels = list(figure.subplots(1, 3))
    for axes, (place, reasons) in zip(panels, _telling_slices(truth, prediction), strict=False):
        _slice(axes, image[place], truth[place], prediction[place])
        axes.set_title(f"slice {place + 1} of {len(image)}\n{', '.join(reasons)}", fontsize=8)
    for axes in panels:
        axes.set(xticks=(), yticks=(), frame_on=False)
    outline_legend(figure)
    return Picture(title, png(figure))


def _telling_slices(truth: Volume, prediction: Volume) -> list[tuple[int, list[str]]]:
    """Up to three slices, from below, with the reasons: where the masks are largest and the most wrong."""
    wrong = (truth != prediction).sum((1, 2))
    chosen: dict[int, list[str]] = {}
    for what, area in (("true", truth.sum((1, 2))), ("predicted", prediction.sum((1, 2))), ("wrong", wrong)):
        if area.any():
            chosen.setdefault(int(area.argmax()), []).append(f"largest {what} area")
    for place in wrong.argsort()[::-1]:
        if len(chosen) < 3 and wrong[place]:
            chosen.setdefault(int(place), ["next largest wrong area"])
    return sorted(chosen.items())


def case_pictures(run: RunFolder, most: int = 8) -> Iterator[Picture]:
    """A picture a case: the slice with the largest lesion, once a model, with both outlines."""
    evaluated = {name: {case["case"]: case for case in cases}
                 for name in run.evaluated() if (cases := read_cases(run, name))}  # fmt: skip
    if evaluated:
        for path in sorted((run.raw / "labelsTs").glob("*.nii.gz"))[:most]:
            yield _case_picture(run, path.name.removesuffix(".nii.gz"), evaluated)


@style.context("default")
def _case_picture(run: RunFolder, case: str, evaluated: dict[str, dict[str, Case]]) -> Picture:
    image, truth = _case(run, case)
    place = int(truth.sum((1, 2)).argmax())
    columns = min(3, len(evaluated))
    rows = math.ceil(len(evaluated) / columns)
    figure = Figure(figsize=(3.9 * columns, 4.2 * rows + 0.7), layout="constrained")
    title = f"Case {case}, slice {place + 1} of {len(image)}, where its lesions are largest"
    figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (name, cases) in zip(panels, evaluated.items(), strict=False):
        file = _prediction(run, name, case)
        if file.exists() and case in cases:
            _slice(axes, image[place], truth[place], _load(file)[place])
            numbers = ", ".join(number.said(cases[case]) for number in _NUMBERS[:3])
            axes.set_title(f"{title_of(run, name)}\n{numbers}", fontsize=8)
    for axes in panels:
        axes.set(xticks=(), yticks=(), frame_on=False)
    outline_legend(figure)
    return Picture(title, png(figure))


def _slice(axes: Any, image: Volume, truth: Volume, prediction: Volume) -> None:
    axes.imshow(image, cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], origin="lower")
    outline(axes, truth, prediction)


def _case(run: RunFolder, case: str) -> tuple[Volume, Volume]:
    return _load(run.raw / "imagesTs" / f"{case}_0000.nii.gz"), _load(run.raw / "labelsTs" / f"{case}.nii.gz")


def _prediction(run: RunFolder, name: str, case: str) -> Path:
    return run.predictions(name) / f"{case}.nii.gz"


def _load(path: Path) -> Volume:
    """A volume as (z, y, x) for `origin="lower"`: the front up, the patient's right at the left."""
    volume: Any = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(volume.dataobj).T[:, :, ::-1]
