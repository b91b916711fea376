"""Surface metrics in the summary of nnU-Net's validation."""

import json
import math
import multiprocessing.dummy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from nnunetv2.evaluation import evaluate_predictions
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from surfloss._env import requested_tolerance
from surfloss.metrics import evaluate
from surfloss.nnunet.experiments import DICE_CE_2D
from surfloss.nnunet.networks import make_trainer
from surfloss.nnunet.run_folder import RunFolder
from surfloss.nnunet.validation import add_surface_metrics
from tests.nnunet.conftest import save

SPACING = (5.0, 0.3, 0.3)  # z, y, x; a NIfTI header holds 0.30000001192...
SHAPE = (4, 20, 18)


def summary(folder: Path, labels: list[Any], ignore_label: int | None = None) -> Path:
    """nnU-Net's own, in threads instead of processes."""
    file = folder / "predicted" / "summary.json"
    with pytest.MonkeyPatch.context() as patched:
        threads = SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
        patched.setattr(evaluate_predictions, "multiprocessing", threads)
        evaluate_predictions.compute_metrics_on_folder(
            str(folder / "true"),
            str(folder / "predicted"),
            str(file),
            SimpleITKIO(),
            ".nii.gz",
            labels,
            ignore_label,
            1,
        )
    return file


def write(folder: Path, case: str, true: np.ndarray, predicted: np.ndarray) -> None:
    """Arrays in (z, y, x), or (y, x)."""
    affine = np.diag([*SPACING[::-1], 1.0])
    for name, array in (("true", true), ("predicted", predicted)):
        save(folder / name / f"{case}.nii.gz", array.T.astype(np.uint8), affine)


def blob(*, shift: int = 0, label: int = 1) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 5:12, 4 + shift : 11 + shift] = label
    return array


def test_every_label_has_surface_metrics(tmp_path: Path) -> None:
    true = np.maximum(blob(), blob(shift=7, label=2)), blob(), blob()
    predicted = np.maximum(blob(shift=1), blob(shift=8, label=2)), blob(shift=3), 0 * blob()
    for number, (reference, prediction) in enumerate(zip(true, predicted, strict=True)):
        write(tmp_path, f"{number}", reference, prediction)
    file = summary(tmp_path, [1, 2])
    before = json.loads(file.read_text())
    means = add_surface_metrics(file, SimpleITKIO(), None, 0.3)
    after = json.loads(file.read_text())
    cases = [case["metrics"] for case in after["metric_per_case"]]
    for case, reference, prediction in zip(cases, true, predicted, strict=True):
        for label in (1, 2):
            expected = evaluate(prediction == label, reference == label, spacing=SPACING, tolerance=0.3)
            metrics = case[str(label)]
            for name in ("hausdorff_distance_95", "surface_dice"):
                value = getattr(expected, name)
                here = metrics["HD95" if "hausdorff" in name else "Surface Dice"]
                assert math.isnan(here) if value is None else here == pytest.approx(value)
    # Moved by a voxel, which is the tolerance; moved by three; missed. The second label is in the first case.
    assert cases[0]["1"]["Surface Dice"] == 1
    assert 0 < cases[1]["1"]["Surface Dice"] < 1
    assert (cases[2]["1"]["Surface Dice"], math.isnan(cases[2]["1"]["HD95"])) == (0, True)
    assert math.isnan(cases[1]["2"]["Surface Dice"])
    mean = after["mean"]
    assert mean["1"]["HD95"] == pytest.approx((cases[0]["1"]["HD95"] + cases[1]["1"]["HD95"]) / 2)
    assert mean["2"]["Surface Dice"] == cases[0]["2"]["Surface Dice"]
    for name, value in means.items():
        assert (
            after["foreground_mean"][name] == value == pytest.approx((mean["1"][name] + mean["2"][name]) / 2)
        )
    # The rest is as nnU-Net wrote it.
    assert after.pop("surface_dice_tolerance") == 0.3
    for entry in (*cases, mean, {"": after["foreground_mean"]}):
        for metrics in entry.values():
            del metrics["HD95"], metrics["Surface Dice"]
    assert repr(after) == repr(before)


def test_regions_and_ignored_voxels(tmp_path: Path) -> None:
    true, predicted = np.maximum(blob(), 2 * blob(shift=2)), np.maximum(blob(shift=1), 2 * blob(shift=2))
    true[:, :, :7] = 3  # ignored
    write(tmp_path, "0", true, predicted)
    file = summary(tmp_path, [(1, 2), 2], ignore_label=3)
    add_surface_metrics(file, SimpleITKIO(), 3, 0.0)
    [case] = json.loads(file.read_text())["metric_per_case"]
    assert list(case["metrics"]) == ["(1, 2)", "2"]
    for metrics in case["metrics"].values():
        assert (metrics["Dice"], metrics["HD95"], metrics["Surface Dice"]) == (1, 0, 1)


def test_images_are_measured_in_2d(tmp_path: Path) -> None:
    write(tmp_path, "flat", blob()[1], blob(shift=1)[1])
    write(tmp_path, "slice", blob()[1:2], blob(shift=1)[1:2])
    file = summary(tmp_path, [1])
    add_surface_metrics(file, SimpleITKIO(), None, 0.1)
    expected = evaluate(blob(shift=1)[1], blob()[1], spacing=SPACING[1:], tolerance=0.1)
    assert nibabel.load(tmp_path / "true" / "flat.nii.gz").ndim == 2
    for case in json.loads(file.read_text())["metric_per_case"]:
        assert case["metrics"]["1"]["Surface Dice"] == pytest.approx(expected.surface_dice)
        assert case["metrics"]["1"]["HD95"] == pytest.approx(expected.hausdorff_distance_95)


@pytest.mark.parametrize("tolerance", ["0.3", None])
def test_a_validation_measures_where_it_is_asked_to(
    planned: RunFolder, monkeypatch: pytest.MonkeyPatch, tolerance: str | None
) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    if tolerance is not None:
        monkeypatch.setenv("SURFLOSS_NNUNET_TOLERANCE", tolerance)
    made = make_trainer(planned, DICE_CE_2D, 0)
    folder = Path(made.output_folder)
    write(folder, "0", blob(), blob(shift=1))
    (folder / "predicted").rename(folder / "validation")
    (folder / "predicted").symlink_to(folder / "validation")
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: summary(folder, [1]))
    made.perform_actual_validation()
    mean = json.loads((folder / "validation" / "summary.json").read_text())["foreground_mean"]
    assert mean.get("Surface Dice") == (1.0 if tolerance else None)
    assert ("Mean Validation Surface Dice" in Path(made.log_file).read_text()) == bool(tolerance)


@pytest.mark.parametrize("text", ["0,3", "-1", "nan", "inf"])
def test_a_tolerance_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SURFLOSS_NNUNET_TOLERANCE", text)
    with pytest.raises(ValueError, match=f"^SURFLOSS_NNUNET_TOLERANCE: got '{text}', wanted a finite number"):
        requested_tolerance()
