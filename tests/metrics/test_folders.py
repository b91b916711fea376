"""Two folders of cases: what is read, what is wrong with it, and that no case is lost."""

import dataclasses
import gzip
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from surfloss import metrics

AFFINE = np.diag([0.5, 0.4, 5.0, 1.0])  # x, y, z


def blob(shift: int = 0) -> np.ndarray:
    """A mask in (x, y, z), as NIfTI has it."""
    mask = np.zeros((12, 14, 6), np.uint8)
    mask[2 + shift : 8 + shift, 3:9, 1:4] = 1
    return mask


def save(path: Path, mask: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases; the prediction of the second one is empty."""
    for case, prediction in (("case_1", blob(1)), ("case_2", 0 * blob())):
        save(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
        save(tmp_path / "targets" / f"{case}.nii.gz", blob())
    return tmp_path / "predictions", tmp_path / "targets"


def test_folders_give_cases_and_a_summary_without_undefined_values(folders: tuple[Path, Path]) -> None:
    seen = []
    result = metrics.evaluate_folders(*folders, tolerance=0.5, progress=lambda *step: seen.append(step))
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert metrics.FolderEvaluation.from_dict(json.loads(text)) == result
    assert seen == [("case_1", 1, 2), ("case_2", 2, 2)]
    assert [case.case for case in result.cases] == ["case_1", "case_2"]
    assert (result.unmatched, result.problems) == ((), {})

    first, second = result.cases
    mask = np.ascontiguousarray(blob().T)
    moved = np.ascontiguousarray(blob(1).T)
    spacing = (5.0, 0.4, 0.5)
    values = vars(metrics.evaluate(moved, mask, spacing=spacing, tolerance=0.5))
    assert first == metrics.CaseResult("case_1", "1", values, None)
    assert first.values["hausdorff_distance"] == pytest.approx(0.5)  # along x
    assert first.values["target_volume_ml"] == pytest.approx(6 * 6 * 3 * 0.5 * 0.4 * 5 / 1000)
    assert second.values["hausdorff_distance"] is None
    assert second.values["relative_volume_difference"] == 1

    summary = result.summary
    assert list(summary) == [field.name for field in dataclasses.fields(metrics.CaseMetrics)]
    values = [first.values["dice"], second.values["dice"]]
    assert summary["dice"] == metrics.Summary(
        mean=pytest.approx(statistics.fmean(values)),
        std=pytest.approx(np.std(values)),
        median=pytest.approx(np.median(values)),
        ci95=(min(values), max(values)),  # of two cases, one half of the samples holds one twice
        count=2,
        null=0,
    )
    only = first.values["hausdorff_distance"]
    assert summary["hausdorff_distance"] == metrics.Summary(only, 0, only, None, count=1, null=1)


def test_a_metric_that_is_never_defined_has_no_mean(folders: tuple[Path, Path]) -> None:
    predictions, targets = folders
    (predictions / "case_1.nii.gz").unlink()
    (targets / "case_1.nii.gz").unlink()
    summary = metrics.evaluate_folders(predictions, targets, tolerance=0.42).summary
    assert summary["hausdorff_distance"] == metrics.Summary(None, None, None, None, count=0, null=1)


def test_other_files_are_passed_over_and_predictions_without_target_are_named(
    folders: tuple[Path, Path],
) -> None:
    predictions, targets = folders
    (predictions / "dataset.json").write_text("{}")
    save(predictions / "case_9.nii.gz", blob())
    result = metrics.evaluate_folders(predictions, targets, tolerance=0.42)
    assert len(result.cases) == 2
    assert result.unmatched == ("case_9",)
    assert result.problems == {"extra": 1}


def test_plain_nifti_and_rounded_affines_are_taken(folders: tuple[Path, Path]) -> None:
    predictions, targets = folders
    (predictions / "case_1.nii.gz").unlink()
    save(predictions / "case_1.nii", blob(1).astype(np.float32), AFFINE + 1e-6)
    assert metrics.evaluate_folders(predictions, targets, tolerance=0.42).cases[0].values["dice"] > 0.8


def test_two_dimensional_files_are_taken(tmp_path: Path) -> None:
    for folder in ("predictions", "targets"):
        save(tmp_path / folder / "case.nii.gz", blob()[:, :, 2])
    folders = tmp_path / "predictions", tmp_path / "targets"
    (case,) = metrics.evaluate_folders(*folders, tolerance=0.42).cases
    assert (case.values["dice"], case.values["volume_ml"]) == (1, None)


def broken(name: str) -> Callable[[Path], None]:
    """Spoil the prediction of `case_1` in the way of that name."""

    def spoil(path: Path) -> None:
        shifted = AFFINE.copy()
        shifted[0, 3] = 0.2
        if name == "missing":
            path.unlink()
        elif name == "empty":
            path.write_bytes(b"")
        elif name == "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        elif name == "short":
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-40]))
        elif name == "no NIfTI":
            path.write_bytes(b"not an image")
        elif name == "label 2":
            save(path, 2 * blob())
        elif name == "NaN":
            save(path, np.where(blob() > 0, np.nan, 0).astype(np.float32))
        elif name == "shape":
            save(path, blob()[:-1])
        elif name == "affine":
            save(path, blob(), shifted)
        elif name == "steps":
            image = nibabel.Nifti1Image(blob(), AFFINE)
            image.header["pixdim"][3] = 1
            nibabel.save(image, path)
        elif name == "4-D":
            save(path, blob()[..., None].repeat(2, -1))

    return spoil


PROBLEMS = {
    "missing": ("missing", r"targets/case_1.nii.gz: got no prediction, wanted a file of the same name"),
    "empty": ("unreadable", r"case_1.nii.gz: got a file that cannot be read"),
    "truncated": ("unreadable", r"case_1.nii.gz: got a file that cannot be read \(.*wanted a whole NIfTI"),
    "short": ("unreadable", r"case_1.nii.gz: got a file that cannot be read"),
    "no NIfTI": ("unreadable", r"case_1.nii.gz: got a file that cannot be read"),
    "steps": ("unreadable", r"case_1.nii.gz: got an affine with steps of 0.5 x 0.4 x 5 mm beside"),
    "4-D": ("unreadable", r"case_1.nii.gz: got shape .* wanted a 2-D or 3-D mask"),
    "shape": ("misaligned", r"case_1.nii.gz: got shape \(11, 14, 6\), wanted .* \(12, 14, 6\)"),
    "affine": ("misaligned", r"case_1.nii.gz: got an affine that moves voxels by 0.2 mm"),
    "label 2": ("labels", r"predictions/case_1.nii.gz: got values \[2\], wanted a binary mask"),
    "NaN": ("labels", r"case_1.nii.gz: got values \[nan"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_case_with_a_problem_is_reported_and_counted(folders: tuple[Path, Path], name: str) -> None:
    good = metrics.evaluate_folders(*folders, tolerance=0.42)
    broken(name)(folders[0] / "case_1.nii.gz")
    result = metrics.evaluate_folders(*folders, tolerance=0.42)
    kind, message = PROBLEMS[name]
    first, second = result.cases
    assert first.problem.kind == kind
    assert re.search(message, first.problem.message)
    assert first.values == dict.fromkeys(field.name for field in dataclasses.fields(metrics.CaseMetrics))
    assert second == good.cases[1]
    assert result.problems == {kind: 1}
    assert (result.summary["dice"].count, result.summary["dice"].null) == (1, 1)


def test_a_broken_target_is_the_case_s_problem_too(folders: tuple[Path, Path]) -> None:
    (folders[1] / "case_2.nii.gz").write_bytes(b"")
    result = metrics.evaluate_folders(*folders, tolerance=0.42)
    assert [case.problem is None for case in result.cases] == [True, False]
    assert "targets/case_2.nii.gz" in result.cases[1].problem.message


def test_a_case_that_cannot_be_measured_ends_no_run(folders: tuple[Path, Path]) -> None:
    """Steps that all differ, and of a size whose squares float32 does not hold."""
    affine = np.diag([1e25, 2e25, 3e25, 1])
    for folder in folders:
        save(folder / "case_1.nii.gz", blob(), affine)
    result = metrics.evaluate_folders(*folders, tolerance=0.42)
    assert result.problems == {"unmeasurable": 1}
    assert "spacing: got" in result.cases[0].problem.message
    assert result.cases[1].problem is None


def test_a_folder_with_the_name_of_an_image_is_a_problem(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[0] / "case_2.nii.gz").unlink()
    (folders[0] / "case_2.nii.gz").mkdir()
    result = metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache")
    assert result.problems == {"unreadable": 1}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["case_1.json"]


def without_target(predictions: Path, targets: Path) -> None:
    for path in targets.iterdir():
        path.unlink()


MISTAKES = {
    "no target": (without_target, {}, "target_dir: got no label image in .*targets"),
    "twice": (
        lambda predictions, targets: save(targets / "case_1.nii", blob()),
        {},
        r"target_dir: got case_1.nii and case_1.nii.gz, wanted one file a case",
    ),
    "no folder": (
        lambda predictions, targets: predictions.rename(predictions.with_name("x")),
        {},
        "prediction_dir: got",
    ),
    "labels": (None, {"labels": [0, 1]}, "labels: got 0"),
    "no label": (None, {"labels": []}, r"labels: got \[\], wanted at least one"),
    "label twice": (None, {"labels": [2, 2]}, r"labels: got \['2', '2'\]"),
    "workers": (None, {"workers": 0}, "workers: got 0"),
    "tolerances": (None, {"tolerance": []}, "tolerance: got none"),
    "percentile": (None, {"percentiles": [120]}, "percentile: got 120"),
}


@pytest.mark.parametrize(("spoil", "options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_concerns_all_cases_is_an_error(
    folders: tuple[Path, Path], spoil: Callable[..., object] | None, options: Any, message: str
) -> None:
    if spoil:
        spoil(*folders)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        metrics.evaluate_folders(*folders, **{"tolerance": 0.42} | options)


@pytest.fixture
def organs(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases of labels 1 and 2; label 2 is absent from the last target."""
    rng = np.random.default_rng(0)
    for case in ("a", "b", "c"):
        target = np.zeros((12, 14, 6), np.int16)
        target[1:5, 3:9, 1:4] = 1
        target[7:11, 3:9, 1:5] = 2 if case != "c" else 0
        target[6, 12, 5] = 7
        prediction = np.roll(target, rng.integers(0, 2, 3), (0, 1, 2))
        save(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
        save(tmp_path / "targets" / f"{case}.nii.gz", target)
    return tmp_path / "predictions", tmp_path / "targets"


def test_labels_are_evaluated_one_by_one(organs: tuple[Path, Path]) -> None:
    result = metrics.evaluate_folders(*organs, tolerance=0.42, labels=[2, 1])
    assert [(case.case, case.label) for case in result.cases] == [
        (case, label) for case in "abc" for label in ("2", "1")
    ]
    prediction, target = (np.asarray(nibabel.load(folder / "b.nii.gz").dataobj).T == 2 for folder in organs)
    wanted = metrics.evaluate(prediction, target, spacing=(5.0, 0.4, 0.5), tolerance=0.42)
    assert result.cases[2] == metrics.CaseResult("b", "2", vars(wanted), None)
    both, two = result.summary, result.summary_by_label["2"]
    assert (both["surface_dice"].count, both["surface_dice"].null) == (5, 1)
    assert (two["surface_dice"].count, two["surface_dice"].null) == (2, 1)
    assert result.problems == {}


def test_without_labels_other_labels_are_a_problem(organs: tuple[Path, Path]) -> None:
    assert metrics.evaluate_folders(*organs, tolerance=0.42).problems == {"labels": 3}


def test_labels_are_whole_numbers(organs: tuple[Path, Path]) -> None:
    save(organs[0] / "b.nii.gz", np.full((12, 14, 6), 1.5, np.float32))
    result = metrics.evaluate_folders(*organs, tolerance=0.42, labels=[1, 2])
    assert result.problems == {"labels": 1}
    assert "got values [1.5], wanted whole numbers" in result.cases[2].problem.message


def test_further_tolerances_and_percentiles_are_further_values(folders: tuple[Path, Path]) -> None:
    first = metrics.evaluate_folders(*folders, tolerance=(0.5, 0.1), percentiles=(50,)).cases[0]
    mask, moved = np.ascontiguousarray(blob().T), np.ascontiguousarray(blob(1).T)
    surfaces = metrics.surface_distances(moved, mask, spacing=(5.0, 0.4, 0.5))
    assert first.values["surface_dice"] == surfaces.dice(0.5)
    assert first.values["surface_dice_0.1"] == surfaces.dice(0.1)
    assert first.values["hausdorff_distance_50"] == surfaces.hausdorff(50)


def test_lesions_are_listed_on_demand(folders: tuple[Path, Path]) -> None:
    assert "lesions" not in metrics.evaluate_folders(*folders, tolerance=0.42).to_dict()
    result = metrics.evaluate_folders(*folders, tolerance=0.42, per_lesion=True)
    mask, moved = np.ascontiguousarray(blob().T), np.ascontiguousarray(blob(1).T)
    spacing = (5.0, 0.4, 0.5)
    (wanted,) = metrics.per_lesion(moved, mask, spacing=spacing, tolerance=0.42).lesions
    found, missed = result.lesions
    assert found == metrics.CaseComponent("case_1", "1", wanted)
    assert found.to_dict()["component"] == wanted.label
    assert (missed.case, missed.component.matched, missed.component.surface_dice) == ("case_2", (), 0)
    assert missed.component.hausdorff_distance_95 is None
    assert result.false_positives == ()
    assert metrics.FolderEvaluation.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_formats_give_the_same(folders: tuple[Path, Path], tmp_path: Path, ending: str) -> None:
    """Converted by SimpleITK, which reads NIfTI by itself; the targets stay NIfTI."""
    other = tmp_path / "converted"
    other.mkdir()
    for path in folders[0].iterdir():
        image = SimpleITK.ReadImage(str(path))
        SimpleITK.WriteImage(image, str(other / path.name.replace(".nii.gz", ending)), True)
    wanted = metrics.evaluate_folders(*folders, tolerance=0.42)
    assert metrics.evaluate_folders(other, folders[1], tolerance=0.42) == wanted
    turned = metrics.evaluate_folders(folders[0], other, tolerance=0.42).cases[0]  # with its own spacing
    assert turned.problem is None
    assert turned.values["target_volume_ml"] == pytest.approx(6 * 6 * 3 * 0.5 * 0.4 * 5 / 1000)

    path = other / f"case_1{ending}"
    path.write_bytes(path.read_bytes()[:-30])
    (other / f"case_2{ending}").write_bytes(b"")
    result = metrics.evaluate_folders(other, folders[1], tolerance=0.42)
    assert result.problems == {"unreadable": 2}
    assert "cannot be read" in result.cases[0].problem.message


def test_pictures_of_several_channels_are_no_masks(folders: tuple[Path, Path]) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((6, 14, 12, 3), np.uint8), isVector=True)
    (folders[0] / "case_1.nii.gz").unlink()
    SimpleITK.WriteImage(image, str(folders[0] / "case_1.mha"))
    problem = metrics.evaluate_folders(*folders, tolerance=0.42).cases[0].problem
    assert problem.kind == "unreadable"
    assert "values of 3 numbers" in problem.message


def test_finished_cases_are_kept_until_files_or_settings_change(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    plain = metrics.folders.measure_case
    monkeypatch.setattr(
        metrics.folders, "measure_case", lambda case: (measured.append(case.name), plain(case))[1]
    )

    def run(tolerance: float = 0.42) -> metrics.FolderEvaluation:
        measured.clear()
        return metrics.evaluate_folders(*folders, tolerance=tolerance, cache=tmp_path / "cache")

    first = run()
    assert measured == ["case_1", "case_2"]
    assert run() == first == metrics.evaluate_folders(*folders, tolerance=0.42)
    run()
    assert measured == []
    run(tolerance=1.0)
    assert measured == ["case_1", "case_2"]
    run(tolerance=1.0)
    assert measured == []
    save(folders[0] / "case_2.nii.gz", blob())
    assert run(tolerance=1.0).cases[1].values["dice"] == 1
    assert measured == ["case_2"]
    (tmp_path / "cache" / "case_1.json").write_text("{")
    run(tolerance=1.0)
    assert measured == ["case_1"]


def test_an_interrupted_run_keeps_what_is_finished(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def interrupt(case: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache", progress=interrupt)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["case_1.json"]


@pytest.mark.timeout(120)
def test_workers_give_the_same_in_the_same_order(organs: tuple[Path, Path]) -> None:
    (organs[0] / "b.nii.gz").unlink()
    options = {"tolerance": 0.42, "labels": [1, 2], "per_lesion": True}
    seen = []
    result = metrics.evaluate_folders(
        *organs, workers=2, progress=lambda case, done, total: seen.append((done, total)), **options
    )
    assert result == metrics.evaluate_folders(*organs, **options)
    assert seen == [(1, 3), (2, 3), (3, 3)]
