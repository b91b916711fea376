"""Every stage on the smallest run, interrupted in most of them, through real nnU-Net."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from surfloss.nnunet.executors import LocalExecutor
from surfloss.nnunet.experiments import Experiment
from surfloss.nnunet.jobs import STAGES, Job, complete, list_jobs
from surfloss.nnunet.results import tables
from surfloss.nnunet.run_folder import Progress, Record, RunFolder
from tests.nnunet.conftest import MINI, perform_here, save

# Where a job is stopped, once: how many of its steps are done by then. Here by an error in this process...
STOPPED = {"prepare": 9, "plan": 1, "train/hausdorff_3d/fold_0": 1, "ensemble/ensemble": 1}
# ... and here by the death of its own.
KILLED = {"train/dice_ce_2d/fold_1": 1, "predict/cross_validation/hausdorff_3d/fold_1": 1}


class Stopped(Exception):
    """Stands for an error between two steps."""


def perform_all(run: RunFolder, until: str = STAGES[-1]) -> None:
    """Do every unfinished job in this process."""
    for job in list_jobs(run, until):
        if job.always or not run.finished(job.name):
            perform_here(run, job)


def stop_and_perform(run: RunFolder, job: Job, at: int) -> None:
    """Stop a job when so many steps are done, then do it again from there."""
    advance = Progress.advance

    def stop(progress: Progress) -> None:
        advance(progress)
        if record_of(run, job.name).done == at:
            raise Stopped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Progress, "advance", stop)
        with pytest.raises(Stopped):
            perform_here(run, job)
    perform_here(run, job)


def run_and_kill(run: RunFolder, until: str) -> None:
    """Run jobs two at a time in processes of their own, and kill some in the middle."""
    left = dict(KILLED)

    def kill(_: set[str]) -> None:
        for name in list(left):
            record = run.record(name)
            if record and record.done == left[name]:
                del left[name]
                os.kill(executor._told(name)[0], signal.SIGKILL)

    with LocalExecutor(run, [{"OMP_NUM_THREADS": "1"}] * 2) as executor:
        assert complete(run, list_jobs(run, until), executor, on_change=kill, pause=0.05) == []
    assert not left


def record_of(run: RunFolder, job: str) -> Record:
    record = run.record(job)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("mini"), MINI)
    jobs = {job.name: job for job in list_jobs(run)}
    with run.opened():
        for name in ("prepare", "plan", "train/hausdorff_3d/fold_0"):
            stop_and_perform(run, jobs[name], STOPPED[name])
        run_and_kill(run, until="predict")
        stop_and_perform(run, jobs["ensemble/ensemble"], STOPPED["ensemble/ensemble"])
        perform_all(run)
    return run


@pytest.mark.parametrize("job", ["train/hausdorff_3d/fold_0", "train/dice_ce_2d/fold_1"])
def test_an_interrupted_training_goes_on_from_its_checkpoint(run: RunFolder, job: str) -> None:
    record = record_of(run, job)
    assert (record.resumed_at, record.done, record.steps) == (1, 2, 2)
    _, model, fold = job.split("/")
    log = json.loads((run.folder / "training" / f"{model}_{fold.replace('_', '')}.json").read_text())
    assert len(log["train_losses"]) == MINI.epochs


def test_the_schedule_goes_on_too(run: RunFolder) -> None:
    log = json.loads(run.training_log(MINI.models[1], 0).read_text())
    # Two epochs of two iterations, the warm-up over the first half: the steps before the stop are not lost.
    assert log["surface_weights"] == pytest.approx([0.5e-3, 1e-3])
    assert len(log["gradient_ratios"]) == MINI.epochs


def test_predictions_are_whole_and_on_the_grid_of_the_image(run: RunFolder) -> None:
    for name in ("dice_ce_2d", "hausdorff_3d", "ensemble"):
        files = sorted(run.predictions(name).glob("*.nii.gz"))
        assert [path.name for path in files] == ["005.nii.gz", "006.nii.gz"]
        for path in files:
            prediction, image = nibabel.load(path), nibabel.load(run.raw / "labelsTs" / path.name)
            assert prediction.shape == image.shape
            np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
        assert not list(run.predictions(name).glob(".*"))
    held_out = sorted(path.name for path in run.predictions("cross_validation/dice_ce_2d").glob("*.nii.gz"))
    assert held_out == ["001.nii.gz", "002.nii.gz", "003.nii.gz", "004.nii.gz"]


def test_the_ensemble_averages_probabilities(run: RunFolder) -> None:
    for case in ("005", "006"):
        members = [
            np.load(run.predictions(name) / f"{case}.npz")["probabilities"]
            for name in MINI.ensembles[0].members
        ]
        expected = np.mean([member.astype(np.float64) for member in members], 0).argmax(0)
        written = np.asarray(nibabel.load(run.predictions("ensemble") / f"{case}.nii.gz").dataobj).T
        np.testing.assert_array_equal(written, expected)


def test_a_fold_never_predicts_what_it_was_trained_on(run: RunFolder) -> None:
    folds = json.loads((run.preprocessed / "splits_final.json").read_text())
    assert len(folds) == MINI.folds
    assert sorted(name for fold in folds for name in fold["val"]) == ["001", "002", "003", "004"]
    assert all(not set(fold["train"]) & set(fold["val"]) for fold in folds)


def test_the_plans_are_narrowed(run: RunFolder) -> None:
    plans = json.loads(run.plans.read_text())["configurations"]
    assert plans["2d"]["batch_size"] == MINI.batch_size_2d
    for name in ("2d", "3d_fullres"):
        assert plans[name]["architecture"]["arch_kwargs"]["features_per_stage"][0] == MINI.base_features
        assert plans[name]["normalization_schemes"] == ["RescaleTo01Normalization"]


def test_the_report_is_there(run: RunFolder) -> None:
    architectures, *_ = tables(run)
    assert [row.title for row in architectures.rows] == [
        "2D U-Net, Dice+CE",
        "2D + 3D ensemble, Dice+CE, Hausdorff",
    ]
    for name in ("report.html", "report.md", "results.csv", "cases.csv"):
        assert (run.report / name).stat().st_size > 500


def test_a_finished_run_does_nothing_again(run: RunFolder) -> None:
    class Nowhere:
        def submit(self, job: Job) -> None:
            assert job.always
            perform_here(run, job)

        def ended(self) -> list[tuple[str, str]]:
            return [("report", "")]

    assert complete(run, list_jobs(run), Nowhere(), pause=0) == []


def test_a_full_disk_leaves_nothing_that_is_trusted(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job = "predict/dice_ce_2d"
    run.forget(job)
    lost = run.predictions("dice_ce_2d") / "006.nii.gz"
    before = lost.read_bytes()
    lost.unlink()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", full_disk)
        with pytest.raises(OSError, match="No space left"):
            perform_all(run)
    assert not run.finished(job)
    error = record_of(run, job).error
    assert error is not None
    assert error.startswith(f"OSError: [Errno 28] No space left on device: '{lost.parent}/006.n")
    assert not lost.exists()
    perform_all(run)
    assert run.finished(job)
    assert lost.read_bytes()[10:] == before[10:]  # behind the time in gzip's header


def test_a_lost_prediction_is_no_score(run: RunFolder) -> None:
    job = "evaluate/dice_ce_2d"
    run.forget(job)
    lost = run.predictions("dice_ce_2d") / "006.nii.gz"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(ValueError, match=r"case 006 of dice_ce_2d: got a problem \(.* no prediction"):
        perform_all(run)
    assert not run.finished(job)
    lost.write_bytes(content)
    perform_all(run)
    assert run.finished(job)


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
    preset: Experiment = dataclasses.replace(MINI, name="brain", phantom=None, epochs=3, iterations=60)
    run = RunFolder(tmp_path / "run", preset, tmp_path / "brain")
    torch.manual_seed(0)
    perform_all(run)
    for model in preset.models:
        losses = json.loads(run.training_log(model, 0).read_text())["train_losses"]
        assert losses[-1] < losses[0]
    assert run.metrics("ensemble").exists()
    assert (run.report / "report.html").exists()
