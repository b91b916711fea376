import json

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from surfloss.cli import app
from surfloss.metrics import evaluate_folders


@pytest.fixture
def folders(tmp_path):
    target = np.zeros((8, 9, 4), np.uint8)
    target[2:6, 2:6, 1:3] = 1
    for case, prediction in (("a", np.roll(target, 1, axis=0)), ("b", 0 * target)):
        for folder, mask in (("predictions", prediction), ("targets", target)):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(mask, np.diag([0.42, 0.42, 5, 1]))
            nibabel.save(image, tmp_path / folder / f"{case}.nii.gz")
    return str(tmp_path / "predictions"), str(tmp_path / "targets")


def run(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["evaluate", *arguments])


def test_prints_means_with_null_counts_and_writes_all_cases(folders, tmp_path):
    out = tmp_path / "new folder" / "metrics.json"
    result = run(*folders, "--tolerance", "0.5", "--json", str(out))
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text()) == evaluate_folders(*folders, tolerance=0.5)
    assert [path.name for path in out.parent.iterdir()] == ["metrics.json"]
    rows = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if line.startswith("│")}
    distance = [cell.strip() for cell in rows["hausdorff_distance"].split("│")[2:-1]]
    assert distance == ["0.42 ± 0", "0.42", "1", "1"]
    assert [cell.strip() for cell in rows["dice"].split("│")[4:-1]] == ["2", "0"]


def test_tolerance_is_the_challenge_s_unless_given(folders):
    assert run(*folders).stdout == run(*folders, "--tolerance", "0.42").stdout
    assert run(*folders).stdout != run(*folders, "--tolerance", "0.1").stdout


def test_predictions_without_target_are_noted(folders):
    predictions, targets = folders
    nibabel.save(nibabel.load(f"{predictions}/a.nii.gz"), f"{predictions}/c.nii.gz")
    result = run(predictions, targets)
    assert result.exit_code == 0
    assert "Note: no target for c" in result.stderr


def colored(predictions, targets):
    """Make a target an RGB picture, which is a NIfTI file and no mask."""
    pixels = np.zeros((8, 9, 4), [("R", np.uint8), ("G", np.uint8), ("B", np.uint8)])
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), f"{targets}/a.nii.gz")
    return predictions, targets


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t: (f"{p}/none", t), "prediction_dir: got"),
        (lambda p, t: (p, t, "--tolerance", "-1"), "tolerance: got -1.0"),
        (lambda p, t: (p, t, "--json", t), "targets: got a folder, wanted a file to write"),
        (colored, "targets/a.nii.gz: got values of dtype"),
    ],
    ids=["no folder", "bad tolerance", "json is a folder", "RGB"],
)
def test_bad_input_ends_with_one_line_and_code_2(folders, change, message):
    result = run(*change(*folders))
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert result.stdout == ""


def test_help_names_the_arguments():
    result = run("--help")
    assert result.exit_code == 0
    for word in ("PRED_DIR", "TARGET_DIR", "--tolerance", "--json"):
        assert word in result.stdout
