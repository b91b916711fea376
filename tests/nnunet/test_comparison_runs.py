"""`surfloss compare` through real nnU-Net: planes of two classes; volumes with regions and a test part."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surfloss.nnunet.experiments import comparison, find_losses
from surfloss.nnunet.jobs import list_jobs
from surfloss.nnunet.raw_dataset import has_test_part
from surfloss.nnunet.report import write_report
from surfloss.nnunet.results import classes_of, tables
from surfloss.nnunet.run_folder import RunFolder, read_run
from tests.nnunet.conftest import perform_here
from tests.nnunet.raw import write_planes, write_volumes

pytestmark = pytest.mark.timeout(1200)  # nnU-Net plans and trains in the fixtures

LOSSES = find_losses(["dice_ce", "hausdorff"])


def run_all(folder: Path, write: Callable[[Path], Path], **settings: Any) -> RunFolder:
    """The smallest comparison on a data set, every job done in this process."""
    data = write(folder / "Dataset005_Things")
    experiment = comparison(
        LOSSES,
        settings.pop("configurations"),
        settings.pop("ensemble"),
        has_test=has_test_part(data),
        folds=2,
        epochs=1,
        iterations=2,
        validation_iterations=1,
        save_every=1,
        base_features=4,
        batch_size_2d=2,
        batch_size_3d=2,
        tolerance=1.0,
        **settings,
    )
    run = RunFolder(folder / "run", experiment, data)
    with run.opened():
        for job in list_jobs(run):
            perform_here(run, job)
    return run


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("planes")
    return run_all(folder, write_planes, configurations=["2d"], ensemble=False)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("volumes")
    return run_all(folder, write_volumes, configurations=["2d", "3d_fullres"], ensemble=True)


def test_planes_are_cross_validated(planes: RunFolder) -> None:
    assert planes.dataset_name == "Dataset001_Things"
    assert classes_of(planes) == ["square", "disc"]
    assert [table.title for table in tables(planes)] == ["All classes", "Class square", "Class disc"]
    (every, *_) = tables(planes)
    assert [(row.title, row.cases) for row in every.rows] == [
        ("2D U-Net, Dice+CE", 8),
        ("2D U-Net, Dice+CE+Hausdorff (warm-up)", 8),
    ]
    assert all(row.paper == () for row in every.rows)


def test_regions_are_compared_on_the_test_part(volumes: RunFolder) -> None:
    assert classes_of(volumes) == ["whole", "core"]
    rows = tables(volumes)[0].rows
    assert [row.title for row in rows][-2:] == [
        "2D + 3D ensemble, Dice+CE",
        "2D + 3D ensemble, Dice+CE+Hausdorff (warm-up)",
    ]
    assert {row.cases for row in rows} == {4}  # two cases of two regions
    names = {
        path.relative_to(volumes.folder / "metrics").as_posix()
        for path in volumes.metrics("x").parent.rglob("*.json")
    }
    assert "cross_validation/dice_ce_2d.json" in names
    assert "dice_ce_ensemble.json" in names
    assert "cross_validation/dice_ce_ensemble.json" not in names


@pytest.mark.parametrize("which", ["planes", "volumes"])
def test_the_report_answers_first(which: str, request: pytest.FixtureRequest) -> None:
    run: RunFolder = request.getfixturevalue(which)
    page = (run.report / "report.html").read_text()
    anchors = re.findall(r'<section id="(\w+)">', page)
    assert anchors[0] == "answer"
    assert anchors[-1] == "run"
    assert "volumes" not in anchors
    assert "paper" not in (run.report / "report.md").read_text().lower()
    with (run.report / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == set(classes_of(run))
    assert "not complete" not in page
    times = (run.report / "answer.csv").read_text()
    assert re.search(r"Hausdorff \(warm-up\)\S*,\d+\.\d,\d\.\d\d", times)


def test_two_runs_side_by_side(planes: RunFolder, volumes: RunFolder) -> None:
    again = read_run(volumes.folder)
    assert again.experiment == volumes.experiment
    page = write_report(planes, [again]).read_text()
    assert "Dataset005_Things: " in page
