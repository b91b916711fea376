"""Labels, regions and rules for empty masks in folders; what is absent or left over is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from surfloss import metrics
from surfloss.metrics._labels import LabelSet, parse_labels
from surfloss.metrics.folders import choose_labels

SPACING = (5.0, 0.4, 0.5)


def save(path: Path, volume: np.ndarray) -> None:
    """A volume in (z, y, x)."""
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([*SPACING[::-1], 1])), path)


def organ(*others: int) -> np.ndarray:
    """A liver of label 1 with a tumor of label 2, and further labels of one voxel each."""
    volume = np.zeros((6, 14, 12), np.uint8)
    volume[1:4, 3:9, 1:7] = 1
    volume[2:4, 5:7, 2:5] = 2
    volume[5, 13, : len(others)] = others
    return volume


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Label 3 lies in a target, label 4 in a prediction; the second case has no tumor."""
    for case, target, prediction in (
        ("a", organ(3), np.roll(organ(), 1, axis=2)),
        ("b", np.minimum(organ(), 1), np.where(organ(4) == 2, 1, organ(4))),
    ):
        save(tmp_path / "targets" / f"{case}.nii.gz", target)
        save(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
    return tmp_path / "predictions", tmp_path / "targets"


def evaluate(folders: tuple[Path, Path], labels: Any = None, **options: Any) -> metrics.FolderEvaluation:
    return metrics.evaluate_folders(*folders, tolerance=0.42, labels=labels, **options)


LABELS = {"liver": 1, "tumor": 2, "whole": [1, 2]}
FORMS = {
    "text": "1=liver, 2=tumor, 1+2=whole",
    "mapping": LABELS,
    "nnU-Net": json.dumps({"labels": {"background": 0, **LABELS}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_names_and_regions(folders: tuple[Path, Path], tmp_path: Path, form: str) -> None:
    labels = FORMS[form]
    if form == "nnU-Net":
        (tmp_path / "dataset.json").write_text(labels)
        labels = tmp_path / "dataset.json"
        assert evaluate(folders, str(labels)) == evaluate(folders, labels)
    result = evaluate(folders, labels)
    assert [(row.case, row.label) for row in result.cases] == [
        (case, label) for case in "ab" for label in ("liver", "tumor", "whole")
    ]
    assert list(result.summary_by_label) == ["liver", "tumor", "whole"]
    assert result.settings.labels == {"liver": (1,), "tumor": (2,), "whole": (1, 2)}
    prediction, target = np.roll(organ(), 1, axis=2), organ()
    whole = metrics.evaluate(
        np.isin(prediction, (1, 2)), np.isin(target, (1, 2)), spacing=SPACING, tolerance=0.42
    )
    assert result.cases[2] == metrics.CaseResult("a", "whole", vars(whole), None)


def test_decathlon_and_plain_numbers() -> None:
    assert parse_labels({"0": "background", "1": "liver", "2": "tumor"}) == parse_labels("1=liver,2=tumor")
    assert parse_labels("2, 1+3") == LabelSet((("2", (2,)), ("1+3", (1, 3))))
    assert parse_labels([2, 1]) == parse_labels("2,1")


def test_arrays_and_numbers_of_numpy() -> None:
    assert parse_labels(np.array([2, 1])) == parse_labels([2, 1])
    assert parse_labels({"a": np.array([1, 2]), "b": np.int16(3)}) == parse_labels("1+2=a,3=b")


def test_a_dataset_json_in_capitals_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "DATASET.JSON"
    path.write_text(json.dumps({"labels": LABELS}), encoding="utf-8-sig")
    assert parse_labels(str(path)) == parse_labels(LABELS)


def test_a_label_that_no_target_has_is_a_problem_and_no_perfect_score(folders: tuple[Path, Path]) -> None:
    result = evaluate(folders, "1,7")
    assert result.absent_labels == (7,)
    assert result.problems == {"absent": 1}
    first, second = result.cases[:2]
    assert first.problem is None
    assert second.problem == metrics.Problem("absent", "labels: got 7, wanted a label that a target has")
    assert (second.values["dice"], result.summary_by_label["7"]["dice"].mean) == (None, None)
    assert result.summary["dice"] == replace(result.summary_by_label["1"]["dice"], null=2)


def test_a_region_with_a_label_that_no_target_has_is_measured_and_named(folders: tuple[Path, Path]) -> None:
    result = evaluate(folders, "1+20=whole")
    assert (result.absent_labels, result.problems) == ((20,), {"absent": 1})
    assert result.cases[0].problem is None
    assert result.cases[0].values["dice"] == evaluate(folders, "1").cases[0].values["dice"]


def test_labels_that_were_not_asked_for_are_reported(folders: tuple[Path, Path]) -> None:
    assert evaluate(folders, "1").other_labels == (
        metrics.OtherLabel(2, targets=1, predictions=1),
        metrics.OtherLabel(3, targets=1, predictions=0),
        metrics.OtherLabel(4, targets=0, predictions=1),
    )
    assert evaluate(folders, "1+2,3,4").other_labels == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_all_labels_are_those_of_the_targets(folders: tuple[Path, Path], workers: int) -> None:
    (folders[1] / "c.nii.gz").write_bytes(b"")  # is named later, as a case that cannot be read
    assert choose_labels("all", folders[1], workers) == parse_labels([1, 2, 3])
    result = evaluate(folders, "all", workers=workers)
    assert list(result.summary_by_label) == ["1", "2", "3"]
    assert result.problems == {"unreadable": 1}
    assert [other.label for other in result.other_labels] == [4]


def test_all_of_nothing_is_an_error(folders: tuple[Path, Path]) -> None:
    for path in folders[1].iterdir():
        save(path, 0 * organ())
    with pytest.raises(ValueError, match="labels: got 'all' and no label in any target"):
        evaluate(folders, "all")


def test_a_negative_voxel_is_another_label_and_no_part_of_all(folders: tuple[Path, Path]) -> None:
    target = organ().astype(np.int16)
    target[0, 0, 0] = -1
    save(folders[1] / "a.nii.gz", target)
    result = evaluate(folders, "all")
    assert list(result.summary_by_label) == ["1", "2"]
    assert result.other_labels[0] == metrics.OtherLabel(-1, targets=1, predictions=0)
    assert result.problems == {}
    save(folders[1] / "a.nii.gz", np.minimum(target, 0))
    (folders[1] / "b.nii.gz").unlink()
    with pytest.raises(ValueError, match="'all' and no label in any target that could be read"):
        evaluate(folders, "all")


@pytest.mark.parametrize("cases", [1, 2])
def test_masks_whose_targets_are_all_empty_are_no_perfect_score(tmp_path: Path, cases: int) -> None:
    for case in range(cases):
        for folder in ("predictions", "targets"):
            save(tmp_path / folder / f"{case}.nii.gz", 0 * organ())
    result = evaluate((tmp_path / "predictions", tmp_path / "targets"))
    assert (result.absent_labels, result.problems) == ((1,), {"absent": 1})
    assert {row.problem.kind for row in result.cases} == {"absent"}
    assert result.summary["dice"] == metrics.Summary(None, None, None, None, count=0, null=cases)
    save(tmp_path / "targets" / "other.nii.gz", np.minimum(organ(), 1))
    save(tmp_path / "predictions" / "other.nii.gz", np.minimum(organ(), 1))
    result = evaluate((tmp_path / "predictions", tmp_path / "targets"))
    assert (result.problems, result.summary["dice"].mean) == ({}, 1)


def test_nothing_is_absent_from_targets_that_could_not_be_read(folders: tuple[Path, Path]) -> None:
    for path in folders[1].iterdir():
        path.write_bytes(b"")
    for labels in (None, "1"):
        result = evaluate(folders, labels)
        assert (result.absent_labels, result.problems) == ((), {"unreadable": 2})


def test_ignored_voxels_count_in_neither_mask(folders: tuple[Path, Path]) -> None:
    """The ignored label hides what the prediction says there, and is background for the surfaces."""
    target, prediction = organ(), organ()
    target[:, 10:] = 9
    prediction[1:3, 10:13, 4:8] = 1
    save(folders[1] / "a.nii.gz", target)
    save(folders[0] / "a.nii.gz", prediction)
    result = evaluate(folders, {**LABELS, "ignore": 9})
    assert result.settings.ignore_label == 9
    assert [row.values["dice"] for row in result.cases[:3]] == [1, 1, 1]
    assert result.other_labels == (metrics.OtherLabel(4, targets=0, predictions=1),)
    assert evaluate(folders, LABELS).cases[0].values["dice"] < 1


def test_several_labels_without_a_choice_say_what_to_do(folders: tuple[Path, Path]) -> None:
    message = evaluate(folders).cases[0].problem.message
    assert (
        "got values [2, 3], wanted a binary mask of 0 and 1; for several labels say which (--labels)"
        in message
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1,x", "labels: got 'x', wanted all, a dataset.json, or labels as 1,2=liver"),
        ("1=", "labels: got '1=', wanted all"),
        ("=liver", "labels: got '=liver', wanted all"),
        ("0", "labels: got 0, wanted a whole number of at least 1"),
        ("1=a,2=a", r"labels: got \['a', 'a'\], wanted at least one, each of them once"),
        ("1,1", r"labels: got \['1', '1'\], wanted at least one"),
        ([], r"labels: got \[\], wanted at least one"),
        ([True], "labels: got True, wanted a whole number"),
        ({"background": 0, "ignore": 3}, r"labels: got \['ignore'\], wanted at least one"),
        ({"a": 1, "ignore": (2, 3)}, r"labels: got \[2, 3\] as 'ignore', wanted a single label"),
        ("no.json", r"labels: got no.json, which cannot be read \(No such file.*\), wanted a dataset.json"),
        ("1_0", "labels: got '1_0', wanted all"),
        ("１", "labels: got '１', wanted all"),  # noqa: RUF001
        ("-1", "labels: got -1, wanted a whole number of at least 1"),
        (1, r"labels: got 1, wanted numbers as \[1, 2\]"),
        (np.array(1), r"labels: got 1, wanted numbers as \[1, 2\]"),
        ({1: "liver"}, "labels: got 1 as a name, wanted a mapping from names to numbers"),
        ({"a": []}, "labels: got 'a' without a number, wanted at least one"),
        ({"a": "12"}, "labels: got '12', wanted a whole number"),
    ],
)
def test_what_is_no_choice_of_labels(folders: tuple[Path, Path], labels: Any, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate(folders, labels)


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": [1]}', "{}"])
def test_another_file_than_a_dataset_json_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, content: str
) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset.json, wanted a dataset.json of nnU-Net"):
        evaluate(folders, tmp_path / "dataset.json")


DIAGONAL = np.linalg.norm(np.multiply(SPACING, (6, 14, 12)))


def test_rules_for_empty_masks_and_missing_predictions(folders: tuple[Path, Path]) -> None:
    (folders[0] / "b.nii.gz").unlink()
    save(folders[0] / "a.nii.gz", np.minimum(organ(), 1))  # no tumor

    def rows(**rules: Any) -> dict[str, metrics.CaseResult]:
        result = evaluate(folders, "1,2", **rules)
        assert result.problems == {"missing": 1}
        assert [getattr(result.settings, rule) for rule in rules] == list(rules.values())
        return {row.case + row.label: row for row in result.cases}

    null = rows()
    assert null["a2"].values["hausdorff_distance"] is None
    assert null["b1"].values["dice"] is None
    worst = rows(empty="worst", both_empty="perfect")
    for row in ("a2", "b1"):
        assert (worst[row].values["dice"], worst[row].values["surface_dice"]) == (0, 0)
        assert worst[row].values["hausdorff_distance_95"] == pytest.approx(DIAGONAL)
    assert worst["b1"].problem.kind == "missing"
    assert worst["b2"].values["dice"] is None  # no tumor there either, but nothing was predicted
    assert rows(empty="diagonal")["a2"].values["hausdorff_distance"] == pytest.approx(DIAGONAL)


@pytest.mark.parametrize(
    ("rule", "values"), [("official", [1, None]), ("perfect", [1, 0]), ("null", [None] * 2)]
)
def test_rules_where_both_masks_are_empty(
    folders: tuple[Path, Path], rule: str, values: list[float | None]
) -> None:
    row = evaluate(folders, "2", both_empty=rule).cases[1]
    assert [row.values["dice"], row.values["hausdorff_distance"]] == values
