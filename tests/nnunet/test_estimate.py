"""Estimates of time and disk: what is recorded counts, and what is computed follows the sizes."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from surfloss._files import write_text
from surfloss.nnunet.estimate import SPEEDS, disk_bytes, estimate, wall_seconds
from surfloss.nnunet.experiments import PAPER, SMALL, TINY
from surfloss.nnunet.jobs import Job, list_jobs
from surfloss.nnunet.run_folder import Record, RunFolder
from tests.nnunet import standin


def record(run: RunFolder, job: str, **values: Any) -> None:
    """Write a record as a finished job leaves it."""
    write_text(run._record_file(job), json.dumps(asdict(Record(job, state="finished", **values))))


def test_a_training_is_its_steps(tmp_path: Path) -> None:
    """By hand: epochs of training steps and of validation steps, which have no backward."""
    run = RunFolder(tmp_path, TINY)
    got = estimate(run, list_jobs(run))["train/contour_3d/fold_1"]
    network = 2 * 16 * 64 * 64 * 8 * (1.5e-7 + 8 * 5e-9)
    augmentation = 2 * 16 * 64 * 64 * 2e-7
    epoch = 50 * (network + augmentation) + 4 * (0.28 * network + augmentation)
    assert got.seconds == pytest.approx(5 + 20 * epoch)
    assert got.basis == "measured"


def test_a_case_is_predicted_in_half_overlapping_patches_and_mirrored(tmp_path: Path) -> None:
    """24 x 256 x 256 in patches of 16 x 160 x 160: 2 x 3 x 3 of them, 8 times."""
    run = RunFolder(tmp_path, SMALL)
    got = estimate(run, list_jobs(run))["predict/contour_3d"]
    voxels = 10 * 5 * 2 * 3 * 3 * 8 * 16 * 160 * 160
    assert got.seconds == pytest.approx(5 + voxels * 0.28 * 8 * (1.5e-7 + 8 * 5e-9))


def test_a_gpu_is_assumed_and_never_measured(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, PAPER, device="cuda")
    jobs = list_jobs(run)
    estimates = estimate(run, jobs)
    assert {estimates[job.name].basis for job in jobs if job.on_device} == {"assumed"}
    assert SPEEDS["cuda"].basis == "assumed"


def test_threads_share_a_training_on_a_cpu(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    jobs = list_jobs(run)
    one, four = (estimate(run, jobs, threads)["train/dice_ce_2d/fold_0"].seconds - 5 for threads in (1, 4))
    assert one == pytest.approx(4 * four)


def test_records_of_other_folds_count(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    record(run, "train/dice_ce_2d/fold_0", steps=20, done=20, seconds=100.0)
    estimates = estimate(run, list_jobs(run))
    assert estimates["train/dice_ce_2d/fold_1"].seconds == 100
    assert estimates["train/dice_ce_2d/fold_1"].basis == "recorded"
    assert estimates["train/dice_ce_3d/fold_1"].basis == "measured"


def test_a_record_of_a_part_stands_for_the_whole(tmp_path: Path) -> None:
    """An attempt that did the last 5 of 20 epochs in 30 s."""
    run = RunFolder(tmp_path, TINY)
    record(run, "train/dice_ce_2d/fold_0", steps=20, resumed_at=15, done=20, seconds=30.0)
    assert estimate(run, list_jobs(run))["train/dice_ce_2d/fold_1"].seconds == 120


def test_records_of_another_device_do_not_count(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    record(run, "train/dice_ce_2d/fold_0", steps=20, done=20, seconds=3.0, device="cuda")
    assert estimate(run, list_jobs(run))["train/dice_ce_2d/fold_1"].basis == "measured"


@pytest.mark.parametrize(("workers", "seconds"), [(1, 10), (2, 7), (9, 7)])
def test_wall_time_of_a_small_graph(workers: int, seconds: float) -> None:
    """b and c (3 s each) after a (1 s), d (3 s) after b: by hand."""
    jobs = [
        Job("a", standin.work),
        Job("b", standin.work, ("a",)),
        Job("c", standin.work, ("a",)),
        Job("d", standin.work, ("b",)),
    ]
    times = {"a": 1.0, "b": 3.0, "c": 3.0, "d": 3.0}
    assert wall_seconds(jobs, times, workers) == seconds


def test_the_small_preset_is_for_an_hour_of_a_gpu_or_a_night_of_two_processors(tmp_path: Path) -> None:
    for device, workers, hours in (("cuda", 1, 1.0), ("cpu", 2, 12.0)):
        run = RunFolder(tmp_path, SMALL, device=device)
        jobs = list_jobs(run)
        seconds = {name: known.seconds for name, known in estimate(run, jobs).items()}
        assert wall_seconds(jobs, seconds, workers) < 3600 * hours


def test_disk(tmp_path: Path) -> None:
    tiny, small, paper = (disk_bytes(RunFolder(tmp_path, preset)) for preset in (TINY, SMALL, PAPER))
    assert tiny < small < paper
    # Twice the features: four times the parameters; the data stay as they are.
    wide = disk_bytes(RunFolder(tmp_path, replace(TINY, base_features=16)))
    wider = disk_bytes(RunFolder(tmp_path, replace(TINY, base_features=32)))
    assert wider - wide == pytest.approx(4 * (wide - tiny), rel=1e-3)
