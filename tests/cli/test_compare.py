"""`surfloss compare`: what it refuses before any training, and that it starts what it was asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from surfloss.cli import app
from tests.nnunet.raw import write_decathlon, write_planes, write_volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return write_volumes(tmp_path / "Dataset007_Volumes")


def compare(dataset: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        app, ["compare", str(dataset), "--out", str(dataset.parent / "run"), *arguments]
    )
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def plan(dataset: Path, *arguments: str) -> list[str]:
    """The names of the jobs that a run would do."""
    code, shown, error = compare(dataset, "--folds", "2", "--dry-run", "--json", *arguments)
    assert code == 0, error
    return [job["name"] for job in json.loads(shown)["jobs"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--losses", "dice_ce,hausdorf"], "losses: got 'hausdorf', wanted hausdorff"),
        (["--losses", "nnUNetTrainerDA5Contur"], "wanted nnUNetTrainerDA5Contour"),
        (["--losses", "x,y"], "losses: got 'x', 'y', wanted names of dice_ce, dice_ce_again, contour"),
        (["--losses", "dice_ce,dice_ce"], "losses: got dice_ce, dice_ce, wanted different ones"),
        (["--losses", ","], "losses: got none, wanted different ones"),
        (["--configurations", "4d"], "configurations: got 4d, wanted different ones of 2d, 3d_fullres"),
        (["--ensemble"], "ensemble: got the configuration 3d_fullres alone, wanted at least two"),
        (["--folds", "3"], "folds: got 3 for 4 training cases, wanted as many as hold out at least two"),
        (["--folds", "2", "--tolerance", "-1"], "tolerance: got -1.0, wanted"),
        (["--folds", "2", "--learning-rate", "0"], "learning_rate: got 0.0, wanted"),
        (
            ["--folds", "2", "--beside", "nowhere"],
            "beside: got nowhere without run.json, wanted",
        ),
        (["--folds", "2", "--until", "lunch"], "until: got 'lunch', wanted one of prepare, plan"),
        (["--folds", "2", "--executor", "cloud"], "executor: got 'cloud', wanted local or slurm"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(volumes: Path, arguments: list[str], message: str) -> None:
    code, _, error = compare(volumes, *arguments)
    assert code == 2
    assert message in error
    assert not (volumes.parent / "run").exists()


def test_no_data_set(tmp_path: Path) -> None:
    code, _, error = compare(tmp_path / "nowhere")
    assert code == 2
    assert "nowhere, which is no folder, wanted a data set's folder with a dataset.json" in error


@pytest.mark.parametrize(
    ("write", "arguments", "jobs"),
    [
        (
            write_volumes,
            ["--losses", "dice_ce,contour"],
            {"train/contour_3d_fullres/fold_1", "predict/contour_3d_fullres", "evaluate/dice_ce_3d_fullres"},
        ),
        (
            write_decathlon,
            ["--losses", "contour,nnUNetTrainerDA5DiceCE", "--configurations", "2d,3d_fullres", "--ensemble"],
            {
                "train/dice_ce_da5_2d/fold_0",
                "ensemble/cross_validation/contour_ensemble",
                "evaluate/cross_validation/dice_ce_da5_ensemble",
            },
        ),
        (write_planes, ["--losses", "dice_ce"], {"train/dice_ce_2d/fold_0"}),
    ],
)
def test_the_plan_follows_the_data(
    tmp_path: Path, write: Callable[[Path], Path], arguments: list[str], jobs: set[str]
) -> None:
    planned = plan(write(tmp_path / "data"), *arguments)
    assert jobs <= set(planned)
    tested = any(name.startswith("predict/") and "cross_validation" not in name for name in planned)
    assert tested == (write is write_volumes)
    assert planned[-1] == "report"


def test_planes_have_no_third_axis(tmp_path: Path) -> None:
    code, _, error = compare(write_planes(tmp_path / "planes"), "--configurations", "3d_fullres")
    assert code == 2
    assert "configurations: got 3d_fullres, wanted 2d for images of one slice" in error


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "Task01_Things")
    code, _, error = compare(folder, "--folds", "2", "--dry-run")
    assert code == 0
    assert "4 training and 0 test cases in" in error
    assert "Passed over: 4 hidden files in imagesTr; images that dataset.json does not name: unl" in error


def test_a_folder_of_another_run_is_refused(volumes: Path) -> None:
    assert compare(volumes, "--folds", "2", "--until", "prepare")[0] == 0
    code, _, error = compare(volumes, "--folds", "2", "--until", "prepare", "--epochs", "5")
    assert code == 2
    assert "a run with other settings (epochs, save_every), wanted a new folder" in error
    (volumes.parent / "run2").mkdir()
    (volumes.parent / "run2" / "run.json").write_text("{}")
    code, _, error = compare(volumes, "--folds", "2", "--beside", str(volumes.parent / "run2"))
    assert code == 2
    assert "of another form" in error
