"""Slices of cases with the true and the predicted outline: one by one, and the worst of each model."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from nibabel.orientations import apply_orientation, io_orientation

from surfloss._figures import Picture, outline, outline_legend, png
from surfloss._render import TextTable, number
from surfloss._volumes import read_volume, whole_numbers
from surfloss.nnunet.convert import ENDING
from surfloss.nnunet.instance2022 import HU_WINDOW
from surfloss.nnunet.results import Values, classes_of, mean_over_classes, read_cases, title_of
from surfloss.nnunet.run_folder import RunFolder

Volume: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class WorstCase:
    """A case that a model did badly, and in which respects."""

    name: str  # of the predictions
    case: str
    values: Mapping[str, Values]  # of each class
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
    several = len(classes_of(run)) > 1
    found = []
    for name in run.evaluated():
        cases = read_cases(run, name)
        reasons: dict[str, list[str]] = defaultdict(list)
        for case, classes in cases.items():
            for label, values in classes.items():
                which = f" ({label})" * several
                if values["target_volume_ml"] and values["volume_ml"] == 0:
                    reasons[case].append(f"empty prediction{which}")
                if values["volume_ml"] and values["target_volume_ml"] == 0:
                    reasons[case].append(f"nothing there, but predicted{which}")
        for metric, perfect, what in (("dice", 1, "worst Dice"), ("hausdorff_distance", 0, "largest HD")):
            errors = {case: abs(value - perfect) for case, classes in cases.items()
                      if (value := mean_over_classes(classes, metric)) not in (None, perfect)}  # fmt: skip
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
        + [number(mean_over_classes(worst.values, metric)) for _, _, metric in _NUMBERS]
        for worst in found
    ]
    return TextTable(
        "Worst cases",
        ("Model", "Case", "Why", *headings),
        rows,
        "Worst Dice and largest HD of each model, and every case in which one of the two masks is empty. "
        "Numbers are means over the classes in which they are defined.",
        text_columns=3,
    )


def worst_case_pictures(run: RunFolder, found: Sequence[WorstCase], most: int = 3) -> Iterator[Picture]:
    """Up to three slices of a case; of each model at most so many cases, the worst Dice first."""
    for name in run.evaluated():
        own = [worst for worst in found if worst.name == name]
        for worst in sorted(own, key=lambda worst: mean_over_classes(worst.values, "dice") or 0)[:most]:
            file = _prediction(run, name, worst.case)
            if file.exists():
                image, truth = _image_and_truth(run, name, worst.case)
                prediction = _load(file)
                panels = {
                    f"slice {place + 1} of {len(image)}\n{', '.join(reasons)}": (truth, prediction, place)
                    for place, reasons in _telling_slices(truth, prediction)
                }
                title = f"{title_of(run, name)}, case {worst.case}: {', '.join(worst.reasons)}"
                yield _picture(run, title, image, panels, 3, _numbers(worst.values))


def case_pictures(run: RunFolder, most: int = 8) -> Iterator[Picture]:
    """A picture per case: the slice with the largest target, once for each model, with both outlines."""
    evaluated = {name: read_cases(run, name) for name in run.evaluated()}
    for path in sorted(run.truth(run.evaluated()[0]).glob(f"*{ENDING}"))[:most]:
        case = path.name.removesuffix(ENDING)
        image, truth = _image_and_truth(run, run.evaluated()[0], case)
        place = int((truth > 0).sum((1, 2)).argmax())
        panels = {
            f"{title_of(run, name)}\n{_numbers(cases[case], 3)}": (truth, _load(file), place)
            for name, cases in evaluated.items()
            if case in cases and (file := _prediction(run, name, case)).exists()
        }
        if panels:
            title = f"Case {case}, slice {place + 1} of {len(image)}, where the target is largest"
            yield _picture(run, title, image, panels, min(3, len(panels)))


def _picture(
    run: RunFolder,
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
    low, high = HU_WINDOW
    if not run.experiment.follows_paper:
        low, high = np.percentile(image, (1, 99.5)).tolist()
    for axes, (heading, (truth, prediction, place)) in zip(grid, panels.items(), strict=False):
        axes.imshow(image[place], cmap="gray", vmin=low, vmax=high, origin="lower")
        for label in np.union1d(np.unique(truth), np.unique(prediction)):
            if label > 0:
                outline(axes, truth[place] == label, prediction[place] == label)
        axes.set_title(heading, fontsize=8)
    outline_legend(figure)
    return Picture(title, png(figure))


def _telling_slices(truth: Volume, prediction: Volume) -> list[tuple[int, list[str]]]:
    """Up to three slices, from below, with the reasons: where the masks are largest and the most wrong."""
    wrong = (truth != prediction).sum((1, 2))
    chosen: dict[int, list[str]] = {}
    areas = {"true": (truth > 0).sum((1, 2)), "predicted": (prediction > 0).sum((1, 2)), "wrong": wrong}
    for what, area in areas.items():
        if area.any():
            chosen.setdefault(int(area.argmax()), []).append(f"largest {what} area")
    for place in wrong.argsort()[::-1]:
        if len(chosen) < 3 and wrong[place]:
            chosen.setdefault(int(place), ["next largest wrong area"])
    return sorted(chosen.items())


def _numbers(classes: Mapping[str, Values], count: int = len(_NUMBERS)) -> str:
    """The first numbers of a case in words, means over its classes."""
    numbers = [
        (heading, unit, mean_over_classes(classes, metric)) for heading, unit, metric in _NUMBERS[:count]
    ]
    return ", ".join(
        f"{heading} {number(value)} {'' if value is None else unit}".rstrip()
        for heading, unit, value in numbers
    )


def _image_and_truth(run: RunFolder, name: str, case: str) -> tuple[Volume, Volume]:
    """The first channel of a case's image, and its true labels."""
    labels = run.truth(name)
    images = labels.with_name(labels.name.replace("labels", "images"))
    return _load(images / f"{case}_0000{ENDING}"), _load(labels / f"{case}{ENDING}")


def _prediction(run: RunFolder, name: str, case: str) -> Path:
    return run.predictions(name) / f"{case}{ENDING}"


def _load(path: Path) -> Volume:
    """A volume as (z, y, x) for `origin="lower"`: the front up, the patient's right at the left."""
    volume = read_volume(path)
    voxels = whole_numbers(volume)
    if voxels.ndim == 2:  # a plane, shown as files of pictures are: the first row on top
        return voxels.T[None, ::-1]
    canonical: Volume = apply_orientation(voxels, io_orientation(volume.affine))
    return canonical.T[:, :, ::-1]
