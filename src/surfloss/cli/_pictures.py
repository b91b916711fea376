"""Pictures in the page of `surfloss evaluate`: distributions of values, and outlines of the worst cases."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from nibabel.orientations import apply_orientation, io_orientation

from surfloss._figures import BLUE, PREDICTION, RED, TRUTH, Picture, outline, png
from surfloss._render import number, printable
from surfloss._volumes import Unavailable, volumes
from surfloss.cli._report import heading
from surfloss.cli._terminal import say
from surfloss.metrics import CaseResult, FolderEvaluation
from surfloss.metrics._case import Image, read_image, same_grid
from surfloss.metrics._labels import BINARY, LabelSet
from surfloss.metrics._masks import BoolArray, steps
from surfloss.metrics.folders import images_of
from surfloss.metrics.surface import farthest_voxel

Volume = npt.NDArray[Any]

_GROUND = "#23272e"
_SIDE = 3  # inches of a picture of outlines
_PLANES = ("Sagittal", "Coronal", "Axial")
_MOST = 4  # pictures for each reason


@style.context("default")
def distributions(result: FolderEvaluation) -> list[Picture]:
    """For each metric its values by label: a dot per case, the median, and the quarters around it.

    A metric that is defined in no case has no picture.
    """
    by_label: dict[str, list[CaseResult]] = {}
    for row in result.cases:
        by_label.setdefault(row.label, []).append(row)
    known = [metric for metric, summary in result.summary.items() if summary.count]
    return [_distribution(metric, heading(metric, result.settings), by_label) for metric in known]


def _distribution(metric: str, title: str, by_label: dict[str, list[CaseResult]]) -> Picture:
    figure = Figure(figsize=(3.9, 0.85 + 0.5 * len(by_label)), layout="constrained")
    axes = figure.subplots()
    names = []
    for place, (label, rows) in enumerate(by_label.items()):
        values = np.array([row.values[metric] for row in rows if row.values[metric] is not None], float)
        null = len(rows) - len(values)
        count = f"n = {len(values)}" + (f", {null} null" if null else "")
        names.append(f"{_short(label)}\n{count}" if len(by_label) > 1 else count)
        height = place + np.random.default_rng(0).uniform(-0.22, 0.22, len(values))
        alpha = 0.75 if len(values) < 50 else 0.35
        axes.plot(values, height, "o", color=BLUE, markersize=4, alpha=alpha, markeredgewidth=0)
        if len(values):
            low, middle, high = np.percentile(values, (25, 50, 75))
            axes.plot((low, high), (place, place), color=RED, linewidth=3, solid_capstyle="butt")
            axes.plot(middle, place, "|", color=RED, markersize=16, markeredgewidth=2.5)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    edge = 1 if "dice" in metric else axes.get_xlim()[1]
    axes.set_xlim(-0.02 * edge, 1.02 * edge)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)))  # room for numbers as 0.000025
    axes.set_title(title, fontsize=9, loc="left", x=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    return Picture(title, png(figure))


def chosen_rows(result: FolderEvaluation) -> dict[int, str]:
    """The places of the rows to show, with the reason: the lowest Dice first, then the largest distances."""
    reasons: dict[int, list[str]] = {}
    rows = [row.values for row in result.cases]
    for metric, sign, why in (("dice", 1, "lowest Dice"), ("hausdorff_distance_95", -1, "largest distance")):
        known = {place: value for place, row in enumerate(rows)
                 if row["dice"] not in (None, 1) and (value := row[metric]) is not None}  # fmt: skip
        for place in sorted(known, key=lambda place: sign * known[place])[:_MOST]:
            reasons.setdefault(place, []).append(why)
    return {place: ", ".join(why) for place, why in reasons.items()}


@style.context("default")
def worst_cases(
    result: FolderEvaluation, prediction_dir: Path, target_dir: Path, images: Path | None
) -> Iterator[Picture]:
    """A slice of each chosen case, over the case's image if there is one; `say`s why an image is not shown.

    The slice is that on which the masks differ most, or for a large distance the one with the farthest point.
    """
    said = set()
    named, ignored = result.settings.labels, result.settings.ignore_label
    labels = None if named is None else LabelSet(tuple(named.items()), ignored)
    for place, why in chosen_rows(result).items():
        row = result.cases[place]
        if pair := images_of(prediction_dir, target_dir, row.case, labels):
            prediction, target = pair
            known = labels or BINARY
            masks = known.masks(dict(known.regions)[row.label], prediction.voxels, target.voxels)
            below, wrong = (None, "") if images is None else _image_of(row.case, images, target)
            if wrong and row.case not in said:
                say(f"{row.case}: image: {wrong}")
                said.add(row.case)
            name = row.case if labels is None else f"{row.case}, {row.label}"
            distance = row.values["hausdorff_distance_95"]
            numbers = f"Dice {number(row.values['dice'])}, Hausdorff distance 95 % " + (
                "undefined" if distance is None else f"{number(distance)} mm"
            )
            voxel = None
            if "distance" in why and all(mask.any() for mask in masks):
                voxel = farthest_voxel(*masks, steps(target.spacing, target.voxels.ndim))
            content, where = _slice_picture(*masks, target, below, voxel)
            if voxel:
                off = number(row.values["hausdorff_distance"])
                where += f". The farthest point here is {off} mm off"
            if wrong:
                where += ". Its image " + ("cannot be shown" if below is None else "is not finite everywhere")
            yield Picture(f"{name} ({why}). {numbers}. {where}.", content)


def _slice_picture(
    prediction: BoolArray,
    target: BoolArray,
    grid: Image,
    image: Volume | None,
    voxel: tuple[int, ...] | None = None,
) -> tuple[bytes, str]:
    """Both outlines in true proportions, and which slice it is: by the voxel, or by the difference."""
    upright, spacing, plane = _upright(grid)
    p, t = upright(prediction), upright(target)
    wanted = prediction != target
    if voxel:
        wanted = np.zeros_like(target)
        wanted[voxel] = True
    place = int(upright(wanted).sum((1, 2)).argmax())
    where = f"{plane} slice {place + 1} of {len(p)}" if plane else "The whole picture"
    for mask, what in ((p, "prediction"), (t, "target")):
        if not mask[place].any():
            where += f", no {what} on this slice" if plane else f", no {what}"
    box = _box(p[place] | t[place], spacing)
    p, t = p[place][box], t[place][box]
    height, width = (size * step for size, step in zip(p.shape, spacing, strict=True))
    figure = Figure(figsize=(_SIDE, _SIDE))
    axes = figure.add_axes((0, 0, 1, 1))
    extent = (-spacing[1] / 2, width - spacing[1] / 2, -spacing[0] / 2, height - spacing[0] / 2)
    gray = None if image is None else np.ma.masked_invalid(upright(image)[place])
    if gray is None or not gray.count():
        for mask, color in ((t, TRUTH), (p, PREDICTION)):
            tint = np.where(mask[..., None], to_rgba(color, 0.25), 0)
            axes.imshow(tint, origin="lower", extent=extent, interpolation="nearest")
    else:
        low, high = np.percentile(gray.compressed(), (1, 99.5))
        axes.imshow(gray[box], cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
    outline(axes, t, p, spacing)
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    axes.axis("off")
    _scale_bar(axes, width)
    return png(figure, _GROUND), where


def _upright(grid: Image) -> tuple[Callable[[Volume], Volume], tuple[float, float], str]:
    """How to turn volumes into slices for `origin="lower"`, their spacing in rows and columns, and the plane.

    Slices lie across the axis with the largest steps. Axial and coronal ones have the patient's right at the
    left, sagittal ones the front. A 2-D picture is a single slice with its first row on top.
    """
    if grid.voxels.ndim == 2:
        return lambda image: image[None, ::-1], grid.spacing, ""  # type: ignore[return-value]
    orientation = io_orientation(grid.affine)
    sizes = np.empty(3)
    sizes[orientation[:, 0].astype(int)] = grid.spacing[::-1]
    across = 2 if sizes[2] >= 0.99 * sizes.max() else int(sizes.argmax())
    columns, rows = (axis for axis in range(3) if axis != across)

    def upright(image: Volume) -> Volume:
        canonical: Volume = apply_orientation(image.T, orientation)
        return canonical.transpose(across, rows, columns)[:, :, ::-1]

    return upright, (float(sizes[rows]), float(sizes[columns])), _PLANES[across]


def _box(mask: BoolArray, spacing: tuple[float, float]) -> tuple[slice, ...]:
    """What to show: the foreground with room around it, at least as much as five voxels."""
    ends = [(places.min(), places.max() + 1) for places in np.nonzero(mask)]
    margin = max(0.25 * max((b - a) * step for (a, b), step in zip(ends, spacing, strict=True)),
                 5 * max(spacing))  # fmt: skip
    return tuple(
        slice(max(0, a - math.ceil(margin / step)), b + math.ceil(margin / step))
        for (a, b), step in zip(ends, spacing, strict=True)
    )


def _scale_bar(axes: Any, width: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten, at most a third of the width."""
    power = 10 ** math.floor(math.log10(width / 3))
    length = next(step * power for step in (5, 2, 1) if step * power <= width / 3)
    transform = axes.get_xaxis_transform()  # mm along x, a part of the height along y
    left = axes.get_xlim()[0] + 0.04 * width
    look: Any = {
        "transform": transform,
        "color": "white",
        "path_effects": [withStroke(linewidth=3.5, foreground=_GROUND)],
    }
    axes.plot((left, left + length), (0.05, 0.05), linewidth=2, **look)
    axes.text(left, 0.07, f"{length:g} mm", fontsize=9, va="bottom", **look)


def _image_of(case: str, folder: Path, target: Image) -> tuple[Volume | None, str]:
    """The case's image or its first channel (`_0000`), and what is wrong with it."""
    path = next((path for name, path in volumes(folder) if name in (case, f"{case}_0000")), None)
    if path is None:
        return None, f"{folder}: got no image of this case, wanted a file named {case} or {case}_0000"
    try:
        image = read_image(path)
        same_grid(path, image, target)
    except (ValueError, Unavailable, MemoryError) as error:
        return None, str(error)
    count = np.count_nonzero(~np.isfinite(image.voxels))
    return image.voxels, f"{path}: got {count} values that are not finite, wanted numbers" if count else ""


def _short(label: str) -> str:
    """A label's name for a picture; Matplotlib would set what lies between dollars as a formula."""
    text = printable(label)
    return (text if len(text) <= 24 else f"{text[:23]}…").replace("$", r"\$")
