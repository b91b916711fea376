"""A run as it is before its report, written without any training."""

import json
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from surfloss._files import write_text
from surfloss.metrics import evaluate_folders
from surfloss.nnunet.experiments import Experiment
from surfloss.nnunet.run_folder import RunFolder
from tests.nnunet.conftest import save

SHAPE = (32, 28, 6)  # x, y, z


def synthetic_run(
    folder: Path, experiment: Experiment, cases: int, missed: Collection[tuple[str, str]] = ()
) -> RunFolder:
    """Ellipsoids as lesions; every model predicts each of them a little displaced.

    Args:
        cases: of the validation; those of the cross-validation are the same.
        missed: names of models and of cases in which they predict nothing.
    """
    run = RunFolder(folder, experiment)
    for number in range(1, cases + 1):
        case = f"{number:03}"
        rng = np.random.default_rng(number)
        truth = lesion(rng.uniform((12, 10, 2), (20, 18, 4)), rng.uniform((4, 4, 1), (8, 7, 2)))
        save(run.raw / "imagesTs" / f"{case}_0000.nii.gz", (30 + 40 * truth).astype(np.float32))
        save(run.raw / "labelsTs" / f"{case}.nii.gz", truth)
        for name in run.evaluated():
            shift = np.random.default_rng(zlib.crc32(f"{name}/{case}".encode())).integers(-2, 3, 2)
            prediction = np.roll(truth, shift, (0, 1)) * ((name, case) not in missed)
            save(run.predictions(name) / f"{case}.nii.gz", prediction)
    for name in run.evaluated():
        result = evaluate_folders(run.predictions(name), run.raw / "labelsTs", tolerance=0.42, bootstrap=0)
        for place in (name, f"cross_validation/{name}"):
            write_text(run.metrics(place), json.dumps(result.to_dict()))
    for model in experiment.models:
        write_logs(run, model.name)
    with run.recorded("train/first/fold_0"):
        pass
    return run


def lesion(center: np.ndarray, radii: np.ndarray) -> np.ndarray:
    places = np.indices(SHAPE).T - center
    return (((places / radii) ** 2).sum(-1) <= 1).T.astype(np.uint8)


def write_logs(run: RunFolder, name: str, epochs: int = 6) -> None:
    """The logs of a model's trainings; the second fold has a surface term of 0 in its first epoch."""
    (model,) = [model for model in run.experiment.models if model.name == name]
    times = np.arange(1, epochs + 1)
    for fold in range(run.experiment.folds):
        surface = "DiceCE" not in model.trainer
        log = {
            "train_losses": (1 / (times + fold)).tolist(),
            "mean_fg_dice": (1 - 1 / (times + fold)).tolist(),
            "surface_weights": (1e-3 * times / epochs if surface else times * np.nan).tolist(),
            "gradient_ratios": (0.01 * (times - fold) if surface else times * np.nan).tolist(),
        }
        write_text(run.training_log(model, fold), json.dumps(log))
