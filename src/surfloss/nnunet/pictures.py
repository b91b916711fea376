"""Slices of cases with the true and the predicted outline: one by one, and the worst of each model."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
from matplotlib.figure import Figure
from nibabel.orientations import apply_orientation, io_orientation

from surfloss._figures import Picture, outline, outline_legend, png
from surfloss._render import TextTable, number
from surfloss._volumes import read_volume
from surfloss.nnunet.convert import HU_WINDOW
from surfloss.nnunet.results import Values, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder

Volume: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class WorstCase:
    """A case that a model did badly, and in which respects."""

    name: str  # of the predictions
    case: str
    values: Values
    reasons: tuple[str, ...]


# Heading, unit and metric of the numbers that stand with a case.
_NUMBERS = (
    ("Dice", "", "dice"),
    ("HD", "mm", "hausdorff_distance"),
    ("HD95", "mm", "hausdorff_distance_95"),
    ("volume", "ml", "volume_ml"),
    ("true volume", "ml", "target_volume_ml"),
)


def worst_cases(run: RunFolder) -> list[WorstCase]:
    """Of each set of predictions the worst Dice, the largest distance, and every null prediction."""
    found = []
    for name in run.evaluated():
        cases = read_cases(run, name)
        reasons: dict[str, list[str]] = defaultdict(list)
        for case, values in cases.items():
            if values["target_volume_ml"] and values["volume_ml"] == 0:
                reasons[case].append("empty prediction")
            if values["volume_ml"] and values["target_volume_ml"] == 0:
                reasons[case].append("nothing there, but predicted")
        for metric, perfect, what in (("dice", 1, "worst Dice"), ("hausdorff_distance", 0, "largest HD")):
            errors = {case: abs(value - perfect) for case, values in cases.items()
                      if (value := values[metric]) is not None and value != perfect}  # fmt: skip
            if errors:
                reasons[max(errors, key=errors.__getitem__)].append(what)
        found += [
            WorstCase(name, case, cases[case], tuple(reasons[case])) for case in cases if case in reasons
        ]
    return found


def worst_cases_table(run: RunFolder, found: Sequence[WorstCase]) -> TextTable:
    """A row for each of them, with the reasons and its numbers."""
    headings = [f"{heading} [{unit}]" if unit else heading for heading, unit, _ in _NUMBERS]
    rows = [
        [title_of(run, worst.name), worst.case, ", ".join(worst.reasons)]
        + [number(worst.values[metric]) for _, _, metric in _NUMBERS]
        for worst in found
    ]
    return TextTable(
        "Worst cases",
        ("Model", "Case", "Why", *headings),
        rows,
        "Worst Dice and largest HD of each model, and every case in which one of the two masks is empty.",
        text_columns=3,
    )


def worst_case_pictures(run: RunFolder, found: Sequence[WorstCase], most: int = 3) -> Iterator[Picture]:
    """Up to three slices of a case; of each model at most so many cases, the worst Dice first."""
    for name in run.evaluated():
        own = [worst for worst in found if worst.name == name]
        for worst in sorted(own, key=lambda worst: worst.values["dice"] or 0)[:most]:
            file = _prediction(run, name, worst.case)
            if file.exists():
                image, truth = _image_and_truth(run, worst.case)
                prediction = _load(file)
                panels = {
                    f"slice {place + 1} of {len(image)}\n{', '.join(reasons)}": (truth, prediction, place)
                    for place, reasons in _telling_slices(truth, prediction)
                }
                title = f"{title_of(run, name)}, case {worst.case}: {', '.join(worst.reasons)}"
                yield _picture(title, image, panels, 3, _numbers(worst.values))


def case_pictures(run: RunFolder, most: int = 8) -> Iterator[Picture]:
    """A picture per case: the slice with the largest lesion, once for each model, with both outlines."""
    evaluated = {name: read_cases(run, name) for name in run.evaluated()}
    for path in sorted((run.raw / "labelsTs").glob("*.nii.gz"))[:most]:
        case = path.name.removesuffix(".nii.gz")
        image, truth = _image_and_truth(run, case)
        place = int(truth.sum((1, 2)).argmax())
        panels = {
            f"{title_of(run, name)}\n{_numbers(cases[case], 3)}": (truth, _load(file), place)
            for name, cases in evaluated.items()
            if case in cases and (file := _prediction(run, name, case)).exists()
        }
        if panels:
            title = f"Case {case}, slice {place + 1} of {len(image)}, where its lesions are largest"
            yield _picture(title, image, panels, min(3, len(panels)))


def _picture(
    title: str,
    image: Volume,
    panels: Mapping[str, tuple[Volume, Volume, int]],
    columns: int,
    numbers: str = "",
) -> Picture:
    """A panel for each truth and prediction, at a slice, under its heading."""
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.9 * columns, 4.2 * rows + 0.7), layout="constrained")
    figure.suptitle(f"{title}\n{numbers}".rstrip(), fontsize=10)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set(xticks=(), yticks=(), frame_on=False)
    for axes, (heading, (truth, prediction, place)) in zip(grid, panels.items(), strict=False):
        axes.imshow(image[place], cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], origin="lower")
        outline(axes, truth[place], prediction[place])
        axes.set_title(heading, fontsize=8)
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


def _numbers(values: Values, count: int = len(_NUMBERS)) -> str:
    """The first numbers of a case in words."""
    return ", ".join(
        f"{heading} {number(values[metric])} {'' if values[metric] is None else unit}".rstrip()
        for heading, unit, metric in _NUMBERS[:count]
    )


def _image_and_truth(run: RunFolder, case: str) -> tuple[Volume, Volume]:
    return _load(run.raw / "imagesTs" / f"{case}_0000.nii.gz"), _load(run.raw / "labelsTs" / f"{case}.nii.gz")


def _prediction(run: RunFolder, name: str, case: str) -> Path:
    return run.predictions(name) / f"{case}.nii.gz"


def _load(path: Path) -> Volume:
    """A volume as (z, y, x) for `origin="lower"`: the front up, the patient's right at the left."""
    volume = read_volume(path)
    canonical: Volume = apply_orientation(volume.voxels, io_orientation(volume.affine))
    return canonical.T[:, :, ::-1]
