"""The report from a run folder written by hand: tables, null cases, CSV, pictures, one page."""

import csv
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from surfloss.metrics import evaluate_folders
from surfloss.nnunet.presets import CONTOUR_3D, DICE_CE_2D, DICE_CE_3D
from surfloss.nnunet.report import tables, write_report
from surfloss.nnunet.run import Run
from tests.nnunet.conftest import MINI, save

PRESET = dataclasses.replace(
    MINI,
    name="hand-written",
    models=(DICE_CE_2D, DICE_CE_3D, CONTOUR_3D),
    ensemble=(DICE_CE_2D.name, DICE_CE_3D.name),
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two cases; the 2-D model finds the lesion of the second only, the others both."""
    run = Run(tmp_path / "run", PRESET)
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[3:7, 4:8, 1:3] = 1
    for case in ("a", "b"):
        save(run.raw / "imagesTs" / f"{case}_0000.nii.gz", np.full(truth.shape, 40, np.float32))
        save(run.raw / "labelsTs" / f"{case}.nii.gz", truth)
        for name in ("dice_ce_2d", "dice_ce_3d", "contour_3d", "ensemble"):
            missed = name == "dice_ce_2d" and case == "a"
            save(run.predictions(name) / f"{case}.nii.gz", truth * (not missed))
    for name in ("dice_ce_2d", "dice_ce_3d", "contour_3d", "ensemble"):
        result = evaluate_folders(run.predictions(name), run.raw / "labelsTs")
        for path in (run.metrics(name), run.metrics(f"cross_validation/{name}")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result))
    for model in PRESET.models:
        surface = model is CONTOUR_3D
        log = {
            "train_losses": [1.0, 0.5, 0.2],
            "mean_fg_dice": [0.1, 0.5, 0.8],
            "surface_weights": [0.1, 0.2, 0.3] if surface else [float("nan")] * 3,
            "gradient_ratios": [0.01, 0.02, 0.05] if surface else [float("nan")] * 3,
        }
        for fold in range(2):
            path = run.training_log(model, fold)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(log))
    return run


def test_tables(run: Run) -> None:
    architectures, losses = tables(run).values()
    assert [row.title for row in architectures] == [
        "2D U-Net, Dice+CE",
        "3D U-Net, Dice+CE",
        "2D + 3D ensemble",
    ]
    assert [row.title for row in losses] == ["3D U-Net, Dice+CE", "3D U-Net, Dice+CE+contour"]
    assert architectures[0].paper == ("71.0 ± 30.0", "29.3 ± 30.3", "null", "49.6 ± 20.9")
    # One prediction of two is empty: its Dice counts as 0, its distances are undefined.
    assert architectures[0].ours == ("50.0 ± 50.0", "50.0 ± 50.0", "0.0 ± 0.0", "50.0 ± 50.0")
    assert (architectures[0].null, architectures[0].cases) == (1, 2)
    assert architectures[1].ours == ("100.0 ± 0.0", "0.0 ± 0.0", "0.0 ± 0.0", "100.0 ± 0.0")


def test_the_page_is_self_contained(run: Run) -> None:
    page = write_report(run).read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4  # an icon, the curves, two cases
    assert all(source.startswith("data:") for source in sources)
    assert "71.0 ± 30.0" in page
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []


def test_markdown_and_csv(run: Run) -> None:
    write_report(run)
    text = (run.report / "report.md").read_text()
    assert "| 2D U-Net, Dice+CE | 71.0 ± 30.0 | 50.0 ± 50.0 |" in text
    for link in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (run.report / link).stat().st_size > 1000
    with (run.report / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8  # three models and the ensemble, on validation and cross-validation
    assert rows[0]["Dice [%] (ours)"] == "50.0 ± 50.0"
    assert rows[0]["null cases"] == "1"
    with (run.report / "cases.csv").open() as file:
        cases = list(csv.DictReader(file))
    missed = [c for c in cases if c["predictions"] == "dice_ce_2d" and c["case"] == "a"]
    assert [c["hausdorff_distance"] for c in missed] == ["null"]


class _Balance(HTMLParser):
    """The tags that are still open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
