import dataclasses
import gzip
import json
import statistics

import nibabel
import numpy as np
import pytest

from surfloss import metrics
from tests.support import volumes

AFFINE = np.diag([0.5, 0.4, 5.0, 1.0])  # x, y, z


def blob(shift=0):
    """A mask in (x, y, z), as NIfTI has it."""
    mask = np.zeros((12, 14, 6), np.uint8)
    mask[2 + shift : 8 + shift, 3:9, 1:4] = 1
    return mask


def save(path, mask, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)


@pytest.fixture
def folders(tmp_path):
    """Two cases; the prediction of the second one is empty."""
    for case, prediction in (("case_1", blob(1)), ("case_2", 0 * blob())):
        save(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
        save(tmp_path / "targets" / f"{case}.nii.gz", blob())
    return tmp_path / "predictions", tmp_path / "targets"


def test_a_case_holds_what_the_functions_give():
    volume, spacing = volumes.load("brain1_label")
    target = volume > 0
    prediction = np.roll(target, (1, 2), (0, 2))
    prediction[0, :3, :4] = True
    both = {"prediction": prediction, "target": target, "spacing": spacing}
    got = metrics.evaluate(prediction, target, spacing, tolerance=0.8)
    report = metrics.per_lesion(**both)
    assert got == metrics.CaseMetrics(
        dice=metrics.dice(**both),
        relative_volume_difference=metrics.relative_volume_difference(**both),
        hausdorff_distance=metrics.hausdorff_distance(**both),
        hausdorff_distance_95=metrics.hausdorff_distance(**both, percentile=95),
        surface_dice=metrics.surface_dice(**both, tolerance=0.8),
        average_symmetric_surface_distance=metrics.average_symmetric_surface_distance(**both),
        volume_ml=metrics.volume_ml(prediction, spacing=spacing),
        target_volume_ml=metrics.volume_ml(target, spacing=spacing),
        abc2_volume_ml=metrics.abc2_volume_ml(prediction, spacing=spacing),
        target_abc2_volume_ml=metrics.abc2_volume_ml(target, spacing=spacing),
        lesions=len(report.lesions),
        detected_lesions=report.detected,
        false_positive_lesions=len(report.false_positives),
    )
    assert all(type(value) in (float, int) for value in dataclasses.astuple(got))
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.dice = 1.0


def test_a_2d_case_has_no_volumes():
    got = metrics.evaluate(np.ones((4, 5)), np.ones((4, 5)), (0.5, 0.5))
    assert (got.dice, got.hausdorff_distance) == (1, 0)
    assert got.volume_ml is got.target_volume_ml is got.abc2_volume_ml is got.target_abc2_volume_ml is None


def test_folders_give_cases_and_a_summary_without_undefined_values(folders):
    seen = []
    result = metrics.evaluate_folders(*folders, tolerance=0.5, progress=seen.append)
    json.dumps(result, allow_nan=False)
    assert seen == [case["case"] for case in result["cases"]] == ["case_1", "case_2"]
    assert result["unmatched"] == []

    first, second = result["cases"]
    mask = np.ascontiguousarray(blob().T)
    moved = np.ascontiguousarray(blob(1).T)
    spacing = [float(np.float32(step)) for step in (5.0, 0.4, 0.5)]
    assert first == {"case": "case_1", **vars(metrics.evaluate(moved, mask, spacing, tolerance=0.5))}
    assert first["hausdorff_distance"] == pytest.approx(0.5)  # along x
    assert first["target_volume_ml"] == pytest.approx(6 * 6 * 3 * 0.5 * 0.4 * 5 / 1000)
    assert second["hausdorff_distance"] is None
    assert second["relative_volume_difference"] == 1

    summary = result["summary"]
    assert list(summary) == [field.name for field in dataclasses.fields(metrics.CaseMetrics)]
    values = [first["dice"], second["dice"]]
    assert summary["dice"] == {
        "mean": pytest.approx(statistics.fmean(values)),
        "std": pytest.approx(np.std(values)),
        "median": pytest.approx(np.median(values)),
        "count": 2,
        "null": 0,
    }
    only = first["hausdorff_distance"]
    assert summary["hausdorff_distance"] == {"mean": only, "std": 0, "median": only, "count": 1, "null": 1}


def test_a_metric_that_is_never_defined_has_no_mean(folders):
    predictions, targets = folders
    (predictions / "case_1.nii.gz").unlink()
    (targets / "case_1.nii.gz").unlink()
    summary = metrics.evaluate_folders(predictions, targets)["summary"]
    assert summary["hausdorff_distance"] == {"mean": None, "std": None, "median": None, "count": 0, "null": 1}


def test_other_files_are_passed_over_and_predictions_without_target_are_named(folders):
    predictions, targets = folders
    (predictions / "dataset.json").write_text("{}")
    save(predictions / "case_9.nii.gz", blob())
    result = metrics.evaluate_folders(predictions, targets)
    assert len(result["cases"]) == 2
    assert result["unmatched"] == ["case_9"]


def test_plain_nifti_and_rounded_affines_are_taken(folders):
    predictions, targets = folders
    (predictions / "case_1.nii.gz").unlink()
    save(predictions / "case_1.nii", blob(1).astype(np.float32), AFFINE + 1e-6)
    assert metrics.evaluate_folders(predictions, targets)["cases"][0]["dice"] > 0.8


def test_two_dimensional_files_are_taken(tmp_path):
    for folder in ("predictions", "targets"):
        save(tmp_path / folder / "case.nii.gz", blob()[:, :, 2])
    (case,) = metrics.evaluate_folders(tmp_path / "predictions", tmp_path / "targets")["cases"]
    assert (case["dice"], case["volume_ml"]) == (1, None)


def broken(name):
    """Spoil `case_1` of a prediction folder in the way of that name."""

    def spoil(predictions, targets):
        path = predictions / "case_1.nii.gz"
        shifted = AFFINE.copy()
        shifted[0, 3] = 0.2
        if name == "truncated":
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


def without_target(predictions, targets):
    for path in targets.iterdir():
        path.unlink()


def twice(predictions, targets):
    save(targets / "case_1.nii", blob())


MISTAKES = {
    "truncated": (
        broken("truncated"),
        r"case_1.nii.gz: got a file that cannot be read \(.*wanted a whole NIfTI",
    ),
    "short": (broken("short"), r"case_1.nii.gz: got a file that cannot be read"),
    "no NIfTI": (broken("no NIfTI"), r"case_1.nii.gz: got a file that cannot be read"),
    "label 2": (broken("label 2"), r"predictions/case_1.nii.gz: got values \[2\], wanted a binary mask"),
    "NaN": (broken("NaN"), r"case_1.nii.gz: got values \[nan"),
    "shape": (broken("shape"), r"case_1.nii.gz: got shape \(11, 14, 6\), wanted .* \(12, 14, 6\)"),
    "affine": (broken("affine"), r"case_1.nii.gz: got an affine that moves voxels by 0.2 mm"),
    "steps": (broken("steps"), r"case_1.nii.gz: got an affine with steps of 0.5 x 0.4 x 5 mm beside"),
    "4-D": (broken("4-D"), r"case_1.nii.gz: got shape .* wanted a 2-D or 3-D mask"),
    "no target": (without_target, "target_dir: got no NIfTI file in .*targets"),
    "twice": (twice, r"target_dir: got case_1.nii and case_1.nii.gz, wanted one file a case"),
    "no prediction": (
        lambda predictions, targets: (predictions / "case_2.nii.gz").unlink(),
        "prediction_dir: got 1 cases in .*predictions, wanted .* the first case_2",
    ),
    "no folder": (
        lambda predictions, targets: predictions.rename(predictions.with_name("x")),
        "prediction_dir: got",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_is_named_with_its_file(folders, spoil, message):
    spoil(*folders)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        metrics.evaluate_folders(*folders)
