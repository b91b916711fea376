"""Every stage on the smallest run, interrupted in most of them, through real nnU-Net."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from surfloss.nnunet.presets import Preset
from surfloss.nnunet.report import tables
from surfloss.nnunet.run import Run
from surfloss.nnunet.stages import run_stages
from tests.nnunet.conftest import MINI, save

# Where the run is stopped, once each: the job, and how many of its steps are done by then.
STOPPED_BEFORE_THE_KILL = {"prepare": 3, "plan": 1}
STOPPED_AFTER_THE_KILL = {
    "train/hausdorff_3d/fold_0": 1,
    "predict/dice_ce_2d": 1,
    "cross_validate/hausdorff_3d": 2,
    "ensemble": 1,
}
KILLED_AT = "train/dice_ce_2d/fold_1 1"

Told = list[tuple[str, int]]


class Stopped(Exception):
    """Stands for an error between two steps."""


def run_and_stop(run: Run, stops: dict[str, int], until: str = "report") -> Told:
    """Start the run again and again until no stop is left; returns all progress that it told."""
    left = dict(stops)
    told: Told = []

    def progress(job: str, _: int, done: int) -> None:
        told.append((job, done))
        if left.get(job) == done:
            del left[job]
            raise Stopped(job)

    for _ in range(len(stops)):
        with pytest.raises(Stopped):
            run_stages(run, progress, until)
    run_stages(run, progress, until)
    assert not left
    return told


def run_and_kill(run: Run) -> Told:
    """Run in a process of its own and kill that in the middle of a training."""
    told: Told = []
    command = [sys.executable, "-m", "tests.nnunet.background", str(run.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            job, done = line.split()
            told.append((job, int(done)))
            if line.strip() == KILLED_AT:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    return told


@pytest.fixture(scope="module")
def told_and_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Run]:
    run = Run(tmp_path_factory.mktemp("mini"), MINI)
    told = run_and_stop(run, STOPPED_BEFORE_THE_KILL, until="plan")
    told += run_and_kill(run)
    told += run_and_stop(run, STOPPED_AFTER_THE_KILL)
    return told, run


@pytest.fixture(scope="module")
def run(told_and_run: tuple[Told, Run]) -> Run:
    return told_and_run[1]


@pytest.mark.parametrize("job", ["train/hausdorff_3d/fold_0", KILLED_AT.split(maxsplit=1)[0]])
def test_an_interrupted_training_goes_on_from_its_checkpoint(
    told_and_run: tuple[Told, Run], job: str
) -> None:
    told, run = told_and_run
    epochs = [done for name, done in told if name == job]
    assert epochs == [0, 1, 1, 2]  # stopped after the first epoch, then from there
    _, model, fold = job.split("/")
    log = json.loads((run.folder / "training" / f"{model}_{fold.replace('_', '')}.json").read_text())
    assert len(log["train_losses"]) == MINI.epochs


def test_the_schedule_goes_on_too(run: Run) -> None:
    log = json.loads(run.training_log(MINI.models[1], 0).read_text())
    # Two epochs of two iterations, the warm-up over the first half: the steps before the stop are not lost.
    assert log["surface_weights"] == pytest.approx([0.5e-3, 1e-3])
    assert len(log["gradient_ratios"]) == MINI.epochs


def test_a_finished_job_is_not_done_again(told_and_run: tuple[Told, Run]) -> None:
    told, _ = told_and_run
    assert [done for name, done in told if name == "train/dice_ce_2d/fold_0"] == [0, 1, 2]
    assert [done for name, done in told if name == "plan"] == [0, 1, 0, 1, 2, 3]


def test_predictions_are_whole_and_on_the_grid_of_the_image(run: Run) -> None:
    for name in ("dice_ce_2d", "hausdorff_3d", "ensemble"):
        files = sorted(run.predictions(name).glob("*.nii.gz"))
        assert [path.name for path in files] == ["005.nii.gz", "006.nii.gz"]
        for path in files:
            prediction, image = nibabel.load(path), nibabel.load(run.raw / "labelsTs" / path.name)
            assert prediction.shape == image.shape
            np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
        assert not (run.predictions(name) / ".unfinished").exists()
    held_out = sorted(path.name for path in run.predictions("cross_validation/dice_ce_2d").glob("*.nii.gz"))
    assert held_out == ["001.nii.gz", "002.nii.gz", "003.nii.gz", "004.nii.gz"]


def test_the_ensemble_averages_probabilities(run: Run) -> None:
    for case in ("005", "006"):
        members = [np.load(run.predictions(name) / f"{case}.npz")["probabilities"] for name in MINI.ensemble]
        expected = np.mean([member.astype(np.float64) for member in members], 0).argmax(0)
        written = np.asarray(nibabel.load(run.predictions("ensemble") / f"{case}.nii.gz").dataobj).T
        np.testing.assert_array_equal(written, expected)


def test_a_fold_never_predicts_what_it_was_trained_on(run: Run) -> None:
    folds = json.loads((run.preprocessed / "splits_final.json").read_text())
    assert len(folds) == MINI.folds
    assert sorted(name for fold in folds for name in fold["val"]) == ["001", "002", "003", "004"]
    assert all(not set(fold["train"]) & set(fold["val"]) for fold in folds)


def test_the_plans_are_narrowed(run: Run) -> None:
    plans = json.loads(run.plans.read_text())["configurations"]
    assert plans["2d"]["batch_size"] == MINI.batch_size_2d
    for name in ("2d", "3d_fullres"):
        assert plans[name]["architecture"]["arch_kwargs"]["features_per_stage"][0] == MINI.base_features
        assert plans[name]["normalization_schemes"] == ["RescaleTo01Normalization"]


def test_the_report_is_there(run: Run) -> None:
    assert [row.title for row in tables(run)["Architectures"]] == ["2D U-Net, Dice+CE", "2D + 3D ensemble"]
    for name in ("report.html", "report.md", "report.csv", "cases.csv"):
        assert (run.report / name).stat().st_size > 500


def test_a_finished_run_does_nothing_again(run: Run) -> None:
    def marks() -> dict[str, int]:
        paths = (run.folder / "state").rglob("*.json")
        return {str(path): path.stat().st_mtime_ns for path in paths if path.name != "report.json"}

    before = marks()
    run_stages(Run(run.folder, MINI), lambda *_: None)
    assert marks() == before


def test_a_full_disk_leaves_nothing_that_is_trusted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = run.folder / "state" / "predict" / "dice_ce_2d.json"
    marker.unlink()
    lost = run.predictions("dice_ce_2d") / "006.nii.gz"
    before = lost.read_bytes()
    lost.unlink()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", full_disk)
        with pytest.raises(OSError, match="No space left"):
            run_stages(run, lambda *_: None)
    assert not marker.exists()
    assert not lost.exists()
    run_stages(run, lambda *_: None)
    assert marker.exists()
    assert lost.read_bytes()[10:] == before[10:]  # behind the time in gzip's header


def test_a_lost_prediction_is_no_score(run: Run) -> None:
    marker = run.folder / "state" / "evaluate" / "dice_ce_2d.json"
    marker.unlink()
    lost = run.predictions("dice_ce_2d") / "006.nii.gz"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(ValueError, match=r"case 006 of dice_ce_2d: got a problem \(.* no prediction"):
        run_stages(run, lambda *_: None)
    assert not marker.exists()
    lost.write_bytes(content)
    run_stages(run, lambda *_: None)
    assert marker.exists()


@pytest.mark.slow
def test_a_real_brain_takes_the_same_road(tmp_path: Path) -> None:
    """Sub-volumes of a real MR volume and its label in the challenge's layout, as `--data` of a short run."""
    from tests.support.volumes import DATA

    image = nibabel.load(DATA / "brain1_image.nii.gz")
    label = nibabel.load(DATA / "brain1_label.nii.gz")
    intensity = np.asarray(image.dataobj, dtype=np.float32)
    intensity *= 100 / np.percentile(intensity, 99)  # into the window that the converter keeps
    lesion = np.asarray(label.dataobj)
    centers = np.argwhere(lesion)[:: len(np.argwhere(lesion)) // 8][:8]
    for number, center in enumerate(centers):
        low = np.clip(center - (40, 40, 6), 0, np.array(lesion.shape) - (80, 80, 12))
        box = tuple(slice(start, start + size) for start, size in zip(low, (80, 80, 12), strict=True))
        affine = image.affine.copy()
        affine[:3, 3] = (image.affine @ [*low, 1])[:3]
        save(tmp_path / "brain" / "data" / f"{number:03}.nii.gz", intensity[box], affine)
        save(tmp_path / "brain" / "label" / f"{number:03}.nii.gz", lesion[box].astype(np.uint8), affine)
    preset: Preset = dataclasses.replace(MINI, name="brain", phantom=None, epochs=3, iterations=60)
    run = Run(tmp_path / "run", preset, tmp_path / "brain")
    torch.manual_seed(0)
    run_stages(run, lambda *_: None)
    for model in preset.models:
        losses = json.loads(run.training_log(model, 0).read_text())["train_losses"]
        assert losses[-1] < losses[0]
    assert run.metrics("ensemble").exists()
    assert (run.report / "report.html").exists()
