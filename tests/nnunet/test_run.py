"""The folder of a run: settings, markers, logs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from surfloss.nnunet.presets import DICE_CE_2D, DICE_CE_3D, HAUSDORFF_3D, PAPER, TINY
from surfloss.nnunet.run import Record, Run, fold_seed


def start(run: Run) -> None:
    with run.opened():
        pass


def test_a_job_is_finished_only_after_its_block(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with run.job("predict/a"):
        assert not run.finished("predict/a")
        print("said inside")
    assert run.finished("predict/a")
    assert run.log("predict/a").read_text() == "said inside\n"
    assert set(run.seconds()) == {"predict/a"}


def test_a_failed_job_is_not_finished(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with pytest.raises(OSError, match="disk"), run.job("plan"):
        raise OSError("disk")
    assert not run.finished("plan")
    assert not run.finished("pla")
    record = run.record("plan")
    assert record is not None
    assert (record.state, record.error, record.refused) == ("failed", "OSError: disk", False)
    assert run.seconds() == {}


def test_the_record_follows_the_steps(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with run.job("train/a") as progress:
        progress.begin(4, 2)
        progress.advance()
        assert run.record("train/a") == Record("train/a", "running", 4, 2, 3, pytest.approx(0, abs=5))
    run.forget("train/a")
    assert run.record("train/a") is None


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        Run(tmp_path, TINY).opened(),
        pytest.raises(ValueError, match="in which another process runs jobs"),
        Run(tmp_path, TINY).opened(),
    ):
        pass
    start(Run(tmp_path, TINY))


def test_a_run_that_is_looked_at_writes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", TINY)
    assert run.record("plan") is None
    assert run.seconds() == {}
    assert not (tmp_path / "run").exists()


def test_a_run_is_found_again(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with run.opened(), run.job("prepare"):
        pass
    assert Run(tmp_path, TINY).finished("prepare")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    start(Run(tmp_path, TINY))
    other = dataclasses.replace(TINY, epochs=3, folds=4)
    with pytest.raises(ValueError, match=r"out: got .*a run with other settings \(epochs, folds\)"):
        Run(tmp_path, other)
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == TINY.epochs


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"out: got .* which holds other files"):
        start(Run(tmp_path, TINY))
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}


def test_mistyped_data_leave_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: got .*nowhere, which is no folder"):
        start(Run(tmp_path / "run", TINY, tmp_path / "nowhere"))
    start(Run(tmp_path / "run", TINY))


def test_the_paper_needs_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: got no folder"):
        start(Run(tmp_path, PAPER))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "abacus"}, "device: got 'abacus', wanted cpu or cuda"),
        ({"device": "cuda", "gpus_per_training": 0}, "gpus_per_training: got 0"),
        ({"device": "cpu", "gpus_per_training": 2}, "gpus_per_training: got 2, wanted 1 on a CPU"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run(tmp_path, TINY, **arguments)


def test_losses_of_one_configuration_and_fold_share_a_seed() -> None:
    seeds = {fold_seed(TINY, model, fold) for model in (DICE_CE_2D, DICE_CE_3D) for fold in range(2)}
    assert len(seeds) == 4
    assert fold_seed(TINY, DICE_CE_3D, 1) == fold_seed(TINY, HAUSDORFF_3D, 1)
    assert fold_seed(TINY, DICE_CE_3D, 1) != fold_seed(
        dataclasses.replace(TINY, seed=TINY.seed + 1), DICE_CE_3D, 1
    )
