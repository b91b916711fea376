"""The folder of a run: settings, markers, logs."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surfloss._files import UNFINISHED, write_text
from surfloss.nnunet.experiments import DICE_CE_2D, DICE_CE_3D, HAUSDORFF_3D, PAPER, TINY
from surfloss.nnunet.run_folder import Record, RunFolder, fold_seed

NO_PHANTOM = dataclasses.replace(TINY, phantom=None, validation_cases=2)


def start(run: RunFolder) -> None:
    with run.opened():
        pass


def test_a_job_is_finished_only_after_its_block(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    with run.recorded("predict/a"):
        assert not run.finished("predict/a")
        print("said inside")
    assert run.finished("predict/a")
    assert run.log("predict/a").read_text() == "said inside\n"
    assert set(run.seconds()) == {"predict/a"}


def test_a_failed_job_is_not_finished(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    with pytest.raises(OSError, match="disk"), run.recorded("plan"):
        raise OSError("disk")
    assert not run.finished("plan")
    assert not run.finished("pla")
    record = run.record("plan")
    assert record is not None
    assert (record.state, record.error, record.refused) == ("failed", "OSError: disk", False)
    assert run.seconds() == {}


def test_the_record_follows_the_steps(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    with run.recorded("train/a") as progress:
        progress.begin(4, 2)
        progress.advance()
        assert run.record("train/a") == Record("train/a", "running", 4, 2, 3, pytest.approx(0, abs=5))
    run.forget("train/a")
    assert run.record("train/a") is None


@pytest.mark.parametrize("text", ["", "{", '"text', "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """As a machine leaves it that loses its power."""
    run = RunFolder(tmp_path, TINY)
    with run.opened(), run.recorded("train/a/fold_0"):
        pass
    record = tmp_path / "state" / "train" / "a" / "fold_0.json"
    readers: dict[Path, list[Callable[[], object]]] = {
        record: [lambda: run.record("train/a/fold_0"), run.seconds],
        tmp_path / "run.json": [lambda: RunFolder(tmp_path, TINY), lambda: start(run)],
    }
    for path, reads in readers.items():
        path.write_text(text, encoding="latin-1")
        for read in reads:
            with pytest.raises(ValueError, match=rf"^{path}: got no JSON \(.*\), wanted the file as the run"):
                read()


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"job": "plan", "colour": "red"}'])
def test_a_record_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path, TINY)
    write_text(tmp_path / "state" / "plan.json", text)
    reads: list[Callable[[], object]] = [lambda: run.record("plan"), run.seconds]
    for read in reads:
        with pytest.raises(ValueError, match=r"plan.json: got no record \(.*\), wanted the record of a job"):
            read()


@pytest.mark.parametrize("text", ["{}", "[]", "null"])
def test_settings_that_are_none_are_other_settings(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "run.json", text)
    with pytest.raises(ValueError, match=r"out: got .* a run with other settings \(base_features, "):
        RunFolder(tmp_path, TINY)


def test_a_folder_that_cannot_be_made_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for folder in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(ValueError, match=rf"^{folder}/run.json: got .*, where it cannot be made"):
            start(RunFolder(folder, TINY))


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", TINY)
    hidden = [run.folder / f"{UNFINISHED}{name}" for name in ("old", "new")]  # no settings are whole yet
    for folder in hidden:
        write_text(folder / "run.json", "half")
    os.utime(hidden[0], (0, 0))
    write_text(tmp_path / "elsewhere" / "mine", "kept")
    link = run.folder / f"{UNFINISHED}link"
    link.symlink_to(tmp_path / "elsewhere")
    os.utime(link, (0, 0), follow_symlinks=False)
    start(run)
    assert [folder.exists() for folder in hidden] == [False, True]
    assert (tmp_path / "elsewhere" / "mine").exists()
    assert run.seconds() == {}


def test_names_that_are_no_text_are_refused(dataset: Path, tmp_path: Path) -> None:
    """SimpleITK, through which nnU-Net reads images, crashes on them."""
    with pytest.raises(ValueError, match=r"^out: got '.*/r\\udcffn', wanted a name in UTF-8$"):
        RunFolder(tmp_path / "r\udcffn", TINY)
    for kind in ("data", "label"):
        (dataset / kind / "004.nii.gz").rename(dataset / kind / "\udcff.nii.gz")
    with pytest.raises(ValueError, match=r"^data: got '\\udcff', wanted a name in UTF-8$"):
        start(RunFolder(tmp_path / "run", NO_PHANTOM, dataset))
    assert not (tmp_path / "run").exists()


def test_an_error_whose_file_is_no_text_is_recorded(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    with pytest.raises(OSError, match="full"), run.recorded("prepare"):
        raise OSError(28, "full", "d\udcffta")
    record = run.record("prepare")
    assert record is not None
    assert record.error == "OSError: [Errno 28] full: 'd\\udcffta'"
    assert "OSError: [Errno 28] full" in run.log("prepare").read_text()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path, TINY).opened(),
        pytest.raises(ValueError, match="in which another process runs jobs"),
        RunFolder(tmp_path, TINY).opened(),
    ):
        pass
    start(RunFolder(tmp_path, TINY))


def test_a_run_that_is_looked_at_writes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", TINY)
    assert run.record("plan") is None
    assert run.seconds() == {}
    assert not (tmp_path / "run").exists()


def test_a_run_is_found_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, TINY)
    with run.opened(), run.recorded("prepare"):
        pass
    assert RunFolder(tmp_path, TINY).finished("prepare")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    start(RunFolder(tmp_path, TINY))
    other = dataclasses.replace(TINY, epochs=3, folds=4)
    with pytest.raises(ValueError, match=r"out: got .*a run with other settings \(epochs, folds\)"):
        RunFolder(tmp_path, other)
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == TINY.epochs


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"out: got .* which holds other files"):
        start(RunFolder(tmp_path, TINY))
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}


def test_mistyped_data_leave_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: got .*nowhere, which is no folder"):
        start(RunFolder(tmp_path / "run", TINY, tmp_path / "nowhere"))
    start(RunFolder(tmp_path / "run", TINY))


def test_the_paper_needs_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: got no folder"):
        start(RunFolder(tmp_path, PAPER))


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
        RunFolder(tmp_path, TINY, **arguments)


def test_losses_of_one_configuration_and_fold_share_a_seed() -> None:
    seeds = {fold_seed(TINY, model, fold) for model in (DICE_CE_2D, DICE_CE_3D) for fold in range(2)}
    assert len(seeds) == 4
    assert fold_seed(TINY, DICE_CE_3D, 1) == fold_seed(TINY, HAUSDORFF_3D, 1)
    assert fold_seed(TINY, DICE_CE_3D, 1) != fold_seed(
        dataclasses.replace(TINY, seed=TINY.seed + 1), DICE_CE_3D, 1
    )
