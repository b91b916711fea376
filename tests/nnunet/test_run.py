"""The folder of a run: settings, markers, logs."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from surfloss.nnunet.presets import DICE_CE_2D, DICE_CE_3D, HAUSDORFF_3D, PAPER, TINY
from surfloss.nnunet.run import Run, fold_seed


def test_a_job_is_finished_only_after_its_block(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with run.job("predict/a"):
        assert not run.finished("predict/a")
        print("said inside")
    assert run.finished("predict/a")
    assert (tmp_path / "logs" / "predict_a.log").read_text() == "said inside\n"
    assert set(run.seconds()) == {"predict/a"}


def test_a_failed_job_is_not_finished(tmp_path: Path) -> None:
    run = Run(tmp_path, TINY)
    with pytest.raises(OSError, match="disk"), run.job("plan"):
        raise OSError("disk")
    assert not run.finished("plan")
    assert not run.finished("pla")


def test_a_run_is_found_again(tmp_path: Path) -> None:
    with Run(tmp_path, TINY).job("prepare"):
        pass
    assert Run(tmp_path, TINY).finished("prepare")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Run(tmp_path, TINY)
    other = dataclasses.replace(TINY, epochs=3, folds=4)
    with pytest.raises(ValueError, match=r"out: got .*a run with other settings \(epochs, folds\)"):
        Run(tmp_path, other)
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == TINY.epochs


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"out: got .* which holds other files"):
        Run(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_mistyped_data_leave_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without data/"):
        Run(tmp_path / "run", TINY, tmp_path / "nowhere")
    Run(tmp_path / "run", TINY)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device: got cuda, wanted a GPU that PyTorch can use"):
        Run(tmp_path / "run", TINY, device="cuda")
    assert not (tmp_path / "run").exists()


def test_the_paper_needs_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: got no folder"):
        Run(tmp_path, PAPER)


def test_losses_of_one_configuration_and_fold_share_a_seed() -> None:
    seeds = {fold_seed(TINY, model, fold) for model in (DICE_CE_2D, DICE_CE_3D) for fold in range(2)}
    assert len(seeds) == 4
    assert fold_seed(TINY, DICE_CE_3D, 1) == fold_seed(TINY, HAUSDORFF_3D, 1)
    assert fold_seed(TINY, DICE_CE_3D, 1) != fold_seed(
        dataclasses.replace(TINY, seed=TINY.seed + 1), DICE_CE_3D, 1
    )
