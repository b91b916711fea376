"""Pictures of a run: training curves, and slices with true and predicted contours."""

import io
import math
from typing import Any

import nibabel
import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from surfloss.nnunet.convert import HU_WINDOW
from surfloss.nnunet.run import Run, read_json

# Paul Tol's bright scheme, told apart by color-blind readers too.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_TRUTH = "#ffffff"


@style.context("default")  # nnU-Net sets fonts for pictures of its own
def training_curves(run: Run) -> bytes:
    """Loss, pseudo Dice, surface weight and gradient ratio by epoch: a line a model, thin ones its folds."""
    panels = (
        ("train_losses", "training loss"),
        ("mean_fg_dice", "pseudo Dice (validation patches)"),
        ("surface_weights", "weight of the surface term"),
        ("gradient_ratios", "logit-gradient norm: surface / rest"),
    )
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for color, model in zip(_COLORS, run.preset.models, strict=False):
            paths = [run.training_log(model, fold) for fold in range(run.preset.folds)]
            curves = np.array([read_json(path)[key] for path in paths if path.exists()], dtype=float)
            if not curves.size or np.isnan(curves).all():
                continue
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(epochs, curves.T, color=color, alpha=0.35, linewidth=0.9)
            axes.plot(epochs, curves.mean(0), color=color, linewidth=2, label=model.title)
        axes.set(xlabel="epoch", title=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if key == "gradient_ratios" and axes.lines:
            axes.set_yscale("log")
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
        else:
            axes.text(0.5, 0.5, "no surface term", ha="center", transform=axes.transAxes)
    return _png(figure)


def case_pictures(run: Run, most: int = 8) -> list[bytes]:
    """A picture a case: the slice with the largest lesion, once a model, with true and predicted contours."""
    labels = sorted((run.raw / "labelsTs").glob("*.nii.gz"))[:most]
    titles = {model.name: model.title for model in run.preset.models}
    if run.preset.ensemble:
        titles["ensemble"] = "2D + 3D ensemble"
    return [_case_picture(run, path.name.removesuffix(".nii.gz"), titles) for path in labels]


@style.context("default")
def _case_picture(run: Run, case: str, titles: dict[str, str]) -> bytes:
    image = _load(run.raw / "imagesTs" / f"{case}_0000.nii.gz")
    truth = _load(run.raw / "labelsTs" / f"{case}.nii.gz")
    shown = int(truth.sum((1, 2)).argmax())
    columns = math.ceil(math.sqrt(len(titles)))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows + 0.4), layout="constrained", facecolor="white")
    figure.suptitle(f"Case {case}, slice {shown}: true contour white, predicted in color", fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, title), color in zip(panels, titles.items(), _COLORS, strict=False):
        axes.imshow(image[shown], cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], origin="lower")
        _contour(axes, truth[shown], _TRUTH)
        prediction = run.predictions(name) / f"{case}.nii.gz"
        if prediction.exists():
            _contour(axes, _load(prediction)[shown], color)
        dice = next(c["dice"] for c in read_json(run.metrics(name))["cases"] if c["case"] == case)
        axes.set_title(f"{title}\nDice of the case {dice:.2f}", fontsize=8)
    for axes in figure.axes:
        axes.set_axis_off()
    return _png(figure)


def _contour(axes: Any, mask: np.ndarray[Any, Any], color: str) -> None:
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.3)


def _load(path: Any) -> np.ndarray[Any, Any]:
    """A volume as (z, y, x) for `origin="lower"`: the front up, the patient's right at the left."""
    volume: Any = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(volume.dataobj).T[:, :, ::-1]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
