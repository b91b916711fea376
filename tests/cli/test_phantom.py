"""The `surfloss phantom` command: output, exit codes, and one clear error."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from surfloss.cli import app

run = CliRunner().invoke


def test_json_summary_says_what_the_labels_hold(tmp_path: Path) -> None:
    out = tmp_path / "d"
    result = run(app, ["phantom", "--out", str(out), "--cases", "2", "--size", "8,48,48", "--json"])
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["size"] == [8, 48, 48]
    assert summary["spacing"] == pytest.approx([18.75, 215 / 48, 215 / 48])
    assert summary["voxel_ml"] == pytest.approx(18.75 * (215 / 48) ** 2 / 1000)
    assert [case["case"] for case in summary["cases"]] == ["001", "002"]
    for case in summary["cases"]:
        label = np.asanyarray(nib.load(out / "label" / f"{case['case']}.nii.gz").dataobj)
        assert case["volume_ml"] == pytest.approx(label.sum() * summary["voxel_ml"])
        assert sum(case["lesions_ml"]) == pytest.approx(case["volume_ml"])
        assert case["lesions_ml"] == sorted(case["lesions_ml"], reverse=True)


def test_table_and_preview(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "sheet.png"
    arguments = ["--cases", "1", "--size", "4,16,16", "--spacing", "30,12,12", "--preview", str(picture)]
    result = run(app, ["phantom", "--out", str(tmp_path / "d"), *arguments])
    assert result.exit_code == 0
    assert "001" in result.stdout
    assert str(tmp_path / "d") in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "16,64"], "size: got '16,64', wanted three whole numbers z,y,x above 0"),
        (["--size", "16,64,x"], "size: got '16,64,x', wanted three whole numbers z,y,x"),
        (["--size", "1,64,64"], "size: got 1,64,64, wanted"),
        (["--spacing", "5,-1,1"], "spacing: got '5,-1,1', wanted three numbers z,y,x above 0"),
        (["--spacing", "a"], "spacing: got 'a', wanted three numbers"),
        (["--cases", "0"], "cases: got 0, wanted"),
        (["--seed", "-1"], "seed: got -1, wanted"),
    ],
)
def test_wrong_arguments_end_with_code_2_and_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(app, ["phantom", "--out", str(tmp_path / "d"), *arguments])
    assert result.exit_code == 2
    assert result.stderr.strip().startswith(f"Error: {message}")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "d").exists()


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = run(app, ["phantom", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "with other files in it" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_preview_without_matplotlib_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(app, ["phantom", "--out", str(tmp_path / "d"), "--preview", "sheet.png"])
    assert result.exit_code == 2
    assert "wanted it installed: pip install" in result.stderr
    assert not (tmp_path / "d").exists()


def test_the_preview_replaces_no_other_output(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "sheet.png").symlink_to("phantom.json")
    result = run(app, ["phantom", "--out", str(tmp_path), "--preview", str(tmp_path / "sheet.png")])
    assert result.exit_code == 2
    assert "sheet.png: got the file of another output" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
