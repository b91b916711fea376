import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from surfloss._render import number
from surfloss.cli import app
from surfloss.metrics import FolderEvaluation, evaluate_folders
from tests.support.browser import assert_sound, needs_browser, visit


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    target = np.zeros((8, 9, 4), np.uint8)
    target[2:6, 2:6, 1:3] = 1
    for case, prediction in (("a", np.roll(target, 1, axis=0)), ("b", 0 * target)):
        for folder, mask in (("predictions", prediction), ("targets", target)):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(mask, np.diag([0.42, 0.42, 5, 1]))
            nibabel.save(image, tmp_path / folder / f"{case}.nii.gz")
    return str(tmp_path / "predictions"), str(tmp_path / "targets")


def run(*arguments: Any, columns: int = 120) -> Result:
    given = arguments if "--tolerance" in arguments else (*arguments, "--tolerance", "0.42")
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["evaluate", *map(str, given)])


def test_prints_means_with_null_counts_and_writes_all_cases(folders: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "metrics.json"
    result = run(*folders, "--tolerance", "0.5", "--json", str(out))
    assert result.exit_code == 0, result.output
    written = FolderEvaluation.from_dict(json.loads(out.read_text()))
    assert written == evaluate_folders(*folders, tolerance=0.5)
    assert [path.name for path in out.parent.iterdir()] == ["metrics.json"]
    rows = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if line.startswith("│")}
    distance = [cell.strip() for cell in rows["hausdorff_distance"].split("│")[2:-1]]
    assert distance == ["0.4200 ± 0.0000", "-", "0.4200", "1", "1"]
    assert [cell.strip() for cell in rows["dice"].split("│")[5:-1]] == ["2", "0"]


def test_a_narrow_terminal_shows_whole_names_and_no_intervals(folders: tuple[str, str]) -> None:
    result = run(*folders, columns=80)
    cells = "".join(line.split("│")[1].strip() for line in result.stdout.splitlines() if "│" in line)
    assert "average_symmetric_surface_distance" in cells
    assert "95 %" not in result.stdout
    assert "95 %" in run(*folders).stdout


def test_a_tolerance_is_required_and_the_error_says_why(folders: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["evaluate", *folders])
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "Error: tolerance: got none, wanted --tolerance MM: surfaces that far apart"
    )
    assert "INSTANCE2022: --tolerance 0.42" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_predictions_without_target_are_noted(folders: tuple[str, str]) -> None:
    predictions, targets = folders
    nibabel.save(nibabel.load(f"{predictions}/a.nii.gz"), f"{predictions}/c.nii.gz")
    result = run(predictions, targets)
    assert result.exit_code == 0
    assert "c: extra: a prediction without a target" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t: (f"{p}/none", t), "prediction_dir: got"),
        (lambda p, t: (p, t, "--tolerance", "-1"), "tolerance: got -1.0"),
        (lambda p, t: (p, t, "--json", t), "targets: got a folder, wanted a file to write"),
        (lambda p, t: (p, t, "--labels", "1,x"), "labels: got 'x', wanted all, a dataset.json, or"),
        (lambda p, t: (p, t, "--fail-under", "dice"), "--fail-under: got 'dice', wanted METRIC=NUMBER"),
        (lambda p, t: (p, t, "--fail-under", "dice=nan"), "--fail-under: got 'dice=nan', wanted METRIC="),
        (lambda p, t: (p, t, "--fail-under", "dice[=1"), "--fail-under: got 'dice[=1', wanted METRIC=NUMBER"),
        (lambda p, t: (p, t, "--fail-over", "dize=1"), "limit: got 'dize', wanted one of dice, "),
        (lambda p, t: (p, t, "--fail-under", "dice[a]=1"), "'dice[a]', wanted one of the labels (none"),
        (lambda p, t: (p, t, "--labels", "all", "--fail-under", "dice[2]=1"), "wanted one of the labels 1"),
        (lambda p, t: (p, t, "--labels", "1=a", "--fail-under", "dice[1]=1"), "wanted one of the labels a"),
        (lambda p, t: (p, t, "--empty", "zero"), "empty: got 'zero', wanted one of null, diagonal, worst"),
        (lambda p, t: (p, t, "--both-empty", "1"), "both_empty: got '1', wanted one of official, perfect"),
        (lambda p, t: (p, t, "--images", f"{p}/none"), "predictions/none, wanted an existing folder"),
        *((lambda p, t, option=option: (p, t, option, f"{t}/a.nii.gz/x"), "a.nii.gz, where it cannot be made")
          for option in ("--json", "--csv", "--markdown", "--html", "--cache")),
        (lambda p, t: (p, t, "--json", "/proc/x.json"), "/proc, where it cannot be made"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line_and_code_2(
    folders: tuple[str, str],
    change: Callable[[str, str], tuple[str, ...]],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before any case is measured."""
    monkeypatch.setattr("surfloss.metrics.folders.measure_case", None)
    result = run(*change(*folders))
    assert result.exit_code == 2
    line = result.stderr.strip().splitlines()[-1]  # behind the progress bar
    assert line.startswith("Error: ")
    assert message in line
    assert result.stdout == ""


def test_a_case_with_a_problem_is_named_and_the_rest_is_written(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    """A target that is an RGB picture is a NIfTI file and no mask."""
    pixels = np.zeros((8, 9, 4), [("R", np.uint8), ("G", np.uint8), ("B", np.uint8)])
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), f"{folders[1]}/a.nii.gz")
    outputs = {ending: tmp_path / f"out.{ending}" for ending in ("json", "csv", "md", "html")}
    options = ("--json", "--csv", "--markdown", "--html")
    result = run(
        *folders, *(str(part) for pair in zip(options, outputs.values(), strict=True) for part in pair)
    )
    assert result.exit_code == 2
    assert "a: unreadable: " in result.stderr
    assert "targets/a.nii.gz: got values of dtype" in result.stderr
    written = json.loads(outputs["json"].read_text())
    assert written["problems"] == {"unreadable": 1}
    assert [case["dice"] is None for case in written["cases"]] == [True, False]
    for ending in ("csv", "md", "html"):
        assert "got values of dtype" in outputs[ending].read_text()


def test_limits_decide_the_exit_code(folders: tuple[str, str]) -> None:
    mean = evaluate_folders(*folders, tolerance=0.42).summary["dice"].mean
    assert run(*folders, "--fail-under", f"dice={mean - 0.01}").exit_code == 0
    result = run(*folders, "--fail-under", "lesions=1", "--fail-under", f"dice={mean + 0.01}")
    assert result.exit_code == 1
    assert f"Mean dice {mean}, wanted at least {mean + 0.01}" in result.stderr
    assert "lesions" not in result.stderr
    assert run(*folders, "--fail-over", "hausdorff_distance=0.5").exit_code == 0
    assert run(*folders, "--fail-over", "hausdorff_distance=0.4").exit_code == 1


def test_limits_may_be_those_of_a_label(folders: tuple[str, str]) -> None:
    labels = ("--labels", "1=lesion [old]")
    mean = evaluate_folders(*folders, tolerance=0.42).summary["dice"].mean
    assert run(*folders, *labels, "--fail-under", f"dice[lesion [old]]={mean - 0.01}").exit_code == 0
    result = run(*folders, *labels, "--fail-under", f"dice[lesion [old]]={mean + 0.01}")
    assert result.exit_code == 1
    assert f"Mean dice[lesion [old]] {mean}, wanted at least" in result.stderr


def test_a_label_that_no_target_has_is_named_and_passes_no_limit(folders: tuple[str, str]) -> None:
    result = run(*folders, "--labels", "7")
    assert result.exit_code == 2
    assert "label 7: absent: it occurs in no target" in result.stderr
    assert "labels 1: other: found but not asked for, background here" in result.stderr
    assert run(*folders, "--labels", "7", "--fail-under", "dice=0.5").exit_code == 1


def test_empty_targets_pass_no_limit(folders: tuple[str, str]) -> None:
    for path in (path for folder in folders for path in Path(folder).iterdir()):
        nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)), path)
    result = run(*folders)
    assert result.exit_code == 2
    assert "label 1: absent: it occurs in no target" in result.stderr
    assert run(*folders, "--fail-under", "dice=0.9").exit_code == 1


def test_rules_for_empty_masks(folders: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run(*folders, "--empty", "worst", "--both-empty", "null", "--json", out).exit_code == 0
    wanted = evaluate_folders(*folders, tolerance=0.42, empty="worst", both_empty="null")
    assert FolderEvaluation.from_dict(json.loads(out.read_text())) == wanted


def test_several_labels_without_a_choice_mention_the_option(folders: tuple[str, str]) -> None:
    image = nibabel.load(f"{folders[1]}/a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(3 * np.asarray(image.dataobj), image.affine), f"{folders[1]}/a.nii.gz")
    assert "several labels say which (--labels)" in run(*folders).stderr


def test_a_mean_that_is_null_keeps_no_limit(folders: tuple[str, str]) -> None:
    for path in Path(folders[0]).iterdir():
        path.unlink()
    assert run(*folders, "--fail-over", "hausdorff_distance=100").exit_code == 1


def test_reports_hold_every_case_and_every_lesion(folders: tuple[str, str], tmp_path: Path) -> None:
    csv_out, markdown, page = (tmp_path / name for name in ("cases.csv", "report.md", "report.html"))
    outputs = ("--csv", str(csv_out), "--markdown", str(markdown), "--html", str(page))
    result = run(*folders, "--per-lesion", "--tolerance", "0.42", "--tolerance", "1", *outputs)
    assert result.exit_code == 0, result.output
    evaluation = evaluate_folders(*folders, tolerance=(0.42, 1), per_lesion=True)
    rows = list(csv.DictReader(csv_out.read_text().splitlines()))
    assert [row["case"] for row in rows] == ["a", "b"]
    assert float(rows[0]["surface_dice_1"]) == evaluation.cases[0].values["surface_dice_1"]
    assert rows[1]["hausdorff_distance"] == "null"
    lesions = list(csv.DictReader((tmp_path / "cases_lesions.csv").read_text().splitlines()))
    assert [(row["case"], row["in"], row["matched"]) for row in lesions] == [
        ("a", "target", "1"),
        ("b", "target", ""),
    ]
    assert lesions[1]["hausdorff_distance_95"] == "null"
    dice = number(evaluation.cases[0].values["dice"])
    for path in (markdown, page):
        text = path.read_text()
        assert dice in text
        assert "Lesions and false positives" in text
    columns = {line.count("|") for line in markdown.read_text().splitlines() if line.startswith("| Dice |")}
    assert columns == {7}
    assert not re.search(r"(src|href)=\"(?!data:|#)", page.read_text())  # one file, nothing to load


SORT = """
  const tables = [...document.querySelectorAll("table")];
  const table = tables.find(table => table.rows[0].textContent.includes("Case"));
  const column = [...table.rows[0].cells].findIndex(cell => cell.textContent === "Dice");
  table.rows[0].cells[column].firstElementChild.click();
  return [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
"""


@needs_browser
def test_the_page_in_a_browser(folders: tuple[str, str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run(*folders, "--per-lesion", "--html", str(page)).exit_code == 0
    folder = tmp_path / "visit"
    folder.mkdir()
    seen = visit(page.read_text(), folder, SORT)
    assert_sound(seen)
    assert seen.found == ["b", "a"]  # the empty prediction has the lower Dice


def test_a_file_that_cannot_be_written_in_the_end_hides_no_result(
    folders: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(result: FolderEvaluation) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("surfloss.cli._evaluation.as_json", full)
    result = run(*folders, "--json", tmp_path / "out.json")
    assert result.exit_code == 2
    assert "dice" in result.stdout
    assert "No space left on device" in result.stderr


def test_reports_need_jinja(folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(*folders, "--html", "out.html")
    assert result.exit_code == 2
    assert "pip install 'surfloss[evaluate]'" in result.stderr


def test_help_names_the_arguments() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("PRED_DIR", "TARGET_DIR", "--tolerance", "--json", "--labels", "--fail-under", "--empty"):
        assert word in result.stdout


def raw_pair(folder: Path) -> None:
    """A case in two files."""
    (folder / "r.raw").write_bytes(bytes(24))
    (folder / "r.nhdr").write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nspacings: 1 1 1\nencoding: raw\n"
        "data file: r.raw\n"
    )


PLACES = {
    "a case": "{p}/a.nii.gz",
    "a target": "{t}/b.nii.gz",
    "another case": "{p}/new.NRRD",
    "below": "{t}/deep/c000.nii",
    "an image": "{i}/new.mha",
    "voxels": "{t}/r.raw",
    "a link to a case": "{i}/link.csv",
    "the labels": "{i}/dataset.json",
}


@pytest.mark.parametrize("option", ["--json", "--csv", "--markdown", "--html"])
@pytest.mark.parametrize("place", PLACES)
def test_no_output_overwrites_an_input(
    folders: tuple[str, str], tmp_path: Path, option: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surfloss.metrics.folders.measure_case", None)
    images = tmp_path / "images"
    images.mkdir()
    raw_pair(Path(folders[1]))
    (images / "link.csv").symlink_to(f"{folders[0]}/a.nii.gz")
    (images / "dataset.json").write_text('{"labels": {"organ": 1}}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = PLACES[place].format(p=folders[0], t=folders[1], i=images)
    result = run(*folders, "--images", images, "--labels", images / "dataset.json", option, out)
    assert result.exit_code == 2
    assert f"Error: {out}: got " in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "outputs",
    [
        ("--json", "same.txt", "--csv", "same.txt"),
        ("--json", "same.txt", "--html", "link.txt"),
        ("--markdown", "x/../same.txt", "--csv", "same.txt"),
        ("--csv", "a.csv", "--per-lesion", "--json", "a_lesions.csv"),
    ],
)
def test_no_output_overwrites_another(
    folders: tuple[str, str], tmp_path: Path, outputs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surfloss.metrics.folders.measure_case", None)
    (tmp_path / "x").mkdir()
    (tmp_path / "link.txt").symlink_to("same.txt")
    result = run(*folders, *(part if part.startswith("--") else tmp_path / part for part in outputs))
    assert result.exit_code == 2
    assert "got the file of another output, wanted a file of its own" in result.stderr


def test_reports_may_stand_beside_the_masks_and_go_to_one_device(folders: tuple[str, str]) -> None:
    out = f"{folders[0]}/metrics.json"
    for _ in range(2):
        assert run(*folders, "--json", out, "--csv", "/dev/null", "--markdown", "/dev/null").exit_code == 0
