"""Losses against the first one: what is tested, said and drawn; values made by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surfloss._files import write_text
from surfloss.metrics import FolderEvaluation
from surfloss.metrics.results import CaseResult, FolderSettings
from surfloss.metrics.summary import summarize
from surfloss.nnunet.comparison import answer, comparison_table, comparisons, time_table
from surfloss.nnunet.experiments import comparison, find_losses
from surfloss.nnunet.plots import forest
from surfloss.nnunet.report import write_report
from surfloss.nnunet.results import DICE, HD95, paired, read_cases
from surfloss.nnunet.run_folder import RunFolder, read_run

CLASSES = ("front", "back")
NAMES = (
    "dice",
    "hausdorff_distance",
    "hausdorff_distance_95",
    "surface_dice",
    "volume_ml",
    "target_volume_ml",
)
CASES = 30


def made_run(
    folder: Path, gains: Mapping[str, float], losses: str = "dice_ce,contour,hausdorff"
) -> RunFolder:
    """A cross-validated run whose losses differ from the first by so much in Dice, on average.

    Args:
        gains: by the name of the predictions; 0 for others.
    """
    experiment = comparison(
        find_losses(losses.split(",")),
        ["2d", "3d_fullres"],
        True,
        has_test=False,
        epochs=2,
        iterations=1,
        validation_iterations=1,
        save_every=1,
    )
    run = RunFolder(folder, experiment, folder.parent / "Task01_Things")
    base = np.random.default_rng(0).normal(0.8, 0.05, (CASES, 2))
    for place, contender in enumerate(experiment.contenders):
        rng = np.random.default_rng(1 + place)
        noise = rng.normal(gains.get(contender.name, 0.0), 0.01, base.shape)
        if contender.loss == "Dice+CE":
            noise = np.zeros(base.shape)
        write_values(run, run.part + contender.name, base + noise)
    return run


def write_values(run: RunFolder, name: str, dice: Any) -> None:
    cases = [[_values(value) for value in case] for case in dice.tolist()]
    summaries = summarize(cases, NAMES, labels=CLASSES)
    rows = [CaseResult(f"{number:03}", label, values) for number, case in enumerate(cases)
            for label, values in zip(CLASSES, case, strict=True)]  # fmt: skip
    labels = {label: (number,) for number, label in enumerate(CLASSES, 1)}
    settings = FolderSettings((1.0,), labels=labels)
    found = FolderEvaluation(tuple(rows), summaries.summary, summaries.summary_by_label, (), (), (), settings)
    write_text(run.metrics(name), json.dumps(found.to_dict()))


def _values(dice: float) -> dict[str, float | None]:
    distance = 20 * (1 - dice)
    return dict(zip(NAMES, (dice, 2 * distance, distance, dice + 0.1, 1.0, 1.0), strict=True))


def test_a_better_and_a_worse_loss_are_told(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"contour_2d": 0.02, "hausdorff_3d_fullres": -0.02})
    found = comparisons(run, run.part)
    assert len(found) == 3 * 3 * 2 * 3  # mean and classes, metrics, losses, networks
    text = answer(run, found)
    assert text.startswith("6 comparisons with Dice+CE on 30 cases by cross-validation.")
    better, worse = text.split("Better: ")[1].split(" Worse: ")
    assert better.startswith("contour in the 2D U-Net (Dice +")
    assert "HD95 -" in better
    assert worse.startswith("Hausdorff (warm-up) in the 3D U-Net (Dice -")
    assert "HD95 +" in worse.split("These are")[0]
    assert "may be the luck of a training" in text


def test_no_loss_differs(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {})
    text = answer(run, [one for one in comparisons(run, run.part) if not one.is_significant])
    assert "Better: none. Worse: none." in text


def test_chance_is_called_chance(tmp_path: Path) -> None:
    """A difference is told only if it is larger than that of the baseline trained again."""
    both = {"dice_ce_again_2d": 0.05, "contour_2d": 0.03}
    run = made_run(tmp_path / "run", both, "dice_ce,dice_ce_again,contour")
    text = answer(run, comparisons(run, run.part))
    assert "Chance is what the baseline differs by when it is trained again with other seeds: Dice +" in text
    assert "Better by more than chance: none." in text
    assert "Not listed: " in text

    both = {"dice_ce_again_2d": 0.01, "contour_2d": 0.03}
    run = made_run(tmp_path / "beyond", both, "dice_ce,dice_ce_again,contour")
    text = answer(run, comparisons(run, run.part))
    assert "Better by more than chance: contour in the 2D U-Net" in text

    quiet = made_run(tmp_path / "quiet", {"contour_2d": 0.02}, "dice_ce,dice_ce_again,contour")
    text = answer(quiet, [one for one in comparisons(quiet, "cross_validation/") if one.other.repeat == 0])
    assert "Each loss was trained once per fold." in text


def test_nothing_to_compare_yet(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {})
    for path in (tmp_path / "run" / "metrics").rglob("*contour*"):
        path.unlink()
    assert {one.other.loss for one in comparisons(run, run.part)} == {"Dice+CE+Hausdorff (warm-up)"}
    for path in (tmp_path / "run" / "metrics").rglob("*.json"):
        path.unlink()
    assert answer(run, comparisons(run, run.part)) == "No two losses could be compared yet."
    assert forest([("x", [])]) is None
    assert comparison_table(run, run.part) is None
    assert {row[1] for row in time_table(run).rows} == {"-"}


def test_holm_corrects_the_mean_and_each_class_apart(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"contour_2d": 0.004})
    found = [one for one in comparisons(run, run.part) if one.metric is DICE]
    for one_class in (None, *CLASSES):
        own = [one.test for one in found if one.one_class == one_class]
        smallest = min(own, key=lambda test: test.p or 1)
        assert smallest.p is not None
        assert smallest.corrected_p == pytest.approx(min(1, len(own) * smallest.p))


def test_a_case_is_the_mean_of_the_classes_that_both_have(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {})
    cases = {name: dict(read_cases(run, f"{run.part}{name}")) for name in ("dice_ce_2d", "contour_2d")}
    first, second = cases.values()
    second["003"] = {"front": second["003"]["front"], "back": dict.fromkeys(NAMES)}
    second["004"] = {label: dict.fromkeys(NAMES) for label in CLASSES}
    ours, theirs = paired(first, second, HD95)
    assert ours[3] == first["003"]["front"]["hausdorff_distance_95"]
    assert theirs[3] == second["003"]["front"]["hausdorff_distance_95"]
    assert (ours[4], theirs[4]) == (None, None)
    assert ours[5] == pytest.approx(
        np.mean([first["005"][label]["hausdorff_distance_95"] for label in CLASSES])
    )
    assert paired(first, second, HD95, "back")[1][3] is None


def test_the_forest_of_two_runs(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, {"contour_2d": 0.02}) for name in ("one", "two")]
    blocks = [(run.folder.name, comparisons(run, run.part)) for run in runs]
    single, both = forest(blocks[:1]), forest(blocks)
    assert single is not None
    assert both is not None
    assert _height(both.png) > 1.6 * _height(single.png)


def _height(png: bytes) -> int:
    return int.from_bytes(png[20:24], "big")


def test_a_run_is_read_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", made_run(tmp_path / "x", {}).experiment, None, leave_out=["a"])
    write_text(run.folder / "run.json", json.dumps(run._settings()))
    again = read_run(run.folder)
    assert again.experiment == run.experiment
    assert again.leave_out == ["a"]
    assert [model.configuration for model in again.experiment.contenders[:4]] == ["2d"] * 3 + ["3d_fullres"]


HOSTILE = ('<script>alert("x")</script>', "../../outside\n# heading | cell", "=cmd()")


def test_names_of_classes_cases_and_data_sets_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from other people's files, and reach file names, HTML, Markdown, CSV and pictures."""
    monkeypatch.setattr("tests.nnunet.test_comparison.CLASSES", HOSTILE[:2])
    run = made_run(tmp_path / "run", {"contour_2d": 0.02})
    run.data = tmp_path / HOSTILE[0].replace("/", "")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in (run.report / "report.md").read_text(encoding="utf-8")
    assert not any(
        line.startswith(("# heading", "=cmd")) for line in (run.report / "report.md").read_text().splitlines()
    )
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} <= {
        run.report, *(path.parent for path in run.folder.rglob("*.json"))
    }  # fmt: skip
